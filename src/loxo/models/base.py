"""What every Loxo model has in common: the four outputs and `infer`, whatever the network inside."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loxo.models.config import HTSATConfig

CLIP_POOLING = {"mean": lambda logits: logits.mean(2), "max": lambda logits: logits.amax(2)}


class FrameModel(nn.Module):
    """A network that maps a waveform to frame-wise and clip-wise probabilities of each class.

    A subclass implements `logits_and_latent`; the rest of Loxo uses only what is defined here.
    """

    def __init__(self, config: HTSATConfig) -> None:
        super().__init__()
        self.config = config
        self.provenance: dict[str, Any] = {}  # where the weights come from; filled when a model file is loaded

    def logits_and_latent(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, window_samples) -> logits (batch, classes, steps), latent (batch, features)."""
        raise NotImplementedError

    def forward(self, waveform: Tensor) -> dict[str, Tensor]:
        """waveform float32 (batch, samples) in [-1, 1] at config.sample_rate, of at most one window.

        A shorter waveform is padded with silence at its end; the outputs always cover a whole window.

        Returns framewise_output (batch, classes, output_frames) and clipwise_output (batch, classes), probabilities;
        framewise_logits (batch, classes, steps) at the true resolution; latent_output (batch, features).
        Raises ValueError for another shape or a longer waveform: `loxo.detect` reads recordings of any length.
        """
        if waveform.ndim != 2:
            raise ValueError(f"a waveform has shape (batch, samples), not {tuple(waveform.shape)}")
        missing = self.config.window_samples - waveform.shape[1]
        if missing < 0:
            raise ValueError(
                f"the waveform has {waveform.shape[1]} samples but the model's window {self.config.window_samples}: "
                "use loxo.detect for longer recordings"
            )
        logits, latent = self.logits_and_latent(F.pad(waveform, (0, missing)) if missing else waveform)
        logits = logits.float()
        return {
            "framewise_output": logits.sigmoid().repeat_interleave(self.config.output_frames // logits.shape[2], dim=2),
            "framewise_logits": logits,
            "clipwise_output": CLIP_POOLING[self.config.clip_pooling](logits).sigmoid(),
            "latent_output": latent.float(),
        }

    @torch.no_grad()
    def infer(self, waveform: Tensor, bins: int = 10) -> Tensor:
        """(batch, samples) -> (batch, classes, bins) probabilities: the frames' means over equal stretches of time.

        Always in eval mode, whatever mode the model is in, which is restored after.
        """
        training = self.training
        self.eval()
        try:
            frames = self(waveform)["framewise_output"]
        finally:
            self.train(training)
        return mean_over_bins(frames, bins)


def mean_over_bins(frames: Tensor, bins: int) -> Tensor:
    """(..., frames) -> (..., bins): exact means over equal stretches; a frame on a border counts for both by its share."""
    total = frames.shape[-1]
    borders = torch.arange(bins + 1, device=frames.device, dtype=torch.float64) * total / bins
    whole = borders.floor().long().clamp_max(total - 1)
    sums = F.pad(frames.double().cumsum(-1), (1, 0))
    upto = sums[..., whole] + (borders - whole) * frames.double()[..., whole]
    return (upto.diff(dim=-1) * bins / total).to(frames.dtype)
