"""Frequency bounds of events, measured from the spectrogram.

An event is measured between the bounds of its class (`low_hz`, `high_hz` of the class's decoding). The spectrogram has
Hann windows of about 8 periods of the lower bound (1 s for a rumble, 0.13 s for a gunshot). The hop is a quarter of a
window. For each frequency, averaged with its two neighbours:

    signal  mean power over the frames whose middle is in the event
    floor   median power over the frames up to 10 s before and after the event, converted to a mean of noise
            (median / ln 2)
    excess  10 log10(signal / floor), at most 30 dB, minus the excess that noise alone may reach,
            10 log10(1 + 3 / sqrt(n)), where n is the number of independent values in the mean of the signal. The excess
            is 0 where this is negative. It is also 0 where signal - floor is more than 25 dB below its maximum over the
            frequencies (the side lobes of the strongest line of a close call).

The bounds are the frequencies that enclose the excess, without 3 % of its sum at each end. The sum is over decibels,
not power, so that every visible harmonic counts. Without the ends, single bins of noise cannot become a bound. Steady
sounds are part of the floor and do not count. If no excess is left, the event keeps the bounds of its class.

The recording is read again, only around the events, in blocks on a fixed grid of BLOCK_S, each block at most once. The
result depends only on the recording, the event and the model, not on workers, shards, batches or other events.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loxo.audio.recording import Recording, RecordingError, stream
from loxo.engine.config import Decoding

BLOCK_S = 16  # the recording is read in blocks of this length
CONTEXT_S = 10  # on either side of an event, for the floor
GUARD_S = 0.5  # between the event and its context
MAX_EVENT_S = 60  # only the middle of a longer event is measured
PERIODS = 8  # of the lower bound in a window
WINDOW_LIMITS = (128, 4096)  # samples, min and max
MAX_EXCESS_DB = 30.0
RANGE_DB = 25.0  # below the strongest frequency of the event
NOISE_DEVIATIONS = 3.0  # standard deviations by which a mean of noise may exceed its expectation
TRIM = 0.03  # fraction of the summed excess that is left out at each end
MIN_POWER = 1e-14  # of a bin, relative to full scale 1: far below the noise of 16 bits

Samples = NDArray[np.float32]


def measure(
    found: Sequence[dict[str, Any]], recording: Recording, config: Any, samples: int, channel: int | None = None
) -> tuple[list[dict[str, Any]], str | None]:
    """The events of decode_rows() with measured `low_hz` and `high_hz`, and a sentence if some could not be measured.

    `samples` is the length of the analysed part of the recording, at the model's sample rate; only this part is read.
    `channel` counts from 0; None is the mean of all channels.
    Failure policy: an event whose samples cannot be read keeps the bounds of its class.
    """
    blocks = _Blocks(recording, config.sample_rate, samples, channel)
    measured, fault = [dict(event) for event in found], None
    for event in measured:
        start, end = (round(event[name] * config.sample_rate) for name in ("start_s", "end_s"))
        too_long = max(end - start - MAX_EVENT_S * config.sample_rate, 0)
        start, end = start + too_long // 2, end - (too_long - too_long // 2)
        context = CONTEXT_S * config.sample_rate
        try:
            first = max(start - context, 0)
            around = blocks.read(first, min(end + context, samples))
        except RecordingError as error:
            fault = f"{recording.path}: the frequencies of some events could not be measured. {error}"
            continue
        decoding = config.decoding.get(event["label"], Decoding())
        highest = 0.48 * min(recording.sample_rate, config.sample_rate)
        bounds = frequency_bounds(around, start - first, end - first, config.sample_rate, decoding, highest)
        if bounds is not None:
            event["low_hz"], event["high_hz"] = bounds
    return measured, fault


def frequency_bounds(
    around: Samples, start: int, end: int, sample_rate: int, decoding: Decoding, highest_hz: float
) -> tuple[float, float] | None:
    """Lower and upper bound (Hz, rounded to 0.1 Hz) of the event [start, end) in `around`, or None without an excess.

    `start` and `end` are samples of `around`. `highest_hz` is the highest frequency that the recording can contain. The
    module's docstring has the formula.
    """
    size = _window_length(decoding.low_hz, sample_rate)
    hop = size // 4
    width = sample_rate / size
    first = max(math.ceil(decoding.low_hz / width), 1)
    last = min(math.floor(min(decoding.high_hz, highest_hz) / width), size // 2 - 1)
    if last <= first:
        return None
    power, middles = _spectrogram(around, size, hop, slice(first - 1, last + 2))
    inside = (middles >= start) & (middles < end)
    if not inside.any():
        inside[np.argmin(np.abs(middles - (start + end) / 2))] = True
    guard = size // 2 + GUARD_S * sample_rate
    outside = (middles < start - guard) | (middles >= end + guard)
    if np.sum(outside) < 4:
        return None
    signal = power[inside].mean(0)
    floor = np.maximum(np.median(power[outside], axis=0) / math.log(2), MIN_POWER)
    independent = 2 * (1 + (np.sum(inside) - 1) * hop / size)  # 2: of three neighbouring bins
    signal, floor = _with_neighbours(signal), _with_neighbours(floor)
    ratio = signal / floor
    excess = np.minimum(10 * np.log10(np.maximum(ratio, 1e-9)), MAX_EXCESS_DB) - 10 * np.log10(
        1 + NOISE_DEVIATIONS / np.sqrt(independent)
    )
    net = signal - floor
    excess = np.where(net > net.max() * 10 ** (-RANGE_DB / 10), np.maximum(excess, 0), 0)
    total = excess.sum()
    if total <= 0:
        return None
    share = np.cumsum(excess) / total
    low = int(np.searchsorted(share, TRIM, side="right"))
    high = int(np.searchsorted(share, 1 - TRIM, side="left"))
    return round((first + low - 0.5) * width, 1), round((first + high + 0.5) * width, 1)


def _window_length(low_hz: float, sample_rate: int) -> int:
    """Samples in a window of about PERIODS periods of `low_hz`: a power of two within WINDOW_LIMITS."""
    wanted = PERIODS * sample_rate / max(low_hz, 0.1)
    return int(min(max(2 ** round(math.log2(wanted)), WINDOW_LIMITS[0]), WINDOW_LIMITS[1]))


def _spectrogram(samples: Samples, size: int, hop: int, bins: slice) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Power (frames, bins), and the middles of the frames in samples. Input shorter than a window is zero-padded."""
    samples = np.pad(samples, (0, max(size - len(samples), 0)))
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[::hop]
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    spectrum = np.fft.rfft(frames * (window / window.sum()), axis=1)[:, bins]
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    return power, np.arange(len(frames), dtype=np.float64) * hop + size / 2


