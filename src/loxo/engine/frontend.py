"""The two-resolution front end over a long stretch of sound, on the processor: what it computes window by window for
training, with what overlapping windows share computed once, and laid out for the processor's cache.

The same numbers as TwoResolutionFrontEnd.image of its power, to float rounding. Three things make the difference:
levels are kept band by band, as the network wants them, so that nothing is transposed; decibels are taken of each
window of the long transform once, not of every frame that shares it; and transforms go through their filters in pieces
that stay in the cache, each band reading no more bins than its filters span.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from loxo.network.frontend import (
    FLOOR_BLOCK,
    PROMINENCE_DB,
    SHAPE_DB,
    SILENCE_RATIO,
    TINY_POWER,
    TwoResolutionFrontEnd,
)

PIECE_SAMPLES = 1 << 18  # of windows that are transformed at once: 1 MB
BANDS_AT_ONCE = 24  # that read the same bins
OUTPUTS_AT_ONCE = 32  # of the decimation, as a product with a banded matrix


def fits(frontend: object, config: Any) -> bool:
    """Whether windows that begin at whole strides can be had from levels."""
    return (
        isinstance(frontend, TwoResolutionFrontEnd)
        and config.step_samples * config.stride_steps % (frontend.hop * FLOOR_BLOCK) == 0
        and config.image_frames % FLOOR_BLOCK == 0
        and FLOOR_BLOCK % frontend.every == 0
    )


class Plan:
    """What does not depend on the sound: a front end's sizes and windows, and matrices made of its filters. It does not
    hold on to the front end."""

    def __init__(self, frontend: TwoResolutionFrontEnd) -> None:
        self.hop, self.every, self.factor = frontend.hop, frontend.every, frontend.factor
        self.long_hop, self.long_reach = frontend.long_hop, frontend.long_reach
        self.floor_quantile = frontend.floor_quantile
        self.long_window, self.short_window = frontend.long_window, frontend.short_window
        self.long = _banded(frontend.long_filters / (frontend.long_window.square().sum() / frontend.factor))
        self.short = _banded(frontend.short_filters / frontend.short_window.square().sum())
        taps, factor = frontend.taps, frontend.factor
        self.decimation = torch.zeros(OUTPUTS_AT_ONCE * factor + len(taps) - factor, OUTPUTS_AT_ONCE)
        for k in range(OUTPUTS_AT_ONCE):
            self.decimation[k * factor : k * factor + len(taps), k] = taps


class Levels:
    """Of waveforms (stretches, samples) float32 at the model's rate. The frames of each, `frames` of them, come after
    those of the one before."""

    def __init__(self, plan: Plan, waveforms: Tensor) -> None:
        blocks = waveforms.shape[1] // (plan.hop * FLOOR_BLOCK)
        self.frames, windows = blocks * FLOOR_BLOCK, blocks * FLOOR_BLOCK // plan.every
        with torch.autocast("cpu", enabled=False):
            long = _power(_decimated(plan, waveforms), plan.long_window, plan.long, windows, plan.long_hop)
            half = len(plan.short_window) // 2
            short = _power(_mirrored(waveforms, half, half), plan.short_window, plan.short, self.frames, plan.hop)
        low, blocks = len(long), blocks * len(waveforms)
        self.floor_quantile = plan.floor_quantile
        self.decibels = torch.empty(low + len(short), short.shape[1])  # (n_mels, frames of all stretches)
        low_decibels, repeated = _decibels(long), self.decibels[:low].view(low, -1, plan.every)
        for k in range(plan.every):  # one after the other: long strides are written faster than short rows
            repeated[:, :, k] = low_decibels
        self.decibels[low:] = _decibels(short)
        means = torch.cat((long.view(low, blocks, -1).mean(2), short.view(len(short), blocks, -1).mean(2)))
        self.loudness = means.mean(0).numpy()  # (blocks of all stretches,)
        self.blocks = _decibels(means).numpy()  # (n_mels, blocks of all stretches)

    def images(self, first_frames: Sequence[int], frames: int) -> Tensor:
        """(windows, 2, frames, n_mels), as TwoResolutionFrontEnd.image gives them, of the windows of so many frames
        that begin at these, multiples of FLOOR_BLOCK."""
        out = torch.empty(len(first_frames), 2, len(self.decibels), frames)
        for (prominence, shape), first in zip(out, first_frames, strict=True):
            level = self.decibels[:, first : first + frames]
            floor = self._floor(first // FLOOR_BLOCK, (first + frames) // FLOOR_BLOCK)
            _scaled(level, floor[:, None], PROMINENCE_DB, 5.0, 10.0, prominence)
            _scaled(level, floor.mean(), SHAPE_DB, 0.0, 20.0, shape)
        return out.transpose(2, 3)

    def _floor(self, first: int, end: int) -> Tensor:
        """(n_mels,) the low quantile of each band's blocks that are not silent; 0 where all are."""
        loudness, level = self.loudness[first:end], self.blocks[:, first:end]
        sounding = loudness > np.float32(SILENCE_RATIO) * loudness.max() + np.float32(TINY_POWER)
        count = int(sounding.sum())
        if not count:
            return torch.zeros(len(level))
        if count < len(sounding):
            level = level[:, sounding]
        rank = int((count - 1) * self.floor_quantile)
        return torch.from_numpy(np.partition(level, rank, axis=1)[:, rank].copy())


