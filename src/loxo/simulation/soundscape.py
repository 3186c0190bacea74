"""Calls, shots and everything else mixed into a background, with the truth about it, one window at a time.

Order of work: the bed (background and negatives) first, then each call scaled to a drawn signal-to-noise ratio
against the bed in its own time span, then the recorder over the whole mix. What the ratios and spans of events mean
is said in mixing.py. Long recordings are made by simulate.py out of the same parts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import soxr

from loxo.simulation.background import Backgrounds, synthetic_background
from loxo.simulation.gunshot import draw_pattern, synthesise_gunshot
from loxo.simulation.mixing import (
    BY_LINE,
    GUNSHOT_SNR_DB,
    LINE_SNR_DB,
    RUMBLE_SNR_DB,
    SHORTEST_S,
    Event,
    add_call,
    add_negative,
    draw_snr,
    events_table,
)
from loxo.simulation.negatives import draw_negative
from loxo.simulation.recorder import Recorder, draw_recorder
from loxo.simulation.rumble import Rumble, draw_rumble, synthesise_rumble
from loxo.simulation.sounds import Call, Samples, coloured, fast_length, filtered, normalise, place, ramps

if TYPE_CHECKING:
    import pandas as pd

CHORUS_SHARE = 0.35  # of the training windows with rumbles: far more than in a forest, for the pauses between calls
UNUSUAL_SHARE = 0.3  # of the training's rumbles, of 0.8-1.8 s or 6.5-10 s, beside those that are so anyway
CLIP_SHARE = 0.28  # of the training windows: short clips, as collections of sounds hold them
CLIP_SNR_DB = (10.0, 30.0, 60.0)  # of a shot in them: lowest, most frequent, highest
CUT_SHARE, CUT_S = 0.25, 0.25  # of the clips with a shot: those that begin up to so long after it
VOLLEYS_SHARE = 0.3  # of the clips with a shot: automatic fire, which mostly began before the clip and goes on after it
FAR_SHARE = 0.2  # of the other training windows with shots: those in which they are far
FAR_SNR_DB = (1.0, 8.0, 24.0)
COPIES = 0.3  # share of the patterns of shots that repeat one sound: from a library, or a weapon that stands still
OTHER_SPEED, SPEEDS = 0.4, (0.7, 1.45)  # share of the training stretches and clips played slower or faster
OTHER_COLOUR, COLOUR_DB = 0.5, 5.0  # share of them that another microphone hears, and how far it is from level
COLOUR_HZ = (10.0, 40.0, 150.0, 500.0, 1500.0)
BOTH = 0.3  # share of the real backgrounds that are the sum of two recordings
LASTING_S, LEAST_HEARD_S = 40.0, 3.0  # longest negative, and how much of one is in a scene at least
ATOP = 0.25  # share of the windows in real backgrounds where another recording's short sound is heard as well


@dataclass
class Soundscape:
    samples: Samples  # in [-1, 1]
    events: list[Event]
    sample_rate: int

    def table(self, recording: str = "") -> pd.DataFrame:
        return events_table(self.events, self.sample_rate, recording)


@dataclass(frozen=True)
class Fire:
    """What the shots of a scene are like: their signal-to-noise ratios (lowest, most frequent, highest); one of
    gunshot.FAMILIES and one of PATTERNS, any where not given; and, with `cut_s`, that the scene begins so long after
    the first shot did, instead of before it."""

    snr_db: tuple[float, float, float] = GUNSHOT_SNR_DB
    family: str | None = None
    pattern: str | None = None
    cut_s: float = 0.0


ANY_FIRE, FAR_FIRE = Fire(), Fire(snr_db=FAR_SNR_DB, family="far")


def compose(
    rng: np.random.Generator,
    samples: int,
    sample_rate: int,
    background: Samples,
    *,
    rumbles: int = 0,
    shots: int = 0,
    negatives: int = 0,
    chorus: bool = False,
    overlap: float = 0.1,
    rumble_snr_db: tuple[float, float, float] = RUMBLE_SNR_DB,
    fire: Fire = ANY_FIRE,
    recorder: Recorder | None = None,
    training: bool = True,
) -> Soundscape:
    """A scene of `samples` samples: this many rumbles, patterns of shots and negatives in `background`.

    `chorus`: the rumbles come from a group, one voice after the other. `overlap`: the share of calls that may begin
    while another lasts. `recorder`: drawn when not given. `training`: negatives and lengths of rumbles by their
    weights in training, not by those in a survey, which stay what they are.
    The bed depends on the generator's state, the background and `negatives` only, not on how many calls follow.
    """
    if len(background) < samples:
        raise ValueError(f"the background has {len(background)} samples, the scene needs {samples}")
    recorder = recorder or draw_recorder(rng, samples / sample_rate)
    bed = background[:samples].astype(np.float32)
    first, last = recorder.heard(samples, sample_rate)
    for _ in range(negatives):
        call = draw_negative(rng, sample_rate, LASTING_S, training=training)
        # What lasts longer than a window begins and ends in one as often as in a recording: where a window sees a few
        # seconds of a drone at its border, it must not be sure of a rumble, or the next window is not heard.
        heard = min(len(call.samples), int(LEAST_HEARD_S * sample_rate), samples)
        at = int(rng.integers(heard - len(call.samples), samples - heard + 1))
        add_negative(bed, call, at, rng.uniform(-4, 26), sample_rate)
    mix = bed.copy()
    bed[:first] = 0
    bed[last:] = 0
    events: list[Event] = []
    for call, at, snr_db, by_line in _calls(
        rng,
        samples,
        sample_rate,
        rumbles,
        shots,
        chorus,
        overlap,
        rumble_snr_db,
        fire,
        UNUSUAL_SHARE if training else 0.0,
    ):
        event = add_call(mix, bed, call, at, snr_db, sample_rate, recorder, by_line)
        if event is not None:
            events.append(event)
    size = fast_length(samples)
    filtered = np.fft.irfft(np.fft.rfft(mix, size) * recorder.response(size, sample_rate), size)[:samples]
    stored = recorder.store(filtered.astype(np.float32), sample_rate)
    kept = [_cut(event, first, last, sample_rate) for event in events]
    return Soundscape(stored, [event for event in kept if event is not None], sample_rate)


def _cut(event: Event, first: int, last: int, sample_rate: int) -> Event | None:
    """The event as far as it is not in padding."""
    start, end = max(event.start, first), min(event.end, last)
    if (start, end) == (event.start, event.end):
        return event
    if end - start < SHORTEST_S[event.label] * sample_rate:
        return None
    return replace(event, start=start, end=end)


def _calls(
    rng: np.random.Generator,
    samples: int,
    sample_rate: int,
    rumbles: int,
    shots: int,
    chorus: bool,
    overlap: float,
    rumble_snr_db: tuple[float, float, float],
    fire: Fire,
    unusual: float,
) -> list[tuple[Call, int, float, bool]]:
    """(call, first sample, SNR, whether that is the line's) of all calls of a scene."""
    calls: list[tuple[Call, int, float, bool]] = []
    taken: list[tuple[int, int]] = []
    leader = draw_rumble(rng, unusual=unusual) if chorus else None
    group_by_line = rng.random() < BY_LINE
    group_snr = draw_snr(rng, LINE_SNR_DB if group_by_line else rumble_snr_db)
    next_at = int(rng.integers(-2 * sample_rate, max(1, samples // 4)))
    for _ in range(rumbles):
        call = synthesise_rumble(_voice(rng, leader, unusual), sample_rate, rng)
        length = call.core[1] - call.core[0]
        if chorus:
            start, by_line, snr = next_at, group_by_line, group_snr + rng.normal(0, 3)
            # Half of the answers come at once: a detector must hear the pause, or two calls become one.
            together = max(-3.0, -0.7 * length / sample_rate)
            pause = rng.uniform(together, 0.3) if rng.random() < overlap else rng.exponential(rng.choice((0.6, 1.5)))
            next_at += length + int(pause * sample_rate)
        else:
            start, by_line = _free(rng, samples, length, taken, overlap), rng.random() < BY_LINE
            snr = draw_snr(rng, LINE_SNR_DB if by_line else rumble_snr_db)
        taken.append((start, start + length))
        calls.append((call, start - call.core[0], snr, by_line))
    for _ in range(shots):
        pattern = draw_pattern(rng, fire.family, fire.pattern)
        # Fire may have begun before the scene; of a single shot, what is left would be its tail.
        fire_s = pattern[-1][0] + pattern[-1][1].delays_s[-1] if rng.random() < 0.5 else 0.0
        start = int(rng.integers(-int(fire_s * sample_rate), max(1, samples - sample_rate // 4)))
        if fire.cut_s:
            start = -int(fire.cut_s * sample_rate)
        snr = draw_snr(rng, fire.snr_db)
        copied = synthesise_gunshot(pattern[0][1], sample_rate, rng) if rng.random() < COPIES else None
        for delay, shot in pattern:
            call = copied or synthesise_gunshot(shot, sample_rate, rng)
            calls.append((call, start + int(delay * sample_rate) - call.core[0], snr + rng.normal(0, 1.5), False))
    return calls


def _voice(rng: np.random.Generator, leader: Rumble | None, unusual: float) -> Rumble:
    """A rumble; of the same group as `leader`, if there is one: near it, so that the same harmonics are left."""
    rumble = draw_rumble(rng, unusual=unusual)
    if leader is None:
        return rumble
    return replace(
        rumble,
        f0_hz=float(np.clip(leader.f0_hz * np.exp(rng.normal(0, 0.1)), 10.0, 38.0)),
        levels_db=leader.levels_db,
        distance_m=leader.distance_m,
        habitat=leader.habitat,
        tail_s=leader.tail_s,
        tail_level=leader.tail_level,
    )


def _free(rng: np.random.Generator, samples: int, length: int, taken: list[tuple[int, int]], overlap: float) -> int:
    """A start at which some of the call is within the scene, apart from other calls unless overlap is wanted."""
    inside = max(int(0.4 * length), 1)
    start = 0
    for _ in range(6):
        start = int(rng.integers(inside - length, max(samples - inside, inside - length + 1)))
        if rng.random() < overlap or all(start >= end or start + length <= begin for begin, end in taken):
            break
    return start


def _short_clip(
    rng: np.random.Generator, samples: int, sample_rate: int, backgrounds: Backgrounds | None
) -> tuple[Samples, list[Event]]:
    """A recording of 0.35-12 s and the silence that fills its window: mostly one sound that someone cut out.

    Shots are close ones by preference, up to 60 dB over what little noise a studio leaves; the recorder is as often as
    not a phone or a camera, with its gain control.
    """
    which = rng.random()
    recorder = draw_recorder(rng, 0.0)
    if rng.random() < 0.4:
        recorder = replace(recorder, gain_control=rng.uniform(0.1, 0.7), release_s=np.exp(rng.uniform(-3, 0.7)))
    real = backgrounds.clip(rng) if backgrounds is not None and which >= 0.68 else None
    if real is not None:  # a dog, a saw, a storm; fired into as often as not, or real sound itself would say "no shot"
        background = _varied(rng, real, sample_rate)[:samples]
        shots, rumbles, negatives = int(rng.random() < 0.4), 0, int(rng.random() < 0.1)
    else:
        length = int(min(np.exp(rng.uniform(np.log(0.35), np.log(10.0))) * sample_rate, samples))
        background = (
            backgrounds.draw(rng, length)
            if backgrounds is not None and rng.random() < 0.5
            else synthetic_background(rng, length, sample_rate)
        )
        shots, rumbles = int(which < 0.46), int(0.46 <= which < 0.58)  # up to 0.62: little but noise
        negatives = int(rng.integers(1, 3)) if which >= 0.62 else int(rng.random() < 0.12)
    fire = Fire(
        snr_db=CLIP_SNR_DB,
        cut_s=rng.uniform(0, CUT_S) if rng.random() < CUT_SHARE else 0.0,
        family="close" if rng.random() < 0.65 else None,
        pattern="volleys" if rng.random() < VOLLEYS_SHARE else None,
    )
    scene = compose(
        rng,
        len(background),
        sample_rate,
        background,
        rumbles=rumbles,
        shots=shots,
        negatives=negatives,
        overlap=0.15,
        fire=fire,
        recorder=recorder,
    )
    return np.pad(scene.samples, (0, samples - len(scene.samples))), scene.events


def _varied(rng: np.random.Generator, sound: Samples, sample_rate: int) -> Samples:
    """At times slower and lower, or faster and higher, at times through another microphone: there are fewer real
    recordings than a network can learn by heart. Of unit RMS."""
    if rng.random() < OTHER_SPEED:
        speed = float(np.exp(rng.uniform(*np.log(SPEEDS))))
        sound = soxr.resample(sound, sample_rate * speed, sample_rate, quality="LQ").astype(np.float32)
    if rng.random() < OTHER_COLOUR:
        sound = filtered(sound, sample_rate, COLOUR_HZ, rng.normal(0, COLOUR_DB, len(COLOUR_HZ)).tolist())
    return normalise(sound)


def _stretch(rng: np.random.Generator, samples: int, sample_rate: int, backgrounds: Backgrounds) -> Samples:
    """A background of a recording, varied."""
    longer = backgrounds.draw(rng, int(SPEEDS[1] * samples) + 1)
    return _varied(rng, longer, sample_rate)[:samples]


def _with_clip(rng: np.random.Generator, background: Samples, sample_rate: int, backgrounds: Backgrounds) -> Samples:
    """The background with one short real sound somewhere in it, now faint, now far louder."""
    clip = backgrounds.clip(rng)
    if clip is None:
        return background
    clip = _varied(rng, clip, sample_rate)
    shaped = (
        clip * ramps(len(clip), sample_rate // 100, sample_rate // 20) * np.float32(10 ** (rng.uniform(-12, 22) / 20))
    )
    out = background.copy()
    place(out, shaped, int(rng.integers(-len(clip) // 2, max(len(out) - len(clip) // 2, 1))))
    return normalise(out)


def training_window(
    rng: np.random.Generator, samples: int, sample_rate: int, backgrounds: Backgrounds | None
) -> tuple[Samples, list[Event]]:
    """One window to learn from, denser than any forest: (samples, events).

    35 % hold no call but 1-4 negatives, the rest 1-4 rumbles or a chorus, shots, or both, and up to 3 negatives. The
    background is real (65 %), made up (20 %) or a sum of both (15 %); always made up without `backgrounds`.
    """
    if rng.random() < 0.01:  # padding: a detector must stay quiet in it
        return np.zeros(samples, np.float32), []
    if rng.random() < CLIP_SHARE:
        return _short_clip(rng, samples, sample_rate, backgrounds)
    choice = rng.random()
    if backgrounds is None or choice > 0.8:
        background = synthetic_background(rng, samples, sample_rate)
    else:
        background = _stretch(rng, samples, sample_rate, backgrounds)
        if rng.random() < BOTH:
            other = _stretch(rng, samples, sample_rate, backgrounds)
            background = normalise(background + np.float32(10 ** (rng.uniform(-15, 5) / 20)) * other)
        if choice > 0.65:
            other = synthetic_background(rng, samples, sample_rate)
            background = normalise(background + np.float32(10 ** (rng.uniform(-15, 10) / 20)) * other)
        elif rng.random() < 0.3:  # forests rumble below 60 Hz where many recorders of birds hear nothing
            corner = np.exp(rng.uniform(np.log(10), np.log(60)))
            slope = rng.uniform(18, 40)
            low = coloured(rng, samples, sample_rate, [2, corner / 3, corner, corner * 8], [-8, 0, 0, -slope])
            background = normalise(background + np.float32(10 ** (rng.uniform(-20, 6) / 20)) * low)
        if rng.random() < ATOP:
            background = _with_clip(rng, background, sample_rate, backgrounds)
    if rng.random() < 0.5:
        background = background[::-1] if rng.random() < 0.3 else -background
    rumbles = shots = 0
    chorus = False
    if rng.random() < 0.35:
        negatives = int(rng.integers(1, 5))
    else:
        negatives = int(rng.choice(4, p=(0.35, 0.35, 0.2, 0.1)))
        which = rng.random()
        if which < 0.72:  # rumbles, of them four in nine with shots too
            chorus = rng.random() < CHORUS_SHARE
            rumbles = int(rng.integers(3, 7)) if chorus else int(rng.choice((1, 2, 3, 4), p=(0.4, 0.3, 0.2, 0.1)))
        if which > 0.4:
            shots = int(rng.choice((1, 2, 3, 4), p=(0.45, 0.3, 0.15, 0.1)))
    scene = compose(
        rng,
        samples,
        sample_rate,
        background,
        rumbles=rumbles,
        shots=shots,
        negatives=negatives,
        chorus=chorus,
        overlap=0.4,
        fire=FAR_FIRE if rng.random() < FAR_SHARE else ANY_FIRE,
    )
    return scene.samples, scene.events
