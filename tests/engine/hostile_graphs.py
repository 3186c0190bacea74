"""Damaged and hostile graphs for test_graph.py, the same in each run.

Most have a correct checksum: anyone can compute it.
"""

import random
from collections.abc import Callable, Iterator

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from loxo.engine.graph import seal_graph
from loxo.engine.model_file import ModelFile
from loxo.engine.windows import GROUP

SEED = 20
Change = Callable[[onnx.ModelProto], None]


def body_of(model: ModelFile) -> bytes:
    graph = onnx.load(model.graph_path)
    del graph.metadata_props[:]
    return graph.SerializeToString()


# ---------------------------------------------------------------- damage, whose checksum is wrong


def damaged(content: bytes) -> Iterator[tuple[str, bytes]]:
    rng = random.Random(SEED)
    for length in (0, 1, 2, 7, 100, *(rng.randrange(len(content)) for _ in range(45)), len(content) - 1):
        yield f"cut to {length} bytes", content[:length]
    places = [*range(0, 40, 2), *(rng.randrange(len(content)) for _ in range(90))]
    places += [len(content) - 1 - k for k in range(0, 240, 6)]
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1 << rng.randrange(8)
        yield f"bit at {place}", bytes(changed)
    for _ in range(30):
        first, size = rng.randrange(len(content) - 5000), rng.choice((8, 512, 4096))
        if not any(content[first : first + size]):
            continue
        yield f"{size} zeros at {first}", content[:first] + bytes(size) + content[first + size :]
    for _ in range(15):
        first, size = rng.randrange(len(content) - 5000), rng.choice((1, 64, 4096))
        yield f"{size} bytes removed at {first}", content[:first] + content[first + size :]
        yield f"{size} bytes added at {first}", content[:first] + rng.randbytes(size) + content[first:]
    yield "more at the end", content + b"\x00"
    yield "twice", content + content
    yield "page", b"<html><body>not found</body></html>"
    yield "noise", rng.randbytes(10_000)
    yield "noise with a seal", seal_graph(rng.randbytes(10_000), "0" * 64)


# ---------------------------------------------------------------- fields that protobuf would read


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def nested(depth: int, number: int) -> bytes:
    content = b""
    for _ in range(depth):
        content = field(number, content)
    return content


def wire_cases(body: bytes) -> Iterator[tuple[str, bytes]]:
    graph = 7
    yield "10^6 operators", body + field(graph, field(1, b"") * 10**6)
    yield "5 x 10^6 inputs of an operator", body + field(graph, field(1, field(1, b"") * 5 * 10**6))
    yield "10^6 constants", body + field(graph, field(5, b"") * 10**6)
    yield "8 x 10^6 dims of a constant", body + field(graph, field(5, field(1, b"\x01" * (8 * 10**6))))
    yield "8 x 10^6 integers of an attribute", body + field(graph, field(1, field(5, field(8, b"\x01" * 8 * 10**6))))
    yield "10^6 operator sets", body + field(8, b"") * 10**6
    yield "a name of a megabyte", body + field(graph, field(2, b"n" * (1 << 20)))
    yield "a name that is not UTF-8", body + field(graph, field(2, b"\xff\xfe"))
    yield "subgraphs in subgraphs", body + field(graph, field(1, field(5, nested(5000, 6))))
    yield "types in types", body + field(graph, field(13, field(2, nested(5000, 4))))
    yield "groups", body + b"\x0b" * 5000
    yield "a length beyond the end", body + varint(graph << 3 | 2) + varint(1 << 40)
    yield "a number of eleven bytes", body + b"\x08" + b"\xff" * 11
    yield "field number 0", body + b"\x02\x00"
    yield "an unknown field", body + field(99, b"x")
    yield "training information", body + field(20, b"")
    yield "a function", body + field(25, field(1, b"Relu"))
    yield "a function of a named domain", body + field(25, field(1, b"F") + field(10, b"custom"))
    yield "a sparse constant", body + field(graph, field(15, b""))
    yield "an annotation of quantisation", body + field(graph, field(14, b""))
    yield "a sequence type", body + field(graph, field(13, field(2, field(4, b""))))
    yield "the graph twice", body + body
    yield "metadata in the body", body + field(14, field(1, b"loxo") + field(2, b"{}"))
    yield "other metadata in the body", body + field(14, field(1, b"a") + field(2, b"b"))
    yield "nothing but the seal", b""


