"""Gunshots in forest recordings: single shots, pairs and bursts.

The muzzle blast is a Friedlander wave P(1 - t/T) exp(-t/T), 3-5 ms long (Maher 2006, 2007). Its spectrum
i w / (1/T + i w)^2 has its peak at 1/(2 pi T). Ground and canopy add early reflections. Trunks add a reverberant tail,
which decays faster at high frequencies. Distance acts as a low-pass filter. The families follow real recordings:

    thud   80-400 Hz for 0.25-0.45 s, without a sharp tail (distant shots, Elephant Listening Project)
    far    the faint rest of such a shot: 0.1-0.2 s in an octave around 150-250 Hz, sometimes twice (only on request)
    sharp  a sharp onset above 300 Hz, a tail of 0.5-1.3 s (Belize)
    close  broadband, often clipped; spectrum, tail and thump vary widely with weapon, place and microphone

Automatic fire has bursts of rounds. In sound libraries it is often a loop: all rounds are equal, and each is cut off
before the next.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from loxo.simulation.sounds import Call, Samples, audible_span, fast_length, normalise

FAMILIES = ("thud", "sharp", "close", "far")
FAMILY_PROBABILITIES = (0.36, 0.34, 0.3, 0.0)
COLOUR_HZ = (50.0, 100.0, 200.0, 400.0, 800.0, 1600.0, 3200.0)
LABEL_DROP_DB = 18.0  # an event ends where the tail is this far below the peak, both as means over 50 ms
MAX_BURST_GAP_S = 0.5  # shots with a longer gap are separate events
MAX_FIRE_S = 8.0  # duration of automatic fire in one event
MAX_ROUNDS_PER_MINUTE, MAX_VOLLEY_ROUNDS_PER_MINUTE = 1200.0, 1500.0
MAX_VOLLEYS = 4
PATTERNS = ("single", "pair", "slow series", "double", "automatic", "volleys")
PATTERN_PROBABILITIES = (0.62, 0.16, 0.08, 0.05, 0.09, 0.0)  # volleys are drawn only on request
PATTERN_PROBABILITIES_OF_FAMILY = {
    "close": (
        0.4,
        0.1,
        0.15,
        0.05,
        0.3,
        0.0,
    ),  # recordings of a nearby gun mostly show the gun itself, so they have more fire
    "far": (0.55, 0.15, 0.05, 0.2, 0.05, 0.0),
}


@dataclass(frozen=True)
class Gunshot:
    """One event: a single shot, or a burst of shots with gaps of at most MAX_BURST_GAP_S."""

    family: str
    blast_s: float  # T of the Friedlander wave
    low_hz: float  # corner of the high-pass: ground effect and recorder
    low_slope: float  # of the high-pass, dB per octave
    high_hz: float  # corner of the low-pass, which depends on distance: 2 kHz at 200 m, 300-400 Hz at 1-2 km
    high_slope: float  # of the low-pass, dB per octave
    tail_s: float  # time in which the tail decays by 60 dB, at 500 Hz
    tail_db: float  # energy of the tail relative to the direct sound and its early reflections
    build_s: float  # time constant of the rise of the tail
    reflections: int
    spread_s: float  # time constant of the early reflections
    n_wave: float  # level of the supersonic N-wave before the blast; 0: none
    n_wave_lead_s: float
    overload: float  # clipping level as a fraction of the peak; 1: no clipping
    colour_db: tuple[float, ...] = ()  # gains at COLOUR_HZ of barrel, walls and microphone
    tail_slope: float = 0.2  # the decay time is proportional to frequency to the power of -tail_slope
    thump_hz: float = 0.0  # final frequency of a damped low tone in a close shot; 0: none
    thump_s: float = 0.1  # time in which the tone decays to 1/e
    thump: float = 0.0  # peak of the tone relative to that of the blast
    thump_fall: float = 1.0  # initial frequency of the tone, as a multiple of thump_hz
    thump_fall_s: float = 0.03  # time constant of the fall of its frequency
    delays_s: tuple[float, ...] = (0.0,)  # of the shots of a burst
    round_s: float = 0.0  # automatic fire: every round is cut off after this time; 0: rounds are not cut off
    spread: float = 0.15  # standard deviation of the levels of the rounds, relative to their mean


def draw_gunshot(rng: np.random.Generator, family: str | None = None) -> Gunshot:
    family = family or str(rng.choice(FAMILIES, p=FAMILY_PROBABILITIES))
    if family == "far":
        return replace(
            draw_gunshot(rng, "thud"),
            family=family,
            low_hz=float(rng.uniform(70, 160)),
            low_slope=float(rng.uniform(12, 36)),
            high_hz=float(np.exp(rng.uniform(np.log(140), np.log(350)))),
            high_slope=float(rng.uniform(18, 40)),
            tail_s=float(rng.uniform(0.2, 0.8)),
            tail_db=float(rng.uniform(-18, -2)),
            spread_s=float(np.exp(rng.uniform(np.log(0.01), np.log(0.1)))),
        )
    if family == "thud":
        return Gunshot(
            family=family,
            blast_s=float(rng.uniform(0.8e-3, 2e-3)),
            low_hz=float(rng.uniform(45, 110)),
            low_slope=float(rng.uniform(6, 18)),
            high_hz=float(np.exp(rng.uniform(np.log(180), np.log(500)))),
            high_slope=float(rng.uniform(10, 26)),
            tail_s=float(rng.uniform(0.4, 1.2)),
            tail_db=float(rng.uniform(-9, 4)),
            build_s=float(rng.uniform(0.005, 0.05)),
            reflections=int(rng.integers(2, 9)),
            spread_s=float(rng.uniform(0.02, 0.15)),
            n_wave=0.0,
            n_wave_lead_s=0.0,
            overload=1.0,
        )
    if family == "close":
        return _draw_close(rng)
    return Gunshot(
        family=family,
        blast_s=float(np.exp(rng.uniform(np.log(0.25e-3), np.log(1.2e-3)))),
        # The recorders in Belize have a high-pass filter and nothing below 300 Hz. Others record all frequencies.
        low_hz=float(rng.uniform(30, 120) if rng.random() < 0.4 else rng.uniform(150, 600)),
        low_slope=float(rng.uniform(6, 36)),
        high_hz=float(np.exp(rng.uniform(np.log(700), np.log(2500)))),
        high_slope=float(rng.uniform(6, 30)),
        tail_s=float(rng.uniform(1.2, 3.2)),
        tail_db=float(rng.uniform(-4, 10)),
        # In one shot of six the tail rises slowly: the reflection of a ridge or of the far side of a clearing.
        build_s=float(rng.uniform(0.05, 0.3) if rng.random() < 0.17 else rng.uniform(0.001, 0.02)),
        reflections=int(rng.integers(2, 12)),
        spread_s=float(rng.uniform(0.01, 0.2)),
        n_wave=float(rng.uniform(0.1, 1.0) if rng.random() < 0.12 else 0.0),
        n_wave_lead_s=float(rng.uniform(0.01, 0.15)),
        overload=1.0,
    )


def _draw_close(rng: np.random.Generator) -> Gunshot:
    """A close shot. The ranges are wide, because weapon, place and microphone are unknown."""
    return Gunshot(
        family="close",
        blast_s=float(np.exp(rng.uniform(np.log(0.2e-3), np.log(2.5e-3)))),
        low_hz=float(np.exp(rng.uniform(np.log(25), np.log(250)))),
        low_slope=float(rng.uniform(3, 24)),
        high_hz=float(np.exp(rng.uniform(np.log(700), np.log(8000)))),
        high_slope=float(rng.uniform(6, 18)),
        tail_s=float(np.exp(rng.uniform(np.log(0.15), np.log(2.5)))),
        tail_slope=float(rng.uniform(0.1, 1.2)),
        tail_db=float(rng.uniform(-16, 6)),
        build_s=float(rng.uniform(0.03, 0.3) if rng.random() < 0.12 else rng.uniform(0.001, 0.02)),
        reflections=int(rng.integers(1, 14)),
        spread_s=float(np.exp(rng.uniform(np.log(0.004), np.log(0.2)))),
        n_wave=float(rng.uniform(0.1, 1.0) if rng.random() < 0.15 else 0.0),
        n_wave_lead_s=float(rng.uniform(0.005, 0.1)),
        overload=float(rng.uniform(0.06, 0.6) if rng.random() < 0.5 else 1.0),
        colour_db=tuple(float(db) for db in rng.normal(0, rng.uniform(1, 7), len(COLOUR_HZ))),
        thump_hz=float(np.exp(rng.uniform(np.log(35), np.log(200)))) if rng.random() < 0.5 else 0.0,
        thump_s=float(np.exp(rng.uniform(np.log(0.02), np.log(0.25)))),
        thump=float(10 ** (rng.uniform(-18, 8) / 20)),
        # Most thumps fall in pitch; those in films and games fall by a large factor.
        thump_fall=float(np.exp(rng.uniform(0, np.log(25)))) if rng.random() < 0.6 else 1.0,
        thump_fall_s=float(np.exp(rng.uniform(np.log(0.006), np.log(0.06)))),
    )


def draw_pattern(
    rng: np.random.Generator, family: str | None = None, kind: str | None = None
) -> list[tuple[float, Gunshot]]:
    """Shots from one weapon at one place, as (delay in seconds, event).

    Most are single; the shots of a pair are 1-3 s apart. `kind`: one of PATTERNS, by default drawn with the
    probabilities of the family.
    """
    shot = draw_gunshot(rng, family)
    kind = kind or str(rng.choice(PATTERNS, p=PATTERN_PROBABILITIES_OF_FAMILY.get(shot.family, PATTERN_PROBABILITIES)))
    if kind == "single":
        return [(0.0, shot)]
    if kind == "pair":
        return [(0.0, shot), (float(rng.uniform(1, 3)), shot)]
    if kind == "slow series":
        count = int(rng.integers(2, 7))
        gaps = rng.uniform(0.55, 2.5, count) if rng.random() < 0.6 else np.full(count, rng.uniform(0.55, 1.8))
        return [(float(at), shot) for at in np.concatenate([[0.0], np.cumsum(gaps)])]
    if kind == "double":  # both barrels, or a shot and its echo from a ridge
        return [(0.0, replace(shot, delays_s=(0.0, float(rng.uniform(0.12, MAX_BURST_GAP_S)))))]
    max_rate = MAX_VOLLEY_ROUNDS_PER_MINUTE if kind == "volleys" else MAX_ROUNDS_PER_MINUTE
    volleys = [(0.0, _automatic(shot, rng, max_rate))]
    while kind == "volleys" and rng.random() < 1 - len(volleys) / MAX_VOLLEYS:
        before, fire = volleys[-1]
        volleys.append((before + fire.delays_s[-1] + float(rng.uniform(0.55, 2.5)), _automatic(shot, rng, max_rate)))
    return volleys


def _automatic(shot: Gunshot, rng: np.random.Generator, max_rate: float) -> Gunshot:
    """`shot` repeated in one to six bursts of automatic fire, or of fast semi-automatic fire.

    The rate is 450 to `max_rate` rounds per minute, or 150-450 for semi-automatic fire.
    """
    rounds_per_minute = rng.uniform(450, max_rate) if rng.random() < 0.8 else rng.uniform(150, 450)
    gap = 60.0 / rounds_per_minute
    loop = rng.random() < 0.35
    bursts = 1 if rng.random() < 0.5 else int(rng.integers(2, 7))
    delays: list[float] = []
    at = 0.0
    for _ in range(bursts):
        count = int(rng.integers(2, 12)) if rng.random() < 0.7 else int(rng.integers(10, 60))
        delays += [at + k * gap for k in range(count)]
        at = delays[-1] + max(gap, float(rng.uniform(0.15, 0.9 * MAX_BURST_GAP_S)))
    uneven = rng.normal(0, 0.0 if loop else 0.04 * gap, len(delays))
    uneven[0] = 0.0
    return replace(
        shot,
        delays_s=tuple(float(delay) for delay in np.asarray(delays) + uneven if delay <= MAX_FIRE_S),
        round_s=float(gap * rng.uniform(0.4, 1.05)) if loop or rng.random() < 0.2 else 0.0,
        spread=0.02 if loop else 0.15,
    )


def synthesise_gunshot(shot: Gunshot, sample_rate: int, rng: np.random.Generator) -> Call:
    """The sound of `shot`. Its core lasts from the blast until the tail is LABEL_DROP_DB below the peak."""
    # The band-limited blast rings before its onset: 10 ms before the blast leave space for this.
    lead = 0.01 + (shot.n_wave_lead_s if shot.n_wave > 0 else 0.0)
    audible_s = max(min(shot.tail_s, 2.2) + shot.spread_s + 0.1, 0.35)
    n = int((lead + audible_s + shot.delays_s[-1]) * sample_rate)
    size = fast_length(n)
    f = np.fft.rfftfreq(size, 1 / sample_rate)
    w = 2j * np.pi * f
    early = _early(shot, sample_rate, rng, size)
    tail = _tail(shot, sample_rate, rng, size)
    energy = float(np.sum(np.square(early, dtype=np.float64)))
    tail *= np.sqrt(energy * 10 ** (shot.tail_db / 10) / max(float(np.sum(np.square(tail, dtype=np.float64))), 1e-20))
    blast = w * shot.blast_s / (1 + w * shot.blast_s) ** 2
    spectrum = np.fft.rfft(early + tail) * blast * np.exp(-w * lead)
    if shot.n_wave > 0:  # 0.2-0.4 ms long and mostly above 1 kHz: at low sample rates only a click remains
        spectrum += shot.n_wave * 0.3e-3 * w / (1 + 0.3e-3 * w) ** 2 * np.exp(-w * 0.01)
    if shot.thump_hz > 0:
        peak = np.abs(np.fft.irfft(spectrum, size)).max()
        spectrum += np.fft.rfft(shot.thump * peak * _thump(shot, sample_rate, size)) * np.exp(-w * lead)
    if shot.colour_db:
        colour_db = np.interp(np.log2(np.maximum(f, 1.0)), np.log2(COLOUR_HZ), shot.colour_db)
        spectrum *= 10 ** (colour_db / 20)
    if shot.round_s > 0:
        spectrum = np.fft.rfft(np.fft.irfft(spectrum, size) * _gate(shot.round_s + lead, size, sample_rate))
    if len(shot.delays_s) > 1:
        levels = 1 + shot.spread * rng.standard_normal(len(shot.delays_s))
        rounds = np.zeros(len(w), complex)
        for level, delay in zip(levels, shot.delays_s, strict=True):  # one by one: an array of all would need 20 MB
            rounds += level * np.exp(-w * delay)
        spectrum *= rounds
    spectrum *= _band(shot, w) * np.clip((0.5 * sample_rate - f) / (0.05 * sample_rate), 0, 1)
    samples = np.fft.irfft(spectrum, size)[:n].astype(np.float32)
    samples = _overloaded(samples / max(float(np.abs(samples).max()), 1e-12), shot, sample_rate)
    # The fade prevents a discontinuity at the end of a long tail.
    fade = n // 8
    samples[n - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    high_hz = min(shot.high_hz * 1.5, 0.5 * sample_rate)
    return Call(
        samples=normalise(samples),
        label="gunshot",
        kind=shot.family if len(shot.delays_s) == 1 else "burst",
        low_hz=float(min(shot.low_hz, 0.5 * high_hz)),  # at low rates the high-pass may be above the Nyquist frequency
        high_hz=float(high_hz),
        core=_core(samples, shot, sample_rate),
    )


def _early(shot: Gunshot, sample_rate: int, rng: np.random.Generator, size: int) -> Samples:
    """Impulse response: direct sound, reflection from the ground after a few ms, reflections from canopy and trunks."""
    out = np.zeros(size, np.float32)
    out[0] = 1.0
    out[1 + int(rng.uniform(0.5e-3, 12e-3) * sample_rate)] += np.float32(rng.uniform(-0.8, 0.8))
    at = rng.exponential(0.4 * shot.spread_s, shot.reflections)
    index = np.minimum(1 + (at * sample_rate).astype(np.int64), size - 1)
    levels = rng.normal(0, 0.5, shot.reflections) * np.exp(-at / max(shot.spread_s, 1e-3))
    np.add.at(out, index, levels.astype(np.float32))
    return out


def _tail(shot: Gunshot, sample_rate: int, rng: np.random.Generator, size: int) -> Samples:
    """Reverberation between trunks: noise with an exponential decay, which is faster at higher frequencies."""
    spectrum = np.fft.rfft(rng.standard_normal(size, dtype=np.float32))
    octave = np.log2(np.maximum(np.fft.rfftfreq(size, 1 / sample_rate), 1.0))
    t = np.arange(size) / sample_rate
    out = np.zeros(size)
    centres = np.log2((150.0, 500.0, 1600.0))  # Hz; adjacent bands have linear crossfades in log frequency
    for k, centre in enumerate(centres):
        band = np.interp(octave, centres, np.eye(3)[k])
        decay_s = shot.tail_s * 2 ** (shot.tail_slope * (centres[1] - centre))
        out += np.fft.irfft(spectrum * band, size) * np.exp(-6.9 / decay_s * t)
    # Irregular level: groups of trees reflect the sound at the same time.
    knots = np.arange(0, t[-1] + 0.2, 0.06)
    irregular = np.interp(t, knots, rng.uniform(0.4, 1.6, len(knots)))
    return (out * (1 - np.exp(-t / shot.build_s)) * irregular).astype(np.float32)


def _thump(shot: Gunshot, sample_rate: int, size: int) -> Samples:
    """A damped tone whose frequency falls to `thump_hz`; its peak is about 1."""
    t = np.arange(size) / sample_rate
    max_fall = max(0.4 * sample_rate / shot.thump_hz, 1.0)
    phase_lead = (min(shot.thump_fall, max_fall) - 1) * shot.thump_fall_s * (1 - np.exp(-t / shot.thump_fall_s))
    tone: Samples = np.sin(2 * np.pi * shot.thump_hz * (t + phase_lead)) * np.exp(-t / shot.thump_s)
    return tone


def _gate(end_s: float, size: int, sample_rate: int) -> Samples:
    """1 until 10 ms before `end_s`, then a linear fall to 0 at `end_s`."""
    return np.clip((end_s - np.arange(size) / sample_rate) / 0.01, 0, 1).astype(np.float32)


def _band(shot: Gunshot, w: NDArray[np.complexfloating]) -> NDArray[np.complexfloating]:
    """Frequency response at `w` = i x angular frequency, as causal first-order filters raised to any power.

    The high-pass is the effect of ground and recorder, the low-pass that of air and foliage.
    """
    high, low = w / (2 * np.pi * shot.low_hz), w / (2 * np.pi * shot.high_hz)
    response: NDArray[np.complexfloating] = (high / (1 + high)) ** (shot.low_slope / 6) / (1 + low) ** (
        shot.high_slope / 6
    )
    return response


def _overloaded(samples: Samples, shot: Gunshot, sample_rate: int) -> Samples:
    """A shot that overloads the recorder: clipped peaks, then a reduced gain that recovers in tenths of a second."""
    if shot.overload >= 1:
        return samples
    clipped = np.clip(samples, -shot.overload, shot.overload) / np.float32(shot.overload)
    peak = int(np.argmax(np.abs(samples)))
    since = np.maximum(np.arange(len(samples)) - peak, 0) / sample_rate
    gain = 1 - 0.7 * np.exp(-since / 0.2) * (since > 0.01)
    return (clipped * gain).astype(np.float32)


def _core(samples: Samples, shot: Gunshot, sample_rate: int) -> tuple[int, int]:
    """Start and stop of the event within the samples."""
    start, stop = audible_span(samples, sample_rate, LABEL_DROP_DB, 0.05)
    # The window of 50 ms makes the onset too early. The blast begins at the first sample within 20 dB of the peak.
    loud = np.flatnonzero(np.abs(samples) >= 0.1 * np.abs(samples).max())
    start = max(start, int(loud[0]))
    min_s, max_s = 0.3, 1.3 + shot.delays_s[-1]  # the single shots of the real recordings last 0.3-1.3 s
    stop = min(max(stop, start + int(min_s * sample_rate)), start + int(max_s * sample_rate), len(samples))
    return start, stop
