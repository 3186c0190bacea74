"""Cost of the bookkeeping of a run: many short recordings with a model that needs almost no CPU time.

    python benchmarks/many_files.py [--files 10000] [--events 0.1]

A single process does all work. The cost of the bookkeeping is the time of the run minus the time in `perform`, which
reads, scores and decodes a recording. It consists of the search for files, the plan, tables, journal and progress, and
the end of the run. The results are elapsed time and CPU time, and the memory of the process after a tenth of the run
and at its end. A second run finds everything finished; its duration is measured as well. `--events` is the fraction of
recordings with a call.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path

import psutil

from loxo.survey import processes
from loxo.survey.survey import SurveyProgress, survey
from toy import ToyModel, write_recording


class Stopwatch:
    """Measures the total elapsed time and CPU time of all calls of a function."""

    def __init__(self, function) -> None:  # type: ignore[no-untyped-def]
        self.function, self.elapsed_s, self.cpu_s = function, 0.0, 0.0

    def __call__(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        elapsed_s, cpu_s = time.perf_counter(), time.process_time()
        try:
            return self.function(*args, **kwargs)
        finally:
            self.elapsed_s += time.perf_counter() - elapsed_s
            self.cpu_s += time.process_time() - cpu_s


def make_card(folder: Path, files: int, events: float) -> Path:
    """Writes copies of a recording of 4 s with a call and of one of 1.6 s without a call."""
    folder.mkdir(parents=True)
    with_call = write_recording(folder / "loud.wav", 4.0).read_bytes()
    without_call = write_recording(folder / "quiet.wav", 1.6).read_bytes()
    for name in ("loud.wav", "quiet.wav"):
        (folder / name).unlink()
    for k in range(files):
        site = folder / f"site{k % 50:02d}"
        site.mkdir(exist_ok=True)
        content = with_call if int((k + 1) * events) > int(k * events) else without_call
        (site / f"site{k % 50:02d}_20200101_{k // 3600:02d}{k // 60 % 60:02d}{k % 60:02d}.wav").write_bytes(content)
    return folder


def measure(card: Path, out: Path) -> None:
    """Runs the survey twice, and prints times and memory."""
    process, memory = psutil.Process(), {}

    def on_progress(progress: SurveyProgress) -> None:
        if progress.finished in (progress.recordings // 10, progress.recordings):
            memory.setdefault(progress.finished, process.memory_info().rss / 2**20)

    stopwatch = Stopwatch(processes.perform)
    processes.perform = stopwatch  # type: ignore[assignment]
    try:
        total = Stopwatch(survey)
        summary = total([card], "toy", out, load=ToyModel, on_progress=on_progress)
    finally:
        processes.perform = stopwatch.function
    count = summary.recordings
    elapsed_ms, cpu_ms = (
        1000 * (getattr(total, kind) - getattr(stopwatch, kind)) / count for kind in ("elapsed_s", "cpu_s")
    )
    print(f"{count} recordings, {summary.events} events, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"analysis: {1000 * stopwatch.cpu_s / count:.2f} ms of CPU time per recording")
    print(f"bookkeeping: {cpu_ms:.2f} ms of CPU time, {elapsed_ms:.2f} ms elapsed per recording")
    print("memory: " + ", ".join(f"{size:.0f} MB after {finished}" for finished, size in sorted(memory.items())))
    start, cpu_start = time.perf_counter(), time.process_time()
    assert survey([card], "toy", out, load=ToyModel).resumed == count
    elapsed_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
    print(f"resumed: {elapsed_s:.1f} s elapsed, {cpu_s:.1f} s of CPU time")


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