# ---------------------------------------------------------------- changes of the shipped graph


def node(kind: str, inputs: list[str], outputs: list[str], **attributes) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, outputs, **attributes)


def integers(graph: onnx.GraphProto, name: str, *values: int) -> str:
    graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
    return name


def floats(graph: onnx.GraphProto, name: str, *shape: int) -> str:
    graph.initializer.append(numpy_helper.from_array(np.zeros(shape, np.float32), name))
    return name


def gru(graph: onnx.GraphProto, **attributes) -> onnx.NodeProto:
    tensors = [floats(graph, "x", 4, 4, 4), floats(graph, "w", 1, 3, 4), floats(graph, "r", 1, 3, 1)]
    return node("GRU", tensors, ["y"], **attributes)


def insert(*nodes: onnx.NodeProto, shape: tuple[int, ...] | None = (1,)) -> Change:
    """Puts operators in front of the others. Their outputs are stated to be small."""

    def change(model: onnx.ModelProto) -> None:
        kept = list(model.graph.node)
        del model.graph.node[:]
        model.graph.node.extend([*nodes, *kept])
        for one in nodes:
            for name in one.output:
                if shape is not None:
                    model.graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    return change


def with_constants(make: Callable[[onnx.GraphProto], list[onnx.NodeProto]]) -> Change:
    def change(model: onnx.ModelProto) -> None:
        insert(*make(model.graph))(model)

    return change


