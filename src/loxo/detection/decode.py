"""Frame scores of one recording become events.

For each class:
1. The scores are smoothed by a running mean (`smooth_s`).
2. Every peak of at least MIN_PEAK is a candidate. Candidates are processed from the highest to the lowest. Each extends
   in both directions while the smoothed score is above `edge_ratio` times its peak. It stops at an event that exists
   already. It also stops at a valley of at most `valley_ratio` times the peak behind it, so that two calls in quick
   succession stay two events.
3. Two events less than `merge_gap_s` apart are merged, with everything between them, if the lower peak is at least
   `edge_ratio` times the higher one. This merges a call with a real pause, but not a clear call with weak events beside
   it.
4. Events shorter than `min_duration_s` are dropped.
5. If the model has overlap outputs, an event with an overlap score of at least `overlap_threshold` becomes two
   (loxo.detection.overlaps).

The score of an event combines
- its peak and its sustained level, the frame score that four fifths of its frames reach: the weighted mean of their
  logits, with `sustain_weight` for the sustained level. Noise has peaks as high as calls, but rarely for as long.
- a penalty if only a valley separates the event from a higher one: up to NEIGHBOUR_PENALTY, and less for a deeper
  valley. Some of these events are parts of one call.
- a penalty, with the exponent `density_penalty`, if many similar events occur within one or five minutes. Rain, insects
  and handling of the recorder produce many events in quick succession, and a cicada or a pump continues for minutes.

If the model has a calibration of the class, the event score is then converted to a calibrated probability. As the last
step, the threshold is applied to this final score, so it never changes the onset or offset of an event.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loxo.detection.logit import from_logit, logit
from loxo.detection.overlaps import Event, OverlapSpan, split_overlaps
from loxo.detection.threshold import Threshold, check_threshold
from loxo.engine.config import OVERLAP_SUFFIX, Calibration, Decoding
from loxo.errors import LoxoError

if TYPE_CHECKING:
    import pandas as pd

# Fraction of its score that an event beside a higher one loses if the valley between them is as high as its own peak.
NEIGHBOUR_PENALTY = 0.1
SUSTAIN_QUANTILE = 0.2  # the sustained level of an event is this quantile of its frame scores
# (seconds on either side of an event, similar events within them that cost nothing). 16 events in the ten minutes
# around an event are 96 an hour, more than the calls at most forest clearings.
DENSITY_WINDOWS = ((60.0, 3), (300.0, 16))
SIMILAR_RATIO = 0.2  # another event is similar if its score is at least this fraction of the event's score
MIN_PEAK = 0.005  # lower peaks are noise and never become events, even with a threshold of 0
OVERLAP_SMOOTH_S = 1.0  # length of the running mean over overlap scores
OVERLAP_EDGE_RATIO = 0.3  # a span of overlap extends while the overlap score is above this fraction of its peak
SCORE_DIGITS = 9  # smoothed scores are rounded, so that rounding errors do not split a plateau into several peaks

FIELDS = ("start_s", "end_s", "label", "score", "low_hz", "high_hz")  # of an event
Row = dict[str, Any]  # an event, by field
Piece = tuple[
    int, int, float, float
]  # first step, stop step, peak, valley between it and a higher piece (0: no valley)


def decode(
    scores: NDArray[np.floating[Any]],
    config: Any,
    *,
    threshold: Threshold = None,
    first_step: int = 0,
    total_samples: int | None = None,
) -> pd.DataFrame:
    """The events in frame scores (rows, steps), as a DataFrame with one row per event, a row of decode_rows.

    The rows of `scores` are the outputs of the model (config.rows): its classes, then the overlap outputs, if it has
    any. The columns of the result are start_s, end_s, label, score, low_hz and high_hz, sorted by start, end and label.
    The frequencies are the bounds of the class; loxo.detection.frequency measures those of the event.

    `config` is the model's config. `threshold` (0 to 1) replaces the threshold of every class, or of the classes that
    it names. `first_step` is the recording's step at which the scores begin. `total_samples` is the length of the
    recording at the model's sample rate; events are cut off there.
    Raises LoxoError for a threshold or scores outside 0 to 1, and for a wrong number of rows.
    """
    import pandas as pd

    rows = decode_rows(scores, config, threshold=threshold, first_step=first_step, total_samples=total_samples)
    return pd.DataFrame(rows, columns=list(FIELDS))


def decode_rows(
    scores: NDArray[np.floating[Any]],
    config: Any,
    *,
    threshold: Threshold = None,
    first_step: int = 0,
    total_samples: int | None = None,
) -> list[Row]:
    """As decode, but without pandas: the rows of the DataFrame."""
    check_threshold(threshold, config.classes)
    if scores.ndim != 2 or len(scores) != len(config.rows):
        raise LoxoError(f"Scores of shape {scores.shape} do not fit a model of {len(config.rows)} rows of scores.")
    if scores.size and not (np.min(scores) >= 0 and np.max(scores) <= 1):
        raise LoxoError("Frame scores must be numbers between 0 and 1.")
    step, rate = config.step_samples, config.sample_rate
    end_s = np.inf if total_samples is None else total_samples / rate
    events = []
    for label in config.classes:
        own = scores[class_rows(label, config.rows)]
        decoding = config.decoding.get(label, Decoding())
        min_score = lowest_score(label, config, threshold)
        calibration = config.calibration.get(label)
        for first, stop, score in find_events(own[0], decoding, step / rate, *own[1:]):
            start = (first_step + first) * step / rate
            score = calibrated_score(score, calibration)
            if score >= min_score and start < end_s:
                end = min((first_step + stop) * step / rate, end_s)
                events.append((float(start), float(end), label, float(score), decoding.low_hz, decoding.high_hz))
    events.sort(key=lambda event: event[:3])
    return [dict(zip(FIELDS, event, strict=True)) for event in events]


def calibrated_score(score: float, calibration: Calibration | None) -> float:
    """The probability that an event of this raw score is a true positive; the raw score without a calibration."""
    return score if calibration is None else float(np.interp(score, calibration.raw, calibration.probability))


def raw_score(score: float, calibration: Calibration | None) -> float:
    """The raw score of a calibrated one, the inverse of `calibrated_score`."""
    return score if calibration is None else float(np.interp(score, calibration.probability, calibration.raw))


def lowest_score(label: str, config: Any, threshold: Threshold) -> float:
    """The lowest score of a listed event of a class: the given threshold, else that of the class."""
    given = threshold.get(label) if isinstance(threshold, Mapping) else threshold
    return float(config.decoding.get(label, Decoding()).threshold if given is None else given)


def class_rows(label: str, rows: Sequence[str]) -> list[int]:
    """The indices of a class in a model's rows of scores (config.rows): its own, then its overlap output, if any."""
    return [rows.index(name) for name in (label, label + OVERLAP_SUFFIX) if name in rows]


