"""A simulated recording of 24 h at 4 kHz through the whole command: speed and peak memory.

    python benchmarks/one_day.py [--hours 24] [--repeats 3] [--format wav] [--keep DIR]

Each repeat is `loxo detect --workers 1`, a process of its own. Times real time per core is the audio's length over the
processor time (user and system) of that process and its children, start-up included; peak memory is the largest
resident set among them.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--format", default="wav")
    parser.add_argument("--keep", type=Path, help="make the recording here, or use the one that is here")
    args = parser.parse_args()
    loxo = str(Path(sys.executable).parent / "loxo")
    with tempfile.TemporaryDirectory() as folder:
        day = args.keep or Path(folder) / "day"
        if not day.exists():
            simulate = [loxo, "simulate", "--hours", str(args.hours), "--file-hours", str(args.hours)]
            subprocess.run([*simulate, "--seed", "24", "--format", args.format, "--out", str(day)], check=True)
        speeds = []
        for repeat in range(args.repeats):
            before, began = _processor_time(), time.monotonic()
            out = str(Path(folder) / f"run{repeat}")
            subprocess.run([loxo, "detect", str(day), "--out", out, "--workers", "1"], check=True)
            spent, wall = _processor_time() - before, time.monotonic() - began
            speeds.append(args.hours * 3600 / spent)
            print(f"repeat {repeat + 1}: {spent:.1f} s processor time, {wall:.1f} s on the clock, {speeds[-1]:.0f} x")
        # Linux reports kilobytes; the largest of all children so far, the simulator included.
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        spread = f"{min(speeds):.0f}-{max(speeds):.0f}"
        print(f"{args.hours:g} h: {statistics.median(speeds):.0f} x real time per core ({spread}), peak {peak:.0f} MB")
        print(f"{os.cpu_count()} cores")


def _processor_time() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
