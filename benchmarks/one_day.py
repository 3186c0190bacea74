"""Speed and peak memory of `loxo detect` on a simulated recording of 24 h at 4 kHz, beside another version of Loxo.

    python benchmarks/one_day.py [--hours 24] [--repeats 3] [--formats wav flac] [--workers 1 2]
        [--runtimes onnxruntime openvino torch] [--base SRC] [--base-runtimes openvino torch] [--keep DIR]

`--base SRC` also runs the source tree SRC (a folder that contains loxo/) in this environment, with its own options.
Each repeat runs every combination of version, format, runtime and number of workers once, each in a process of its own.
Odd repeats have the reverse order, so that drift of the machine affects all combinations. Before the first repeat, each
version runs each runtime once on a minute of sound without a measurement: compiled files and caches exist then.

- times real time per core: duration of the sound / CPU time (user and system) of the command and its children
- times real time by the clock: duration of the sound / wall-clock time
- times one worker: wall-clock time of one worker / that of several, in the same repeat
- times base: CPU time of the base / CPU time of this version, in the same repeat, format and number of workers; above 1
  this version is faster
- peak memory: sum over the command and its children, sampled ten times a second; shared memory is counted in each

Figures are medians and quartiles of the repeats; peak memory is the maximum. Start-up is included.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psutil

import reporting
from surveys import has_survey

SOURCE = Path(__file__).resolve().parents[1] / "src"
WARM_UP_HOURS = 1 / 60


class Combination(NamedTuple):
    version: str  # "this" or "base"
    format: str
    runtime: str
    workers: int


@dataclass(frozen=True)
class Measurement:
    cpu_s: float
    clock_s: float
    peak_bytes: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--formats", nargs="*", default=["wav", "flac"])
    parser.add_argument("--workers", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--runtimes", nargs="*", default=["onnxruntime", "openvino", "torch"])
    parser.add_argument("--base", type=Path, metavar="SRC", help="source tree of the version to compare with")
    parser.add_argument("--base-runtimes", nargs="*", default=["openvino", "torch"])
    parser.add_argument("--keep", type=Path, help="write the recordings here, or use those that are here")
    parser.add_argument("--out", type=Path, default=reporting.RESULTS)
    options = parser.parse_args()
    sources, runtimes = {"this": SOURCE}, {"this": options.runtimes}
    if options.base is not None:
        if not (options.base / "loxo").is_dir():
            sys.exit(f"{options.base}: there is no folder loxo in it. Give the folder src of the other version.")
        sources["base"], runtimes["base"] = options.base.resolve(), options.base_runtimes
    combinations = [
        Combination(version, kind, runtime, workers)
        for kind, workers in itertools.product(options.formats, options.workers)
        for version in sources
        for runtime in runtimes[version]
    ]
    measured: dict[Combination, list[Measurement]] = {combination: [] for combination in combinations}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        minute = simulated(folder, "wav", WARM_UP_HOURS, "minute")
        days = {kind: simulated(options.keep or folder, kind, options.hours, "day") for kind in options.formats}
        for version in sources:
            for runtime in runtimes[version]:
                detect(sources[version], minute, folder / f"warm-up-{version}-{runtime}", runtime, 1)
        for repeat in range(options.repeats):
            for combination in combinations if repeat % 2 == 0 else reversed(combinations):
                version, kind, runtime, workers = combination
                out = folder / f"run-{version}-{kind}-{runtime}-{workers}-{repeat}"
                result = detect(sources[version], days[kind], out, runtime, workers)
                measured[combination].append(result)
                print(
                    f"{version}, {kind}, {runtime}, {workers} worker(s): {result.cpu_s:.1f} s CPU time, "
                    f"{result.clock_s:.1f} s wall-clock time, {result.peak_bytes / 1e6:.0f} MB",
                    flush=True,
                )
    results = [figures(combination, measured, 3600 * options.hours) for combination in combinations]
    ratios = [f"times_base_{runtime}" for runtime in runtimes.get("base", [])]
    rows = [
        (
            *(result[key] for key in Combination._fields),
            *(words(result, key, "{:,.0f}") for key in ("per_core", "by_clock")),
            *(words(result, key, "{:.2f}") for key in ("times_one_worker", *ratios)),
            f"{result['peak_mb']:.0f}",
        )
        for result in results
    ]
    columns = [*Combination._fields, "x real time per core", "x real time by the clock", "x one worker"]
    columns += [ratio.replace("times_", "x ").replace("_", " ") for ratio in ratios]
    print()
    with reporting.section("bench-day"):
        reporting.print_table([*columns, "peak MB"], rows)
    settings = {key: str(value) for key, value in vars(options).items()}
    reporting.write_result("day", {"options": settings, "runs": results}, options.out)


def figures(combination: Combination, measured: dict[Combination, list[Measurement]], sound_s: float) -> dict[str, Any]:
    """The figures of a combination, each with median and quartiles, for print and for the result file."""
    own = measured[combination]
    result: dict[str, Any] = {
        **combination._asdict(),
        "per_core": reporting.spread([sound_s / one.cpu_s for one in own]),
        "by_clock": reporting.spread([sound_s / one.clock_s for one in own]),
        "peak_mb": max(one.peak_bytes for one in own) / 1e6,
    }
    single = measured.get(combination._replace(workers=1))
    if combination.workers > 1 and single:
        result["times_one_worker"] = reporting.spread([a.clock_s / b.clock_s for a, b in zip(single, own, strict=True)])
    for other, theirs in measured.items():
        if (
            combination.version == "this"
            and other.version == "base"
            and (other.format, other.workers) == (combination.format, combination.workers)
        ):
            values = [a.cpu_s / b.cpu_s for a, b in zip(theirs, own, strict=True)]
            result[f"times_base_{other.runtime}"] = reporting.spread(values)
    return result


def words(result: dict[str, Any], key: str, form: str) -> str | None:
    return reporting.format_spread(result[key], form) if key in result else None


def run_loxo(source: Path, *args: str) -> subprocess.Popen[bytes]:
    """Starts `loxo ARGS` of a source tree."""
    code = "from loxo.cli import main; main()"
    environment = os.environ | {"PYTHONPATH": str(source)}
    return subprocess.Popen([sys.executable, "-c", code, *args], stdout=subprocess.DEVNULL, env=environment)


def simulated(folder: Path, kind: str, hours: float, name: str) -> Path:
    """The folder with the recording. An existing one is used as it is."""
    made = folder / f"{name}-{kind}"
    if not has_survey(made):
        size = ("--hours", str(hours), "--file-hours", str(hours), "--seed", "24")
        with run_loxo(SOURCE, "simulate", *size, "--format", kind, "--out", str(made)) as process:
            pass
        if process.returncode:
            sys.exit(f"loxo simulate ended with exit code {process.returncode}.")
    return made


def detect(source: Path, recordings: Path, out: Path, runtime: str, workers: int) -> Measurement:
    """Measures one `loxo detect`. A command that fails ends the benchmark."""
    before, began, peak = reporting.children_cpu_s(), time.perf_counter(), 0
    options = ("--out", str(out), "--workers", str(workers), "--runtime", runtime)
    with run_loxo(source, "detect", str(recordings), *options) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            peak = max(peak, memory_bytes(watched))
            time.sleep(0.1)
    if process.returncode:
        sys.exit(f"loxo detect of {source} with --runtime {runtime} ended with exit code {process.returncode}.")
    return Measurement(reporting.children_cpu_s() - before, time.perf_counter() - began, peak)


def memory_bytes(process: Any) -> int:
    """Memory of a process and its children; shared memory is counted in each."""
    total = 0
    for one in [process, *children(process)]:
        with suppress(psutil.Error):  # it has just ended
            total += one.memory_info().rss
    return total


def children(process: Any) -> list[Any]:
    with suppress(psutil.Error):
        return list(process.children(recursive=True))
    return []


if __name__ == "__main__":
    main()