def _with_neighbours(values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """(bins,) -> (bins - 2,): the mean of each value, the one before it and the one after it."""
    exact = values.astype(np.float64)
    return (exact[:-2] + exact[1:-1] + exact[2:]) / 3


class _Blocks:
    """Reads excerpts of a recording from blocks on a fixed grid, so that an excerpt always has the same samples, also
    where the recording is resampled. Keeps only the blocks of the last excerpt in memory."""

    def __init__(self, recording: Recording, sample_rate: int, samples: int, channel: int | None) -> None:
        self.recording, self.sample_rate, self.samples, self.channel = recording, sample_rate, samples, channel
        self.length = BLOCK_S * sample_rate
        self.held: dict[int, Samples] = {}

    def read(self, start: int, stop: int) -> Samples:
        numbers = range(start // self.length, -(-stop // self.length))
        self.held = {k: self.held[k] if k in self.held else self._block(k) for k in numbers}
        joined = np.concatenate([self.held[k] for k in numbers])
        return joined[start - numbers.start * self.length : stop - numbers.start * self.length]

    def _block(self, number: int) -> Samples:
        start = number * self.length
        stop = min(start + self.length, self.samples)
        stored = stream(self.recording, self.sample_rate, start=start, stop=stop, channel=self.channel)
        samples = list(stored)
        if stored.samples < stop - start:
            raise RecordingError(stored.fault or f"{self.recording.path}: the recording ends before {stop} samples.")
        return np.concatenate(samples)
