"""HTS-AT: Hierarchical Token-Semantic Audio Transformer (Chen et al. 2022, arXiv 2202.00874).

Waveform -> frequency bands over time -> image -> Swin Transformer -> token-semantic convolution -> one logit per class
and step. Two optional heads refine the time resolution and detect overlapping calls.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loxo.engine.architectures import HTSATConfig
from loxo.network.base import FrameModel
from loxo.network.frontend import build_frontend
from loxo.network.swin import PatchEmbed, SwinStage


class HTSAT(FrameModel):
    """The public contract is in docs/architecture.md. Parameter names are those of the official checkpoints."""

    config: HTSATConfig
    resize: Tensor | None
    head_name = "tscam_conv"
    extra_heads = ("fine", "overlap")

    def __init__(self, config: HTSATConfig) -> None:
        super().__init__(config)
        self.frontend = build_frontend(config)
        frames, image_frames = self.frontend.frames, config.image_frames
        resize = resize_matrix(frames, image_frames) if frames != image_frames else None
        self.register_buffer("resize", resize, persistent=False)
        self.bn0 = nn.BatchNorm2d(config.in_chans * config.n_mels)
        self.patch_embed = PatchEmbed(config.in_chans, config.embed_dim, config.patch, config.stem)
        drop_rates = torch.linspace(0, config.drop_path, sum(config.depths)).tolist()  # one per block
        merges = (*config.merges, None)
        self.layers = nn.ModuleList()
        for k, (depth, heads, merge) in enumerate(zip(config.depths, config.num_heads, merges, strict=True)):
            dim = config.embed_dim * 2**k
            stage_rates, drop_rates = drop_rates[:depth], drop_rates[depth:]
            grid, window = config.grids[k], config.attention_window
            self.layers.append(SwinStage(dim, heads, grid, window, config.mlp_ratio, stage_rates, merge))
        self.norm = nn.LayerNorm(config.features)
        rows = config.grids[-1][0] // config.folds
        self.tscam_conv = nn.Conv2d(
            config.features, len(config.classes) * config.substeps, kernel_size=(rows, 3), padding=(0, 1)
        )
        self.fine = FineHead(config) if config.fine else None
        self.overlap = OverlapHead(config) if config.call_overlap else None
        self.apply(_initialise)

    @property
    def output_layers(self) -> tuple[str, ...]:
        return self.head_name, "fine.answer", "overlap.answer"

    def scaled(self, image: Tensor) -> Tensor:
        """(batch, channels, frames, n_mels) -> (batch, channels, n_mels, frames), normalised per band."""
        b, c, t, m = image.shape
        return self.bn0(image.transpose(2, 3).reshape(b, c * m, t, 1)).view(b, c, m, t)

    def network(self, bands: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, channels, n_mels, frames) -> logits (batch, rows, steps), latent (batch, features)"""
        stem_features = self.patch_embed.stem_features(self.fold(bands))
        tokens = self.stages(self.patch_embed.tokens(stem_features[-1]))  # (batch, R, C, features)
        columns = self.unfold(tokens)
        logits = in_substeps(self.tscam_conv(columns), self.config.substeps)
        if self.fine is not None:
            fine_features = self.fine(stem_features[1], columns)
            logits = logits + self.fine.answer(fine_features)
            if self.overlap is not None:
                logits = torch.cat((logits, self.overlap(fine_features)), 1)
        return logits, tokens.mean((1, 2))

    def fold(self, bands: Tensor) -> Tensor:
        """Resizes the bands to image_frames frames, cuts them in time and stacks the pieces along frequency.

        (batch, channels, n_mels, frames) -> (batch, channels, folds * n_mels, image_frames / folds)
        """
        b, c, m, t = bands.shape
        frames, folds = self.config.image_frames, self.config.folds
        if t != frames:
            resize = self.resize if self.resize is not None and t == len(self.resize) else resize_matrix(t, frames)
            with torch.autocast(bands.device.type, enabled=False):  # keeps the precision of the image
                bands = bands @ resize.to(bands)
        return bands.view(b, c, m, folds, frames // folds).transpose(2, 3).reshape(b, c, folds * m, frames // folds)

    def encode(self, image: Tensor) -> Tensor:
        """(batch, channels, rows, columns) -> tokens (batch, R, C, features) of the last stage, normalised."""
        return self.stages(self.patch_embed(image))

    def stages(self, tokens: Tensor) -> Tensor:
        """Patch tokens (batch, R, C, D) -> tokens of the last stage (batch, R, C, features), normalised."""
        for layer in self.layers:
            tokens = layer(tokens)
        return self.norm(tokens)

    def unfold(self, tokens: Tensor) -> Tensor:
        """Reverts the folding: puts the stacked pieces one after the other in time.

        (batch, R, C, features) -> (batch, features, R / folds, steps)
        """
        b, r, c, d = tokens.shape
        folds = self.config.folds
        return tokens.view(b, folds, r // folds, c, d).permute(0, 4, 2, 1, 3).reshape(b, d, r // folds, folds * c)


def resize_matrix(frames: int, new_frames: int) -> Tensor:
    """(frames, new_frames): the matrix that resizes a row of `frames` values to `new_frames`, with corners aligned.

    The official model resizes its spectrogram in the same way (bicubic interpolation). The kernel is that of Keys 1981,
    IEEE Trans. ASSP 29:1153, with a = -0.75. Exported graphs multiply by this matrix in a tenth of the time that they
    need for their own bicubic operator.
    """
    a = -0.75
    positions = torch.arange(new_frames) * torch.tensor((frames - 1) / (new_frames - 1))  # float32, as in the original
    taps = positions.floor().long() + torch.arange(-1, 3)[:, None]  # (4, new_frames)
    distance = (positions - taps).abs()
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((distance - 5) * distance + 8) * distance * a - 4 * a
    matrix = torch.zeros(frames, new_frames)
    columns = torch.arange(new_frames).expand(4, -1)
    matrix.index_put_((taps.clamp(0, frames - 1), columns), torch.where(distance <= 1, near, far), accumulate=True)
    return matrix


class FineHead(nn.Module):
    """Refines onsets and offsets to single steps.

    A token covers 0.32 s and is mixed with its surroundings by attention. The first layer of the stem has one column
    per step. This head reads these columns, conditioned on the token: a projection of it is added. Its output is added
    to the logits of the token-semantic convolution. The output is zero before training.
    """

    KERNEL_SIZE = 5  # steps
    DILATION_GROWTH = 3  # ratio of the dilations of two consecutive layers

    def __init__(self, config: HTSATConfig) -> None:
        super().__init__()
        self.substeps = config.substeps
        stem_channels = config.stem[0] * config.image_size[0] // 2  # channels x rows of the stem's first layer
        self.look = nn.Conv1d(stem_channels, config.fine, kernel_size=3, padding=1)
        self.context = nn.Conv2d(config.features, config.fine * config.substeps, kernel_size=(config.grids[-1][0], 1))
        self.layers = nn.ModuleList(
            FineLayer(config.fine, self.KERNEL_SIZE, self.DILATION_GROWTH**k) for k in range(config.fine_depth)
        )
        answer = nn.Conv1d(config.fine, len(config.classes), self.KERNEL_SIZE, padding=self.KERNEL_SIZE // 2)
        self.answer = zero_init(answer)

    def forward(self, stem_features: Tensor, columns: Tensor) -> Tensor:
        """Features of each step, (batch, fine, steps); `answer` maps them to logits (batch, classes, steps).

        stem_features (batch, channels, rows, steps), columns (batch, features, R, steps / substeps)
        """
        context = in_substeps(self.context(columns), self.substeps)
        features = self.project(stem_features) + context
        for layer in self.layers:
            features = layer(features)
        return F.relu(features)

    def project(self, stem_features: Tensor) -> Tensor:
        """(batch, channels, rows, steps) -> (batch, fine, steps)"""
        return self.look(stem_features.flatten(1, 2))


class FineLayer(nn.Module):
    """Residual block of two dilated convolutions over time: (batch, fine, steps) -> the same shape.

    Token borders lie every 0.32 s, independent of the events. Here each step has the same context on both sides. The
    block is the identity before training.
    """

    def __init__(self, channels: int, kernel_size: int, dilation: int) -> None:
        super().__init__()
        padding = dilation * (kernel_size // 2)
        self.first = nn.Conv1d(channels, channels, kernel_size, padding=padding, dilation=dilation)
        self.second = zero_init(nn.Conv1d(channels, channels, kernel_size, padding=padding, dilation=dilation))

    def forward(self, features: Tensor) -> Tensor:
        return features + self.second(F.relu(self.first(F.relu(features))))


class OverlapHead(nn.Module):
    """Detects call overlap, two calls of one class at once: features of the fine head (batch, fine, steps) -> logits
    (batch, classes, steps).

    The score of a class does not grow with the number of its calls, and an overlap can be as long as a call. This head
    therefore uses a context of 1.5 s around each step. Before training, its only knowledge is that overlaps are rare.
    """

    KERNEL_SIZE, DILATION = 5, 4  # steps
    RARE = -4.0  # logit

    def __init__(self, config: HTSATConfig) -> None:
        super().__init__()
        padding = self.DILATION * (self.KERNEL_SIZE // 2)
        self.context = nn.Conv1d(config.fine, config.fine, self.KERNEL_SIZE, padding=padding, dilation=self.DILATION)
        answer = nn.Conv1d(config.fine, len(config.classes), self.KERNEL_SIZE, padding=self.KERNEL_SIZE // 2)
        self.answer = zero_init(answer)
        nn.init.constant_(self.answer.get_parameter("bias"), self.RARE)

    def forward(self, features: Tensor) -> Tensor:
        return self.answer(F.relu(self.context(features)))


def in_substeps(maps: Tensor, substeps: int) -> Tensor:
    """(batch, channels x substeps, 1, columns) -> (batch, channels, columns x substeps)"""
    return maps.squeeze(2).unflatten(1, (-1, substeps)).transpose(2, 3).flatten(2)


def zero_init(layer: nn.Conv1d) -> nn.Conv1d:
    """Sets weight and bias to zero, so that the layer's output is zero before training."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
