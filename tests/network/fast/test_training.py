"""Training operators give the results and gradients of the plain layers, on a CPU only."""

import copy

import pytest
import torch
from torch import nn

from loxo.network.fast import training
from loxo.network.fast.inference import exchange_class
from loxo.network.swin import Mlp, SwinBlock


def results(module, *inputs):
    """The output, then the gradients of the inputs and, if it is a module, of its parameters."""
    inputs = [item.detach().clone().requires_grad_() for item in inputs]
    parameters = list(getattr(module, "parameters", list)())
    for parameter in parameters:
        parameter.grad = None
    out = module(*inputs)
    torch.manual_seed(2)
    (out * torch.randn(out.shape)).sum().backward()  # random numbers in the order of axes, for any memory layout
    return [out, *(item.grad for item in inputs), *(parameter.grad for parameter in parameters)]


def assert_same(plain, fast, *inputs, atol=1e-5, rtol=1e-4):
    for expected, got in zip(results(plain, *inputs), results(fast, *inputs), strict=True):
        torch.testing.assert_close(got, expected, atol=atol, rtol=rtol)


def as_class(layer, kind):
    """A copy of the layer with the class `kind`."""
    fast = copy.deepcopy(layer)
    exchange_class(fast, {type(layer): kind})
    assert type(fast) is kind
    return fast


def with_operators(module):
    module = copy.deepcopy(module)
    training.apply(module)
    return module


# ---------------------------------------------------------------- each layer


def test_batch_norm_learns_as_in_pytorch():
    torch.manual_seed(1)
    x = 3 * torch.randn(4, 6, 50, 1) + torch.arange(6.0)[:, None, None]
    plain = nn.BatchNorm2d(6)
    nn.init.uniform_(plain.weight)
    nn.init.uniform_(plain.bias)
    fast = as_class(plain, training.FastBatchNorm)
    factors = torch.randn(4, 6, 50, 1)
    for _ in range(2):
        expected, got = plain(x), fast(x)
        torch.testing.assert_close(got, expected)
        for out in (expected, got):
            (factors * out).sum().backward()
        x = x + 0.1
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(fast.state_dict()[name], value)
    for one, other in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    torch.testing.assert_close(fast.eval()(x), plain.eval()(x))
    assert_same(plain.train(), fast.train(), x)  # an input with a gradient


@pytest.mark.parametrize("size", [(8, 12), (2, 2), (64, 128), (7, 12), (8, 11)])
@pytest.mark.parametrize("channels", (1, 2, 3))
def test_the_stem_convolution_over_cells_is_the_same(size, channels):
    torch.manual_seed(0)
    plain = nn.Conv2d(channels, 5, kernel_size=3, stride=2, padding=1)
    fast = as_class(plain, training.FastStemConv)
    assert_same(plain, fast, torch.randn(3, channels, *size))
    assert torch.equal(fast.eval()(torch.ones(1, channels, *size)), plain(torch.ones(1, channels, *size)))
    assert_same(plain.double(), fast.double().train(), torch.randn(3, channels, *size).double())


def test_cells_in_bfloat16_are_those_in_float32():
    plain = nn.Conv2d(2, 8, kernel_size=3, stride=2, padding=1)
    image = torch.randn(2, 2, 16, 32)
    with torch.autocast("cpu", torch.bfloat16):
        halved = as_class(plain, training.FastStemConv)(image)
    assert halved.dtype == torch.bfloat16
    torch.testing.assert_close(halved.float(), plain(image), atol=0.05, rtol=0.02)


@pytest.mark.parametrize(("kernel_size", "dilation"), [(5, 1), (5, 3), (3, 4)])
def test_a_convolution_over_time_is_the_same(kernel_size, dilation):
    plain = nn.Conv1d(6, 4, kernel_size, padding=dilation * (kernel_size // 2), dilation=dilation)
    assert_same(plain, as_class(plain, training.FastConv1d), torch.randn(3, 6, 40))


@pytest.mark.parametrize("bias", (False, True))
def test_a_linear_layer_with_and_without_residual_is_the_same(bias):
    plain = nn.Linear(24, 10, bias=bias)
    fast = as_class(plain, training.FastLinear)
    x, residual = torch.randn(2, 5, 24), torch.randn(2, 5, 10)
    assert_same(plain, fast, x)
    expected = results(lambda x, residual: residual + plain(x), x, residual)
    for one, other in zip(results(fast, x, residual), expected, strict=False):  # the second has no parameters
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(fast.eval()(x, residual), residual + plain(x), atol=1e-5, rtol=1e-4)


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

    assert_same(plain, lambda qkv, bias: training.attention(qkv, bias, mask, heads), qkv, bias)
    half = training.attention(qkv.bfloat16(), bias, mask, heads)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), plain(qkv, bias), atol=0.05, rtol=0.02)


