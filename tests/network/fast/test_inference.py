"""Inference operators give the results of the plain layers, and never use an outdated weight."""

import copy

import pytest
import torch
from torch import nn

from loxo.network.fast import inference
from loxo.network.swin import Mlp

pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this build of PyTorch has no oneDNN: the plain layers run"
)


@pytest.fixture
def plain() -> Mlp:
    torch.manual_seed(0)
    mlp = Mlp(24, 96)
    mlp.fc2 = nn.Linear(96, 24, bias=False)
    return mlp.eval()


def with_operators(module: nn.Module) -> nn.Module:
    module = copy.deepcopy(module)
    inference.apply(module)
    return module


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    """The activation of each call of the fused operator."""
    original, activations = inference._pointwise, []

    def counted(x, layer, activation):
        activations.append(activation)
        return original(x, layer, activation)

    monkeypatch.setattr(inference, "_pointwise", counted)
    return activations


@pytest.mark.parametrize("frozen", (False, True))
@pytest.mark.parametrize("rows", (1, 7, inference.ROWS_EXPECTED, 2 * inference.ROWS_EXPECTED + 3))
def test_results_are_those_of_the_plain_layers(plain, calls, frozen, rows):
    fast = with_operators(plain).requires_grad_(not frozen)
    x = torch.randn(rows, 24)
    with torch.no_grad():
        torch.testing.assert_close(fast.fc1(x), plain.fc1(x), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(fast(x), plain(x), rtol=1e-5, atol=1e-5)
        assert fast(x.view(1, rows, 1, 24)).shape == (1, rows, 1, 24)
    assert calls == ["none", "gelu", "none", "gelu", "none"]


def test_fused_operators_serve_only_in_eval_mode_without_gradients_and_autocast(plain, calls, monkeypatch):
    fast, x = with_operators(plain), torch.randn(3, 24)
    fast(x).sum().backward()
    assert fast.fc1.weight.grad is not None and fast.fc2.weight.grad is not None
    with torch.no_grad():
        fast.train()(x)
        with torch.autocast("cpu", torch.bfloat16):
            fast.eval()(x)
        monkeypatch.setattr(inference, "is_traced", lambda: True)
        fast(x)
        fast.to("meta")(x.to("meta"))  # another device
    assert not calls


@pytest.mark.parametrize("items", (1, 2, 5))
def test_slices_of_a_batch_are_concatenated_in_order(items, monkeypatch):
    monkeypatch.setattr(inference, "SLICE_BYTES", 2 * 3 * 4 * torch.float32.itemsize)  # two items
    batch, sizes = torch.randn(items, 3, 4), []

    def doubled(part):
        sizes.append(len(part))
        return 2 * part

    torch.testing.assert_close(inference.in_slices(doubled, batch), 2 * batch)
    assert sizes == {1: [1], 2: [2], 5: [2, 2, 1]}[items]


def test_changed_weights_are_packed_again(plain):
    layer = with_operators(plain).fc1.requires_grad_(False)
    x = torch.randn(5, 24)
    with torch.no_grad():
        layer(x)
        layer.weight.mul_(2)
        torch.testing.assert_close(layer(x), nn.Linear.forward(layer, x), rtol=1e-5, atol=1e-5)
        layer.weight = nn.Parameter(torch.zeros(96, 24), requires_grad=False)
        torch.testing.assert_close(layer(x), nn.Linear.forward(layer, x))


def test_a_model_with_packed_weights_can_be_copied_and_saved(plain, tmp_path):
    network = with_operators(plain).requires_grad_(False)
    x = torch.randn(3, 24)
    with torch.no_grad():
        before = network(x)
        other = copy.deepcopy(network)
        torch.save(other.state_dict(), tmp_path / "weights.pt")
        torch.testing.assert_close(other(x), before)


def test_bfloat16_weights(plain):
    """The fused operator serves only where bfloat16 is in hardware."""
    plain = plain.to(torch.bfloat16).requires_grad_(False)
    fast, x = with_operators(plain), torch.randn(9, 24).to(torch.bfloat16)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), plain(x), rtol=2e-2, atol=2e-2)
