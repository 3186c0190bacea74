"""The two-resolution front end in numpy and scipy: a long waveform becomes the images of its windows.

Detection and the windows of training use this one. loxo.network.frontend defines the same front end in PyTorch, for
export and for GPUs; tests hold the two together. Spectra need no window, only their normalisation does, so windows that
overlap share them, and frames near the border of a window see the sound beyond it instead of its mirror image.

Speed: levels are stored band by band, as the network reads them, so nothing is transposed. Decibels are computed once
for each long window, not for every frame that shares it. Transforms go through their filters in pieces that stay in
the CPU's cache, and each group of bands reads only the bins that its filters span. The allocator must keep freed memory
(loxo.machine.keep_freed_memory): otherwise the long transform takes four times as long.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from loxo.engine.filters import (
    FLOOR_BLOCK,
    PROMINENCE_CENTRE_DB,
    PROMINENCE_DB,
    PROMINENCE_UNIT_DB,
    SHAPE_CENTRE_DB,
    SHAPE_DB,
    SHAPE_UNIT_DB,
    SILENCE_RATIO,
    TINY_POWER,
    TwoResolution,
)
from loxo.engine.transform import rfft

PIECE_SAMPLES = 1 << 17  # of windows that are transformed at once: 512 kB
BANDS_AT_ONCE = 24  # bands that read the same bins
OUTPUTS_AT_ONCE = 32  # of the decimation, computed as a product with a banded matrix

Floats = NDArray[np.float32]


def is_supported(config: Any) -> bool:
    """Whether this front end computes the images of a model: its kind, and hops that fit the blocks of the floor."""
    return bool(
        config.frontend == "two-resolution"
        and config.step_samples * config.stride_steps % (config.hop_length * FLOOR_BLOCK) == 0
        and config.image_frames % FLOOR_BLOCK == 0
        and FLOOR_BLOCK % config.long_every == 0
    )


@dataclass(frozen=True)
class _Band:
    """Bands that read the same bins: the columns of a spectrum (real and imaginary parts alternate), and weights."""

    bands: slice
    columns: slice
    matrix: Floats  # (bands, columns)


class FrontEnd:
    """The front end of one config, its matrices computed once.

    Raises ValueError for a config that is_supported rejects.
    """

    def __init__(self, config: Any) -> None:
        if not is_supported(config):
            raise ValueError("the numpy front end does not support this config")
        self.config = config
        self.geometry = geometry = TwoResolution.of(config)
        self.floor_quantile = config.floor_quantile
        self._long = _banded(geometry.long_filters / np.float32(geometry.long_scale))
        self._short = _banded(geometry.short_filters / np.float32(geometry.short_scale))
        taps, factor = geometry.taps, geometry.factor
        self._decimation = np.zeros((OUTPUTS_AT_ONCE * factor + len(taps) - factor, OUTPUTS_AT_ONCE), np.float32)
        for k in range(OUTPUTS_AT_ONCE):
            self._decimation[k * factor : k * factor + len(taps), k] = taps
        self._stride = OUTPUTS_AT_ONCE * factor  # samples from one row of that product to the next

    def images(self, waveforms: Floats) -> Floats:
        """(windows, window_samples) -> (windows, 2, n_mels, image_frames): each window by itself, mirrored at its ends.

        Raises ValueError for windows of another length.
        """
        if waveforms.ndim != 2 or waveforms.shape[1] != self.config.window_samples:
            raise ValueError(f"windows have {self.config.window_samples} samples, not shape {waveforms.shape}")
        out = np.empty((len(waveforms), 2, self.config.n_mels, self.config.image_frames), np.float32)
        for image, waveform in zip(out, waveforms, strict=True):
            self.levels(waveform).image(0, image)
        return out

    def levels(self, waveform: Floats) -> Levels:
        """The band levels of a waveform (samples,) of one window or more."""
        geometry = self.geometry
        blocks = len(waveform) // (geometry.hop * FLOOR_BLOCK)
        frames, long_windows = blocks * FLOOR_BLOCK, blocks * FLOOR_BLOCK // geometry.every
        before, _ = geometry.long_context
        half = len(geometry.short_window) // 2
        mirrored = self._mirrored(waveform)
        long = _power(self._decimated(mirrored), geometry.long_window, self._long, long_windows, geometry.long_hop)
        short = _power(mirrored[before - half :], geometry.short_window, self._short, frames, geometry.hop)
        del mirrored
        means = np.concatenate((_block_means(long, blocks), _block_means(short, blocks)))
        loudness = means.mean(0)
        bels = np.empty((len(long) + len(short), frames), np.float32)
        repeated = bels[: len(long)].reshape(len(long), -1, geometry.every)
        low_bels = _bels(long)
        for k in range(geometry.every):  # one after the other: long strides are written faster than short rows
            repeated[:, :, k] = low_bels
        _bels(short, out=bels[len(long) :])
        return Levels(self, bels, loudness, _bels(means))

    def _mirrored(self, waveform: Floats) -> Floats:
        """The waveform with its own mirror image at both ends, as long windows need it, and zeros to a whole row."""
        before, after = self.geometry.long_context
        rows = -(-(before + len(waveform) + after) // self._stride) + 1  # the last row is read by the one before it
        out = np.empty(rows * self._stride, np.float32)
        stop = before + len(waveform)
        out[:before] = waveform[before:0:-1]
        out[before:stop] = waveform
        out[stop : stop + after] = waveform[-2 : -after - 2 : -1]
        out[stop + after :] = 0
        return out

    def _decimated(self, mirrored: Floats) -> Floats:
        """The waveform at the decimated rate, with its context, and a little more at the end.

        Each row of the product reads its own samples and the first samples of the next row. Two products of views
        need no copy of the overlapping rows.
        """
        rows, stride = mirrored.reshape(-1, self._stride), self._stride
        rest = len(self._decimation) - stride
        if rest > stride:
            raise ValueError(f"a low-pass filter of {len(self.geometry.taps)} taps is too long for the decimation")
        out = rows[:-1] @ self._decimation[:stride]
        out += rows[1:, :rest] @ self._decimation[stride:]
        return out.ravel()


class Levels:
    """Band levels of a waveform, from which the image of any of its windows is cut and normalised."""

    def __init__(self, frontend: FrontEnd, bels: Floats, loudness: Floats, blocks: Floats) -> None:
        self._frontend = frontend
        self._bels = bels  # (n_mels, frames) levels in units of 10 dB
        self._loudness = loudness  # (blocks,) mean power of all bands
        self._blocks = blocks  # (n_mels, blocks) levels of the mean power in each block

    def image(self, first_frame: int, out: Floats) -> None:
        """Writes the image of a window into out (2, n_mels, frames). It begins at a frame, a multiple of FLOOR_BLOCK.

        Channel 0 is the prominence of each band over its own floor, a low quantile of its level in the window.
        Channel 1 is the shape of the spectrum: the level relative to the mean floor of all bands. Neither depends on
        the gain.
        """
        frames = out.shape[2]
        level = self._bels[:, first_frame : first_frame + frames]
        floor = self._floor(first_frame // FLOOR_BLOCK, (first_frame + frames) // FLOOR_BLOCK)
        _scale(level, floor[:, None], PROMINENCE_DB, PROMINENCE_CENTRE_DB, PROMINENCE_UNIT_DB, out[0])
        _scale(level, floor.mean(dtype=np.float32), SHAPE_DB, SHAPE_CENTRE_DB, SHAPE_UNIT_DB, out[1])

    def images(self, first_frames: Sequence[int], out: Floats) -> None:
        """Writes the images of several windows into out (windows, 2, n_mels, frames); see image."""
        for image, first_frame in zip(out, first_frames, strict=True):
            self.image(first_frame, image)

    def _floor(self, first: int, end: int) -> Floats:
        """(n_mels,) the low quantile of the blocks that are not silent, in each band; 0 where all are silent."""
        loudness, level = self._loudness[first:end], self._blocks[:, first:end]
        sounding = loudness > np.float32(SILENCE_RATIO) * loudness.max() + np.float32(TINY_POWER)
        count = int(sounding.sum())
        if not count:
            return np.zeros(len(level), np.float32)
        if count < len(sounding):
            level = level[:, sounding]
        rank = int((count - 1) * self._frontend.floor_quantile)
        return np.partition(level, rank, axis=1)[:, rank]


def _bels(power: Floats, out: Floats | None = None) -> Floats:
    """The level in units of 10 dB: numpy computes a natural logarithm faster than log10."""
    out = np.add(power, np.float32(TINY_POWER), out=out)
    np.log(out, out=out)
    out *= np.float32(1 / math.log(10))
    return out


def _block_means(power: Floats, blocks: int) -> Floats:
    """(bands, frames) -> (bands, blocks). numpy's own mean is slow over so few values."""
    size = power.shape[1] // blocks
    total = power[:, ::size].copy()
    for k in range(1, size):
        total += power[:, k::size]
    total *= np.float32(1 / size)
    return total


