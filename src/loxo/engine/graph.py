"""Graph files: the network as ONNX, exported from the weights of a model file and checked before a runtime reads it.

A graph is data. `read_graph` accepts only operators on a list (loxo.engine.operators) and weights inside the file. It
computes the shape of every tensor itself, because OpenVINO would allocate what an operator yields, whatever shape the
graph states. So the checks suffice for each runtime, and no runtime has to accept a graph before another reads it.

The file names the SHA-256 of the model file's weights, and ends with a checksum of its own bytes:

    body          the ONNX model, without metadata
    metadata      one entry "loxo": format, weights_sha256, body_bytes, body_sha256

Both parts are protobuf messages; protobuf merges messages that follow each other, so every ONNX reader can read the
file. The checksum finds damage. Anyone can compute it, so it is no protection: the other checks are. Failure policy: a
damaged or hostile graph is a LoxoError of one sentence, before a runtime reads it. A runtime receives a graph that is
written anew from the checked fields.
"""

from __future__ import annotations

import hashlib
import json
import math
from functools import cache
from typing import Any

import numpy as np

from loxo.engine import operators
from loxo.engine.model_file import ModelFile
from loxo.engine.operators import FLOAT, INT64, ITEM_BYTES, MAX_ELEMENTS, Tensor, require
from loxo.engine.windows import GROUP
from loxo.errors import LoxoError
from loxo.files import parse_json
from loxo.installation import install_extra

