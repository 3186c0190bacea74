"""CPU training operators with hand-written backward passes.

The matrix products run near the limit of the CPU. The rest of a training iteration is memory-bound: layout changes and
elementwise passes. Forward and backward are written here so that each tensor is written once, in the layout that the
next product needs. The operators serve in train mode on a CPU: in float32, or in bfloat16 under autocast. Results and
gradients are those of the plain operators, to rounding. On another device, and while a model is compiled or exported,
the plain layers run. In eval mode the inference operators serve.

Shapes: B batch, C channels, R rows, T frames; W windows, N tokens in a window, D channels of a token, H heads of
d = D / H channels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loxo.network.fast import inference
from loxo.network.fast.inference import InferenceLinear, InferenceMlp, exchange_class
from loxo.network.htsat import HTSAT, FineHead, FineLayer, OverlapHead
from loxo.network.swin import Mlp, PatchEmbed, PatchMerging, SwinBlock, WindowAttention


def apply(model: nn.Module) -> None:
    """Attaches the training operators, and the inference operators for eval mode, to all modules of HTS-AT.

    A second call changes nothing.
    """
    inference.apply(model)
    blocks = {WindowAttention: FastAttention, InferenceMlp: FastMlp, SwinBlock: FastBlock, FineHead: FastFineHead}
    for module in model.modules():
        if isinstance(module, WindowAttention | Mlp | PatchMerging):
            _exchange_children(module, {InferenceLinear: FastLinear})
        if isinstance(module, FineHead | FineLayer | OverlapHead):
            _exchange_children(module, {nn.Conv1d: FastConv1d})
        if isinstance(module, HTSAT):
            exchange_class(module.bn0, {nn.BatchNorm2d: FastBatchNorm})
        if isinstance(module, PatchEmbed) and module.stem:
            exchange_class(module.stem[0], {nn.Conv2d: FastStemConv})
        exchange_class(module, blocks)


def _exchange_children(module: nn.Module, classes: dict[type[nn.Module], type[nn.Module]]) -> None:
    for layer in module.children():
        exchange_class(layer, classes)


def can_serve(layer: nn.Module, x: Tensor) -> bool:
    """Whether the training operators compute this layer of this input."""
    return layer.training and x.device.type == "cpu" and not inference.is_traced()


# ---------------------------------------------------------------- layers


class FastBatchNorm(nn.BatchNorm2d):
    """For an input without gradient, as the image is: sums and one product take a fraction of PyTorch's time."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, R, T) -> the same shape, normalised over batch, rows and frames"""
        mean, variance, momentum = self.running_mean, self.running_var, self.momentum
        if mean is None or variance is None or momentum is None or x.requires_grad or not can_serve(self, x):
            return super().forward(x)
        flat = x.flatten(2)  # (B, C, R T)
        with torch.no_grad():
            count = flat.shape[0] * flat.shape[2]
            batch_mean = flat.sum(2).sum(0) / count
            batch_variance = torch.linalg.vector_norm(flat, dim=2).square().sum(0) / count - batch_mean.square()
            scale = (batch_variance.clamp_min_(0) + self.eps).rsqrt()[:, None]
            normed = flat.new_empty(flat.shape, dtype=_autocast_dtype(x))
            for out, item in zip(normed, flat, strict=True):  # one at a time, so that the difference stays in the cache
                out.copy_(torch.sub(item, batch_mean[:, None]).mul_(scale))
            mean.lerp_(batch_mean, momentum)
            variance.lerp_(batch_variance * count / (count - 1), momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked += 1
        return _apply(_ChannelAffine, normed, self.weight, self.bias).view(x.shape)


class FastStemConv(nn.Conv2d):
    """A convolution by 3 x 3 with stride 2 over an image of few channels.

    With few input channels most of the width of a matrix product is empty. Here two rows and two columns of the image
    become one cell with four times the channels (space to depth). The same convolution has a kernel of 2 x 2 cells.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, R, T) -> (B, K, R / 2, T / 2)"""
        if not can_serve(self, x):
            return super().forward(x)
        x = x.to(_autocast_dtype(x))
        if x.shape[2] % 2 or x.shape[3] % 2 or x.itemsize not in PAIR:
            return super().forward(x.contiguous(memory_format=torch.channels_last))
        kernel = F.pad(self.weight, (1, 0, 1, 0)).unflatten(3, (2, 2)).unflatten(2, (2, 2))  # (K, C, i, a, j, b)
        kernel = kernel.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)  # (K, C a b, i, j)
        return F.conv2d(_apply(_SpaceToDepth, x), kernel, self.bias)


