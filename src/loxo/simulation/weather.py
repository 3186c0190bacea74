"""Wind, thunder, rain, water, falling wood, handling noise, and electrical noise of a recorder.

Each generator is `f(rng, sample_rate, max_duration_s) -> Call` with label None. Wind on the microphone is the most
common false positive of low-frequency detectors, so it is drawn most often (see negatives.py).
"""

from __future__ import annotations

import numpy as np

from loxo.simulation.machines import make_negative
from loxo.simulation.sounds import (
    Call,
    Samples,
    add_at,
    band_noise,
    coloured_noise,
    db_to_amplitude,
    knock,
    normalise,
    ramps,
    random_curve,
    shape_spectrum,
    white_noise,
)


def wind(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """Gusts: noise with a slope of 6-16 dB per octave above a corner at 6-60 Hz, and an irregular envelope."""
    n = int(min(np.exp(rng.uniform(np.log(0.3), np.log(12))), max_duration_s) * sample_rate)
    corner = np.exp(rng.uniform(np.log(6), np.log(60)))
    slope = rng.uniform(6, 16)  # dB per octave
    noise = coloured_noise(
        rng, n, sample_rate, [1.5, corner / 2, corner, corner * 16], [-6, 0, -rng.uniform(0, 5), -4 * slope]
    )
    gusts = random_curve(rng, n, sample_rate, rng.uniform(0.7, 3), rng.uniform(2, 7))
    gusts = gusts + random_curve(rng, n, sample_rate, rng.uniform(6, 20), rng.uniform(0.5, 3))
    samples = noise * db_to_amplitude(gusts) * ramps(n, int(n * rng.uniform(0.05, 0.5)), int(n * rng.uniform(0.1, 0.5)))
    if rng.random() < 0.15:  # the microphone membrane reaches its limit
        samples = np.clip(samples, -1.2, 1.2)
    return make_negative("wind", samples, 2, 120)


def puff(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """Puffs: several separate short bursts of low-frequency noise, each about as long as a rumble or a gunshot."""
    n = int(min(rng.uniform(2, 15), max_duration_s) * sample_rate)
    out = np.zeros(n, np.float32)
    for _ in range(int(rng.integers(2, 7))):
        width = max(32, int(rng.uniform(0.15, 2.5) * sample_rate))
        corner = rng.uniform(8, 60)
        bump = coloured_noise(rng, width, sample_rate, [2, corner, corner * 8], [0, 0, -rng.uniform(18, 45)])
        bump *= ramps(width, int(width * rng.uniform(0.05, 0.5)), int(width * rng.uniform(0.2, 0.5)))
        add_at(out, bump, int(rng.integers(-width // 2, n)), rng.uniform(0.3, 1))
    return make_negative("puff", out, 2, 120)


def swell(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """Noise of any spectrum that rises and falls gradually: a distant car, leaves in a gust, a wave."""
    out = np.zeros(int(min(rng.uniform(1, 15), max_duration_s) * sample_rate), np.float32)
    low = np.exp(rng.uniform(np.log(30), np.log(600)))
    high = low * np.exp(rng.uniform(np.log(2), np.log(30)))
    for _ in range(int(rng.integers(1, 5))):
        width = int(rng.uniform(0.4, 3) * sample_rate)
        noise = coloured_noise(
            rng, width, sample_rate, [low / 4, low, high, high * 4], [-25, 0, -rng.uniform(0, 12), -40]
        )
        noise *= ramps(width, int(width * rng.uniform(0.2, 0.6)), int(width * rng.uniform(0.2, 0.4)))
        add_at(out, noise, int(rng.integers(-width // 2, len(out))), rng.uniform(0.3, 1))
    return make_negative("swell", out, low, high)


def buffet(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """Gusts on a microphone without wind protection: as long and as loud as a gunshot, up to a few hundred hertz.

    Unlike a muzzle blast, the level is rough and rises over tens of milliseconds.
    """
    n = int(min(rng.uniform(0.5, 12), max_duration_s) * sample_rate)
    out = np.zeros(n, np.float32)
    corner, slope = np.exp(rng.uniform(np.log(25), np.log(250))), rng.uniform(9, 30)  # Hz, dB per octave
    for _ in range(int(rng.integers(1, 6))):
        width = int(rng.uniform(0.12, 1.2) * sample_rate)
        noise = coloured_noise(rng, width, sample_rate, [3, corner / 4, corner, corner * 8], [-9, -3, 0, -3 * slope])
        rough = db_to_amplitude(random_curve(rng, width, sample_rate, rng.uniform(8, 40), rng.uniform(1, 8)))
        swell = int(rng.uniform(0.03, 0.25) * sample_rate)
        bump = noise * rough * ramps(width, min(swell, width // 2), int(width * rng.uniform(0.2, 0.5)))
        add_at(out, normalise(bump), int(rng.integers(-width // 2, n)), np.exp(rng.normal(0, 0.7)))
    if rng.random() < 0.3:  # the microphone membrane reaches its limit
        limit = np.float32(rng.uniform(0.3, 0.9) * np.abs(out).max())
        out = np.clip(out, -limit, limit)
    return make_negative("buffet", out, 15, 400)


def slaps(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """Waves on stones or a hull, flapping leaves: short bursts of noise that rise about as fast as they fall."""
    n = int(min(rng.uniform(1, 15), max_duration_s) * sample_rate)
    out = np.zeros(n, np.float32)
    low = np.exp(rng.uniform(np.log(80), np.log(600)))
    for _ in range(int(rng.integers(1, 12))):
        width = int(rng.uniform(0.06, 0.5) * sample_rate)
        stroke = band_noise(rng, width, sample_rate, low, low * rng.uniform(2, 10), 9)
        stroke *= ramps(width, int(width * rng.uniform(0.3, 0.6)), int(width * rng.uniform(0.3, 0.6)))
        add_at(out, normalise(stroke), int(rng.integers(0, n)), np.exp(rng.normal(0, 0.8)))
    return make_negative("slaps", out, low, min(low * 6, 0.5 * sample_rate))


def thunder(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """Rolling noise at 15-200 Hz for 0.6-15 s. Half of the sounds, the nearby lightning, have crackles at the start."""
    n = int(min(np.exp(rng.uniform(np.log(0.6), np.log(15))), max_duration_s) * sample_rate)
    peak = rng.uniform(20, 120)
    samples = coloured_noise(rng, n, sample_rate, [5, peak / 2, peak, peak * 8], [-20, -3, 0, -rng.uniform(20, 50)])
    t = np.linspace(0, 1, n)
    rolls = random_curve(rng, n, sample_rate, rng.uniform(1, 4), rng.uniform(2, 6)) - 22 * t
    samples = samples * db_to_amplitude(rolls) * ramps(n, int(rng.uniform(0.005, 0.3) * sample_rate), n // 3)
    if rng.random() < 0.5:
        for at in rng.exponential(0.25, int(rng.integers(3, 15))):
            width = int(rng.uniform(0.02, 0.15) * sample_rate)
            crack = white_noise(rng, width) * np.exp(-np.linspace(0, 6, width)).astype(np.float32)
            add_at(samples, crack, int(at * sample_rate), rng.uniform(0.1, 1.2))
        samples = shape_spectrum(samples, sample_rate, [30, 150, 2000], [0, 0, -rng.uniform(10, 35)])
    return make_negative("thunder", samples, 15, 400)


def water(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """A river, a waterfall, or surf whose level rises and falls every 3-12 s."""
    n = int(max_duration_s * sample_rate)
    samples = coloured_noise(
        rng, n, sample_rate, [10, 60, 400, 2000], [rng.uniform(-20, 3), rng.uniform(-10, 3), 0, rng.uniform(-15, 5)]
    )
    if rng.random() < 0.5:
        samples = samples * db_to_amplitude(
            random_curve(rng, n, sample_rate, rng.uniform(0.08, 0.3), rng.uniform(3, 8))
        )
    return make_negative("water", samples, 20, 2000)


def rain(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """Rain on the recorder housing: short damped knocks, 0.3 to 200 per second."""
    duration = min(rng.uniform(1, 25), max_duration_s)
    n = int(duration * sample_rate)
    rate = np.exp(rng.uniform(np.log(0.3), np.log(200)))
    out = np.zeros(n, np.float32)
    drops = [_drop(rng, sample_rate) for _ in range(6)]
    for at in rng.integers(0, n, min(rng.poisson(rate * duration) + 1, 500)):
        add_at(out, drops[int(rng.integers(6))], int(at), np.exp(rng.normal(0, 0.8)))
    if rate > 20:
        hiss = band_noise(rng, n, sample_rate, 300, 3000, 8)
        out = normalise(out) + np.float32(rng.uniform(0.1, 1)) * hiss * ramps(n, n // 8, n // 8)
    return make_negative("rain", out, 50, 2000)


def _drop(rng: np.random.Generator, sample_rate: int) -> Samples:
    hz = np.exp(rng.uniform(np.log(60), np.log(1200)))
    return normalise(knock(rng, sample_rate, hz, rng.uniform(0.003, 0.03)))


def drops(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """Single drops from leaves on the recorder housing: a click, the resonance of the box, sometimes a splash.

    They are as loud and as sudden as a gunshot, but end before the reverberation of a gunshot would.
    """
    duration = min(rng.uniform(0.3, 12), max_duration_s)
    n = int(duration * sample_rate)
    out = np.zeros(n, np.float32)
    box_hz, ring_s = np.exp(rng.uniform(np.log(70), np.log(900))), np.exp(rng.uniform(np.log(0.006), np.log(0.08)))
    dull_hz, splash = np.exp(rng.uniform(np.log(250), np.log(3000))), rng.uniform(0, 0.6)
    for at in rng.uniform(0, duration, 1 + rng.poisson(duration * np.exp(rng.uniform(np.log(0.4), np.log(8))))):
        drop = knock(rng, sample_rate, box_hz * np.exp(rng.normal(0, 0.15)), ring_s * np.exp(rng.normal(0, 0.3)))
        if rng.random() < splash:
            width = int(rng.uniform(0.02, 0.12) * sample_rate)
            sprayed = white_noise(rng, width) * np.exp(-np.linspace(0, rng.uniform(3, 6), width)).astype(np.float32)
            drop = np.pad(normalise(drop), (0, max(0, width - len(drop))))
            drop[:width] += np.float32(rng.uniform(0.1, 1)) * sprayed
        dulled = shape_spectrum(drop, sample_rate, [20, dull_hz, 4 * dull_hz], [0, 0, -rng.uniform(6, 30)])
        add_at(out, normalise(dulled), int(at * sample_rate), np.exp(rng.normal(0, 0.8)))
    return make_negative("drops", out, 40, 1500)


def knocks(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """Handling, footsteps, an animal at the recorder: a few thumps at regular or irregular times."""
    duration = min(rng.uniform(0.3, 8), max_duration_s)
    out = np.zeros(int(duration * sample_rate), np.float32)
    hz, decay = np.exp(rng.uniform(np.log(25), np.log(500))), rng.uniform(0.01, 0.12)
    if rng.random() < 0.5:
        times = np.arange(rng.uniform(0, 0.2), duration, rng.uniform(0.25, 1.2))
    else:
        times = rng.uniform(0, duration, int(rng.integers(1, 8)))
    for at in times:
        add_at(out, normalise(knock(rng, sample_rate, hz, decay)), int(at * sample_rate), np.exp(rng.normal(0, 0.5)))
    return make_negative("knocks", out, 20, 1000)


def handling(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """Fingers, cloth, leaves or grass on the housing: bursts of noise of 10-250 ms, single or dozens.

    They start at once or within tens of milliseconds. The onset resembles a gunshot, but no reverberation follows.
    """
    n = int(min(np.exp(rng.uniform(np.log(0.3), np.log(8))), max_duration_s) * sample_rate)
    out = np.zeros(n, np.float32)
    low = np.exp(rng.uniform(np.log(15), np.log(400)))
    high, slope = np.exp(rng.uniform(np.log(2.0 * low), np.log(6000))), rng.uniform(6, 30)  # Hz, dB per octave
    length, rate = np.exp(rng.uniform(np.log(0.01), np.log(0.2))), np.exp(rng.uniform(np.log(0.2), np.log(15)))
    max_rise = rng.uniform(0.1, 0.6) if rng.random() < 0.5 else 0.0  # as a fraction of the burst
    at = 0.1 * rng.random() * n
    for _ in range(1 + rng.poisson(rate * n / sample_rate)):
        width = int(length * np.exp(rng.normal(0, 0.5)) * sample_rate) + 16
        stroke = coloured_noise(rng, width, sample_rate, [low / 4, low, high, high * 4], [-24, 0, 0, -2 * slope])
        if rng.random() < 0.6:
            stroke *= np.exp(-np.linspace(0, rng.uniform(2, 5), width)).astype(np.float32)
        rise = max(rng.uniform(0, 0.008) * sample_rate, max_rise * rng.random() * width)
        stroke *= ramps(width, int(rise), width // 3)
        add_at(out, normalise(stroke), int(at), np.exp(rng.normal(0, 0.7)))
        at += rng.exponential(sample_rate / rate)
        if at > n:
            at = rng.random() * n
    return make_negative("handling", out, low, min(high, 0.5 * sample_rate))


def strokes(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """Cloth, a hand or light wind on a microphone without protection: bursts of noise below 400 Hz.

    They are as long and as low as a distant gunshot, but have a gradual onset or follow one another closely.
    """
    n = int(min(np.exp(rng.uniform(np.log(0.5), np.log(15))), max_duration_s) * sample_rate)
    out = np.zeros(n, np.float32)
    low = np.exp(rng.uniform(np.log(15), np.log(120)))
    high, slope = low * np.exp(rng.uniform(np.log(1.5), np.log(4))), rng.uniform(9, 36)  # Hz, dB per octave
    length, rise = np.exp(rng.uniform(np.log(0.04), np.log(0.35))), rng.uniform(0.05, 0.6)
    rough_db = rng.uniform(0, 6)
    for _ in range(1 + rng.poisson(n / sample_rate * np.exp(rng.uniform(np.log(0.2), np.log(4))))):
        width = int(length * np.exp(rng.normal(0, 0.4)) * sample_rate) + 32
        stroke = coloured_noise(rng, width, sample_rate, [low / 4, low, high, high * 8], [-2 * slope, 0, 0, -3 * slope])
        stroke *= db_to_amplitude(random_curve(rng, width, sample_rate, rng.uniform(8, 40), rough_db))
        rises = np.clip(rise * np.exp(rng.normal(0, 0.4)), 0, 0.7)
        stroke *= ramps(width, int(rises * width), int(min(0.95 - rises, 0.6) * width))
        add_at(out, normalise(stroke), int(rng.integers(-width // 2, n)), np.exp(rng.normal(0, 0.6)))
    return make_negative("strokes", out, low, 2 * high)


def wood(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """A branch that cracks, or a tree that falls: a series of cracks, the noise of leaves, a thud."""
    falls = rng.random() < 0.5
    duration = min(rng.uniform(2.0, 6) if falls else rng.uniform(0.2, 2), max_duration_s)
    n = int(duration * sample_rate)
    out = np.zeros(n, np.float32)
    for at in np.sort(duration * rng.beta(2, 2, int(rng.integers(2, 25) if falls else rng.integers(1, 6)))):
        crack = knock(rng, sample_rate, rng.uniform(250, 1500), rng.uniform(0.003, 0.02))
        add_at(out, normalise(crack), int(0.85 * at * sample_rate), np.exp(rng.normal(0, 0.7)))
    if falls:
        rush = band_noise(rng, n, sample_rate, 200, 1500, 8) * np.linspace(0, 1, n, dtype=np.float32) ** 2
        out += np.float32(rng.uniform(0.1, 0.6)) * rush * ramps(n, 1, n // 10)
        thud = knock(rng, sample_rate, rng.uniform(20, 90), rng.uniform(0.05, 0.3))
        add_at(out, normalise(thud), int(rng.uniform(0.75, 0.9) * n), rng.uniform(0.5, 3))
    return make_negative("wood", out, 40, 1800)


def door(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """A car door or a lid: one thud with a rattle."""
    n = int(min(rng.uniform(0.3, 0.8), max_duration_s) * sample_rate)
    out = np.zeros(n, np.float32)
    add_at(out, knock(rng, sample_rate, rng.uniform(50, 180), rng.uniform(0.02, 0.07)), int(0.02 * sample_rate))
    for _ in range(int(rng.integers(0, 5))):
        rattle = knock(rng, sample_rate, rng.uniform(400, 1500), rng.uniform(0.005, 0.02))
        add_at(out, rattle, int(rng.uniform(0, 0.2) * sample_rate), rng.uniform(0.05, 0.4))
    return make_negative("door", out, 40, 1500)


def switching(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """Electrical noise of the recorder: the transient after power-on, a step of the DC level, or clicks."""
    kind = rng.choice(("transient", "step", "clicks"))
    n = int(min(rng.uniform(0.5, 6), max_duration_s) * sample_rate)
    t = np.arange(n) / sample_rate
    if kind == "clicks":
        out = np.zeros(n, np.float32)
        at = rng.integers(0, n, int(rng.integers(1, 30)))
        out[at] = rng.standard_normal(len(at))
    elif kind == "step":
        out = np.sign(rng.standard_normal()) * np.exp(-t / rng.uniform(0.1, 2)).astype(np.float32)
    else:
        out = np.exp(-t / rng.uniform(0.05, 1)) * np.cos(2 * np.pi * rng.uniform(0.3, 12) * t + rng.uniform(0, 6.28))
        out = out.astype(np.float32) + 0.3 * white_noise(rng, n) * np.exp(-t / 0.05).astype(np.float32)
    return make_negative("switching", out, 0.5, 0.5 * sample_rate)
