"""CPU time per hour of audio with more workers and with more files, and a projection to 140,000 hours.

    python benchmarks/bench_scale.py [--hours 24] [--workers 1 2 4] [--files 1000 10000 100000] [--file-s 2]

Workers: 1, 2, ... processes analyse the same simulated recordings. Files: many tiny recordings, which are hard links to
a few files to save disk space. Each of them needs one window that is mostly padding. An hour of audio therefore costs
more than in long files. The question is whether this cost is constant. The cost is the CPU time per hour of audio,
including the start. Each run is a separate process. Rounds are interleaved; results are medians and quartiles. The
projection extrapolates the measured costs to 140,000 h (50 recorders for four months).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import reporting
from loxo.simulation.simulate import simulate

SURVEY_H = 140_000
DISTINCT_FILES = 50  # the other tiny files are hard links to these


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--files", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--file-s", type=float, default=2.0, help="duration of a tiny file in seconds")
    parser.add_argument(
        "--rounds", type=int, default=3, help="rounds of the workers; each number of files is measured once"
    )
    parser.add_argument("--work", type=Path, help="folder for the recordings; by default a temporary one")
    parser.add_argument("--out", type=Path, default=reporting.RESULTS)
    options = parser.parse_args()
    with reporting.section("bench-scale"), tempfile.TemporaryDirectory(dir=options.work) as name:
        folder = Path(name)
        workers = by_workers(folder, options)
        files = by_files(folder, options) if options.files else []
        result = {"workers": workers, "files": files, "projection": projection(workers)}
    reporting.write_result("scale", {"options": {k: str(v) for k, v in vars(options).items()}, **result}, options.out)


def detect(recordings: Path, out: Path, model: str, workers: int) -> dict[str, float]:
    """CPU time and elapsed time of `loxo detect` in seconds, and the size of its run folder in MB."""
    before, began = reporting.children_cpu_s(), time.perf_counter()
    command = [
        reporting.LOXO,
        "detect",
        str(recordings),
        "--out",
        str(out),
        "--model",
        model,
        "--workers",
        str(workers),
    ]
    subprocess.run(command, check=True, capture_output=True)
    cpu_s, elapsed_s = reporting.children_cpu_s() - before, time.perf_counter() - began
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
    shutil.rmtree(out)
    return {"processor_s": cpu_s, "clock_s": elapsed_s, "run_mb": size}


def by_workers(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Costs of the same recordings for each number of workers."""
    simulate(folder / "long", options.hours, 6, file_hours=min(1.0, options.hours / 8), format="wav")
    measured: dict[int, list[dict[str, float]]] = {count: [] for count in options.workers}
    for round_number in range(options.rounds):
        for count in options.workers[:: 1 if round_number % 2 else -1]:
            measured[count].append(detect(folder / "long", folder / "run", options.model, count))
    rows = []
    for count, rounds in measured.items():
        cost = reporting.spread([r["processor_s"] / options.hours for r in rounds])
        speed = reporting.spread([options.hours * 3600 / r["clock_s"] for r in rounds])
        rows.append({"workers": count, "processor_s_per_hour": cost, "x_real_time": speed})
    print(f"\n{options.hours:g} h of audio, {os.cpu_count()} cores\n")
    reporting.print_table(
        ["workers", "CPU s per hour of audio", "x real time"],
        [
            (
                r["workers"],
                reporting.format_spread(r["processor_s_per_hour"], "{:.2f}"),
                reporting.format_spread(r["x_real_time"], "{:,.0f}"),
            )
            for r in rows
        ],
    )
    return rows


def by_files(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Costs of an increasing number of tiny files."""
    hours = options.file_s / 3600
    simulate(folder / "tiny", DISTINCT_FILES * hours, 7, file_hours=hours, format="wav", rumbles_per_hour=60.0)
    sources = sorted((folder / "tiny").glob("*.wav"))
    rows = []
    for count in options.files:
        many = folder / "many"
        for k in range(count):
            subfolder = many / f"{k // 1000:03d}"
            if k % 1000 == 0:
                subfolder.mkdir(parents=True)
            (subfolder / f"s{k:06d}_20200101_000000.wav").hardlink_to(sources[k % len(sources)])
        measured = detect(many, folder / "run", options.model, max(options.workers))
        shutil.rmtree(many)
        row = {"files": count, "hours": count * hours, **measured}
        row["processor_ms_per_file"] = 1000 * measured["processor_s"] / count
        row["processor_s_per_hour"] = measured["processor_s"] / row["hours"]
        rows.append(row)
    print(f"\nfiles of {options.file_s:g} s, {max(options.workers, default=1)} workers\n")
    reporting.print_table(
        ["files", "hours", "CPU ms per file", "CPU s per hour of audio", "run folder, MB"],
        [
            (f"{r['files']:,}", f"{r['hours']:.1f}", f"{r['processor_ms_per_file']:.1f}",
             f"{r['processor_s_per_hour']:.1f}", f"{r['run_mb']:.1f}")
            for r in rows
        ],
    )  # fmt: skip
    return rows


def projection(workers: list[dict[str, Any]]) -> dict[str, float]:
    """Core-hours for SURVEY_H hours at the cost of one worker, and at the highest cost."""
    costs = [row["processor_s_per_hour"]["median"] for row in workers]
    low, high = SURVEY_H * costs[0] / 3600, SURVEY_H * max(costs) / 3600
    print(
        f"\n{SURVEY_H:,} h at {costs[0]:.2f} to {max(costs):.2f} CPU s per hour: {low:,.0f} to {high:,.0f} "
        "core-hours (extrapolated)"
    )
    return {"hours": SURVEY_H, "core_hours": low, "core_hours_at_the_dearest": high}


if __name__ == "__main__":
    main()
