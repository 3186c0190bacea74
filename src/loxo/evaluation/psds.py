"""The polyphonic sound detection score, PSDS (Bilen and others 2020), of lists of events.

A detection is correct if at least the fraction `dtc` of it lies in events of its class. An event is found if correct
detections cover at least the fraction `gtc` of it. The curve is the mean recall of the classes over false positives per
hour. The score is the area under the curve up to a limit, divided by the limit. The limit is 10 per hour, because the
usual 100 is far too high for calls that occur 15 times a day. Confusions between classes have no cost. The score does
not define marginal events and clip-level labels, so they are not counted.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from loxo.errors import LoxoError
from loxo.evaluation.spans import EPS, Bools, Detections, Floats, Regions, Truth, overlapping_pairs, seconds_inside

MAX_FP_PER_HOUR = 10.0


def psds(
    classes: Mapping[str, tuple[Truth, Detections]],
    hours: float,
    *,
    dtc: float = 0.7,
    gtc: float = 0.7,
    max_fp_per_hour: float = MAX_FP_PER_HOUR,
    spread_weight: float = 0.0,
) -> float | None:
    """The score, 0-1; None if no class has an event.

    classes: truth and detections of each class; spread_weight: factor of the standard deviation of recall between the
    classes, which is subtracted from the mean recall. Raises LoxoError without hours.
    """
    if hours <= 0:
        raise LoxoError("The polyphonic sound detection score needs recordings of more than 0 hours.")
    curves = [_roc(truth, detections, hours, dtc, gtc) for truth, detections in classes.values() if truth.events]
    if not curves:
        return None
    rates = np.unique(np.concatenate([[0.0], *(rate for rate, _ in curves)]))
    rates = rates[rates < max_fp_per_hour]
    recalls = np.stack([_recall_at(rate, recall, rates) for rate, recall in curves])
    effective = np.maximum(recalls.mean(axis=0) - spread_weight * recalls.std(axis=0), 0.0)
    widths = np.diff(rates, append=max_fp_per_hour)
    return float((effective * widths).sum() / max_fp_per_hour)


def _roc(truth: Truth, detections: Detections, hours: float, dtc: float, gtc: float) -> tuple[Floats, Floats]:
    """(false positives per hour, recall) at falling thresholds; both rise."""
    used = truth.counted & ~truth.clip
    truth = Truth(truth.recording[used], truth.start[used], truth.end[used], truth.counted[used], truth.clip[used])
    inside = seconds_inside(detections, Regions(truth.recording, truth.start, truth.end))
    correct = inside >= dtc * (detections.end - detections.start) - EPS
    found_at = _found_at(truth, detections, correct, gtc)
    thresholds = np.unique(np.concatenate([detections.score, found_at[np.isfinite(found_at)]]))[::-1]
    false = np.searchsorted(np.sort(-detections.score[~correct]), -thresholds, side="right")
    hits = np.searchsorted(np.sort(-found_at), -thresholds, side="right")
    return false / hours, hits / max(len(truth), 1)


def _found_at(truth: Truth, detections: Detections, correct: Bools, gtc: float) -> Floats:
    """(events,): the threshold from which on correct detections cover enough of an event; -inf if they never do."""
    at = np.full(len(truth), -np.inf)
    overlapping: dict[int, list[int]] = {}
    for e, d in overlapping_pairs(truth, detections):
        for event, detection in zip(e[correct[d]].tolist(), d[correct[d]].tolist(), strict=True):
            overlapping.setdefault(event, []).append(detection)
    for k, indices in overlapping.items():
        start, end = float(truth.start[k]), float(truth.end[k])
        spans: list[tuple[float, float]] = []
        for number in sorted(indices, key=lambda n: -detections.score[n]):
            spans.append((max(start, float(detections.start[number])), min(end, float(detections.end[number]))))
            if _length(spans) >= gtc * (end - start) - EPS:
                at[k] = detections.score[number]
                break
    return at


def _length(spans: list[tuple[float, float]]) -> float:
    """Seconds covered by the union of the spans."""
    total, max_end = 0.0, -np.inf
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, max_end))
        max_end = max(max_end, end)
    return total


def _recall_at(rate: Floats, recall: Floats, at: Floats) -> Floats:
    """The recall with at most each of the rates `at`."""
    k = np.searchsorted(rate, at, side="right") - 1
    return np.where(k >= 0, recall[np.maximum(k, 0)] if len(recall) else 0.0, 0.0)
