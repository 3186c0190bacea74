"""Frame scores become events.

For each class: the scores are smoothed by a running mean. Every peak that reaches FLOOR is a candidate; from the
highest down, each grows both ways while the smoothed score stays above `edge` times its peak, but never into an event
that is there already, nor through a valley at most `split` times as high as the peak behind it: calls that follow each
other closely stay two events. Two events closer than `merge_gap_s` become one, with what is between, if the lower peak
is at least `edge` times the higher: a real pause inside a call, not the doubtful flanks of a clear one. What is shorter
than `min_duration_s` is dropped. Where the model also tells where two events of a class sound at once, with a score of
at least `overlap`, one event becomes two (loxo.detection.overlaps).

An event's score is its peak, or between this and the frame score that four fifths of its frames reach, by the weight
`lasting` and on the scale of logits: noise peaks as high as calls do, but not all along. It is less where only a valley
parts the event from a higher one, the less deep the less, since some of these are parts of one call; and, by the weight
`crowd`, where many like it come within a minute or within five: rain, insects and hands at the recorder come in swarms,
and a cicada or a pump goes on for long. Where the model has a calibration of the class, the score becomes the
probability that the calibration gives for it. Only then does the threshold select which events are listed, by that
score, so it never moves an edge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loxo.detection.logit import from_logit, logit
from loxo.detection.overlaps import Event, tell_apart
from loxo.engine.config import OVERLAP_SUFFIX, Calibration, Decoding
from loxo.errors import LoxoError

if TYPE_CHECKING:
    import pandas as pd

DOUBT = 0.1  # share of the score of an event beside a higher one that a valley as high as its peak costs it
LOW = 0.2  # share of an event's frames below the score that counts by `lasting`
# How far events on either side are looked for, and how many cost nothing. Ninety-six calls an hour, more than at most
# clearings, are sixteen in the ten minutes around one.
CROWDS = ((60.0, 3), (300.0, 16))
LIKE = 0.2  # share of an event's score that others have at least to be like it
FLOOR = 0.005  # peaks below are noise; even with a threshold of 0 they are not listed
OVERLAP_SMOOTH_S, OVERLAP_EDGE = 1.0, 0.3  # of the scores that two events sound at once
SCORE_DIGITS = 9  # means are rounded, so that float noise does not cut a plateau into peaks

Piece = tuple[int, int, float, float]  # the same with the peak, and the valley between it and a higher one, 0: none
Threshold = float | Mapping[str, float] | None  # one for all classes, by class, or the model's own


def decode(
    scores: NDArray[np.floating[Any]],
    config: Any,
    *,
    threshold: Threshold = None,
    first_step: int = 0,
    total_samples: int | None = None,
) -> pd.DataFrame:
    """The events in frame scores (rows, steps), as a DataFrame with one row an event.

    Rows are those of the model's logits (config.rows): its classes, then those that tell where two events of a class
    sound at once, if it has such.

    Columns: start_s, end_s, label, score, low_hz, high_hz; by start, end and label. `config` is the model's.
    `threshold` (0 to 1) replaces every class's own, or that of the classes it names, and selects events by their
    score. `first_step` is the step the scores begin with; no event ends after `total_samples`, the recording's length
    at the model's rate, where given. The frequencies are the class's bounds (loxo.detection.frequency measures them).
    Raises LoxoError for a threshold or scores outside 0 to 1, or scores of another number of rows.
    """
    import pandas as pd

    check_threshold(threshold, config.classes)
    if scores.ndim != 2 or len(scores) != len(config.rows):
        raise LoxoError(f"Scores of shape {scores.shape} do not fit a model of {len(config.rows)} rows of scores.")
    if scores.size and not (np.min(scores) >= 0 and np.max(scores) <= 1):
        raise LoxoError("Frame scores must be numbers between 0 and 1.")
    step, rate = config.step_samples, config.sample_rate
    end_s = np.inf if total_samples is None else total_samples / rate
    rows = []
    for label in config.classes:
        own = scores[rows_of(label, config.rows)]
        decoding = config.decoding.get(label, Decoding())
        least = threshold.get(label) if isinstance(threshold, Mapping) else threshold
        least = decoding.threshold if least is None else least
        calibration = config.calibration.get(label)
        for first, last, score in find_events(own[0], decoding, step / rate, *own[1:]):
            start = (first_step + first) * step / rate
            score = calibrated(score, calibration)
            if score >= least and start < end_s:
                end = min((first_step + last) * step / rate, end_s)
                rows.append((start, end, label, score, decoding.low_hz, decoding.high_hz))
    rows.sort(key=lambda row: row[:3])
    return pd.DataFrame(rows, columns=["start_s", "end_s", "label", "score", "low_hz", "high_hz"])


def check_threshold(threshold: Threshold, classes: Sequence[str]) -> None:
    """Raises LoxoError for a threshold outside 0 to 1 or for a class that there is not."""
    given = threshold if isinstance(threshold, Mapping) else {} if threshold is None else {"": threshold}
    for label, value in given.items():
        if label and label not in classes:
            raise LoxoError(f"A threshold is given for {label!r}, but the model's classes are {', '.join(classes)}.")
        if not 0 <= value <= 1:
            raise LoxoError(f"The threshold must lie between 0 and 1, not at {value}.")


def calibrated(score: float, calibration: Calibration | None) -> float:
    """The share of events of this raw score that is right, as far as the calibration knows; without one the score."""
    return score if calibration is None else float(np.interp(score, calibration.raw, calibration.probability))


def rows_of(label: str, rows: Sequence[str]) -> list[int]:
    """Of a model's rows of scores (config.rows) those of a class: its own, and the one of its overlaps where it has."""
    return [rows.index(name) for name in (label, label + OVERLAP_SUFFIX) if name in rows]


