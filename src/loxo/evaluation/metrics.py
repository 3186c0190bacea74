"""Figures from matchings: precision and recall over all thresholds, average precision, recall at a rate of errors.

A detector is judged by its list of detections. One point of a curve is one distinct score: all detections that score as
much or more are taken. Recall beyond the end of the list is not reached, and earns nothing.
False positives are all detections that match nothing, fragments and bad borders among them; ignored ones are neither.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from loxo.evaluation.matching import FALSE, HIT, IOU30, Criterion, Matching, match_tables, pairs
from loxo.evaluation.spans import Bools, Floats, Found, Ints, Truth

if TYPE_CHECKING:
    import pandas as pd

RATES = (0.1, 1.0, 5.7, 20.0)  # false positives an hour at which the field quotes recall
SNR_STEP_DB = 5.0


@dataclass(frozen=True)
class Curve:
    """Counts at each distinct score, from the highest down. All arrays (points,)."""

    threshold: Floats
    hits: Ints
    false: Ints
    events: int

    @property
    def recall(self) -> Floats:
        return self.hits / max(self.events, 1)

    @property
    def precision(self) -> Floats:
        return self.hits / np.maximum(self.hits + self.false, 1)

    @property
    def f1(self) -> Floats:
        return 2 * self.hits / np.maximum(self.events + self.hits + self.false, 1)

    def __len__(self) -> int:
        return len(self.threshold)


def curve(score: Floats, right: Bools, events: int) -> Curve:
    """The curve of judged detections: their scores and whether they are right, both (detections,), out of `events`."""
    order = np.argsort(-score, kind="stable")
    score, right = score[order], right[order]
    last = np.flatnonzero(np.diff(score, append=-np.inf)) if len(score) else np.zeros(0, np.int64)
    hits = np.cumsum(right, dtype=np.int64)[last]
    return Curve(score[last], hits, last + 1 - hits, events)


def matching_curve(matching: Matching) -> Curve:
    judged = matching.judged
    return curve(matching.score[judged], matching.verdict[judged] == HIT, matching.events)


def average_precision(points: Curve) -> float | None:
    """The area under precision over recall, in steps (no interpolation). None without events."""
    if not points.events:
        return None
    gained = np.diff(points.recall, prepend=0.0)
    return float((gained * points.precision).sum())


def average_precision_by(group: Ints, score: Floats, right: Bools, events: Ints) -> Floats:
    """average_precision of many groups (recordings) at once.

    group: (detections,) in 0 to groups - 1; events: (groups,). Gives (groups,), NaN where a group has no events.
    """
    order = np.lexsort((-score, group))
    group, score, right = group[order], score[order], right[order].astype(np.int64)
    area = np.zeros(len(events))
    if len(group):
        last = np.append((np.diff(group) != 0) | (np.diff(score) != 0), True)  # of those with one score in one group
        first = np.flatnonzero(np.append(True, last[:-1]))
        start = np.searchsorted(group, group[last])  # of the group
        all_hits = np.concatenate([[0], np.cumsum(right)])
        end = np.flatnonzero(last) + 1
        precision = (all_hits[end] - all_hits[start]) / (end - start)
        area += np.bincount(group[last], (all_hits[end] - all_hits[first]) * precision, minlength=len(events))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(events > 0, area / events, np.nan)


def ratios(hits: int, false: int, events: int) -> dict[str, Any]:
    """hits, false, events, precision, recall, f1; a ratio without anything in it is None."""
    return {
        "hits": int(hits),
        "false": int(false),
        "events": int(events),
        "precision": hits / (hits + false) if hits + false else None,
        "recall": hits / events if events else None,
        "f1": 2 * hits / (events + hits + false) if events + hits + false else None,
    }


def at_rate(points: Curve, rate: float, hours: float) -> dict[str, Any]:
    """The lowest threshold with at most `rate` false positives an hour, and what it reaches.

    Keys: rate, allowed (whole false positives that the rate allows), threshold (None if even the best detection is
    too much), hits, false, recall, precision, list_ends_before (the list has fewer false positives than are allowed:
    the detector's own threshold, not this rate, sets the recall).
    """
    allowed = math.floor(rate * hours + 1e-9)
    # false positives only grow along the curve
    inside = int(np.searchsorted(points.false, allowed, side="right")) - 1
    hits, false = (int(points.hits[inside]), int(points.false[inside])) if inside >= 0 else (0, 0)
    return {
        "rate": rate,
        "allowed": allowed,
        "threshold": float(points.threshold[inside]) if inside >= 0 else None,
        **{key: value for key, value in ratios(hits, false, points.events).items() if key not in ("events", "f1")},
        "list_ends_before": not len(points) or int(points.false[-1]) < allowed,
    }


def best_f1(points: Curve) -> dict[str, Any] | None:
    """The threshold of the highest F1 on these very data (so it flatters), with its ratios. None for an empty curve."""
    if not len(points) or not points.events:
        return None
    k = int(np.argmax(points.f1))
    return {
        "threshold": float(points.threshold[k]),
        **ratios(int(points.hits[k]), int(points.false[k]), points.events),
    }


def events_ap(
    truth: pd.DataFrame, detections: pd.DataFrame, labels: tuple[str, ...], criterion: Criterion = IOU30
) -> dict[str, float | None]:
    """Event AP of each label for two events tables: what a training run watches. See matching.match_tables."""
    return {
        label: average_precision(matching_curve(match_tables(truth, detections, label, criterion)[0]))
        for label in labels
    }


# -- borders and signal-to-noise


def spread(values: Floats) -> dict[str, Any]:
    """n, median, both quartiles and the median of the absolute values; all None without values."""
    if not len(values):
        return {"n": 0, "median": None, "quartiles": None, "median_absolute": None}
    low, middle, high = np.percentile(values, [25, 50, 75])
    return {
        "n": len(values),
        "median": float(middle),
        "quartiles": [float(low), float(high)],
        "median_absolute": float(np.median(np.abs(values))),
    }


def border_errors(matching: Matching, truth: Truth, found: Found) -> dict[str, dict[str, Any]]:
    """Errors of onset and offset of the hits, in seconds, found minus true: positive is late. Clip labels left out."""
    hits, events = pairs(matching)
    keep = ~truth.clip[events]
    hits, events = hits[keep], events[keep]
    return {
        "onset_s": spread(found.start[hits] - truth.start[events]),
        "offset_s": spread(found.end[hits] - truth.end[events]),
    }


def recall_by_snr(matching: Matching, snr_db: Floats, threshold: float = -np.inf) -> list[dict[str, Any]]:
    """Recall of the events in classes of 5 dB of `snr_db` (events,); events without a known value are left out."""
    known = matching.counted & np.isfinite(snr_db)
    step = np.floor(snr_db[known] / SNR_STEP_DB).astype(np.int64)
    found = matching.found_at[known] >= max(threshold, -np.finfo(float).max)
    rows = []
    for k in np.unique(step):
        inside = step == k
        row: dict[str, Any] = {"from_db": float(k * SNR_STEP_DB), "to_db": float((k + 1) * SNR_STEP_DB)}
        row |= {"events": int(inside.sum()), "found": int(found[inside].sum())}
        rows.append({**row, "recall": row["found"] / row["events"]})
    return rows


def counts_by(matching: Matching, groups: Ints, number: int) -> dict[str, Ints]:
    """events, hits, false and loose for each of `number` groups of recordings; groups: (recordings,), -1 for none."""

    def count(recording: Ints, keep: Bools) -> Ints:
        group = groups[recording[keep]]
        return np.bincount(group[group >= 0], minlength=number)

    return {
        "events": count(matching.event_recording, matching.counted),
        "hits": count(matching.recording, matching.verdict == HIT),
        "false": count(matching.recording, matching.verdict == FALSE),
        "loose": count(matching.recording, matching.loose),
    }
