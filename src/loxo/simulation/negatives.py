"""Everything a detector must not report: one table of generators, and near misses built to be almost a rumble.

A near miss differs from a rumble in one thing that a listener would name: it lasts too long, stands still too
perfectly outside the range of voices, sweeps too far or too fast, or has no line at all.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from loxo.simulation import animals, machines, weather
from loxo.simulation.machines import negative
from loxo.simulation.rumble import draw_roar, draw_trumpet
from loxo.simulation.sounds import (
    Call,
    band_noise,
    coloured,
    curve,
    decibels,
    harmonics_below,
    place,
    play,
    ramps,
    wavetable,
)

Generator = Callable[[np.random.Generator, int, float], Call]


def steady_line(rng: np.random.Generator, sample_rate: int, longest_s: float) -> Call:
    """A machine's tone, switched on and off: exactly steady, abrupt at both ends, and where no elephant calls.

    In the range of rumbles only regular repetition gives such a line away: a single weak one would be a rumble.
    """
    repeated = rng.random() < 0.5
    f0 = rng.uniform(12, 60) if repeated else (rng.uniform(4, 8.5) if rng.random() < 0.2 else rng.uniform(55, 160))
    levels = rng.uniform(-25, 0, harmonics_below(f0, sample_rate, int(rng.integers(1, 4))))
    levels[0] = 0
    if not repeated:
        n = int(min(rng.uniform(0.6, 8), longest_s) * sample_rate)
        return negative("steady line", play(wavetable(rng, levels), np.full(n, f0), sample_rate), f0, f0 * len(levels))
    n = int(min(rng.uniform(12, 60), longest_s) * sample_rate)
    on, period = rng.uniform(0.3, 1.5), rng.uniform(1.8, 4.0)
    keyed = (np.arange(n) / sample_rate + rng.uniform(0, period)) % period < on
    samples = play(wavetable(rng, levels), np.full(n, f0), sample_rate) * keyed.astype(np.float32)
    return negative("steady line", samples, f0, f0 * len(levels))


def drone(rng: np.random.Generator, sample_rate: int, longest_s: float) -> Call:
    """A tone at the pitch of a rumble that goes on for more than 15 s."""
    n = int(min(rng.uniform(16, 60), longest_s) * sample_rate)
    f0 = rng.uniform(10, 45) * (1 + curve(rng, n, sample_rate, 0.2, 0.03) + curve(rng, n, sample_rate, 5, 0.003))
    levels = -rng.uniform(0, 10) * np.arange(int(rng.integers(1, 6)))
    samples = play(wavetable(rng, levels), f0, sample_rate) * decibels(curve(rng, n, sample_rate, 0.4, 1.5))
    return negative("drone", samples * ramps(n, sample_rate, sample_rate), 10, 200)


def low_burst(rng: np.random.Generator, sample_rate: int, longest_s: float) -> Call:
    """A burst of noise in the band and of the length of a rumble, without any line."""
    n = int(min(rng.uniform(0.5, 7), longest_s) * sample_rate)
    low, width = rng.uniform(8, 40), rng.uniform(1.8, 6)  # at least an octave wide
    samples = coloured(rng, n, sample_rate, [low / 3, low, low * width, low * width * 3], [-30, 0, 0, -30])
    return negative("low burst", samples * ramps(n, n // 4, n // 3), low, low * width)


def glide(rng: np.random.Generator, sample_rate: int, longest_s: float) -> Call:
    """A line that sweeps over 2-6 times its frequency: too far for a rumble; or one that wobbles too fast."""
    n = int(min(rng.uniform(0.5, 12), longest_s) * sample_rate)
    x = np.linspace(0, 1, n)
    if rng.random() < 0.75:
        ratio = rng.uniform(2, 6)
        f0 = rng.uniform(10, 50) * ratio ** (x if rng.random() < 0.5 else 1 - x)
    else:
        f0 = rng.uniform(20, 60) * (
            1 + rng.uniform(0.2, 0.5) * np.sin(2 * np.pi * rng.uniform(1.5, 6) * x * n / sample_rate)
        )
    levels = -rng.uniform(3, 15) * np.arange(int(rng.integers(1, 4)))
    samples = play(wavetable(rng, levels), f0, sample_rate) * ramps(n, n // 8, n // 8)
    return negative("glide", samples, float(f0.min()), float(f0.max()))


def pulses(rng: np.random.Generator, sample_rate: int, longest_s: float) -> Call:
    """A short low sound that comes back at an even pace, on and on: a pump, a ram, a generator that hunts, an insect.

    Each alone may be just like a short rumble; no elephant repeats one so evenly.
    """
    n = int(min(rng.uniform(15, 60), longest_s) * sample_rate)
    length = int(rng.uniform(0.3, 2.5) * sample_rate)
    period_s = length / sample_rate + np.exp(rng.uniform(np.log(0.5), np.log(5.0)))
    if rng.random() < 0.6:
        f0 = rng.uniform(10, 60) * np.linspace(1.0, rng.uniform(0.8, 1.25), length)
        levels = -rng.uniform(3, 20) * np.arange(int(rng.integers(1, 4)))
        low, high = float(f0.min()), float(f0.max()) * len(levels)
        pulse = play(wavetable(rng, levels), f0, sample_rate)
    else:
        low = rng.uniform(10, 70)
        high = low * rng.uniform(1.2, 2.5)
        pulse = band_noise(rng, length, sample_rate, low, high)
    pulse = pulse * ramps(length, int(rng.uniform(0.05, 0.5) * length), int(rng.uniform(0.05, 0.5) * length))
    out = np.zeros(n, np.float32)
    uneven, swell_db = rng.uniform(0, 0.05) * period_s, rng.uniform(0, 1.5)
    for at_s in np.arange(rng.uniform(0, period_s), n / sample_rate, period_s):
        at = int((at_s + rng.normal(0, uneven)) * sample_rate)
        place(out, pulse, at, float(decibels(rng.normal(0, swell_db))))
    return negative("pulses", out, low, high)


# name -> (generator, weight in a survey): wind first, as in the field. A weight that changes changes every survey that
# is made from a seed, and with it what figures of different days say of each other.
NEGATIVES: dict[str, tuple[Generator, float]] = {
    "wind": (weather.wind, 5.0),
    "puff": (weather.puff, 2.0),
    "buffet": (weather.buffet, 3.5),
    "swell": (weather.swell, 1.5),
    "slaps": (weather.slaps, 1.5),
    "thunder": (weather.thunder, 2.5),
    "rain": (weather.rain, 2.0),
    "water": (weather.water, 0.7),
    "knocks": (weather.knocks, 2.0),
    "handling": (weather.handling, 0.0),
    "drops": (weather.drops, 0.0),
    "strokes": (weather.strokes, 0.0),
    "wood": (weather.wood, 2.0),
    "door": (weather.door, 0.7),
    "switching": (weather.switching, 1.0),
    "vehicle": (machines.vehicle, 2.5),
    "boat": (machines.boat, 1.0),
    "helicopter": (machines.helicopter, 1.5),
    "aircraft": (machines.aircraft, 1.5),
    "hum": (machines.hum, 1.2),
    "chainsaw": (machines.chainsaw, 1.5),
    "train": (machines.train, 0.7),
    "purr": (animals.purr, 0.7),
    "lion": (animals.lion, 1.0),
    "cattle": (animals.cattle, 0.8),
    "trill": (animals.trill, 1.0),
    "drumming": (animals.drumming, 1.2),
    "bark": (animals.bark, 2.0),
    "song": (animals.song, 2.0),
    "speech": (animals.speech, 1.5),
    "insects": (animals.insects, 0.8),
    "roar": (draw_roar, 0.4),
    "trumpet": (draw_trumpet, 0.4),
    "steady line": (steady_line, 1.0),
    "drone": (drone, 1.2),
    "low burst": (low_burst, 2.0),
    "glide": (glide, 1.2),
    "pulses": (pulses, 0.0),
    "chirps": (animals.chirps, 0.0),
}
# Weights in training of what a network that had learnt from those above still took for rumbles, or for shots.
HARD = {
    **{"drone": 4.2, "vehicle": 3.2, "hum": 2.4, "glide": 2.2, "aircraft": 2.0, "steady line": 1.8, "boat": 1.6},
    **{"chirps": 5.0, "pulses": 3.0},
    **{"handling": 9.0, "strokes": 7.0, "drops": 6.0, "buffet": 5.5, "knocks": 3.0, "slaps": 2.5, "rain": 2.5},
}
_NAMES = tuple(NEGATIVES)


def _shares(others: dict[str, float]) -> NDArray[np.float64]:
    """Cumulative, of all negatives by their weights, or by `others` where there is one."""
    weights = [others.get(name, weight) for name, (_, weight) in NEGATIVES.items()]
    return np.cumsum(weights) / np.sum(weights)


_SHARES, _TRAINING_SHARES = _shares({}), _shares(HARD)


def draw_negative(
    rng: np.random.Generator, sample_rate: int, longest_s: float = 60.0, *, training: bool = False
) -> Call:
    """One negative, its kind drawn by weight, by that of training if it is for that; no longer than `longest_s`."""
    shares = _TRAINING_SHARES if training else _SHARES
    name = _NAMES[int(np.searchsorted(shares, rng.random(), side="right"))]
    return NEGATIVES[name][0](rng, sample_rate, longest_s)