def find_events(
    scores: NDArray[np.floating[Any]],
    decoding: Decoding,
    step_s: float,
    overlap_scores: NDArray[np.floating[Any]] | None = None,
) -> list[Event]:
    """All events of one class, with any score, sorted by their middles.

    scores: (steps,). overlap_scores: (steps,), the probability that two events overlap, if the model has this output.
    """
    smoothed = smooth(scores, decoding.smooth_s / step_s)
    pieces = _merge(_grow(smoothed, decoding), decoding.edge_ratio, decoding.merge_gap_s / step_s)
    min_steps = decoding.min_duration_s / step_s - 1e-9  # whole steps: 0.96 s are three steps of 0.32 s
    events = [
        (first, stop, _event_score(scores[first:stop], peak, valley, decoding.sustain_weight))
        for first, stop, peak, valley in pieces
        if stop - first >= min_steps
    ]
    if overlap_scores is not None and decoding.overlap_threshold:
        events = split_overlaps(events, _overlap_spans(overlap_scores, decoding.overlap_threshold, step_s), step_s)
    return (
        _penalise_density(events, decoding.density_penalty, step_s) if decoding.density_penalty and events else events
    )


def _overlap_spans(overlap_scores: NDArray[np.floating[Any]], min_score: float, step_s: float) -> list[OverlapSpan]:
    """The spans in which two events overlap: smoothed peaks of at least `min_score` and the steps around each."""
    smoothed = smooth(overlap_scores, OVERLAP_SMOOTH_S / step_s)
    smoothed[smoothed < OVERLAP_EDGE_RATIO * min_score] = 0.0  # cannot belong to any span
    pieces = _grow(smoothed, Decoding(edge_ratio=OVERLAP_EDGE_RATIO))
    return [(first, stop, score) for first, stop, score, _ in pieces if score >= min_score]


