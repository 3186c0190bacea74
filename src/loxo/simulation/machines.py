"""Engines, propellers and mains hum: harmonic sounds that last longer than rumbles, sweep further, or stay constant.

Each generator is `f(rng, sample_rate, max_duration_s) -> Call` with label None. For a longer sound only an excerpt of
`max_duration_s` is computed, because a training window cannot contain more.
"""

from __future__ import annotations

import numpy as np

from loxo.simulation.sounds import (
    Call,
    Samples,
    Values,
    add_at,
    coloured_noise,
    db_to_amplitude,
    harmonics_below_nyquist,
    knock,
    normalise,
    play_wavetable,
    ramps,
    random_curve,
    wavetable,
)


def make_negative(kind: str, samples: Samples, low_hz: float, high_hz: float) -> Call:
    """A sound that a detector must not report, scaled to unit RMS."""
    return Call(normalise(samples), None, kind, low_hz, high_hz, (0, len(samples)))


def excerpt_times(rng: np.random.Generator, sample_rate: int, duration_s: float, max_duration_s: float) -> Values:
    """Times of the samples of a random excerpt of at most `max_duration_s`; 0 s is the middle of the whole sound."""
    length_s = min(duration_s, max_duration_s)
    start = -0.5 * duration_s + rng.uniform(0, duration_s - length_s)
    return start + np.arange(int(length_s * sample_rate)) / sample_rate


def _fades(rng: np.random.Generator, n: int, sample_rate: int) -> Samples:
    return ramps(n, int(rng.uniform(0.3, 2) * sample_rate), int(rng.uniform(0.3, 2) * sample_rate))


def _engine(
    rng: np.random.Generator, sample_rate: int, frequency: Values, harmonics: int, tilt_db: float, noise_db: float
) -> Samples:
    """Harmonics with random levels, which include the firing-order harmonics, and broadband noise at `noise_db`."""
    n = len(frequency)
    count = harmonics_below_nyquist(float(frequency.max()), sample_rate, harmonics)
    order = np.arange(1, count + 1)
    levels = -tilt_db * np.log2(order) + 7 * rng.standard_normal(count)
    tone = normalise(play_wavetable(wavetable(rng, levels), frequency, sample_rate, rng.random()))
    low = float(np.median(frequency))
    noise = coloured_noise(
        rng, n, sample_rate, [5, low, 4 * low, 2000], [-10, 0, rng.uniform(-8, 4), rng.uniform(-35, -10)]
    )
    return tone + np.float32(10 ** (noise_db / 20)) * noise


