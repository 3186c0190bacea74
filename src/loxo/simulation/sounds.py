"""What every synthetic sound is made of: shaped noise, slow random curves, harmonic lines, envelopes, echoes.

Layout: `Call` (one sound and what is true about it), then the building blocks. Everything is drawn from the numpy
Generator that is passed in, so one seed gives one sound. Nothing here raises; levels are relative, since a scene
scales each call to the signal-to-noise ratio it wants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
Values = NDArray[np.float64]

TABLE = 16384  # entries in one period of a wavetable: truncation noise near -75 dB, far under any recorder's own noise


@dataclass
class Call:
    """One synthetic sound. `core` is the audible part, in samples: it becomes the event's span."""

    samples: Samples
    label: str | None  # "rumble", "gunshot"; None for everything a detector must not report
    kind: str  # what was synthesised: "rumble", "burst", "wind", ...
    low_hz: float
    high_hz: float
    core: tuple[int, int]  # first, one past the last
    line_hz: float = 0.0  # median frequency of the strongest lowest line, 0 where there is none


def fast_length(n: int) -> int:
    """The smallest length >= n whose only factors are 2, 3 and 5, where an FFT is quick."""
    best = 1 << max(n - 1, 1).bit_length()
    for fives in (1, 5, 25):
        for threes in (1, 3, 9, 27):
            size = fives * threes
            while size < n:
                size *= 2
            best = min(best, size)
    return best


def white(rng: np.random.Generator, n: int) -> Samples:
    return rng.standard_normal(n, dtype=np.float32)


def coloured(
    rng: np.random.Generator, n: int, sample_rate: int, hz: Sequence[float] | Values, db: Sequence[float] | Values
) -> Samples:
    """Noise of unit RMS whose spectrum runs through the points (hz, db), straight over log frequency."""
    size = fast_length(max(n, 64))
    half = size // 2 + 1
    spectrum = rng.standard_normal(2 * half, dtype=np.float32).view(np.complex64)
    noise = np.fft.irfft(spectrum * gain(size, sample_rate, hz, db), size)[:n]
    return normalise(noise.astype(np.float32))


def gain(size: int, sample_rate: int, hz: Sequence[float] | Values, db: Sequence[float] | Values) -> Samples:
    """Amplitude gains at the bins of an rfft of `size` samples; the mean of a spectrum shaped by it stays zero."""
    f = np.fft.rfftfreq(size, 1 / sample_rate)
    f[0] = f[1]
    level = np.interp(np.log(f), np.log(np.asarray(hz, np.float64)), np.asarray(db, np.float64))
    factors = np.exp(level * (np.log(10) / 20)).astype(np.float32)
    factors[0] = 0
    return factors


def band_noise(
    rng: np.random.Generator, n: int, sample_rate: int, low_hz: float, high_hz: float, skirt_db: float = 24.0
) -> Samples:
    """Noise that is flat from low to high and falls by `skirt_db` for each octave beyond."""
    return coloured(
        rng, n, sample_rate, [low_hz / 8, low_hz, high_hz, high_hz * 8], [-3 * skirt_db, 0, 0, -3 * skirt_db]
    )


def normalise(samples: NDArray[np.floating]) -> Samples:
    """Scaled to unit RMS; silence stays silence."""
    rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if samples.size else 0.0
    return (samples / rms if rms > 0 else samples).astype(np.float32)


