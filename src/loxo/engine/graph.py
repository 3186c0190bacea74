"""Graph files: the network as ONNX, exported from the weights of a model file and checked before anything runs it.

A graph is data. `read_graph` accepts only operators on a list, static shapes of bounded size, and weights inside the
file. It names the SHA-256 of the model file's weights, and ends with a checksum of its own bytes:

    body          the ONNX model, without metadata
    metadata      one entry "loxo": format, weights_sha256, body_bytes, body_sha256

Both parts are protobuf messages; protobuf merges messages that follow each other, so every ONNX reader can read the
file. Failure policy: a damaged or hostile graph is a LoxoError of one sentence, before a runtime has seen it. What a
runtime receives is made anew from the checked fields; all other fields are dropped.
"""

from __future__ import annotations

import hashlib
import json
import math
from functools import cache
from typing import Any

from loxo.engine.model_file import ModelFile
from loxo.engine.windows import GROUP
from loxo.errors import LoxoError

ENTRY, FORMAT = "loxo", 1
MAX_BYTES = 1 << 30  # of a file
MAX_NODES = 20_000
MAX_ELEMENTS = 1 << 25  # of one tensor: 134 MB in float32
MAX_SUM = 1 << 28  # of the elements of all tensors
MAX_KERNEL = 1 << 16  # weights of one output channel of a convolution
OPSETS = range(17, 24)

# Operators, with the inputs that set an output's shape. These must be constants, or shapes could not be checked.
OPERATORS: dict[str, tuple[int, ...]] = {
    "Add": (),
    "AveragePool": (),
    "BatchNormalization": (),
    "Cast": (),
    "Clip": (),
    "Concat": (),
    "Conv": (),
    "DequantizeLinear": (),
    "Div": (),
    "Expand": (1,),
    "Flatten": (),
    "GRU": (),
    "Gather": (),
    "Gelu": (),
    "Gemm": (),
    "GlobalAveragePool": (),
    "Identity": (),
    "LayerNormalization": (),
    "MatMul": (),
    "MaxPool": (),
    "Mul": (),
    "Pad": (1,),
    "QuantizeLinear": (),
    "ReduceMean": (1,),
    "Relu": (),
    "Reshape": (1,),
    "Sigmoid": (),
    "Slice": (1, 2, 3, 4),
    "Softmax": (),
    "Split": (1,),
    "Sqrt": (),
    "Squeeze": (1,),
    "Sub": (),
    "Tanh": (),
    "Tile": (1,),
    "Transpose": (),
    "Unsqueeze": (1,),
}
FLOAT, INT64 = 1, 7  # TensorProto.DataType
ITEM_BYTES = {FLOAT: 4, 2: 1, 3: 1, 6: 4, INT64: 8, 9: 1}  # and uint8, int8, int32, bool

# The part of onnx.proto that a graph may use: message -> (field, number, type), "*" before the type of a repeated one.
SCHEMA: dict[str, tuple[tuple[str, int, str], ...]] = {
    "Entry": (("key", 1, "string"), ("value", 2, "string")),
    "Opset": (("domain", 1, "string"), ("version", 2, "int64")),
    "Dimension": (("dim_value", 1, "int64"), ("dim_param", 2, "string")),
    "Shape": (("dim", 1, "*Dimension"),),
    "TensorType": (("elem_type", 1, "int32"), ("shape", 2, "Shape")),
    "Type": (("tensor_type", 1, "TensorType"),),
    "Value": (("name", 1, "string"), ("type", 2, "Type")),
    "Tensor": (
        ("dims", 1, "*int64"),
        ("data_type", 2, "int32"),
        ("name", 8, "string"),
        ("raw_data", 9, "bytes"),
        ("external_data", 13, "*Entry"),
        ("data_location", 14, "int32"),
    ),
    "Attribute": (
        ("name", 1, "string"),
        ("f", 2, "float"),
        ("i", 3, "int64"),
        ("s", 4, "bytes"),
        ("floats", 7, "*float"),
        ("ints", 8, "*int64"),
        ("strings", 9, "*bytes"),
        ("type", 20, "int32"),
    ),
    "Node": (
        ("input", 1, "*string"),
        ("output", 2, "*string"),
        ("name", 3, "string"),
        ("op_type", 4, "string"),
        ("attribute", 5, "*Attribute"),
        ("domain", 7, "string"),
    ),
    "Graph": (
        ("node", 1, "*Node"),
        ("name", 2, "string"),
        ("initializer", 5, "*Tensor"),
        ("input", 11, "*Value"),
        ("output", 12, "*Value"),
        ("value_info", 13, "*Value"),
    ),
    "Model": (
        ("ir_version", 1, "int64"),
        ("graph", 7, "Graph"),
        ("opset_import", 8, "*Opset"),
        ("metadata_props", 14, "*Entry"),
    ),
}
ATTRIBUTE_TYPES = (1, 2, 3, 6, 7, 8)  # float, int, string, and lists of them


