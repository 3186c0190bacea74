"""What an hour of sound costs with more workers and with more files, and what 140,000 hours would.

    python benchmarks/bench_scale.py [--hours 24] [--workers 1 2 4] [--files 1000 10000 100000] [--file-s 2]

Workers: the same simulated recordings by 1, 2, ... processes. Files: tiny recordings, all of them hard links to a few,
so that the disk holds them; each is a window that is mostly padding, so an hour of their sound costs more than an hour
of long files: the question is whether it stays flat. Cost is seconds of the processor for an hour of sound, start-up
included; each is a process of its own.
Rounds are interleaved; medians and quartiles. The projection is what the costs measured here say of 140,000 h (50
recorders for four months), on paper.
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
LINKED = 50  # different tiny files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--files", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--file-s", type=float, default=2.0, help="seconds of a tiny file")
    parser.add_argument("--rounds", type=int, default=3, help="of the workers; the files are run once each")
    parser.add_argument("--work", type=Path, help="folder for the recordings; by default a temporary one")
    parser.add_argument("--out", type=Path, default=reporting.RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.work) as name:
        folder = Path(name)
        workers = by_workers(folder, options)
        files = by_files(folder, options) if options.files else []
    result = {"workers": workers, "files": files, "projection": projection(workers)}
    reporting.write_result("scale", {"options": {k: str(v) for k, v in vars(options).items()}, **result}, options.out)


def detect(recordings: Path, out: Path, model: str, workers: int) -> dict[str, float]:
    """Seconds of the processor and on the clock of `loxo detect`, and the megabytes of its run folder."""
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
    spent, clock = reporting.children_cpu_s() - before, time.perf_counter() - began
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
    shutil.rmtree(out)
    return {"processor_s": spent, "clock_s": clock, "run_mb": size}


def by_workers(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Costs of the same recordings for each number of workers."""
    simulate(folder / "long", options.hours, 6, file_hours=min(1.0, options.hours / 8), format="wav")
    taken: dict[int, list[dict[str, float]]] = {count: [] for count in options.workers}
    for turn in range(options.rounds):
        for count in options.workers[:: 1 if turn % 2 else -1]:
            taken[count].append(detect(folder / "long", folder / "run", options.model, count))
    rows = []
    for count, rounds in taken.items():
        cost = reporting.spread([r["processor_s"] / options.hours for r in rounds])
        speed = reporting.spread([options.hours * 3600 / r["clock_s"] for r in rounds])
        rows.append({"workers": count, "processor_s_per_hour": cost, "x_real_time": speed})
    print(f"\n{options.hours:g} h of sound, {os.cpu_count()} cores\n")
    reporting.print_table(
        ["workers", "s of the processor for an hour of sound", "x real time on the clock"],
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
    """Costs of ever more tiny files."""
    hours = options.file_s / 3600
    simulate(folder / "tiny", LINKED * hours, 7, file_hours=hours, format="wav", rumbles_per_hour=60.0)
    sources = sorted((folder / "tiny").glob("*.wav"))
    rows = []
    for count in options.files:
        many = folder / "many"
        for k in range(count):
            place = many / f"{k // 1000:03d}"
            if k % 1000 == 0:
                place.mkdir(parents=True)
            (place / f"s{k:06d}_20200101_000000.wav").hardlink_to(sources[k % len(sources)])
        taken = detect(many, folder / "run", options.model, max(options.workers))
        shutil.rmtree(many)
        row = {"files": count, "hours": count * hours, **taken}
        row["processor_ms_per_file"] = 1000 * taken["processor_s"] / count
        row["processor_s_per_hour"] = taken["processor_s"] / row["hours"]
        rows.append(row)
    print(f"\nfiles of {options.file_s:g} s, {max(options.workers, default=1)} workers\n")
    reporting.print_table(
        ["files", "hours", "ms of the processor a file", "s of the processor for an hour of sound", "run folder, MB"],
        [
            (f"{r['files']:,}", f"{r['hours']:.1f}", f"{r['processor_ms_per_file']:.1f}",
             f"{r['processor_s_per_hour']:.1f}", f"{r['run_mb']:.1f}")
            for r in rows
        ],
    )  # fmt: skip
    return rows


def projection(workers: list[dict[str, Any]]) -> dict[str, float]:
    """Core-hours for SURVEY_H hours at the cost of one worker, and of the dearest."""
    costs = [row["processor_s_per_hour"]["median"] for row in workers]
    low, high = SURVEY_H * costs[0] / 3600, SURVEY_H * max(costs) / 3600
    print(
        f"\n{SURVEY_H:,} h at {costs[0]:.2f} to {max(costs):.2f} s of the processor an hour: {low:,.0f} to {high:,.0f} "
        "core-hours (on paper)"
    )
    return {"hours": SURVEY_H, "core_hours": low, "core_hours_at_the_dearest": high}


if __name__ == "__main__":
    main()
