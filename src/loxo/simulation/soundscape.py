"""Scenes for training: rumbles, gunshots and negatives in a background, with the true events.

`compose` makes one scene. First it adds the negatives to the background. Then it adds each call at a random
signal-to-noise ratio (SNR) against the background in the span of the call. At the end a simulated recorder processes
the whole mix. The module mixing.py defines the ratios and the spans of events. The module simulate.py makes long
recordings from the same components.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import soxr

from loxo.simulation.background import Backgrounds, synthetic_background
from loxo.simulation.gunshot import draw_pattern, synthesise_gunshot
from loxo.simulation.machines import distant_engine, traffic
from loxo.simulation.mixing import (
    GUNSHOT_SNR_DB,
    LINE_SNR_DB,
    LINE_SNR_PROBABILITY,
    MIN_EVENT_S,
    RUMBLE_SNR_DB,
    Event,
    add_call,
    add_negative,
    draw_snr,
    events_table,
)
from loxo.simulation.negatives import draw_negative
from loxo.simulation.recorder import Recorder, draw_recorder
from loxo.simulation.rumble import Rumble, draw_close_rumble, draw_rumble, synthesise_rumble, with_roar
from loxo.simulation.sounds import Call, Samples, add_at, coloured_noise, fast_length, normalise, ramps, shape_spectrum

if TYPE_CHECKING:
    import pandas as pd

# Windows with a chorus, among windows with rumbles. Far more than in a forest, to learn the pauses between calls.
CHORUS_PROBABILITY = 0.35
UNUSUAL_PROBABILITY = 0.3  # additional training rumbles of 0.8-1.8 s or 6.5-10 s
CLOSE_PROBABILITY = 0.2  # training rumbles that are close calls
ROAR_PROBABILITY = 0.05  # training rumbles with a roar directly before or after
REPEATED_PROBABILITY = 0.08  # training rumbles that repeat the previous one, as in edited clips
CLIP_RUMBLE_SNR_DB = (0.0, 15.0, 40.0)  # of a rumble in a clip: min, mode, max
CLIP_PROBABILITY = 0.28  # training windows with a short clip, as in sound libraries
CLIP_SNR_DB = (10.0, 30.0, 60.0)  # of a gunshot in a clip: min, mode, max
LATE_START_PROBABILITY, MAX_LATE_START_S = 0.25, 0.25  # clips that begin up to this time after the first shot
FIELD_CLIP_PROBABILITY = 0.4  # clips whose gunshots are as in field recordings: faint, and mostly without a tail
VOLLEYS_PROBABILITY = 0.3  # other clips with automatic fire, which mostly begins before the clip and ends after it
FAR_PROBABILITY = 0.2  # training windows with distant shots, among windows with shots
FAR_SNR_DB = (1.0, 8.0, 24.0)
COPY_PROBABILITY = 0.3  # patterns that repeat one identical sound: from a sound library, or from a fixed position
SPEED_PROBABILITY, SPEEDS = 0.4, (0.7, 1.45)  # background excerpts and clips at another speed, and its range
COLOUR_PROBABILITY, COLOUR_DB = 0.5, 5.0  # the same with another frequency response, and its standard deviation
COLOUR_HZ = (10.0, 40.0, 150.0, 500.0, 1500.0)
SECOND_RECORDING_PROBABILITY = 0.3  # real backgrounds that are the sum of two recordings
MAX_NEGATIVE_S, MIN_OVERLAP_S = 40.0, 3.0  # duration of a negative, and of its part inside the scene
ADDED_CLIP_PROBABILITY = 0.25  # real backgrounds to which a short clip of another recording is added


@dataclass
class Soundscape:
    """A scene: the samples as stored by the recorder, and the true events."""

    samples: Samples  # in [-1, 1]
    events: list[Event]
    sample_rate: int

    def table(self, recording: str = "") -> pd.DataFrame:
        return events_table(self.events, self.sample_rate, recording)


@dataclass(frozen=True)
class Gunfire:
    """Settings for the gunshots of a scene."""

    snr_db: tuple[float, float, float] = GUNSHOT_SNR_DB  # min, mode, max
    family: str | None = None  # one of gunshot.FAMILIES; None: random
    pattern: str | None = None  # one of gunshot.PATTERNS; None: random
    late_start_s: float = 0.0  # the scene begins this long after the first shot; 0: before it


ANY_GUNFIRE, FAR_GUNFIRE = Gunfire(), Gunfire(snr_db=FAR_SNR_DB, family="far")


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
    call_overlap: float = 0.1,
    rumble_snr_db: tuple[float, float, float] = RUMBLE_SNR_DB,
    gunfire: Gunfire = ANY_GUNFIRE,
    recorder: Recorder | None = None,
    close: float = CLOSE_PROBABILITY,
    training: bool = True,
) -> Soundscape:
    """A scene of `samples` samples with this number of rumbles, shot patterns and negatives in `background`.

    `chorus`: the rumbles come from a group that calls in turn. `call_overlap`: probability that a call may begin during
    another call. `close`: probability that a training rumble is a close call. `recorder`: random by default.
    `training`: use the frequencies of negatives and the durations of rumbles for training, not those of a survey.
    The background with its negatives depends only on the state of `rng`, on `background` and on `negatives`. It does
    not depend on the number of calls.
    """
    if len(background) < samples:
        raise ValueError(f"The background has {len(background)} samples, but the scene needs {samples}.")
    recorder = recorder or draw_recorder(rng, samples / sample_rate)
    noise = background[:samples].astype(np.float32)
    first, last = recorder.unpadded_span(samples, sample_rate)
    for _ in range(negatives):
        call = draw_negative(rng, sample_rate, MAX_NEGATIVE_S, training=training)
        # A long negative may begin before the window or end after it, as in a recording. The first seconds of a drone
        # at the border of a window resemble a rumble, so training needs windows that contain only such a part.
        inside = min(len(call.samples), int(MIN_OVERLAP_S * sample_rate), samples)
        at = int(rng.integers(inside - len(call.samples), samples - inside + 1))
        add_negative(noise, call, at, rng.uniform(-4, 26), sample_rate)
    mix = noise.copy()
    noise[:first] = 0
    noise[last:] = 0
    events: list[Event] = []
    for call, at, snr_db, use_line_snr in _calls(
        rng,
        samples,
        sample_rate,
        rumbles,
        shots,
        chorus,
        call_overlap,
        rumble_snr_db,
        gunfire,
        close=close if training else 0.0,
        training=training,
    ):
        event = add_call(mix, noise, call, at, snr_db, sample_rate, recorder, use_line_snr)
        if event is not None:
            events.append(event)
    size = fast_length(samples)
    filtered = np.fft.irfft(np.fft.rfft(mix, size) * recorder.response(size, sample_rate), size)[:samples]
    stored = recorder.store(filtered.astype(np.float32), sample_rate)
    unpadded = [_unpadded(event, first, last, sample_rate) for event in events]
    return Soundscape(stored, [event for event in unpadded if event is not None], sample_rate)


def _unpadded(event: Event, first: int, last: int, sample_rate: int) -> Event | None:
    """The event without its part in padding; None if too little remains."""
    start, end = max(event.start, first), min(event.end, last)
    if (start, end) == (event.start, event.end):
        return event
    if end - start < MIN_EVENT_S[event.label] * sample_rate:
        return None
    return replace(event, start=start, end=end)


def _calls(
    rng: np.random.Generator,
    samples: int,
    sample_rate: int,
    rumbles: int,
    shots: int,
    chorus: bool,
    call_overlap: float,
    rumble_snr_db: tuple[float, float, float],
    gunfire: Gunfire,
    *,
    close: float,
    training: bool,
) -> list[tuple[Call, int, float, bool]]:
    """All calls of a scene: (call, first sample, SNR in dB, whether this is the line SNR)."""
    calls: list[tuple[Call, int, float, bool]] = []
    occupied: list[tuple[int, int]] = []
    leader = _draw_rumble(rng, close, training) if chorus else None
    group_use_line_snr = rng.random() < LINE_SNR_PROBABILITY
    group_snr = draw_snr(rng, LINE_SNR_DB if group_use_line_snr else rumble_snr_db)
    next_at = int(rng.integers(-2 * sample_rate, max(1, samples // 4)))
    for _ in range(rumbles):
        if calls and training and not chorus and rng.random() < REPEATED_PROBABILITY:
            call = calls[-1][0]
        else:
            call = synthesise_rumble(_drawn_rumble(rng, leader, close, training), sample_rate, rng)
            if training and rng.random() < ROAR_PROBABILITY:
                call = with_roar(rng, call, sample_rate)
        length = call.core[1] - call.core[0]
        if chorus:
            start, use_line_snr, snr = next_at, group_use_line_snr, group_snr + rng.normal(0, 3)
            # Half of the answers have short pauses. A model must learn these pauses to separate the two calls.
            min_pause = max(-3.0, -0.7 * length / sample_rate)
            pause = (
                rng.uniform(min_pause, 0.3) if rng.random() < call_overlap else rng.exponential(rng.choice((0.6, 1.5)))
            )
            next_at += length + int(pause * sample_rate)
        else:
            start = _start_position(rng, samples, length, occupied, call_overlap)
            use_line_snr = rng.random() < LINE_SNR_PROBABILITY
            snr = draw_snr(rng, LINE_SNR_DB if use_line_snr else rumble_snr_db)
        occupied.append((start, start + length))
        calls.append((call, start - call.core[0], snr, use_line_snr))
    for _ in range(shots):
        pattern = draw_pattern(rng, gunfire.family, gunfire.pattern)
        # A series may begin before the scene. Of a single shot only the tail would remain.
        series_s = pattern[-1][0] + pattern[-1][1].delays_s[-1] if rng.random() < 0.5 else 0.0
        start = int(rng.integers(-int(series_s * sample_rate), max(1, samples - sample_rate // 4)))
        if gunfire.late_start_s:
            start = -int(gunfire.late_start_s * sample_rate)
        snr = draw_snr(rng, gunfire.snr_db)
        copied = synthesise_gunshot(pattern[0][1], sample_rate, rng) if rng.random() < COPY_PROBABILITY else None
        for delay, shot in pattern:
            call = copied or synthesise_gunshot(shot, sample_rate, rng)
            calls.append((call, start + int(delay * sample_rate) - call.core[0], snr + rng.normal(0, 1.5), False))
    return calls


def _draw_rumble(rng: np.random.Generator, close: float, training: bool) -> Rumble:
    if close and rng.random() < close:
        return draw_close_rumble(rng)
    return draw_rumble(rng, unusual=UNUSUAL_PROBABILITY if training else 0.0)


def _drawn_rumble(rng: np.random.Generator, leader: Rumble | None, close: float, training: bool) -> Rumble:
    """A random rumble. With `leader` it comes from the same group: from the same place, with the same harmonics."""
    rumble = _draw_rumble(rng, close, training)
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


def _start_position(
    rng: np.random.Generator, samples: int, length: int, occupied: list[tuple[int, int]], call_overlap: float
) -> int:
    """A random start with at least 40 % of the call inside the scene.

    With a probability of `call_overlap` the call may overlap others. Otherwise up to six starts are tried to avoid it.
    """
    inside = max(int(0.4 * length), 1)
    start = 0
    for _ in range(6):
        start = int(rng.integers(inside - length, max(samples - inside, inside - length + 1)))
        if rng.random() < call_overlap or all(start >= end or start + length <= begin for begin, end in occupied):
            break
    return start


def _clip_window(
    rng: np.random.Generator, samples: int, sample_rate: int, backgrounds: Backgrounds | None
) -> tuple[Samples, list[Event]]:
    """A training window with a short clip of 0.35-12 s and digital silence after it. Most clips contain one sound.

    Gunshots are close, with an SNR of up to 60 dB, as in studio recordings, or as in the field. Clips of the field are
    often cut out by a detector, which also cuts out short sounds without a tail. Many recorders have a gain control, as
    phones and cameras do.
    """
    content = rng.random()
    recorder = draw_recorder(rng, 0.0)
    if rng.random() < 0.4:
        recorder = replace(recorder, gain_control=rng.uniform(0.1, 0.7), release_s=np.exp(rng.uniform(-3, 0.7)))
    real = backgrounds.clip(rng) if backgrounds is not None and content >= 0.72 else None
    # Shots are added to 40 % of the real clips. Otherwise a model would learn that real sound means "no gunshot".
    if real is not None:
        background = _varied(rng, real, sample_rate)[:samples]
        shots, rumbles, negatives = int(rng.random() < 0.4), 0, int(rng.random() < 0.1)
    else:
        length = int(min(np.exp(rng.uniform(np.log(0.35), np.log(10.0))) * sample_rate, samples))
        background = (
            backgrounds.draw(rng, length)
            if backgrounds is not None and rng.random() < 0.5
            else synthetic_background(rng, length, sample_rate)
        )
        shots, rumbles = int(content < 0.34), int(0.34 <= content < 0.5)  # 0.5-0.53: mostly only background
        if rumbles:
            rumbles = int(rng.choice((1, 2, 3), p=(0.6, 0.3, 0.1)))
        negatives = int(rng.integers(1, 3)) if content >= 0.68 else int(rng.random() < 0.12)
        if 0.53 <= content < 0.68:  # engines that fill the clip: their lines neither begin nor end there
            engine = (traffic if content < 0.62 else distant_engine)(rng, sample_rate, MAX_NEGATIVE_S)
            at = int(rng.integers(min(len(background) - len(engine.samples), 0), 1))
            add_negative(background, engine, at, rng.uniform(-4, 26), sample_rate)
    if rng.random() < FIELD_CLIP_PROBABILITY:
        gunfire = Gunfire(family="thud" if rng.random() < 0.6 else None)
    else:
        gunfire = Gunfire(
            snr_db=CLIP_SNR_DB,
            late_start_s=rng.uniform(0, MAX_LATE_START_S) if rng.random() < LATE_START_PROBABILITY else 0.0,
            family="close" if rng.random() < 0.65 else None,
            pattern="volleys" if rng.random() < VOLLEYS_PROBABILITY else None,
        )
    scene = compose(
        rng,
        len(background),
        sample_rate,
        background,
        rumbles=rumbles,
        shots=shots,
        negatives=negatives,
        call_overlap=0.15,
        close=0.7,
        rumble_snr_db=CLIP_RUMBLE_SNR_DB,
        gunfire=gunfire,
        recorder=recorder,
    )
    return np.pad(scene.samples, (0, samples - len(scene.samples))), scene.events


def _varied(rng: np.random.Generator, sound: Samples, sample_rate: int) -> Samples:
    """Augmentation of a real sound: sometimes another speed (and pitch), sometimes another frequency response.

    Without it the network would memorise the few real recordings. The result has unit RMS.
    """
    if rng.random() < SPEED_PROBABILITY:
        speed = float(np.exp(rng.uniform(*np.log(SPEEDS))))
        sound = soxr.resample(sound, sample_rate * speed, sample_rate, quality="LQ").astype(np.float32)
    if rng.random() < COLOUR_PROBABILITY:
        sound = shape_spectrum(sound, sample_rate, COLOUR_HZ, rng.normal(0, COLOUR_DB, len(COLOUR_HZ)).tolist())
    return normalise(sound)


def _varied_background(rng: np.random.Generator, samples: int, sample_rate: int, backgrounds: Backgrounds) -> Samples:
    """A random excerpt of a real background after augmentation."""
    longer = backgrounds.draw(rng, int(SPEEDS[1] * samples) + 1)
    return _varied(rng, longer, sample_rate)[:samples]


def _with_clip(rng: np.random.Generator, background: Samples, sample_rate: int, backgrounds: Backgrounds) -> Samples:
    """The background with one short real clip at a random position and a random level of -12 to 22 dB."""
    clip = backgrounds.clip(rng)
    if clip is None:
        return background
    clip = _varied(rng, clip, sample_rate)
    shaped = (
        clip * ramps(len(clip), sample_rate // 100, sample_rate // 20) * np.float32(10 ** (rng.uniform(-12, 22) / 20))
    )
    out = background.copy()
    add_at(out, shaped, int(rng.integers(-len(clip) // 2, max(len(out) - len(clip) // 2, 1))))
    return normalise(out)


def training_window(
    rng: np.random.Generator, samples: int, sample_rate: int, backgrounds: Backgrounds | None
) -> tuple[Samples, list[Event]]:
    """One training window with more events than a real recording: (samples, events).

    1 % of the windows are digital silence and CLIP_PROBABILITY contain a short clip. Of the others 35 % contain 1-4
    negatives and no call. The rest contains 1-4 rumbles or a chorus, gunshots, or both, and up to 3 negatives. The
    background is real (65 %), synthetic (20 %) or a sum of both (15 %). Without `backgrounds` it is always synthetic.
    """
    if rng.random() < 0.01:  # padding, in which a model must not detect anything
        return np.zeros(samples, np.float32), []
    if rng.random() < CLIP_PROBABILITY:
        return _clip_window(rng, samples, sample_rate, backgrounds)
    choice = rng.random()
    if backgrounds is None or choice > 0.8:
        background = synthetic_background(rng, samples, sample_rate)
    else:
        background = _varied_background(rng, samples, sample_rate, backgrounds)
        if rng.random() < SECOND_RECORDING_PROBABILITY:
            other = _varied_background(rng, samples, sample_rate, backgrounds)
            background = normalise(background + np.float32(10 ** (rng.uniform(-15, 5) / 20)) * other)
        if choice > 0.65:
            other = synthetic_background(rng, samples, sample_rate)
            background = normalise(background + np.float32(10 ** (rng.uniform(-15, 10) / 20)) * other)
        elif rng.random() < 0.3:  # low-frequency noise of forests, which recorders for birds often do not record
            corner = np.exp(rng.uniform(np.log(10), np.log(60)))
            slope = rng.uniform(18, 40)
            low = coloured_noise(rng, samples, sample_rate, [2, corner / 3, corner, corner * 8], [-8, 0, 0, -slope])
            background = normalise(background + np.float32(10 ** (rng.uniform(-20, 6) / 20)) * low)
        if rng.random() < ADDED_CLIP_PROBABILITY:
            background = _with_clip(rng, background, sample_rate, backgrounds)
    if rng.random() < 0.5:
        background = background[::-1] if rng.random() < 0.3 else -background
    rumbles = shots = 0
    chorus = False
    if rng.random() < 0.35:
        negatives = int(rng.integers(1, 5))
    else:
        negatives = int(rng.choice(4, p=(0.35, 0.35, 0.2, 0.1)))
        content = rng.random()
        if content < 0.72:  # rumbles; above 0.4 together with gunshots
            chorus = rng.random() < CHORUS_PROBABILITY
            rumbles = int(rng.integers(3, 7)) if chorus else int(rng.choice((1, 2, 3, 4), p=(0.4, 0.3, 0.2, 0.1)))
        if content > 0.4:
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
        call_overlap=0.4,
        gunfire=FAR_GUNFIRE if rng.random() < FAR_PROBABILITY else ANY_GUNFIRE,
    )
    return scene.samples, scene.events
