"""Muon turns directions, leaves the rest to AdamW, and is a part of a run that can be resumed."""

import copy

import pytest
import torch

from loxo.network.registry import build
from loxo.training.config import TrainingConfig
from loxo.training.module import build_optimiser
from loxo.training.muon import ADAMW_RMS, MuonAdamW, orthogonalised


@pytest.mark.parametrize("shape", [(3, 24, 24), (2, 16, 80), (2, 80, 16)])
def test_orthogonalised_keeps_the_directions_and_evens_out_their_sizes(shape):
    torch.manual_seed(0)
    matrices = torch.randn(shape) * torch.tensor([0.01, 1.0, 100.0])[: shape[0], None, None]
    turned = orthogonalised(matrices)
    assert turned.shape == matrices.shape and turned.dtype == torch.float32
    left, sizes, right = torch.linalg.svd(matrices, full_matrices=False)
    clear = (sizes > 0.05 * sizes[:, :1]).float()  # five rounds lift what is smaller only part of the way
    along = torch.einsum("bij,bik,bkj->bj", left, turned, right.mT)  # of each direction, what is left of it
    assert ((along > 0.5) & (along < 1.4))[clear.bool()].all()
    torch.testing.assert_close(turned, left @ torch.diag_embed(along) @ right, atol=0.06, rtol=0)
    assert orthogonalised(torch.zeros(1, 4, 4)).abs().sum() == 0  # no gradient, no step and no division by zero


def test_a_step_is_as_large_as_one_of_adamw_and_decays():
    weights = torch.nn.Parameter(torch.randn(32, 4, 5))
    before = weights.detach().clone()
    optimiser = MuonAdamW([{"params": [weights], "matrices": True}], lr=0.01, weight_decay=0.0)
    weights.grad = torch.randn_like(weights)
    optimiser.step()
    moved = (weights.detach() - before).square().mean().sqrt()
    assert float(moved) == pytest.approx(0.01 * ADAMW_RMS, rel=0.2)
    decaying = torch.nn.Parameter(before.clone())
    decaying.grad = weights.grad.clone()
    MuonAdamW([{"params": [decaying], "matrices": True}], lr=0.01, weight_decay=0.5).step()
    torch.testing.assert_close(decaying.detach(), weights.detach() - 0.01 * 0.5 * before)


def test_joined_queries_keys_and_values_are_turned_one_by_one():
    torch.manual_seed(1)
    joined = torch.nn.Parameter(torch.zeros(48, 16))
    apart = [torch.nn.Parameter(torch.zeros(16, 16)) for _ in range(3)]
    joined.grad = torch.randn(48, 16) * torch.tensor([1.0, 100.0, 0.01]).repeat_interleave(16)[:, None]
    for part, gradient in zip(apart, joined.grad.chunk(3), strict=True):
        part.grad = gradient.clone()
    for parameters in ([joined], apart):
        MuonAdamW([{"params": parameters, "matrices": True}], lr=0.1).step()
    torch.testing.assert_close(joined.detach(), torch.cat([part.detach() for part in apart]))


def test_gradients_in_another_layout_move_the_same_weights():
    torch.manual_seed(2)
    first, second = (torch.nn.Parameter(torch.zeros(8, 4, 3, 3)) for _ in range(2))
    first.grad = torch.randn(8, 4, 3, 3)
    second.grad = first.grad.contiguous(memory_format=torch.channels_last)  # as convolutions give it
    for parameter in (first, second):
        MuonAdamW([{"params": [parameter], "matrices": True}], lr=0.1).step()
    assert first.detach().abs().sum() > 0
    torch.testing.assert_close(first.detach(), second.detach())


@pytest.mark.parametrize("preset", ["default", "crnn", "ast-elephants"])
def test_every_parameter_is_taken_once_and_the_answers_by_adamw(preset):
    model = build(preset)
    groups = build_optimiser(model, TrainingConfig())[0].param_groups
    taken = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(taken) == sorted(id(parameter) for parameter in model.parameters())
    matrices = {id(p) for group in groups if group.get("matrices") for p in group["params"]}
    named = dict(model.named_parameters())
    for name, parameter in named.items():
        answers = any(name.startswith(f"{layer}.") for layer in model.output_layers)
        inside = parameter.ndim > 1 and not answers and not any(t in name for t in ("bias_table", "position", "token"))
        assert (id(parameter) in matrices) is inside, name
    assert all(f"{layer}.weight" in named for layer in model.output_layers)
    assert not any(g.get("matrices") for g in build_optimiser(model, TrainingConfig(optimiser="adamw"))[0].param_groups)


@pytest.mark.parametrize(
    ("settings", "times"),
    [
        ({}, 3),
        ({"init_from": "default"}, 1),
        ({"muon_rate": 0.5}, 0.5),
        ({"muon_rate": 2.0, "init_from": "default"}, 2),
    ],
)
def test_matrices_move_less_from_weights_than_from_nothing_unless_told(settings, times):
    groups = build_optimiser(build("default"), TrainingConfig(learning_rate=0.01, **settings))[0].param_groups
    rates = [group["initial_lr"] for group in groups]
    assert rates == pytest.approx([0.01, 0.01, 0.01 * times]) and groups[2]["matrices"]


def test_it_goes_on_as_before_from_its_state():
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