def bombs() -> Iterator[tuple[str, Change]]:
    def bomb(name: str, make: Callable[[onnx.GraphProto], list[onnx.NodeProto]]) -> tuple[str, Change]:
        return name, with_constants(make)

    big = 1 << 20
    yield bomb("Expand", lambda g: [node("Expand", [floats(g, "x", 1), integers(g, "n", big, big)], ["y"])])
    yield bomb("Expand below 0", lambda g: [node("Expand", [floats(g, "x", 1), integers(g, "n", -5)], ["y"])])
    yield bomb("Expand to 2^62", lambda g: [node("Expand", [floats(g, "x", 1), integers(g, "n", 1 << 62)], ["y"])])
    yield bomb("Tile", lambda g: [node("Tile", ["image", integers(g, "n", big, 1, 1, 1)], ["y"])])
    yield bomb("Tile 0", lambda g: [node("Tile", ["image", integers(g, "n", 0, 1, 1, 1)], ["y"])])
    yield bomb("Pad", lambda g: [node("Pad", [floats(g, "x", 1), integers(g, "n", 0, 1 << 40)], ["y"])])
    yield bomb("ConstantOfShape", lambda g: [node("ConstantOfShape", [integers(g, "n", big, big)], ["y"])])
    yield bomb("Range", lambda g: [node("Range", [integers(g, "a", 0), integers(g, "b", 1 << 40)], ["y"])])
    yield bomb("OneHot", lambda g: [node("OneHot", [integers(g, "a", 0), integers(g, "b", 1 << 40)], ["y"])])
    yield bomb("Resize", lambda g: [node("Resize", ["image", "", "", integers(g, "n", big, big, 1, 1)], ["y"])])
    yield bomb("Reshape", lambda g: [node("Reshape", ["image", integers(g, "n", big, big)], ["y"])])
    yield bomb("Reshape -1 -1", lambda g: [node("Reshape", ["image", integers(g, "n", -1, -1)], ["y"])])
    yield bomb("Reshape -7", lambda g: [node("Reshape", ["image", integers(g, "n", -7)], ["y"])])
    yield bomb("Reshape 0", lambda g: [node("Reshape", ["image", integers(g, "n", 0, 0, 0, 0, 0)], ["y"])])
    yield bomb("Reshape rank 9", lambda g: [node("Reshape", ["image", integers(g, "n", *[1] * 8, -1)], ["y"])])
    yield bomb("Reshape by an output", lambda g: [node("Reshape", ["image", "image"], ["y"])])
    yield bomb("Reshape computed", lambda g: [node("Shape", ["image"], ["s"]), node("Reshape", ["image", "s"], ["y"])])
    yield bomb(
        "Expand computed",
        lambda g: [
            node("Mul", [integers(g, "n", big), integers(g, "k", big)], ["s"]),
            node("Expand", ["image", "s"], ["y"]),
        ],
    )
    yield bomb(
        "Slice reversed",
        lambda g: [
            node(
                "Slice",
                [
                    "image",
                    integers(g, "a", -1),
                    integers(g, "b", -(1 << 62)),
                    integers(g, "c", 0),
                    integers(g, "d", -1),
                ],
                ["y"],
            )
        ],
    )
    yield bomb(
        "Slice step 0",
        lambda g: [
            node(
                "Slice",
                ["image", integers(g, "a", 0), integers(g, "b", 1), integers(g, "c", 0), integers(g, "d", 0)],
                ["y"],
            )
        ],
    )
    yield bomb(
        "Slice of nothing", lambda g: [node("Slice", ["image", integers(g, "a", 3), integers(g, "b", 3)], ["y"])]
    )
    yield bomb(
        "Slice axis 9",
        lambda g: [node("Slice", ["image", integers(g, "a", 0), integers(g, "b", 1), integers(g, "c", 9)], ["y"])],
    )
    yield bomb("Gather outside", lambda g: [node("Gather", ["image", integers(g, "n", 1 << 40)], ["y"])])
    yield bomb("Gather before", lambda g: [node("Gather", ["image", integers(g, "n", -5)], ["y"])])
    yield bomb("Gather computed", lambda g: [node("Gather", ["image", "image"], ["y"])])
    yield bomb(
        "MatMul outer product",
        lambda g: [node("MatMul", [floats(g, "x", 1 << 14, 1), floats(g, "z", 1, 1 << 14)], ["y"])],
    )
    yield bomb(
        "Add outer sum", lambda g: [node("Add", [floats(g, "x", 1 << 14, 1), floats(g, "z", 1, 1 << 14)], ["y"])]
    )
    yield bomb("Add that does not fit", lambda g: [node("Add", [floats(g, "x", 3), floats(g, "z", 4)], ["y"])])
    yield bomb("MatMul that does not fit", lambda g: [node("MatMul", ["image", floats(g, "z", 3, 4)], ["y"])])
    yield bomb(
        "Gemm outer product",
        lambda g: [node("Gemm", [floats(g, "x", 1, 1 << 14), floats(g, "z", 1, 1 << 14)], ["y"], transA=1)],
    )
    yield bomb(
        "Concat doubled 40 times",
        lambda g: [node("Concat", [f"y{k}" if k else "image"] * 2, [f"y{k + 1}"], axis=0) for k in range(40)],
    )
    yield bomb(
        "Tile 30 times",
        lambda g: [
            node("Tile", [f"y{k}" if k else "image", integers(g, f"n{k}", 2, 1, 1, 1)], [f"y{k + 1}"])
            for k in range(30)
        ],
    )
    yield bomb("2,000 tensors of 2^19", lambda g: [node("Relu", ["image"], [f"y{k}"]) for k in range(2000)])
    yield bomb(
        "work without end",
        lambda g: [
            node("MatMul", [floats(g, "x", 1 << 11, 1 << 11), "x"], ["y0"]),
            *(node("MatMul", [f"y{k}", "x"], [f"y{k + 1}"]) for k in range(200)),
        ],
    )
    yield bomb("Squeeze of a long axis", lambda g: [node("Squeeze", ["image", integers(g, "n", 0)], ["y"])])
    yield bomb("Squeeze without axes", lambda g: [node("Squeeze", ["image"], ["y"])])
    yield bomb("Unsqueeze 20 times", lambda g: [node("Unsqueeze", ["image", integers(g, "n", *range(20))], ["y"])])
    yield bomb("Unsqueeze one axis twice", lambda g: [node("Unsqueeze", ["image", integers(g, "n", 0, 0)], ["y"])])
    yield bomb("Split in 10^9", lambda g: [node("Split", ["image"], ["y"], axis=0, num_outputs=10**9)])
    yield bomb(
        "Split in unequal sums", lambda g: [node("Split", ["image", integers(g, "n", 2, 9)], ["y", "w"], axis=0)]
    )
    yield bomb("Split below 0", lambda g: [node("Split", ["image", integers(g, "n", -1, 5)], ["y", "w"], axis=0)])
    yield bomb("Transpose twice one axis", lambda g: [node("Transpose", ["image"], ["y"], perm=[0, 0, 1, 2])])
    yield bomb("Transpose axis 2^40", lambda g: [node("Transpose", ["image"], ["y"], perm=[0, 1, 2, 1 << 40])])
    yield bomb("Softmax axis 7", lambda g: [node("Softmax", ["image"], ["y"], axis=7)])
    yield bomb("Softmax axis text", lambda g: [node("Softmax", ["image"], ["y"], axis="7")])
    yield bomb("Softmax axis list", lambda g: [node("Softmax", ["image"], ["y"], axis=[1, 2])])
    yield bomb("ReduceMean axis 9", lambda g: [node("ReduceMean", ["image", integers(g, "n", 9)], ["y"])])
    yield bomb("LayerNormalization scale", lambda g: [node("LayerNormalization", ["image", floats(g, "x", 3)], ["y"])])
    yield bomb(
        "QuantizeLinear scale",
        lambda g: [node("QuantizeLinear", ["image", floats(g, "x", 3), integers(g, "n", 0)], ["y"])],
    )
    yield bomb(
        "DequantizeLinear of floats",
        lambda g: [node("DequantizeLinear", ["image", floats(g, "x", 1), floats(g, "z", 1)], ["y"])],
    )
    yield bomb("GRU of 2^30", lambda g: [gru(g, hidden_size=1 << 30)])
    yield bomb("GRU weights", lambda g: [gru(g, hidden_size=8)])
    yield bomb("GRU activations", lambda g: [gru(g, hidden_size=1, activations=["Custom", "Tanh"])])
    yield bomb("GRU twice directions", lambda g: [gru(g, hidden_size=1, direction="bidirectional")])
    for name, kernel, attributes in (
        ("pads", (4, 2, 3, 3), {"pads": [1 << 20] * 4}),
        ("pads below 0", (4, 2, 3, 3), {"pads": [-1] * 4}),
        ("three pads", (4, 2, 3, 3), {"pads": [1] * 3}),
        ("dilations", (4, 2, 3, 3), {"dilations": [1 << 20] * 2}),
        ("dilations 0", (4, 2, 3, 3), {"dilations": [0, 0]}),
        ("strides 0", (4, 2, 3, 3), {"strides": [0, 0]}),
        ("strides below 0", (4, 2, 3, 3), {"strides": [-1, -1]}),
        ("group 0", (4, 2, 3, 3), {"group": 0}),
        ("group 2^40", (4, 2, 3, 3), {"group": 1 << 40}),
        ("group below 0", (4, 2, 3, 3), {"group": -1}),
        ("kernel", (1, 2, 128, 1024), {}),
        ("kernel of other size", (4, 2, 3, 3), {"kernel_shape": [1 << 20, 1 << 20]}),
        ("kernel of other rank", (4, 2, 3), {}),
        ("kernel for other channels", (4, 3, 3, 3), {}),
        ("unfolded", (1, 2, 60, 60), {}),
        ("auto_pad", (4, 2, 3, 3), {"auto_pad": "SAME_UPPER"}),
        ("unknown attribute", (4, 2, 3, 3), {"file": "/etc/passwd"}),
    ):
        yield bomb(
            f"Conv {name}", lambda g, k=kernel, a=attributes: [node("Conv", ["image", floats(g, "w", *k)], ["y"], **a)]
        )
    yield bomb("Conv with a computed kernel", lambda g: [node("Conv", ["image", "image"], ["y"])])
    for name, attributes in (
        ("pads", {"kernel_shape": [2, 2], "pads": [1 << 20] * 4}),
        ("kernel", {"kernel_shape": [1 << 20, 1 << 20]}),
        ("no kernel", {}),
        ("ceil_mode", {"kernel_shape": [2, 2], "ceil_mode": 1}),
    ):
        yield bomb(f"MaxPool {name}", lambda g, a=attributes: [node("MaxPool", ["image"], ["y"], **a)])


