"""Linear layers as fast as a CPU can do them when nothing is learnt: by oneDNN, bias and GELU in the same pass.

torch's own linear layer may call another library that leaves a third of the processor unused, and a GELU of its own
reads and writes the widest tensor of the network once more. The fused operators are those that torch.compile uses.
With gradients, under autocast, on another device, and while a model is compiled or exported, the plain ones are used:
the results differ by float rounding only.

Weights that ask for no gradient (`model.requires_grad_(False)`) are laid out for the processor once and kept so.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ROWS_AT_ONCE = 1024  # of an MLP: its hidden tensor then stays in the cache between the two layers
_packed: WeakKeyDictionary[nn.Linear, tuple[tuple[int, int], Tensor]] = WeakKeyDictionary()


def linear(x: Tensor, layer: nn.Linear) -> Tensor:
    """(..., in) -> (..., out)"""
    return _pointwise(x, layer, "none") if _fusible(x, layer) else F.linear(x, layer.weight, layer.bias)


def mlp(x: Tensor, first: nn.Linear, second: nn.Linear) -> Tensor:
    """second(gelu(first(x))): (..., in) -> (..., out)"""
    if not (_fusible(x, first) and _fusible(x, second)):
        return F.linear(F.gelu(F.linear(x, first.weight, first.bias)), second.weight, second.bias)
    rows = x.reshape(-1, x.shape[-1])
    out = x.new_empty(len(rows), second.out_features)
    for k in range(0, len(rows), ROWS_AT_ONCE):
        some = slice(k, k + ROWS_AT_ONCE)
        out[some] = _pointwise(_pointwise(rows[some], first, "gelu"), second, "none")
    return out.view(*x.shape[:-1], -1)


def _fusible(x: Tensor, layer: nn.Linear) -> bool:
    return bool(
        not torch.is_grad_enabled()
        and x.device.type == "cpu"
        and x.dtype == layer.weight.dtype
        and (x.dtype == torch.float32 or (x.dtype == torch.bfloat16 and bfloat16_is_fast()))
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and torch.backends.mkldnn.is_available()
        and torch.backends.mkldnn.enabled
    )


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
        known = (state, torch.ops.mkldnn._reorder_linear_weight(weight.detach(), ROWS_AT_ONCE))
        _packed[layer] = known
    return known[1]
