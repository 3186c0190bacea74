"""A whole network with fast operators gives the results and gradients of the plain one, and stays the same module."""

import copy
import pickle

import pytest
import torch

from loxo import HTSAT, load_model
from loxo.network.base import FrameModel
from loxo.network.fast import inference, training
from loxo.network.registry import build
from loxo.network.swin import WindowAttention

MODELS = {
    "default": {"embed_dim": 16, "num_heads": (1, 2, 4)},
    "elephants-4k": {"embed_dim": 16, "depths": (1, 1, 2, 1), "num_heads": (2, 2, 4, 4), "drop_path": 0.0},
}
APPLIED = {
    "inference": (inference.apply,),
    "training": (training.apply,),
    "both": (inference.apply, training.apply),
    "both, in the other order, twice": (training.apply, inference.apply, training.apply, inference.apply),
}


@pytest.fixture(scope="module", params=MODELS)
def plain(request) -> FrameModel:
    torch.manual_seed(0)
    model = build(request.param, **MODELS[request.param])
    for parameter in model.parameters():
        if not parameter.any():  # layers with zero initialisation would hide an error
            torch.nn.init.normal_(parameter, std=0.05)
    return model


def with_operators(plain: FrameModel, applied: str) -> FrameModel:
    model = copy.deepcopy(plain)
    for apply in APPLIED[applied]:
        apply(model)
    return model


def images(model: FrameModel) -> torch.Tensor:
    """(batch, channels, frames, n_mels), of order 1: the decibels of `mel` would cost PyTorch's batch norm digits."""
    size = (3, model.config.in_chans, model.frontend.frames, model.config.n_mels)
    return torch.randn(size, generator=torch.Generator().manual_seed(1))


def training_results(model: FrameModel) -> dict[str, torch.Tensor]:
    """Logits, latent, running statistics, and the gradient of each parameter."""
    model = copy.deepcopy(model).train()
    logits, latent = model.network(model.scaled(images(model)))
    (logits.square().mean() + latent.mean()).backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return {"logits": logits, "latent": latent, **dict(model.named_buffers()), **gradients}


@pytest.mark.parametrize("applied", ["training", "both, in the other order, twice"])
def test_training_results_and_gradients_are_those_of_the_plain_network(plain, applied):
    fast = with_operators(plain, applied)
    assert type(fast.layers[0].blocks[0].attn) is training.FastAttention
    expected, got = training_results(plain), training_results(fast)
    assert expected.keys() == got.keys()
    for name, value in expected.items():
        largest = 1 if name in ("logits", "latent") else value.abs().max() + 1e-9
        assert (got[name] - value).abs().max() < 2e-5 * largest if value.is_floating_point() else True, name


@pytest.mark.parametrize("applied", APPLIED)
@pytest.mark.parametrize("frozen", (False, True))
@torch.inference_mode()
def test_eval_results_are_those_of_the_plain_network(plain, applied, frozen, monkeypatch):
    monkeypatch.setattr(inference, "SLICE_BYTES", 1)  # one window at a time
    fast = with_operators(plain, applied).eval().requires_grad_(not frozen)
    assert isinstance(fast.layers[0].blocks[0].mlp, inference.InferenceMlp)
    waveform = 0.1 * torch.randn(3, plain.config.window_samples, generator=torch.Generator().manual_seed(1))
    expected, got = copy.deepcopy(plain).eval()(waveform), fast(waveform)
    assert expected.keys() == got.keys()
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, atol=2e-5, rtol=0)


@torch.no_grad()
def test_train_and_eval_mode_compute_the_same(plain):
    """Without stochastic depth and batch statistics."""
    fast = with_operators(plain, "both")
    bands = fast.eval().scaled(images(fast))
    expected = fast.network(bands)[0]
    torch.testing.assert_close(fast.train().network(bands)[0], expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("applied", APPLIED)
def test_names_and_classes_stay(plain, applied):
    fast = with_operators(plain, applied)
    assert fast.state_dict().keys() == plain.state_dict().keys()
    assert [name for name, _ in fast.named_parameters()] == [name for name, _ in plain.named_parameters()]
    assert all(torch.equal(fast.state_dict()[name], value) for name, value in plain.state_dict().items())
    for (name, one), (other_name, other) in zip(plain.named_modules(), fast.named_modules(), strict=True):
        assert name == other_name and isinstance(other, type(one))
    assert isinstance(fast, HTSAT) and isinstance(fast.layers[0].blocks[0].attn, WindowAttention)


@pytest.mark.parametrize("copied", (copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))))
def test_a_copy_has_the_operators_too(plain, copied):
    fast = with_operators(plain, "both")
    other = copied(fast)
    assert [type(module) for module in other.modules()] == [type(module) for module in fast.modules()]
    with torch.no_grad():
        other.eval().layers[0].blocks[0].mlp.fc1.weight.mul_(2)  # the copy has its own weights
        bands = torch.randn(1, plain.config.in_chans, plain.config.n_mels, plain.config.image_frames)
        assert (other.network(bands)[0] - fast.eval().network(bands)[0]).abs().max() > 1e-4
        other.load_state_dict(fast.state_dict())
        torch.testing.assert_close(other.network(bands)[0], fast.network(bands)[0])


def test_applying_to_a_copy_leaves_the_original_plain(plain):
    with_operators(plain, "both")
    assert not any("fast" in type(module).__module__ for module in plain.modules())


@pytest.mark.parametrize(
    ("preset", "fields"),
    [("ast-elephants", {"embed_dim": 16, "depth": 1, "num_heads": 2}), ("crnn", {"channels": (4, 8, 8), "hidden": 8})],
)
def test_other_architectures_stay_as_they_are(preset, fields):
    model = build(preset, **fields)
    before = [type(module) for module in model.modules()]
    training.apply(model)
    assert [type(module) for module in model.modules()] == before


def test_a_model_from_a_file_has_the_inference_operators():
    model = load_model()
    assert type(model) is inference.SlicedHTSAT
    assert type(model.layers[0].blocks[0].mlp.fc1) is inference.InferenceLinear
