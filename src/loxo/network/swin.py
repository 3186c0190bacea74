"""Swin Transformer (arXiv 2103.14030) on a grid of tokens: the trunk of HTS-AT.

Shapes: B batch, R x C token grid (rows = frequency, columns = time), D channels, W windows, N tokens in a window,
H heads. Parameter names are those of the Swin and HTS-AT checkpoints.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loxo.network.fast import inference as kernels
from loxo.network.fast import training as learning

# Not -100, as the paper has it: exp of that is a number too small for a processor to be quick with.
MASKED = -1000.0  # added to the logits of token pairs that are neighbours only because of the cyclic shift


def to_windows(grid: Tensor, window: tuple[int, int]) -> Tensor:
    """(B, R, C, D) -> (B, W, N, D)"""
    b, r, c, d = grid.shape
    h, w = window
    tiles = grid.view(b, r // h, h, c // w, w, d).transpose(2, 3)
    return tiles.reshape(b, (r // h) * (c // w), h * w, d)


def from_windows(windows: Tensor, window: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """(B, W, N, D) -> (B, R, C, D)"""
    b, _, _, d = windows.shape
    (r, c), (h, w) = size, window
    return windows.view(b, r // h, c // w, h, w, d).transpose(2, 3).reshape(b, r, c, d)


def relative_positions(window: tuple[int, int]) -> Tensor:
    """(N, N) row of the bias table that belongs to each pair of tokens in a window."""
    h, w = window
    rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    rows, columns = rows.flatten(), columns.flatten()
    down = rows[:, None] - rows[None, :] + h - 1
    across = columns[:, None] - columns[None, :] + w - 1
    return down * (2 * w - 1) + across


def shift_mask(size: tuple[int, int], window: tuple[int, int], shift: tuple[int, int]) -> Tensor:
    """(W, N, N): 0 between tokens of one region, MASKED between tokens that the shift wrapped together."""
    regions = torch.zeros(1, *size, 1)
    for axis, (length, tile, moved) in enumerate(zip(size, window, shift, strict=True)):
        if moved:
            region = torch.zeros(length)
            region[length - tile : length - moved] = 1
            region[length - moved :] = 2
            regions = regions * 3 + region.view((1, -1, 1, 1) if axis == 0 else (1, 1, -1, 1))
    labels = to_windows(regions, window)[0, :, :, 0]  # (W, N)
    return torch.where(labels[:, None, :] == labels[:, :, None], 0.0, MASKED)


class DropPath(nn.Module):
    """Drops a residual branch for a random share of the batch (stochastic depth, arXiv 1603.09382)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        keep = torch.rand(x.shape[0], *(1,) * (x.ndim - 1), device=x.device, dtype=x.dtype) >= self.rate
        return x * keep / (1.0 - self.rate)


