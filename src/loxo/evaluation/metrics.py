"""Metrics of matchings: precision-recall curves, average precision, recall at a rate of false positives.

A detector is evaluated by its list of detections. Each point of a curve is one distinct score. It counts all
detections with this score or a higher one. A recall beyond the end of the list is not reached and adds nothing to the
average precision. All unmatched detections are false positives, which includes fragments and detections with inexact
borders. Ignored detections are not counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from loxo.evaluation.matching import HIT, IOU30, Criterion, Matching, match_tables, pairs
from loxo.evaluation.spans import Bools, Detections, Floats, Ints, Truth

if TYPE_CHECKING:
    import pandas as pd

RATES = (0.1, 1.0, 5.7, 20.0)  # false positives per hour at which publications report recall
SNR_BIN_DB = 5.0


@dataclass(frozen=True)
class Curve:
    """Cumulative counts at each distinct score, in the order of falling scores. All arrays (points,)."""

    threshold: Floats
    hits: Ints
    false_positives: Ints
    events: int

    @property
    def recall(self) -> Floats:
        return self.hits / max(self.events, 1)

    @property
    def precision(self) -> Floats:
        return self.hits / np.maximum(self.hits + self.false_positives, 1)

    @property
    def f1(self) -> Floats:
        return 2 * self.hits / np.maximum(self.events + self.hits + self.false_positives, 1)

    def __len__(self) -> int:
        return len(self.threshold)


def curve(score: Floats, correct: Bools, events: int) -> Curve:
    """The curve of detections. score, correct: both (detections,); events: number of events to find."""
    order = np.argsort(-score, kind="stable")
    score, correct = score[order], correct[order]
    last = np.flatnonzero(np.diff(score, append=-np.inf)) if len(score) else np.zeros(0, np.int64)
    hits = np.cumsum(correct, dtype=np.int64)[last]
    return Curve(score[last], hits, last + 1 - hits, events)


def matching_curve(matching: Matching) -> Curve:
    """The curve of a matching, without ignored detections."""
    evaluated = matching.evaluated
    return curve(matching.score[evaluated], matching.verdict[evaluated] == HIT, matching.events)


def average_precision(points: Curve) -> float | None:
    """The area under the precision-recall curve as a step function, without interpolation. None without events."""
    if not points.events:
        return None
    gained = np.diff(points.recall, prepend=0.0)
    return float((gained * points.precision).sum())


def average_precision_by(group: Ints, score: Floats, correct: Bools, events: Ints) -> Floats:
    """The average precision of many groups of recordings at once.

    group: (detections,), integers from 0 to groups - 1; score, correct: (detections,); events: (groups,), numbers to
    find. Returns (groups,), with NaN for a group without events.
    """
    order = np.lexsort((-score, group))
    group, score, correct = group[order], score[order], correct[order].astype(np.int64)
    area = np.zeros(len(events))
    if len(group):
        last = np.append((np.diff(group) != 0) | (np.diff(score) != 0), True)  # of each distinct score in a group
        first = np.flatnonzero(np.append(True, last[:-1]))
        start = np.searchsorted(group, group[last])  # first index of the group
        all_hits = np.concatenate([[0], np.cumsum(correct)])
        end = np.flatnonzero(last) + 1
        precision = (all_hits[end] - all_hits[start]) / (end - start)
        area += np.bincount(group[last], (all_hits[end] - all_hits[first]) * precision, minlength=len(events))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(events > 0, area / events, np.nan)


def ratios(hits: int, false_positives: int, events: int) -> dict[str, Any]:
    """A dict with hits, false, events, precision, recall and f1. A ratio with a denominator of 0 is None."""
    return {
        "hits": int(hits),
        "false": int(false_positives),
        "events": int(events),
        "precision": hits / (hits + false_positives) if hits + false_positives else None,
        "recall": hits / events if events else None,
        "f1": 2 * hits / (events + hits + false_positives) if events + hits + false_positives else None,
    }


def at_rate(points: Curve, rate: float, hours: float) -> dict[str, Any]:
    """The lowest threshold with at most `rate` false positives per hour, and the results at this threshold.

    Keys of the result are rate, allowed, threshold, hits, false, recall, precision and list_ends_before. `allowed` is
    the number of false positives that the rate allows. `threshold` is None if the best detection is already one false
    positive too many. `list_ends_before` is True if the list has fewer false positives than allowed. Then the threshold
    of the detector, not this rate, limits the recall.
    """
    allowed = math.floor(rate * hours + 1e-9)
    # The number of false positives never falls along the curve.
    inside = int(np.searchsorted(points.false_positives, allowed, side="right")) - 1
    hits, false_positives = (int(points.hits[inside]), int(points.false_positives[inside])) if inside >= 0 else (0, 0)
    return {
        "rate": rate,
        "allowed": allowed,
        "threshold": float(points.threshold[inside]) if inside >= 0 else None,
        **{
            key: value
            for key, value in ratios(hits, false_positives, points.events).items()
            if key not in ("events", "f1")
        },
        "list_ends_before": not len(points) or int(points.false_positives[-1]) < allowed,
    }


def best_f1(points: Curve) -> dict[str, Any] | None:
    """The threshold with the highest F1, and its ratios. None for an empty curve.

    It is optimised on the evaluated data, so it is too optimistic for other data.
    """
    if not len(points) or not points.events:
        return None
    k = int(np.argmax(points.f1))
    return {
        "threshold": float(points.threshold[k]),
        **ratios(int(points.hits[k]), int(points.false_positives[k]), points.events),
    }


def events_ap(
    truth: pd.DataFrame, detections: pd.DataFrame, labels: tuple[str, ...], criterion: Criterion = IOU30
) -> dict[str, float | None]:
    """The event AP of each label, from two events tables. See matching.match_tables."""
    return {
        label: average_precision(matching_curve(match_tables(truth, detections, label, criterion)[0]))
        for label in labels
    }


# -- borders and signal-to-noise


def spread(values: Floats) -> dict[str, Any]:
    """A dict with n, median, quartiles and median_absolute (the median of the absolute values); None without values."""
    if not len(values):
        return {"n": 0, "median": None, "quartiles": None, "median_absolute": None}
    low, middle, high = np.percentile(values, [25, 50, 75])
    return {
        "n": len(values),
        "median": float(middle),
        "quartiles": [float(low), float(high)],
        "median_absolute": float(np.median(np.abs(values))),
    }


def border_errors(matching: Matching, truth: Truth, detections: Detections) -> dict[str, dict[str, Any]]:
    """Errors of onset and offset of the hits in seconds, without clip-level labels. A positive error is late."""
    hits, events = pairs(matching)
    keep = ~truth.clip[events]
    hits, events = hits[keep], events[keep]
    return {
        "onset_s": spread(detections.start[hits] - truth.start[events]),
        "offset_s": spread(detections.end[hits] - truth.end[events]),
    }


def recall_by_snr(matching: Matching, snr_db: Floats, threshold: float = -np.inf) -> list[dict[str, Any]]:
    """Recall of the events in bins of 5 dB of `snr_db` (events,), without events whose value is NaN.

    threshold: an event is found if a detection with at least this score found it.
    """
    known = matching.counted & np.isfinite(snr_db)
    bins = np.floor(snr_db[known] / SNR_BIN_DB).astype(np.int64)
    is_found = matching.found_at[known] >= max(threshold, -np.finfo(float).max)
    rows = []
    for k in np.unique(bins):
        inside = bins == k
        row: dict[str, Any] = {"from_db": float(k * SNR_BIN_DB), "to_db": float((k + 1) * SNR_BIN_DB)}
        row |= {"events": int(inside.sum()), "found": int(is_found[inside].sum())}
        rows.append({**row, "recall": row["found"] / row["events"]})
    return rows