def _penalise_density(events: list[Event], exponent: float, step_s: float) -> list[Event]:
    """The events with lower scores where many similar ones are near. The events are sorted by their middles.

    For each of DENSITY_WINDOWS the odds of an event with n similar others are divided by ((1 + n) / (1 + free)) to the
    power of `exponent`, if n is above `free`.
    """
    middles = np.array([(first + stop) / 2 for first, stop, _ in events])
    scores = np.array([score for *_, score in events])
    penalties: NDArray[np.float64] = np.zeros(len(events))  # in logits
    for radius_s, free in DENSITY_WINDOWS:
        begins = np.searchsorted(middles, middles - radius_s / step_s, side="left")
        ends = np.searchsorted(middles, middles + radius_s / step_s, side="right")
        for k, (begin, end) in enumerate(zip(begins, ends, strict=True)):
            others = int(np.count_nonzero(scores[begin:end] >= SIMILAR_RATIO * scores[k])) - 1
            penalties[k] += exponent * math.log(max(1 + others, 1 + free) / (1 + free))
    return [
        (first, stop, from_logit(logit(score) - penalty) if penalty else score)
        for (first, stop, score), penalty in zip(events, penalties.tolist(), strict=True)
    ]


def _event_score(inside: NDArray[np.floating[Any]], peak: float, valley: float, sustain_weight: float) -> float:
    """The score of an event with these frame scores (steps,), before the density penalty; see the module docstring."""
    score = peak
    if sustain_weight and peak > 0:
        sustained = sorted(inside.tolist())[int(SUSTAIN_QUANTILE * (len(inside) - 1))]
        score = from_logit((1 - sustain_weight) * logit(peak) + sustain_weight * logit(sustained))
    return score * (1 - NEIGHBOUR_PENALTY * valley / peak) if valley else score


def score_within(inside: NDArray[np.floating[Any]], smoothed: NDArray[np.float64], decoding: Decoding) -> float:
    """The score of an event whose peak is the highest one in these steps of one class, without any other events.

    inside, smoothed: the raw and the smoothed scores, (steps,). The score is the one that find_events computes before
    the penalties for other events.
    """
    values, peak, free = smoothed.tolist(), int(np.argmax(smoothed)), bytearray(len(smoothed))
    min_score = decoding.edge_ratio * values[peak]
    first, last = (_extend(values, free, peak, way, min_score, decoding.valley_ratio) for way in (-1, 1))
    return _event_score(inside[first : last + 1], values[peak], 0.0, decoding.sustain_weight)


def smooth(scores: NDArray[np.floating[Any]], steps: float) -> NDArray[np.float64]:
    """Running mean over the odd number of steps nearest to `steps`; at the ends, over the steps that exist."""
    radius = smoothing_radius(steps)
    values = np.asarray(scores, np.float64)
    sums, counts = values.copy(), np.ones(len(values))
    # Not a difference of cumulative sums: its rounding error grows with the recording and would split plateaus.
    for shift in range(1, min(radius, len(values) - 1) + 1):
        sums[shift:] += values[:-shift]
        counts[shift:] += 1
    for shift in range(1, min(radius, len(values) - 1) + 1):
        sums[:-shift] += values[shift:]
        counts[:-shift] += 1
    means: NDArray[np.float64] = np.minimum(sums / counts, 1.0)
    return means.round(SCORE_DIGITS)


