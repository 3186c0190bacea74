"""Augmentation: the effect of each change, and reproducibility."""

import numpy as np
import pytest
import torch

from loxo.engine.architectures import HTSATConfig
from loxo.training import augment
from loxo.training.config import AugmentConfig
from loxo.training.dataset import AugmentedWindows, SimulatedWindows
from loxo.training.targets import IGNORED, PAUSE

RATE = 4000


def rng(number=0):
    return augment.generator(7, "augment", number)


@pytest.fixture
def noise():
    return np.random.default_rng(0).standard_normal(8 * RATE).astype(np.float32)


def level_db(samples):
    return 10 * np.log10(np.mean(np.square(samples, dtype=np.float64)))


def test_gain_stays_within_its_limits(noise):
    changes = [level_db(augment.gain(noise, rng(k), 6)) - level_db(noise) for k in range(50)]
    assert -6.01 < min(changes) < -3 and 3 < max(changes) < 6.01


def test_shift_moves_samples_and_targets_together(noise):
    targets = np.zeros((1, 16), np.float32)
    targets[0, 5:8] = 1
    loud = noise * np.repeat(0.1 + targets[0], RATE // 2)
    positions = set()
    for k in range(40):
        samples, moved = augment.shift(loud, targets, rng(k), 0.5)
        power = np.square(samples).reshape(16, -1).mean(1)
        assert np.array_equal(power > 0.5, moved[0] == 1) and moved.sum() == 3
        positions.add(int(np.flatnonzero(moved[0])[0]))
    assert len(positions) > 8
    assert np.array_equal(augment.shift(loud, targets, rng(), 0.0)[0], loud)


def test_a_background_is_added_at_the_given_ratio(noise):
    background = np.random.default_rng(1).standard_normal(len(noise)).astype(np.float32) * 3
    for snr_db in (-5.0, 12.0):
        added = augment.mix_background(noise, background, rng(), (snr_db, snr_db)) - noise
        assert level_db(noise) - level_db(added) == pytest.approx(snr_db, abs=0.01)
    silence = np.zeros_like(noise)
    assert np.array_equal(augment.mix_background(silence, background, rng(), (0, 0)), silence)
    assert np.array_equal(augment.mix_background(noise, silence, rng(), (0, 0)), noise)


def test_the_random_filter_is_smooth_and_within_its_limits(noise):
    size = len(noise)
    impulse = np.zeros(size, np.float32)
    impulse[size // 2] = 1
    for k in range(20):
        filtered = augment.random_filter(impulse, RATE, rng(k), 10)
        response = 20 * np.log10(np.abs(np.fft.rfft(filtered)) + 1e-12)
        hertz = np.fft.rfftfreq(size, 1 / RATE)[80:]  # not below 10 Hz, where the cut response is inexact
        slope = np.diff(response[80:]) / np.diff(np.log2(hertz))
        assert np.abs(response[80:]).max() < 10.5 and np.abs(slope).max() < 32  # dB per octave
        assert abs(int(np.argmax(np.abs(filtered))) - size // 2) <= 1
    quiet = augment.random_filter(noise, RATE, rng(), 0)
    np.testing.assert_allclose(quiet, noise, atol=1e-5)


def test_mixup_mixes_targets_with_the_same_weights_as_samples():
    waveform = torch.eye(6)[:, :, None].expand(6, 6, 4).reshape(6, 24)  # only the k-th sixth of window k is not silent
    targets = torch.eye(6)[:, None, :].contiguous()  # (6, 1, 6)
    mixed, soft = augment.mixup(waveform, targets, rng(), 1.0, 1.0)
    assert torch.allclose(mixed.reshape(6, 6, 4).mean(2), soft[:, 0], atol=1e-6)
    assert torch.allclose(soft.sum(2), torch.ones(6, 1)) and (soft.diagonal(dim1=0, dim2=2) >= 0.5).all()
    assert not torch.equal(mixed, waveform)
    same, _ = augment.mixup(waveform, targets, rng(), 0.0, 1.0)
    assert torch.equal(same, waveform)


def test_mixup_ignores_steps_that_are_ignored_in_either_window():
    targets = torch.tensor([[[IGNORED, 0.0]], [[1.0, IGNORED]]])
    for k in range(10):
        _, soft = augment.mixup(torch.zeros(2, 8), targets, rng(k), 1.0, 0.5)
        assert ((soft == IGNORED) | (soft >= 0)).all() and (soft[targets == IGNORED] == IGNORED).all()
    _, soft = augment.mixup(torch.zeros(2, 8), targets, rng(), 0.0, 0.5)
    assert torch.equal(soft, targets)


def test_mixup_treats_a_pause_as_a_negative():
    targets = torch.tensor([[[PAUSE, 1.0]], [[1.0, PAUSE]]])
    _, soft = augment.mixup(torch.zeros(2, 8), targets, rng(), 1.0, 1.0)
    assert (soft == targets).all() or ((soft >= 0) & (soft <= 1)).all()
    _, soft = augment.mixup(torch.zeros(2, 8), targets, rng(), 0.0, 1.0)
    assert torch.equal(soft, targets)


def test_mixup_gives_call_overlap_targets_by_the_weight_of_the_softer_call():
    targets = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[1.0, 1.0], [0.0, 0.0]]])  # one class and its call overlap row
    mixed = 0
    for seed in range(8):
        _, soft = augment.mixup(torch.zeros(2, 8), targets, rng(seed), 1.0, 1.0, classes=1)
        if soft[0, 0, 1] > 0:  # each window is mixed with the other one, not with itself
            softer = torch.minimum(soft[:, 0, 1], 1 - soft[:, 0, 1])
            torch.testing.assert_close(soft[:, 1], torch.stack((2 * softer, torch.zeros(2)), 1))
            mixed += 1
    assert mixed
    assert torch.equal(augment.mixup(torch.zeros(2, 8), targets, rng(), 0.0, 1.0, classes=1)[1], targets)


