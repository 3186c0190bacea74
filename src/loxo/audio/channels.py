"""The channels of a recording that are searched, and a comparison of the channels.

A search reads the mean of all channels ("mix", the default), one channel (a number from 1), or each channel ("each").
One broken channel can spoil the mean: noise at full scale, pulses of a clock, hum. With opposite polarity, sounds in
the mean cancel. `ChannelCheck` notices both in the samples that the search reads anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loxo.errors import LoxoError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Counts = NDArray[np.int64]

MIX, EACH = "mix", "each"
Channel = int | str  # MIX, EACH, or a number from 1

DIFFERENCE_DB = 12.0  # channels whose levels differ by more are reported
CORRELATION = 0.7  # two channels have the same sound, or the same with opposite polarity, in a second beyond this
LOW_RATE = 500  # Hz; the channels are also compared below half of this, where rumbles are
MIN_DIFFERING, MIN_OPPOSITE = 0.1, 0.05  # fractions of the chunks and of the seconds of a recording
EVERY = 4  # one second in so many is compared, to save time
SILENCE = 1e-9  # added to levels, so that silent channels can be compared

CHUNKS, DIFFERING, MAX_DB, SECONDS, OPPOSITE, SAME, LOUDEST = range(7)  # from LOUDEST on: one count for each channel


def parse_channel(value: Channel) -> Channel:
    """MIX, EACH or a number from 1. Raises LoxoError for anything else."""
    text = str(value).strip().lower()
    if text in (MIX, EACH):
        return text
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise LoxoError(f"The channel must be {MIX}, {EACH}, or a number from 1, not {value!r}.")


def searched_channels(path: Path | str, count: int, channel: Channel) -> list[int | None]:
    """The indices from 0 of the channels to read from a recording with `count` channels; None is the mean of all.

    Raises LoxoError if the recording has no such channel.
    """
    if channel == MIX:
        return [None]
    if channel == EACH:
        return list(range(count))
    number = int(channel)
    if number > count:
        has = "one channel" if count == 1 else f"{count} channels"
        raise LoxoError(
            f"{path}: there is no channel {number}: the recording has {has}. Use --channel {MIX} or {EACH}."
        )
    return [number - 1]


def channel_rows(rows: Sequence[str], count: int) -> tuple[str, ...]:
    """The names of the score rows of `count` channels; those of a single channel have no prefix."""
    if count == 1:
        return tuple(rows)
    return tuple(f"channel {number}: {row}" for number in range(1, count + 1) for row in rows)


def channel_prefix(rows: Sequence[str], channel: int | None) -> str:
    """The prefix of a channel (from 0) in the names of channel_rows; "" if they have none."""
    prefix = f"channel {(channel or 0) + 1}: "
    return prefix if any(row.startswith(prefix) for row in rows) else ""


class ChannelCheck:
    """Compares the channels of one chunk of a recording. Integer counts: their sums do not depend on the order."""

    def __init__(self, channels: int, sample_rate: int) -> None:
        import numpy as np

        self.channels, self.sample_rate = channels, sample_rate
        self._levels = np.zeros((3, channels))  # sums over seconds: power, power of low frequencies, peak
        self._seconds = self._opposite = self._same = 0

    def add(self, frames: NDArray[np.float32]) -> None:
        """Adds (frames, channels): one second in EVERY, and the whole of a block shorter than a second."""
        import numpy as np

        second = min(self.sample_rate, len(frames))
        factor = max(self.sample_rate // LOW_RATE, 1)
        if second < 8 * factor:  # too short for a comparison
            return
        count = len(frames) // second
        seconds = frames[: count * second].reshape(count, second, self.channels)[::EVERY]
        samples = np.ascontiguousarray(seconds.transpose(2, 0, 1))  # (channels, seconds, samples)
        samples -= samples.mean(axis=2, keepdims=True)
        size = second // factor
        low = samples[..., : size * factor].reshape(*samples.shape[:2], size, factor).mean(axis=3)
        correlations = []
        for row, signal in enumerate((samples, low)):
            power = np.einsum("cst,cst->cs", signal, signal).astype(np.float64) / signal.shape[2]
            shared = np.einsum("cst,st->cs", signal[1:], signal[0]).astype(np.float64) / signal.shape[2]
            correlations.append(shared / np.sqrt(power[1:] * power[0] + SILENCE**2))
            self._levels[row] += power.sum(axis=1)
        peaks = np.maximum(samples.max(axis=2), -samples.min(axis=2)).astype(np.float64)
        self._levels[2] += (peaks**2).sum(axis=1)
        both = np.concatenate(correlations)  # (2 x other channels, seconds)
        opposite, same = (both < -CORRELATION).any(axis=0), (both > CORRELATION).any(axis=0)
        self._seconds += both.shape[1]
        self._opposite += int(opposite.sum())
        self._same += int((same & ~opposite).sum())

    @property
    def counts(self) -> Counts:
        """The result of the chunk."""
        import numpy as np

        counts = np.zeros(LOUDEST + self.channels, np.int64)
        levels = self._levels / max(self._seconds, 1) + SILENCE**2
        differences = 10 * np.log10(levels.max(axis=1) / levels.min(axis=1))
        largest = int(differences.argmax())
        counts[CHUNKS] = 1
        counts[[SECONDS, OPPOSITE, SAME]] = self._seconds, self._opposite, self._same
        if differences[largest] > DIFFERENCE_DB:
            counts[DIFFERING], counts[MAX_DB] = 1, round(float(differences[largest]))
            counts[LOUDEST + int(levels[largest].argmax())] = 1
        return counts


def add_counts(one: Counts, other: Counts) -> Counts:
    """The counts of two sets of chunks together."""
    if not len(one) or not len(other):
        return one if len(one) else other
    total = one + other
    total[MAX_DB] = max(one[MAX_DB], other[MAX_DB])
    return total


def channel_note(path: Any, counts: Counts) -> str | None:
    """One sentence or two if the channels of a recording differ so much that their mean can hide events."""
    if not len(counts):
        return None
    advice = f"The mean of the channels was searched, which can hide events. Try --channel {EACH} or one channel."
    if counts[OPPOSITE] > 4 * counts[SAME] and counts[OPPOSITE] >= MIN_OPPOSITE * counts[SECONDS]:
        return f"{path}: channels have opposite polarity, so the same sound in them cancels. {advice}"
    if counts[DIFFERING] and counts[DIFFERING] >= MIN_DIFFERING * counts[CHUNKS]:
        loudest = int(counts[LOUDEST:].argmax()) + 1
        level = f"by up to {counts[MAX_DB]} dB" if counts[MAX_DB] <= 100 else "by more than 100 dB"
        return f"{path}: the levels of the channels differ {level}; channel {loudest} is the loudest. {advice}"
    return None
