"""Muon: orthogonal updates, AdamW for the other parameters, and state that can be restored."""

import copy

import pytest
import torch

from loxo.network.registry import build
from loxo.training.config import TrainingConfig
from loxo.training.module import build_optimiser
from loxo.training.muon import ADAMW_RMS, MuonAdamW, orthogonalise


@pytest.mark.parametrize("shape", [(3, 24, 24), (2, 16, 80), (2, 80, 16)])
def test_orthogonalise_keeps_singular_vectors_and_brings_singular_values_near_one(shape):
    torch.manual_seed(0)
    matrices = torch.randn(shape) * torch.tensor([0.01, 1.0, 100.0])[: shape[0], None, None]
    turned = orthogonalise(matrices)
    assert turned.shape == matrices.shape and turned.dtype == torch.float32
    left, sizes, right = torch.linalg.svd(matrices, full_matrices=False)
    clear = (sizes > 0.05 * sizes[:, :1]).float()  # five iterations do not bring smaller values up to one
    values = torch.einsum("bij,bik,bkj->bj", left, turned, right.mT)  # the new singular values
    assert ((values > 0.5) & (values < 1.4))[clear.bool()].all()
    torch.testing.assert_close(turned, left @ torch.diag_embed(values) @ right, atol=0.06, rtol=0)
    assert orthogonalise(torch.zeros(1, 4, 4)).abs().sum() == 0  # a gradient of zero causes no division by zero


def test_an_update_is_as_large_as_one_of_adamw_and_has_weight_decay():
    weights = torch.nn.Parameter(torch.randn(32, 4, 5))
    before = weights.detach().clone()
    optimiser = MuonAdamW([{"params": [weights], "matrices": True}], lr=0.01, weight_decay=0.0)
    weights.grad = torch.randn_like(weights)
    optimiser.step()
    update = (weights.detach() - before).square().mean().sqrt()
    assert float(update) == pytest.approx(0.01 * ADAMW_RMS, rel=0.2)
    decaying = torch.nn.Parameter(before.clone())
    decaying.grad = weights.grad.clone()
    MuonAdamW([{"params": [decaying], "matrices": True}], lr=0.01, weight_decay=0.5).step()
    torch.testing.assert_close(decaying.detach(), weights.detach() - 0.01 * 0.5 * before)


def test_joined_queries_keys_and_values_are_orthogonalised_separately():
    torch.manual_seed(1)
    joined = torch.nn.Parameter(torch.zeros(48, 16))
    separate = [torch.nn.Parameter(torch.zeros(16, 16)) for _ in range(3)]
    joined.grad = torch.randn(48, 16) * torch.tensor([1.0, 100.0, 0.01]).repeat_interleave(16)[:, None]
    for part, gradient in zip(separate, joined.grad.chunk(3), strict=True):
        part.grad = gradient.clone()
    for parameters in ([joined], separate):
        MuonAdamW([{"params": parameters, "matrices": True}], lr=0.1).step()
    torch.testing.assert_close(joined.detach(), torch.cat([part.detach() for part in separate]))


def test_the_memory_layout_of_gradients_does_not_affect_the_update():
    torch.manual_seed(2)
    first, second = (torch.nn.Parameter(torch.zeros(8, 4, 3, 3)) for _ in range(2))
    first.grad = torch.randn(8, 4, 3, 3)
    second.grad = first.grad.contiguous(memory_format=torch.channels_last)  # the layout of gradients from convolutions
    for parameter in (first, second):
        MuonAdamW([{"params": [parameter], "matrices": True}], lr=0.1).step()
    assert first.detach().abs().sum() > 0
    torch.testing.assert_close(first.detach(), second.detach())


@pytest.mark.parametrize("preset", ["default", "crnn", "ast-elephants"])
def test_every_parameter_is_in_one_group_and_output_layers_use_adamw(preset):
    model = build(preset)
    groups = build_optimiser(model, TrainingConfig())[0].param_groups
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())
    matrices = {id(p) for group in groups if group.get("matrices") for p in group["params"]}
    named = dict(model.named_parameters())
    for name, parameter in named.items():
        is_output = any(name.startswith(f"{layer}.") for layer in model.output_layers)
        inside = (
            parameter.ndim > 1 and not is_output and not any(t in name for t in ("bias_table", "position", "token"))
        )
        assert (id(parameter) in matrices) is inside, name
    assert all(f"{layer}.weight" in named for layer in model.output_layers)
    assert not any(g.get("matrices") for g in build_optimiser(model, TrainingConfig(optimiser="adamw"))[0].param_groups)


@pytest.mark.parametrize(
    ("options", "factor"),
    [
        ({}, 3),
        ({"init_from": "default"}, 1),
        ({"muon_rate": 0.5}, 0.5),
        ({"muon_rate": 2.0, "init_from": "default"}, 2),
    ],
)
def test_the_default_muon_rate_is_lower_with_given_initial_weights(options, factor):
    groups = build_optimiser(build("default"), TrainingConfig(learning_rate=0.01, **options))[0].param_groups
    rates = [group["initial_lr"] for group in groups]
    assert rates == pytest.approx([0.01, 0.01, 0.01 * factor]) and groups[2]["matrices"]


def test_the_optimiser_continues_identically_from_its_state():
    torch.manual_seed(3)
    weights, scale = torch.nn.Parameter(torch.randn(8, 8)), torch.nn.Parameter(torch.ones(8))

    def optimiser_of(one, other):
        return MuonAdamW([{"params": [other]}, {"params": [one], "matrices": True}], lr=0.05, fused=True)

    def steps(optimiser, one, other, count, seed):
        generator = torch.Generator().manual_seed(seed)
        for _ in range(count):
            for parameter in (one, other):
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimiser.step()

    optimiser = optimiser_of(weights, scale)
    steps(optimiser, weights, scale, 3, seed=0)
    again = [torch.nn.Parameter(parameter.detach().clone()) for parameter in (weights, scale)]
    resumed = optimiser_of(*again)
    resumed.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    steps(optimiser, weights, scale, 3, seed=1)
    steps(resumed, *again, 3, seed=1)
    assert torch.equal(weights, again[0]) and torch.equal(scale, again[1])