def operators() -> Iterator[tuple[str, Change]]:
    kinds = ("Shape", "Size", "NonZero", "If", "Loop", "Scan", "Constant", "Identity", "Cast", "Pad", "ConstantOfShape",
             "Range", "ImageDecoder", "StringNormalizer", "TfIdfVectorizer", "RandomNormal", "Einsum", "ScatterND",
             "SequenceConstruct", "Optional", "LSTM", "Attention", "DFT", "Upsample", "relu", "Relu\n", "",
             "X" * 900)  # fmt: skip
    for kind in kinds:
        yield f"operator {kind[:20]!r}", insert(node(kind, ["image"], ["y"]))
    for domain in ("com.microsoft", "ai.onnx.ml", "custom", "com.microsoft.nchwc"):
        one = node("Relu", ["image"], ["y"])
        one.domain = domain
        yield f"domain {domain}", insert(one)
    inner = helper.make_graph([node("Relu", ["image"], ["z"])], "inner", [], [])
    for kind, name in (("If", "then_branch"), ("Loop", "body"), ("Scan", "body"), ("Relu", "body"), ("Concat", "axis")):
        yield f"{kind} with a subgraph", insert(node(kind, ["image"], ["y"], **{name: inner}))
    tensor = numpy_helper.from_array(np.zeros(3, np.float32))
    yield "tensor in an attribute", insert(node("Relu", ["image"], ["y"], value=tensor))
    yield "attribute twice", _attribute_twice
    yield "reference to another attribute", _reference
    yield "attribute that is no number", insert(node("Gemm", ["image", "image"], ["y"], alpha=float("nan")))
    yield "no outputs", insert(node("Relu", ["image"], []))
    yield "output without a name", insert(node("Relu", ["image"], [""]), shape=None)
    yield "too many outputs", insert(node("Relu", ["image"], ["y", "z"]))
    yield "no inputs", insert(node("Relu", [], ["y"]))
    yield "left out input", insert(node("Add", ["image", ""], ["y"]))
    yield "too many inputs", insert(node("Relu", ["image", "image"], ["y"]))
    yield "input that is no tensor", insert(node("Relu", ["nothing"], ["y"]))
    yield "own output as input", insert(node("Relu", ["y"], ["y"]))
    yield "cycle", insert(node("Relu", ["b"], ["a"]), node("Relu", ["a"], ["b"]))
    yield "output named as the input", insert(node("Relu", ["image"], ["image"]))
    yield "output named as a constant", lambda m: insert(node("Relu", ["image"], [m.graph.initializer[0].name]))(m)
    yield "output twice", insert(node("Relu", ["image"], ["y"]), node("Relu", ["image"], ["y"]))
    yield "stated shape too small", insert(node("Relu", ["image"], ["y"]), shape=(1,))
    yield "stated shape huge", insert(node("Relu", ["image"], ["y"]), shape=(1 << 40, 1 << 40))
    yield "25,000 operators", insert(*(node("Relu", ["image"], [f"y{k}"]) for k in range(25_000)), shape=None)
    yield "operators reversed", _reverse


