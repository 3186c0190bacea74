"""Engines: ONNX Runtime gives the outputs and events of PyTorch, and what cannot be opened is one sentence."""

import dataclasses
import sys

import numpy as np
import pytest
import torch
from recordings import fixture_recording, sounds

from loxo import LoxoError, detect, load_engine
from loxo.detection.detect import analyse
from loxo.engine import engine
from loxo.engine.engine import as_engine, choose_runtime
from loxo.engine.graph import parse_graph, read_graph
from loxo.engine.model_file import read_model_file, write_copy
from loxo.network.graph import export_graph
from loxo.network.loading import save_model
from loxo.network.registry import build

TINY = {"embed_dim": 8, "depths": (1, 2), "num_heads": (1, 2), "merges": ((4, 1),)}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A model file of random weights; its graph is exported."""
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    save_model(build("default", **TINY).eval(), path)
    export_graph(path)
    return path


@pytest.fixture
def without_graph(tmp_path):
    path = tmp_path / "new.safetensors"
    save_model(build("default", **TINY), path)
    return path


@pytest.mark.parametrize("name", ["default", "tiny"])
def test_the_graph_gives_the_outputs_of_pytorch(name, request):
    name = name if name == "default" else request.getfixturevalue("tiny")
    graph, module = load_engine(name), load_engine(name, runtime="torch")
    config = graph.config
    samples = np.concatenate([*sounds(config, 4), np.zeros(config.window_samples, np.float32)])
    stride = config.step_samples * config.stride_steps
    firsts = [0, 3 * stride, 64 * stride, 130 * stride, len(samples) - config.window_samples]
    for found, expected in zip(graph.read(samples).outputs(firsts), module.read(samples).outputs(firsts), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)


def test_the_graph_gives_the_events_and_scores_of_pytorch(tmp_path):
    path = fixture_recording(tmp_path)
    runtimes = [load_engine(runtime=name) for name in ("onnxruntime", "torch")]
    ours, theirs = (detect(path, one, threshold=0.0) for one in runtimes)
    assert len(ours) >= 3 and ours["label"].tolist() == theirs["label"].tolist()
    for column, largest in (("start_s", 0.081), ("end_s", 0.081), ("score", 2e-3)):
        assert np.abs(ours[column] - theirs[column]).max() <= largest
    scores = [analyse(path, one).scores.astype(np.float16).view(np.int16).astype(int) for one in runtimes]
    assert np.abs(scores[0] - scores[1]).max() <= 1  # in units of the last place


def test_a_window_gives_the_same_bits_beside_any_others():
    opened = load_engine()
    stride = opened.config.step_samples * opened.config.stride_steps
    samples = opened.read(np.concatenate(sounds(opened.config, 3)))
    together, _ = samples.outputs([0, stride, 2 * stride, 3 * stride, 4 * stride])
    for k in range(5):
        np.testing.assert_array_equal(samples.outputs([k * stride])[0][0], together[k])


def test_the_shipped_graph_names_the_shipped_weights():
    model = read_model_file("default")
    assert parse_graph(model.graph_path.read_bytes(), model.config)[1] == model.weights_sha256


def test_the_description_names_runtime_precision_and_version():
    assert load_engine().describe().keys() == {"runtime", "precision", "onnxruntime"}
    assert load_engine().describe()["precision"] == "float32"
    assert load_engine(runtime="torch").describe()["runtime"] == "torch"


def test_a_copy_with_another_config_keeps_weights_and_graph(tiny, tmp_path):
    model = read_model_file(tiny)
    write_copy(model, tmp_path / "copy.safetensors", model.config, {"copied": True})
    copy = read_model_file(tmp_path / "copy.safetensors")
    assert copy.weights_sha256 == model.weights_sha256 and copy.sha256 != model.sha256
    assert copy.provenance == {"copied": True} and read_graph(copy) == read_graph(model)
    assert load_engine(copy.path).describe()["runtime"] == "onnxruntime"


def test_auto_chooses_what_is_installed_and_can_compute_the_model(without_graph, monkeypatch):
    assert choose_runtime("auto") == "onnxruntime" and choose_runtime("auto", "cuda") == "torch"
    assert choose_runtime("auto", "cpu", read_model_file(without_graph)) == "torch"
    monkeypatch.setattr(engine, "is_installed", lambda runtime: runtime != "torch")
    assert choose_runtime("auto", "cpu", read_model_file(without_graph)) == "onnxruntime"
    monkeypatch.setattr(engine, "is_installed", lambda runtime: True)
    assert choose_runtime("auto") == "openvino"


def test_runtimes_that_cannot_be_used_are_one_sentence(without_graph, monkeypatch):
    with pytest.raises(LoxoError, match=r"no runtime 'tensorflow'\. Choose one of auto, onnxruntime, openvino, torch"):
        load_engine(runtime="tensorflow")
    with pytest.raises(LoxoError, match="onnxruntime computes on the CPU: leave out --device cuda"):
        load_engine(runtime="onnxruntime", device="cuda")
    with pytest.raises(LoxoError, match=r"openvino is not installed.*pip install 'loxo\[openvino\]'"):
        load_engine(runtime="openvino")
    with pytest.raises(LoxoError, match=r"new\.onnx, which is not beside it.*`loxo export .*new\.safetensors`"):
        load_engine(without_graph, runtime="onnxruntime")
    monkeypatch.setattr(engine, "is_installed", lambda runtime: runtime != "torch")
    with pytest.raises(LoxoError, match=r"torch is not installed.*pip install 'loxo\[train\]'"):
        load_engine(runtime="torch")
    with pytest.raises(LoxoError, match="`loxo export"):
        load_engine(without_graph)


def test_a_front_end_that_only_pytorch_computes(tmp_path):
    path = tmp_path / "mel.safetensors"
    save_model(build("elephants-4k", **{**TINY, "merges": ((8, 8),)}), path)
    assert choose_runtime("auto", "cpu", read_model_file(path)) == "torch"
    for call in (lambda: load_engine(path, runtime="onnxruntime"), lambda: export_graph(path)):
        with pytest.raises(LoxoError, match=r"mel\.safetensors: only PyTorch computes the front end 'mel'.*torch"):
            call()


def test_a_graph_that_onnx_runtime_rejects_is_one_sentence():
    from loxo.engine.onnx_runtime import open_network

    with pytest.raises(LoxoError, match=r"^graph: ONNX Runtime does not accept this graph \([^\n]*\)\.$"):
        open_network(b"no graph", "graph")


def test_as_engine_accepts_names_paths_engines_and_modules(tiny):
    opened = as_engine("default")
    assert as_engine(opened) is opened
    assert as_engine(tiny).config == as_engine(str(tiny)).config
    assert as_engine(build("default", **TINY).eval()).describe()["runtime"] == "torch"
    for other in (3, None, torch.nn.Linear(1, 1), dataclasses.replace(opened.config)):
        with pytest.raises(TypeError, match="A model is a bundled model's name"):
            as_engine(other)


def test_no_test_of_this_process_has_loaded_openvino():
    assert "openvino" not in sys.modules
