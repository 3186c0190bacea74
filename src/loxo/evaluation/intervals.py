"""Bootstrap confidence intervals: recordings are drawn with replacement, to simulate repeated surveys.

Whole recordings are drawn, not events, because events of one recording are not independent. The 95 % intervals are the
2.5 and 97.5 percentiles of 1000 draws. With very many detections there are fewer draws, but at least 200. With more
than 512 distinct scores the curves are computed at 512 of them. The same data give the same intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from loxo.evaluation.matching import HIT, Matching
from loxo.evaluation.spans import Floats, Ints

DRAWS, MIN_DRAWS = 1000, 200
MAX_LEVELS = 512  # distinct scores at which the curves of the draws are computed
MAX_WORK = 2e8  # draws x detections; above it the number of draws is reduced
MAX_BLOCK_VALUES = 1 << 22  # draws x recordings, or draws x levels, in memory at once

Interval = list[float] | None


def bootstrap(
    matching: Matching, recordings: int, hours: Floats | None, rates: tuple[float, ...], seed: int = 0
) -> dict[str, Any]:
    """95 % intervals of precision, recall and F1 of the complete list, of the AP, and of the recall at `rates`.

    recordings: number of all recordings, with or without events; hours: (recordings,), or None if they are unknown.
    Returns a dict with draws, recordings, precision, recall, f1, ap and recall_at (one interval for each rate). An
    interval is a list of two values. It is None with fewer than two recordings, without events, or without hours.
    """
    from scipy.sparse import coo_array  # type: ignore[import-untyped]

    names = ("precision", "recall", "f1", "ap")
    empty = {"draws": 0, "recordings": recordings, **dict.fromkeys(names), "recall_at": [None] * len(rates)}
    if recordings < 2 or not matching.events:
        return empty
    evaluated = matching.evaluated
    score, correct, recording = (
        matching.score[evaluated],
        matching.verdict[evaluated] == HIT,
        matching.recording[evaluated],
    )
    levels = np.unique(score)[::-1]
    if len(levels) > MAX_LEVELS:
        levels = np.unique(np.quantile(score, np.linspace(0, 1, MAX_LEVELS), method="lower"))[::-1]
    # level k contains the scores in [levels[k], levels[k - 1])
    level = np.searchsorted(-levels, -score, side="left") if len(score) else np.zeros(0, np.int64)
    shape = (max(len(levels), 1), recordings)
    hit, false = (
        coo_array((np.ones(int(keep.sum())), (level[keep], recording[keep])), shape=shape).tocsr()
        for keep in (correct, ~correct)
    )
    events = np.bincount(matching.event_recording[matching.counted], minlength=recordings).astype(float)
    draws = int(np.clip(MAX_WORK / max(hit.nnz + false.nnz, 1), MIN_DRAWS, DRAWS))
    rng = np.random.default_rng(seed)
    results: dict[str, list[Floats]] = {name: [] for name in (*names, *map(str, range(len(rates))))}
    block = max(1, min(MAX_BLOCK_VALUES // recordings, MAX_BLOCK_VALUES // shape[0]))
    for first in range(0, draws, block):
        size = min(block, draws - first)
        multiplicity = np.stack([_draw(rng, recordings) for _ in range(size)], axis=1)  # (recordings, draws)
        total = np.maximum(events @ multiplicity, 0)
        hits, false_positives = (
            np.cumsum(hit @ multiplicity, axis=0),
            np.cumsum(false @ multiplicity, axis=0),
        )  # (levels, draws)
        with np.errstate(invalid="ignore", divide="ignore"):
            recall, precision = hits / total, hits / (hits + false_positives)
            results["precision"].append(precision[-1])
            results["recall"].append(recall[-1])
            results["f1"].append(2 * hits[-1] / (total + hits[-1] + false_positives[-1]))
            recall_steps = np.diff(recall, axis=0, prepend=0)
            results["ap"].append((recall_steps * np.nan_to_num(precision)).sum(axis=0))
        if hours is not None:
            searched = hours @ multiplicity
            for k, rate in enumerate(rates):
                inside = (false_positives <= np.floor(rate * searched + 1e-9)).sum(axis=0) - 1
                reached = np.take_along_axis(recall, np.maximum(inside, 0)[None], axis=0)[0]
                results[str(k)].append(np.where(inside >= 0, reached, np.where(total > 0, 0.0, np.nan)))
    intervals = {name: _interval(blocks) for name, blocks in results.items()}
    return {
        "draws": draws,
        "recordings": recordings,
        **{name: intervals[name] for name in names},
        "recall_at": [intervals[str(k)] for k in range(len(rates))],
    }


def paired_bootstrap(
    pairs: Sequence[tuple[Matching, Matching]], strata: Sequence[Ints], draws: int = DRAWS, seed: int = 0
) -> dict[str, Any]:
    """The AP of two detectors on the same recordings, with 95 % intervals, and that of their difference.

    pairs: for each class the matchings of the first and the second detector; strata: groups of recordings. The
    recordings of each stratum are drawn with replacement, the same for both detectors. Returns a dict with events,
    first, second and difference; the last three are [value, low, high], means over the classes and strata with events.
    They are None without events.
    """
    rng = np.random.default_rng(seed)
    first, second, events = [], [], 0
    for units in strata:
        size = max([int(units.max(initial=-1)) + 1, *(_max_recording(m) + 1 for pair in pairs for m in pair)])
        drawn = [np.bincount(rng.choice(units, len(units)), minlength=size) for _ in range(draws if len(units) else 0)]
        multiplicity = np.stack([np.bincount(units, minlength=size), *drawn], axis=1).astype(float)
        for one, other in pairs:
            count = int(multiplicity[one.event_recording[one.counted], 0].sum())
            if count:
                events += count
                first.append(_ap_of_draws(one, multiplicity))
                second.append(_ap_of_draws(other, multiplicity))
    if not events:
        return {"events": 0, "first": None, "second": None, "difference": None}
    means = _mean(np.stack(first)), _mean(np.stack(second))
    named = {"first": means[0], "second": means[1], "difference": means[1] - means[0]}
    return {
        "events": events,
        **{name: [float(values[0]), *(_interval([values[1:]]) or [])] for name, values in named.items()},
    }


def _max_recording(matching: Matching) -> int:
    return int(max(matching.recording.max(initial=-1), matching.event_recording.max(initial=-1)))


def _mean(values: Floats) -> Floats:
    """The mean of (rows, draws) over the rows that have events in a draw; NaN if none has."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        mean: Floats = np.where(known, values, 0.0).sum(0) / known.sum(0)
    return mean


