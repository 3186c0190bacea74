"""Gunshots as forest recorders hear them: single shots, pairs and bursts.

The muzzle blast is a Friedlander wave P(1 - t/T) exp(-t/T), 3-5 ms long (Maher 2006, 2007), whose spectrum
i w / (1/T + i w)^2 peaks at 1/(2 pi T). Ground and canopy add early reflections, trunks a reverberant tail that dies
sooner at high frequencies, distance a low-pass. Families, seen in the real recordings:
`thud`   80-400 Hz for 0.25-0.45 s, no sharp tail (far shots, Elephant Listening Project);
`far`    what little is left of such a one: 0.1-0.2 s in an octave around 150-250 Hz, now and then twice (on demand);
`sharp`  a sharp onset from 300 Hz up, a tail of 0.5-1.3 s (Belize);
`close`  broadband, often clipped; its colour, tail and thump are anybody's: weapon, yard, microphone, a mixing desk.
Automatic fire comes in bursts, and in collections of sounds as a loop: rounds all alike, each cut off before the next.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from loxo.simulation.sounds import Call, Samples, audible, fast_length, normalise

FAMILIES = ("thud", "sharp", "close", "far")
FAMILY_SHARES = (0.36, 0.34, 0.3, 0.0)
COLOUR_HZ = (50.0, 100.0, 200.0, 400.0, 800.0, 1600.0, 3200.0)
LABEL_DROP_DB = 18.0  # an event ends where the tail is so far under the peak, of 50 ms each
LONGEST_BURST_GAP_S = 0.5  # shots further apart than this are events of their own
LONGEST_FIRE_S = 8.0  # of automatic fire in one event
FASTEST, FASTEST_VOLLEY = 1200.0, 1500.0  # rounds a minute
MOST_VOLLEYS = 4
PATTERNS = ("single", "pair", "slow series", "double", "automatic", "volleys")
PATTERN_SHARES = (0.62, 0.16, 0.08, 0.05, 0.09, 0.0)  # volleys are drawn on demand only
OTHER_SHARES = {
    "close": (0.4, 0.1, 0.15, 0.05, 0.3, 0.0),  # whoever records a gun from near by mostly wants to hear it fire
    "far": (0.55, 0.15, 0.05, 0.2, 0.05, 0.0),
}


@dataclass(frozen=True)
class Gunshot:
    """One event: a shot, or the shots of a burst that follow within half a second of each other."""

    family: str
    blast_s: float  # T of the Friedlander wave
    low_hz: float  # high-pass of ground effect and recorder, and its slope
    low_slope: float  # dB per octave
    high_hz: float  # low-pass by distance: 2 kHz at 200 m, 300-400 Hz at 1-2 km
    high_slope: float
    tail_s: float  # until the tail is 60 dB down, at the middle of the band
    tail_db: float  # energy of the tail re the direct sound and its early reflections
    build_s: float  # rise of the tail
    reflections: int
    spread_s: float  # span of the early reflections
    n_wave: float  # level of the supersonic N-wave that comes first, 0 for none
    n_wave_lead_s: float
    overload: float  # clips at this share of the peak; 1 leaves the shot alone
    colour_db: tuple[float, ...] = ()  # gains at COLOUR_HZ of what the sound passed: barrel, walls, microphone
    tail_slope: float = 0.2  # high frequencies die sooner: tail_s goes with frequency to the power of -tail_slope
    thump_hz: float = 0.0  # a damped tone under a close shot, 0 for none
    thump_s: float = 0.1  # until it has died away to 1/e
    thump: float = 0.0  # its peak re the blast's
    thump_fall: float = 1.0  # it begins at so many times thump_hz
    thump_fall_s: float = 0.03  # until its pitch has come down to 1/e of the way
    delays_s: tuple[float, ...] = (0.0,)
    round_s: float = 0.0  # of automatic fire: every round is cut off after this; 0: none is
    spread: float = 0.15  # of the rounds' levels, standard deviation re their mean


def draw_gunshot(rng: np.random.Generator, family: str | None = None) -> Gunshot:
    family = family or str(rng.choice(FAMILIES, p=FAMILY_SHARES))
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
        # Belize recorders have a high-pass: nothing under 300 Hz. Others keep everything.
        low_hz=float(rng.uniform(30, 120) if rng.random() < 0.4 else rng.uniform(150, 600)),
        low_slope=float(rng.uniform(6, 36)),
        high_hz=float(np.exp(rng.uniform(np.log(700), np.log(2500)))),
        high_slope=float(rng.uniform(6, 30)),
        tail_s=float(rng.uniform(1.2, 3.2)),
        tail_db=float(rng.uniform(-4, 10)),
        # One in six comes back late, from a ridge or the far side of a clearing.
        build_s=float(rng.uniform(0.05, 0.3) if rng.random() < 0.17 else rng.uniform(0.001, 0.02)),
        reflections=int(rng.integers(2, 12)),
        spread_s=float(rng.uniform(0.01, 0.2)),
        n_wave=float(rng.uniform(0.1, 1.0) if rng.random() < 0.12 else 0.0),
        n_wave_lead_s=float(rng.uniform(0.01, 0.15)),
        overload=1.0,
    )


def _draw_close(rng: np.random.Generator) -> Gunshot:
    """Wide ranges, because nothing is known of weapon, place and microphone: from a dry crack to a boom."""
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
        # Most fall in pitch, in films and games from far above.
        thump_fall=float(np.exp(rng.uniform(0, np.log(25)))) if rng.random() < 0.6 else 1.0,
        thump_fall_s=float(np.exp(rng.uniform(np.log(0.006), np.log(0.06)))),
    )


def draw_pattern(
    rng: np.random.Generator, family: str | None = None, kind: str | None = None
) -> list[tuple[float, Gunshot]]:
    """Shots from one weapon at one place: (delay in seconds, event). Most are single; pairs come 1-3 s apart.

    `kind`: one of PATTERNS, drawn by their shares when not given."""
    shot = draw_gunshot(rng, family)
    kind = kind or str(rng.choice(PATTERNS, p=OTHER_SHARES.get(shot.family, PATTERN_SHARES)))
    if kind == "single":
        return [(0.0, shot)]
    if kind == "pair":
        return [(0.0, shot), (float(rng.uniform(1, 3)), shot)]
    if kind == "slow series":
        count = int(rng.integers(2, 7))
        gaps = rng.uniform(0.55, 2.5, count) if rng.random() < 0.6 else np.full(count, rng.uniform(0.55, 1.8))
        return [(float(at), shot) for at in np.concatenate([[0.0], np.cumsum(gaps)])]
    if kind == "double":  # both barrels, or a shot and the echo of a ridge
        return [(0.0, replace(shot, delays_s=(0.0, float(rng.uniform(0.12, LONGEST_BURST_GAP_S)))))]
    fastest = FASTEST_VOLLEY if kind == "volleys" else FASTEST
    volleys = [(0.0, _automatic(shot, rng, fastest))]
    while kind == "volleys" and rng.random() < 1 - len(volleys) / MOST_VOLLEYS:
        before, fire = volleys[-1]
        volleys.append((before + fire.delays_s[-1] + float(rng.uniform(0.55, 2.5)), _automatic(shot, rng, fastest)))
    return volleys


def _automatic(shot: Gunshot, rng: np.random.Generator, fastest: float) -> Gunshot:
    """`shot` fired automatically, 450 rounds a minute to `fastest` or at a finger's pace, in one burst or several."""
    rounds_a_minute = rng.uniform(450, fastest) if rng.random() < 0.8 else rng.uniform(150, 450)
    gap = 60.0 / rounds_a_minute
    loop = rng.random() < 0.35
    bursts = 1 if rng.random() < 0.5 else int(rng.integers(2, 7))
    delays: list[float] = []
    at = 0.0
    for _ in range(bursts):
        count = int(rng.integers(2, 12)) if rng.random() < 0.7 else int(rng.integers(10, 60))
        delays += [at + k * gap for k in range(count)]
        at = delays[-1] + max(gap, float(rng.uniform(0.15, 0.9 * LONGEST_BURST_GAP_S)))
    uneven = rng.normal(0, 0.0 if loop else 0.04 * gap, len(delays))
    uneven[0] = 0.0
    return replace(
        shot,
        delays_s=tuple(float(delay) for delay in np.asarray(delays) + uneven if delay <= LONGEST_FIRE_S),
        round_s=float(gap * rng.uniform(0.4, 1.05)) if loop or rng.random() < 0.2 else 0.0,
        spread=0.02 if loop else 0.15,
    )


