"""Operators that a graph may use: their attributes, the shapes of their outputs, and the amount of their work.

Shapes are computed here from the inputs of each operator, and are never taken from what a graph states about itself.
A graph whose tensors are small here is therefore small in every runtime. Each rule also limits the parameters that
could make an operator slow, read outside its input, or need a large buffer. Rules raise ValueError with a clause.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

FLOAT, UINT8, INT8, INT32, INT64 = 1, 2, 3, 6, 7  # TensorProto.DataType
ITEM_BYTES = {FLOAT: 4, UINT8: 1, INT8: 1, INT32: 4, INT64: 8}
MAX_ELEMENTS = 1 << 25  # of one tensor: 134 MB in float32
MAX_KERNEL = 64  # of a convolution or a pooling, in each direction, after dilation
MAX_HIDDEN = 1 << 13  # of a recurrent layer

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Tensor:
    """Type and shape of a tensor; the integers in it where it is a small constant."""

    kind: int
    shape: Shape
    values: tuple[int, ...] | None = None
    constant: bool = False

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Call:
    """One operator of a graph: its inputs (None for one that is left out), attributes and number of outputs."""

    kind: str
    inputs: Sequence[Tensor | None]
    attributes: dict[str, Any]
    outputs: int

    def input(self, k: int, kind: int = FLOAT) -> Tensor:
        tensor = self.inputs[k] if k < len(self.inputs) else None
        if tensor is None:
            raise ValueError(f"its {self.kind} lacks an input")
        require(tensor.kind == kind, f"an input of its {self.kind} has the wrong type")
        return tensor

    def has(self, k: int) -> bool:
        return k < len(self.inputs) and self.inputs[k] is not None

    def integers(self, k: int) -> tuple[int, ...]:
        """The values of an input that sets a shape. It must be a constant."""
        tensor = self.input(k, INT64)
        if tensor.values is None:
            raise ValueError(f"the shape of its {self.kind} is not a constant")
        return tensor.values

    def axis(self, value: int, rank: int) -> int:
        require(-rank <= value < rank, f"an axis of its {self.kind} does not exist")
        return value % rank

    def axes(self, k: int, rank: int) -> set[int]:
        values = [self.axis(value, rank) for value in self.integers(k)]
        require(0 < len(values) == len(set(values)), f"the axes of its {self.kind} are wrong")
        return set(values)

    def get(self, name: str, default: Any) -> Any:
        return self.attributes.get(name, default)

    def allow(self, **values: tuple[Any, ...]) -> None:
        """Requires that these attributes, where they are given, have one of the values."""
        for name, allowed in values.items():
            given = self.attributes.get(name, allowed[0])
            require(given in allowed, f"the attribute {name!r} of its {self.kind} is not supported")


def require(holds: bool, fault: str) -> None:
    if not holds:
        raise ValueError(fault)


def outputs(call: Call) -> tuple[list[Tensor], int]:
    """The outputs of an operator and the number of its multiplications. Raises ValueError for one that is not safe."""
    name = call.kind
    require(name in OPERATORS, f"its operator {name[:40]!r} is not on the list")
    rule, attributes, most_inputs = OPERATORS[name]
    require(len(call.inputs) <= most_inputs, f"its {name} has too many inputs")
    for attribute in call.attributes:
        require(attribute in attributes, f"its {name} has the attribute {attribute[:40]!r}, which is not on the list")
    tensors, work = rule(call)
    require(1 <= call.outputs <= len(tensors), f"its {name} has another number of outputs")
    for tensor in tensors:
        fits = len(tensor.shape) <= 8 and all(size > 0 for size in tensor.shape) and tensor.size <= MAX_ELEMENTS
        require(fits, f"an output of its {name} is too large or empty")
    return tensors[: call.outputs], work


Answer = tuple[list[Tensor], int]
Rule = Callable[[Call], Answer]


def _one(shape: Sequence[int], work: int = 0) -> Answer:
    return [Tensor(FLOAT, tuple(shape))], work


def broadcast(kind: str, *shapes: Shape) -> Shape:
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    out = []
    for sizes in zip(*padded, strict=True):
        wide = set(sizes) - {1}
        require(len(wide) <= 1, f"the inputs of its {kind} do not fit together")
        out.append(wide.pop() if wide else 1)
    return tuple(out)


def _elementwise(call: Call) -> Answer:
    call.allow(approximate=(b"none", b"tanh"))
    return _one(call.input(0).shape)


def _binary(call: Call) -> Answer:
    return _one(broadcast(call.kind, call.input(0).shape, call.input(1).shape))


def _softmax(call: Call) -> Answer:
    shape = call.input(0).shape
    call.axis(call.get("axis", -1), len(shape))
    return _one(shape)


def _layer_norm(call: Call) -> Answer:
    shape = call.input(0).shape
    call.allow(stash_type=(1,))
    axis = call.axis(call.get("axis", -1), len(shape))
    for k in (1, 2)[: 1 + call.has(2)]:
        require(call.input(k).shape == shape[axis:], f"the inputs of its {call.kind} do not fit together")
    return _one(shape)


def _batch_norm(call: Call) -> Answer:
    shape = call.input(0).shape
    call.allow(training_mode=(0,))
    fits = len(shape) >= 2 and all(call.input(k).shape == shape[1:2] for k in range(1, 5))
    require(fits, f"the inputs of its {call.kind} do not fit together")
    return _one(shape)


def _matmul(call: Call) -> Answer:
    a, b = call.input(0).shape, call.input(1).shape
    require(len(a) >= 2 and len(b) >= 2 and a[-1] == b[-2], f"the inputs of its {call.kind} do not fit together")
    shape = (*broadcast(call.kind, a[:-2], b[:-2]), a[-2], b[-1]) if len(a) + len(b) > 4 else (a[0], b[1])
    return _one(shape, math.prod(shape) * a[-1])


def _gemm(call: Call) -> Answer:
    a, b = call.input(0).shape, call.input(1).shape
    call.allow(transA=(0, 1), transB=(0, 1))
    require(len(a) == len(b) == 2, f"the inputs of its {call.kind} do not fit together")
    a, b = a[:: -1 if call.get("transA", 0) else 1], b[:: -1 if call.get("transB", 0) else 1]
    shape = (a[0], b[1])
    fits = a[1] == b[0] and (not call.has(2) or broadcast(call.kind, shape, call.input(2).shape) == shape)
    require(fits, f"the inputs of its {call.kind} do not fit together")
    return _one(shape, math.prod(shape) * a[1])


def _sliding(call: Call, shape: Shape, kernel: Shape) -> list[int]:
    """Positions of a kernel along the axes after the first two."""
    call.allow(auto_pad=(b"NOTSET",), ceil_mode=(0,), storage_order=(0,))
    rank = len(shape) - 2
    require(rank in (1, 2) and len(kernel) == rank, f"the kernel of its {call.kind} does not fit its input")
    require(tuple(call.get("kernel_shape", kernel)) == kernel, f"the kernel of its {call.kind} is wrong")
    strides, dilations = (tuple(call.get(name, (1,) * rank)) for name in ("strides", "dilations"))
    pads = tuple(call.get("pads", (0,) * (2 * rank)))
    require(len(strides) == len(dilations) == rank and len(pads) == 2 * rank, f"its {call.kind} has other axes")
    out = []
    for k in range(rank):
        reach = dilations[k] * (kernel[k] - 1) + 1
        small = kernel[k] > 0 and dilations[k] > 0 and 0 < strides[k] <= MAX_KERNEL and reach <= MAX_KERNEL
        require(small, f"the kernel of its {call.kind} is too large")
        before, after = pads[k], pads[rank + k]
        require(0 <= before < reach and 0 <= after < reach, f"the padding of its {call.kind} is too large")
        room = shape[2 + k] + before + after - reach
        require(room >= 0, f"the kernel of its {call.kind} is larger than its input")
        out.append(room // strides[k] + 1)
    return out


def _conv(call: Call) -> Answer:
    shape, kernel, group = call.input(0).shape, call.input(1), call.get("group", 1)
    require(kernel.constant, f"the kernel of its {call.kind} is not a constant")
    require(len(shape) == len(kernel.shape) >= 3 and group > 0, f"the kernel of its {call.kind} does not fit its input")
    fits = shape[1] == kernel.shape[1] * group and kernel.shape[0] % group == 0
    require(fits, f"the kernel of its {call.kind} does not fit its input")
    require(not call.has(2) or call.input(2).shape == kernel.shape[:1], f"the bias of its {call.kind} is wrong")
    positions = _sliding(call, shape, kernel.shape[2:])
    unfolded = math.prod(positions) * shape[1] * math.prod(kernel.shape[2:])  # a buffer that some runtimes use
    require(unfolded <= MAX_ELEMENTS, f"the kernel of its {call.kind} is too large")
    out = (shape[0], kernel.shape[0], *positions)
    return _one(out, math.prod(out) * math.prod(kernel.shape[1:]))


def _max_pool(call: Call) -> Answer:
    shape, kernel = call.input(0).shape, tuple(call.get("kernel_shape", ()))
    require(len(shape) >= 3, f"the kernel of its {call.kind} does not fit its input")
    out = (*shape[:2], *_sliding(call, shape, kernel))
    return _one(out, math.prod(out) * math.prod(kernel))


def _gru(call: Call) -> Answer:
    call.allow(layout=(0,), linear_before_reset=(0, 1), direction=(b"forward", b"reverse", b"bidirectional"))
    shape, hidden = call.input(0).shape, call.get("hidden_size", 0)
    directions = 2 if call.get("direction", b"forward") == b"bidirectional" else 1
    require(len(shape) == 3 and 0 < hidden <= MAX_HIDDEN, f"its {call.kind} is too large")
    steps, batch, features = shape
    expected = {1: (3 * hidden, features), 2: (3 * hidden, hidden), 3: (6 * hidden,), 5: (batch, hidden)}
    fits = all(
        call.input(k).shape == (directions, *rest) for k, rest in expected.items() if k <= 2 or call.has(k)
    ) and not call.has(4)
    require(fits, f"the inputs of its {call.kind} do not fit together")
    work = directions * 3 * hidden * (features + hidden) * steps * batch
    return [
        Tensor(FLOAT, (steps, directions, batch, hidden)),
        Tensor(FLOAT, (directions, batch, hidden)),
    ], work


def _reshape(call: Call) -> Answer:
    tensor, wanted = call.input(0), call.integers(1)
    call.allow(allowzero=(0, 1))
    require(len(wanted) <= 8 and wanted.count(-1) <= 1, f"the shape of its {call.kind} is wrong")
    out = list(wanted)
    for k, size in enumerate(out):
        if size == 0 and not call.get("allowzero", 0):
            require(k < len(tensor.shape), f"the shape of its {call.kind} is wrong")
            out[k] = tensor.shape[k]
    rest = math.prod(size for size in out if size != -1)
    if -1 in out:
        require(rest > 0 and tensor.size % rest == 0, f"the shape of its {call.kind} is wrong")
        out[out.index(-1)] = tensor.size // rest
    right = all(size > 0 for size in out) and math.prod(out) == tensor.size
    require(right, f"the shape of its {call.kind} is wrong")
    return _one(out)


def _transpose(call: Call) -> Answer:
    shape = call.input(0).shape
    perm = call.get("perm", list(reversed(range(len(shape)))))
    require(sorted(perm) == list(range(len(shape))), f"the axes of its {call.kind} are wrong")
    return _one([shape[k] for k in perm])


def _concat(call: Call) -> Answer:
    shapes = [call.input(k).shape for k in range(len(call.inputs))]
    require(bool(shapes), f"its {call.kind} lacks an input")
    axis = call.axis(call.get("axis", len(shapes[0])), len(shapes[0]))
    rests = {(*shape[:axis], *shape[axis + 1 :], len(shape)) for shape in shapes}
    require(len(rests) == 1, f"the inputs of its {call.kind} do not fit together")
    return _one((*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :]))


def _split(call: Call) -> Answer:
    shape = call.input(0).shape
    axis = call.axis(call.get("axis", 0), len(shape))
    if call.has(1):
        sizes = call.integers(1)
    else:
        count = call.get("num_outputs", call.outputs)
        require(count > 0 and shape[axis] % count == 0, f"its {call.kind} does not fit its input")
        sizes = (shape[axis] // count,) * count if count <= shape[axis] else ()
    right = len(sizes) == call.outputs and sum(sizes) == shape[axis] and all(size > 0 for size in sizes)
    require(right, f"its {call.kind} does not fit its input")
    return [Tensor(FLOAT, (*shape[:axis], size, *shape[axis + 1 :])) for size in sizes], 0


def _slice(call: Call) -> Answer:
    shape = list(call.input(0).shape)
    starts, ends = call.integers(1), call.integers(2)
    axes = call.integers(3) if call.has(3) else tuple(range(len(starts)))
    steps = call.integers(4) if call.has(4) else (1,) * len(starts)
    require(0 < len(starts) == len(ends) == len(axes) == len(steps), f"its {call.kind} is wrong")
    axes = tuple(call.axis(axis, len(shape)) for axis in axes)
    require(len(set(axes)) == len(axes), f"the axes of its {call.kind} are wrong")
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        require(step > 0, f"the step of its {call.kind} is not positive")
        shape[axis] = len(range(*slice(start, end, step).indices(shape[axis])))
    return _one(shape)


def _gather(call: Call) -> Answer:
    shape, indices = call.input(0).shape, call.integers(1)
    axis = call.axis(call.get("axis", 0), len(shape))
    for index in indices:
        require(-shape[axis] <= index < shape[axis], f"an index of its {call.kind} lies outside its input")
    return _one((*shape[:axis], *call.input(1, INT64).shape, *shape[axis + 1 :]))


def _squeeze(call: Call) -> Answer:
    shape = call.input(0).shape
    axes = call.axes(1, len(shape))
    require(all(shape[axis] == 1 for axis in axes), f"the axes of its {call.kind} are wrong")
    return _one([size for k, size in enumerate(shape) if k not in axes])


def _unsqueeze(call: Call) -> Answer:
    shape = call.input(0).shape
    rank = len(shape) + len(call.integers(1))
    axes, rest = call.axes(1, rank), iter(shape)
    return _one([1 if k in axes else next(rest) for k in range(rank)])


def _expand(call: Call) -> Answer:
    wanted = call.integers(1)
    require(len(wanted) <= 8 and all(0 < size <= MAX_ELEMENTS for size in wanted), f"its {call.kind} is too large")
    return _one(broadcast(call.kind, call.input(0).shape, wanted))


def _tile(call: Call) -> Answer:
    shape, repeats = call.input(0).shape, call.integers(1)
    fits = len(repeats) == len(shape) and all(0 < count <= MAX_ELEMENTS for count in repeats)
    require(fits, f"its {call.kind} is too large")
    return _one([size * count for size, count in zip(shape, repeats, strict=True)])


def _reduce_mean(call: Call) -> Answer:
    shape = call.input(0).shape
    call.allow(keepdims=(1, 0), noop_with_empty_axes=(0,))
    axes, keep = call.axes(1, len(shape)), call.get("keepdims", 1)
    return _one([1 if k in axes else size for k, size in enumerate(shape) if keep or k not in axes])


def _scales(call: Call, shape: Shape, kinds: tuple[int, ...]) -> int:
    """The integer type of a quantised tensor. It has one scale and zero point, or one for each index of an axis."""
    scale = call.input(1)
    zero = call.inputs[2] if call.has(2) else None
    if zero is None:
        raise ValueError(f"its {call.kind} lacks an input")
    require(scale.constant and zero.constant, f"the scale of its {call.kind} is not a constant")
    require(zero.kind in kinds and zero.shape == scale.shape, f"the zero point of its {call.kind} is wrong")
    if scale.shape:
        axis = call.axis(call.get("axis", 1), len(shape)) if shape else 0
        require(scale.shape == shape[axis : axis + 1], f"the scale of its {call.kind} does not fit its input")
    return zero.kind


def _quantize(call: Call) -> Answer:
    shape = call.input(0).shape
    return [Tensor(_scales(call, shape, (UINT8, INT8)), shape)], 0


def _dequantize(call: Call) -> Answer:
    tensor = call.inputs[0] if call.has(0) else None
    if tensor is None:
        raise ValueError(f"its {call.kind} lacks an input")
    kind = _scales(call, tensor.shape, (UINT8, INT8, INT32))
    require(tensor.kind == kind, f"an input of its {call.kind} has the wrong type")
    return [Tensor(FLOAT, tensor.shape)], 0


# Types of attributes (AttributeProto): float, bytes, a list of integers; all others are integers.
ATTRIBUTE_TYPES = {
    **dict.fromkeys(("alpha", "beta", "epsilon", "momentum"), 1),
    **dict.fromkeys(("approximate", "auto_pad", "direction"), 3),
    **dict.fromkeys(("dilations", "kernel_shape", "pads", "perm", "strides"), 7),
}
SLIDING = ("auto_pad", "dilations", "kernel_shape", "pads", "strides")
# Operators that the exports of Loxo's architectures use: rule, attributes, and the maximal number of inputs.
OPERATORS: dict[str, tuple[Rule, tuple[str, ...], int]] = {
    "Add": (_binary, (), 2),
    "BatchNormalization": (_batch_norm, ("epsilon", "momentum", "training_mode"), 5),
    "Concat": (_concat, ("axis",), 64),
    "Conv": (_conv, (*SLIDING, "group"), 3),
    "DequantizeLinear": (_dequantize, ("axis",), 3),
    "Div": (_binary, (), 2),
    "Expand": (_expand, (), 2),
    "GRU": (_gru, ("direction", "hidden_size", "layout", "linear_before_reset"), 6),
    "Gather": (_gather, ("axis",), 2),
    "Gelu": (_elementwise, ("approximate",), 1),
    "Gemm": (_gemm, ("alpha", "beta", "transA", "transB"), 3),
    "LayerNormalization": (_layer_norm, ("axis", "epsilon", "stash_type"), 3),
    "MatMul": (_matmul, (), 2),
    "MaxPool": (_max_pool, (*SLIDING, "ceil_mode", "storage_order"), 1),
    "Mul": (_binary, (), 2),
    "QuantizeLinear": (_quantize, ("axis",), 3),
    "ReduceMean": (_reduce_mean, ("keepdims", "noop_with_empty_axes"), 2),
    "Relu": (_elementwise, (), 1),
    "Reshape": (_reshape, ("allowzero",), 2),
    "Slice": (_slice, (), 5),
    "Softmax": (_softmax, ("axis",), 1),
    "Split": (_split, ("axis", "num_outputs"), 2),
    "Squeeze": (_squeeze, (), 2),
    "Tile": (_tile, (), 2),
    "Transpose": (_transpose, ("perm",), 1),
    "Unsqueeze": (_unsqueeze, (), 2),
}