def test_masks_scale_with_the_window_and_use_the_mean():
    widths = [augment.draw_masks(rng(k), 4, 200, 1, 0.1).sum(1).max() for k in range(30)]
    assert max(widths) == 20
    assert augment.draw_masks(rng(), 4, 200, 3, 0.1).sum(1).max() <= 60
    bands = torch.randn(2, 2, 8, 10)
    times, rows = np.zeros((2, 10), bool), np.zeros((2, 8), bool)
    times[0, 3:5], rows[1, 2] = True, True
    masked = augment.apply_masks(bands, times, rows)
    means = bands.mean((2, 3))
    assert torch.allclose(masked[0, :, :, 3:5], means[0][:, None, None].expand(2, 8, 2))
    assert torch.allclose(masked[1, :, 2], means[1][:, None].expand(2, 10))
    masked[0, :, :, 3:5], masked[1, :, 2] = bands[0, :, :, 3:5], bands[1, :, 2]
    assert torch.equal(masked, bands)


def test_an_augmented_window_depends_only_on_seed_and_number():
    config = HTSATConfig.preset("default", window_samples=20480, image_frames=128)
    changes = AugmentConfig(gain_db=6, shift=0.5, filter_db=6, background=1.0)
    source = SimulatedWindows(config, None, 10, seed=5)
    first, second = (AugmentedWindows(source, config, changes, None, seed) for seed in (5, 5))
    waveform, targets = first[3]
    assert (
        waveform.dtype == torch.float32 and torch.equal(waveform, second[3][0]) and torch.equal(targets, second[3][1])
    )
    assert not torch.equal(waveform, source[3][0]) and not torch.equal(waveform, first[4][0])
    plain = AugmentedWindows(source, config, AugmentConfig(), None, 5)
    assert torch.equal(plain[3][0], source[3][0]) and torch.equal(plain[3][1], source[3][1])