class FastConv1d(nn.Conv1d):
    """Channels last in memory: two thirds of the time on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, K, T)"""
        if not can_serve(self, x):
            return super().forward(x)
        image = x[:, :, None].contiguous(memory_format=torch.channels_last)  # (B, C, 1, T)
        padding, dilation = (0, int(self.padding[0])), (1, self.dilation[0])
        return F.conv2d(image, self.weight[:, :, None], self.bias, padding=padding, dilation=dilation).squeeze(2)


class FastFineHead(FineHead):
    def project(self, stem_features: Tensor) -> Tensor:
        """(B, C, R, T) -> (B, fine, T)

        In training, the stem writes its channels last in memory. A convolution over all rows sums over channels and
        rows without a copy.
        """
        if not can_serve(self, stem_features):
            return super().project(stem_features)
        kernel = self.look.weight.unflatten(1, (stem_features.shape[1], stem_features.shape[2]))
        return F.conv2d(stem_features, kernel, self.look.bias, padding=(0, 1)).squeeze(2)


class FastLinear(InferenceLinear):
    """Computes the bias and the residual connection within the product."""

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """(..., in) -> (..., out): residual + the layer of x"""
        dtype = _autocast_dtype(x)
        if not can_serve(self, x) or not inference.has_fused(x.device, dtype):
            out = super().forward(x)
            return out if residual is None else residual + out
        return _apply(_Linear, x.to(dtype), self.weight, self.bias, residual)


class FastAttention(WindowAttention):
    def forward(self, x: Tensor, mask: Tensor | None, residual: Tensor | None = None) -> Tensor:
        """x (B, W, N, D), mask (W, N, N) or None -> (B, W, N, D)"""
        if not can_serve(self, x):
            out = super().forward(x, mask)
            return out if residual is None else residual + out
        bias = self.relative_position_bias_table.T[:, self.relative_position_index]  # (H, N, N)
        out = self.proj(attention(self.qkv(x), bias, mask, self.heads), residual)
        return out


class FastMlp(InferenceMlp):
    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """(..., D) -> (..., D)"""
        if not can_serve(self, x):
            out = super().forward(x)
            return out if residual is None else residual + out
        out = self.fc2(F.gelu(self.fc1(x)), residual)
        return out


class FastBlock(SwinBlock):
    def in_windows(self, x: Tensor) -> Tensor:
        """(B, W, N, D) -> (B, W, N, D)"""
        if not can_serve(self, x) or self.drop_path.rate:
            return super().in_windows(x)
        x = self.attn(self.norm1(x), self.attn_mask, x)
        return self.mlp(self.norm2(x), x)


# ---------------------------------------------------------------- operators


def attention(qkv: Tensor, bias: Tensor, mask: Tensor | None, heads: int) -> Tensor:
    """softmax(q k^T / sqrt(d) + bias + mask) v for each head, in the dtype of qkv.

    qkv (B, W, N, 3 D): queries, keys, values; bias (H, N, N), mask (W, N, N) or None -> (B, W, N, D)
    """
    offset = bias.detach() if mask is None else bias.detach() + mask[:, None]  # (W, H, N, N)
    return _apply(_Attention, qkv, bias, offset.to(qkv.dtype), heads)


def _apply(function: Any, *inputs: Any) -> Tensor:
    out: Tensor = function.apply(*inputs)
    return out


def _autocast_dtype(x: Tensor) -> torch.dtype:
    """The dtype in which autocast computes a product of x; without autocast, that of x."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


class _ChannelAffine(torch.autograd.Function):
    """x weight + bias for each channel, where x (B, C, T) requires no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x * weight.to(x.dtype)[:, None]).add_(bias.to(x.dtype)[:, None])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (x,), (grad_out,) = ctx.saved_tensors, gradients
        grad_weight = (grad_out * x).sum(2).float().sum(0)
        return None, grad_weight, grad_out.sum(2).float().sum(0)


PAIR = {2: torch.int32, 4: torch.int64}  # bytes of a number -> the integer as large as two of them


