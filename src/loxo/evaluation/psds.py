"""The polyphonic sound detection score (Bilen and others 2020) of lists of events, for short clips.

A detection is right when at least `dtc` of it lies in events of its class; an event is found when right detections
cover at least `gtc` of it. The score is the area under the mean recall of the classes over false positives an hour,
up to a limit, divided by the limit. The limit here is 10 an hour: the usual 100 is far too lax for calls that come 15
times a day. No cost of confusions between classes. Marginal and clip-level labels have no place in this score and are
not counted.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from loxo.errors import LoxoError
from loxo.evaluation.spans import EPS, Bools, Floats, Found, Regions, Truth, overlapping, seconds_within

MOST_FP_PER_HOUR = 10.0


def psds(
    classes: Mapping[str, tuple[Truth, Found]],
    hours: float,
    *,
    dtc: float = 0.7,
    gtc: float = 0.7,
    max_fp_per_hour: float = MOST_FP_PER_HOUR,
    spread_weight: float = 0.0,
) -> float | None:
    """The score, 0-1; None when no class has an event.

    classes: truth and detections of each class; spread_weight: how often the standard deviation of recall between the
    classes is taken from the mean. Raises LoxoError without hours.
    """
    if hours <= 0:
        raise LoxoError("The polyphonic sound detection score needs the hours that were searched.")
    curves = [_roc(truth, found, hours, dtc, gtc) for truth, found in classes.values() if truth.events]
    if not curves:
        return None
    rates = np.unique(np.concatenate([[0.0], *(rate for rate, _ in curves)]))
    rates = rates[rates < max_fp_per_hour]
    recalls = np.stack([_reached(rate, recall, rates) for rate, recall in curves])
    effective = np.maximum(recalls.mean(axis=0) - spread_weight * recalls.std(axis=0), 0.0)
    widths = np.diff(rates, append=max_fp_per_hour)
    return float((effective * widths).sum() / max_fp_per_hour)


def _roc(truth: Truth, found: Found, hours: float, dtc: float, gtc: float) -> tuple[Floats, Floats]:
    """(false positives an hour, recall) at falling thresholds, both rising."""
    asked = truth.counted & ~truth.clip
    truth = Truth(truth.recording[asked], truth.start[asked], truth.end[asked], truth.counted[asked], truth.clip[asked])
    inside = seconds_within(found, Regions(truth.recording, truth.start, truth.end))
    right = inside >= dtc * (found.end - found.start) - EPS
    found_at = _found_at(truth, found, right, gtc)
    thresholds = np.unique(np.concatenate([found.score, found_at[np.isfinite(found_at)]]))[::-1]
    false = np.searchsorted(np.sort(-found.score[~right]), -thresholds, side="right")
    hits = np.searchsorted(np.sort(-found_at), -thresholds, side="right")
    return false / hours, hits / max(len(truth), 1)


def _found_at(truth: Truth, found: Found, right: Bools, gtc: float) -> Floats:
    """(events,) the score at which right detections cover enough of each event; -inf where they never do."""
    at = np.full(len(truth), -np.inf)
    touching: dict[int, list[int]] = {}
    for e, d in overlapping(truth, found):
        for event, detection in zip(e[right[d]].tolist(), d[right[d]].tolist(), strict=True):
            touching.setdefault(event, []).append(detection)
    for k, detections in touching.items():
        start, end = float(truth.start[k]), float(truth.end[k])
        spans: list[tuple[float, float]] = []
        for number in sorted(detections, key=lambda n: -found.score[n]):
            spans.append((max(start, float(found.start[number])), min(end, float(found.end[number]))))
            if _length(spans) >= gtc * (end - start) - EPS:
                at[k] = found.score[number]
                break
    return at


def _length(spans: list[tuple[float, float]]) -> float:
    """Seconds that the spans cover together."""
    total, reach = 0.0, -np.inf
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reach))
        reach = max(reach, end)
    return total


def _reached(rate: Floats, recall: Floats, at: Floats) -> Floats:
    """The recall within each of the rates `at`."""
    k = np.searchsorted(rate, at, side="right") - 1
    return np.where(k >= 0, recall[np.maximum(k, 0)] if len(recall) else 0.0, 0.0)
