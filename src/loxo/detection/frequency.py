"""Frequency bounds of events, measured from the spectrogram.

An event of a class is looked at between the class's own bounds (`low_hz`, `high_hz` of its decoding), in a spectrogram
with Hann windows of about 8 periods of the lower bound (1 s for a rumble, 0.13 s for a shot), a quarter of a window
apart. For each frequency, averaged with its two neighbours:

    signal  mean power over the frames whose middle lies in the event
    floor   median power over the frames up to 10 s before and after it, as a mean of noise (median / ln 2)
    excess  10 log10(signal / floor), at most 30 dB, less what noise alone may reach, 10 log10(1 + 3 / sqrt(n)), n being
            the number of independent values in the signal's mean; nothing where it would be negative, or where what
            is above the floor is more than 25 dB below its greatest (the skirts of a close call's loudest line)

The bounds are the frequencies between which the excess lies, but for 3 % of its sum at either end. Summing decibels,
not power, counts every harmonic that can be seen; leaving out the ends keeps single bins of noise from being a bound.
Steady sounds are in the floor and do not count. Where nothing stands out, the class's bounds stay.

The recording is read again around the events only, in pieces that lie at multiples of PIECE_S, each at most once. What
comes out depends on the recording, the event and the model alone, not on workers, shards, batches or other events.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loxo.audio.recording import Recording, RecordingError, stream
from loxo.engine.config import Decoding

if TYPE_CHECKING:
    import pandas as pd

PIECE_S = 16  # the recording is read in pieces of this length
CONTEXT_S = 10  # on either side of an event, for the floor
GUARD_S = 0.5  # between the event and what counts as its surroundings
LONGEST_S = 60  # of an event; of a longer one its middle is looked at
PERIODS = 8  # of the lower bound in a window
WINDOWS = (128, 4096)  # samples, least and most
MOST_DB = 30.0
RANGE_DB = 25.0  # below an event's strongest frequency
NOISE = 3.0  # standard deviations by which a mean of noise may lie above its expectation
TRIM = 0.03  # of the summed excess, at either end
LEAST_POWER = 1e-14  # of a bin, full scale being 1: far below the noise of 16 bits

Samples = NDArray[np.float32]


def measure(found: pd.DataFrame, recording: Recording, config: Any, samples: int) -> tuple[pd.DataFrame, str | None]:
    """The events of decode() with `low_hz` and `high_hz` measured, and why that could not be done, if so.

    `samples`: how much of the recording, at the model's rate, was analysed; nothing after it is read.
    """
    if found.empty:
        return found, None
    pieces = _Pieces(recording, config.sample_rate, samples)
    low, high = found["low_hz"].tolist(), found["high_hz"].tolist()
    fault = None
    rows = zip(found["start_s"].tolist(), found["end_s"].tolist(), found["label"].tolist(), strict=True)
    for k, (start_s, end_s, label) in enumerate(rows):
        start, end = round(start_s * config.sample_rate), round(end_s * config.sample_rate)
        too_long = max(end - start - LONGEST_S * config.sample_rate, 0)
        start, end = start + too_long // 2, end - (too_long - too_long // 2)
        context = CONTEXT_S * config.sample_rate
        try:
            first = max(start - context, 0)
            around = pieces.read(first, min(end + context, samples))
        except RecordingError as error:
            fault = f"{recording.path}: the frequencies of some events could not be measured. {error}"
            continue
        decoding = config.decoding.get(label, Decoding())
        highest = 0.48 * min(recording.sample_rate, config.sample_rate)
        bounds = frequency_bounds(around, start - first, end - first, config.sample_rate, decoding, highest)
        if bounds is not None:
            low[k], high[k] = bounds
    return found.assign(low_hz=np.array(low, float), high_hz=np.array(high, float)), fault


def frequency_bounds(
    around: Samples, start: int, end: int, sample_rate: int, decoding: Decoding, highest_hz: float
) -> tuple[float, float] | None:
    """Lower and upper bound (Hz, to 0.1 Hz) of the event [start, end) of `around`, both in samples; None where
    nothing stands out. See the module's docstring for the formula; `highest_hz` is what the recording can hold."""
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
    floor = np.maximum(np.median(power[outside], axis=0) / math.log(2), LEAST_POWER)
    independent = 2 * (1 + (np.sum(inside) - 1) * hop / size)  # 2: of three neighbouring bins
    signal, floor = _with_neighbours(signal), _with_neighbours(floor)
    ratio = signal / floor
    excess = np.minimum(10 * np.log10(np.maximum(ratio, 1e-9)), MOST_DB) - 10 * np.log10(
        1 + NOISE / np.sqrt(independent)
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
    """A power of two."""
    wanted = PERIODS * sample_rate / max(low_hz, 0.1)
    return int(min(max(2 ** round(math.log2(wanted)), WINDOWS[0]), WINDOWS[1]))


def _spectrogram(samples: Samples, size: int, hop: int, bins: slice) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Power (frames, bins) and the middles of the frames (samples); what is shorter than a window is padded."""
    samples = np.pad(samples, (0, max(size - len(samples), 0)))
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[::hop]
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    spectrum = np.fft.rfft(frames * (window / window.sum()), axis=1)[:, bins]
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    return power, np.arange(len(frames), dtype=np.float64) * hop + size / 2


def _with_neighbours(values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """(bins,) -> (bins - 2,): each value's mean with the one before and the one after it."""
    exact = values.astype(np.float64)
    return (exact[:-2] + exact[1:-1] + exact[2:]) / 3


class _Pieces:
    """Stretches of a recording, put together from pieces on a fixed grid, so that a stretch always has the same
    samples. Only the pieces that the last stretch needed are held."""

    def __init__(self, recording: Recording, sample_rate: int, samples: int) -> None:
        self.recording, self.sample_rate, self.samples = recording, sample_rate, samples
        self.length = PIECE_S * sample_rate
        self.held: dict[int, Samples] = {}

    def read(self, start: int, stop: int) -> Samples:
        numbers = range(start // self.length, -(-stop // self.length))
        self.held = {k: self.held[k] if k in self.held else self._piece(k) for k in numbers}
        joined = np.concatenate([self.held[k] for k in numbers])
        return joined[start - numbers.start * self.length : stop - numbers.start * self.length]

    def _piece(self, number: int) -> Samples:
        start = number * self.length
        stop = min(start + self.length, self.samples)
        blocks = stream(self.recording, self.sample_rate, start=start, stop=stop)
        samples = list(blocks)
        if blocks.samples < stop - start:
            raise RecordingError(blocks.fault or f"{self.recording.path}: the recording ends before {stop} samples.")
        return np.concatenate(samples)
