"""The common part of all Loxo models: the outputs for a waveform of any length, and `infer`."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loxo.engine.config import ModelConfig
from loxo.engine.windows import hop_steps, window_starts, window_weight
from loxo.network.frontend import FrontEnd

CLIP_POOLING = {"mean": lambda logits: logits.mean(2), "max": lambda logits: logits.amax(2)}
WINDOWS_AT_ONCE = 8  # windows of a long input in one batch: limits the memory for any length


class FrameModel(nn.Module):
    """A network that maps a waveform to frame-wise and clip-wise probabilities of each class.

    A subclass has a `frontend` and implements `scaled` and `network` for one window. The rest of Loxo uses only the
    methods of this class.
    """

    head_name: ClassVar[str]  # name of the layer whose output size is the number of classes
    extra_heads: ClassVar[tuple[str, ...]] = ()  # names of optional heads; a checkpoint may lack them
    frontend: FrontEnd

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.provenance: dict[str, Any] = {}  # source of the weights; set when a model file is loaded

    @property
    def output_layers(self) -> tuple[str, ...]:
        """Names of the layers that compute the logits."""
        return (self.head_name,)

    def bands(self, waveform: Tensor) -> Tensor:
        """(batch, samples) -> (batch, channels, n_mels, frames), the input of `network`."""
        return self.scaled(self.frontend(waveform))

    def scaled(self, image: Tensor) -> Tensor:
        """Output of the front end -> input of `network`.

        (batch, channels, frames, n_mels) -> (batch, channels, n_mels, frames)
        """
        raise NotImplementedError

    def network(self, bands: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, channels, n_mels, frames) -> logits (batch, rows, steps), latent (batch, features)

        The rows are config.rows: the classes, then the additional outputs of the architecture.
        """
        raise NotImplementedError

    def forward(self, waveform: Tensor) -> dict[str, Tensor]:
        """waveform float32 (batch, samples) in [-1, 1] at config.sample_rate, of any length.

        Returns the probabilities framewise_output (batch, classes, frames) and clipwise_output (batch, classes);
        framewise_logits (batch, classes, steps) at the true time resolution; latent_output (batch, features). An
        architecture with more outputs than classes (config.rows) also returns row_logits (batch, rows, steps).

        One window gives config.output_frames frames and config.steps steps. A step is always config.step_samples
        samples, for any length of the waveform. The last step may be incomplete. A waveform shorter than one window is
        padded with zeros. A longer one is split into windows that overlap by half, and their logits are cross-faded.
        Raises TypeError for anything but a tensor of floating-point numbers, and ValueError for another shape, an empty
        batch, or no samples.
        """
        check_waveform(waveform)
        samples, window = waveform.shape[1], self.config.window_samples
        if samples == window:
            return self.outputs(*self.logits_and_latent(waveform))
        steps = math.ceil(samples / self.config.step_samples)
        stride = self.config.step_samples * self.config.stride_steps
        padded = F.pad(waveform, (0, max(math.ceil(samples / stride) * stride, window) - samples))
        logits, latent = self.cross_faded(padded) if samples > window else self.logits_and_latent(padded)
        output = self.outputs(logits[:, :, :steps], latent)
        frames = math.ceil(samples * self.config.output_frames / window)
        return output | {"framewise_output": output["framewise_output"][:, :, :frames]}

    def logits_and_latent(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, window_samples) -> logits (batch, rows, steps), latent (batch, features)."""
        return self.network(self.bands(waveform))

    def outputs(self, logits: Tensor, latent: Tensor) -> dict[str, Tensor]:
        """The result of `forward`, from logits (batch, rows, steps) and latent (batch, features)."""
        row_logits = logits.float()
        logits = row_logits[:, : len(self.config.classes)]
        additional = {} if self.config.rows == self.config.classes else {"row_logits": row_logits}
        return {
            "framewise_output": logits.sigmoid().repeat_interleave(
                self.config.output_frames // self.config.steps, dim=2
            ),
            "framewise_logits": logits,
            "clipwise_output": CLIP_POOLING[self.config.clip_pooling](logits).sigmoid(),
            "latent_output": latent.float(),
            **additional,
        }

    def cross_faded(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, a whole number of strides) -> logits (batch, rows, steps), mean latent (batch, features).

        Each step is a weighted mean over the windows that contain it. The weight falls towards the ends of a window,
        where a step has the least context. The windows and weights are those of detection (loxo.engine.windows).
        """
        config = self.config
        total = waveform.shape[1] // config.step_samples
        hop = hop_steps(0.5, config.steps, config.stride_steps)
        starts = window_starts(total, config.steps, hop, config.stride_steps)
        weight = torch.tensor(window_weight(config.steps), device=waveform.device)  # (steps,)
        weights = torch.zeros(total, device=waveform.device)
        logits = torch.zeros(len(waveform), len(config.rows), total, device=waveform.device)
        latents = []
        for k in range(0, len(starts), WINDOWS_AT_ONCE):
            group = starts[k : k + WINDOWS_AT_ONCE]
            firsts = [start * config.step_samples for start in group]
            windows = torch.stack([waveform[:, first : first + config.window_samples] for first in firsts])  # (W, B, S)
            group_logits, latent = self.logits_and_latent(windows.flatten(0, 1))
            latents.append(latent.float().unflatten(0, windows.shape[:2]).sum(0))
            for start, window_logits in zip(group, group_logits.float().unflatten(0, windows.shape[:2]), strict=True):
                steps = slice(start, start + config.steps)
                logits[:, :, steps] += window_logits * weight
                weights[steps] += weight
        return logits / weights, torch.stack(latents).sum(0) / len(starts)

    @torch.no_grad()
    def infer(self, waveform: Tensor, bins: int = 10) -> Tensor:
        """(batch, samples) -> (batch, classes, bins) probabilities: means of the frames over equal spans of time.

        The model computes in eval mode; afterwards each module is back in its own mode. Raises ValueError unless
        `bins` is a whole number of at least 1, otherwise as `forward` does.
        """
        if bins < 1 or bins != int(bins):
            raise ValueError(f"bins must be a whole number of at least 1, not {bins}")
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        try:
            frames = self(waveform)["framewise_output"]
        finally:
            for module, training in modes:
                module.training = training
        return mean_over_bins(frames, bins, waveform.shape[1] * self.config.output_frames / self.config.window_samples)