def vehicle(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """A car, truck, motorbike or boat that passes the recorder, with Doppler shift."""
    t = excerpt_times(rng, sample_rate, rng.uniform(6, 60), max_duration_s)
    f0, speed, closest = rng.uniform(15, 90), rng.uniform(3, 22), np.exp(rng.uniform(np.log(15), np.log(800)))
    along = speed * t
    distance = np.sqrt(closest**2 + along**2)
    doppler = 1 - (speed / 343) * along / distance
    throttle = 1 + random_curve(rng, len(t), sample_rate, 0.25, 0.04) + random_curve(rng, len(t), sample_rate, 6, 0.003)
    samples = _engine(rng, sample_rate, f0 * doppler * throttle, 14, rng.uniform(1, 7), rng.uniform(-16, 3))
    samples *= (closest / distance).astype(np.float32) ** np.float32(rng.uniform(0.8, 2))
    samples *= db_to_amplitude(random_curve(rng, len(t), sample_rate, 0.6, 1.5)) * _fades(rng, len(t), sample_rate)
    return make_negative("vehicle", samples, 15, 600)


def boat(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """The outboard engine of a boat or canoe: nearly constant pitch, audible for 15-90 s."""
    t = excerpt_times(rng, sample_rate, rng.uniform(15, 90), max_duration_s)
    glide = 1 + rng.uniform(-0.1, 0.1) * t / 60 + random_curve(rng, len(t), sample_rate, 0.1, 0.015)
    samples = _engine(rng, sample_rate, rng.uniform(18, 80) * glide, 12, rng.uniform(2, 8), rng.uniform(-18, -2))
    samples *= db_to_amplitude(random_curve(rng, len(t), sample_rate, 0.3, 2.5)) * _fades(rng, len(t), sample_rate)
    return make_negative("boat", samples, 18, 500)


def helicopter(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """A blade-pass frequency of 10-25 Hz: a pulse train with harmonics of nearly constant pitch, and a tail rotor."""
    t = excerpt_times(rng, sample_rate, rng.uniform(5, 60), max_duration_s)
    f0 = rng.uniform(10, 25) * (1 - rng.uniform(-0.06, 0.06) * np.tanh(t / 8))
    count = harmonics_below_nyquist(float(f0.max()), sample_rate, int(rng.integers(8, 40)))
    levels = -rng.uniform(0.5, 4) * np.log2(np.arange(1, count + 1)) + 3 * rng.standard_normal(count)
    samples = normalise(play_wavetable(wavetable(rng, levels, pulsed=bool(rng.random() < 0.7)), f0, sample_rate))
    if rng.random() < 0.5:
        samples += np.float32(rng.uniform(0.1, 0.6)) * play_wavetable(
            wavetable(rng, [0, -4, -8]), f0 * rng.uniform(4.5, 6.5), sample_rate
        )
    noise = coloured_noise(rng, len(t), sample_rate, [10, 60, 300, 2000], [-6, 0, -4, -20])
    samples += np.float32(rng.uniform(0.1, 0.8)) * noise
    samples *= db_to_amplitude(random_curve(rng, len(t), sample_rate, 0.4, 3)) * _fades(rng, len(t), sample_rate)
    return make_negative("helicopter", samples, 10, 400)


def aircraft(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """An aeroplane at high altitude: harmonics whose pitch falls slowly over a minute, in noise."""
    t = excerpt_times(rng, sample_rate, rng.uniform(20, 90), max_duration_s)
    ratio = 1 - rng.uniform(0.03, 0.25) * np.tanh(t / rng.uniform(8, 30))
    f0 = rng.uniform(25, 110) * ratio
    count = harmonics_below_nyquist(float(f0.max()), sample_rate, int(rng.integers(1, 6)))
    samples = normalise(play_wavetable(wavetable(rng, -6 * rng.random(count) * np.arange(count)), f0, sample_rate))
    noise = coloured_noise(rng, len(t), sample_rate, [10, 50, 200, 2000], [-4, 0, -6, -30])
    samples = np.float32(rng.uniform(0, 1)) * samples + np.float32(rng.uniform(0.2, 1.5)) * noise
    samples *= db_to_amplitude(random_curve(rng, len(t), sample_rate, 0.3, 2)) * _fades(rng, len(t), sample_rate)
    return make_negative("aircraft", samples, 15, 400)


def distant_engine(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """A road, an aircraft, a boat or a generator far away: one or a few lines that drift and fade for minutes.

    Propagation through moving air changes the level by 10 dB and more within seconds. Often only pieces are audible
    which have the pitch and the duration of a rumble. They continue before and after, at nearly the same pitch.
    """
    t = excerpt_times(rng, sample_rate, np.exp(rng.uniform(np.log(15), np.log(300))), max_duration_s)
    n = len(t)
    out = np.zeros(n, np.float32)
    for _ in range(int(rng.choice((1, 2, 3), p=(0.7, 0.22, 0.08)))):  # engines
        drift = 1 + random_curve(
            rng, n, sample_rate, np.exp(rng.uniform(np.log(0.02), np.log(0.5))), rng.uniform(0, 0.06)
        )
        if rng.random() < 0.4:  # it passes, or changes its speed
            drift *= 1 + rng.uniform(-0.2, 0.2) * np.tanh((t - rng.uniform(t[0], t[-1])) / rng.uniform(2, 30))
        f0 = np.exp(rng.uniform(np.log(14), np.log(80))) * drift
        levels = rng.uniform(-26, 0, int(rng.integers(1, 6)))
        levels[int(rng.integers(min(2, len(levels))))] = 0
        count = harmonics_below_nyquist(float(f0.max()), sample_rate, len(levels))
        line = play_wavetable(wavetable(rng, levels[:count]), f0, sample_rate, rng.random())
        fading = random_curve(rng, n, sample_rate, np.exp(rng.uniform(np.log(0.1), np.log(1.0))), rng.uniform(1, 9))
        out += np.float32(np.exp(rng.normal(0, 0.5))) * line * db_to_amplitude(fading)
    noise = coloured_noise(rng, n, sample_rate, [10, 40, 200, 2000], [-6, 0, rng.uniform(-15, 0), -35])
    out += np.float32(rng.uniform(0, 0.7)) * noise
    return make_negative("distant engine", out * _fades(rng, n, sample_rate), 14, 160)


def traffic(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """Several vehicles or ships at a distance: weak lines in the low-frequency noise of a road, for minutes.

    The lines of different engines are not harmonics of each other. Each drifts, changes its gear and fades within
    seconds, so that pieces of it have the contour and the duration of a rumble. Above its corner frequency the noise
    of the road falls steeply.
    """
    t = excerpt_times(rng, sample_rate, np.exp(rng.uniform(np.log(20), np.log(600))), max_duration_s)
    n = len(t)
    corner = np.exp(rng.uniform(np.log(30), np.log(120)))
    points_hz = [4, 12, corner / 2, corner, 2 * corner, 2000]
    points_db = [-20, 0, rng.uniform(-6, 4), 0, -rng.uniform(10, 30), -60]
    out = coloured_noise(rng, n, sample_rate, points_hz, points_db)
    out *= db_to_amplitude(random_curve(rng, n, sample_rate, rng.uniform(0.1, 1.0), rng.uniform(0, 3)))
    for _ in range(int(rng.choice((1, 2, 3, 4, 5), p=(0.25, 0.3, 0.2, 0.15, 0.1)))):
        f0 = np.exp(rng.uniform(np.log(18), np.log(90))) * (
            1
            + random_curve(rng, n, sample_rate, rng.uniform(0.1, 0.8), rng.uniform(0.01, 0.1))
            + random_curve(rng, n, sample_rate, rng.uniform(1, 5), rng.uniform(0, 0.012))
        )
        if rng.random() < 0.35:  # it passes
            f0 *= 1 - rng.uniform(0.03, 0.2) * np.tanh((t - rng.uniform(t[0], t[-1])) / rng.uniform(0.7, 8))
        levels = rng.uniform(-20, -4, int(rng.integers(1, 4)))
        levels[0] = 0
        count = harmonics_below_nyquist(float(f0.max()), sample_rate, len(levels))
        line = play_wavetable(wavetable(rng, levels[:count]), f0, sample_rate, rng.random())
        fading = random_curve(rng, n, sample_rate, np.exp(rng.uniform(np.log(0.15), np.log(1.5))), rng.uniform(2, 9))
        flutter = random_curve(rng, n, sample_rate, rng.uniform(2, 8), rng.uniform(0, 4))
        out += np.float32(10 ** (rng.uniform(-18, 0) / 20)) * normalise(line) * db_to_amplitude(fading + flutter)
    return make_negative("traffic", out * _fades(rng, n, sample_rate), 12, corner)


def hum(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """Tones of constant pitch for the whole duration: mains hum at 50 or 60 Hz, a generator, interference."""
    n = int(max_duration_s * sample_rate)
    if rng.random() < 0.5:
        f0 = float(rng.choice((50.0, 60.0))) * (1 + rng.normal(0, 5e-4))
        levels = rng.uniform(-25, 0, harmonics_below_nyquist(f0, sample_rate, 7))
    else:
        f0 = rng.uniform(9, 48)
        levels = rng.uniform(-30, 0, int(rng.integers(1, 5)))
    samples = play_wavetable(
        wavetable(rng, levels), np.full(n, f0) + random_curve(rng, n, sample_rate, 0.1, 0.02), sample_rate
    )
    samples = samples * db_to_amplitude(random_curve(rng, n, sample_rate, 0.1, rng.uniform(0, 1.5)))
    return make_negative("hum", samples, f0, f0 * len(levels))


def chainsaw(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """A chainsaw at about 60-220 Hz: idling, bursts of throttle, lower pitch during a cut."""
    n = int(min(rng.uniform(3, 25), max_duration_s) * sample_rate)
    throttle = np.clip(0.5 + random_curve(rng, n, sample_rate, rng.uniform(0.3, 1.2), 0.6), 0, 1)
    frequency = rng.uniform(60, 110) * (1 + throttle + random_curve(rng, n, sample_rate, 15, 0.01))
    samples = _engine(rng, sample_rate, frequency, 14, rng.uniform(0, 4), rng.uniform(-12, 0))
    samples *= db_to_amplitude(14 * (throttle - 1)) * _fades(rng, n, sample_rate)
    return make_negative("chainsaw", samples, 60, 1500)


def train(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """A train: rolling noise with pairs of knocks from the rail joints."""
    t = excerpt_times(rng, sample_rate, rng.uniform(10, 60), max_duration_s)
    samples = coloured_noise(rng, len(t), sample_rate, [8, 40, 200, 2000], [-8, 0, rng.uniform(-10, 2), -18])
    samples *= db_to_amplitude(random_curve(rng, len(t), sample_rate, 1, 2))
    period = rng.uniform(0.5, 1.6)
    clack = normalise(knock(rng, sample_rate, rng.uniform(60, 400), rng.uniform(0.02, 0.08)))
    for at in np.arange(0, len(t) / sample_rate, period):
        for offset in (0.0, 0.14 * period):
            add_at(samples, clack, int((at + offset) * sample_rate), rng.uniform(0.5, 4))
    samples *= np.exp(-np.square(t / rng.uniform(5, 20))).astype(np.float32) + np.float32(0.1)
    return make_negative("train", samples * _fades(rng, len(t), sample_rate), 10, 600)
