"""Swin Transformer (arXiv 2103.14030) on a grid of tokens: the trunk of HTS-AT.

Shapes: B batch, R x C token grid (rows = frequency, columns = time), D channels, W windows, N tokens in a window,
H heads. Parameter names are those of the Swin and HTS-AT checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# The paper uses -100. exp(-100) is a denormal float32, which a CPU computes slowly; exp(-1000) is exactly 0.
MASKED = -1000.0  # added to the attention logits of token pairs that are adjacent only because of the cyclic shift


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
    """(N, N) index into the bias table for each pair of tokens in a window."""
    h, w = window
    rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    rows, columns = rows.flatten(), columns.flatten()
    down = rows[:, None] - rows[None, :] + h - 1
    across = columns[:, None] - columns[None, :] + w - 1
    return down * (2 * w - 1) + across


def shift_mask(size: tuple[int, int], window: tuple[int, int], shift: tuple[int, int]) -> Tensor:
    """(W, N, N): 0 between tokens of one region, MASKED between tokens that the cyclic shift put into one window."""
    regions = torch.zeros(1, *size, 1)
    for axis, (length, tile, offset) in enumerate(zip(size, window, shift, strict=True)):
        if offset:
            region = torch.zeros(length)
            region[length - tile : length - offset] = 1
            region[length - offset :] = 2
            regions = regions * 3 + region.view((1, -1, 1, 1) if axis == 0 else (1, 1, -1, 1))
    labels = to_windows(regions, window)[0, :, :, 0]  # (W, N)
    return torch.where(labels[:, None, :] == labels[:, :, None], 0.0, MASKED)


class DropPath(nn.Module):
    """Drops a residual branch for a random part of the batch (stochastic depth, arXiv 1603.09382)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        keep = torch.rand(x.shape[0], *(1,) * (x.ndim - 1), device=x.device, dtype=x.dtype) >= self.rate
        return x * keep / (1.0 - self.rate)


class WindowAttention(nn.Module):
    """Multi-head self-attention inside each window, with a learned bias for each relative position."""

    relative_position_index: Tensor

    def __init__(self, dim: int, heads: int, window: tuple[int, int]) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window[0] - 1) * (2 * window[1] - 1), heads))
        self.register_buffer("relative_position_index", relative_positions(window), persistent=False)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x (B, W, N, D), mask (W, N, N) or None -> (B, W, N, D)"""
        b, w, n, d = x.shape
        size = (b * w, n, self.heads, d // self.heads)
        q, k, v = (part.reshape(size).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))  # (B W, H, N, D / H)
        bias = self.relative_position_bias_table.T[:, self.relative_position_index][None]  # (1, H, N, N)
        if mask is not None:
            bias = (bias + mask[:, None]).repeat(b, 1, 1, 1)  # (B W, H, N, N)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        return self.proj(out.transpose(1, 2).reshape(b, w, n, d))


class Mlp(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class SwinBlock(nn.Module):
    """Window attention, then an MLP, both with pre-norm and a residual connection. Odd blocks shift their windows.

    If the grid is not longer than a window along an axis, the window has the length of the grid there, and the block
    does not shift along that axis.
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
        x = from_windows(self.in_windows(to_windows(x, self.window)), self.window, self.size)
        return x.roll(self.shift, (1, 2)) if any(self.shift) else x

    def in_windows(self, x: Tensor) -> Tensor:
        """(B, W, N, D) -> (B, W, N, D)"""
        x = x + self.drop_path(self.attn(self.norm1(x), self.attn_mask))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class PatchMerging(nn.Module):
    """Merges (rows, columns) adjacent tokens into one token with twice the channels."""

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
        # The order of Swin: along the rows first, then along the columns.
        tiles = x.view(b, r // rows, rows, c // columns, columns, d).permute(0, 1, 3, 4, 2, 5)
        return self.reduction(self.norm(tiles.reshape(b, r // rows, c // columns, rows * columns * d)))


class SwinStage(nn.Module):
    """Blocks on one grid, then the patch merging to the next grid (`merge` is None in the last stage)."""

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
    """Splits the image into patches and projects each patch to a token.

    `stem`: output channels of convolutions before the patches. Each convolution halves the image (Xiao et al. 2021,
    arXiv 2106.14881). They keep details that are finer than a patch, for example the onset of a shot.
    """

    def __init__(self, channels: int, dim: int, patch: tuple[int, int], stem: tuple[int, ...] = ()) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in stem:
            layers += [nn.Conv2d(channels, width, kernel_size=3, stride=2, padding=1), nn.ReLU(inplace=True)]
            channels, patch = width, (patch[0] // 2, patch[1] // 2)
        self.stem = nn.Sequential(*layers)
        self.proj = nn.Conv2d(channels, dim, kernel_size=patch, stride=patch)
        self.norm = nn.LayerNorm(dim)

    def forward(self, image: Tensor) -> Tensor:
        """(B, channels, rows, columns) -> (B, R, C, D)"""
        return self.tokens(self.stem_features(image)[-1])

    def stem_features(self, image: Tensor) -> list[Tensor]:
        """The image (B, channels, rows, columns), then the output of each stem layer, each half as large."""
        features = [image]
        for layer in self.stem:
            image = layer(image)
            if isinstance(layer, nn.ReLU):
                features.append(image)
        return features

    def tokens(self, features: Tensor) -> Tensor:
        """The last of `stem_features` -> (B, R, C, D)"""
        return self.norm(self.proj(features).permute(0, 2, 3, 1))
