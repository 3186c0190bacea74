"""CRNN: convolutions and a recurrent layer (Çakır et al. 2017, arXiv 1702.06286), the field's usual reference.

Waveform -> bands over time -> convolutions that narrow the bands and the time -> a GRU both ways -> a logit per class
and step.
"""

from __future__ import annotations

from torch import Tensor, nn

from loxo.engine.architectures import CRNNConfig
from loxo.network.base import FrameModel
from loxo.network.frontend import build_frontend


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
