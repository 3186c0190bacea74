"""Runs the graph of a model with OpenVINO, the fastest runtime on x86 CPUs, in one thread.

On a CPU that multiplies bfloat16 in hardware its products are computed in bfloat16, elsewhere in float32. The network
is compiled anew in each process: that takes 0.3 s, as long as reading a compiled one from a cache.

OpenVINO's model converter is not imported: on import it sends usage statistics to a server, from a forked process.
"""

from __future__ import annotations

import sys
import threading
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loxo.engine.engine import GraphEngine, Network
from loxo.engine.graph import precision_of, read_graph
from loxo.engine.model_file import ModelFile
from loxo.engine.onnx_runtime import first_line
from loxo.errors import LoxoError

Floats = NDArray[np.float32]
HINTS = {"bfloat16": "bf16", "float32": "f32"}


def import_openvino() -> Any:
    """The module openvino. Its converter stays out, unless the program has imported it before. Raises ImportError."""
    without = "openvino.tools.ovc"
    if without in sys.modules:
        import openvino

        return openvino
    sys.modules[without] = None  # type: ignore[assignment]  # an import of it fails, which openvino allows for
    try:
        import openvino
    finally:
        del sys.modules[without]
    return openvino


def open_engine(model: ModelFile, device: str = "cpu") -> GraphEngine:
    """An engine that opens its network when it is used first. Raises LoxoError when the graph cannot be read."""
    openvino = import_openvino()
    precision, graph = fastest_precision(), read_graph(model)
    version = openvino.__version__.partition("-")[0]
    description = {"runtime": "openvino", "precision": precision_of(graph, precision), "openvino": version}
    return GraphEngine(model, partial(open_network, graph, str(model.graph_path), precision), description)


def fastest_precision() -> str:
    """ "bfloat16" where the CPU multiplies it in hardware (AVX512-BF16 or AMX), else "float32"."""
    openvino = import_openvino()
    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "bfloat16" if "BF16" in capabilities else "float32"


def open_network(graph: bytes, name: str, precision: str) -> Network:
    """The network of a checked graph. Raises LoxoError, with the graph's name, when OpenVINO does not accept it."""
    openvino = import_openvino()
    options = {"INFERENCE_PRECISION_HINT": HINTS[precision], "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
    options["ENABLE_CPU_PINNING"] = False  # with pinning, all processes of a run would use the same core
    core = openvino.Core()
    try:
        compiled = core.compile_model(core.read_model(model=graph, weights=b""), "CPU", options)
    except Exception as error:
        raise LoxoError(f"{name}: OpenVINO does not accept this graph ({first_line(error)}).") from error
    lock = threading.Lock()  # a compiled network has one buffer for its input

    def run(images: Floats) -> tuple[Floats, Floats]:
        with lock:
            answer = compiled(images, share_inputs=True, share_outputs=True)
            return answer[0].copy(), answer[1].copy()

    return run