class _SpaceToDepth(torch.autograd.Function):
    """(B, C, R, T) -> (B, 4 C, R / 2 + 1, T / 2 + 1), channels last in memory: cells of two rows and two columns.

    The first row and the first column of cells are zero. Two adjacent columns of the image are copied as one integer,
    plane by plane.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        b, c, r, t = ctx.size = x.shape
        cells = x.new_zeros(b, r // 2 + 1, t // 2 + 1, 4 * c)
        _copy_cells(x.contiguous(), cells, into_cells=True)
        return cells.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        grad_x = gradients[0].new_empty(ctx.size)
        _copy_cells(grad_x, gradients[0].permute(0, 2, 3, 1).contiguous(), into_cells=False)
        return grad_x


def _copy_cells(image: Tensor, cells: Tensor, into_cells: bool) -> None:
    """Copies image (B, C, R, T) to cells (B, R / 2 + 1, T / 2 + 1, 4 C), or cells to image."""
    pair = PAIR[image.itemsize]
    planes = image.view(pair).unflatten(2, (-1, 2))  # (B, C, R / 2, 2, T / 2)
    inner = cells.view(pair)[:, 1:, 1:]  # (B, R / 2, T / 2, 2 C)
    for channel in range(image.shape[1]):
        for row in range(2):
            plane, cell = planes[:, channel, :, row], inner[..., 2 * channel + row]
            if into_cells:
                cell.copy_(plane)
            else:
                plane.copy_(cell)


class _Linear(torch.autograd.Function):
    """residual + x weight^T + bias"""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None) -> Tensor:
        weight = weight.to(x.dtype)
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        bias = None if bias is None else bias.to(x.dtype)
        if residual is None:
            out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        else:
            out = torch.ops.mkldnn._linear_pointwise.binary(x, residual.to(x.dtype), weight, bias, "add")
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grad_out = gradients[0].flatten(0, -2)
        grad_x = (grad_out @ weight).view(x.shape)
        grad_bias = grad_out.sum(0) if ctx.has_bias else None
        return grad_x, grad_out.T @ x.flatten(0, -2), grad_bias, gradients[0] if ctx.needs_input_grad[3] else None


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, bias: Tensor, offset: Tensor, heads: int) -> Tensor:
        b, w, n, width = qkv.shape
        d = width // 3 // heads
        q, k, v = qkv.view(b * w, n, 3, heads, d).permute(2, 0, 3, 1, 4).reshape(3, b * w * heads, n, d)
        logits = qkv.new_empty(b, w, heads, n, n).copy_(offset).view(-1, n, n)
        # Some autocast rules (CUDA's) give softmax in float32. The products of the backward pass need one dtype.
        probabilities = logits.baddbmm_(q, k.transpose(1, 2), alpha=d**-0.5).softmax(-1).to(qkv.dtype)
        ctx.save_for_backward(q, k, v, probabilities)
        ctx.heads = heads
        return _merge_heads(probabilities @ v, heads=heads).view(b, w, n, heads * d)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, probabilities = ctx.saved_tensors
        (b, w, n, width), heads = gradients[0].shape, ctx.heads
        scale = q.shape[2] ** -0.5
        grad_out = gradients[0].reshape(b * w, n, heads, -1).transpose(1, 2).reshape(q.shape)
        grad_v = probabilities.transpose(1, 2) @ grad_out
        grad_logits = torch._softmax_backward_data(grad_out @ v.transpose(1, 2), probabilities, -1, probabilities.dtype)
        grad_q = torch.baddbmm(grad_out, grad_logits, k, beta=0, alpha=scale)
        grad_k = torch.baddbmm(grad_out, grad_logits.transpose(1, 2), q, beta=0, alpha=scale)
        grad_bias = grad_logits.view(b * w, heads, n, n).sum(0)
        return _merge_heads(grad_q, grad_k, grad_v, heads=heads).view(b, w, n, 3 * width), grad_bias, None, None


def _merge_heads(*parts: Tensor, heads: int) -> Tensor:
    """Concatenates parts, each (B W H, N, d), to (B W, N, parts H d).

    It copies head by head, because the tokens of one head lie at equal distances. One copy that alternates between
    heads takes three times as long.
    """
    return torch.cat([head for part in parts for head in part.unflatten(0, (-1, heads)).unbind(1)], -1)
