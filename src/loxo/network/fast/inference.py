"""CPU inference operators: linear layers with oneDNN, GELU fused into the product, the batch in slices.

PyTorch's own linear layer may call a library that leaves a third of the CPU unused. A separate GELU reads and writes
the widest tensor of the network once more. The fused operators are those that torch.compile uses. They serve in eval
mode without gradients. In train mode, with gradients, under autocast, on another device, and while a model is compiled
or exported, the plain layers run. The results differ by float rounding only.

Weights that require no gradient (`model.requires_grad_(False)`) are converted to oneDNN's memory layout once, and the
copy is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loxo.network.htsat import HTSAT
from loxo.network.swin import Mlp, PatchEmbed, PatchMerging, WindowAttention

SLICE_BYTES = 3 * 2**20  # of tokens; the widest tensor between layers is four times as large and fits into the cache
ROWS_EXPECTED = 1024  # rows of a linear layer's input for which its packed weights are optimised
_packed: WeakKeyDictionary[nn.Linear, tuple[tuple[int, int], Tensor]] = WeakKeyDictionary()


def apply(model: nn.Module) -> None:
    """Attaches the inference operators to all modules of HTS-AT in the model. A second call changes nothing."""
    for module in model.modules():
        exchange_class(module, {Mlp: InferenceMlp, PatchEmbed: FastPatchEmbed, HTSAT: SlicedHTSAT})
        if isinstance(module, WindowAttention | Mlp | PatchMerging):
            for layer in module.children():
                exchange_class(layer, {nn.Linear: InferenceLinear})


def exchange_class(module: nn.Module, classes: Mapping[type[nn.Module], type[nn.Module]]) -> None:
    """Gives the module the class that `classes` names for its class; a class that is not a key there stays."""
    module.__class__ = classes.get(type(module), type(module))


class InferenceLinear(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)"""
        return _pointwise(x, self, "none") if _can_fuse(x, self) else super().forward(x)


class InferenceMlp(Mlp):
    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)"""
        if not (_can_fuse(x, self.fc1) and _can_fuse(x, self.fc2)):
            return super().forward(x)
        return _pointwise(_pointwise(x, self.fc1, "gelu"), self.fc2, "none")


class FastPatchEmbed(PatchEmbed):
    """Without a stem, projects the patches with one matrix product, in train and eval mode."""

    def tokens(self, features: Tensor) -> Tensor:
        """(B, channels, rows, columns) -> (B, R, C, D)

        The convolution would need a transposed copy of its output, the tokens. This needs a copy of the smaller image.
        """
        if self.stem or features.device.type != "cpu" or is_traced():
            return super().tokens(features)
        b, c, rows, columns = features.shape
        p, q = self.proj.kernel_size
        patches = features.view(b, c, rows // p, p, columns // q, q).permute(0, 2, 4, 1, 3, 5).flatten(3)
        tokens: Tensor = self.norm(F.linear(patches, self.proj.weight.flatten(1), self.proj.bias))
        return tokens


class SlicedHTSAT(HTSAT):
    def stages(self, tokens: Tensor) -> Tensor:
        """(batch, R, C, D) -> (batch, R, C, features), normalised"""
        if self.training or torch.is_grad_enabled() or tokens.device.type != "cpu" or is_traced():
            return super().stages(tokens)
        for layer in self.layers:
            tokens = in_slices(layer, tokens)
        return self.norm(tokens)


def in_slices(layer: Callable[[Tensor], Tensor], tokens: Tensor) -> Tensor:
    """layer(tokens), computed for a few items of the batch at a time: (B, ...) -> (B, ...)

    The tensors inside the layer then fit into the CPU's cache, in memory that is already mapped. To map and clear a
    large new tensor costs as much time as to compute it.
    """
    items = max(1, SLICE_BYTES // (tokens[0].numel() * tokens.element_size()))
    return layer(tokens) if items >= len(tokens) else torch.cat([layer(part) for part in tokens.split(items)])


def has_fused(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether oneDNN's fused operators accept tensors of this device and dtype at full speed."""
    return bool(
        device.type == "cpu"
        and (dtype == torch.float32 or (dtype == torch.bfloat16 and bfloat16_is_fast()))
        and torch.backends.mkldnn.is_available()
        and torch.backends.mkldnn.enabled
    )


def is_traced() -> bool:
    """Whether the model is being compiled, exported or traced now."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def bfloat16_is_fast() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware (AVX512-BF16 or AMX), twice as fast as float32."""
    return bool(torch.cpu._is_avx512_bf16_supported())


def _can_fuse(x: Tensor, layer: nn.Linear) -> bool:
    return bool(
        not layer.training
        and not torch.is_grad_enabled()
        and x.dtype == layer.weight.dtype
        and not torch.is_autocast_enabled("cpu")
        and not is_traced()
        and has_fused(x.device, x.dtype)
    )


def _pointwise(x: Tensor, layer: nn.Linear, activation: str) -> Tensor:
    weight = layer.weight if layer.weight.requires_grad else _packed_weight(layer)
    algorithm = "none" if activation == "gelu" else ""  # "none": the exact GELU, not the approximation by tanh
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, layer.bias, activation, [], algorithm)
    return out


def _packed_weight(layer: nn.Linear) -> Tensor:
    """The weight in oneDNN's own memory layout, converted again after each change of the weight."""
    weight = layer.weight
    state = (weight.data_ptr(), 0 if weight.is_inference() else weight._version)
    known = _packed.get(layer)
    if known is None or known[0] != state:
        known = (state, torch.ops.mkldnn._reorder_linear_weight(weight.detach(), ROWS_EXPECTED))
        _packed[layer] = known
    return known[1]
