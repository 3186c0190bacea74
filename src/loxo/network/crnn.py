"""CRNN: convolutions and a recurrent layer (Çakır et al. 2017, arXiv 1702.06286), the usual baseline of the field.

Waveform -> frequency bands over time -> convolutions with pooling over bands and frames -> bidirectional GRU -> one
logit per class and step.
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
        in_channels = config.in_chans
        for channels, pool in zip(config.channels, config.pools, strict=True):
            convolution = nn.Conv2d(in_channels, channels, kernel_size=3, padding=1, bias=False)
            blocks += [convolution, nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(pool)]
            in_channels = channels
        self.convolutions = nn.Sequential(*blocks)
        rows = config.n_mels // config.pooled[0]
        self.recurrent = nn.GRU(config.channels[-1] * rows, config.hidden, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * config.hidden, len(config.classes))

    def scaled(self, image: Tensor) -> Tensor:
        """(batch, channels, frames, n_mels) -> (batch, channels, n_mels, image_frames)"""
        return image.transpose(2, 3)[..., : self.config.image_frames]

    def network(self, bands: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, channels, n_mels, image_frames) -> logits (batch, classes, steps), latent (batch, features)"""
        features = self.convolutions(bands)  # (batch, channels, rows, steps)
        sequence, _ = self.recurrent(features.flatten(1, 2).transpose(1, 2))  # (batch, steps, 2 * hidden)
        return self.head(sequence).transpose(1, 2), sequence.mean(1)
