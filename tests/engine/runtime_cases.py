"""OpenVINO against ONNX Runtime. test_openvino.py runs these cases in a process of their own."""

import subprocess
import sys

import numpy as np
import pytest
from recordings import fixture_recording, sounds

from loxo import detect, load_engine
from loxo.engine import onnx_runtime, openvino
from loxo.engine.engine import choose_runtime
from loxo.engine.frontend import FrontEnd
from loxo.engine.graph import read_graph
from loxo.engine.model_file import read_model_file
from loxo.errors import LoxoError

pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def images():
    config = read_model_file("default").config
    return FrontEnd(config).images(sounds(config, 4))


def test_float32_gives_the_outputs_of_onnx_runtime(images):
    graph = read_graph(read_model_file("default"))
    ours = onnx_runtime.open_network(graph, "graph")(images)
    for expected, found in zip(ours, openvino.open_network(graph, "graph", "float32")(images), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-3, rtol=0)


def test_outputs_of_one_call_are_not_overwritten_by_the_next(images):
    network = load_engine(runtime="openvino").network
    first, _ = network(images)
    kept = first.copy()
    network(images[::-1].copy())
    np.testing.assert_array_equal(first, kept)


def test_the_fastest_precision_gives_the_same_events(tmp_path):
    path = fixture_recording(tmp_path)
    ours, theirs = (detect(path, load_engine(runtime=name)) for name in ("onnxruntime", "openvino"))
    assert len(ours) >= 2 and ours["label"].tolist() == theirs["label"].tolist()
    for column, largest in (("start_s", 0.33), ("end_s", 0.33), ("score", 0.05)):
        assert np.abs(ours[column] - theirs[column]).max() < largest


def test_auto_chooses_openvino_and_the_description_names_it():
    assert choose_runtime("auto") == "openvino"
    description = load_engine().describe()
    assert description["runtime"] == "openvino" and description["precision"] in ("float32", "bfloat16")
    assert description["openvino"]


def test_a_graph_that_openvino_rejects_is_one_sentence():
    with pytest.raises(LoxoError, match=r"^graph: OpenVINO does not accept this graph \([^\n]*\)\.$"):
        openvino.open_network(b"no graph", "graph", "float32")


def test_openvino_sends_nothing_to_a_server():
    """Its model converter would, when it is imported. It stays available to programs that import it themselves."""
    code = (
        "import sys; from loxo import load_engine; load_engine('default', runtime='openvino'); "
        "assert 'openvino' in sys.modules and not [name for name in sys.modules if 'telemetry' in name]; "
        "import importlib.util; assert importlib.util.find_spec('openvino.tools.ovc')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