def mean_over_bins(frames: Tensor, bins: int, length: float | None = None) -> Tensor:
    """(..., frames) -> (..., bins): exact means over equal spans. A frame on a border is split between both bins.

    `length`: the end of the last bin in frames, if it lies within the last frame.
    """
    total = frames.shape[-1]
    width = (length or total) / bins
    borders = torch.arange(bins + 1, device=frames.device, dtype=torch.float64) * width
    whole = borders.floor().long().clamp_max(total - 1)
    sums = F.pad(frames.double().cumsum(-1), (1, 0))
    integral = sums[..., whole] + (borders - whole) * frames.double()[..., whole]  # from the start to each border
    return (integral.diff(dim=-1) / width).to(frames.dtype)


def check_waveform(waveform: object) -> None:
    """Raises TypeError or ValueError unless it is a tensor of floating-point samples (batch, samples), not empty."""
    contract = "a waveform is a torch.Tensor of shape (batch, samples) with floating-point samples"
    if not isinstance(waveform, Tensor):
        raise TypeError(f"{contract}, not {type(waveform).__name__}; torch.from_numpy converts a NumPy array")
    if not waveform.is_floating_point():
        raise TypeError(f"{contract} in [-1, 1], not {waveform.dtype}; divide 16-bit samples by 32768")
    if waveform.ndim != 2 or 0 in waveform.shape:
        raise ValueError(f"{contract}, at least one of each; this one has shape {tuple(waveform.shape)}")