ENTRY, FORMAT = "loxo", 1
MAX_RATIO, MAX_REST = 4, 1 << 24  # bytes of a graph file: MAX_RATIO times those of the model file, and MAX_REST more
MAX_NODES = 20_000
MAX_FIELDS = 500_000  # of the whole file: memory of a parsed graph is in proportion to them
MAX_LIST = 1024  # bytes of one list of numbers, and of one name or other text; metadata and weights are longer
MAX_SUM = 1 << 28  # of the elements of all tensors
MAX_WORK = 1 << 40  # multiplications for a group of windows
MAX_INTEGERS = 4096  # in a constant that is read here
OPSETS = range(20, 24)

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
    ),
    "Attribute": (
        ("name", 1, "string"),
        ("f", 2, "float"),
        ("i", 3, "int64"),
        ("s", 4, "bytes"),
        ("ints", 8, "*int64"),
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
FIELDS = {message: {number: kind for _, number, kind in fields} for message, fields in SCHEMA.items()}
WIRE = {"int32": 0, "int64": 0, "float": 5}  # how protobuf writes a number; all else is a length and content
LONG = {("Entry", 2)}  # texts that may be long


def image_shape(config: Any) -> tuple[int, int, int, int]:
    """The shape of a graph's input "image": (windows, channels, n_mels, image_frames), as the front end gives it."""
    return GROUP, config.in_chans, config.n_mels, config.image_frames


def read_graph(model: ModelFile) -> bytes:
    """The checked graph that lies beside a model file, for a runtime.

    Raises LoxoError when there is none, when it is damaged, unsafe, or of other weights.
    """
    path = model.graph_path
    try:
        if path.stat().st_size > MAX_RATIO * model.path.stat().st_size + MAX_REST:
            raise _refusal(model, "it is too large for the weights of the model file")
        content = path.read_bytes()
    except FileNotFoundError:
        raise LoxoError(
            f"{model.path}: detection needs the model's graph, {path.name}, which is not beside it. Make it with "
            f"`loxo export {model.path}`, which needs PyTorch ({install_extra('train')})."
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


def precision_of(graph: bytes, other: str) -> str:
    """ "int8" for a checked graph with quantised layers, else `other`, the precision of the runtime."""
    message = messages()["Model"]()
    message.ParseFromString(graph)
    return "int8" if any(node.op_type == "QuantizeLinear" for node in message.graph.node) else other


def seal_graph(body: bytes, weights_sha256: str) -> bytes:
    """The content of a graph file: an ONNX model without metadata, then the entry that names its weights."""
    return body + _metadata(body, weights_sha256)


def parse_graph(content: bytes, config: Any) -> tuple[bytes, str]:
    """The checked graph, made anew from the fields that were checked, and the SHA-256 of its weights.

    Raises ValueError, a clause that says what is wrong.
    """
    from google.protobuf.message import DecodeError

    _check_fields(content)
    message = messages()["Model"]()
    try:
        message.ParseFromString(content)
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
        sealed = parse_json(entry.value)
        size, weights = sealed["body_bytes"], sealed["weights_sha256"]
        if type(size) is not int or type(weights) is not str:
            raise TypeError(size)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError("it does not name its weights, so it was not made by `loxo export`") from error
    if not 0 <= size <= len(content) or content[size:] != _metadata(content[:size], weights):
        raise ValueError("its checksum is wrong, so it is damaged")
    return weights


def _check_model(message: Any, config: Any) -> None:
    graph = message.graph
    require(3 <= message.ir_version <= 13, "its format version is unknown")
    opsets = [(opset.domain, opset.version) for opset in message.opset_import]
    require(len(opsets) == 1 and opsets[0][0] in ("", "ai.onnx"), "it uses operators from outside ONNX")
    require(opsets[0][1] in OPSETS, f"it uses version {opsets[0][1]} of the ONNX operators")
    require(0 < len(graph.node) <= MAX_NODES, "its number of operators is out of bounds")
    stated = _stated(graph)
    constants = _constants(graph)
    image, logits = image_shape(config), (GROUP, len(config.rows), config.steps)
    require("image" not in constants, "two of its tensors have one name")
    tensors = _compute({**constants, "image": Tensor(FLOAT, image)}, graph, stated)
    inputs, outputs = [value.name for value in graph.input], [value.name for value in graph.output]
    require(inputs == ["image"] and outputs == ["logits", "latent"], "its inputs and outputs have other names")
    computed = {name for node in graph.node for name in node.output}
    require({"logits", "latent"} <= computed, "nothing computes its outputs")
    require(stated.get("image") == (FLOAT, image), "its input has another shape than the config's")
    found = tensors["logits"]
    require((found.kind, found.shape) == (FLOAT, logits), f"its logits have shape {found.shape}, not {logits}")
    latent = tensors["latent"]
    right = latent.kind == FLOAT and len(latent.shape) == 2 and latent.shape[0] == GROUP
    require(right, "its latent output has another shape")
    for name in ("logits", "latent"):
        require(name in stated, "the shape of an output is not stated")
    for name, (kind, shape) in stated.items():
        require(name in tensors, "it states the shape of a tensor that does not exist")
        right = (kind, shape) == (tensors[name].kind, tensors[name].shape)
        require(right, f"the stated shape of its tensor {name[:40]!r} is wrong")


def _constants(graph: Any) -> dict[str, Tensor]:
    """The constants by name."""
    constants: dict[str, Tensor] = {}
    for tensor in graph.initializer:
        name, dims, kind = tensor.name, tuple(tensor.dims), tensor.data_type
        shown = repr(name[:40])
        require(bool(name) and name not in constants, "two of its constants have one name")
        require(kind in ITEM_BYTES, f"its constant {shown} has a type that graphs do not use")
        small = len(dims) <= 8 and all(0 < size <= MAX_ELEMENTS for size in dims) and math.prod(dims) <= MAX_ELEMENTS
        require(small, f"the shape of its constant {shown} is out of bounds")
        right = len(tensor.raw_data) == math.prod(dims) * ITEM_BYTES[kind]
        require(right, f"its constant {shown} has other data than its shape needs")
        if kind == FLOAT:
            finite = bool(np.isfinite(np.frombuffer(tensor.raw_data, "<f4")).all())
            require(finite, f"its constant {shown} contains NaN or infinity")
        values = None
        if kind == INT64 and len(dims) <= 1 and math.prod(dims) <= MAX_INTEGERS:
            values = tuple(np.frombuffer(tensor.raw_data, "<i8").tolist())
        constants[name] = Tensor(kind, dims, values, constant=True)
    return constants


def _compute(
    tensors: dict[str, Tensor], graph: Any, stated: dict[str, tuple[int, tuple[int, ...]]]
) -> dict[str, Tensor]:
    """All tensors by name: those that are given, and the outputs of the operators. Operators must be in order."""
    work, total = 0, sum(tensor.size for tensor in tensors.values())
    for node in graph.node:
        kind = node.op_type
        listed = kind in operators.OPERATORS and node.domain in ("", "ai.onnx")
        require(listed, f"its operator {kind[:40]!r} is not on the list")
        require(all(name in tensors or not name for name in node.input), f"an input of its {kind} does not exist")
        attributes = {attribute.name: _value(attribute) for attribute in node.attribute}
        require(len(attributes) == len(node.attribute), f"its {kind} has an attribute twice")
        inputs = [tensors[name] if name else None for name in node.input]
        results, multiplications = operators.outputs(operators.Call(kind, inputs, attributes, len(node.output)))
        work += multiplications
        for name, result in zip(node.output, results, strict=True):
            require(bool(name) and name not in tensors, "two of its tensors have one name, or one has none")
            tensors[name] = result
            total += result.size
        require(total <= MAX_SUM, "its tensors are too large")
        require(work <= MAX_WORK, "it would compute too long")
    return tensors


def _value(attribute: Any) -> Any:
    """The value of an attribute."""
    expected = operators.ATTRIBUTE_TYPES.get(attribute.name, 2)
    require(attribute.type == expected, f"its attribute {attribute.name[:40]!r} has the wrong type")
    value = getattr(attribute, {1: "f", 2: "i", 3: "s", 7: "ints"}[expected])
    require(expected != 1 or math.isfinite(value), f"its attribute {attribute.name[:40]!r} is not a finite number")
    return list(value) if expected == 7 else value


def _stated(graph: Any) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Types and shapes that a graph states about its own tensors."""
    stated = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        sizes = tuple(0 if dim.dim_param else dim.dim_value for dim in tensor.shape.dim)
        require(value.name not in stated, "it states the shape of a tensor twice")
        stated[value.name] = (tensor.elem_type, sizes)
    return stated


def _check_fields(content: bytes, kind: str = "Model", first: int = 0, stop: int | None = None, count: int = 0) -> int:
    """Walks through the fields of a message before protobuf builds it, and returns their number.

    A small file could otherwise hold millions of empty messages or numbers, each of which needs memory, or fields that
    another reader of the file obeys. Raises ValueError for a field that SCHEMA lacks.
    """
    position, stop = first, len(content) if stop is None else stop
    while position < stop:
        count += 1
        require(count <= MAX_FIELDS, "it has too many fields")
        key, position = _varint(content, position, stop)
        require(key >> 3 in FIELDS[kind], f"field {key >> 3} of its {kind} is not on the list")
        field = FIELDS[kind][key >> 3]
        expected = WIRE.get(field.removeprefix("*"), 2)
        if key & 7 == 0 == expected:
            _, position = _varint(content, position, stop)
        elif key & 7 == 5 == expected:
            position += 4
        else:
            require(key & 7 == 2 and (expected == 2 or field.startswith("*")), "it is damaged or no ONNX graph")
            length, position = _varint(content, position, stop)
            end = position + length
            require(end <= stop, "it is damaged or no ONNX graph")
            if field.removeprefix("*") in SCHEMA:
                count = _check_fields(content, field.removeprefix("*"), position, end, count)
            elif field != "bytes" and (kind, key >> 3) not in LONG:
                require(length <= MAX_LIST, "one of its names or lists is too long")
            position = end
    require(position == stop, "it is damaged or no ONNX graph")
    return count


def _varint(content: bytes, position: int, stop: int) -> tuple[int, int]:
    value = shift = 0
    while position < stop and shift < 70:
        byte = content[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position
    raise ValueError("it is damaged or no ONNX graph")


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
