"""Loss, averaged weights, optimiser and the order of the windows."""

import copy
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from loxo.engine.architectures import HTSATConfig
from loxo.network.registry import build
from loxo.training.config import LossConfig, TrainingConfig
from loxo.training.dataset import ResumableSampler, SimulatedWindows
from loxo.training.module import (
    FrameTraining,
    WeightAverage,
    build_optimiser,
    decay_of_update,
    elementwise_loss,
    overlap_loss,
    window_loss,
)
from loxo.training.targets import IGNORED, PAUSE, SOMEWHERE


@pytest.fixture(scope="module")
def model():
    return build(HTSATConfig.preset("default", embed_dim=8, num_heads=(1, 2, 4), depths=(1, 1, 1)))


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    return 3 * torch.randn(4, 2, 16, generator=generator), torch.rand(4, 2, 16, generator=generator).round()


def test_the_bce_loss_is_the_cross_entropy_of_frames_and_clips(batch):
    logits, targets = batch
    expected = F.binary_cross_entropy_with_logits(logits, targets)
    expected += 0.1 * F.binary_cross_entropy_with_logits(logits.amax(2), targets.amax(2))
    assert window_loss(logits, targets, LossConfig(), "max") == pytest.approx(float(expected), rel=1e-5)


def test_without_gammas_and_margin_all_losses_equal_bce(batch):
    logits, targets = batch
    soft = 0.2 + 0.6 * targets
    plain = elementwise_loss(logits, soft, LossConfig())
    for kind in ("focal", "asymmetric"):
        config = LossConfig(kind=kind, gamma=0, positive_gamma=0, margin=0)
        torch.testing.assert_close(elementwise_loss(logits, soft, config), plain, atol=1e-5, rtol=1e-4)


def test_focal_and_asymmetric_losses_reduce_the_weight_of_easy_elements():
    logits, targets = torch.tensor([-3.0, 0.0, 3.0, 12.0]), torch.zeros(4)
    for config in (LossConfig(kind="focal"), LossConfig(kind="asymmetric")):
        share = elementwise_loss(logits, targets, config) / elementwise_loss(logits, targets, LossConfig())
        assert share[0] < 0.01 and share[0] < share[1] < share[2] and torch.isfinite(share).all()
    p = 1 / (1 + math.exp(-3))
    focal = elementwise_loss(torch.tensor([3.0]), torch.ones(1), LossConfig(kind="focal"))
    assert float(focal) == pytest.approx((1 - p) ** 2 * -math.log(p), rel=1e-4)
    asymmetric = elementwise_loss(torch.tensor([3.0]), torch.zeros(1), LossConfig(kind="asymmetric"))
    assert float(asymmetric) == pytest.approx((p - 0.05) ** 2 * -math.log(1 - p + 0.05), rel=1e-4)


def test_the_call_overlap_loss_is_added_with_its_weight(model):
    """With weight 0, the layer for call overlaps has no gradient."""
    network = copy.deepcopy(model).train()
    generator = torch.Generator().manual_seed(2)
    waveform = 0.1 * torch.randn(2, network.config.window_samples, generator=generator)
    targets = torch.rand(2, 4, network.config.steps, generator=generator).round()
    losses = {}
    for weight in (0.0, 1.0, 3.0):
        config = TrainingConfig(loss=LossConfig(overlap_weight=weight))
        network.zero_grad()
        loss = FrameTraining(network, config)(waveform, targets, np.random.default_rng(0))
        loss.backward()
        losses[weight] = loss.item()
        assert bool(network.overlap.answer.weight.grad.any()) == (weight > 0)
    one = float(overlap_loss(torch.full((2, 2, 4), -4.0), torch.zeros(2, 2, 4)))
    assert one == pytest.approx(math.log1p(math.exp(-4)), rel=1e-4)
    assert losses[3.0] - losses[0.0] == pytest.approx(3 * (losses[1.0] - losses[0.0]), rel=1e-3)
    logits = torch.zeros(1, 1, 2)
    assert float(overlap_loss(logits, torch.tensor([[[IGNORED, 1.0]]]))) == pytest.approx(math.log(2))


def test_a_pause_is_a_negative_with_a_higher_weight(batch):
    logits, targets = batch
    targets[:, :, 3] = 0
    gradients = []
    for value, weight in ((0.0, 8.0), (PAUSE, 8.0), (PAUSE, 1.0)):
        targets[:, :, 3] = value
        inputs = logits.clone().requires_grad_()
        window_loss(inputs, targets, LossConfig(pause_weight=weight), "mean").backward()
        gradients.append(inputs.grad)
    frames = torch.autograd.functional.jacobian(
        lambda x: window_loss(x, targets, LossConfig(clip_weight=0, pause_weight=1.0), "mean"), logits
    )
    torch.testing.assert_close(gradients[2], gradients[0])
    torch.testing.assert_close((gradients[1] - gradients[0])[:, :, 3], 7 * frames[:, :, 3])
    assert torch.equal(gradients[1][:, :, 4:], gradients[0][:, :, 4:])


