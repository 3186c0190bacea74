"""Size, cost and time resolution of a model: `loxo info`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from loxo.engine.config import ModelConfig
from loxo.engine.model_file import find_model, hash_model
from loxo.network.base import FrameModel
from loxo.network.loading import load_model

FUSED_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # PyTorch counts it on GPUs only
NO_GRADIENT = 1e-25  # relative gradient below which a frame has no influence: rounding leaves less than this


@dataclass(frozen=True)
class ModelInfo:
    """`str()` gives the text that the command prints."""

    path: Path
    sha256: str
    config: ModelConfig
    parameters: int
    operations: int  # multiply-accumulates for one window, without the Fourier transforms of the front end
    receptive_field_s: float  # seconds of the image that influence a step in the middle of the window
    provenance: dict[str, Any]

    @property
    def window_s(self) -> float:
        return self.config.window_samples / self.config.sample_rate

    @property
    def resolution_s(self) -> float:
        """The true time resolution: the length of a step. The output repeats each step over several frames."""
        return self.config.step_samples / self.config.sample_rate

    def __str__(self) -> str:
        config = self.config
        repeats = config.output_frames // config.steps
        rows = {
            "file": str(self.path),
            "sha256": self.sha256,
            "architecture": config.architecture,
            "classes": _shortened(config.classes),
            "window": f"{self.window_s:g} s at {config.sample_rate} Hz ({config.window_samples} samples)",
            "time resolution": f"{self.resolution_s:g} s: {config.steps} steps in a window, "
            f"each {repeats} of the {config.output_frames} output frames",
            "receptive field": f"{self.receptive_field_s:.3g} s of the image around a step in the middle of the window",
            "parameters": f"{self.parameters:,}",
            "operations": f"{self.operations / 1e9:.3g} G multiply-accumulates a window, Fourier transforms aside",
        }
        lines = [f"{name:16} {value}" for name, value in rows.items()]
        for title, values in (("config", config.to_dict()), ("provenance", self.provenance)):
            lines.append(title)
            lines += [f"  {name:14} {_shortened(value)}" for name, value in values.items() if name != "classes"]
        return "\n".join(lines)


def model_info(name_or_path: str | Path) -> ModelInfo:
    """The figures of a bundled model or of a model file. Raises LoxoError as `load_model` does."""
    path = find_model(name_or_path)
    model = load_model(path)
    operations, seconds = measure(model)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return ModelInfo(path, hash_model(path), model.config, parameters, operations, seconds, model.provenance)


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


def _shortened(value: Any) -> str:
    if isinstance(value, tuple | list) and len(value) > 8 and all(isinstance(item, str) for item in value):
        return f"{len(value)}: {', '.join(value[:3])}, ..., {value[-1]}"
    if isinstance(value, tuple | list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value)
