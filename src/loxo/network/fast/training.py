"""Operators of a network while it learns, as fast as a processor has them.

The products themselves run near the processor's limit. The rest of a step goes by with layouts and passes over wide
tensors: forward and backward are written here so that each tensor is written once, and as the next product wants it.
Results are those of the plain operators, to rounding. In bfloat16 under autocast, in float32 without it.

Shapes: B batch, C channels, R rows, T frames; W windows, N tokens in a window, D channels of a token, H heads of
d = D / H channels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loxo.network.fast import inference as kernels


def batch_norm(x: Tensor, layer: nn.BatchNorm2d) -> Tensor:
    """layer(x), normalised over batch and time: (B, C, T) -> (B, C, T)

    An image asks for no gradient: sums and a product are a fraction of torch's own norm.
    """
    mean, variance, momentum = layer.running_mean, layer.running_var, layer.momentum
    learns = layer.training and not x.requires_grad and x.device.type == "cpu" and not torch.compiler.is_compiling()
    if not learns or mean is None or variance is None or momentum is None:
        normalised: Tensor = layer(x[..., None])[..., 0]
        return normalised
    with torch.no_grad():
        count = x.shape[0] * x.shape[2]
        own_mean = x.sum(2).sum(0) / count
        own_variance = torch.linalg.vector_norm(x, dim=2).square().sum(0) / count - own_mean.square()
        scale = (own_variance.clamp_min_(0) + layer.eps).rsqrt()[:, None]
        normed = x.new_empty(x.shape, dtype=_precision(x))
        for out, one in zip(normed, x, strict=True):  # what is between stays in the cache
            out.copy_(torch.sub(one, own_mean[:, None]).mul_(scale))
        mean.lerp_(own_mean, momentum)
        variance.lerp_(own_variance * count / (count - 1), momentum)
        if layer.num_batches_tracked is not None:
            layer.num_batches_tracked += 1
    return _of(_Scaled, normed, layer.weight, layer.bias)


def halving(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """layer(x) for a convolution by 3 x 3 that halves rows and columns: (B, C, R, T) -> (B, K, R / 2, T / 2)

    With so few channels as an image has, most of a product's width would be empty. Two rows and two columns of the
    image make a cell of four times the channels, of which the same convolution reads 2 x 2.
    """
    if not layer.training:
        out: Tensor = layer(x)
        return out
    if x.device.type != "cpu" or x.shape[2] % 2 or x.shape[3] % 2:
        out = layer(x.contiguous(memory_format=torch.channels_last))
        return out
    kernel = F.pad(layer.weight, (1, 0, 1, 0)).unflatten(3, (2, 2)).unflatten(2, (2, 2))  # (K, C, i, a, j, b)
    kernel = kernel.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)  # (K, C a b, i, j)
    return F.conv2d(_of(_Cells, x.to(_precision(x))), kernel, layer.bias)


def conv1d(x: Tensor, layer: nn.Conv1d) -> Tensor:
    """layer(x): (B, C, T) -> (B, K, T), channels last in memory, which a processor has in two thirds of the time."""
    if not (layer.training and x.device.type == "cpu"):
        out: Tensor = layer(x)
        return out
    columns = x[:, :, None].contiguous(memory_format=torch.channels_last)
    padding, apart = (0, int(layer.padding[0])), (1, layer.dilation[0])
    return F.conv2d(columns, layer.weight[:, :, None], layer.bias, padding=padding, dilation=apart).squeeze(2)


def linear(x: Tensor, layer: nn.Linear, added: Tensor | None = None) -> Tensor:
    """layer(x) + added, bias and sum within the product: (..., in) -> (..., out)"""
    precision = _precision(x)
    if not kernels.has_fused(x.device, precision):
        out: Tensor = layer(x)
        return out if added is None else added + out
    return _of(_Linear, x.to(precision), layer.weight, layer.bias, added)


def attend(qkv: Tensor, bias: Tensor, mask: Tensor | None, heads: int) -> Tensor:
    """softmax(q k^T / sqrt(d) + bias + mask) v, head by head, in the precision of qkv.

    qkv (B, W, N, 3 D): queries, keys, values; bias (H, N, N), mask (W, N, N) or None -> (B, W, N, D)
    """
    added = bias.detach() if mask is None else bias.detach() + mask[:, None]  # (W, H, N, N)
    return _of(_Attention, qkv, bias, added.to(qkv.dtype), heads)


def _of(function: Any, *inputs: Any) -> Tensor:
    out: Tensor = function.apply(*inputs)
    return out


def _precision(x: Tensor) -> torch.dtype:
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


class _Scaled(torch.autograd.Function):
    """x weight + bias, channel by channel, where x (B, C, T) asks for no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x * weight.to(x.dtype)[:, None]).add_(bias.to(x.dtype)[:, None])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        of_weight = (gradients[0] * x).sum(2).float().sum(0)
        return None, of_weight, gradients[0].sum(2).float().sum(0)


