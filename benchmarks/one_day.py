"""A simulated recording of 24 h at 4 kHz through the whole command: speed and peak memory.

    python benchmarks/one_day.py [--hours 24] [--repeats 3] [--formats wav flac] [--workers 1 2]
        [--runtimes openvino torch] [--keep DIR]

Each repeat runs `loxo detect`, a process of its own, once for every format, runtime and number of workers. Times real
time per core is the sound's length over the processor time (user and system) of the command and its children, start-up
included; with more workers the times on the clock count, in the same round. Peak memory is the sum of what the command
and its children hold, sampled ten times a second; what they share is counted in each.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

import reporting


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--formats", nargs="*", default=["wav", "flac"])
    parser.add_argument("--workers", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--runtimes", nargs="*", default=["openvino", "torch"])
    parser.add_argument("--keep", type=Path, help="make the recordings here, or use those that are here")
    parser.add_argument("--out", type=Path, default=reporting.RESULTS)
    options = parser.parse_args()
    taken: dict[tuple[str, str, int], list[tuple[float, float, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        days = {kind: day(options.keep or folder, kind, options.hours) for kind in options.formats}
        for repeat in range(options.repeats):
            for kind, runtime, workers in itertools.product(days, options.runtimes, options.workers):
                out = folder / f"run-{kind}-{runtime}-{workers}-{repeat}"
                result = detect(days[kind], out, runtime, workers)
                taken.setdefault((kind, runtime, workers), []).append(result)
    rows, results = [], []
    for (kind, runtime, workers), values in taken.items():
        processor, clock, memory = (list(column) for column in zip(*values, strict=True))
        of: dict[str, Any] = {
            "clock": reporting.spread([3600 * options.hours / seconds for seconds in clock]),
            "memory_mb": max(memory),
        }
        one = [seconds for _, seconds, _ in taken.get((kind, runtime, 1), [])]
        of["per_core"] = reporting.spread([3600 * options.hours / seconds for seconds in processor])
        if workers > 1 and one:
            of["faster_than_one"] = reporting.spread([a / b for a, b in zip(one, clock, strict=True)])
        results.append({"format": kind, "runtime": runtime, "workers": workers, **of})
        forms = {"per_core": "{:,.0f}", "clock": "{:,.0f}", "faster_than_one": "{:.2f}"}
        words = [reporting.format_spread(of[key], form) if key in of else None for key, form in forms.items()]
        rows.append((kind, runtime, workers, *words, f"{of['memory_mb']:.0f}"))
    columns = ["format", "runtime", "workers", "x real time per core", "x on the clock", "x one worker", "peak MB"]
    print()
    reporting.print_table(columns, rows)
    reporting.write_result(
        "day", {"options": {k: str(v) for k, v in vars(options).items()}, "runs": results}, options.out
    )


def day(folder: Path, kind: str, hours: float) -> Path:
    """The folder with the recording, made where it is not there yet."""
    made = folder / f"day-{kind}"
    if not (made / "simulation.json").exists():
        size = ["--hours", str(hours), "--file-hours", str(hours), "--seed", "24"]
        subprocess.run([reporting.LOXO, "simulate", *size, "--format", kind, "--out", str(made)], check=True)
    return made


def detect(recordings: Path, out: Path, runtime: str, workers: int) -> tuple[float, float, float]:
    """Seconds of the processor and on the clock, and megabytes at most."""
    before, began, peak = reporting.children_cpu_s(), time.perf_counter(), 0
    command = [
        reporting.LOXO,
        "detect",
        str(recordings),
        "--out",
        str(out),
        "--workers",
        str(workers),
        "--runtime",
        runtime,
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            peak = max(peak, _held(watched))
            time.sleep(0.1)
    if process.returncode:
        sys.exit(f"loxo detect ended with {process.returncode}.")
    spent, clock = reporting.children_cpu_s() - before, time.perf_counter() - began
    print(
        f"{recordings.name}, {runtime}, {workers} worker(s): {spent:.1f} s of the processor, {clock:.1f} on the clock"
    )
    return spent, clock, peak / 1e6


def _held(process: Any) -> int:
    """Bytes in memory of a process and its children; what they share is counted in each."""
    held = 0
    for one in [process, *_children(process)]:
        with suppress(psutil.Error):  # it has just ended
            held += one.memory_info().rss
    return held


def _children(process: Any) -> list[Any]:
    with suppress(psutil.Error):
        return list(process.children(recursive=True))
    return []


if __name__ == "__main__":
    main()
