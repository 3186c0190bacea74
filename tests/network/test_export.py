"""torch.export, torch.compile and ONNX accept the networks, plain or with fast operators, and give the same numbers."""

import shutil
import warnings

import numpy as np
import onnxruntime
import pytest
import torch
from recordings import fixture_recording, sounds

from loxo import LoxoError, detect, load_engine
from loxo.engine.frontend import FrontEnd
from loxo.engine.graph import read_graph
from loxo.engine.model_file import read_model_file
from loxo.network.base import FrameModel
from loxo.network.fast import training
from loxo.network.graph import export_graph
from loxo.network.loading import load_model, save_model
from loxo.network.registry import build

MODELS = {
    "default": {"embed_dim": 8, "depths": (1, 2), "num_heads": (1, 2), "merges": ((4, 1),)},
    "elephants-4k": {"embed_dim": 8, "depths": (1, 2), "num_heads": (1, 2), "merges": ((8, 8),)},
    "ast-elephants": {"embed_dim": 8, "depth": 1, "num_heads": 2},
    "crnn": {"channels": (4, 4, 4), "hidden": 4},
}


class Network(torch.nn.Module):
    """Image to probabilities, the part for another runtime. The Fourier transforms of the front end stay outside."""

    def __init__(self, model: FrameModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, bands: torch.Tensor) -> torch.Tensor:
        logits, _ = self.model.network(bands)
        return logits.sigmoid()


@pytest.fixture(params=[*MODELS, "default, fast"])
def network(request) -> tuple[Network, torch.Tensor]:
    torch.manual_seed(0)
    preset = request.param.removesuffix(", fast")
    model = build(preset, **MODELS[preset]).eval().requires_grad_(False)
    if preset != request.param:
        training.apply(model)
    return Network(model), model.bands(0.1 * torch.randn(2, model.config.window_samples))


def test_torch_export(network):
    """HTS-AT accepts any batch size. PyTorch fixes it in its own encoder layer, and warns about its own GRU."""
    module, bands = network
    hts_at = module.model.config.architecture == "htsat"
    shapes = ({0: torch.export.Dim("batch", min=1, max=64)},) if hts_at else None
    with warnings.catch_warnings():
        if not hts_at:
            warnings.simplefilter("ignore")
        program = torch.export.export(module, (bands,), dynamic_shapes=shapes)
    for batch in (bands, bands[:1].repeat(3, 1, 1, 1)) if hts_at else (bands,):
        torch.testing.assert_close(program.module()(batch), module(batch), atol=1e-5, rtol=0)


def test_onnx(network, tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    module, bands = network
    path = tmp_path / "network.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        torch.onnx.export(module, (bands,), path, dynamo=True, verbose=False)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {session.get_inputs()[0].name: bands.numpy()})
    torch.testing.assert_close(torch.from_numpy(output), module(bands), atol=3e-5, rtol=0)


@pytest.mark.parametrize("network", ["default", "default, fast", "elephants-4k"], indirect=True)
def test_a_trace_contains_the_plain_layers(network):
    module, bands = network
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about sizes that are constant here
        traced = torch.jit.trace(module, bands, check_trace=False)
        assert "mkldnn" not in str(traced.inlined_graph)
        torch.testing.assert_close(traced(bands), module(bands), atol=1e-5, rtol=0)


@pytest.mark.parametrize("network", ["default", "default, fast", "elephants-4k"], indirect=True)
def test_torch_compile_captures_one_graph(network):
    module, bands = network
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(bands), module(bands), atol=1e-5, rtol=0)


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
def test_torch_compile():
    """With one block only, because the compiler needs seconds per kernel."""
    torch.manual_seed(0)
    one_block = {"embed_dim": 8, "patch": (32, 32), "depths": (1,), "num_heads": (2,), "merges": ()}
    model = build("elephants-4k", **one_block).eval().requires_grad_(False)
    module, bands = Network(model), model.bands(0.1 * torch.randn(1, model.config.window_samples))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own deprecations
        compiled = torch.compile(module, fullgraph=True)
        torch.testing.assert_close(compiled(bands), module(bands), atol=1e-5, rtol=0)


@pytest.mark.parametrize("preset", ["default", "ast-elephants", "crnn"])
def test_the_graph_of_each_architecture_is_accepted_and_gives_its_outputs(preset, tmp_path):
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    path = tmp_path / "model.safetensors"
    save_model(build(preset, **MODELS[preset]).eval(), path)
    graph = read_model_file(export_graph(path).with_suffix(".safetensors"))
    model = load_model(path)
    images = FrontEnd(model.config).images(sounds(model.config, 4))
    session = onnxruntime.InferenceSession(read_graph(graph), providers=["CPUExecutionProvider"])
    logits, latent = session.run(["logits", "latent"], {"image": images})
    with torch.inference_mode():
        expected, expected_latent = model.network(model.scaled(torch.from_numpy(images).transpose(2, 3)))
    np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=0)
    np.testing.assert_allclose(latent, expected_latent, atol=1e-4, rtol=0)


def test_export_writes_a_copy_where_out_is_given(loxo, tmp_path):
    pytest.importorskip("onnxscript")
    path, copy = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_model(build("default", **MODELS["default"]), path)
    code, out, _ = loxo("export", path)
    assert code == 0 and f"the graph was written to {tmp_path / 'a.onnx'}" in out
    code, out, _ = loxo("export", path, "--out", copy)
    assert code == 0 and f"loxo detect --model {copy}" in out
    assert copy.read_bytes() == path.read_bytes()
    assert copy.with_suffix(".onnx").read_bytes() == path.with_suffix(".onnx").read_bytes()
    for wrong, words in ((path, "the model file itself"), (tmp_path / "b.onnx", "must end in .safetensors")):
        code, _, err = loxo("export", path, "--out", wrong)
        assert code == 2 and words in err


def test_export_does_not_overwrite_a_bundled_graph_that_is_in_order(loxo):
    graph = read_model_file("default").graph_path
    before = graph.stat().st_mtime_ns
    code, _, err = loxo("export", "default")
    assert code == 2 and "already has this graph. Give --out" in err
    assert graph.stat().st_mtime_ns == before


def test_weights_with_nan_have_no_graph_and_leave_none(tmp_path):
    pytest.importorskip("onnxscript")
    path, model = tmp_path / "a.safetensors", build("default", **MODELS["default"])
    with torch.no_grad():
        next(parameter for parameter in model.parameters() if parameter.dim() == 2)[0] = float("nan")
    save_model(model, path)
    with pytest.raises(LoxoError, match=r"cannot be a graph: its constant .* contains NaN"):
        export_graph(path)
    assert not path.with_suffix(".onnx").exists()


def test_an_int8_graph_keeps_the_events(loxo, tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")
    monkeypatch.chdir(tmp_path)
    code, out, _ = loxo("export", "default", "--int8")
    assert code == 0 and "written to default-int8.onnx" in out
    copy, bundled = read_model_file("default-int8.safetensors"), read_model_file("default")
    assert copy.weights_sha256 == bundled.weights_sha256
    assert copy.graph_path.stat().st_size < 0.65 * bundled.graph_path.stat().st_size
    engine = load_engine(copy.path)
    assert engine.describe()["precision"] == "int8"
    path = fixture_recording(tmp_path)
    ours, theirs = detect(path, engine), detect(path, "default")
    assert len(theirs) >= 2 and ours["label"].tolist() == theirs["label"].tolist()
    for column, largest in (("start_s", 0.33), ("end_s", 0.33), ("score", 0.05)):
        assert np.abs(ours[column] - theirs[column]).max() < largest
