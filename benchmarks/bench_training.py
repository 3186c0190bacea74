"""Time of one training iteration of the default model: plain network against the fast operators of `loxo train`.

    python benchmarks/bench_training.py [--rounds 5] [--iterations 10] [--batch 16] [--threads 2]

Each variant runs in its own process, because memory and threads are set per process. The order changes with each round.
An iteration is front end, forward, loss, backward, gradient clipping and optimiser on a batch in memory. The time is
the median over the iterations after the first three. Speed-ups are ratios within a round.

    plain            float32, eager, front end in PyTorch, PyTorch's AdamW, freed memory returned to the system
    ... + bfloat16   autocast
    Loxo in ...      front end of detection, operators of network/fast/training.py, fused AdamW, freed memory kept;
                     `precision=auto` selects one of the two
    ... + Muon       the same with Muon for hidden weight matrices, the default of `loxo train`
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

import reporting
from loxo.engine.architectures import HTSATConfig
from loxo.machine import keep_freed_memory, numpy_on_one_thread
from loxo.network.fast import training as fast_training
from loxo.network.fast.inference import bfloat16_is_fast
from loxo.network.registry import build
from loxo.training import module
from loxo.training.config import TrainingConfig

VARIANTS = (
    "plain",
    "plain + bfloat16",
    "Loxo in float32",
    "Loxo in bfloat16",
    "Loxo in bfloat16 + Muon",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--variant", choices=VARIANTS, help="run only this variant, in this process, and print its seconds"
    )
    parser.add_argument("--out", type=Path, default=reporting.RESULTS)
    options = parser.parse_args()
    if options.variant:
        print(iteration_seconds(options))
        return
    times: dict[str, list[float]] = {name: [] for name in VARIANTS}
    order, shuffle = list(VARIANTS), random.Random(0).shuffle
    numbers = [f"--{name}={getattr(options, name)}" for name in ("iterations", "batch", "threads")]
    for _ in range(options.rounds):
        shuffle(order)
        for name in order:
            command = [sys.executable, __file__, "--variant", name, *numbers]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            times[name].append(float(done.stdout.split()[-1]))
    rows, results = [], {}
    for name, seconds in times.items():
        milliseconds = reporting.spread([1000 * s for s in seconds])
        gain = reporting.spread([base / own for base, own in zip(times[VARIANTS[0]], seconds, strict=True)])
        results[name] = {"ms": milliseconds, "speed_up": gain}
        rows.append((name, reporting.format_spread(milliseconds, "{:.0f}"), reporting.format_spread(gain, "{:.2f}")))
    chosen = "bfloat16" if bfloat16_is_fast() else "float32"
    with reporting.section("bench-training"):
        reporting.print_table(
            [f"iteration of {options.batch} windows, {options.threads} threads", "ms (quartiles)", "speed-up"], rows
        )
        print(f"\nOn this CPU `loxo train` uses {chosen} (precision=auto).")
    content = {"options": {k: str(v) for k, v in vars(options).items()}, "iterations": results}
    reporting.write_result("training", content, options.out)


def iteration_seconds(options: argparse.Namespace) -> float:
    """The median time of an iteration of one variant."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    fast = options.variant.startswith("Loxo")
    config = TrainingConfig(optimiser="muon" if "Muon" in options.variant else "adamw")
    model = build(HTSATConfig.preset("default")).train()
    if fast:
        keep_freed_memory()
        numpy_on_one_thread()
        fast_training.apply(model)
    else:
        module.images = lambda model, waveform: model.frontend(waveform)
    training = module.FrameTraining(model, config)
    optimiser: Any = module.build_optimiser(model, config)[0]
    if not fast:
        optimiser = torch.optim.AdamW(model.parameters(), lr=config.learning_rate)
    half = "bfloat16" in options.variant
    waveform = 0.1 * torch.randn(options.batch, model.config.window_samples)
    targets = (torch.rand(options.batch, len(model.config.rows), model.config.steps) < 0.1).float()
    seconds = []
    for _ in range(options.iterations + 3):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16) if half else nullcontext():
            loss = training(waveform, targets, np.random.default_rng(0))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[3:])


if __name__ == "__main__":
    main()
