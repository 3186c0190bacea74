"""Elephant rumbles, and other elephant calls that are not rumbles: roars and trumpets.

A rumble is a harmonic tone with a contour of its fundamental frequency f0, harmonic levels with a formant peak, and
slow amplitude changes. Propagation through forest or savanna attenuates the harmonics. At a distance in forest often
only f0 remains, as a single line in the spectrogram.

Sources of the numbers: [P88] Poole et al. 1988, Behav. Ecol. Sociobiol. 22:385; [H18] Hedwig, DeBellis & Wrege 2018,
Behav. Ecol. Sociobiol. 72; [ELP] statistics of the public annotation tables of the Elephant Listening Project
(3,938 rumbles); [C104] levels measured on 104 close calls. Numbers without a source are engineering choices.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from loxo.simulation.sounds import (
    Call,
    Values,
    add_at,
    audible_span,
    band_noise,
    db_to_amplitude,
    echoes,
    harmonics_below_nyquist,
    normalise,
    play_wavetable,
    ramps,
    random_curve,
    wavetable,
)

# Level of each harmonic relative to the first, in dB, and its standard deviation over calls [C104]. The levels have a
# minimum at 60-90 Hz and a peak at 100-140 Hz.
HARMONIC_DB = (0.0, 5.5, -3.0, -8.6, -7.0, -7.0, -7.0, -7.0, -10.7, -13.6, -16.0, -18.0, -20.0, -22.0, -24.0)
HARMONIC_SD_DB = (0.0, 6.0, 5.0, 7.0, 8.0, 8.0, 8.0, 8.0, 7.0, 6.0, 6.0, 6.0, 6.0, 6.0, 6.0)
HARMONIC_F0_HZ = 18.6  # median f0 of those calls
MIN_HARMONIC_DB = -32.0  # relative to the strongest harmonic; weaker ones at the upper end are left out

MAX_CLOSE_HARMONICS = 30

HABITATS = ("clearing", "forest", "savanna")
CONTOURS = ("arch", "fall", "double arch", "rise", "flat")


@dataclass(frozen=True)
class Rumble:
    """The parameters of one rumble at the recorder."""

    f0_hz: float  # median
    duration_s: float  # of the audible part
    contour: str
    f0_range: float  # from the 5 % to the 95 % quantile of f0, as a fraction of f0_hz
    peak: float  # position of the turning point of the contour in the call, 0-1
    jitter: float  # standard deviation of the fast f0 variation, as a fraction of f0_hz
    levels_db: tuple[float, ...]  # received levels of the harmonics; the strongest is 0
    attack_s: float
    decay_s: float
    am_db: float  # standard deviation of the slow level changes
    am_hz: float  # turning points of the slow level changes per second
    breath_db: float  # level of the breath noise relative to the tone
    tail_s: float  # duration of the multipath tail
    tail_level: float
    distance_m: float
    habitat: str


def asymmetric_lognormal(rng: np.random.Generator, low: float, median: float, high: float) -> float:
    """A value from a log-normal distribution with these 5, 50 and 95 % quantiles; it may be asymmetric."""
    z = float(rng.standard_normal())
    return median * ((high if z > 0 else low) / median) ** (abs(z) / 1.645)


def draw_rumble(rng: np.random.Generator, *, unusual: float = 0.0) -> Rumble:
    """Parameters of a rumble with the statistics of forest surveys.

    `unusual`: probability of a duration that is rare in surveys: 0.7-1.8 s or 6.5-10.5 s before the limits 0.8-10 s.
    """
    habitat = str(rng.choice(HABITATS, p=(0.25, 0.6, 0.15)))
    if habitat == "clearing":
        distance = float(np.exp(rng.uniform(np.log(20), np.log(300))))
    else:  # rumbles are audible at 0.8-3.2 km in forest [H18]
        distance = float(np.exp(rng.uniform(np.log(50), np.log(2000))))
    # Close calls: 13.8 / 18.6 / 25.8 Hz [C104]. Frequencies in forest recordings are higher: mean dominant frequency
    # 31 Hz [H18], annotation boxes from 22 to 45 Hz [ELP].
    f0 = (
        asymmetric_lognormal(rng, 19.0, 26.5, 36.0)
        if habitat == "forest"
        else asymmetric_lognormal(rng, 13.8, 18.6, 25.8)
    )
    f0 = float(np.clip(f0, 10.0, 38.0))
    # 1.7 / 3.8 / 7.0 s [ELP]. One call in twelve has the shorter durations that are common in clearings.
    duration = (
        asymmetric_lognormal(rng, 1.95, 4.1, 7.3) if rng.random() < 0.92 else asymmetric_lognormal(rng, 0.6, 1.7, 5.1)
    )
    if unusual and rng.random() < unusual:
        duration = rng.uniform(0.7, 1.8) if rng.random() < 0.6 else rng.uniform(6.5, 10.5)
    duration = float(np.clip(duration, 0.8, 10.0))
    contour = str(rng.choice(CONTOURS, p=(0.4, 0.2, 0.15, 0.08, 0.17)))
    f0_range = asymmetric_lognormal(rng, 0.06, 0.18, 0.32)  # [C104]
    if contour == "flat":
        f0_range *= 0.3
    elif habitat == "forest":  # f0 of distant calls varies less
        f0_range *= 0.7
    return Rumble(
        f0_hz=f0,
        duration_s=duration,
        contour=contour,
        f0_range=f0_range,
        peak=float(rng.beta(3, 4)),
        jitter=float(rng.uniform(0.003, 0.009)),
        levels_db=_received_levels(rng, f0, distance, habitat),
        attack_s=float(min(rng.uniform(0.2, 0.5), 0.35 * duration)),
        decay_s=float(min(rng.uniform(0.3, 0.8), 0.45 * duration)),
        am_db=asymmetric_lognormal(rng, 0.9, 2.1, 3.8),  # [C104]
        am_hz=float(rng.uniform(0.6, 3.0)),
        breath_db=float(rng.uniform(-40, -16)),
        tail_s=float(rng.uniform(0.02, 0.3)),
        tail_level=float(rng.uniform(0.0, 0.45)),
        distance_m=distance,
        habitat=habitat,
    )


def draw_close_rumble(rng: np.random.Generator) -> Rumble:
    """Parameters of a call 5-150 m away, as at clearings and in clips from sound libraries.

    Such calls have many harmonics, with a formant peak at 80-160 Hz. The lowest harmonics may be weak, or removed by a
    high-pass. Onsets may be steep, durations short, and voices rough. The ranges are choices: they are wider than those
    of surveys, and include the calls of Asian elephants.
    """
    f0 = float(np.exp(rng.uniform(np.log(10.0), np.log(30.0))))
    hz = f0 * np.arange(1, MAX_CLOSE_HARMONICS + 1)
    levels = -rng.uniform(1, 7) * np.log2(hz / f0)
    for centre_hz, height_db in (
        (rng.uniform(75, 165), rng.uniform(0, 24)),
        (rng.uniform(200, 420), rng.uniform(-6, 14)),
    ):
        width = rng.uniform(0.2, 0.6)  # octaves
        levels += height_db * np.exp(-0.5 * np.square(np.log2(hz / centre_hz) / width))
    if rng.random() < 0.5:  # a high-pass
        levels -= rng.uniform(6, 30) * np.clip(np.log2(rng.uniform(25, 60) / hz), 0, 1.5)
    noise = np.convolve(rng.standard_normal(len(hz) + 2), (0.5, 0.7, 0.5), "valid")  # adjacent harmonics are correlated
    levels += rng.uniform(2, 6) * noise
    levels -= levels.max()
    duration = float(np.clip(asymmetric_lognormal(rng, 0.9, 2.6, 6.5), 0.7, 10.0))
    return Rumble(
        f0_hz=f0,
        duration_s=duration,
        contour=str(rng.choice(CONTOURS)),
        f0_range=asymmetric_lognormal(rng, 0.05, 0.2, 0.5),
        peak=float(rng.beta(2, 2)),
        jitter=float(np.exp(rng.uniform(np.log(0.003), np.log(0.025)))),
        levels_db=tuple(float(level) for level in levels[: int(np.flatnonzero(levels > MIN_HARMONIC_DB)[-1]) + 1]),
        attack_s=float(min(np.exp(rng.uniform(np.log(0.03), np.log(0.5))), 0.35 * duration)),
        decay_s=float(min(np.exp(rng.uniform(np.log(0.08), np.log(0.9))), 0.45 * duration)),
        am_db=asymmetric_lognormal(rng, 0.9, 2.4, 6.0),
        am_hz=float(rng.uniform(0.6, 6.0)),
        breath_db=float(rng.uniform(-34, -6)),
        tail_s=float(rng.uniform(0.02, 0.3)),
        tail_level=float(rng.uniform(0.0, 0.3)),
        distance_m=float(np.exp(rng.uniform(np.log(5), np.log(150)))),
        habitat="clearing",
    )


def with_roar(rng: np.random.Generator, call: Call, sample_rate: int) -> Call:
    """A rumble with a roar directly before or after it, in one breath. Only the rumble is an event."""
    roar = draw_roar(rng, sample_rate)
    core = call.samples[call.core[0] : call.core[1]]
    level = float(np.sqrt(np.mean(np.square(core, dtype=np.float64)))) * 10 ** (rng.uniform(-6, 16) / 20)
    first = rng.random() < 0.5
    gap = int(rng.uniform(-0.1, 0.3) * sample_rate)
    at = call.core[0] - gap - len(roar.samples) if first else call.core[1] + gap
    lead = max(0, -at)
    samples = np.zeros(lead + max(len(call.samples), at + len(roar.samples)), np.float32)
    add_at(samples, call.samples, lead)
    add_at(samples, roar.samples, lead + at, level)
    return replace(call, samples=samples, core=(call.core[0] + lead, call.core[1] + lead))


def _received_levels(rng: np.random.Generator, f0: float, distance_m: float, habitat: str) -> tuple[float, ...]:
    """Harmonic levels at the recorder in dB, the strongest at 0, up to the last one above MIN_HARMONIC_DB."""
    harmonic = np.arange(1, len(HARMONIC_DB) + 1)
    # Formants have fixed frequencies, so with a higher f0 they lie at lower harmonic numbers.
    harmonic_position = np.where(
        harmonic <= 2, harmonic, np.clip(harmonic * f0 / HARMONIC_F0_HZ, 2.0, len(HARMONIC_DB))
    )
    levels_db = np.interp(harmonic_position, harmonic, HARMONIC_DB)
    spread = np.interp(harmonic_position, harmonic, HARMONIC_SD_DB)
    noise = rng.standard_normal(len(levels_db))
    noise = np.convolve(np.pad(noise, 1, mode="edge"), (0.5, 0.7, 0.5), "valid")  # adjacent harmonics are correlated
    levels = levels_db + spread * noise * 0.75
    # Attenuation in addition to spherical spreading: chosen so that at 100-200 m half of the calls keep only f0 [H18].
    loss = asymmetric_lognormal(rng, 4.0, 12.0, 30.0) * (0.5 if habitat == "savanna" else 1.0)
    levels -= loss * (harmonic * f0 / 100) ** 1.5 * distance_m / 100
    if habitat == "forest" and rng.random() < 0.35:
        levels[1] -= rng.uniform(0, 14)  # interference of ground and canopy reflections; calls with only f0 are common
    if rng.random() < 0.06:
        levels[0] -= rng.uniform(6, 25)  # calls in which the second harmonic is the strongest
    levels -= levels.max()
    return tuple(float(level) for level in levels[: int(np.flatnonzero(levels > MIN_HARMONIC_DB)[-1]) + 1])


def contour_shape(name: str, peak: float, x: Values) -> Values:
    """f0 over a call in arbitrary units; x is the position in the call, 0 to 1."""
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
    shape = shape + random_curve(rng, n, sample_rate, 1.0, 0.06 * float(np.ptp(shape)))
    thin = shape[:: max(1, n // 256)]
    low, middle, high = np.quantile(thin, (0.05, 0.5, 0.95))
    relative = (shape - middle) / max(high - low, 1e-6) * rumble.f0_range
    relative = relative + random_curve(rng, n, sample_rate, 7.0, rumble.jitter)
    return rumble.f0_hz * np.clip(1 + relative, 0.4, 1.8)


def synthesise_rumble(rumble: Rumble, sample_rate: int, rng: np.random.Generator) -> Call:
    """The sound of `rumble`. Its core is the span within 15 dB of the peak, as an annotator would mark it."""
    # A raised-cosine ramp reaches -15 dB at 0.27 of its length. The whole call is longer than its audible part by that.
    n = int((rumble.duration_s + 0.27 * (rumble.attack_s + rumble.decay_s)) * sample_rate)
    f0 = f0_contour(rumble, n, sample_rate, rng)
    count = harmonics_below_nyquist(float(f0.max()), sample_rate, len(rumble.levels_db))
    levels = np.asarray(rumble.levels_db[:count])
    tone = play_wavetable(wavetable(rng, levels), f0, sample_rate)
    if rumble.breath_db > -34 and rumble.distance_m < 300:
        breath = band_noise(rng, n, sample_rate, 0.8 * rumble.f0_hz, 160.0)
        tone = tone + np.float32(10 ** (rumble.breath_db / 20) * np.sqrt(np.sum(10 ** (levels / 10)))) * breath
    level_db = random_curve(rng, n, sample_rate, rumble.am_hz, rumble.am_db)
    tone = (
        tone
        * db_to_amplitude(level_db)
        * ramps(n, int(rumble.attack_s * sample_rate), int(rumble.decay_s * sample_rate))
    )
    if rumble.tail_level > 0.05:
        tone = echoes(rng, tone, sample_rate, rumble.tail_s, rumble.tail_level)
    strong = np.flatnonzero(levels > -20) + 1
    return Call(
        samples=normalise(tone),
        label="rumble",
        kind="rumble",
        low_hz=float(0.9 * strong[0] * f0.min()),
        high_hz=float(1.1 * strong[-1] * f0.max()),
        core=audible_span(tone, sample_rate, 15.0, 0.25),
        line_hz=float(np.median(f0) * (1 + int(np.argmax(levels[:2])))),
    )


def draw_roar(rng: np.random.Generator, sample_rate: int, max_duration_s: float = 60.0) -> Call:
    """A roar of an elephant: noisy, harmonic, f0 at 60-250 Hz, 1-3 s. It is not a rumble."""
    return _voice(rng, sample_rate, "roar", rng.uniform(60, 250), min(rng.uniform(1, 3), max_duration_s), -4.0, 0.25)


def draw_trumpet(rng: np.random.Generator, sample_rate: int, max_duration_s: float = 60.0) -> Call:
    """A trumpet of an elephant: f0 at 300-600 Hz with strong harmonics, 0.5-1.5 s."""
    return _voice(
        rng,
        sample_rate,
        "trumpet",
        min(rng.uniform(300, 600), 0.35 * sample_rate),
        min(rng.uniform(0.5, 1.5), max_duration_s),
        -14.0,
        0.2,
    )


def _voice(
    rng: np.random.Generator,
    sample_rate: int,
    kind: str,
    f0_hz: float,
    duration_s: float,
    noise_db: float,
    f0_range: float,
) -> Call:
    n = int(duration_s * sample_rate)
    f0 = f0_hz * (1 + f0_range * np.sin(np.pi * np.linspace(0, 1, n)) + random_curve(rng, n, sample_rate, 20.0, 0.03))
    count = harmonics_below_nyquist(float(f0.max()), sample_rate, 16)
    tilt = -rng.uniform(2, 6) * np.log2(np.arange(1, count + 1)) + 4 * rng.standard_normal(count)
    tone = normalise(play_wavetable(wavetable(rng, tilt), f0, sample_rate))
    tone = tone + np.float32(10 ** (noise_db / 20)) * band_noise(rng, n, sample_rate, f0_hz, 8 * f0_hz, 10.0)
    tone = tone * db_to_amplitude(random_curve(rng, n, sample_rate, 12.0, 3.0)) * ramps(n, n // 6, n // 4)
    return Call(normalise(tone), None, kind, f0_hz * 0.8, min(f0_hz * 6, sample_rate / 2), (0, n), f0_hz)
