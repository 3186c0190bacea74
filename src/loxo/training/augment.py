"""Random changes to training windows that do not change which calls are in them.

Each change is a pure function of its input and a random generator. Gain, shift, background and filter apply to single
windows (NumPy, in the loader processes). Mixup and masks apply to batches (PyTorch, in the training process). The
generators come from `generator(seed, purpose, number)`, so that a resumed run repeats the changes of an uninterrupted
one.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from loxo.training.targets import IGNORED, judged

Samples = NDArray[np.float32]  # (samples,)
Targets = NDArray[np.float32]  # (rows, steps): 0 to 1, or a special value

# Part of the random seed. recording_windows.py uses the numbers below REDRAWS in the same place.
PURPOSES = {"source": 101, "augment": 102, "batch": 103}
FILTER_POINTS = (3, 7)  # minimum and maximum number of frequencies at which the random filter's gain is drawn
FILTER_MIN_HZ = 8.0  # the filter's gain is constant below this frequency


def generator(seed: int, purpose: str, number: int) -> np.random.Generator:
    """The random generator for one window or batch (`number`), independent for each purpose."""
    return np.random.default_rng((seed, number, PURPOSES[purpose]))


# ---------------------------------------------------------------- one window


def gain(samples: Samples, rng: np.random.Generator, max_db: float) -> Samples:
    """The window with a random gain of up to `max_db`, up or down."""
    return samples * np.float32(10 ** (rng.uniform(-max_db, max_db) / 20))


def shift(samples: Samples, targets: Targets, rng: np.random.Generator, max_share: float) -> tuple[Samples, Targets]:
    """The window shifted in time by whole steps, up to `max_share` of its length in either direction.

    The shift is circular. An event that is divided by it becomes two events, each cut off at a border of the window.
    """
    steps = targets.shape[1]
    by = int(rng.integers(-round(max_share * steps), round(max_share * steps) + 1))
    return np.roll(samples, by * (len(samples) // steps)), np.roll(targets, by, axis=1)


def mix_background(
    samples: Samples, background: Samples, rng: np.random.Generator, snr_db: tuple[float, float]
) -> Samples:
    """The sum of a window and a background of the same length.

    The level of the window relative to the background is drawn between the two limits `snr_db`. If the window or the
    background is silent, the ratio is not defined and the window is returned unchanged.
    """
    window_power, background_power = (
        float(np.mean(np.square(part, dtype=np.float64))) for part in (samples, background)
    )
    ratio = 10 ** (rng.uniform(*snr_db) / 10)
    if window_power <= 0 or background_power <= 0:
        return samples
    return samples + background * np.float32(np.sqrt(window_power / (ratio * background_power)))


def random_filter(samples: Samples, sample_rate: int, rng: np.random.Generator, max_db: float) -> Samples:
    """The window after a zero-phase filter with a smooth random gain of up to `max_db`, up or down.

    The gain is drawn at a few frequencies and interpolated between them. The frequencies are about evenly spaced in
    octaves, so that a rumble's 10-100 Hz change as much as a shot's 1 kHz.
    """
    points = int(rng.integers(FILTER_POINTS[0], FILTER_POINTS[1] + 1))
    top = np.log2(sample_rate / 2 / FILTER_MIN_HZ)
    octaves = np.linspace(0, top, points)
    octaves[1:-1] += rng.uniform(-0.25, 0.25, points - 2) * octaves[1]  # keeps a distance, so that the gain is smooth
    db = rng.uniform(-max_db, max_db, points)
    size = len(samples) + sample_rate // 2  # padding for the filter's response, so that it does not wrap around
    hertz = np.fft.rfftfreq(size, 1 / sample_rate)
    at = np.log2(np.maximum(hertz, FILTER_MIN_HZ) / FILTER_MIN_HZ)
    response = 10 ** (np.interp(at, octaves, db) / 20)
    filtered = np.fft.irfft(np.fft.rfft(samples, size) * response, size)[: len(samples)]
    return filtered.astype(np.float32)


# ---------------------------------------------------------------- one batch


def mixup(
    waveform: Tensor,
    targets: Tensor,
    rng: np.random.Generator,
    probability: float,
    alpha: float,
    classes: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Replaces windows, each with `probability`, by a weighted mean of themselves and another window of the batch.

    waveform (batch, samples), targets (batch, rows, steps); targets are mixed with the same weights. The weights come
    from Beta(alpha, alpha). A window's own weight is at least 0.5, so that it stays the main part. A step that is
    IGNORED or SOMEWHERE in one of the two targets is IGNORED in the result; PAUSE counts as an ordinary negative.

    Rows after the first `classes` are call overlap targets. Two windows of equal weight with a call at the same time
    give a call overlap. Its target is lower if the weights differ, because one call is then softer.
    """
    batch = len(waveform)
    mixed = rng.random(batch) < probability
    own = rng.beta(alpha, alpha, batch)
    own = np.where(mixed, np.maximum(own, 1 - own), 1.0)
    partner = torch.from_numpy(rng.permutation(batch)).to(waveform.device)
    weight = torch.from_numpy(own).to(waveform)[:, None]
    waveform = weight * waveform + (1 - weight) * waveform[partner]
    weight = weight[:, :, None].to(targets)
    other = targets[partner]
    ignored = ~(judged(targets) & judged(other)) & (weight < 1)
    first, second = targets.clamp_min(0), other.clamp_min(0)
    mean = weight * first + (1 - weight) * second
    if classes is not None and targets.shape[1] > classes:
        both = 2 * torch.minimum(weight, 1 - weight) * first[:, :classes] * second[:, :classes]
        mean = torch.cat((mean[:, :classes], torch.maximum(mean[:, classes:], both)), 1)
    return waveform, torch.where(ignored, IGNORED, torch.where(weight < 1, mean, targets))


def draw_masks(rng: np.random.Generator, batch: int, size: int, count: int, max_share: float) -> NDArray[np.bool_]:
    """(batch, size), True where masked: `count` masks in each row, each of up to `max_share` of the size."""
    masked = np.zeros((batch, size), bool)
    for row in masked:
        for _ in range(count):
            length = int(rng.integers(0, int(max_share * size) + 1))
            first = int(rng.integers(0, size - length + 1))
            row[first : first + length] = True
    return masked


def apply_masks(bands: Tensor, times: NDArray[np.bool_], rows: NDArray[np.bool_]) -> Tensor:
    """bands (batch, channels, n_mels, frames), with masked values replaced by the mean of their image and channel.

    times: (batch, frames); rows: (batch, n_mels).
    """
    masked = torch.from_numpy(times[:, None, None, :] | rows[:, None, :, None]).to(bands.device)
    return torch.where(masked, bands.mean((2, 3), keepdim=True), bands)