class _Cells(torch.autograd.Function):
    """(B, C, R, T) -> (B, 4 C, R / 2 + 1, T / 2 + 1), channels last: cells of two rows and two columns, and cells of
    zeros before the first. Neighbours in a row are copied as one number, plane by plane."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        b, c, r, t = ctx.size = x.shape
        cells = x.new_zeros(b, r // 2 + 1, t // 2 + 1, 4 * c)
        _exchange(x.contiguous(), cells, into_cells=True)
        return cells.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        of_x = gradients[0].new_empty(ctx.size)
        _exchange(of_x, gradients[0].permute(0, 2, 3, 1).contiguous(), into_cells=False)
        return of_x


def _exchange(image: Tensor, cells: Tensor, into_cells: bool) -> None:
    """image (B, C, R, T) to or from cells (B, R / 2 + 1, T / 2 + 1, 4 C)"""
    pair = {2: torch.int32, 4: torch.int64}[image.itemsize]
    planes = image.view(pair).unflatten(2, (-1, 2))  # (B, C, R / 2, 2, T / 2)
    inner = cells.view(pair)[:, 1:, 1:]  # (B, R / 2, T / 2, 2 C)
    for channel in range(image.shape[1]):
        for row in range(2):
            plane, place = planes[:, channel, :, row], inner[..., 2 * channel + row]
            if into_cells:
                place.copy_(plane)
            else:
                plane.copy_(place)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, added: Tensor | None) -> Tensor:
        weight = weight.to(x.dtype)
        ctx.save_for_backward(x, weight)
        ctx.biased = bias is not None
        bias = None if bias is None else bias.to(x.dtype)
        if added is None:
            out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        else:
            out = torch.ops.mkldnn._linear_pointwise.binary(x, added.to(x.dtype), weight, bias, "add")
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_out = gradients[0].flatten(0, -2)
        of_x = (of_out @ weight).view(x.shape)
        of_bias = of_out.sum(0) if ctx.biased else None
        return of_x, of_out.T @ x.flatten(0, -2), of_bias, gradients[0] if ctx.needs_input_grad[3] else None


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, bias: Tensor, added: Tensor, heads: int) -> Tensor:
        b, w, n, joined = qkv.shape
        d = joined // 3 // heads
        q, k, v = qkv.view(b * w, n, 3, heads, d).permute(2, 0, 3, 1, 4).reshape(3, b * w * heads, n, d)
        logits = qkv.new_empty(b, w, heads, n, n).copy_(added).view(-1, n, n)
        shares = logits.baddbmm_(q, k.transpose(1, 2), alpha=d**-0.5).softmax(-1)
        ctx.save_for_backward(q, k, v, shares)
        ctx.heads = heads
        return _joined(shares @ v, heads=heads).view(b, w, n, heads * d)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, shares = ctx.saved_tensors
        (b, w, n, joined), heads = gradients[0].shape, ctx.heads
        scale = q.shape[2] ** -0.5
        of_out = gradients[0].reshape(b * w, n, heads, -1).transpose(1, 2).reshape(q.shape)
        of_v = shares.transpose(1, 2) @ of_out
        of_logits = torch._softmax_backward_data(of_out @ v.transpose(1, 2), shares, -1, shares.dtype)
        of_q = torch.baddbmm(of_out, of_logits, k, beta=0, alpha=scale)
        of_k = torch.baddbmm(of_out, of_logits.transpose(1, 2), q, beta=0, alpha=scale)
        of_bias = of_logits.view(b * w, heads, n, n).sum(0)
        return _joined(of_q, of_k, of_v, heads=heads).view(b, w, n, 3 * joined), of_bias, None, None


def _joined(*parts: Tensor, heads: int) -> Tensor:
    """Each (B W H, N, d) -> all (B W, N, parts H d); head by head, whose tokens lie at even distances, it is a third of
    the time of one copy that takes turns between heads."""
    return torch.cat([head for part in parts for head in part.unflatten(0, (-1, heads)).unbind(1)], -1)
