"""torch.export, torch.compile and ONNX accept the networks, plain or with fast operators, and give the same numbers."""

import shutil
import warnings

import pytest
import torch

from loxo.network.base import FrameModel
from loxo.network.fast import training
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
