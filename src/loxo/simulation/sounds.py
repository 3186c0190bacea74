"""Building blocks of synthetic sounds: shaped noise, slow random curves, harmonic tones, envelopes and echoes.

Layout: `Call` (one sound and its label), then the building blocks. All random values come from the numpy Generator that
the caller passes, so the same seed gives the same sound. No function here raises an error. Levels are relative, because
the scene scales each call to its signal-to-noise ratio.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
Values = NDArray[np.float64]

# Entries in one period of a wavetable. The truncation noise is near -75 dB, far below the noise of any recorder.
TABLE_SIZE = 16384


@dataclass
class Call:
    """One synthetic sound. `core` is its audible part, in samples; it becomes the span of the event."""

    samples: Samples
    label: str | None  # "rumble" or "gunshot"; None for a sound that a detector must not report
    kind: str  # kind of sound: "rumble", "burst", "wind", ...
    low_hz: float
    high_hz: float
    core: tuple[int, int]  # start and stop (exclusive)
    line_hz: float = 0.0  # median frequency of the strongest low harmonic; 0 if the sound has no harmonics


def fast_length(n: int) -> int:
    """The smallest length >= n with no prime factors other than 2, 3 and 5. An FFT of such a length is fast."""
    best = 1 << max(n - 1, 1).bit_length()
    for fives in (1, 5, 25):
        for threes in (1, 3, 9, 27):
            size = fives * threes
            while size < n:
                size *= 2
            best = min(best, size)
    return best


def white_noise(rng: np.random.Generator, n: int) -> Samples:
    return rng.standard_normal(n, dtype=np.float32)


def coloured_noise(
    rng: np.random.Generator, n: int, sample_rate: int, hz: Sequence[float] | Values, db: Sequence[float] | Values
) -> Samples:
    """Noise of unit RMS. Its spectrum passes through the points (hz, db), linearly in dB over log frequency."""
    size = fast_length(max(n, 64))
    half = size // 2 + 1
    spectrum = rng.standard_normal(2 * half, dtype=np.float32).view(np.complex64)
    noise = np.fft.irfft(spectrum * amplitude_response(size, sample_rate, hz, db), size)[:n]
    return normalise(noise.astype(np.float32))


def amplitude_response(
    size: int, sample_rate: int, hz: Sequence[float] | Values, db: Sequence[float] | Values
) -> Samples:
    """Amplitude gains at the bins of an rfft of `size` samples, through the points (hz, db). The gain at 0 Hz is 0."""
    f = np.fft.rfftfreq(size, 1 / sample_rate)
    f[0] = f[1]
    level = np.interp(np.log(f), np.log(np.asarray(hz, np.float64)), np.asarray(db, np.float64))
    factors = np.exp(level * (np.log(10) / 20)).astype(np.float32)
    factors[0] = 0
    return factors


def band_noise(
    rng: np.random.Generator, n: int, sample_rate: int, low_hz: float, high_hz: float, skirt_db: float = 24.0
) -> Samples:
    """Noise with a flat spectrum from low_hz to high_hz, which falls by `skirt_db` for each octave outside."""
    return coloured_noise(
        rng, n, sample_rate, [low_hz / 8, low_hz, high_hz, high_hz * 8], [-3 * skirt_db, 0, 0, -3 * skirt_db]
    )


def normalise(samples: NDArray[np.floating]) -> Samples:
    """`samples` scaled to unit RMS. Silence is returned unchanged."""
    rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if samples.size else 0.0
    return (samples / rms if rms > 0 else samples).astype(np.float32)


def shape_spectrum(
    samples: NDArray[np.floating], sample_rate: int, hz: Sequence[float], db: Sequence[float]
) -> Samples:
    """`samples` through a zero-phase filter whose gain passes through the points (hz, db); no circular wrap-around."""
    size = fast_length(len(samples) + sample_rate // 4)
    spectrum = np.fft.rfft(samples, size) * amplitude_response(size, sample_rate, hz, db)
    return np.fft.irfft(spectrum, size)[: len(samples)].astype(np.float32)


def random_curve(rng: np.random.Generator, n: int, sample_rate: int, rate_hz: float, sd: float) -> Values:
    """A slow random curve with mean 0, standard deviation `sd` and about `rate_hz` turning points per second."""
    knots = max(2, int(np.ceil(n / sample_rate * rate_hz)) + 2)
    # Interpolation between knots of unit variance has a variance of about 0.74. The curve is smooth at the knots,
    # because a model could recognise synthetic sounds by kinks.
    values = rng.standard_normal(knots) * (sd * 1.16)
    position = np.arange(n) * (rate_hz / sample_rate) + rng.random()
    knot = position.astype(np.int64)
    position -= knot
    position *= position * (3 - 2 * position)
    return values[knot] + position * np.diff(values, append=values[-1])[knot]


def ramps(n: int, attack: int, decay: int) -> Samples:
    """An envelope of ones with a raised-cosine rise over `attack` samples and a fall over `decay` samples."""
    envelope = np.ones(n, np.float32)
    attack, decay = min(attack, n // 2), min(decay, n // 2)
    if attack > 0:
        envelope[:attack] = 0.5 - 0.5 * np.cos(np.pi * (np.arange(attack) + 0.5) / attack)
    if decay > 0:
        envelope[n - decay :] = 0.5 + 0.5 * np.cos(np.pi * (np.arange(decay) + 0.5) / decay)
    return envelope


def db_to_amplitude(db: Values | float) -> NDArray[np.float32]:
    """Levels in dB as amplitude factors."""
    return np.exp(np.asarray(db, np.float64) * (np.log(10) / 20)).astype(np.float32)


def wavetable(
    rng: np.random.Generator, levels_db: Sequence[float] | NDArray[np.floating], pulsed: bool = False
) -> Samples:
    """One period of a harmonic tone. levels_db[k] is the level of harmonic k + 1. `pulsed`: all phases are zero."""
    levels = np.asarray(levels_db, np.float64)
    spectrum = np.zeros(TABLE_SIZE // 2 + 1, np.complex128)
    phases = np.zeros(len(levels)) if pulsed else rng.uniform(0, 2 * np.pi, len(levels))
    spectrum[1 : len(levels) + 1] = np.exp(levels * (np.log(10) / 20) + 1j * phases)
    return (np.fft.irfft(spectrum, TABLE_SIZE) * TABLE_SIZE / np.sqrt(2)).astype(np.float32)


def play_wavetable(table: Samples, frequency_hz: Values, sample_rate: int, phase: float = 0.0) -> Samples:
    """The wavetable played at frequency_hz[n] at sample n."""
    cycles = np.cumsum(frequency_hz) / sample_rate + phase
    return table[(cycles * TABLE_SIZE).astype(np.int64) & (TABLE_SIZE - 1)]


def harmonics_below_nyquist(max_f0_hz: float, sample_rate: int, max_count: int) -> int:
    """Number of harmonics below the Nyquist frequency, 1 to `max_count`, for a tone with f0 up to `max_f0_hz`."""
    return max(1, min(max_count, int(0.48 * sample_rate / max_f0_hz)))


def echoes(rng: np.random.Generator, samples: Samples, sample_rate: int, tail_s: float, level: float) -> Samples:
    """The sound and a sparse multipath tail: 2-7 delayed copies within `tail_s`, weaker at longer delays."""
    count = int(rng.integers(2, 8))
    delays = (rng.random(count) * tail_s * sample_rate).astype(np.int64)
    factors = level * rng.standard_normal(count) * np.exp(-2.0 * delays / max(tail_s * sample_rate, 1))
    out = np.zeros(len(samples) + int(delays.max(initial=0)), np.float32)
    out[: len(samples)] = samples
    for delay, factor in zip(delays, factors, strict=True):
        out[delay : delay + len(samples)] += np.float32(factor) * samples
    return out


def knock(rng: np.random.Generator, sample_rate: int, hz: float, decay_s: float) -> Samples:
    """The sound of a struck object: one to three damped modes and a click of noise."""
    n = max(8, int(decay_s * 5 * sample_rate))
    t = np.arange(n) / sample_rate
    out = np.zeros(n)
    for _ in range(int(rng.integers(1, 4))):
        mode = min(hz * rng.uniform(0.7, 2.2), 0.45 * sample_rate)
        out += rng.uniform(0.3, 1) * np.sin(2 * np.pi * mode * t + rng.uniform(0, 6.28))
    out += rng.uniform(0, 0.8) * rng.standard_normal(n) * np.exp(-t / (decay_s * 0.3))
    return (out * np.exp(-t / decay_s)).astype(np.float32)


def add_at(target: Samples, sound: Samples, at: int, factor: float = 1.0) -> None:
    """Add `factor` x `sound` to `target`, in place, from sample `at` on. Parts outside `target` are cut off."""
    start, stop = max(at, 0), min(at + len(sound), len(target))
    if stop > start:
        target[start:stop] += np.float32(factor) * sound[start - at : stop - at]


def power_envelope(samples: NDArray[np.floating], width: int) -> Values:
    """Mean power in a window of `width` samples around each sample."""
    width = max(1, min(width, len(samples)))
    total = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    centre = np.arange(len(samples))
    start = np.maximum(centre - width // 2, 0)
    stop = np.minimum(start + width, len(samples))
    envelope: Values = np.maximum(total[stop] - total[start], 0) / width
    return envelope


def audible_span(samples: NDArray[np.floating], sample_rate: int, drop_db: float, width_s: float) -> tuple[int, int]:
    """(start, stop) of the span in which the power envelope is within `drop_db` of its peak."""
    envelope = power_envelope(samples, int(width_s * sample_rate))
    if not len(envelope) or envelope.max() <= 0:
        return 0, len(samples)
    loud = np.flatnonzero(envelope >= envelope.max() * 10 ** (-drop_db / 10))
    return int(loud[0]), int(loud[-1]) + 1