def _attribute_twice(model: onnx.ModelProto) -> None:
    one = node("Softmax", ["image"], ["y"], axis=1)
    one.attribute.append(one.attribute[0])
    insert(one)(model)


def _reference(model: onnx.ModelProto) -> None:
    one = node("Softmax", ["image"], ["y"], axis=1)
    one.attribute[0].ref_attr_name = "axis"
    insert(one)(model)


def _reverse(model: onnx.ModelProto) -> None:
    kept = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(kept))


def weights() -> Iterator[tuple[str, Change]]:
    def first(edit: Callable[[onnx.TensorProto], None]) -> Change:
        return lambda model: edit(next(t for t in model.graph.initializer if t.data_type == 1 and len(t.dims) == 2))

    def external(location: str) -> Change:
        def edit(tensor: onnx.TensorProto) -> None:
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value=location)

        return first(edit)

    for location in ("/etc/passwd", "../other.bin", "weights.bin", "*/_ORT_MEM_ADDR_/*"):
        yield f"external data {location}", external(location)
    for name, dims in (
        ("claims 2^60", [1 << 60]), ("claims 2^40 x 2^40", [1 << 40, 1 << 40]), ("below 0", [-1, -1]),
        ("0", [0]), ("none", []), ("rank 9", [1] * 9), ("rank 100,000", [1] * 100_000), ("2^31", [1 << 31]),
    ):  # fmt: skip
        yield f"dims {name}", first(lambda tensor, dims=dims: _set_dims(tensor, dims))
    yield "no data", first(lambda tensor: tensor.ClearField("raw_data"))
    yield "short data", first(lambda tensor: setattr(tensor, "raw_data", tensor.raw_data[:-4]))
    yield "long data", first(lambda tensor: setattr(tensor, "raw_data", tensor.raw_data + bytes(4)))
    yield "float_data", first(_as_float_data)
    yield "float_data as well", first(lambda tensor: tensor.float_data.extend([1.0]))
    yield "segment", first(lambda tensor: setattr(tensor.segment, "begin", 1))
    yield "no name", first(lambda tensor: setattr(tensor, "name", ""))
    yield "other name", first(lambda tensor: setattr(tensor, "name", "other"))
    yield "name of the input", first(lambda tensor: setattr(tensor, "name", "image"))
    for kind in (0, 4, 5, 8, 10, 11, 14, 16, 17, 22, 99, -1):
        yield f"type {kind}", first(lambda tensor, kind=kind: setattr(tensor, "data_type", kind))
    for value in (float("nan"), float("inf"), float("-inf")):
        yield f"weight {value}", first(lambda tensor, value=value: _set_value(tensor, value))
    yield "a constant twice", lambda model: model.graph.initializer.append(model.graph.initializer[0])
    yield "a constant of 2^26", lambda model: model.graph.initializer.append(
        TensorProto(name="huge", data_type=TensorProto.INT8, dims=[1 << 26], raw_data=b""))  # fmt: skip
    yield (
        "a sparse constant",
        lambda model: model.graph.sparse_initializer.append(onnx.SparseTensorProto(dims=[1 << 40])),
    )
    yield "shape constant as bytes", _shape_as_bytes


