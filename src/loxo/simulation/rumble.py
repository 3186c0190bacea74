"""Elephant rumbles, and the roars and trumpets that are none.

A rumble is a harmonic tone: a contour of its fundamental f0, a ladder of harmonic levels with a formant hump, slow
amplitude changes, and what the way through forest or savanna leaves of it. Far off in forest that is one line.

Sources of the numbers: [P88] Poole et al. 1988, Behav. Ecol. Sociobiol. 22:385; [H18] Hedwig, DeBellis & Wrege 2018,
Behav. Ecol. Sociobiol. 72; [ELP] statistics of the public annotation tables of the Elephant Listening Project
(3,938 rumbles); [C104] levels measured on 104 close calls. What has no source is an engineering choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loxo.simulation.sounds import (
    Call,
    Values,
    audible,
    band_noise,
    curve,
    decibels,
    echoes,
    harmonics_below,
    normalise,
    play,
    ramps,
    wavetable,
)

# Level of each harmonic re the first, dB, and its spread over calls [C104]: a dip at 60-90 Hz, a hump at 100-140 Hz.
LADDER_DB = (0.0, 5.5, -3.0, -8.6, -7.0, -7.0, -7.0, -7.0, -10.7, -13.6, -16.0, -18.0, -20.0, -22.0, -24.0)
LADDER_SD = (0.0, 6.0, 5.0, 7.0, 8.0, 8.0, 8.0, 8.0, 7.0, 6.0, 6.0, 6.0, 6.0, 6.0, 6.0)
LADDER_F0_HZ = 18.6  # median f0 of those calls
QUIET_DB = -32.0  # harmonics this far under the strongest are left out

HABITATS = ("clearing", "forest", "savanna")
CONTOURS = ("arch", "fall", "double arch", "rise", "flat")


@dataclass(frozen=True)
class Rumble:
    """The parameters of one rumble as it reaches the recorder."""

    f0_hz: float  # median
    duration_s: float  # audible part
    contour: str
    span: float  # 5-95 % range of f0, as a share of f0
    peak: float  # where in the call the contour turns, 0-1
    jitter: float  # standard deviation of the fast f0 irregularity, as a share of f0
    levels_db: tuple[float, ...]  # of the harmonics as received, strongest at 0
    attack_s: float
    decay_s: float
    am_db: float  # standard deviation of the slow level changes
    am_hz: float
    breath_db: float  # level of the noise in the voice, re the tone
    tail_s: float  # multipath
    tail_level: float
    distance_m: float
    habitat: str


def two_sided(rng: np.random.Generator, low: float, median: float, high: float) -> float:
    """A log-normal draw with these 5, 50 and 95 % points (different widths below and above the median)."""
    z = float(rng.standard_normal())
    return median * ((high if z > 0 else low) / median) ** (abs(z) / 1.645)


def draw_rumble(rng: np.random.Generator, *, unusual: float = 0.0) -> Rumble:
    """A rumble as surveys hold them. `unusual`: share of those that are shorter or longer than nearly all of these."""
    habitat = str(rng.choice(HABITATS, p=(0.25, 0.6, 0.15)))
    if habitat == "clearing":
        distance = float(np.exp(rng.uniform(np.log(20), np.log(300))))
    else:  # rumbles carry to 0.8-3.2 km in forest [H18]
        distance = float(np.exp(rng.uniform(np.log(50), np.log(2000))))
    # Close calls: 13.8 / 18.6 / 25.8 Hz [C104]. The lines that forest recorders pick up lie higher: mean dominant
    # frequency 31 Hz [H18], boxes from 22 to 45 Hz [ELP].
    f0 = two_sided(rng, 19.0, 26.5, 36.0) if habitat == "forest" else two_sided(rng, 13.8, 18.6, 25.8)
    f0 = float(np.clip(f0, 10.0, 38.0))
    # 1.7 / 3.8 / 7.0 s [ELP], one in twelve of them the short calls of a clearing.
    duration = two_sided(rng, 1.95, 4.1, 7.3) if rng.random() < 0.92 else two_sided(rng, 0.6, 1.7, 5.1)
    if unusual and rng.random() < unusual:
        duration = rng.uniform(0.7, 1.8) if rng.random() < 0.6 else rng.uniform(6.5, 10.5)
    duration = float(np.clip(duration, 0.8, 10.0))
    contour = str(rng.choice(CONTOURS, p=(0.4, 0.2, 0.15, 0.08, 0.17)))
    span = two_sided(rng, 0.06, 0.18, 0.32)  # [C104]
    if contour == "flat":
        span *= 0.3
    elif habitat == "forest":  # the single lines of far calls move little
        span *= 0.7
    return Rumble(
        f0_hz=f0,
        duration_s=duration,
        contour=contour,
        span=span,
        peak=float(rng.beta(3, 4)),
        jitter=float(rng.uniform(0.003, 0.009)),
        levels_db=_received_levels(rng, f0, distance, habitat),
        attack_s=float(min(rng.uniform(0.2, 0.5), 0.35 * duration)),
        decay_s=float(min(rng.uniform(0.3, 0.8), 0.45 * duration)),
        am_db=two_sided(rng, 0.9, 2.1, 3.8),  # [C104]
        am_hz=float(rng.uniform(0.6, 3.0)),
        breath_db=float(rng.uniform(-40, -16)),
        tail_s=float(rng.uniform(0.02, 0.3)),
        tail_level=float(rng.uniform(0.0, 0.45)),
        distance_m=distance,
        habitat=habitat,
    )


def _received_levels(rng: np.random.Generator, f0: float, distance_m: float, habitat: str) -> tuple[float, ...]:
    """Harmonic levels at the recorder, the strongest at 0 dB, cut after the last one that counts."""
    harmonic = np.arange(1, len(LADDER_DB) + 1)
    # The formants stay at their frequencies: a higher voice meets them at a lower harmonic number.
    place = np.where(harmonic <= 2, harmonic, np.clip(harmonic * f0 / LADDER_F0_HZ, 2.0, len(LADDER_DB)))
    ladder = np.interp(place, harmonic, LADDER_DB)
    spread = np.interp(place, harmonic, LADDER_SD)
    noise = rng.standard_normal(len(ladder))
    noise = np.convolve(np.pad(noise, 1, mode="edge"), (0.5, 0.7, 0.5), "valid")  # neighbours vary together
    levels = ladder + spread * noise * 0.75
    # Loss above the spherical one: chosen so that at 100-200 m half the calls lose all harmonics [H18].
    loss = two_sided(rng, 4.0, 12.0, 30.0) * (0.5 if habitat == "savanna" else 1.0)
    levels -= loss * (harmonic * f0 / 100) ** 1.5 * distance_m / 100
    if habitat == "forest" and rng.random() < 0.35:
        levels[1] -= rng.uniform(0, 14)  # ground and canopy interfere: whole calls with nothing but f0 are common
    if rng.random() < 0.06:
        levels[0] -= rng.uniform(6, 25)  # or the second harmonic is the one that is left
    levels -= levels.max()
    return tuple(float(level) for level in levels[: int(np.flatnonzero(levels > QUIET_DB)[-1]) + 1])


def contour_shape(name: str, peak: float, x: Values) -> Values:
    """The course of f0 over a call, x running from 0 to 1, in arbitrary units."""
    peak = min(max(peak, 0.12), 0.88)
    rising = np.clip(x / peak, 0, 1)
    falling = np.clip((x - peak) / (1 - peak), 0, 1)
    if name in ("arch", "flat"):
        return np.sin(0.5 * np.pi * rising) * 0.9 - (1 - np.cos(0.5 * np.pi * falling)) * 1.1
    if name == "fall":
        return -(x**1.3) + 0.15 * np.sin(np.pi * rising)
    if name == "rise":
        return x**1.2 - 0.5 * np.clip((x - 0.85) / 0.15, 0, 1)
    if name == "double arch":
        first = x < peak
        part = np.where(first, x / peak, (x - peak) / (1 - peak))
        return np.sin(np.pi * np.clip(part, 0, 1)) ** 0.8 * np.where(first, 1.0, 0.75)
    raise ValueError(f"unknown contour {name!r}")


def f0_contour(rumble: Rumble, n: int, sample_rate: int, rng: np.random.Generator) -> Values:
    """f0 in Hz at each sample."""
    x = np.linspace(0, 1, n)
    shape = contour_shape(rumble.contour, rumble.peak, x)
    shape = shape + curve(rng, n, sample_rate, 1.0, 0.06 * float(np.ptp(shape)))
    thin = shape[:: max(1, n // 256)]
    low, middle, high = np.quantile(thin, (0.05, 0.5, 0.95))
    relative = (shape - middle) / max(high - low, 1e-6) * rumble.span
    relative = relative + curve(rng, n, sample_rate, 7.0, rumble.jitter)
    return rumble.f0_hz * np.clip(1 + relative, 0.4, 1.8)


def synthesise_rumble(rumble: Rumble, sample_rate: int, rng: np.random.Generator) -> Call:
    """The sound of `rumble`. Its core is where the envelope is within 15 dB of its peak, as an annotator sees it."""
    # A raised cosine is 15 dB down at 0.27 of its length: the call is longer than its audible part by that.
    n = int((rumble.duration_s + 0.27 * (rumble.attack_s + rumble.decay_s)) * sample_rate)
    f0 = f0_contour(rumble, n, sample_rate, rng)
    count = harmonics_below(float(f0.max()), sample_rate, len(rumble.levels_db))
    levels = np.asarray(rumble.levels_db[:count])
    tone = play(wavetable(rng, levels), f0, sample_rate)
    if rumble.breath_db > -34 and rumble.distance_m < 300:
        breath = band_noise(rng, n, sample_rate, 0.8 * rumble.f0_hz, 160.0)
        tone = tone + np.float32(10 ** (rumble.breath_db / 20) * np.sqrt(np.sum(10 ** (levels / 10)))) * breath
    level_db = curve(rng, n, sample_rate, rumble.am_hz, rumble.am_db)
    tone = tone * decibels(level_db) * ramps(n, int(rumble.attack_s * sample_rate), int(rumble.decay_s * sample_rate))
    if rumble.tail_level > 0.05:
        tone = echoes(rng, tone, sample_rate, rumble.tail_s, rumble.tail_level)
    strong = np.flatnonzero(levels > -20) + 1
    return Call(
        samples=normalise(tone),
        label="rumble",
        kind="rumble",
        low_hz=float(0.9 * strong[0] * f0.min()),
        high_hz=float(1.1 * strong[-1] * f0.max()),
        core=audible(tone, sample_rate, 15.0, 0.25),
        line_hz=float(np.median(f0) * (1 + int(np.argmax(levels[:2])))),
    )


def draw_roar(rng: np.random.Generator, sample_rate: int, longest_s: float = 60.0) -> Call:
    """A roar: noisy, harmonic, 60-250 Hz, 1-3 s. Not a rumble, though by the same animal."""
    return _voice(rng, sample_rate, "roar", rng.uniform(60, 250), min(rng.uniform(1, 3), longest_s), -4.0, 0.25)


def draw_trumpet(rng: np.random.Generator, sample_rate: int, longest_s: float = 60.0) -> Call:
    """A trumpet: f0 at 300-600 Hz with strong harmonics, 0.5-1.5 s."""
    return _voice(
        rng,
        sample_rate,
        "trumpet",
        min(rng.uniform(300, 600), 0.35 * sample_rate),
        min(rng.uniform(0.5, 1.5), longest_s),
        -14.0,
        0.2,
    )


def _voice(
    rng: np.random.Generator, sample_rate: int, kind: str, f0_hz: float, duration_s: float, noise_db: float, span: float
) -> Call:
    n = int(duration_s * sample_rate)
    f0 = f0_hz * (1 + span * np.sin(np.pi * np.linspace(0, 1, n)) + curve(rng, n, sample_rate, 20.0, 0.03))
    count = harmonics_below(float(f0.max()), sample_rate, 16)
    tilt = -rng.uniform(2, 6) * np.log2(np.arange(1, count + 1)) + 4 * rng.standard_normal(count)
    tone = normalise(play(wavetable(rng, tilt), f0, sample_rate))
    tone = tone + np.float32(10 ** (noise_db / 20)) * band_noise(rng, n, sample_rate, f0_hz, 8 * f0_hz, 10.0)
    tone = tone * decibels(curve(rng, n, sample_rate, 12.0, 3.0)) * ramps(n, n // 6, n // 4)
    return Call(normalise(tone), None, kind, f0_hz * 0.8, min(f0_hz * 6, sample_rate / 2), (0, n), f0_hz)