def filtered(samples: NDArray[np.floating], sample_rate: int, hz: Sequence[float], db: Sequence[float]) -> Samples:
    """`samples` with their spectrum weighted by the points (hz, db); zero-phase, not wrapped round at the ends."""
    size = fast_length(len(samples) + sample_rate // 4)
    spectrum = np.fft.rfft(samples, size) * gain(size, sample_rate, hz, db)
    return np.fft.irfft(spectrum, size)[: len(samples)].astype(np.float32)


def curve(rng: np.random.Generator, n: int, sample_rate: int, rate_hz: float, sd: float) -> Values:
    """A slow random curve of standard deviation `sd` around 0 that has about `rate_hz` turns a second."""
    knots = max(2, int(np.ceil(n / sample_rate * rate_hz)) + 2)
    # Between knots of unit variance the variance is about 0.74. No kinks: they would be a mark of synthetic sound.
    values = rng.standard_normal(knots) * (sd * 1.16)
    position = np.arange(n) * (rate_hz / sample_rate) + rng.random()
    knot = position.astype(np.int64)
    position -= knot
    position *= position * (3 - 2 * position)
    return values[knot] + position * np.diff(values, append=values[-1])[knot]


def ramps(n: int, attack: int, decay: int) -> Samples:
    """An envelope of ones that rises and falls as a raised cosine over `attack` and `decay` samples."""
    envelope = np.ones(n, np.float32)
    attack, decay = min(attack, n // 2), min(decay, n // 2)
    if attack > 0:
        envelope[:attack] = 0.5 - 0.5 * np.cos(np.pi * (np.arange(attack) + 0.5) / attack)
    if decay > 0:
        envelope[n - decay :] = 0.5 + 0.5 * np.cos(np.pi * (np.arange(decay) + 0.5) / decay)
    return envelope


def decibels(db: Values | float) -> NDArray[np.float32]:
    """Amplitude factors."""
    return np.exp(np.asarray(db, np.float64) * (np.log(10) / 20)).astype(np.float32)


def wavetable(
    rng: np.random.Generator, levels_db: Sequence[float] | NDArray[np.floating], pulsed: bool = False
) -> Samples:
    """One period of a harmonic tone; levels_db[k] is the level of harmonic k + 1. `pulsed`: all in phase."""
    levels = np.asarray(levels_db, np.float64)
    spectrum = np.zeros(TABLE // 2 + 1, np.complex128)
    phases = np.zeros(len(levels)) if pulsed else rng.uniform(0, 2 * np.pi, len(levels))
    spectrum[1 : len(levels) + 1] = np.exp(levels * (np.log(10) / 20) + 1j * phases)
    return (np.fft.irfft(spectrum, TABLE) * TABLE / np.sqrt(2)).astype(np.float32)


def play(table: Samples, frequency_hz: Values, sample_rate: int, phase: float = 0.0) -> Samples:
    """The wavetable at a frequency that changes from sample to sample."""
    cycles = np.cumsum(frequency_hz) / sample_rate + phase
    return table[(cycles * TABLE).astype(np.int64) & (TABLE - 1)]


def harmonics_below(highest_hz: float, sample_rate: int, wanted: int) -> int:
    """How many harmonics of a tone that reaches `highest_hz` fit under the Nyquist frequency."""
    return max(1, min(wanted, int(0.48 * sample_rate / highest_hz)))


def echoes(rng: np.random.Generator, samples: Samples, sample_rate: int, tail_s: float, level: float) -> Samples:
    """The sound and a sparse multipath tail: a few delayed copies that grow weaker up to `tail_s`."""
    count = int(rng.integers(2, 8))
    delays = (rng.random(count) * tail_s * sample_rate).astype(np.int64)
    weights = level * rng.standard_normal(count) * np.exp(-2.0 * delays / max(tail_s * sample_rate, 1))
    out = np.zeros(len(samples) + int(delays.max(initial=0)), np.float32)
    out[: len(samples)] = samples
    for delay, weight in zip(delays, weights, strict=True):
        out[delay : delay + len(samples)] += np.float32(weight) * samples
    return out


def knock(rng: np.random.Generator, sample_rate: int, hz: float, decay_s: float) -> Samples:
    """A struck body: two or three damped modes and a click of noise."""
    n = max(8, int(decay_s * 5 * sample_rate))
    t = np.arange(n) / sample_rate
    out = np.zeros(n)
    for _ in range(int(rng.integers(1, 4))):
        mode = min(hz * rng.uniform(0.7, 2.2), 0.45 * sample_rate)
        out += rng.uniform(0.3, 1) * np.sin(2 * np.pi * mode * t + rng.uniform(0, 6.28))
    out += rng.uniform(0, 0.8) * rng.standard_normal(n) * np.exp(-t / (decay_s * 0.3))
    return (out * np.exp(-t / decay_s)).astype(np.float32)


def place(target: Samples, sound: Samples, at: int, factor: float = 1.0) -> None:
    """Add `sound` to `target` from sample `at`; what lies outside is cut."""
    first, last = max(at, 0), min(at + len(sound), len(target))
    if last > first:
        target[first:last] += np.float32(factor) * sound[first - at : last - at]


def power_envelope(samples: NDArray[np.floating], width: int) -> Values:
    """Mean power in a window of `width` samples centred on each sample."""
    width = max(1, min(width, len(samples)))
    total = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    centre = np.arange(len(samples))
    first = np.maximum(centre - width // 2, 0)
    last = np.minimum(first + width, len(samples))
    envelope: Values = np.maximum(total[last] - total[first], 0) / width
    return envelope


def audible(samples: NDArray[np.floating], sample_rate: int, drop_db: float, width_s: float) -> tuple[int, int]:
    """(first, one past the last) sample where the power envelope is within `drop_db` of its peak."""
    envelope = power_envelope(samples, int(width_s * sample_rate))
    if not len(envelope) or envelope.max() <= 0:
        return 0, len(samples)
    loud = np.flatnonzero(envelope >= envelope.max() * 10 ** (-drop_db / 10))
    return int(loud[0]), int(loud[-1]) + 1