# ---------------------------------------------------------------- blocks


def block(size=(16, 16), shifted=True, drop=0.0) -> SwinBlock:
    torch.manual_seed(3)
    made = SwinBlock(12, 2, size, window=8, shifted=shifted, mlp_ratio=2.0, drop=drop)
    nn.init.normal_(made.attn.relative_position_bias_table)
    return made


@pytest.mark.parametrize("shifted", (False, True))
@pytest.mark.parametrize("size", [(16, 16), (4, 16)])
def test_a_block_and_its_gradients_are_the_same(size, shifted):
    plain = block(size, shifted)
    assert_same(plain, with_operators(plain), torch.randn(2, *size, 12), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("part", ("attn", "mlp"))
def test_a_frozen_part_of_a_block_in_training_is_the_same(part):
    """A user may put a part into eval mode. It then has no operator that adds the residual connection."""
    plain = block()
    fast = with_operators(plain)
    fast.get_submodule(part).eval()
    assert_same(plain, fast, torch.randn(2, 16, 16, 12), atol=1e-4, rtol=1e-3)


def test_stochastic_depth_drops_the_branches_in_training_only():
    for dropping in (block((8, 16), drop=0.999999), with_operators(block((8, 16), drop=0.999999))):
        x = torch.randn(3, 8, 16, 12)
        torch.testing.assert_close(dropping.train()(x), x)
        assert (dropping.eval()(x) - x).abs().mean() > 0.01


# ---------------------------------------------------------------- other devices


@pytest.fixture
def cuda_autocast_rule():
    """Softmax gives float32 under autocast, as on CUDA (autocast_mode.h of PyTorch); on a CPU it keeps bfloat16."""
    cpu = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCPU)
    library = torch.library.Library("aten", "IMPL")

    def softmax(x, dim, dtype=None):
        with torch._C._ExcludeDispatchKeyGuard(cpu):
            return torch.softmax(x.float(), dim, dtype=dtype)

    library.impl("softmax.int", softmax, "AutocastCPU")
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.ones(2, dtype=torch.bfloat16).softmax(0).dtype == torch.float32  # the rule is in force
    yield
    library._destroy()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.ones(2, dtype=torch.bfloat16).softmax(0).dtype == torch.bfloat16


def bfloat16_results(module, x):
    def under_autocast(x):
        with torch.autocast("cpu", torch.bfloat16):
            return module(x).float()

    out, grad_x = results(under_autocast, x)
    return [out, grad_x, *(parameter.grad for parameter in module.parameters())]


def assert_close_in_bfloat16(got, expected):
    for one, other in zip(got, expected, strict=True):
        assert (one - other).norm() < 0.03 * other.norm()


@pytest.fixture
def no_operators(monkeypatch):
    """Each training operator fails."""
    for function in ("_Attention", "_Linear", "_ChannelAffine", "_SpaceToDepth"):
        monkeypatch.setattr(training, function, None)


def test_the_attention_s_backward_pass_accepts_the_autocast_rule_of_cuda(cuda_autocast_rule, monkeypatch):
    plain = block()
    fast, x = with_operators(plain), torch.randn(2, 16, 16, 12)
    calls, original = [], training._Attention.apply
    monkeypatch.setattr(training._Attention, "apply", lambda *inputs: calls.append(1) or original(*inputs))
    assert_close_in_bfloat16(bfloat16_results(fast, x), results(plain, x))
    assert calls


def test_on_another_device_a_block_trains_with_the_plain_layers(cuda_autocast_rule, no_operators, monkeypatch):
    """With the rule of CUDA, and with `can_serve` as on CUDA."""
    plain = block()
    fast, x = with_operators(plain), torch.randn(2, 16, 16, 12)
    with pytest.raises(AttributeError):
        bfloat16_results(fast, x)  # the operators would be used on a CPU
    monkeypatch.setattr(training, "can_serve", lambda layer, x: False)
    assert_close_in_bfloat16(bfloat16_results(fast, x), results(plain, x))


def test_operators_serve_on_a_cpu_in_train_mode_only(no_operators):
    fast = with_operators(block())
    out = fast.to("meta").train()(torch.zeros(2, 16, 16, 12, device="meta"))  # another device
    out.sum().backward()
    assert fast.attn.qkv.weight.grad.shape == (36, 12)
    x = torch.zeros(2, 16, 16, 12)
    with_operators(block()).eval()(x).sum().backward()
    with pytest.raises(AttributeError):
        with_operators(block()).train()(x)
    mlp = with_operators(Mlp(4, 8)).to("meta").train()
    assert mlp(torch.zeros(1, 4, device="meta"), torch.zeros(1, 4, device="meta")).shape == (1, 4)