def _set_dims(tensor: onnx.TensorProto, dims: list[int]) -> None:
    del tensor.dims[:]
    tensor.dims.extend(dims)


def _as_float_data(tensor: onnx.TensorProto) -> None:
    values = np.frombuffer(tensor.raw_data, np.float32)
    tensor.ClearField("raw_data")
    tensor.float_data.extend(values)


def _set_value(tensor: onnx.TensorProto, value: float) -> None:
    values = np.frombuffer(tensor.raw_data, np.float32).copy()
    values[len(values) // 2] = value
    tensor.raw_data = values.tobytes()


def _shape_as_bytes(model: onnx.ModelProto) -> None:
    tensor = next(t for t in model.graph.initializer if t.data_type == TensorProto.INT64)
    tensor.data_type = TensorProto.INT32
    tensor.raw_data = np.frombuffer(tensor.raw_data, np.int64).astype(np.int32).tobytes()


def interfaces() -> Iterator[tuple[str, Change]]:
    def set_shape(which: str, k: int, *shape: int) -> Change:
        def change(model: onnx.ModelProto) -> None:
            value = getattr(model.graph, which)[k]
            value.type.CopyFrom(helper.make_tensor_type_proto(TensorProto.FLOAT, shape))

        return change

    yield "input renamed", lambda model: setattr(model.graph.input[0], "name", "picture")
    yield "output renamed", lambda model: setattr(model.graph.output[0], "name", "scores")
    yield "outputs exchanged", lambda model: _exchange(model.graph.output)
    yield "one output", lambda model: model.graph.output.pop()
    yield "three outputs", lambda model: model.graph.output.append(model.graph.output[0])
    yield "two inputs", lambda model: model.graph.input.append(helper.make_tensor_value_info("more", 1, (1,)))
    yield "a constant as input", lambda model: model.graph.input.append(
        helper.make_tensor_value_info(model.graph.initializer[0].name, 1, model.graph.initializer[0].dims))  # fmt: skip
    yield "no inputs", lambda model: model.graph.input.pop()
    yield "no outputs", lambda model: model.graph.ClearField("output")
    yield "input of other shape", set_shape("input", 0, 1, 2, 128, 1024)
    yield "input of 2^40 windows", set_shape("input", 0, 1 << 40, 2, 128, 1024)
    yield "input of -1 windows", set_shape("input", 0, -1, 2, 128, 1024)
    yield "input of no rank", set_shape("input", 0)
    yield "logits of other shape", set_shape("output", 0, GROUP, 1, 1)
    yield "latent of other shape", set_shape("output", 1, GROUP, 1)
    yield "open batch", lambda model: setattr(model.graph.input[0].type.tensor_type.shape.dim[0], "dim_param", "n")
    yield "input of int64", lambda model: setattr(model.graph.input[0].type.tensor_type, "elem_type", 7)
    yield "logits of float64", lambda model: setattr(model.graph.output[0].type.tensor_type, "elem_type", 11)
    yield "stated shape of nothing", lambda model: model.graph.value_info.append(
        helper.make_tensor_value_info("nothing", 1, (1,)))  # fmt: skip
    yield "stated shape twice", lambda model: model.graph.value_info.append(model.graph.input[0])
    yield "last operator missing", lambda model: model.graph.node.pop()
    yield "first operator missing", lambda model: model.graph.node.pop(0)
    yield "no operators", lambda model: model.graph.ClearField("node")
    yield "no graph", lambda model: model.ClearField("graph")
    for version in (0, 1, 16, 24, 99, -1, 1 << 40):
        yield f"operators of version {version}", lambda model, v=version: setattr(model.opset_import[0], "version", v)
    for version in (0, 2, 99, -1):
        yield f"format version {version}", lambda model, v=version: setattr(model, "ir_version", v)
    yield "no operator set", lambda model: model.ClearField("opset_import")
    yield "two operator sets", lambda model: model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    yield "other operator set", lambda model: setattr(model.opset_import[0], "domain", "com.microsoft")
    yield "a function", lambda model: model.functions.append(
        helper.make_function("local", "F", ["x"], ["y"], [], [helper.make_opsetid("", 20)]))  # fmt: skip


def _exchange(values) -> None:
    first, second = values[0].name, values[1].name
    values[0].name, values[1].name = second, first


def every_case(model: ModelFile) -> Iterator[tuple[str, bytes]]:
    content, body = model.graph_path.read_bytes(), body_of(model)
    yield from damaged(content)
    yield "of other weights", seal_graph(body, "0" * 64)
    yield "seal with another size", content.replace(b'"body_bytes": 3', b'"body_bytes": 9')
    for sealed in ("[]", "{}", "1", "null", '{"body_bytes": Infinity, "weights_sha256": "a"}', "[" * 100_000, "\n"):
        yield f"metadata {sealed[:20]!r}", body + field(14, field(1, b"loxo") + field(2, sealed.encode()))
    yield "seal twice", content + content[len(body) :]
    for name, changed in wire_cases(body):
        yield name, seal_graph(changed, model.weights_sha256)
    for changes in (bombs, operators, weights, interfaces):
        for name, change in changes():
            graph = onnx.load_from_string(body)
            change(graph)
            yield f"{changes.__name__}: {name}", seal_graph(graph.SerializeToString(), model.weights_sha256)
