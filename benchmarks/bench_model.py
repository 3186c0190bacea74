"""The network alone against Hugging Face's ClapAudioModel: same size, same weights, same log-mel input.

    python benchmarks/bench_model.py                  # 31 M parameters, batch 8, one thread
    python benchmarks/bench_model.py --small          # a test run: seconds instead of minutes

Each round runs each variant once, in another order, so that other load on the machine affects all variants. A speed-up
is the median over the rounds of the ratio within a round. Deviations are those of frame probabilities from
ClapAudioModel in float32; all variants share one token-semantic head. The weights are random. Loxo's PyTorch variants
have the fast operators, as in detection and in training. Its graphs run in one thread.
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import ClapAudioConfig, ClapAudioModel

from loxo.engine import onnx_runtime, openvino
from loxo.engine.architectures import HTSATConfig
from loxo.engine.engine import Network
from loxo.engine.windows import GROUP
from loxo.network.fast import inference
from loxo.network.fast import training as fast_training
from loxo.network.foreign.checkpoints import load_weights
from loxo.network.graph import onnx_of
from loxo.network.htsat import HTSAT

SIZES: dict[str, dict[str, Any]] = {
    "full": {"embed_dim": 96, "depths": (2, 2, 6, 2), "num_heads": (4, 8, 16, 32)},
    "small": {"embed_dim": 16, "depths": (1, 1, 2, 1), "num_heads": (2, 2, 4, 4)},
}
BASELINE = "ClapAudioModel float32"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, default=2 * GROUP, help=f"windows, a multiple of {GROUP}")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--small", action="store_true", help="a tiny model")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model, clap = same_weights("small" if options.small else "full")
    waveform = 0.1 * torch.randn(options.batch, model.config.window_samples)
    with torch.no_grad():
        logmel = model.frontend(waveform)  # (batch, 1, 1001, 64): what ClapAudioModel takes
    print(f"{machine()}, {options.threads} thread(s), batch {options.batch}, {options.rounds} rounds")
    print(f"{sum(p.numel() for p in clap.parameters()) / 1e6:.1f} M parameters, 10 s at 48 kHz\n")

    variants = inference_variants(model, clap, logmel)
    with torch.inference_mode():
        exact = variants[BASELINE]()
        spread = exact.logit().std().item()
        far = {name: (run() - exact).abs().max().item() for name, run in variants.items()}
        table("inference", interleaved(variants, options.rounds), far)
    print(f"(standard deviation of the frame logits: {spread:.2f})\n")
    table("training step", interleaved(training_variants(model, clap, logmel), options.rounds))


UNITS = {"AMX bf16": "amx_bf16", "AVX512 bf16": "avx512_bf16"}  # name, flag of the kernel


def machine() -> str:
    """The CPU, whether it has units for bfloat16, the version of PyTorch, and the load of the machine."""
    about = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    fields = dict(line.split(":", 1) for line in about.splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    flags = fields.get("flags", "").split()
    units = [f"{name} {'yes' if flag in flags else 'no'}" for name, flag in UNITS.items()]
    name = fields.get("model name", platform.processor() or platform.machine())
    load = f", load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores" if hasattr(os, "getloadavg") else ""
    return f"{name} ({', '.join(units)}), torch {torch.__version__}{load}"


def same_weights(size: str) -> tuple[HTSAT, ClapAudioModel]:
    fields = SIZES[size]
    dim, depths, heads = fields["embed_dim"], fields["depths"], fields["num_heads"]
    clap = ClapAudioModel(
        ClapAudioConfig(
            patch_embeds_hidden_size=dim,
            depths=list(depths),
            num_attention_heads=list(heads),
            hidden_size=8 * dim,
            hidden_dropout_prob=0.0,
        )
    ).eval()
    clap.audio_encoder.batch_norm.running_mean.fill_(-20.0)
    clap.audio_encoder.batch_norm.running_var.fill_(30.0)
    model = HTSAT(HTSATConfig.preset("clap-tiny", **fields, drop_path=0.0)).eval()
    with tempfile.TemporaryDirectory() as folder:
        torch.save(clap.state_dict(), Path(folder) / "pytorch_model.bin")
        load_weights(model, Path(folder) / "pytorch_model.bin")
    nn.init.normal_(model.tscam_conv.weight, std=0.05)  # the logits have the spread of a trained model
    return model, clap


def inference_variants(model: HTSAT, clap: ClapAudioModel, logmel: Tensor) -> dict[str, Callable[[], Tensor]]:
    model = copy.deepcopy(model).requires_grad_(False)  # as in detection: without gradients
    inference.apply(model)
    halved = copy.deepcopy(model).to(torch.bfloat16)
    halved.bn0.float()
    graph = onnx_of(model)
    runtimes: dict[str, Network] = {
        "ONNX Runtime float32": onnx_runtime.open_network(graph, "benchmark"),
        "OpenVINO float32": openvino.open_network(graph, "benchmark", "float32"),
        "OpenVINO bfloat16": openvino.open_network(graph, "benchmark", "bfloat16"),
    }

    def theirs() -> Tensor:
        return model.tscam_conv(clap(logmel).last_hidden_state).squeeze(2).float().sigmoid()

    def ours(network: HTSAT = model, dtype: torch.dtype = torch.float32) -> Tensor:
        image = network.fold(network.scaled(logmel)).to(dtype)
        return network.tscam_conv(network.unfold(network.encode(image))).squeeze(2).float().sigmoid()

    def by_graph(runtime: str) -> Tensor:
        resized = logmel.transpose(2, 3) @ model.resize  # (batch, 1, n_mels, image_frames)
        groups = [runtimes[runtime](group.numpy())[0] for group in resized.split(GROUP)]
        return torch.from_numpy(np.concatenate(groups)).sigmoid()

    return {
        BASELINE: theirs,
        "ClapAudioModel bfloat16 autocast": autocast(theirs),
        "Loxo float32": ours,
        "Loxo bfloat16 autocast": autocast(ours),
        "Loxo bfloat16 weights": lambda: ours(halved, torch.bfloat16),
        **{f"Loxo by {runtime}": partial(by_graph, runtime) for runtime in runtimes},
    }


def training_variants(model: HTSAT, clap: ClapAudioModel, logmel: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Forward, loss, backward and fused AdamW, the same for both models, in train mode and without dropout."""
    model = copy.deepcopy(model)
    fast_training.apply(model)
    targets = (torch.rand(len(logmel), len(model.config.classes), model.config.steps) < 0.1).float()
    head = copy.deepcopy(model.tscam_conv)

    def step(parameters: list[nn.Parameter], logits: Callable[[], Tensor]) -> Callable[[], Tensor]:
        optimiser = torch.optim.AdamW(parameters, lr=1e-5, fused=True)

        def run() -> Tensor:
            optimiser.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(logits().float(), targets)
            loss.backward()
            optimiser.step()
            return loss

        return run

    def theirs() -> Tensor:
        return head(clap(logmel).last_hidden_state).squeeze(2)

    def ours() -> Tensor:
        return model.network(model.scaled(logmel))[0]

    clap.train()
    model.train()
    return {
        BASELINE: step([*clap.parameters(), *head.parameters()], theirs),
        "Loxo float32": step(list(model.parameters()), ours),
        "Loxo bfloat16 autocast": step(list(model.parameters()), autocast(ours)),
    }


