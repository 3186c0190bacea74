"""Negatives: sounds that a detector must not report. One table of all generators, and sounds that resemble a rumble.

The generators in this file make sounds that differ from a rumble in one property that a listener can name. The sound
lasts too long, has a perfectly constant pitch, sweeps too far or too fast, repeats regularly, or has no harmonics.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from loxo.simulation import animals, machines, weather
from loxo.simulation.machines import make_negative
from loxo.simulation.rumble import draw_roar, draw_trumpet
from loxo.simulation.sounds import (
    Call,
    add_at,
    band_noise,
    coloured_noise,
    db_to_amplitude,
    harmonics_below_nyquist,
    play_wavetable,
    ramps,
    random_curve,
    wavetable,
)

Generator = Callable[[np.random.Generator, int, float], Call]


def steady_line(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """The tone of a machine that is switched on and off: constant pitch, abrupt onset and offset.

    A single tone lies outside the f0 range of rumbles, because a weak one inside it could be a rumble. Inside that
    range the tone repeats regularly, which no rumble does.
    """
    repeated = rng.random() < 0.5
    f0 = rng.uniform(12, 60) if repeated else (rng.uniform(4, 8.5) if rng.random() < 0.2 else rng.uniform(55, 160))
    levels = rng.uniform(-25, 0, harmonics_below_nyquist(f0, sample_rate, int(rng.integers(1, 4))))
    levels[0] = 0
    if not repeated:
        n = int(min(rng.uniform(0.6, 8), max_duration_s) * sample_rate)
        return make_negative(
            "steady line", play_wavetable(wavetable(rng, levels), np.full(n, f0), sample_rate), f0, f0 * len(levels)
        )
    n = int(min(rng.uniform(12, 60), max_duration_s) * sample_rate)
    on, period = rng.uniform(0.3, 1.5), rng.uniform(1.8, 4.0)
    keyed = (np.arange(n) / sample_rate + rng.uniform(0, period)) % period < on
    samples = play_wavetable(wavetable(rng, levels), np.full(n, f0), sample_rate) * keyed.astype(np.float32)
    return make_negative("steady line", samples, f0, f0 * len(levels))


def drone(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """A tone at the pitch of a rumble that lasts more than 15 s."""
    n = int(min(rng.uniform(16, 60), max_duration_s) * sample_rate)
    f0 = rng.uniform(10, 45) * (
        1 + random_curve(rng, n, sample_rate, 0.2, 0.03) + random_curve(rng, n, sample_rate, 5, 0.003)
    )
    levels = -rng.uniform(0, 10) * np.arange(int(rng.integers(1, 6)))
    samples = play_wavetable(wavetable(rng, levels), f0, sample_rate) * db_to_amplitude(
        random_curve(rng, n, sample_rate, 0.4, 1.5)
    )
    return make_negative("drone", samples * ramps(n, sample_rate, sample_rate), 10, 200)


def low_burst(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """A burst of noise with the frequency band and the duration of a rumble, but without harmonics."""
    n = int(min(rng.uniform(0.5, 7), max_duration_s) * sample_rate)
    low, width = rng.uniform(8, 40), rng.uniform(1.8, 6)  # at least an octave wide
    samples = coloured_noise(rng, n, sample_rate, [low / 3, low, low * width, low * width * 3], [-30, 0, 0, -30])
    return make_negative("low burst", samples * ramps(n, n // 4, n // 3), low, low * width)


def glide(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """A tone whose frequency changes by a factor of 2-6, or varies 1.5-6 times per second: too much for a rumble."""
    n = int(min(rng.uniform(0.5, 12), max_duration_s) * sample_rate)
    x = np.linspace(0, 1, n)
    if rng.random() < 0.75:
        ratio = rng.uniform(2, 6)
        f0 = rng.uniform(10, 50) * ratio ** (x if rng.random() < 0.5 else 1 - x)
    else:
        f0 = rng.uniform(20, 60) * (
            1 + rng.uniform(0.2, 0.5) * np.sin(2 * np.pi * rng.uniform(1.5, 6) * x * n / sample_rate)
        )
    levels = -rng.uniform(3, 15) * np.arange(int(rng.integers(1, 4)))
    samples = play_wavetable(wavetable(rng, levels), f0, sample_rate) * ramps(n, n // 8, n // 8)
    return make_negative("glide", samples, float(f0.min()), float(f0.max()))


def pulses(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """A short low-frequency sound that repeats at regular intervals: a pump, a ram, an unstable generator, an insect.

    A single pulse may equal a short rumble, but no elephant repeats a rumble so regularly.
    """
    n = int(min(rng.uniform(15, 60), max_duration_s) * sample_rate)
    length = int(rng.uniform(0.3, 2.5) * sample_rate)
    period_s = length / sample_rate + np.exp(rng.uniform(np.log(0.5), np.log(5.0)))
    if rng.random() < 0.6:
        f0 = rng.uniform(10, 60) * np.linspace(1.0, rng.uniform(0.8, 1.25), length)
        levels = -rng.uniform(3, 20) * np.arange(int(rng.integers(1, 4)))
        low, high = float(f0.min()), float(f0.max()) * len(levels)
        pulse = play_wavetable(wavetable(rng, levels), f0, sample_rate)
    else:
        low = rng.uniform(10, 70)
        high = low * rng.uniform(1.2, 2.5)
        pulse = band_noise(rng, length, sample_rate, low, high)
    pulse = pulse * ramps(length, int(rng.uniform(0.05, 0.5) * length), int(rng.uniform(0.05, 0.5) * length))
    out = np.zeros(n, np.float32)
    uneven, swell_db = rng.uniform(0, 0.05) * period_s, rng.uniform(0, 1.5)
    for at_s in np.arange(rng.uniform(0, period_s), n / sample_rate, period_s):
        at = int((at_s + rng.normal(0, uneven)) * sample_rate)
        add_at(out, pulse, at, float(db_to_amplitude(rng.normal(0, swell_db))))
    return make_negative("pulses", out, low, high)


# name -> (generator, relative frequency in a survey). Wind is the most frequent, as in the field. A change of a
# frequency changes every survey that is made from a seed. Accuracy figures from before and after are not comparable.
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
    "distant engine": (machines.distant_engine, 0.0),
    "traffic": (machines.traffic, 0.0),
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
# Relative frequencies in training, where they differ. These are the sounds that a network trained with the frequencies
# above still reported as rumbles or gunshots.
TRAINING_FREQUENCIES = {
    **{"drone": 4.2, "vehicle": 3.2, "hum": 2.4, "glide": 2.2, "aircraft": 2.0, "steady line": 1.8, "boat": 1.6},
    **{"distant engine": 8.0, "traffic": 12.0, "chirps": 4.0, "pulses": 3.0, "roar": 2.5, "trumpet": 2.5},
    **{"handling": 9.0, "strokes": 7.0, "drops": 6.0, "buffet": 5.5, "knocks": 3.0, "slaps": 2.5, "rain": 2.5},
}
_NAMES = tuple(NEGATIVES)


def _cumulative(replaced: dict[str, float]) -> NDArray[np.float64]:
    """Cumulative probability of each negative, from its frequency in `replaced` or else in NEGATIVES."""
    frequencies = [replaced.get(name, frequency) for name, (_, frequency) in NEGATIVES.items()]
    return np.cumsum(frequencies) / np.sum(frequencies)


_CUMULATIVE, _TRAINING_CUMULATIVE = _cumulative({}), _cumulative(TRAINING_FREQUENCIES)


def draw_negative(
    rng: np.random.Generator, sample_rate: int, max_duration_s: float = 60.0, *, training: bool = False
) -> Call:
    """One negative of at most `max_duration_s`; its kind is drawn with the frequencies of a survey or of `training`."""
    cumulative = _TRAINING_CUMULATIVE if training else _CUMULATIVE
    name = _NAMES[int(np.searchsorted(cumulative, rng.random(), side="right"))]
    return NEGATIVES[name][0](rng, sample_rate, max_duration_s)
