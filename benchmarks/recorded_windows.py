"""Time in ms for one training window from a recording of an hour: WAV and FLAC, at the rate of the model and above.

Windows are drawn as in training, in one process with one thread. The files are synthetic noise in a temporary folder.
They have been read once before, so the speed of the disk has no effect. Columns: format, rate, median and 95th
percentile of the time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from loxo.engine.architectures import HTSATConfig
from loxo.events.table import events_frame
from loxo.training.annotations import match_recordings
from loxo.training.recording_windows import RecordingWindows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=200)
    parser.add_argument("--hours", type=float, default=1.0)
    arguments = parser.parse_args()
    config = HTSATConfig.preset("default")
    print(f"{'format':8}{'rate':>8}{'median ms':>12}{'95 % ms':>10}")
    for suffix in ("wav", "flac"):
        for rate in (config.sample_rate, 2 * config.sample_rate, 48000):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, f"nn01_20200101_000000.{suffix}")
                _write_noise(path, rate, arguments.hours)
                times = _measure(path, config, arguments.windows)
            print(f"{suffix:8}{rate:8}{np.median(times):12.2f}{np.percentile(times, 95):10.2f}", flush=True)


def _write_noise(path: Path, rate: int, hours: float) -> None:
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", rate, 1, "PCM_16") as file:
        for _ in range(round(hours * 60)):
            file.write((0.05 * rng.standard_normal(60 * rate)).astype(np.float32))


def _measure(path: Path, config: HTSATConfig, count: int) -> list[float]:
    duration = soundfile.info(path).duration
    common = {"recording": path.name, "label": "rumble"}
    rows = [{**common, "start_s": start, "end_s": start + 5} for start in range(60, 3000, 90)]
    events = events_frame(row for row in rows if row["end_s"] < duration)
    annotations = match_recordings(events, path, classes=config.classes, sample_rate=config.sample_rate)
    windows = RecordingWindows(config, annotations, count, seed=0)
    windows[0]
    times = []
    for index in range(count):
        start = time.perf_counter()
        windows[index]
        times.append(1000 * (time.perf_counter() - start))
    return times


if __name__ == "__main__":
    main()
