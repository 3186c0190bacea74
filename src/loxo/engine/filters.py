"""Filter banks and geometry of the front ends, in numpy.

The numpy front end (loxo.engine.frontend) and the PyTorch one (loxo.network.frontend) both read them here, so that
neither can drift from the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loxo.errors import LoxoError

HERTZ_PER_LINEAR_MEL = 200.0 / 3  # Slaney's Auditory Toolbox: linear to 1 kHz, then 27 steps for a factor of 6.4
MEL_OF_1_KHZ = 1000.0 / HERTZ_PER_LINEAR_MEL
LOG_STEP = math.log(6.4) / 27.0

# Normalisation of the two-resolution front end. Both front ends use these constants.
SILENCE_RATIO = 1e-10  # a block 100 dB below the loudest block of its window is padding, not sound
TINY_POWER = 1e-20  # added before a logarithm
FLOOR_BLOCK = 8  # frames averaged before the quantile: less variance, an eighth of the sorting
PROMINENCE_DB, PROMINENCE_CENTRE_DB, PROMINENCE_UNIT_DB = (-10.0, 40.0), 5.0, 10.0
SHAPE_DB, SHAPE_CENTRE_DB, SHAPE_UNIT_DB = (-50.0, 50.0), 0.0, 20.0

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


def hertz_to_mel(hertz: Doubles) -> Doubles:
    """Slaney's mel scale."""
    logarithmic = MEL_OF_1_KHZ + np.log(np.maximum(hertz, 1000.0) / 1000.0) / LOG_STEP
    return np.where(hertz < 1000.0, hertz / HERTZ_PER_LINEAR_MEL, logarithmic)


def mel_to_hertz(mel: Doubles) -> Doubles:
    """The inverse of hertz_to_mel."""
    logarithmic = 1000.0 * np.exp((mel - MEL_OF_1_KHZ) * LOG_STEP)
    return np.where(mel < MEL_OF_1_KHZ, mel * HERTZ_PER_LINEAR_MEL, logarithmic)


def htk_mel_edges(bands: int, low: float, high: float) -> Doubles:
    """bands + 2 frequencies that are equally far apart on the mel scale of HTK, 2595 log10(1 + f / 700)."""
    first, last = (2595.0 * math.log10(1.0 + hertz / 700.0) for hertz in (low, high))
    return np.asarray(700.0 * (10.0 ** (np.linspace(first, last, bands + 2) / 2595.0) - 1.0))


def triangles(edges: Doubles, frequencies: Doubles) -> Doubles:
    """(bins, bands) triangular filters of height 1; band k rises from edges[k], peaks at [k + 1], ends at [k + 2]."""
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (frequencies[:, None] - left) / (centre - left)
    falling = (right - frequencies[:, None]) / (right - centre)
    return np.maximum(0.0, np.minimum(rising, falling))