def synthesise_gunshot(shot: Gunshot, sample_rate: int, rng: np.random.Generator) -> Call:
    """The sound of `shot`. Its core runs from the blast to where the tail is LABEL_DROP_DB under the peak."""
    # A few ms ahead of the blast take up what band-limiting rings before it.
    lead = 0.01 + (shot.n_wave_lead_s if shot.n_wave > 0 else 0.0)
    sounding = max(min(shot.tail_s, 2.2) + shot.spread_s + 0.1, 0.35)
    n = int((lead + sounding + shot.delays_s[-1]) * sample_rate)
    size = fast_length(n)
    f = np.fft.rfftfreq(size, 1 / sample_rate)
    w = 2j * np.pi * f
    early = _early(shot, sample_rate, rng, size)
    tail = _tail(shot, sample_rate, rng, size)
    energy = float(np.sum(np.square(early, dtype=np.float64)))
    tail *= np.sqrt(energy * 10 ** (shot.tail_db / 10) / max(float(np.sum(np.square(tail, dtype=np.float64))), 1e-20))
    blast = w * shot.blast_s / (1 + w * shot.blast_s) ** 2
    spectrum = np.fft.rfft(early + tail) * blast * np.exp(-w * lead)
    if shot.n_wave > 0:  # 0.2-0.4 ms long: mostly above 1 kHz, what is left of it is a click
        spectrum += shot.n_wave * 0.3e-3 * w / (1 + 0.3e-3 * w) ** 2 * np.exp(-w * 0.01)
    if shot.thump_hz > 0:
        heard = np.abs(np.fft.irfft(spectrum, size)).max()
        spectrum += np.fft.rfft(shot.thump * heard * _thump(shot, sample_rate, size)) * np.exp(-w * lead)
    if shot.colour_db:
        heard_db = np.interp(np.log2(np.maximum(f, 1.0)), np.log2(COLOUR_HZ), shot.colour_db)
        spectrum *= 10 ** (heard_db / 20)
    if shot.round_s > 0:
        spectrum = np.fft.rfft(np.fft.irfft(spectrum, size) * _gate(shot.round_s + lead, size, sample_rate))
    if len(shot.delays_s) > 1:
        levels = 1 + shot.spread * rng.standard_normal(len(shot.delays_s))
        rounds = np.zeros(len(w), complex)
        for level, delay in zip(levels, shot.delays_s, strict=True):  # one by one: a table of them all takes 20 MB
            rounds += level * np.exp(-w * delay)
        spectrum *= rounds
    spectrum *= _band(shot, w) * np.clip((0.5 * sample_rate - f) / (0.05 * sample_rate), 0, 1)
    samples = np.fft.irfft(spectrum, size)[:n].astype(np.float32)
    samples = _overloaded(samples / max(float(np.abs(samples).max()), 1e-12), shot, sample_rate)
    # A long tail must not end with a step.
    fade = n // 8
    samples[n - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    highest = min(shot.high_hz * 1.5, 0.5 * sample_rate)
    return Call(
        samples=normalise(samples),
        label="gunshot",
        kind=shot.family if len(shot.delays_s) == 1 else "burst",
        low_hz=float(min(shot.low_hz, 0.5 * highest)),  # at low rates its high-pass may lie beyond what there is
        high_hz=float(highest),
        core=_core(samples, shot, sample_rate),
    )


def _early(shot: Gunshot, sample_rate: int, rng: np.random.Generator, size: int) -> Samples:
    """The direct sound, its reflection off the ground a few ms later, and reflections off canopy and trunks."""
    out = np.zeros(size, np.float32)
    out[0] = 1.0
    out[1 + int(rng.uniform(0.5e-3, 12e-3) * sample_rate)] += np.float32(rng.uniform(-0.8, 0.8))
    at = rng.exponential(0.4 * shot.spread_s, shot.reflections)
    index = np.minimum(1 + (at * sample_rate).astype(np.int64), size - 1)
    weights = rng.normal(0, 0.5, shot.reflections) * np.exp(-at / max(shot.spread_s, 1e-3))
    np.add.at(out, index, weights.astype(np.float32))
    return out


def _tail(shot: Gunshot, sample_rate: int, rng: np.random.Generator, size: int) -> Samples:
    """Reverberation between the trunks: noise that dies exponentially, sooner the higher its frequency."""
    spectrum = np.fft.rfft(rng.standard_normal(size, dtype=np.float32))
    octave = np.log2(np.maximum(np.fft.rfftfreq(size, 1 / sample_rate), 1.0))
    t = np.arange(size) / sample_rate
    out = np.zeros(size)
    centres = np.log2((150.0, 500.0, 1600.0))  # Hz; the shares of the bands cross over in between
    for k, centre in enumerate(centres):
        share = np.interp(octave, centres, np.eye(3)[k])
        lasts = shot.tail_s * 2 ** (shot.tail_slope * (centres[1] - centre))
        out += np.fft.irfft(spectrum * share, size) * np.exp(-6.9 / lasts * t)
    # Lumps: whole stands of trees answer at once.
    knots = np.arange(0, t[-1] + 0.2, 0.06)
    lumps = np.interp(t, knots, rng.uniform(0.4, 1.6, len(knots)))
    return (out * (1 - np.exp(-t / shot.build_s)) * lumps).astype(np.float32)


def _thump(shot: Gunshot, sample_rate: int, size: int) -> Samples:
    """A damped tone whose pitch falls to `thump_hz`; its peak is about 1."""
    t = np.arange(size) / sample_rate
    highest = max(0.4 * sample_rate / shot.thump_hz, 1.0)
    above = (min(shot.thump_fall, highest) - 1) * shot.thump_fall_s * (1 - np.exp(-t / shot.thump_fall_s))
    tone: Samples = np.sin(2 * np.pi * shot.thump_hz * (t + above)) * np.exp(-t / shot.thump_s)
    return tone


def _gate(end_s: float, size: int, sample_rate: int) -> Samples:
    """1 until `end_s`, then 0, with 10 ms in between."""
    return np.clip((end_s - np.arange(size) / sample_rate) / 0.01, 0, 1).astype(np.float32)


def _band(shot: Gunshot, w: NDArray[np.complexfloating]) -> NDArray[np.complexfloating]:
    """Ground effect and recorder below, air and foliage above: causal filters of any slope (6 dB an octave each)."""
    high, low = w / (2 * np.pi * shot.low_hz), w / (2 * np.pi * shot.high_hz)
    passed: NDArray[np.complexfloating] = (high / (1 + high)) ** (shot.low_slope / 6) / (1 + low) ** (
        shot.high_slope / 6
    )
    return passed


def _overloaded(samples: Samples, shot: Gunshot, sample_rate: int) -> Samples:
    """What a recorder makes of a shot too loud for it: flat tops, then gain that recovers in tenths of a second."""
    if shot.overload >= 1:
        return samples
    clipped = np.clip(samples, -shot.overload, shot.overload) / np.float32(shot.overload)
    loud = int(np.argmax(np.abs(samples)))
    since = np.maximum(np.arange(len(samples)) - loud, 0) / sample_rate
    held = 1 - 0.7 * np.exp(-since / 0.2) * (since > 0.01)
    return (clipped * held).astype(np.float32)


def _core(samples: Samples, shot: Gunshot, sample_rate: int) -> tuple[int, int]:
    first, last = audible(samples, sample_rate, LABEL_DROP_DB, 0.05)
    # The 50 ms window smears the onset: the blast is where the sound itself first comes within 20 dB of its peak.
    loud = np.flatnonzero(np.abs(samples) >= 0.1 * np.abs(samples).max())
    first = max(first, int(loud[0]))
    shortest, longest = 0.3, 1.3 + shot.delays_s[-1]  # s: the events of the real recordings are 0.3-1.3 s long
    last = min(max(last, first + int(shortest * sample_rate)), first + int(longest * sample_rate), len(samples))
    return first, last
