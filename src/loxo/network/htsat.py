"""HTS-AT: Hierarchical Token-Semantic Audio Transformer (Chen et al. 2022, arXiv 2202.00874).

Waveform -> bands over time -> image -> Swin Transformer -> token-semantic convolution -> a logit per class and step.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loxo.engine.architectures import HTSATConfig
from loxo.network.base import FrameModel
from loxo.network.fast import inference as kernels
from loxo.network.fast import training as learning
from loxo.network.frontend import build_frontend
from loxo.network.swin import PatchEmbed, SwinStage


class HTSAT(FrameModel):
    """The model of the contract in docs/architecture.md. Parameters bear the names of the official checkpoints."""

    config: HTSATConfig
    stretching: Tensor | None
    head_name = "tscam_conv"
    extra_heads = ("fine", "overlap")

    def __init__(self, config: HTSATConfig) -> None:
        super().__init__(config)
        self.frontend = build_frontend(config)
        frames, more = self.frontend.frames, config.image_frames
        self.register_buffer("stretching", stretching(frames, more) if frames != more else None, persistent=False)
        self.bn0 = nn.BatchNorm2d(config.in_chans * config.n_mels)
        self.patch_embed = PatchEmbed(config.in_chans, config.embed_dim, config.patch, config.stem)
        drops = torch.linspace(0, config.drop_path, sum(config.depths)).tolist()
        merges = (*config.merges, None)
        self.layers = nn.ModuleList()
        for k, (depth, heads, merge) in enumerate(zip(config.depths, config.num_heads, merges, strict=True)):
            dim = config.embed_dim * 2**k
            mine, drops = drops[:depth], drops[depth:]
            stage = SwinStage(dim, heads, config.grids[k], config.attention_window, config.mlp_ratio, mine, merge)
            self.layers.append(stage)
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
        """(batch, channels, frames, n_mels) -> (batch, channels, n_mels, frames), normalised band by band."""
        b, c, t, m = image.shape
        return learning.batch_norm(image.transpose(2, 3).reshape(b, c * m, t), self.bn0).view(b, c, m, t)

    def network(self, bands: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, channels, n_mels, frames) -> logits (batch, rows, steps), latent (batch, features)"""
        seen = self.patch_embed.look(self.fold(bands))
        tokens = self.stages(self.patch_embed.tokens(seen[-1]))  # (batch, R, C, features)
        columns = self.unfold(tokens)
        logits = in_substeps(self.tscam_conv(columns), self.config.substeps)
        if self.fine is not None:
            exact = self.fine(seen[1], columns)
            logits = logits + learning.conv1d(exact, self.fine.answer)
            if self.overlap is not None:
                logits = torch.cat((logits, self.overlap(exact)), 1)
        return logits, tokens.mean((1, 2))

    def fold(self, bands: Tensor) -> Tensor:
        """Stretched to image_frames, cut in time, the pieces stacked along frequency.

        (batch, channels, n_mels, frames) -> (batch, channels, folds * n_mels, image_frames / folds)
        """
        b, c, m, t = bands.shape
        frames, folds = self.config.image_frames, self.config.folds
        if self.stretching is not None and t == len(self.stretching):
            with torch.autocast(bands.device.type, enabled=False):  # the image is not to be rounded
                bands = bands @ self.stretching.to(bands)
        elif t != frames:
            bands = F.interpolate(bands, (m, frames), mode="bicubic", align_corners=True)
        return bands.view(b, c, m, folds, frames // folds).transpose(2, 3).reshape(b, c, folds * m, frames // folds)

    def encode(self, image: Tensor) -> Tensor:
        """(batch, channels, rows, columns) -> tokens (batch, R, C, features) of the last stage, normalised."""
        return self.stages(self.patch_embed(image))

    def stages(self, tokens: Tensor) -> Tensor:
        """The patches' tokens (batch, R, C, D) -> those of the last stage (batch, R, C, features), normalised."""
        for layer in self.layers:
            tokens = kernels.in_slices(layer, tokens)
        return self.norm(tokens)

    def unfold(self, tokens: Tensor) -> Tensor:
        """Undoes the folding: the stacked pieces go back one after the other in time.

        (batch, R, C, features) -> (batch, features, R / folds, steps)
        """
        b, r, c, d = tokens.shape
        folds = self.config.folds
        return tokens.view(b, folds, r // folds, c, d).permute(0, 4, 2, 1, 3).reshape(b, d, r // folds, folds * c)


def stretching(frames: int, more: int) -> Tensor:
    """(frames, more): the matrix that makes `more` frames of `frames` by cubic convolution, ends on ends.

    As the official model stretches its spectrogram (bicubic, corners aligned). The kernel is that of Keys 1981, IEEE
    Trans. ASSP 29:1153, with a = -0.75. As a product it takes OpenVINO a tenth of its own resampling.
    """
    a = -0.75
    at = torch.arange(more) * torch.tensor((frames - 1) / (more - 1))  # in float32, as theirs
    taps = at.floor().long() + torch.arange(-1, 3)[:, None]  # (4, more)
    far = (at - taps).abs()
    near = ((a + 2) * far - (a + 3)) * far**2 + 1
    weights = torch.where(far <= 1, near, ((far - 5) * far + 8) * far * a - 4 * a)
    matrix = torch.zeros(frames, more)
    matrix.index_put_((taps.clamp(0, frames - 1), torch.arange(more).expand(4, -1)), weights, accumulate=True)
    return matrix


class FineHead(nn.Module):
    """Where exactly in a token something begins and ends.

    Tokens are made of patches 0.32 s long and have looked at each other ever since; the stem's first layer has a column
    for each step. What it saw there is read in the light of the step's token, and what comes out is added to the
    logits of the token-semantic convolution: nothing, before it has learnt something.
    """

    NEIGHBOURS = 5  # steps
    REACH = 3  # how much further apart the steps are that each layer looks at, than those of the layer before

    def __init__(self, config: HTSATConfig) -> None:
        super().__init__()
        self.substeps = config.substeps
        seen = config.stem[0] * config.image_size[0] // 2
        self.look = nn.Conv1d(seen, config.fine, kernel_size=3, padding=1)
        self.context = nn.Conv2d(config.features, config.fine * config.substeps, kernel_size=(config.grids[-1][0], 1))
        self.layers = nn.ModuleList(
            FineLayer(config.fine, self.NEIGHBOURS, self.REACH**k) for k in range(config.fine_depth)
        )
        answer = nn.Conv1d(config.fine, len(config.classes), self.NEIGHBOURS, padding=self.NEIGHBOURS // 2)
        self.answer = _silent(answer)

    def forward(self, seen: Tensor, columns: Tensor) -> Tensor:
        """seen (batch, channels, rows, steps), columns (batch, features, R, steps / substeps) -> (batch, fine, steps)

        `answer` makes logits (batch, classes, steps) of it.
        """
        context = in_substeps(self.context(columns), self.substeps)
        steps = self.see(seen) + context
        for layer in self.layers:
            steps = layer(steps)
        return F.relu(steps)

    def see(self, seen: Tensor) -> Tensor:
        """(batch, channels, rows, steps) -> (batch, fine, steps)"""
        if not self.training:
            return self.look(seen.flatten(1, 2))
        # There the stem leaves its channels last: the same sum over channels and rows, without a copy.
        kernel = self.look.weight.unflatten(1, (seen.shape[1], seen.shape[2]))
        return F.conv2d(seen, kernel, self.look.bias, padding=(0, 1)).squeeze(2)


class FineLayer(nn.Module):
    """Adds to each step what it and those around it say together: (batch, fine, steps) -> the same.

    Tokens begin every 0.32 s wherever a shot does. Here each step has its neighbours at the same distances. It adds
    nothing before it has learnt something.
    """

    def __init__(self, channels: int, neighbours: int, apart: int) -> None:
        super().__init__()
        padding = apart * (neighbours // 2)
        self.first = nn.Conv1d(channels, channels, neighbours, padding=padding, dilation=apart)
        self.second = _silent(nn.Conv1d(channels, channels, neighbours, padding=padding, dilation=apart))

    def forward(self, steps: Tensor) -> Tensor:
        return steps + learning.conv1d(F.relu(learning.conv1d(F.relu(steps), self.first)), self.second)


class OverlapHead(nn.Module):
    """Where two events of one class sound at once: what the fine head makes of each step (batch, fine, steps) -> logits
    (batch, classes, steps).

    The scores of a class are as high for two calls as for one, and an overlap is as long as the calls are: here a step
    sees the second and a half around it. Before it has learnt something it knows no more than that overlaps are rare.
    """

    NEIGHBOURS, APART = 5, 4  # steps
    RARE = -4.0  # logit

    def __init__(self, config: HTSATConfig) -> None:
        super().__init__()
        padding = self.APART * (self.NEIGHBOURS // 2)
        self.context = nn.Conv1d(config.fine, config.fine, self.NEIGHBOURS, padding=padding, dilation=self.APART)
        answer = nn.Conv1d(config.fine, len(config.classes), self.NEIGHBOURS, padding=self.NEIGHBOURS // 2)
        self.answer = _silent(answer)
        nn.init.constant_(self.answer.get_parameter("bias"), self.RARE)

    def forward(self, steps: Tensor) -> Tensor:
        return learning.conv1d(F.relu(learning.conv1d(steps, self.context)), self.answer)


def in_substeps(pieces: Tensor, substeps: int) -> Tensor:
    """(batch, channels x substeps, 1, columns) -> (batch, channels, columns x substeps)"""
    return pieces.squeeze(2).unflatten(1, (-1, substeps)).transpose(2, 3).flatten(2)


def _silent(layer: nn.Conv1d) -> nn.Conv1d:
    """Whose sums are zero until they are learnt."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