def _decibels(power: Tensor) -> Tensor:
    return (power + TINY_POWER).log10_().mul_(10.0)


def _scaled(level: Tensor, floor: Tensor, limits: tuple[float, float], middle: float, unit: float, out: Tensor) -> None:
    """out = (level - floor within limits - middle) / unit, in two passes."""
    torch.add(floor.add(middle).mul(-1 / unit), level, alpha=1 / unit, out=out)
    out.clamp_(*((limit - middle) / unit for limit in limits))


def _mirrored(waveforms: Tensor, before: int, after: int) -> Tensor:
    """Each with its own mirror image at either end."""
    return torch.cat((waveforms[:, 1 : before + 1].flip(1), waveforms, waveforms[:, -after - 1 : -1].flip(1)), 1)


def _decimated(plan: Plan, waveforms: Tensor) -> Tensor:
    """What TwoResolutionFrontEnd.long_spectra transforms, and a little more, of each."""
    before, after = plan.long_reach
    padded = _mirrored(waveforms, before, after)
    width, outputs = plan.decimation.shape
    stride = outputs * plan.factor
    rows = -(-(padded.shape[1] - width) // stride) + 1
    padded = torch.nn.functional.pad(padded, (0, (rows - 1) * stride + width - padded.shape[1]))
    return (padded.unfold(1, width, stride) @ plan.decimation).flatten(1)


def _banded(filters: Tensor) -> list[tuple[slice, slice, Tensor]]:
    """Filters (bins, bands) in groups: (bands, columns, matrix); a bin's real and imaginary part are columns each."""
    groups = []
    for first in range(0, filters.shape[1], BANDS_AT_ONCE):
        some = filters[:, first : first + BANDS_AT_ONCE]
        used = some.sum(1).nonzero().flatten()
        low, high = int(used[0]), int(used[-1]) + 1
        matrix = some[low:high].repeat_interleave(2, dim=0).T.contiguous()
        groups.append((slice(first, first + some.shape[1]), slice(2 * low, 2 * high), matrix))
    return groups


def _power(
    waveforms: Tensor, window: Tensor, filters: list[tuple[slice, slice, Tensor]], frames: int, hop: int
) -> Tensor:
    """(bands, stretches * frames) mean power density in each band, of windows that begin at multiples of `hop`."""
    stretches = len(waveforms)
    out = torch.empty(filters[-1][0].stop, stretches, frames)
    windows = waveforms.unfold(1, len(window), hop)[:, :frames]
    size = max(PIECE_SAMPLES // len(window), 1)
    together = max(size // max(frames, 1), 1)
    for stretch, first in itertools.product(range(0, stretches, together), range(0, frames, size)):
        piece = windows[stretch : stretch + together, first : first + size]
        parts = torch.view_as_real(torch.fft.rfft(piece * window)).flatten(2).flatten(0, 1)
        for bands, columns, matrix in filters:
            density = matrix @ parts[:, columns].square().T
            out[bands, stretch : stretch + together, first : first + size] = density.view(-1, *piece.shape[:2])
    return out.flatten(1)