def smoothing_radius(steps: float) -> int:
    """Number of steps on either side that `smooth` includes in a mean."""
    return max(round((steps - 1) / 2), 0)


def _peaks(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """The first step of every run of equal values that is higher than both neighbours and at least MIN_PEAK."""
    if not len(values):
        return np.zeros(0, np.intp)
    starts = np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1])))
    runs = np.concatenate(([-np.inf], values[starts], [-np.inf]))
    higher = (runs[1:-1] > runs[:-2]) & (runs[1:-1] > runs[2:]) & (runs[1:-1] >= MIN_PEAK)
    return starts[higher]


def _grow(smoothed: NDArray[np.float64], decoding: Decoding) -> list[Piece]:
    """A piece around every peak that is not in a higher one's piece. Pieces do not overlap, so this is linear in time:
    every step is visited about once."""
    peaks = _peaks(smoothed)
    peaks = peaks[np.argsort(-smoothed[peaks], kind="stable")]
    values = smoothed.tolist()  # access to single elements is several times faster in a list than in an array
    taken = bytearray(len(values))
    pieces = []
    for peak in peaks.tolist():
        if taken[peak]:
            continue
        score = values[peak]
        min_score = decoding.edge_ratio * score
        first = _extend(values, taken, peak, -1, min_score, decoding.valley_ratio)
        stop = _extend(values, taken, peak, 1, min_score, decoding.valley_ratio) + 1
        flanks = [values[first : peak + 1]] if first > 0 and taken[first - 1] else []
        flanks += [values[peak:stop]] if stop < len(values) and taken[stop] else []
        taken[first:stop] = b"\1" * (stop - first)
        pieces.append((first, stop, score, max(map(min, flanks), default=0.0)))
    return sorted(pieces)


def _extend(values: list[float], taken: bytearray, peak: int, way: int, min_score: float, valley_ratio: float) -> int:
    """The last step of a piece in one direction (way -1 or 1).

    It is the step before the scores fall to `min_score`, before a taken step, or before a valley that is at most
    `valley_ratio` times as high as the peak behind it.
    """
    step = valley = peak
    while 0 <= step + way < len(values) and not taken[step + way] and values[step + way] > min_score:
        step += way
        if values[step] < values[valley]:
            valley = step
        elif values[valley] <= valley_ratio * values[step]:
            return valley - way
    return step


def _merge(pieces: list[Piece], edge_ratio: float, gap: float) -> list[Piece]:
    """Merges neighbours less than `gap` steps apart, from the highest piece down, in both directions alike."""
    if gap <= 0:
        return pieces
    taken = bytearray(len(pieces))
    merged = []
    for k in sorted(range(len(pieces)), key=lambda k: -pieces[k][2]):
        if taken[k]:
            continue
        low = _merge_end(pieces, taken, k, -1, edge_ratio, gap)
        high = _merge_end(pieces, taken, k, 1, edge_ratio, gap)
        taken[low : high + 1] = b"\1" * (high + 1 - low)
        merged.append((pieces[low][0], pieces[high][1], *pieces[k][2:]))
    return sorted(merged)


def _merge_end(pieces: list[Piece], taken: bytearray, k: int, way: int, edge_ratio: float, gap: float) -> int:
    """The last piece in one direction that merges with piece k; lower pieces between the two merge with them."""
    last, other = k, k + way
    while 0 <= other < len(pieces) and not taken[other]:
        earlier, later = sorted((pieces[last], pieces[other]))
        if later[0] - earlier[1] >= gap:
            break
        if pieces[other][2] >= edge_ratio * pieces[k][2]:
            last = other
        other += way
    return last
