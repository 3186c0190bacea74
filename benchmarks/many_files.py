"""A run over many short recordings with a model that costs next to nothing: what the bookkeeping costs.

    python benchmarks/many_files.py [--files 10000] [--events 0.1]

One process does it all. Bookkeeping is the run's time less the time in `perform`, which reads, scores and decodes a
recording: finding the files, planning, tables, journal, progress, closing the folder. Given are time on the clock and
processor time, the process's memory at a tenth of the run and at its end, and how long a second run takes, which finds
everything done. `--events` is the share of recordings with a call in them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path

import psutil

from loxo.survey import processes as workers
from loxo.survey.survey import SurveyProgress, survey
from toy import ToyModel, write_recording


class Clock:
    """Adds up what calls of a function take."""

    def __init__(self, function) -> None:  # type: ignore[no-untyped-def]
        self.function, self.wall, self.processor = function, 0.0, 0.0

    def __call__(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        wall, processor = time.perf_counter(), time.process_time()
        try:
            return self.function(*args, **kwargs)
        finally:
            self.wall += time.perf_counter() - wall
            self.processor += time.process_time() - processor


def make_card(folder: Path, files: int, events: float) -> Path:
    """Copies of two recordings of 4 s, one of them with a call."""
    folder.mkdir(parents=True)
    loud = write_recording(folder / "loud.wav", 4.0).read_bytes()
    quiet = write_recording(folder / "quiet.wav", 1.6).read_bytes()
    for name in ("loud.wav", "quiet.wav"):
        (folder / name).unlink()
    for k in range(files):
        site = folder / f"site{k % 50:02d}"
        site.mkdir(exist_ok=True)
        content = loud if int((k + 1) * events) > int(k * events) else quiet
        (site / f"site{k % 50:02d}_20200101_{k // 3600:02d}{k // 60 % 60:02d}{k % 60:02d}.wav").write_bytes(content)
    return folder


def measure(card: Path, out: Path) -> None:
    process, memory = psutil.Process(), {}

    def on_progress(progress: SurveyProgress) -> None:
        if progress.finished in (progress.recordings // 10, progress.recordings):
            memory.setdefault(progress.finished, process.memory_info().rss / 2**20)

    perform = Clock(workers.perform)
    workers.perform = perform  # type: ignore[assignment]
    try:
        whole = Clock(survey)
        summary = whole([card], "toy", out, load=ToyModel, on_progress=on_progress)
    finally:
        workers.perform = perform.function
    count = summary.recordings
    wall, processor = (1000 * (getattr(whole, kind) - getattr(perform, kind)) / count for kind in ("wall", "processor"))
    print(f"{count} recordings, {summary.events} events, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"analysis: {1000 * perform.processor / count:.2f} ms of processor time a recording")
    print(f"bookkeeping: {processor:.2f} ms of processor time, {wall:.2f} ms on the clock a recording")
    print("memory: " + ", ".join(f"{size:.0f} MB after {finished}" for finished, size in sorted(memory.items())))
    began, used = time.perf_counter(), time.process_time()
    assert survey([card], "toy", out, load=ToyModel).resumed == count
    wall, processor = time.perf_counter() - began, time.process_time() - used
    print(f"resumed: {wall:.1f} s on the clock, {processor:.1f} s of processor time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--events", type=float, default=0.1)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        measure(make_card(folder / "card", args.files, args.events), folder / "run")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
