"""Runs the graph of a model with ONNX Runtime on the CPU, in one thread: float32, or int8 in a quantised graph."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loxo.engine.engine import GraphEngine, Network
from loxo.engine.graph import precision_of, read_graph
from loxo.engine.model_file import ModelFile
from loxo.errors import LoxoError

Floats = NDArray[np.float32]


def open_engine(model: ModelFile, device: str = "cpu") -> GraphEngine:
    """An engine that opens its network when it is used first. Raises LoxoError when the graph cannot be read."""
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # of the builds for Windows; the others have none
    graph = read_graph(model)
    precision = precision_of(graph, "float32")
    version = {"runtime": "onnxruntime", "precision": precision, "onnxruntime": onnxruntime.__version__}
    return GraphEngine(model, partial(open_network, graph, str(model.graph_path)), version)


def open_network(graph: bytes, name: str) -> Network:
    """The network of a checked graph. Raises LoxoError, with the graph's name, when ONNX Runtime does not accept it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # Both would keep the memory of a run for the next one: 30 MB, for no measurable time.
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    # Of several operators that can run, the one whose inputs become free: 1.6 MB less, with the same results.
    options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
    options.log_severity_level = 4  # faults are raised; nothing is printed
    # All shapes were checked (loxo.engine.graph). This is a second check, by ONNX Runtime's own rules.
    options.add_session_config_entry("session.strict_shape_type_inference", "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common class but this
        raise LoxoError(f"{name}: ONNX Runtime does not accept this graph ({first_line(error)}).") from error
    session._model_bytes = None  # it would keep the graph, for another provider

    def run(images: Floats) -> tuple[Floats, Floats]:
        try:
            logits, latent = session.run(["logits", "latent"], {"image": images})
        except Exception as error:
            raise LoxoError(f"{name}: ONNX Runtime cannot run this graph ({first_line(error)}).") from error
        return logits, latent

    return run


def first_line(error: Any) -> str:
    """The first line of a runtime's error, or the name of its class."""
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
