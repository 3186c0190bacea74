"""Linear layers by oneDNN: the plain layers' results, and never a weight that is out of date."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from loxo.network.fast import inference as kernels

pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this build of torch has no oneDNN: the plain layers are used"
)


@pytest.fixture
def layers():
    torch.manual_seed(0)
    return nn.Linear(24, 96), nn.Linear(96, 24, bias=False)


@pytest.mark.parametrize("frozen", (False, True))
@pytest.mark.parametrize("rows", (1, 7, kernels.ROWS_EXPECTED, 2 * kernels.ROWS_EXPECTED + 3))
def test_the_same_as_the_plain_layers(layers, frozen, rows):
    first, second = (layer.requires_grad_(not frozen) for layer in layers)
    x = torch.randn(rows, 24)
    with torch.no_grad():
        torch.testing.assert_close(kernels.linear(x, first), first(x), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(kernels.mlp(x, first, second), second(F.gelu(first(x))), rtol=1e-5, atol=1e-5)
        shaped = kernels.mlp(x.view(1, rows, 1, 24), first, second)
        assert shaped.shape == (1, rows, 1, 24)


@pytest.mark.parametrize("images", (1, 2, 5))
def test_slices_of_a_batch_are_put_together_in_order(images, monkeypatch):
    monkeypatch.setattr(kernels, "SLICE", 2 * 3 * 4 * torch.float32.itemsize)  # two images
    batch, sizes = torch.randn(images, 3, 4), []

    def doubled(some):
        sizes.append(len(some))
        return 2 * some

    with torch.no_grad():
        torch.testing.assert_close(kernels.in_slices(doubled, batch), 2 * batch)
    assert sizes == {1: [1], 2: [2], 5: [2, 2, 1]}[images]
    kernels.in_slices(doubled, batch)
    assert sizes[-1] == images  # with gradients: all at once


def test_changed_weights_are_laid_out_anew(layers):
    first, _ = layers
    first.requires_grad_(False)
    x = torch.randn(5, 24)
    with torch.no_grad():
        kernels.linear(x, first)
        first.weight.mul_(2)
        torch.testing.assert_close(kernels.linear(x, first), first(x), rtol=1e-5, atol=1e-5)
        first.weight = nn.Parameter(torch.zeros(96, 24), requires_grad=False)
        torch.testing.assert_close(kernels.linear(x, first), first(x))


def test_gradients_flow_where_they_are_asked_for(layers):
    first, second = layers
    x = torch.randn(3, 24)
    kernels.mlp(x, first, second).sum().backward()
    assert first.weight.grad is not None and second.weight.grad is not None


def test_a_model_with_laid_out_weights_can_be_copied_and_saved(layers, tmp_path):
    network = nn.Sequential(*layers).requires_grad_(False)
    x = torch.randn(3, 24)
    with torch.no_grad():
        before = kernels.linear(x, network[0])
        other = copy.deepcopy(network)
        torch.save(other.state_dict(), tmp_path / "weights.pt")
        torch.testing.assert_close(kernels.linear(x, other[0]), before)


def test_bfloat16_only_where_it_is_in_hardware(layers):
    first, _ = (layer.to(torch.bfloat16).requires_grad_(False) for layer in layers)
    x = torch.randn(9, 24).to(torch.bfloat16)
    with torch.no_grad():
        torch.testing.assert_close(kernels.linear(x, first), first(x), rtol=2e-2, atol=2e-2)