def find_events(
    scores: NDArray[np.floating[Any]],
    decoding: Decoding,
    step_s: float,
    overlap: NDArray[np.floating[Any]] | None = None,
) -> list[Event]:
    """All the events of one class's scores (steps,), by their middles, whatever their score.

    overlap: (steps,), how probable it is that two events sound at once, where the model tells.
    """
    smoothed = smooth(scores, decoding.smooth_s / step_s)
    pieces = _merge(_grow(smoothed, decoding), decoding.edge_ratio, decoding.merge_gap_s / step_s)
    least = decoding.min_duration_s / step_s - 1e-9  # durations are meant in whole steps: 0.96 s are three of 0.32 s
    events = [
        (first, last, _score(scores[first:last], peak, valley, decoding.sustain_weight))
        for first, last, peak, valley in pieces
        if last - first >= least
    ]
    if overlap is not None and decoding.overlap_threshold:
        events = tell_apart(events, _stretches(overlap, decoding.overlap_threshold, step_s), step_s)
    return _less_in_a_crowd(events, decoding.density_penalty, step_s) if decoding.density_penalty and events else events


def _stretches(overlap: NDArray[np.floating[Any]], least: float, step_s: float) -> list[Event]:
    """Where two events sound at once: smoothed peaks of at least `least` and their surroundings down to a share of
    each, with its score."""
    smoothed = smooth(overlap, OVERLAP_SMOOTH_S / step_s)
    smoothed[smoothed < OVERLAP_EDGE * least] = 0.0  # no part of any of them
    pieces = _grow(smoothed, Decoding(edge_ratio=OVERLAP_EDGE))
    return [(first, last, score) for first, last, score, _ in pieces if score >= least]


def _less_in_a_crowd(events: list[Event], weight: float, step_s: float) -> list[Event]:
    """Events by their middles. For each of CROWDS the odds of one with n others like it fall by (1 + n) / (1 + few) to
    the power of `weight`."""
    middles = np.array([(first + last) / 2 for first, last, _ in events])
    scores = np.array([score for *_, score in events])
    falls: NDArray[np.float64] = np.zeros(len(events))
    for reach_s, few in CROWDS:
        begins = np.searchsorted(middles, middles - reach_s / step_s, side="left")
        ends = np.searchsorted(middles, middles + reach_s / step_s, side="right")
        for k, (begin, end) in enumerate(zip(begins, ends, strict=True)):
            others = int(np.count_nonzero(scores[begin:end] >= LIKE * scores[k])) - 1
            falls[k] += weight * math.log(max(1 + others, 1 + few) / (1 + few))
    return [
        (first, last, from_logit(logit(score) - fall) if fall else score)
        for (first, last, score), fall in zip(events, falls.tolist(), strict=True)
    ]


def _score(inside: NDArray[np.floating[Any]], peak: float, valley: float, lasting: float) -> float:
    """Of an event with these frame scores (steps,); see the module's docstring."""
    score = peak
    if lasting and peak > 0:
        low = sorted(inside.tolist())[int(LOW * (len(inside) - 1))]
        score = from_logit((1 - lasting) * logit(peak) + lasting * logit(low))
    return score * (1 - DOUBT * valley / peak) if valley else score