def _scale(level: Floats, floor: Any, limits: tuple[float, float], centre: float, unit: float, out: Floats) -> None:
    """out = (level - floor within limits - centre) / unit. Level and floor are in units of 10 dB, the others in dB."""
    scale = 10 / unit
    offset = np.float32(scale) * floor + np.float32(centre / unit)
    if scale == 1:
        np.subtract(level, offset, out=out)
    else:
        np.multiply(level, np.float32(scale), out=out)
        out -= offset
    np.clip(out, np.float32((limits[0] - centre) / unit), np.float32((limits[1] - centre) / unit), out=out)


def _banded(filters: Floats) -> list[_Band]:
    """Filters (bins, bands) in groups that each read only the bins they need."""
    groups = []
    for first in range(0, filters.shape[1], BANDS_AT_ONCE):
        some = filters[:, first : first + BANDS_AT_ONCE]
        used = np.flatnonzero(some.sum(1))
        low, high = int(used[0]), int(used[-1]) + 1
        matrix = np.ascontiguousarray(np.repeat(some[low:high], 2, axis=0).T)
        groups.append(_Band(slice(first, first + some.shape[1]), slice(2 * low, 2 * high), matrix))
    return groups


def _power(waveform: Floats, window: Floats, filters: Sequence[_Band], frames: int, hop: int) -> Floats:
    """(bands, frames) mean power density in each band, of windows that begin at multiples of `hop`."""
    out = np.empty((filters[-1].bands.stop, frames), np.float32)
    windows = sliding_window_view(waveform, len(window))[::hop][:frames]
    size = max(PIECE_SAMPLES // len(window), 1)
    for first in range(0, frames, size):
        spectrum = rfft(windows[first : first + size] * window)
        parts = spectrum.view(np.float32)
        np.square(parts, out=parts)
        for group in filters:
            np.matmul(group.matrix, parts[:, group.columns].T, out=out[group.bands, first : first + len(parts)])
    return out
