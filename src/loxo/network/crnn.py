"""CRNN: convolutions and a recurrent layer (Çakır et al. 2017, arXiv 1702.06286), the field's usual reference.

Waveform -> bands over time -> convolutions that narrow the bands and the time -> a GRU both ways -> a logit per class
and step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from loxo.engine.config import ELEPHANT_FRONTEND, ModelConfig
from loxo.errors import LoxoError
from loxo.network.base import FrameModel
from loxo.network.frontend import build_frontend


@dataclass(frozen=True, kw_only=True)
class CRNNConfig(ModelConfig):
    """Convolution blocks, each followed by pooling over (bands, frames), then a bidirectional GRU."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        # The rival of the bundled model: same front end, steps of 0.32 s, trained the same way.
        "crnn": ELEPHANT_FRONTEND,
    }

    architecture: str = "crnn"
    channels: tuple[int, ...] = (32, 64, 128)
    pools: tuple[tuple[int, int], ...] = ((2, 2), (4, 2), (4, 2))  # (bands, frames) after each block
    hidden: int = 128  # units of the GRU in each direction

    def __post_init__(self) -> None:
        if len(self.channels) != len(self.pools):
            raise LoxoError(f"{len(self.channels)} channels need as many pools (got {len(self.pools)}).")
        if self.n_mels % self.pooled[0] or self.image_frames % self.pooled[1]:
            raise LoxoError(
                f"An image of {self.n_mels} bands and {self.image_frames} frames cannot be pooled by {self.pooled}."
            )
        super().__post_init__()

    @property
    def pooled(self) -> tuple[int, int]:
        """How many bands and frames become one."""
        return math.prod(bands for bands, _ in self.pools), math.prod(frames for _, frames in self.pools)

    @property
    def steps(self) -> int:
        return self.image_frames // self.pooled[1]


class CRNN(FrameModel):
    config: CRNNConfig
    head_name = "head"

    def __init__(self, config: CRNNConfig) -> None:
        super().__init__(config)
        self.frontend = build_frontend(config)
        blocks: list[nn.Module] = []
        for before, after, pool in zip(
            (config.in_chans, *config.channels), config.channels, config.pools, strict=False
        ):
            convolution = nn.Conv2d(before, after, kernel_size=3, padding=1, bias=False)
            blocks += [convolution, nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(pool)]
        self.convolutions = nn.Sequential(*blocks)
        rows = config.n_mels // config.pooled[0]
        self.recurrent = nn.GRU(config.channels[-1] * rows, config.hidden, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * config.hidden, len(config.classes))

    def scaled(self, image: Tensor) -> Tensor:
        """(batch, channels, image_frames, n_mels) -> (batch, channels, n_mels, image_frames)"""
        return image.transpose(2, 3)

    def network(self, bands: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, channels, n_mels, image_frames) -> logits (batch, classes, steps), latent (batch, features)"""
        features = self.convolutions(bands)  # (batch, channels, rows, steps)
        sequence, _ = self.recurrent(features.flatten(1, 2).transpose(1, 2))  # (batch, steps, 2 * hidden)
        return self.head(sequence).transpose(1, 2), sequence.mean(1)
