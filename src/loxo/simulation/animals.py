"""Animal and human sounds that detectors confuse with rumbles or gunshots.

Purring, roaring, lowing, drumming, barking, crowing, trills, insects and speech. Each generator is
`f(rng, sample_rate, max_duration_s) -> Call` with label None.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from loxo.simulation.machines import make_negative
from loxo.simulation.sounds import (
    Call,
    Samples,
    Values,
    add_at,
    band_noise,
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


def voiced(
    rng: np.random.Generator, sample_rate: int, f0: Values, formants_hz: tuple[float, ...], noise_db: float
) -> Samples:
    """A harmonic voice with formants, and breath noise at `noise_db` relative to the tone."""
    n = len(f0)
    count = harmonics_below_nyquist(float(f0.max()), sample_rate, 24)
    hz = np.arange(1, count + 1) * float(np.median(f0))
    levels = -6 * np.log2(np.arange(1, count + 1)) + 2 * rng.standard_normal(count)
    for formant in formants_hz:
        levels += 16 * np.exp(-np.square(np.log2(hz / formant) / 0.35))
    tone = normalise(play_wavetable(wavetable(rng, levels), f0, sample_rate))
    low = float(np.median(f0))
    return tone + np.float32(10 ** (noise_db / 20)) * band_noise(rng, n, sample_rate, low, 6 * low, 9)


def _series(
    rng: np.random.Generator,
    sample_rate: int,
    max_duration_s: float,
    sounds: list[Samples],
    gaps_s: NDArray[np.floating],
) -> Samples:
    """The sounds one after the other; gaps_s are the times from onset to onset."""
    starts = np.concatenate([[0.0], np.cumsum(gaps_s)])[: len(sounds)]
    n = int((starts[-1] * sample_rate) + len(sounds[-1]))
    out = np.zeros(min(n, int(max_duration_s * sample_rate)), np.float32)
    for start, sound in zip(starts, sounds, strict=True):
        add_at(out, sound, int(start * sample_rate), np.exp(rng.normal(0, 0.25)))
    return out


def purr(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """A cat's purr: a 22-30 Hz pulse train whose level rises and falls with each breath, without pauses."""
    n = int(min(rng.uniform(4, 40), max_duration_s) * sample_rate)
    t = np.arange(n) / sample_rate
    breath = np.sin(2 * np.pi * t / rng.uniform(1.2, 3.0) + rng.uniform(0, 6.28))
    f0 = rng.uniform(22, 30) * (1 + 0.04 * np.sign(breath) + random_curve(rng, n, sample_rate, 4, 0.01))
    count = harmonics_below_nyquist(float(f0.max()), sample_rate, 20)
    tone = play_wavetable(wavetable(rng, rng.uniform(-14, 0, count) - 0.4 * np.arange(count), True), f0, sample_rate)
    samples = normalise(tone) + np.float32(rng.uniform(0.1, 0.6)) * band_noise(rng, n, sample_rate, 60, 600)
    return make_negative("purr", samples * db_to_amplitude(5 * np.abs(breath)) * ramps(n, n // 20, n // 20), 22, 500)


def lion(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """A roaring bout: moans of about a second at 40-200 Hz, each shorter than the one before, down to grunts."""
    sounds = []
    top = rng.uniform(90, 200)
    count = int(rng.integers(2, 14))
    for k in range(count):
        n = int(max(0.25, rng.uniform(0.8, 1.8) * 0.9**k) * sample_rate)
        f0 = top * (0.55 + 0.45 * np.sin(np.pi * np.linspace(0.1, 1, n)) + random_curve(rng, n, sample_rate, 20, 0.03))
        voice = normalise(voiced(rng, sample_rate, f0, (top * 1.3, top * 3), rng.uniform(-8, 2)))
        sounds.append(voice * ramps(n, n // 4, n // 3))
    return make_negative(
        "lion",
        _series(rng, sample_rate, max_duration_s, sounds, rng.uniform(1.0, 2.2) * 0.95 ** np.arange(count)),
        40,
        800,
    )


def cattle(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """The low of a cow or buffalo: 70-200 Hz, 0.8-2.5 s, many strong harmonics."""
    n = int(min(rng.uniform(0.8, 2.5), max_duration_s) * sample_rate)
    f0 = rng.uniform(70, 200) * (
        1 + rng.uniform(0.05, 0.4) * np.sin(np.pi * np.linspace(0, 1, n) ** rng.uniform(0.6, 2))
    )
    samples = voiced(rng, sample_rate, f0, (rng.uniform(250, 500), rng.uniform(700, 1200)), rng.uniform(-25, -8))
    return make_negative("cattle", samples * ramps(n, n // 6, n // 4), 70, 1500)


def trill(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """The trill of a frog or toad: a tone at 150-1500 Hz with 8-60 pulses per second."""
    n = int(min(rng.uniform(0.4, 20), max_duration_s) * sample_rate)
    t = np.arange(n) / sample_rate
    pulses = np.clip(np.sin(2 * np.pi * rng.uniform(8, 60) * t), 0, 1) ** rng.uniform(0.5, 3)
    carrier = np.exp(rng.uniform(np.log(150), np.log(min(1500.0, 0.4 * sample_rate))))
    f0 = carrier * (1 + random_curve(rng, n, sample_rate, 2, 0.01))
    levels = [0.0, -rng.uniform(5, 25)][: harmonics_below_nyquist(float(f0.max()), sample_rate, 2)]
    samples = play_wavetable(wavetable(rng, levels), f0, sample_rate) * pulses.astype(np.float32)
    return make_negative("trill", samples * ramps(n, n // 10, n // 10), 0.8 * carrier, 2.2 * carrier)


def drumming(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """A grouse (thumps near 40 Hz at an increasing rate), chest beats, or feet on a buttress root."""
    grouse = rng.random() < 0.5
    count = int(rng.integers(12, 40) if grouse else rng.integers(2, 14))
    hz, decay = (rng.uniform(30, 50), 0.06) if grouse else (rng.uniform(60, 500), rng.uniform(0.02, 0.09))
    thump = normalise(knock(rng, sample_rate, hz, decay))
    if grouse:
        gaps = np.geomspace(rng.uniform(0.5, 1.1), rng.uniform(0.06, 0.12), count)
    else:
        gaps = np.abs(rng.normal(rng.uniform(0.08, 0.45), 0.04, count)) + 0.04
    return make_negative("drumming", _series(rng, sample_rate, max_duration_s, [thump] * count, gaps), 25, 1000)


def bark(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """A dog, a bushbuck or a baboon: harsh bursts of 0.08-0.35 s with a sharp onset, single or in series."""
    base, length = min(rng.uniform(180, 700), 0.3 * sample_rate), rng.uniform(0.08, 0.35)
    sounds = []
    for _ in range(int(rng.integers(1, 9))):
        n = int(length * rng.uniform(0.8, 1.2) * sample_rate)
        f0 = base * (1 + rng.uniform(0.1, 0.5) * np.sin(np.pi * np.linspace(0, 1, n)))
        voice = voiced(rng, sample_rate, f0, (rng.uniform(500, 900), rng.uniform(1000, 1700)), rng.uniform(-10, 4))
        voice = normalise(voice) * ramps(n, max(8, n // 12), n // 2)
        if rng.random() < 0.5:  # reverberation between trees, as long as that of a gunshot
            tail = band_noise(rng, 2 * n, sample_rate, base, 3 * base) * np.exp(-np.linspace(0, 5, 2 * n))
            voice = np.concatenate([voice, np.zeros(2 * n, np.float32)])
            add_at(voice, tail.astype(np.float32), n // 3, rng.uniform(0.1, 0.5))
        sounds.append(voice)
    gaps = rng.uniform(0.25, 1.5) * np.exp(rng.normal(0, 0.2, len(sounds)))
    return make_negative("bark", _series(rng, sample_rate, max_duration_s, sounds, gaps), base * 0.8, 1900)


def song(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """Roosters, gibbons and doves: notes of 0.15-1.5 s whose pitch changes within about 300-1500 Hz."""
    sounds = []
    base = rng.uniform(250, 900)
    for _ in range(int(rng.integers(1, 8))):
        n = int(rng.uniform(0.15, 1.5) * sample_rate)
        x = np.linspace(0, 1, n)
        f0 = base * (1 + rng.uniform(-0.4, 0.8) * np.sin(np.pi * x * rng.uniform(0.4, 1.2)))
        f0 = np.clip(
            f0 + rng.uniform(0, 0.05) * base * np.sin(2 * np.pi * rng.uniform(5, 15) * x), 100, 0.45 * sample_rate
        )
        voice = voiced(rng, sample_rate, f0, (rng.uniform(500, 1500),), rng.uniform(-40, -12))
        sounds.append(normalise(voice) * ramps(n, n // 6, n // 4))
    gaps = rng.uniform(0.3, 2.0, len(sounds))
    return make_negative("song", _series(rng, sample_rate, max_duration_s, sounds, gaps), 200, 1900)


def speech(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """People near the recorder: syllables at 85-330 Hz with formants, some with an initial plosive, and sibilants."""
    sounds = []
    base = rng.uniform(85, 330)
    for _ in range(int(rng.integers(4, 18))):
        n = int(rng.uniform(0.08, 0.3) * sample_rate)
        if rng.random() < 0.25:
            sounds.append(band_noise(rng, n, sample_rate, 900, 3000) * ramps(n, n // 4, n // 4) * np.float32(0.4))
            continue
        f0 = base * (1 + rng.uniform(-0.2, 0.2) * np.linspace(0, 1, n))
        voice = voiced(rng, sample_rate, f0, (rng.uniform(300, 800), rng.uniform(900, 1700)), -22)
        sounds.append(normalise(voice) * ramps(n, int(n * rng.uniform(0.03, 0.25)), n // 4))
        if rng.random() < 0.3:
            burst = max(int(rng.uniform(0.005, 0.025) * sample_rate), 8)
            sounds[-1][:burst] += band_noise(rng, burst, sample_rate, 300, 3000) * np.float32(rng.uniform(0.3, 1.5))
    gaps = rng.uniform(0.14, 0.35, len(sounds)) + 0.6 * (rng.random(len(sounds)) < 0.15)
    return make_negative("speech", _series(rng, sample_rate, max_duration_s, sounds, gaps), base, 1800)


def chirps(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """A katydid or a frog nearby: a series of noise pulses of 0.03-0.45 s above 250 Hz.

    The pulses have a gradual onset and follow one another at irregular intervals.
    """
    low = min(np.exp(rng.uniform(np.log(300), np.log(1200))), 0.2 * sample_rate)
    high = min(low * rng.uniform(1.6, 5), 0.49 * sample_rate)
    length_s, pause_s, total_s = (
        rng.uniform(0.04, 0.35),
        rng.uniform(0.06, 0.6),
        min(rng.uniform(4, 40), max_duration_s),
    )
    rise, fall, rest_probability = rng.uniform(0.15, 0.6), rng.uniform(0.2, 0.7), rng.uniform(0, 0.3)
    sounds: list[Samples] = []
    gaps: list[float] = []
    while not gaps or sum(gaps) < total_s:
        n = int(length_s * rng.uniform(0.6, 1.3) * sample_rate)
        sounds.append(band_noise(rng, n, sample_rate, low * rng.uniform(0.85, 1.15), high))
        sounds[-1] *= ramps(n, int(rise * n), int(fall * n))
        rest = rng.uniform(0.3, 2.5) if rng.random() < rest_probability else 0.0
        gaps.append(n / sample_rate + pause_s * rng.uniform(0.5, 1.5) + rest)
    return make_negative("chirps", _series(rng, sample_rate, max_duration_s, sounds, np.array(gaps)), low, high)


def insects(rng: np.random.Generator, sample_rate: int, max_duration_s: float) -> Call:
    """Insect tones that a recorder without an anti-aliasing filter shifted down: steady, weak, amplitude-modulated."""
    n = int(max_duration_s * sample_rate)
    t = np.arange(n, dtype=np.float64) / sample_rate
    out = np.zeros(n, np.float32)
    for _ in range(int(rng.integers(1, 3))):
        f0 = np.exp(rng.uniform(np.log(100), np.log(0.45 * sample_rate)))
        beat = np.clip(np.sin(2 * np.pi * rng.uniform(0.3, 25) * t) + rng.uniform(-0.3, 1.5), 0, 2)
        line = coloured_noise(
            rng, n, sample_rate, [f0 * 0.96, f0 * 0.985, f0, f0 * 1.015, f0 * 1.04], [-70, -25, 0, -25, -70]
        )
        out += line * beat.astype(np.float32) * np.float32(rng.uniform(0.2, 1))
    return make_negative("insects", out, 60, 0.5 * sample_rate)
