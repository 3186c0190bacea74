"""Spectrograms as bytes: the server computes levels, the browser applies contrast and colour map.

A picture is uint8 (rows, columns), the lowest frequency first. A level of LEVEL_DB[0] dB or less relative to the median
of its row is 0, a level of LEVEL_DB[1] or more is 255. Relative to the median, hum and the decrease towards high
frequencies do not hide a call. Column k is centred on `start_s + k * hop_s`; row k covers [k, k + 1) x row_hz.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loxo.audio.playback import Pieces, read_excerpt
from loxo.audio.recording import Recording, RecordingError

LEVEL_DB = (-10.0, 41.0)  # 0.2 dB per step
MAX_COLUMNS = 8000  # max number of columns of a picture, also of a long one
SAMPLE_S = 1.0  # seconds of sound in each column of an overview
FLOOR_STRIDE = 4  # the median is computed from every FLOOR_STRIDE-th column


@dataclass(frozen=True)
class Band:
    """A range of frequencies from 0 Hz, and its resolution."""

    high_hz: float  # inf: up to half the sample rate of the recording
    window_s: float
    rows: int  # max number of rows


BANDS = {"250": Band(250.0, 0.85, 320), "2000": Band(2000.0, 0.064, 256), "full": Band(np.inf, 0.064, 320)}


@dataclass(frozen=True)
class Picture:
    """Levels (rows, columns), with their time and frequency scales."""

    levels: NDArray[np.uint8]
    start_s: float
    hop_s: float
    row_hz: float


def picture(
    recording: Recording | Pieces, band: Band, start_s: float, end_s: float, hop_s: float, channel: int | None = None
) -> Picture:
    """The spectrogram from start_s to end_s (clipped to the recording), one column per hop_s, or fewer if it is long.

    Raises RecordingError when no sample of it can be read.
    """
    nyquist = recording.sample_rate / 2
    high = min(band.high_hz, nyquist)
    # A narrow band needs a lower sample rate only, which makes decoding and transforming fast.
    rate = min(int(2.4 * high), recording.sample_rate)
    hop = max(round(max(hop_s, (end_s - start_s) / MAX_COLUMNS) * rate), 1)
    window = max(round(band.window_s * rate), 16)
    start, half = max(start_s, 0.0), window / 2 / rate
    before = max(start - half, 0.0)
    samples = read_excerpt(recording, rate, before, min(end_s, recording.duration_s) + half, channel)
    first = round((start - before) * rate)
    columns = max((len(samples) - first) // hop, 1)
    padded = np.pad(samples, (window // 2 - first if first < window // 2 else 0, window))
    power = _powers(padded, window, hop, columns, rows=band.rows, high=high, rate=rate)
    return Picture(_levels(power, FLOOR_STRIDE), start, hop / rate, high / power.shape[0])


def overview(
    recording: Recording | Pieces, band: Band, start_s: float, end_s: float, columns: int, channel: int | None = None
) -> Picture:
    """The spectrogram of a long stretch, of which SAMPLE_S is read in the middle of each column. Sound that cannot be
    read gives a column of silence.

    Raises RecordingError when no sample of it can be read.
    """
    high = min(band.high_hz, recording.sample_rate / 2)
    rate = min(int(2.4 * high), recording.sample_rate)
    window = max(round(min(band.window_s, SAMPLE_S) * rate), 16)
    width = (end_s - start_s) / columns
    power: list[NDArray[np.float32] | None] = []
    fault: RecordingError | None = None
    for column in range(columns):
        at = min(start_s + (column + 0.5) * width, recording.duration_s - SAMPLE_S)
        try:
            samples = read_excerpt(recording, rate, max(at - SAMPLE_S / 2, 0), at + SAMPLE_S / 2, channel)
            frames = max(len(samples) // window, 1)
            padded = np.pad(samples, (0, max(window - len(samples), 0)))
            power.append(_powers(padded, window, window, frames, rows=band.rows, high=high, rate=rate).max(axis=1))
        except RecordingError as error:
            fault, power = error, [*power, None]
    known = [values for values in power if values is not None]
    if not known:
        assert fault is not None
        raise fault
    quiet = np.minimum.reduce(known)
    stacked = np.stack([quiet if values is None else values for values in power], axis=1)
    return Picture(_levels(stacked, 1), start_s + width / 2, width, high / stacked.shape[0])


def _levels(power: NDArray[np.float32], stride: int) -> NDArray[np.uint8]:
    """Levels relative to the median of each row, which is computed from every stride-th column. Columns of digital
    silence do not count: there is no sound between clips."""
    level = 10 * np.log10(power + 1e-20)
    known = level[:, ::stride]
    sounding = known[:, power[:, ::stride].any(axis=0)]
    level -= np.median(sounding if sounding.size else known, axis=1, keepdims=True)
    scaled = (level - LEVEL_DB[0]) * (255 / (LEVEL_DB[1] - LEVEL_DB[0]))
    return np.clip(scaled, 0, 255).astype(np.uint8)


def _powers(
    samples: NDArray[np.float32], window: int, hop: int, columns: int, *, rows: int, high: float, rate: int
) -> NDArray[np.float32]:
    """(rows, columns): power up to `high` Hz."""
    length = 1 << (window - 1).bit_length()  # zero-padded for smooth rows
    frames = np.lib.stride_tricks.sliding_window_view(samples, window)[: columns * hop : hop]
    taper = np.hanning(window + 2)[1:-1].astype(np.float32)
    bins = min(round(high / rate * length), length // 2 + 1)
    power = np.empty((bins, len(frames)), np.float32)
    for begin in range(0, len(frames), 256):  # bounded memory
        spectrum = np.fft.rfft(frames[begin : begin + 256] * taper, length, axis=1)[:, :bins]
        power[:, begin : begin + 256] = (spectrum.real**2 + spectrum.imag**2).T
    if bins <= rows:
        return power
    edges = np.linspace(0, bins, rows + 1).round().astype(int)[:-1]
    return np.maximum.reduceat(power, edges, axis=0)  # the max, so that a thin line stays visible


def thumbnail(picture: Picture, columns: int, rows: int) -> NDArray[np.uint8]:
    """(rows, columns): a smaller picture, with the max level in each cell. It is never larger than the picture."""
    levels = picture.levels
    for axis, size in ((0, rows), (1, columns)):
        if levels.shape[axis] > size:
            edges = np.linspace(0, levels.shape[axis], size + 1).round().astype(int)[:-1]
            levels = np.maximum.reduceat(levels, edges, axis=axis)
    return levels
