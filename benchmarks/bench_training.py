"""A training step of the default model, as `loxo train` takes it, beside the straightforward one of the same network.

    python benchmarks/bench_training.py [--rounds 5] [--steps 10] [--batch 16] [--threads 2]

Each variant in each round is a process of its own, in another order, because memory and threads are set for a process.
A step is front end, forward, loss, backward, clipping and optimiser on a batch that is there already; its time is the
median over the steps after the first three. Speed-ups are within a round.

    straightforward  float32, eager, front end, norm and AdamW as they come, memory given back to the system as it comes
    ... + bfloat16   autocast
    Loxo in ...      the front end of detection, the operators of models/learning.py, fused AdamW, memory kept;
                     `precision=auto` takes one of the two
    ... + Muon       the same with Muon for the matrices, as `loxo train` has it unless told otherwise
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
from torch import Tensor

import record
from loxo.engine.architectures import HTSATConfig
from loxo.machine import keep_freed_memory
from loxo.network import htsat, swin
from loxo.network.fast import training as learning
from loxo.network.fast.inference import bfloat16_is_fast
from loxo.network.registry import build
from loxo.training import module
from loxo.training.config import TrainingConfig

VARIANTS = (
    "straightforward",
    "straightforward + bfloat16",
    "Loxo in float32",
    "Loxo in bfloat16",
    "Loxo in bfloat16 + Muon",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--variant", choices=VARIANTS, help="only this one, in this process; prints its seconds")
    parser.add_argument("--out", type=Path, default=record.RESULTS)
    options = parser.parse_args()
    if options.variant:
        print(step_seconds(options))
        return
    times: dict[str, list[float]] = {name: [] for name in VARIANTS}
    order, shuffle = list(VARIANTS), random.Random(0).shuffle
    numbers = [f"--{name}={getattr(options, name)}" for name in ("steps", "batch", "threads")]
    for _ in range(options.rounds):
        shuffle(order)
        for name in order:
            command = [sys.executable, __file__, "--variant", name, *numbers]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            times[name].append(float(done.stdout.split()[-1]))
    rows, results = [], {}
    for name, seconds in times.items():
        milliseconds = record.spread([1000 * s for s in seconds])
        gain = record.spread([base / own for base, own in zip(times[VARIANTS[0]], seconds, strict=True)])
        results[name] = {"ms": milliseconds, "speed_up": gain}
        rows.append((name, record.words(milliseconds, "{:.0f}"), record.words(gain, "{:.2f}")))
    record.table([f"step of {options.batch} windows, {options.threads} threads", "ms (quartiles)", "speed-up"], rows)
    chosen = "bfloat16" if bfloat16_is_fast() else "float32"
    print(f"\nOn this processor `loxo train` takes {chosen} (precision=auto).")
    record.write("training", {"options": {k: str(v) for k, v in vars(options).items()}, "steps": results}, options.out)


def step_seconds(options: argparse.Namespace) -> float:
    """The median of a variant's steps."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    ours = options.variant.startswith("Loxo")
    if ours:
        keep_freed_memory()
    else:
        swin.MASKED = -100.0  # as the paper has it
        htsat.FineHead.see = plain_see  # type: ignore[method-assign]
        module.images = lambda model, waveform: model.frontend(waveform)
        learning.batch_norm = lambda x, layer: layer(x[..., None])[..., 0]
        learning.halving = learning.conv1d = lambda x, layer: layer(x)
        learning.linear, learning.attend = plain_linear, plain_attention
    config = TrainingConfig(optimiser="muon" if "Muon" in options.variant else "adamw")
    model = build(HTSATConfig.preset("default")).train()
    training = module.FrameTraining(model, config)
    optimiser: Any = module.build_optimiser(model, config)[0]
    if not ours:
        optimiser = torch.optim.AdamW(model.parameters(), lr=config.learning_rate)
    half = "bfloat16" in options.variant
    waveform = 0.1 * torch.randn(options.batch, model.config.window_samples)
    targets = (torch.rand(options.batch, len(model.config.rows), model.config.steps) < 0.1).float()
    taken = []
    for _ in range(options.steps + 3):
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16) if half else nullcontext():
            loss = training(waveform, targets, np.random.default_rng(0))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[3:])


def plain_linear(x: Tensor, layer: Any, added: Tensor | None = None) -> Tensor:
    out: Tensor = layer(x)
    return out if added is None else added + out


def plain_attention(qkv: Tensor, bias: Tensor, mask: Tensor | None, heads: int) -> Tensor:
    """Window attention as the paper has it, operator by operator: (B, W, N, 3 D) -> (B, W, N, D)."""
    b, w, n, joined = qkv.shape
    q, k, v = qkv.view(b, w, n, 3, heads, -1).permute(3, 0, 1, 4, 2, 5)
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1) + bias
    if mask is not None:
        logits = logits + mask[:, None]
    return (logits.softmax(-1) @ v).transpose(2, 3).reshape(b, w, n, joined // 3)


def plain_see(self: Any, seen: Tensor) -> Tensor:
    """The fine head's convolution over time: (batch, channels, rows, steps) -> (batch, fine, steps)."""
    looked: Tensor = self.look(seen.flatten(1, 2))
    return looked


if __name__ == "__main__":
    main()