def score_within(inside: NDArray[np.floating[Any]], smoothed: NDArray[np.float64], decoding: Decoding) -> float:
    """What an event scores that has its peak in these steps of one class, as scored and smoothed (steps,), and lies
    there alone: as find_events has it, without the events around."""
    values, peak, free = smoothed.tolist(), int(np.argmax(smoothed)), bytearray(len(smoothed))
    least = decoding.edge_ratio * values[peak]
    begin, end = (_reach(values, free, peak, way, least, decoding.valley_ratio) for way in (-1, 1))
    return _score(inside[begin : end + 1], values[peak], 0.0, decoding.sustain_weight)


def smooth(scores: NDArray[np.floating[Any]], steps: float) -> NDArray[np.float64]:
    """Running mean over the odd number of steps nearest to `steps`; at the ends over those that are there."""
    half = smoothing_reach(steps)
    values = np.asarray(scores, np.float64)
    sums, counts = values.copy(), np.ones(len(values))
    # Not a difference of cumulative sums, whose float noise grows with the recording and would cut up a plateau.
    for shift in range(1, min(half, len(values) - 1) + 1):
        sums[shift:] += values[:-shift]
        counts[shift:] += 1
    for shift in range(1, min(half, len(values) - 1) + 1):
        sums[:-shift] += values[shift:]
        counts[:-shift] += 1
    means: NDArray[np.float64] = np.minimum(sums / counts, 1.0)
    return means.round(SCORE_DIGITS)


def smoothing_reach(steps: float) -> int:
    """How many steps on either side `smooth` looks at."""
    return max(round((steps - 1) / 2), 0)


def _peaks(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """The first step of every run of equal values that is higher than both neighbours and reaches FLOOR."""
    if not len(values):
        return np.zeros(0, np.intp)
    starts = np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1])))
    runs = np.concatenate(([-np.inf], values[starts], [-np.inf]))
    higher = (runs[1:-1] > runs[:-2]) & (runs[1:-1] > runs[2:]) & (runs[1:-1] >= FLOOR)
    return starts[higher]


def _grow(smoothed: NDArray[np.float64], decoding: Decoding) -> list[Piece]:
    """Every step is looked at about once, because events do not overlap: linear time."""
    peaks = _peaks(smoothed)
    peaks = peaks[np.argsort(-smoothed[peaks], kind="stable")]
    values = smoothed.tolist()  # plain floats are several times faster one by one
    taken = bytearray(len(values))
    pieces = []
    for peak in peaks.tolist():
        if taken[peak]:
            continue
        score = values[peak]
        least = decoding.edge_ratio * score
        first = _reach(values, taken, peak, -1, least, decoding.valley_ratio)
        last = _reach(values, taken, peak, 1, least, decoding.valley_ratio) + 1
        parted = [values[first : peak + 1]] if first > 0 and taken[first - 1] else []
        parted += [values[peak:last]] if last < len(values) and taken[last] else []
        taken[first:last] = b"\1" * (last - first)
        pieces.append((first, last, score, max(map(min, parted), default=0.0)))
    return sorted(pieces)


def _reach(values: list[float], taken: bytearray, peak: int, way: int, least: float, split: float) -> int:
    """The last step of an event in one direction: before the scores fall to `least`, before an event that is there, or
    in front of a valley that is `split` times as high as the peak behind it, or lower."""
    step = valley = peak
    while 0 <= step + way < len(values) and not taken[step + way] and values[step + way] > least:
        step += way
        if values[step] < values[valley]:
            valley = step
        elif values[valley] <= split * values[step]:
            return valley - way
    return step


def _merge(events: list[Piece], edge: float, gap: float) -> list[Piece]:
    """Joins neighbours less than `gap` steps apart, from the highest down, in both directions of time alike."""
    if gap <= 0:
        return events
    taken = bytearray(len(events))
    merged = []
    for k in sorted(range(len(events)), key=lambda k: -events[k][2]):
        if taken[k]:
            continue
        low = _joined(events, taken, k, -1, edge, gap)
        high = _joined(events, taken, k, 1, edge, gap)
        taken[low : high + 1] = b"\1" * (high + 1 - low)
        merged.append((events[low][0], events[high][1], *events[k][2:]))
    return sorted(merged)


def _joined(events: list[Piece], taken: bytearray, k: int, way: int, edge: float, gap: float) -> int:
    """The last event in one direction that belongs to event k; what is lower and lies between goes with it."""
    last, step = k, k + way
    while 0 <= step < len(events) and not taken[step]:
        nearer, farther = sorted((events[last], events[step]))
        if farther[0] - nearer[1] >= gap:
            break
        if events[step][2] >= edge * events[k][2]:
            last = step
        step += way
    return last
