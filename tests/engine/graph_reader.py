"""Reads graphs beside a model file, for test_graph.py: `python graph_reader.py MODEL_FILE < graphs`.

Each graph on standard input follows its length (8 bytes, little-endian). Prints JSON: the answer to each graph and its
seconds, the growth of the peak memory after the first, good graph, and the runtimes that were imported.
"""

import json
import resource
import struct
import sys
import time

from loxo.engine.graph import read_graph
from loxo.engine.model_file import read_model_file
from loxo.errors import LoxoError


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    model = read_model_file(sys.argv[1])
    read_graph(model)
    before, outcomes = peak_bytes(), []
    while header := sys.stdin.buffer.read(8):
        (size,) = struct.unpack("<Q", header)
        with model.graph_path.open("wb") as file:
            while size:  # in pieces: the peak must be that of read_graph
                size -= file.write(sys.stdin.buffer.read(min(size, 1 << 16)))
        started = time.monotonic()
        try:
            read_graph(model)
            answer = "accepted"
        except LoxoError as error:
            answer = str(error)
        except Exception as error:  # a fault of the checks: test_graph.py reports it
            answer = f"{type(error).__name__}: {error}"
        outcomes.append((answer, time.monotonic() - started))
    runtimes = sorted({"onnxruntime", "openvino", "torch"} & set(sys.modules))
    print(json.dumps({"outcomes": outcomes, "growth": peak_bytes() - before, "runtimes": runtimes}))


main()
