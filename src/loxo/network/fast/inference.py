"""A network as fast as a CPU can do it when nothing is learnt: linear layers by oneDNN, and the batch in slices.

torch's own linear layer may call another library that leaves a third of the processor unused, and a GELU of its own
reads and writes the widest tensor of the network once more. The fused operators are those that torch.compile uses.
With gradients, under autocast, on another device, and while a model is compiled or exported, the plain ones are used:
the results differ by float rounding only.

Weights that ask for no gradient (`model.requires_grad_(False)`) are laid out for the processor once and kept so.
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLICE = 3 * 2**20  # bytes of tokens: what the layers between make of them, four times as wide, stays in the cache
ROWS_EXPECTED = 1024  # of a linear layer's input, when its weights are laid out
_packed: WeakKeyDictionary[nn.Linear, tuple[tuple[int, int], Tensor]] = WeakKeyDictionary()


def in_slices(layers: Callable[[Tensor], Tensor], tokens: Tensor) -> Tensor:
    """layers(tokens), a few images of a batch at a time where nothing is learnt: (B, ...) -> (B, ...)

    What lies between the layers then stays in the processor's cache, and in memory that was in use before: a large
    tensor otherwise costs as much to map and to clear as to compute.
    """
    if torch.is_grad_enabled() or tokens.device.type != "cpu" or _traced():
        return layers(tokens)
    images = max(1, SLICE // (tokens[0].numel() * tokens.element_size()))
    return layers(tokens) if images >= len(tokens) else torch.cat([layers(some) for some in tokens.split(images)])


def linear(x: Tensor, layer: nn.Linear) -> Tensor:
    """(..., in) -> (..., out)"""
    return _pointwise(x, layer, "none") if _fusible(x, layer) else F.linear(x, layer.weight, layer.bias)


def mlp(x: Tensor, first: nn.Linear, second: nn.Linear) -> Tensor:
    """second(gelu(first(x))): (..., in) -> (..., out)"""
    if not (_fusible(x, first) and _fusible(x, second)):
        return F.linear(F.gelu(F.linear(x, first.weight, first.bias)), second.weight, second.bias)
    return _pointwise(_pointwise(x, first, "gelu"), second, "none")


def has_fused(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether oneDNN's fused operators take tensors of this kind at full speed."""
    return bool(
        device.type == "cpu"
        and (dtype == torch.float32 or (dtype == torch.bfloat16 and bfloat16_is_fast()))
        and torch.backends.mkldnn.is_available()
        and torch.backends.mkldnn.enabled
    )


def _fusible(x: Tensor, layer: nn.Linear) -> bool:
    return bool(
        not torch.is_grad_enabled()
        and x.dtype == layer.weight.dtype
        and not torch.is_autocast_enabled("cpu")
        and not _traced()
        and has_fused(x.device, x.dtype)
    )


def _traced() -> bool:
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def bfloat16_is_fast() -> bool:
    """Whether this processor multiplies bfloat16 in hardware (AVX512-BF16 or AMX): twice as fast as float32."""
    return bool(torch.cpu._is_avx512_bf16_supported())


def _pointwise(x: Tensor, layer: nn.Linear, activation: str) -> Tensor:
    weight = layer.weight if layer.weight.requires_grad else _laid_out(layer)
    algorithm = "none" if activation == "gelu" else ""  # of the GELU: the exact one
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, layer.bias, activation, [], algorithm)
    return out


def _laid_out(layer: nn.Linear) -> Tensor:
    """The weights in oneDNN's own layout, made anew when they have changed."""
    weight = layer.weight
    state = (weight.data_ptr(), 0 if weight.is_inference() else weight._version)
    known = _packed.get(layer)
    if known is None or known[0] != state:
        known = (state, torch.ops.mkldnn._reorder_linear_weight(weight.detach(), ROWS_EXPECTED))
        _packed[layer] = known
    return known[1]