def _ap_of_draws(matching: Matching, multiplicity: Floats) -> Floats:
    """(draws,): the average precision in each column of `multiplicity` (recordings, draws); NaN without events."""
    evaluated = matching.evaluated
    order = np.argsort(-matching.score[evaluated], kind="stable")
    score, recording = matching.score[evaluated][order], matching.recording[evaluated][order]
    correct = (matching.verdict[evaluated] == HIT)[order]
    last = np.flatnonzero(np.diff(score, append=-np.inf)) if len(score) else np.zeros(0, np.int64)
    weight = multiplicity[recording]
    hits, listed = np.cumsum(weight * correct[:, None], axis=0)[last], np.cumsum(weight, axis=0)[last]
    events = multiplicity[matching.event_recording[matching.counted]].sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.nan_to_num(hits / listed)
        area: Floats = (np.diff(hits, axis=0, prepend=0) * precision).sum(0) / events
    return np.where(events > 0, area, np.nan)


def _draw(rng: np.random.Generator, recordings: int) -> Floats:
    """How often each recording is in one bootstrap sample, (recordings,)."""
    return np.bincount(rng.integers(0, recordings, recordings), minlength=recordings).astype(float)


def _interval(blocks: list[Floats]) -> Interval:
    """The interval of the finite values. A ratio of a draw without events or detections is NaN and is left out."""
    values = np.concatenate(blocks) if blocks else np.zeros(0)
    values = values[np.isfinite(values)]
    return [float(v) for v in np.percentile(values, [2.5, 97.5])] if len(values) else None
