"""Figures of a network: parameters, operations and receptive field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from loxo.engine.info import NetworkFigures
from loxo.network.base import FrameModel
from loxo.network.loading import load_model

FUSED_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # PyTorch counts it on GPUs only
NO_GRADIENT = 1e-25  # relative gradient below which a frame has no influence: rounding leaves less than this


def network_figures(name_or_path: str | Path) -> NetworkFigures:
    """The figures of a bundled model, or of the model in a file. Raises LoxoError as `load_model` does."""
    model = load_model(name_or_path)
    operations, seconds = measure(model)
    return NetworkFigures(sum(parameter.numel() for parameter in model.parameters()), operations, seconds)


def _attention_operations(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """Operations of attention over shapes (batch, heads, tokens, channels)."""
    return int(sdpa_flop_count(query, key, value))


def measure(model: FrameModel) -> tuple[int, float]:
    """(multiply-accumulates for one window, receptive field of a middle step in seconds), from one forward and backward
    pass."""
    config = model.config
    noise = 0.1 * torch.randn(1, config.window_samples, generator=torch.Generator().manual_seed(0))
    counter = FlopCounterMode(display=False, custom_mapping={FUSED_ATTENTION: _attention_operations})
    with torch.enable_grad(), counter:
        bands: Tensor = model.bands(noise).detach().requires_grad_()
        logits, _ = model.network(bands)
        operations = counter.get_total_flops() // 2
    (gradient,) = torch.autograd.grad(logits[0, :, config.steps // 2].sum(), bands)
    influence = gradient[0].abs().amax((0, 1))  # (frames,)
    frames = (influence > NO_GRADIENT * influence.max()).nonzero().flatten()
    span = int(frames[-1] - frames[0]) + 1
    return operations, span / bands.shape[3] * config.window_samples / config.sample_rate
