"""How fast detection is, stage by stage and whole, beside what this machine can do at most.

    python benchmarks/bench_speed.py [--model default] [--minutes 30] [--rate 8000] [--rounds 5]

Everything runs in one thread of one process on a simulated WAV (so: 16 bit, the page cache warm). Each round runs
every stage and every limit once, in another order; medians and quartiles are over rounds. Speeds are times real time
per core: seconds of sound over seconds of the processor. `whole` is loxo.detection.detect.analyse and the writing of
a table. A stage's memory is what it takes at most beyond what the process held before (on Linux). `loxo detect` is the
command in a process of its own, start-up included, with its peak memory.

Limits: matrix products of 1024 x 1024 in torch, in the network's precision; real Fourier transforms of 1024 float32
in scipy; reading a file of 256 MB from the page cache; writing as much, flushed to the disk. A share is what a stage
gets of its limit: the network's multiply-accumulates, the front end's Fourier transforms, the bytes that reading takes
in.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import soxr
import torch
from scipy import fft

import reporting
from loxo.audio.recording import probe, stream
from loxo.detection.decode import decode
from loxo.detection.detect import analyse
from loxo.detection.scores import CHUNK, frame_scores
from loxo.engine.engine import GraphEngine, load_engine
from loxo.engine.frontend import FrontEnd
from loxo.engine.windows import GROUP, WINDOW_OVERLAP, hop_steps
from loxo.events.raven import write_raven
from loxo.network.info import measure
from loxo.network.loading import load_model
from loxo.simulation.simulate import simulate

MATRIX, TRANSFORM, DISK_BYTES = 1024, 1024, 256 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--runtime", default="auto", help="onnxruntime, openvino or auto")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=int, default=8000, help="of the recording; the model has its own")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--disk-mb", type=int, default=DISK_BYTES >> 20)
    parser.add_argument("--out", type=Path, default=reporting.RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        simulate(Path(folder) / "sound", options.minutes / 60, 5, sample_rate=options.rate, file_hours=24, format="wav")
        [path] = sorted((Path(folder) / "sound").glob("*.wav"))
        engine = load_engine(options.model, runtime=options.runtime)
        if not isinstance(engine, GraphEngine):
            sys.exit("Stage by stage only runtimes that run a graph are measured: give onnxruntime or openvino.")
        work, amounts = stages(path, engine, Path(folder))
        amounts["operations"] = measure(load_model(options.model))[0] * amounts.pop("windows")
        bounds, sizes = limits(Path(folder), options.disk_mb << 20, getattr(torch, engine.describe()["precision"]))
        times = interleaved(work | bounds, options.rounds)
        taken_mb = {name: peak_mb(stage) for name, stage in work.items()} if sys.platform == "linux" else {}
        command, peaks = command_times(path, options, Path(folder))
    seconds = options.minutes * 60
    with reporting.section("bench-speed"):
        result = report(times, command, peaks, amounts, sizes, seconds, taken_mb)
    reporting.write_result("speed", {"options": {k: str(v) for k, v in vars(options).items()}, **result}, options.out)


def stages(path: Path, engine: GraphEngine, folder: Path) -> tuple[dict[str, Callable[[], Any]], dict[str, float]]:
    """What is timed, by name; and how much work is in it: bytes, transforms and multiply-accumulates."""
    config = engine.config
    recording = probe(path)
    raw = list(stream(recording, recording.sample_rate))
    samples = np.concatenate(list(stream(recording, config.sample_rate)))
    hop = hop_steps(WINDOW_OVERLAP, config.steps, config.stride_steps)
    hop_samples = hop * config.step_samples
    reach = (CHUNK - 1) * hop_samples + config.window_samples
    chunks, windows = [], 0
    for first in range(0, len(samples) - config.window_samples + 1, CHUNK * hop_samples):
        chunk = samples[first : first + reach]
        firsts = range(0, len(chunk) - config.window_samples + 1, hop_samples)
        chunks.append((chunk, [list(firsts[k : k + GROUP]) for k in range(0, len(firsts), GROUP)]))
        windows += len(firsts)
    frontend = FrontEnd(config)

    def images_of(levels: Any, group: list[int]) -> Any:
        images = np.zeros((GROUP, config.in_chans, config.n_mels, config.image_frames), np.float32)
        levels.images([first // config.hop_length for first in group], images[: len(group)])
        return images

    images = [images_of(frontend.levels(chunk), group) for chunk, groups in chunks for group in groups]
    scores = frame_scores(engine, [samples])
    events = decode(scores, config, threshold=0.05).assign(recording=str(path))
    table = analyse(path, engine, threshold=0.05).events

    def read() -> None:
        for _ in stream(recording, recording.sample_rate):
            pass

    def resample() -> None:
        resampler = soxr.ResampleStream(recording.sample_rate, config.sample_rate, 1, dtype="float32", quality="HQ")
        for block in raw:
            resampler.resample_chunk(block)
        resampler.resample_chunk(np.zeros(0, np.float32), last=True)

    def front_end() -> None:
        for chunk, groups in chunks:
            levels = frontend.levels(chunk)
            for group in groups:
                images_of(levels, group)

    def network() -> None:
        for group in images:
            engine.network(group)

    def whole() -> None:
        write_raven(analyse(path, engine).events, folder / "whole.selections.txt")

    work: dict[str, Callable[[], Any]] = {
        "read": read,
        "resample": resample,
        "front end": front_end,
        "network": network,
        "decode": lambda: decode(scores, config),
        "write": lambda: write_raven(table, folder / "t.selections.txt"),
        "whole": whole,
    }
    if recording.sample_rate == config.sample_rate:
        del work["resample"]
    amounts = {"bytes": path.stat().st_size, "windows": windows, "events": len(events)}
    amounts["flops of transforms"] = transforms_in(front_end)
    return work, amounts


def transforms_in(work: Callable[[], Any]) -> float:
    """Operations of the Fourier transforms in some work, as they are called."""
    flops, rfft = 0.0, fft.rfft

    def counted(rows: Any, **options: Any) -> Any:
        nonlocal flops
        flops += rows.size / rows.shape[-1] * transform_flops(rows.shape[-1])
        return rfft(rows, **options)

    with mock.patch.object(fft, "rfft", counted):
        work()
    return flops


def transform_flops(size: int) -> float:
    """The usual count of a real transform: 2.5 N log2 N."""
    return 2.5 * size * math.log2(size)


def limits(
    folder: Path, disk_bytes: int, precision: torch.dtype
) -> tuple[dict[str, Callable[[], Any]], dict[str, float]]:
    """What is timed to know the machine, by name; and the work in it."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(MATRIX, MATRIX, generator=generator).to(precision) for _ in range(2))
    signal = np.random.default_rng(0).standard_normal((512, TRANSFORM)).astype(np.float32)
    data, file = np.random.default_rng(0).bytes(disk_bytes), folder / "disk"

    def write() -> None:
        import os

        with file.open("wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())

    def read() -> None:
        with file.open("rb", buffering=0) as handle:
            while handle.read(1 << 20):
                pass

    write()
    work: dict[str, Callable[[], Any]] = {
        "limit: matrix product": lambda: [a @ b for _ in range(8)],
        "limit: transform": lambda: [fft.rfft(signal) for _ in range(8)],
        "limit: read": read,
        "limit: write": write,
    }
    sizes = {
        "limit: matrix product": 8 * 2.0 * MATRIX**3,
        "limit: transform": 8 * len(signal) * transform_flops(TRANSFORM),
        "limit: read": float(disk_bytes),
        "limit: write": float(disk_bytes),
    }
    return work, sizes


def interleaved(work: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """(seconds of the processor, seconds on the clock) of each in each round, after one round to warm up."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in work}
    shuffle = random.Random(0).shuffle
    order = list(work)
    for turn in range(rounds + 1):
        shuffle(order)
        for name in order:
            processor, clock = time.process_time(), time.perf_counter()
            work[name]()
            if turn:
                times[name].append((time.process_time() - processor, time.perf_counter() - clock))
    return times


def peak_mb(stage: Callable[[], Any]) -> float:
    """Megabytes that a stage takes at most, beyond what is held before it."""
    ctypes.CDLL(None).malloc_trim(0)  # or it would find what others have freed
    before = _status_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the highest so far is forgotten
    stage()
    return _status_mb("VmHWM") - before


def _status_mb(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def command_times(path: Path, options: argparse.Namespace, folder: Path) -> tuple[list[float], list[float]]:
    """Seconds of the processor and peak megabytes of `loxo detect` in a process of its own."""
    seconds, peaks = [], []
    for turn in range(options.rounds):
        out = str(folder / f"run{turn}")
        code = (
            "import re, sys\nfrom loxo.cli import main\n"
            f"sys.argv = ['loxo', 'detect', {str(path)!r}, '--out', {out!r}, '--workers', '1', "
            f"'--model', {options.model!r}, '--runtime', {options.runtime!r}]\n"
            "try:\n    main()\nexcept SystemExit as stopped:\n    assert not stopped.code, stopped\n"
            # Not ru_maxrss, which begins with what the process that started this one held.
            "peak = re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read()).group(1)\n"
            "print('PEAK', int(peak) / 1024)\n"
        )
        before = reporting.children_cpu_s()
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        seconds.append(reporting.children_cpu_s() - before)
        peaks.append(float(done.stdout.rsplit("PEAK", 1)[1]))
    return seconds, peaks


def report(
    times: dict[str, list[tuple[float, float]]],
    command: list[float],
    peaks: list[float],
    amounts: dict[str, float],
    sizes: dict[str, float],
    seconds: float,
    taken_mb: dict[str, float],
) -> dict[str, Any]:
    """Prints the tables and returns what is in them."""
    # Disks are waited for: their limits are by the clock, everything else by the processor.
    taken = {
        name: [pair["read" in name or "limit: write" in name] for pair in values] for name, values in times.items()
    }
    per_second = {name: reporting.spread([size / max(t, 1e-9) for t in taken[name]]) for name, size in sizes.items()}
    speeds = {
        name: reporting.spread([seconds / max(t, 1e-9) for t in taken[name]]) for name in taken if name not in sizes
    }
    speeds["loxo detect"] = reporting.spread([seconds / t for t in command])
    reached = {
        "network": ("limit: matrix product", 2 * amounts["operations"]),
        "front end": ("limit: transform", amounts["flops of transforms"]),
        "read": ("limit: read", amounts["bytes"]),
    }
    # Shares are taken within rounds, so that what else the machine does falls on both.
    shares = {}
    for name, (limit, amount) in reached.items():
        pairs = zip(taken[name], taken[limit], strict=True)
        shares[name] = reporting.spread([100 * (amount / own) / (sizes[limit] / bound) for own, bound in pairs])
    total = reporting.spread(taken["whole"])["median"]
    print(f"\n{seconds / 60:g} min of sound, {amounts['events']} events in the table that is written\n")
    rows = []
    for name, speed in speeds.items():
        share = f"{100 * reporting.spread(taken[name])['median'] / total:.1f} %" if name in taken else None
        limit = reporting.format_spread(shares[name], "{:.1f}") + " %" if name in shares else None
        memory = f"{taken_mb[name]:.0f}" if name in taken_mb else None
        rows.append((name, reporting.format_spread(speed, "{:,.0f}"), share, limit, memory))
    columns = [
        "stage",
        "x real time per core (quartiles)",
        "of the whole",
        "of the machine's limit",
        "MB more at its peak",
    ]
    reporting.print_table(columns, rows)
    print()
    units = {"limit: matrix product": "GFLOP/s", "limit: transform": "GFLOP/s", "limit: read": "GB/s"}
    rows = [
        (
            name.removeprefix("limit: "),
            reporting.format_spread({k: v / 1e9 for k, v in of.items()}, "{:.2f}"),
            units.get(name, "GB/s"),
        )
        for name, of in per_second.items()
    ]
    reporting.print_table(["limit of the machine", "median (quartiles)", "unit"], rows)
    peak = reporting.spread(peaks)
    print(f"\npeak memory of `loxo detect`: {reporting.format_spread(peak, '{:.0f}')} MB")
    return {
        "seconds_of_sound": seconds,
        "amounts": amounts,
        "x_real_time_per_core": speeds,
        "limits_per_second": per_second,
        "percent_of_limit": shares,
        "peak_mb": peak,
        "stages_peak_mb": taken_mb,
        "seconds": {name: [list(pair) for pair in values] for name, values in times.items()},
    }


if __name__ == "__main__":
    main()
