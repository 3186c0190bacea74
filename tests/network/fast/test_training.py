"""Operators of a network while it learns: results and gradients of the plain ones."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from loxo.network.fast import training as learning
from loxo.network.swin import SwinBlock


def results(function, *inputs):
    """What comes out, and the gradients of the inputs and of `function`, if it is a module."""
    inputs = [one.detach().clone().requires_grad_() for one in inputs]
    out = function(*inputs)
    parameters = list(getattr(function, "parameters", list)())
    for parameter in parameters:
        parameter.grad = None
    torch.manual_seed(2)
    (out * torch.randn(out.shape)).sum().backward()  # in the order of axes, however memory is laid out
    return [out, *(one.grad for one in inputs), *(parameter.grad for parameter in parameters)]


def assert_same(layer, ours, *inputs, atol=1e-5):
    """`ours` of the inputs and a copy of `layer` gives what `layer` gives, and so do all gradients."""

    class Ours(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = copy.deepcopy(layer)

        def forward(self, *inputs):
            return ours(*inputs, self.layer)

    for expected, got in zip(results(layer, *inputs), results(Ours(), *inputs), strict=True):
        torch.testing.assert_close(got, expected, atol=atol, rtol=1e-4)


def test_a_batch_norm_learns_as_torchs_does():
    torch.manual_seed(1)
    x = 3 * torch.randn(4, 6, 50) + torch.arange(6.0)[:, None]
    plain = nn.BatchNorm2d(6)
    nn.init.uniform_(plain.weight)
    nn.init.uniform_(plain.bias)
    ours = copy.deepcopy(plain)
    weights = torch.randn(4, 6, 50)
    for _ in range(2):
        expected, got = plain(x[..., None])[..., 0], learning.batch_norm(x, ours)
        torch.testing.assert_close(got, expected)
        for out in (expected, got):
            (weights * out).sum().backward()
        x = x + 0.1
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)
    for mine, its in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, its.grad)
    torch.testing.assert_close(learning.batch_norm(x, ours.eval()), plain.eval()(x[..., None])[..., 0])


@pytest.mark.parametrize("size", [(8, 12), (2, 2), (64, 128), (7, 12), (8, 11)])
@pytest.mark.parametrize("channels", (1, 2, 3))
def test_a_convolution_over_cells_is_the_same(size, channels):
    torch.manual_seed(0)
    layer = nn.Conv2d(channels, 5, kernel_size=3, stride=2, padding=1)
    assert_same(layer, learning.halving, torch.randn(3, channels, *size))
    assert torch.equal(
        learning.halving(torch.ones(1, channels, *size), layer.eval()), layer(torch.ones(1, channels, *size))
    )


def test_cells_in_half_precision_are_those_in_full():
    layer = nn.Conv2d(2, 8, kernel_size=3, stride=2, padding=1)
    image = torch.randn(2, 2, 16, 32)
    with torch.autocast("cpu", torch.bfloat16):
        halved = learning.halving(image, layer)
    assert halved.dtype == torch.bfloat16
    torch.testing.assert_close(halved.float(), layer(image), atol=0.05, rtol=0.02)


@pytest.mark.parametrize(("taps", "apart"), [(5, 1), (5, 3), (3, 4)])
def test_a_convolution_over_time_is_the_same(taps, apart):
    layer = nn.Conv1d(6, 4, taps, padding=apart * (taps // 2), dilation=apart)
    assert_same(layer, learning.conv1d, torch.randn(3, 6, 40))


@pytest.mark.parametrize("bias", (False, True))
def test_a_linear_layer_is_the_same_and_adds_what_it_is_told_to(bias):
    layer = nn.Linear(24, 10, bias=bias)
    x, added = torch.randn(2, 5, 24), torch.randn(2, 5, 10)
    assert_same(layer, learning.linear, x)

    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x, added):
            return added + self.layer(x)

    assert_same(Sum(), lambda x, added, one: learning.linear(x, one.layer, added), x, added)


@pytest.mark.parametrize("heads", (1, 2, 4))
@pytest.mark.parametrize("masked", (False, True))
def test_attention_and_its_gradients_are_those_of_plain_operators(heads, masked):
    torch.manual_seed(heads)
    qkv, bias = torch.randn(2, 3, 8, 3 * heads * 6), torch.randn(heads, 8, 8)
    mask = torch.where(torch.rand(3, 8, 8) < 0.3, -1000.0, 0.0) if masked else None

    def plain(qkv, bias):
        q, k, v = qkv.view(2, 3, 8, 3, heads, 6).permute(3, 0, 1, 4, 2, 5)
        logits = q @ k.mT / 6**0.5 + bias + (0 if mask is None else mask[:, None])
        return (logits.softmax(-1) @ v).transpose(2, 3).flatten(3)

    expected = results(plain, qkv, bias)
    for one, other in zip(
        results(lambda qkv, bias: learning.attend(qkv, bias, mask, heads), qkv, bias), expected, strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    half = learning.attend(qkv.bfloat16(), bias, mask, heads)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), expected[0], atol=0.05, rtol=0.02)


@pytest.mark.parametrize("shifted", (False, True))
@pytest.mark.parametrize("size", [(16, 16), (4, 16)])
def test_a_block_learns_what_it_answers_with(size, shifted):
    """Trained, a block goes by the operators of this module; to answer, by those of kernels.py and torch."""
    torch.manual_seed(3)
    block = SwinBlock(12, 2, size, window=8, shifted=shifted, mlp_ratio=2.0, drop=0.0)
    nn.init.normal_(block.attn.relative_position_bias_table)
    answering = copy.deepcopy(block).eval()
    x = torch.randn(2, *size, 12)
    for expected, got in zip(results(answering, x), results(block.train(), x), strict=True):
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-3)


def test_a_block_that_drops_its_branches_is_what_comes_in():
    block = SwinBlock(12, 2, (8, 16), window=8, shifted=True, mlp_ratio=2.0, drop=0.999999).train()
    x = torch.randn(3, 8, 16, 12)
    torch.testing.assert_close(block(x), x)
    assert F.mse_loss(block.eval()(x), x) > 0