def test_ignored_steps_do_not_affect_the_loss(batch):
    logits, targets = batch
    targets[:, :, :4] = IGNORED
    logits.requires_grad_()
    window_loss(logits, targets, LossConfig(clip_weight=0), "max").backward()
    assert not logits.grad[:, :, :4].any() and logits.grad[:, :, 4:].all()
    rest = window_loss(logits[:, :, 4:], targets[:, :, 4:], LossConfig(clip_weight=0), "max")
    torch.testing.assert_close(window_loss(logits, targets, LossConfig(clip_weight=0), "max"), rest)
    nothing = window_loss(logits.detach(), torch.full_like(targets, IGNORED), LossConfig(), "max")
    assert float(nothing) == 0


def test_the_average_follows_the_weights_and_copies_integer_tensors(model):
    average, moving = WeightAverage(model, 0.9), copy.deepcopy(model)
    average.update(moving)
    first = moving.tscam_conv.weight.detach().clone()
    with torch.no_grad():
        moving.tscam_conv.weight += 1
    average.update(moving)
    torch.testing.assert_close(average.model.tscam_conv.weight, first + 9 / 11)
    index = average.model.layers[0].blocks[0].attn.relative_position_index
    for _ in range(50):
        average.update(moving)
    assert torch.equal(index, moving.layers[0].blocks[0].attn.relative_position_index)
    assert not average.model.training and not average.model.tscam_conv.weight.requires_grad


def test_the_decay_of_the_average_warms_up_so_that_a_short_run_forgets_its_start():
    decays = [decay_of_update(number, 0.998) for number in range(1, 10_000)]
    assert decays == sorted(decays) and decays[0] < 0.2 and decays[-1] == 0.998
    assert math.prod(decays[:50]) < 1e-6  # the share of the first weights
    assert [decay_of_update(number, 0.0) for number in (0, 1, 500)] == [0, 0, 0]


def test_warm_up_then_cosine_decay_and_no_weight_decay_for_norms_and_biases(model):
    config = TrainingConfig(iterations=100, warmup=10, learning_rate=1.0, muon_rate=2.0)
    optimiser, schedule = build_optimiser(model, config)
    rates = []
    for _ in range(100):
        first, second, matrices = schedule.get_last_lr()
        assert first == second == matrices / 2
        rates.append(first)
        optimiser.step()
        schedule.step()
    assert rates[0] == pytest.approx(0.1) and rates[10] == 1.0 and rates[55] == pytest.approx(0.5) and rates[99] < 0.001
    groups = optimiser.param_groups
    free = {id(p) for p in groups[1]["params"]}
    decayed = {id(p) for group in (groups[0], groups[2]) for p in group["params"]}
    assert groups[1]["weight_decay"] == 0 and groups[0]["weight_decay"] == groups[2]["weight_decay"] > 0
    for name, parameter in model.named_parameters():
        none = name.endswith("bias") or "norm" in name or "bn0" in name or "bias_table" in name
        assert (id(parameter) in free) is none and (id(parameter) in decayed) is not none, name


def test_the_order_of_windows_is_the_same_wherever_the_sampler_starts():
    whole = list(ResumableSampler(0, 6, 2))
    assert (
        whole == list(range(12))
        and whole[6:] == list(ResumableSampler(3, 6, 2))
        and len(ResumableSampler(3, 6, 2)) == 6
    )
    two = [list(ResumableSampler(0, 3, 2, rank, 2)) for rank in (0, 1)]
    assert two == [[0, 1, 4, 5, 8, 9], [2, 3, 6, 7, 10, 11]]


def test_a_simulated_window_depends_only_on_seed_and_number():
    config = HTSATConfig.preset("default")
    first, second = (SimulatedWindows(config, None, 10, seed=5) for _ in range(2))
    waveform, targets = first[7]
    assert waveform.shape == (config.window_samples,) and targets.shape == (4, config.steps)
    assert torch.equal(waveform, second[7][0]) and torch.equal(targets, second[7][1])
    assert not torch.equal(waveform, first[6][0])


def test_a_clip_level_label_raises_only_the_score_of_the_clip():
    logits = torch.randn(1, 1, 8, generator=torch.Generator().manual_seed(2)).requires_grad_()
    targets = torch.full((1, 1, 8), SOMEWHERE)
    window_loss(logits, targets, LossConfig(clip_weight=0.5), "max").backward()
    best = int(logits.argmax())
    expected = torch.zeros(8)
    expected[best] = 0.5 * (logits[0, 0, best].sigmoid() - 1)
    torch.testing.assert_close(logits.grad[0, 0], expected.detach())