def image_shape(config: Any) -> tuple[int, int, int, int]:
    """The shape of a graph's input "image": (windows, channels, n_mels, image_frames), as the front end gives it."""
    return GROUP, config.in_chans, config.n_mels, config.image_frames


def read_graph(model: ModelFile) -> bytes:
    """The checked graph that lies beside a model file, for a runtime.

    Raises LoxoError when there is none, when it is damaged, unsafe, or of other weights.
    """
    path = model.graph_path
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _refusal(model, "it is larger than a graph may be")
        content = path.read_bytes()
    except FileNotFoundError:
        raise LoxoError(
            f"{model.path}: detection needs the model's graph, {path.name}, which is not beside it. Make it with "
            f"`loxo export {model.path}`, which needs PyTorch (pip install 'loxo[train]')."
        ) from None
    except OSError as error:
        raise LoxoError(f"{path}: the graph cannot be read ({error.strerror or error}).") from error
    try:
        graph, weights = parse_graph(content, model.config)
    except ValueError as error:
        raise _refusal(model, str(error)) from error
    if weights != model.weights_sha256:
        raise _refusal(model, f"it was exported from other weights than those of {model.path.name}")
    return graph


def seal_graph(body: bytes, weights_sha256: str) -> bytes:
    """The content of a graph file: an ONNX model without metadata, then the entry that names its weights."""
    return body + _metadata(body, weights_sha256)


