"""What every Loxo model has in common: the outputs for a waveform of any length, and `infer`, whatever the network."""

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
WINDOWS_AT_ONCE = 8  # of one long waveform: bounds the memory, whatever the length


class FrameModel(nn.Module):
    """A network that maps a waveform to frame-wise and clip-wise probabilities of each class.

    A subclass has a `frontend` and implements `scaled` and `network` for one window; the rest of Loxo uses only what is
    defined here.
    """

    head_name: ClassVar[str]  # name of the layer whose size is the number of classes
    extra_heads: ClassVar[tuple[str, ...]] = ()  # names of what adds to it or stands beside it, and may begin anew
    frontend: FrontEnd

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.provenance: dict[str, Any] = {}  # where the weights come from; filled when a model file is loaded

    @property
    def output_layers(self) -> tuple[str, ...]:
        """Names of the layers whose sums are the logits."""
        return (self.head_name,)

    def bands(self, waveform: Tensor) -> Tensor:
        """(batch, samples) -> (batch, channels, n_mels, frames), as the network wants them."""
        return self.scaled(self.frontend(waveform))

    def scaled(self, image: Tensor) -> Tensor:
        """(batch, channels, frames, n_mels), the front end's -> (batch, channels, n_mels, frames), the network's"""
        raise NotImplementedError

    def network(self, bands: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, channels, n_mels, frames) -> logits (batch, rows, steps), latent (batch, features)

        Rows are those of config.rows: the classes, then what else the architecture tells.
        """
        raise NotImplementedError

    def forward(self, waveform: Tensor) -> dict[str, Tensor]:
        """waveform float32 (batch, samples) in [-1, 1] at config.sample_rate, of any length.

        Returns framewise_output (batch, classes, frames) and clipwise_output (batch, classes), probabilities;
        framewise_logits (batch, classes, steps) at the true resolution; latent_output (batch, features); and, of an
        architecture that tells more than its classes (config.rows), row_logits (batch, rows, steps).

        One window gives config.output_frames frames and config.steps steps. Time always means the same: a step is
        config.step_samples samples, whatever the length, and a last one that is begun is given. A shorter waveform is
        followed by silence; a longer one is read in windows that overlap by half, whose logits are cross-faded.
        Raises ValueError for a tensor of another shape, or without samples.
        """
        if waveform.ndim != 2 or waveform.shape[1] == 0:
            raise ValueError(f"a waveform has shape (batch, samples), not {tuple(waveform.shape)}")
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
        """What `forward` returns, from (batch, rows, steps) and (batch, features)."""
        rows = logits.float()
        logits = rows[:, : len(self.config.classes)]
        more = {} if self.config.rows == self.config.classes else {"row_logits": rows}
        return {
            "framewise_output": logits.sigmoid().repeat_interleave(
                self.config.output_frames // self.config.steps, dim=2
            ),
            "framewise_logits": logits,
            "clipwise_output": CLIP_POOLING[self.config.clip_pooling](logits).sigmoid(),
            "latent_output": latent.float(),
            **more,
        }

    def cross_faded(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, a whole number of strides) -> logits (batch, rows, steps), mean latent (batch, features).

        Every step is a mean over the windows that hold it, weighted by how far it lies from their ends, where a
        window has seen least of what surrounds it (loxo.engine.windows, as in detection).
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
            some = starts[k : k + WINDOWS_AT_ONCE]
            firsts = [start * config.step_samples for start in some]
            windows = torch.stack([waveform[:, first : first + config.window_samples] for first in firsts])  # (W, B, S)
            some_logits, latent = self.logits_and_latent(windows.flatten(0, 1))
            latents.append(latent.float().unflatten(0, windows.shape[:2]).sum(0))
            for start, piece in zip(some, some_logits.float().unflatten(0, windows.shape[:2]), strict=True):
                here = slice(start, start + config.steps)
                logits[:, :, here] += piece * weight
                weights[here] += weight
        return logits / weights, torch.stack(latents).sum(0) / len(starts)

    @torch.no_grad()
    def infer(self, waveform: Tensor, bins: int = 10) -> Tensor:
        """(batch, samples) -> (batch, classes, bins) probabilities: the frames' means over equal stretches of time.

        Always in eval mode, whatever mode the model is in, which is restored after.
        """
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        try:
            frames = self(waveform)["framewise_output"]
        finally:
            for module, training in modes:
                module.training = training
        return mean_over_bins(frames, bins, waveform.shape[1] * self.config.output_frames / self.config.window_samples)


def mean_over_bins(frames: Tensor, bins: int, length: float | None = None) -> Tensor:
    """(..., frames) -> (..., bins): exact means over equal stretches; a frame on a border counts for both by its share.

    `length`: where the last bin ends, in frames, when the last frame is not used whole.
    """
    total = frames.shape[-1]
    width = (length or total) / bins
    borders = torch.arange(bins + 1, device=frames.device, dtype=torch.float64) * width
    whole = borders.floor().long().clamp_max(total - 1)
    sums = F.pad(frames.double().cumsum(-1), (1, 0))
    upto = sums[..., whole] + (borders - whole) * frames.double()[..., whole]
    return (upto.diff(dim=-1) / width).to(frames.dtype)
