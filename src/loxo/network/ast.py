"""AST: Audio Spectrogram Transformer (Gong et al. 2021, arXiv 2104.01778), with the same contract as HTS-AT.

Waveform -> frequency bands over time -> overlapping patches as tokens -> Transformer encoder with global attention ->
one logit per class and step, from the tokens at that time.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loxo.engine.architectures import ASTConfig
from loxo.network.base import FrameModel
from loxo.network.frontend import build_frontend

LAYER_NORM_EPS = 1e-12  # as in the training of the published weights


class AST(FrameModel):
    """The tokens are two clip tokens (class and distillation), then the patches of the spectrogram, row by row.

    The published model classifies the clip from the mean of the two clip tokens. Here the same classifier reads the
    mean of the patch tokens at each time. `clipwise_output` is pooled from the steps, as in every model of Loxo.
    `classifier(latent_output)` gives the logits of the published model.
    """

    config: ASTConfig
    head_name = "classifier.dense"

    def __init__(self, config: ASTConfig) -> None:
        super().__init__(config)
        dim = config.embed_dim
        self.frontend = build_frontend(config)
        self.patch_embed = nn.Conv2d(config.in_chans, dim, config.patch, config.stride)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.distillation_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.position_embeddings = nn.Parameter(torch.zeros(1, 2 + config.grid[0] * config.grid[1], dim))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                dim,
                config.num_heads,
                int(dim * config.mlp_ratio),
                dropout=0.0,
                activation="gelu",
                layer_norm_eps=LAYER_NORM_EPS,
                batch_first=True,
                norm_first=True,
            )
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.classifier = nn.Sequential(
            OrderedDict(
                layernorm=nn.LayerNorm(dim, eps=LAYER_NORM_EPS),
                dense=nn.Linear(dim, len(config.classes)),
            )
        )
        for token in (self.cls_token, self.distillation_token, self.position_embeddings):
            nn.init.trunc_normal_(token, std=0.02)

    def scaled(self, image: Tensor) -> Tensor:
        """(batch, channels, frames, n_mels) -> (batch, channels, n_mels, image_frames)"""
        return image.transpose(2, 3)[..., : self.config.image_frames]

    def network(self, bands: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, channels, n_mels, image_frames) -> logits (batch, classes, steps), latent (batch, features)"""
        tokens = self.encode(bands)  # (batch, 2 + R * C, features)
        rows, columns = self.config.grid
        over_time = tokens[:, 2:].unflatten(1, (rows, columns)).mean(1)  # (batch, C, features)
        logits = self.classifier(over_time).transpose(1, 2)  # (batch, classes, C)
        return self.at_steps(logits), (tokens[:, 0] + tokens[:, 1]) / 2

    def encode(self, bands: Tensor) -> Tensor:
        """(batch, channels, n_mels, image_frames) -> (batch, 2 + R * C, features), normalised"""
        patches = self.patch_embed(bands).flatten(2).transpose(1, 2)  # (batch, R * C, features)
        clip = torch.cat((self.cls_token, self.distillation_token), dim=1).expand(len(bands), -1, -1)
        tokens = torch.cat((clip, patches), dim=1) + self.position_embeddings
        for layer in self.layers:
            tokens = layer(tokens)
        return self.norm(tokens)

    def at_steps(self, logits: Tensor) -> Tensor:
        """(batch, classes, columns of tokens) -> (batch, classes, steps)

        Linear interpolation. The centres of the patches are `stride` frames apart, those of the steps `patch` frames.
        Both begin at half a patch.
        """
        (_, patch), (_, stride) = self.config.patch, self.config.stride
        if patch == stride:
            return logits
        position = torch.arange(self.config.steps, device=logits.device) * (patch / stride)
        left = position.floor().long().clamp_max(logits.shape[2] - 1)
        right = (left + 1).clamp_max(logits.shape[2] - 1)
        return torch.lerp(logits[:, :, left], logits[:, :, right], (position - left).to(logits.dtype))

    def fit_positions(self, embeddings: Tensor) -> Tensor:
        """Position embeddings of a checkpoint for another clip length, bilinearly interpolated over time.

        The checkpoint must have the same number of patch rows as this model: the shape of its embeddings contains only
        the product of rows and columns.
        """
        rows, columns = self.config.grid
        grid = embeddings[:, 2:].unflatten(1, (rows, -1)).permute(0, 3, 1, 2)  # (1, features, rows, its columns)
        grid = F.interpolate(grid.float(), (rows, columns), mode="bilinear")
        return torch.cat((embeddings[:, :2].float(), grid.flatten(2).transpose(1, 2)), dim=1)