def mel_filters(sample_rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float) -> Floats:
    """(n_fft / 2 + 1, n_mels) Slaney mel filters of unit area (Slaney 1998), as the official HTS-AT weights expect."""
    mels = np.linspace(hertz_to_mel(np.array(fmin)), hertz_to_mel(np.array(fmax)), n_mels + 2)
    edges = mel_to_hertz(mels)
    frequencies = np.linspace(0.0, sample_rate / 2, n_fft // 2 + 1)
    return (triangles(edges, frequencies) * (2.0 / (edges[2:] - edges[:-2]))).astype(np.float32)


def htk_mel_filters(sample_rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float) -> Floats:
    """(n_fft / 2 + 1, n_mels) HTK mel filters of height 1, as the fusion towers of CLAP expect (torchaudio's default).

    Without the division by the area, a band is 15 dB (low) to 28 dB (high) louder than that of `mel_filters`.
    """
    frequencies = np.linspace(0.0, sample_rate / 2, n_fft // 2 + 1)
    return triangles(htk_mel_edges(n_mels, fmin, fmax), frequencies).astype(np.float32)


def warped_edges(bands: int, low: float, high: float, first_step: float, even: float) -> Doubles:
    """bands + 2 frequencies from `low`: steps of `first_step` Hz for the fraction `even` of the bands, then growing.

    The growth is chosen so that the centre of the last filter is `high`.
    """
    flat = round(bands * even)
    growing = bands - flat
    rest = high - low - first_step * (flat - 1)
    slope = 2 * (rest / growing - first_step) / (growing + 1)
    steps = np.concatenate((np.full(flat, first_step), first_step + slope * np.arange(1, growing + 2)))
    return np.concatenate(([low - first_step], low - first_step + np.cumsum(steps)))


def band_filters(edges: Doubles, sample_rate: float, n_fft: int) -> Floats:
    """(n_fft / 2 + 1, bands) triangles whose weights sum to 1: a band is the mean power density inside it."""
    weights = triangles(edges, np.linspace(0.0, sample_rate / 2, n_fft // 2 + 1))
    return (weights / weights.sum(0)).astype(np.float32)


def lowpass(factor: int, taps_per_phase: int = 12, beta: float = 8.0) -> Floats:
    """Kaiser-windowed sinc. It passes a band up to a quarter of the decimated rate and folds nothing into it."""
    half = taps_per_phase * factor // 2
    positions = np.arange(-half, half + 1)
    taps = np.sinc(positions / factor) * np.kaiser(2 * half + 1, beta)
    return (taps / taps.sum()).astype(np.float32)


def hann(length: int) -> Floats:
    """A periodic Hann window."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)).astype(np.float32)


def decimation(config: Any) -> int:
    """Factor between the sample rate and that of the long window: four samples or more for a period of split_hz."""
    return max(1, int(config.sample_rate // (4 * config.split_hz)))


def low_edges(config: Any) -> Doubles:
    """Frequencies of the bands of the long window."""
    return warped_edges(config.low_bands, config.fmin, config.split_hz, first_step=2.0, even=0.4)


def short_edges(config: Any) -> Doubles:
    """Frequencies of the bands of the short window."""
    return warped_edges(config.n_mels - config.low_bands, config.short_fmin, config.fmax, first_step=20.0, even=0.4)


@dataclass(frozen=True)
class TwoResolution:
    """Windows, filters and hops of the two-resolution front end of one config.

    The first `low_bands` bands cover fmin to split_hz with a window of n_fft samples (1.02 s in the default: 1 Hz bins,
    bands 2 Hz apart that widen to 4 Hz). That window is applied after decimation, where the same resolution costs a
    quarter. `every` frames share one such window and its centre. The other bands cover short_fmin to fmax with a window
    of short_n_fft samples (64 ms).
    """

    hop: int  # samples from one frame to the next
    every: int  # frames that share one long window
    factor: int  # of the decimation
    long_window: Floats  # at the decimated rate
    short_window: Floats
    long_filters: Floats  # (bins, low_bands)
    short_filters: Floats  # (bins, n_mels - low_bands)
    taps: Floats  # of the low-pass filter before the decimation

    @classmethod
    def of(cls, config: Any) -> TwoResolution:
        """The front end of a ModelConfig whose `frontend` is "two-resolution"."""
        factor = decimation(config)
        low_rate, length = config.sample_rate / factor, config.n_fft // factor
        return cls(
            hop=config.hop_length,
            every=config.long_every,
            factor=factor,
            long_window=hann(length),
            short_window=hann(config.short_n_fft),
            long_filters=band_filters(low_edges(config), low_rate, length),
            short_filters=band_filters(short_edges(config), config.sample_rate, config.short_n_fft),
            taps=lowpass(factor),
        )

    @property
    def long_hop(self) -> int:
        """From one long window to the next, in samples of the decimated rate."""
        return self.every * self.hop // self.factor

    @property
    def long_context(self) -> tuple[int, int]:
        """Samples before and after a waveform that the decimation and the long window need."""
        half = self.factor * (len(self.long_window) // 2) + len(self.taps) // 2
        middle = (self.every - 1) * self.hop // 2  # of the frames that share a window, from the centre of the first
        return half - middle, half + middle

    @property
    def long_scale(self) -> float:
        """What a long window's power is divided by, so that white noise has the same level in both resolutions."""
        return float(np.square(self.long_window).sum()) / self.factor

    @property
    def short_scale(self) -> float:
        return float(np.square(self.short_window).sum())


def check_two_resolution(config: Any) -> None:
    """Raises LoxoError, with the name of a field, if the two-resolution front end cannot compute bands of a config."""
    half_rate = config.sample_rate / 2
    if not 1 <= config.low_bands < config.n_mels:
        raise LoxoError(f"low_bands ({config.low_bands}) must be at least 1 and less than n_mels ({config.n_mels}).")
    for name in ("fmax", "split_hz"):
        if getattr(config, name) > half_rate:
            raise LoxoError(
                f"{name} ({getattr(config, name):g} Hz) is above half the sample rate ({half_rate:g} Hz). Lower "
                f"{name}, or raise sample_rate."
            )
    long_hop = config.long_every * config.hop_length
    if long_hop > config.n_fft:
        raise LoxoError(
            f"long_every ({config.long_every}) x hop_length ({config.hop_length}) is longer than n_fft ({config.n_fft} "
            "samples), so low sounds between two long windows would be lost: use a smaller long_every."
        )
    if config.image_frames % FLOOR_BLOCK:
        raise LoxoError(
            f"image_frames ({config.image_frames}) must be a multiple of {FLOOR_BLOCK}: the noise floor is measured in "
            f"blocks of {FLOOR_BLOCK} frames. Change it with window_samples or hop_length."
        )
    factor = decimation(config)
    if long_hop % factor:
        raise LoxoError(
            f"hop_length ({config.hop_length}) x long_every ({config.long_every}) must be a multiple of {factor}, the "
            "decimation that split_hz gives the long window. Change one of the three."
        )
    edges = low_edges(config), short_edges(config)
    names = ("low_bands", "fmin", "split_hz"), ("n_mels - low_bands", "short_fmin", "fmax")
    for frequencies, (bands, low, high) in zip(edges, names, strict=True):
        if not (np.diff(frequencies) > 0).all():
            raise LoxoError(
                f"{len(frequencies) - 2} bands ({bands}) do not fit between {low} and {high}: the narrowest are "
                f"{frequencies[1] - frequencies[0]:g} Hz apart. Use fewer bands or a wider range."
            )
    with np.errstate(invalid="ignore", divide="ignore"):
        geometry = TwoResolution.of(config)
    filters = geometry.long_filters, geometry.short_filters
    for weights, name, (bands, _, _) in zip(filters, ("n_fft", "short_n_fft"), names, strict=True):
        width = config.sample_rate / getattr(config, name)
        empty = int(np.isnan(weights).any(0).sum())
        if empty:
            raise LoxoError(
                f"{name} ({getattr(config, name)} samples) is too short: its bins are {width:.3g} Hz apart, and "
                f"{empty} of {weights.shape[1]} bands contain none. Use a larger {name} or fewer bands ({bands})."
            )
    if max(geometry.long_context) >= config.window_samples:
        raise LoxoError(
            f"n_fft ({config.n_fft} samples) is too long for a window of {config.window_samples} samples. Use a "
            "smaller n_fft or a larger window_samples."
        )
