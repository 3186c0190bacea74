"""A recording from a fixed formula, with rumbles and shots in it: 41 s at 4 kHz, the same on every machine.

The numbers of the shipped model on it are written down in pinned_numbers.py. Two windows of this model fit into it. It
contains two seconds of digital silence and a very loud shot, so that the front end's image reaches all its limits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RATE = 4000  # Hz
SECONDS = 41
NOISE = 0.001  # RMS of the background
# (start in s, duration in s, fundamental in Hz at the start and at the end, amplitude of the fundamental)
RUMBLES = ((3.0, 4.5, 17.0, 20.0, 0.0012), (12.0, 5.0, 24.0, 19.0, 0.0002), (28.0, 3.5, 20.0, 22.0, 0.00015))
HARMONICS = (1.0, 0.8, 0.5, 0.25, 0.12)  # amplitudes, relative to that of the fundamental
SHOTS = ((9.0, 0.9), (20.5, 0.02), (33.0, 0.01))  # (start in s, peak amplitude)
EVENTS = (
    *((start, start + seconds, "rumble") for start, seconds, *_ in RUMBLES),
    *((start, start + 0.4, "gunshot") for start, _ in SHOTS),
)
SILENCE_S = (36.5, 38.5)


def fixture_sound() -> NDArray[np.float32]:
    """The recording, float32 (SECONDS * RATE,) in [-1, 1]."""
    samples = NOISE * _noise(SECONDS * RATE, seed=1)
    for start, seconds, first_hz, last_hz, amplitude in RUMBLES:
        t = np.arange(round(seconds * RATE)) / RATE
        phase = 2 * np.pi * (first_hz * t + (last_hz - first_hz) * t**2 / (2 * seconds))
        call = sum(level * np.sin((k + 1) * phase) for k, level in enumerate(HARMONICS))
        _add(samples, start, amplitude * np.sin(np.pi * t / seconds) * call)
    for k, (start, peak) in enumerate(SHOTS):
        t = np.arange(RATE) / RATE
        _add(samples, start, peak * np.exp(-t / 0.15) * _noise(RATE, seed=2 + k).clip(-1, 1))
    samples[round(SILENCE_S[0] * RATE) : round(SILENCE_S[1] * RATE)] = 0
    return samples.astype(np.float32)


def _add(samples: NDArray[np.float64], start_s: float, sound: NDArray[np.float64]) -> None:
    first = round(start_s * RATE)
    samples[first : first + len(sound)] += sound


def _noise(count: int, seed: int) -> NDArray[np.float64]:
    """White noise of unit RMS, nearly Gaussian: integers of the SplitMix64 generator, which no version of numpy
    changes, as sums of four."""
    with np.errstate(over="ignore"):
        state = (np.arange(4 * count, dtype=np.uint64) + np.uint64(seed << 32)) * np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    uniform = (state >> np.uint64(11)).astype(np.float64) / 2.0**53 - 0.5
    return np.asarray(uniform.reshape(count, 4).sum(1) * np.sqrt(3.0))
