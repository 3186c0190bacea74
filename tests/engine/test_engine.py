"""One engine interface: the runtimes agree, the choice between them is stated, and graphs belong to their weights."""

import dataclasses
import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from loxo.detection.detect import analyse
from loxo.engine import engine as engines
from loxo.engine.config import OperatingCurve
from loxo.engine.engine import Engine, as_engine, choose_runtime, load_engine
from loxo.engine.graph import read_graph
from loxo.engine.model_file import find_model, read_model_file, write_copy
from loxo.errors import LoxoError
from loxo.simulation.simulate import simulate

needs_pytorch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
TINY = {"embed_dim": 8, "depths": (1, 2), "num_heads": (1, 2), "merges": ((4, 1),)}


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Six simulated minutes with some 8 rumbles and 6 gunshots."""
    folder = tmp_path_factory.mktemp("recording")
    simulate(folder, 0.1, 5, rumbles_per_hour=80.0, gunshots_per_hour=60.0, format="wav")
    (path,) = folder.glob("*.wav")
    return path


@pytest.fixture(scope="module")
def samples():
    return (0.05 * np.random.default_rng(0).standard_normal(81920 + 3 * 61440)).astype(np.float32)


FIRSTS = [0, 61440, 122880, 184320]


def float16_units(one, other):
    as_integers = [np.asarray(scores, np.float16).view(np.int16).astype(int) for scores in (one, other)]
    return np.abs(as_integers[0] - as_integers[1]).max()


@needs_pytorch
def test_pytorch_and_onnx_runtime_give_the_same_outputs(samples):
    outputs = [load_engine(runtime=runtime).read(samples).outputs(FIRSTS) for runtime in ("torch", "onnxruntime")]
    for one, other in zip(*outputs, strict=True):
        assert one.shape == other.shape and len(one) == 4
        np.testing.assert_allclose(one, other, atol=1e-4)


@needs_pytorch
def test_pytorch_and_onnx_runtime_give_the_same_events(recording):
    one, other = (analyse(recording, load_engine(runtime=r), threshold=0.0) for r in ("torch", "onnxruntime"))
    assert len(one.events) > 20 and float16_units(one.scores, other.scores) <= 1
    columns = ["start_s", "end_s", "label", "low_hz", "high_hz"]
    assert one.events[columns].equals(other.events[columns])
    np.testing.assert_allclose(one.events["score"], other.events["score"], atol=3e-4)


@needs_pytorch
def test_a_network_of_another_size_is_exported_and_gives_the_same(samples, tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript", reason="the exporter of graphs is not installed")
    from loxo.network.graph import export_graph
    from loxo.network.loading import save_model
    from loxo.network.registry import build

    torch.manual_seed(3)
    path = tmp_path / "tiny.safetensors"
    save_model(build("default", **TINY), path)
    with pytest.raises(LoxoError, match=r"tiny\.onnx, which is not beside it\. Make it with `loxo export .*tiny"):
        load_engine(path, runtime="onnxruntime")
    assert choose_runtime("auto", "cpu", read_model_file(path)) == "torch"
    assert export_graph(path) == tmp_path / "tiny.onnx"
    outputs = [load_engine(path, runtime=r).read(samples).outputs(FIRSTS[:3]) for r in ("torch", "onnxruntime")]
    for one, other in zip(*outputs, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@needs_pytorch
def test_a_model_with_another_front_end_is_left_to_pytorch(tmp_path):
    from loxo.network.graph import export_graph
    from loxo.network.loading import save_model
    from loxo.network.registry import build

    path = tmp_path / "mel.safetensors"
    save_model(build("audioset", classes=("a",), embed_dim=8, num_heads=(1,) * 4, depths=(1,) * 4), path)
    assert choose_runtime("auto", "cpu", read_model_file(path)) == "torch"
    with pytest.raises(
        LoxoError, match=r"only PyTorch computes the front end 'mel' of this model\. Use --runtime torch"
    ):
        load_engine(path, runtime="onnxruntime")
    with pytest.raises(LoxoError, match="so it has no graph"):
        export_graph(path)


def test_the_shipped_graph_belongs_to_the_shipped_weights():
    model = read_model_file("default")
    assert len(read_graph(model)) > 1_000_000


def test_a_graph_of_other_weights_is_refused(tmp_path):
    default = find_model("default")
    content = bytearray(default.read_bytes())
    content[-1] ^= 1  # the last weight
    path = tmp_path / "other.safetensors"
    path.write_bytes(content)
    shutil.copy(default.with_suffix(".onnx"), tmp_path / "other.onnx")
    with pytest.raises(LoxoError, match=r"exported from other weights than those of other\.safetensors"):
        load_engine(path, runtime="onnxruntime")


def test_a_copy_with_another_config_keeps_weights_and_graph(tmp_path):
    model = read_model_file("default")
    curves = {"rumble": OperatingCurve(threshold=(0.5,), fp_per_hour=(1.0,), recall=(0.5,), data="Tests.")}
    config = dataclasses.replace(model.config, calibration={}, curves=curves)
    write_copy(model, tmp_path / "copy.safetensors", config, {"by": "a test"})
    copy = read_model_file(tmp_path / "copy.safetensors")
    assert (copy.config, copy.provenance) == (config, {"by": "a test"})
    assert copy.weights_sha256 == model.weights_sha256 and copy.sha256 != model.sha256
    assert read_graph(copy) == read_graph(model)


@needs_pytorch
def test_a_copy_is_read_by_pytorch_too(tmp_path):
    torch = pytest.importorskip("torch")
    from loxo.network.loading import load_model

    model = read_model_file("default")
    write_copy(model, tmp_path / "copy.safetensors", model.config, {})
    for one, other in zip(
        load_model().parameters(), load_model(tmp_path / "copy.safetensors").parameters(), strict=True
    ):
        assert torch.equal(one, other)


def test_a_window_gives_the_same_bits_in_any_company(samples):
    engine = load_engine(runtime="onnxruntime")
    together = engine.read(samples).outputs(FIRSTS)[0]
    for k, first in enumerate(FIRSTS):
        assert np.array_equal(engine.read(samples).outputs([first])[0][0], together[k])


def test_the_choice_of_a_runtime(monkeypatch):
    installed = {"onnxruntime", "openvino", "torch"}
    monkeypatch.setattr(engines, "is_installed", installed.__contains__)
    assert choose_runtime("auto") == "openvino" and choose_runtime("torch") == "torch"
    assert choose_runtime("auto", "cuda") == "torch"
    with pytest.raises(LoxoError, match="There is no runtime 'tensorflow'"):
        choose_runtime("tensorflow")
    for runtime in ("openvino", "onnxruntime"):
        with pytest.raises(LoxoError, match=f"The runtime {runtime} computes on the CPU: leave out --device cuda"):
            choose_runtime(runtime, "cuda")
    installed.clear()
    installed.add("onnxruntime")
    assert choose_runtime("auto") == "onnxruntime"
    with pytest.raises(LoxoError, match=r"pip install .*\[openvino\]"):
        choose_runtime("openvino")
    with pytest.raises(LoxoError, match=r"The runtime torch is not installed.*pip install .*\[train\]"):
        choose_runtime("auto", "cuda")


def test_a_model_without_a_graph_and_without_pytorch_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "is_installed", {"onnxruntime"}.__contains__)
    shutil.copy(find_model("default"), tmp_path / "old.safetensors")
    with pytest.raises(LoxoError, match=r"needs the model's graph, old\.onnx.*`loxo export .*old\.safetensors`"):
        load_engine(tmp_path / "old.safetensors")


def test_what_is_a_model():
    engine = load_engine(runtime="onnxruntime")
    assert as_engine(engine) is engine and isinstance(engine, Engine)
    assert as_engine("default").config == engine.config
    for wrong in (1, None, object(), ["default"]):
        with pytest.raises(TypeError, match="not " + type(wrong).__name__):
            as_engine(wrong)
    with pytest.raises(LoxoError, match="no such model file"):
        load_engine("elephant")


@needs_pytorch
def test_a_module_is_a_model():
    from loxo.network.loading import load_model

    module = load_model()
    engine = as_engine(module)
    assert engine.config is module.config and engine.describe()["runtime"] == "torch"
    with pytest.raises(LoxoError, match="PyTorch cannot use the device 'gpu'"):
        load_model(device="gpu")


def test_the_runtime_is_stored_and_another_one_does_not_resume_the_run(loxo, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(8000), 4000)
    command = ("detect", tmp_path / "a.wav", "--out", tmp_path / "run", "--workers", 1)
    assert loxo(*command, "--runtime", "onnxruntime")[0] == 0
    parameters = json.loads((tmp_path / "run/run.json").read_text())["parameters"]
    assert parameters["runtime"] == "onnxruntime" and parameters["precision"] == "float32"
    import onnxruntime

    assert parameters["onnxruntime"] == onnxruntime.__version__
    if importlib.util.find_spec("torch") is not None:
        code, _, words = loxo(*command, "--runtime", "torch")
        assert code == 2 and "runtime 'onnxruntime' is now 'torch'" in words
    code, _, words = loxo("detect", tmp_path / "a.wav", "--out", tmp_path / "no", "--runtime", "tensorflow")
    assert code == 2 and "no runtime 'tensorflow'" in words and not (tmp_path / "no").exists()


def test_a_graph_that_onnx_runtime_rejects_is_one_sentence():
    from loxo.engine.onnx_runtime import open_network

    with pytest.raises(LoxoError, match=r"^graph: ONNX Runtime does not accept this graph \([^\n]*\)\.$"):
        open_network(b"no graph", "graph")


def test_the_bundled_files_are_in_the_package():
    folder = Path(engines.__file__).parent.parent / "weights"
    assert {path.suffix for path in folder.glob("default.*")} == {".md", ".onnx", ".safetensors"}