def autocast(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
    def cast() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return run()

    return cast


def interleaved(variants: dict[str, Callable[[], Tensor]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each variant in each round, after one round to warm up."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    order = list(variants)
    shuffle = random.Random(0).shuffle
    for turn in range(rounds + 1):
        shuffle(order)
        for name in order:
            start = time.perf_counter()
            variants[name]()
            if turn:
                times[name].append(time.perf_counter() - start)
    return times


def table(title: str, times: dict[str, list[float]], deviations: dict[str, float] | None = None) -> None:
    print(f"| {title} | ms, median | quartiles | speed-up | quartiles |{' largest deviation |' if deviations else ''}")
    print(f"|---|---|---|---|---|{'---|' if deviations else ''}")
    for name, seconds in times.items():
        milliseconds = [1000 * s for s in seconds]
        ratios = [base / own for base, own in zip(times[BASELINE], seconds, strict=True)]
        cells = [name, *summary(milliseconds, "{:.0f}"), *summary(ratios, "{:.2f}")]
        if deviations:
            cells.append(f"{deviations[name]:.1e}")
        print(f"| {' | '.join(cells)} |")


def summary(values: list[float], form: str) -> tuple[str, str]:
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return form.format(middle), f"{form.format(low)}-{form.format(high)}"


if __name__ == "__main__":
    main()