class WindowAttention(nn.Module):
    """Multi-head self-attention inside each window, with a learnt bias for every relative position."""

    relative_position_index: Tensor

    def __init__(self, dim: int, heads: int, window: tuple[int, int]) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window[0] - 1) * (2 * window[1] - 1), heads))
        self.register_buffer("relative_position_index", relative_positions(window), persistent=False)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x: Tensor, mask: Tensor | None, added: Tensor | None = None) -> Tensor:
        """x (B, W, N, D), mask (W, N, N) or None -> (B, W, N, D)"""
        b, w, n, d = x.shape
        bias = self.relative_position_bias_table.T[:, self.relative_position_index]  # (H, N, N)
        if self.training:
            attended = learning.attend(learning.linear(x, self.qkv), bias, mask, self.heads)
            return learning.linear(attended, self.proj, added)
        qkv, bias = kernels.linear(x, self.qkv), bias[None]  # of four axes, for the fused operator's sake
        # Four axes, heads and tokens exchanged right before and after the products: compiled, all this is one step.
        size = (b * w, n, self.heads, d // self.heads)
        q, k, v = (part.reshape(size).transpose(1, 2) for part in qkv.chunk(3, -1))
        if mask is not None:
            bias = (bias + mask[:, None]).repeat(b, 1, 1, 1)  # (B W, H, N, N)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        return kernels.linear(out.transpose(1, 2).reshape(b, w, n, d), self.proj)


class Mlp(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        if self.training:
            return learning.linear(F.gelu(learning.linear(x, self.fc1)), self.fc2, added)
        return kernels.mlp(x, self.fc1, self.fc2)


class SwinBlock(nn.Module):
    """Window attention, then an MLP, each normalised before and added after; odd blocks shift their windows.

    Along an axis that one window covers whole, the window shrinks to it and nothing is shifted.
    """

    attn_mask: Tensor | None

    def __init__(
        self, dim: int, heads: int, size: tuple[int, int], window: int, shifted: bool, mlp_ratio: float, drop: float
    ) -> None:
        super().__init__()
        self.size = size
        self.window = (min(window, size[0]), min(window, size[1]))
        half = window // 2 if shifted else 0
        self.shift = (half if size[0] > window else 0, half if size[1] > window else 0)
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, heads, self.window)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.drop_path = DropPath(drop)
        mask = shift_mask(size, self.window, self.shift) if any(self.shift) else None
        self.register_buffer("attn_mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, R, C, D) -> (B, R, C, D)"""
        if any(self.shift):
            x = x.roll((-self.shift[0], -self.shift[1]), (1, 2))
        x = to_windows(x, self.window)
        if self.training and self.drop_path.rate == 0.0:
            x = self.attn(self.norm1(x), self.attn_mask, added=x)
            x = self.mlp(self.norm2(x), added=x)
        else:
            x = x + self.drop_path(self.attn(self.norm1(x), self.attn_mask))
            x = x + self.drop_path(self.mlp(self.norm2(x)))
        x = from_windows(x, self.window, self.size)
        return x.roll(self.shift, (1, 2)) if any(self.shift) else x


class PatchMerging(nn.Module):
    """Joins (rows, columns) neighbouring tokens into one of twice the channels."""

    def __init__(self, dim: int, merge: tuple[int, int]) -> None:
        super().__init__()
        self.merge = merge
        joined = dim * merge[0] * merge[1]
        self.norm = nn.LayerNorm(joined)
        self.reduction = nn.Linear(joined, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, R, C, D) -> (B, R / rows, C / columns, 2 D)"""
        b, r, c, d = x.shape
        rows, columns = self.merge
        # Swin's order: down the rows first, then across the columns.
        tiles = x.view(b, r // rows, rows, c // columns, columns, d).permute(0, 1, 3, 4, 2, 5)
        joined = self.norm(tiles.reshape(b, r // rows, c // columns, rows * columns * d))
        return learning.linear(joined, self.reduction) if self.training else kernels.linear(joined, self.reduction)


class SwinStage(nn.Module):
    """Blocks on one grid, and the merging that leads to the next one (absent after the last)."""

    def __init__(
        self,
        dim: int,
        heads: int,
        size: tuple[int, int],
        window: int,
        mlp_ratio: float,
        drops: list[float],
        merge: tuple[int, int] | None,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            SwinBlock(dim, heads, size, window, shifted=k % 2 == 1, mlp_ratio=mlp_ratio, drop=drop)
            for k, drop in enumerate(drops)
        )
        self.downsample = PatchMerging(dim, merge) if merge is not None else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.downsample(x)


class PatchEmbed(nn.Module):
    """Cuts the image into patches and makes each a token.

    `stem`: channels of convolutions that each halve the image first (Xiao et al. 2021, arXiv 2106.14881), so that what
    is finer than a patch, as a shot's onset, is seen before patches are made.
    """

    def __init__(self, channels: int, dim: int, patch: tuple[int, int], stem: tuple[int, ...] = ()) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for wide in stem:
            layers += [nn.Conv2d(channels, wide, kernel_size=3, stride=2, padding=1), nn.ReLU()]
            channels, patch = wide, (patch[0] // 2, patch[1] // 2)
        self.stem = nn.Sequential(*layers)
        self.proj = nn.Conv2d(channels, dim, kernel_size=patch, stride=patch)
        self.norm = nn.LayerNorm(dim)

    def forward(self, image: Tensor) -> Tensor:
        """(B, channels, rows, columns) -> (B, R, C, D)"""
        return self.tokens(self.look(image)[-1])

    def look(self, image: Tensor) -> list[Tensor]:
        """The image (B, channels, rows, columns), and what each layer of the stem makes of it, half as large each."""
        seen = [image]
        for k in range(0, len(self.stem), 2):  # a convolution and its rectifier
            convolution: Any = self.stem[k]
            halved = learning.halving(image, convolution) if k == 0 else convolution(seen[-1])
            seen.append(F.relu(halved, inplace=True))
        return seen

    def tokens(self, seen: Tensor) -> Tensor:
        """The last of `look` -> (B, R, C, D)"""
        tokens: Tensor = self.norm(self.proj(seen).permute(0, 2, 3, 1) if self.stem else self._projected(seen))
        return tokens

    def _projected(self, image: Tensor) -> Tensor:
        """What `proj` computes, as a product of the patches: it is the small image that is laid out anew, not the
        tokens of many channels."""
        b, c, rows, columns = image.shape
        p, q = self.proj.kernel_size
        patches = image.view(b, c, rows // p, p, columns // q, q).permute(0, 2, 4, 1, 3, 5).flatten(3)
        return F.linear(patches, self.proj.weight.flatten(1), self.proj.bias)