def parse_graph(content: bytes, config: Any) -> tuple[bytes, str]:
    """The checked graph, made anew from the fields that were checked, and the SHA-256 of its weights.

    Raises ValueError, a clause that says what is wrong.
    """
    from google.protobuf.message import DecodeError

    message = messages()["Model"]()
    try:
        message.ParseFromString(content)
        message.DiscardUnknownFields()
    except (DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError("it is damaged or no ONNX graph") from error
    weights_sha256 = _check_seal(content, message)
    _check_model(message, config)
    return message.SerializeToString(), weights_sha256


def _refusal(model: ModelFile, fault: str) -> LoxoError:
    return LoxoError(
        f"{model.graph_path}: this graph is not run: {fault}. Export it again with `loxo export {model.path}`."
    )


def _metadata(body: bytes, weights_sha256: str) -> bytes:
    sealed = {
        "format": FORMAT,
        "weights_sha256": weights_sha256,
        "body_bytes": len(body),
        "body_sha256": hashlib.sha256(body).hexdigest(),
    }
    message = messages()["Model"]()
    message.metadata_props.add(key=ENTRY, value=json.dumps(sealed))
    tail: bytes = message.SerializeToString()
    return tail


def _check_seal(content: bytes, message: Any) -> str:
    try:
        (entry,) = message.metadata_props
        sealed = json.loads(entry.value)
        size, weights = int(sealed["body_bytes"]), str(sealed["weights_sha256"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("it does not name its weights, so it was not made by `loxo export`") from error
    if not 0 <= size <= len(content) or content[size:] != _metadata(content[:size], weights):
        raise ValueError("its checksum is wrong, so it is damaged")
    return weights


def _check_model(message: Any, config: Any) -> None:
    graph = message.graph
    _require(3 <= message.ir_version <= 13, "its format version is unknown")
    opsets = [(opset.domain, opset.version) for opset in message.opset_import]
    _require(len(opsets) == 1 and opsets[0][0] in ("", "ai.onnx"), "it uses operators from outside ONNX")
    _require(opsets[0][1] in OPSETS, f"it uses version {opsets[0][1]} of the ONNX operators")
    _require(0 < len(graph.node) <= MAX_NODES, "its number of operators is out of bounds")
    constants = _check_weights(graph)
    shapes = {value.name: _static_shape(value) for value in (*graph.input, *graph.value_info, *graph.output)}
    _require(sum(math.prod(shape) for shape in shapes.values()) <= MAX_SUM, "its tensors are too large")
    _check_interface(graph, shapes, config)
    _check_nodes(graph, constants, shapes)


def _check_weights(graph: Any) -> dict[str, tuple[int, ...]]:
    """The shapes of the constants by name."""
    constants: dict[str, tuple[int, ...]] = {}
    for tensor in graph.initializer:
        name, dims = tensor.name, tuple(tensor.dims)
        _require(bool(name) and name not in constants, "two of its constants have one name")
        _require(not tensor.external_data and tensor.data_location == 0, f"its constant {name!r} lies in another file")
        _require(tensor.data_type in ITEM_BYTES, f"its constant {name!r} has a type that graphs do not use")
        _require(len(dims) <= 8 and all(0 <= size <= MAX_ELEMENTS for size in dims), f"the shape of {name!r} is wrong")
        expected = math.prod(dims) * ITEM_BYTES[tensor.data_type]
        _require(len(tensor.raw_data) == expected, f"its constant {name!r} has other data than its shape needs")
        constants[name] = dims
    return constants


def _check_interface(graph: Any, shapes: dict[str, tuple[int, ...]], config: Any) -> None:
    inputs, outputs = [value.name for value in graph.input], [value.name for value in graph.output]
    _require(inputs == ["image"] and outputs == ["logits", "latent"], "its inputs and outputs have other names")
    floats = all(value.type.tensor_type.elem_type == FLOAT for value in (*graph.input, *graph.output))
    _require(floats, "its inputs and outputs are no float32")
    expected = (GROUP, len(config.rows), config.steps)
    _require(shapes["image"] == image_shape(config), f"its input has shape {shapes['image']}, not that of the config")
    _require(shapes["logits"] == expected, f"its logits have shape {shapes['logits']}; the config says {expected}")
    _require(len(shapes["latent"]) == 2 and shapes["latent"][0] == GROUP, "its latent output has another shape")


def _check_nodes(graph: Any, constants: dict[str, tuple[int, ...]], shapes: dict[str, tuple[int, ...]]) -> None:
    known = {"image", *constants}
    for node in graph.node:
        kind = node.op_type
        _require(kind in OPERATORS and node.domain in ("", "ai.onnx"), f"its operator {kind[:40]!r} is not on the list")
        _require(all(name in known or not name for name in node.input), f"an input of its {kind} does not exist")
        _require(all(a.type in ATTRIBUTE_TYPES for a in node.attribute), f"its {kind} has an attribute of another kind")
        for k in OPERATORS[kind]:
            fixed = len(node.input) <= k or not node.input[k] or node.input[k] in constants
            _require(fixed, f"the shape of its {kind} is not a constant")
        if kind == "Conv":
            kernel = constants.get(node.input[1]) if len(node.input) > 1 else None
            _require(kernel is not None and math.prod(kernel[1:]) <= MAX_KERNEL, "the kernel of its Conv is too large")
        for name in node.output:
            _require(name not in known, "two of its operators have one output")
            _require(not name or name in shapes, f"the shape of an output of its {kind} is not stated")
            known.add(name) if name else None
    _require({"logits", "latent"} <= known, "nothing computes its outputs")


def _static_shape(value: Any) -> tuple[int, ...]:
    tensor = value.type.tensor_type
    sizes = tuple(0 if dim.dim_param else dim.dim_value for dim in tensor.shape.dim)
    _require(tensor.elem_type in ITEM_BYTES, f"the type of its tensor {value.name[:40]!r} is not used in graphs")
    _require(len(sizes) <= 8 and all(0 < size <= MAX_ELEMENTS for size in sizes), "a shape is open or out of bounds")
    _require(math.prod(sizes) <= MAX_ELEMENTS, "one of its tensors is too large")
    return sizes


def _require(holds: bool, fault: str) -> None:
    if not holds:
        raise ValueError(fault)


@cache
def messages() -> dict[str, Any]:
    """Protobuf message classes of SCHEMA, by name. The onnx package is not needed to read a graph."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="loxo_onnx.proto", package="loxo_onnx", syntax="proto3")
    for name, fields in SCHEMA.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            label = kinds.LABEL_REPEATED if kind.startswith("*") else kinds.LABEL_OPTIONAL
            kind = kind.removeprefix("*")
            entry = message.field.add(name=field, number=number, label=label)
            if kind in SCHEMA:
                entry.type, entry.type_name = kinds.TYPE_MESSAGE, f".loxo_onnx.{kind}"
            else:
                entry.type = getattr(kinds, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"loxo_onnx.{name}")) for name in SCHEMA}
