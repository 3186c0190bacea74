"""Changes to training windows that leave what is heard the same, each a pure function of its input and a generator.

On one window, in the loader's processes, NumPy: gain, shift, background, filter. On a batch, in the training process,
Torch: mixup on waveforms, masks on bands. The generators come from `generator(seed, purpose, number)`, so that a window
or a step is changed in the same way whether or not the run was interrupted before it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from loxo.training.targets import IGNORED

Samples = NDArray[np.float32]  # (samples,)
Targets = NDArray[np.float32]  # (rows, steps): 0 to 1, or IGNORED

PURPOSES = {"source": 101, "augment": 102, "batch": 103}  # unlike the numbers that recorded.py draws again by
FILTER_POINTS = (3, 7)  # corners of the random filter over the spectrum, fewest and most
LOWEST_HZ = 8.0  # below, the filter is level


def generator(seed: int, purpose: str, number: int) -> np.random.Generator:
    """The generator of one window (`number` is the window's) or one batch (its number), apart for each purpose."""
    return np.random.default_rng((seed, number, PURPOSES[purpose]))


# ---------------------------------------------------------------- one window


def gain(samples: Samples, rng: np.random.Generator, most_db: float) -> Samples:
    """Louder or softer by up to `most_db`."""
    return samples * np.float32(10 ** (rng.uniform(-most_db, most_db) / 20))


def shift(samples: Samples, targets: Targets, rng: np.random.Generator, most: float) -> tuple[Samples, Targets]:
    """Rolled in time by whole steps, up to `most` of the window either way: what leaves at one end comes in again.

    An event over the seam becomes two, each like one that a window's border cuts.
    """
    steps = targets.shape[1]
    by = int(rng.integers(-round(most * steps), round(most * steps) + 1))
    return np.roll(samples, by * (len(samples) // steps)), np.roll(targets, by, axis=1)


def mix_background(
    samples: Samples, background: Samples, rng: np.random.Generator, snr_db: tuple[float, float]
) -> Samples:
    """`background` (as long) added so that the window as it was lies `snr_db` over it, drawn between the two limits.

    A silent window or background changes nothing: there is no ratio to hold.
    """
    own, other = (float(np.mean(np.square(part, dtype=np.float64))) for part in (samples, background))
    ratio = 10 ** (rng.uniform(*snr_db) / 10)
    if own <= 0 or other <= 0:
        return samples
    return samples + background * np.float32(np.sqrt(own / (ratio * other)))


def random_filter(samples: Samples, sample_rate: int, rng: np.random.Generator, most_db: float) -> Samples:
    """Through a filter without phase whose gain, up to `most_db` either way, runs smoothly between a few frequencies.

    The frequencies lie about evenly over octaves, so that a rumble's 10-100 Hz are coloured as much as a shot's 1 kHz.
    """
    points = int(rng.integers(FILTER_POINTS[0], FILTER_POINTS[1] + 1))
    top = np.log2(sample_rate / 2 / LOWEST_HZ)
    octaves = np.linspace(0, top, points)
    octaves[1:-1] += rng.uniform(-0.25, 0.25, points - 2) * octaves[1]  # never so close that there is a step
    db = rng.uniform(-most_db, most_db, points)
    size = len(samples) + sample_rate // 2  # room for what the filter spreads, so that the ends do not meet
    hertz = np.fft.rfftfreq(size, 1 / sample_rate)
    at = np.log2(np.maximum(hertz, LOWEST_HZ) / LOWEST_HZ)
    response = 10 ** (np.interp(at, octaves, db) / 20)
    filtered = np.fft.irfft(np.fft.rfft(samples, size) * response, size)[: len(samples)]
    return filtered.astype(np.float32)


# ---------------------------------------------------------------- one batch


def mixup(
    waveform: Tensor, targets: Tensor, rng: np.random.Generator, chance: float, alpha: float, classes: int | None = None
) -> tuple[Tensor, Tensor]:
    """Each window, by `chance`, becomes a weighted mean of itself and another of the batch; its targets likewise.

    waveform (batch, samples), targets (batch, rows, steps). The weights are drawn from Beta(alpha, alpha); a
    window's own is at least a half, so that it is still this window. What either target says to ignore is ignored;
    a pause is a negative like others. Rows after the first `classes` tell where two events of a class sound at once:
    as those of two windows that are equally loud do, and the less the softer the other one is.
    """
    batch = len(waveform)
    mixed = rng.random(batch) < chance
    own = rng.beta(alpha, alpha, batch)
    own = np.where(mixed, np.maximum(own, 1 - own), 1.0)
    partner = torch.from_numpy(rng.permutation(batch)).to(waveform.device)
    share = torch.from_numpy(own).to(waveform)[:, None]
    waveform = share * waveform + (1 - share) * waveform[partner]
    share = share[:, :, None].to(targets)
    other = targets[partner]
    unsure = (targets == IGNORED) | ((other == IGNORED) & (share < 1))
    first, second = targets.clamp_min(0), other.clamp_min(0)
    mean = share * first + (1 - share) * second
    if classes is not None and targets.shape[1] > classes:
        both = 2 * torch.minimum(share, 1 - share) * first[:, :classes] * second[:, :classes]
        mean = torch.cat((mean[:, :classes], torch.maximum(mean[:, classes:], both)), 1)
    return waveform, torch.where(unsure, IGNORED, torch.where(share < 1, mean, targets))


def draw_masks(rng: np.random.Generator, batch: int, size: int, count: int, longest: float) -> NDArray[np.bool_]:
    """(batch, size), True where something is hidden: `count` stretches a row, each up to `longest` of the size."""
    hidden = np.zeros((batch, size), bool)
    for row in hidden:
        for _ in range(count):
            length = int(rng.integers(0, int(longest * size) + 1))
            first = int(rng.integers(0, size - length + 1))
            row[first : first + length] = True
    return hidden


def hide(bands: Tensor, times: NDArray[np.bool_], rows: NDArray[np.bool_]) -> Tensor:
    """bands (batch, channels, n_mels, frames) with the mean of its image and channel in place of what is hidden.

    times: (batch, frames); rows: (batch, n_mels).
    """
    hidden = torch.from_numpy(times[:, None, None, :] | rows[:, None, :, None]).to(bands.device)
    return torch.where(hidden, bands.mean((2, 3), keepdim=True), bands)
