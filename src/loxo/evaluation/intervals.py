"""Bootstrap intervals: recordings are drawn with replacement, as if the survey had been done again.

Events of one recording resemble each other, so it is recordings that are drawn, not events. 95 % intervals are the
2.5 and 97.5 percentiles of 1000 draws (fewer, and never under 200, where there are very many detections); with more
than 512 distinct scores the curves of the draws are taken at 512 of them. The same data give the same intervals.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loxo.evaluation.matching import HIT, Matching
from loxo.evaluation.spans import Floats

DRAWS, FEWEST_DRAWS = 1000, 200
LEVELS = 512  # of the score
WORK = 2e8  # draws x detections
AT_ONCE = 1 << 22  # draws x recordings in memory

Interval = list[float] | None


def bootstrap(
    matching: Matching, recordings: int, hours: Floats | None, rates: tuple[float, ...], seed: int = 0
) -> dict[str, Any]:
    """95 % intervals by recording of precision, recall and f1 of the whole list, of ap, and of the recall at rates.

    recordings: how many were searched, with or without events; hours: (recordings,) or None where they are not known.
    Gives {"draws", "recordings", "precision", "recall", "f1", "ap", "recall_at": [one for each rate]}, each interval
    a list of two, or None where there are fewer than two recordings, no events, or no hours.
    """
    from scipy.sparse import coo_array  # type: ignore[import-untyped]

    names = ("precision", "recall", "f1", "ap")
    empty = {"draws": 0, "recordings": recordings, **dict.fromkeys(names), "recall_at": [None] * len(rates)}
    if recordings < 2 or not matching.events:
        return empty
    judged = matching.judged
    score, right, of = matching.score[judged], matching.verdict[judged] == HIT, matching.recording[judged]
    levels = np.unique(score)[::-1]
    if len(levels) > LEVELS:
        levels = np.unique(np.quantile(score, np.linspace(0, 1, LEVELS), method="lower"))[::-1]
    # level k holds the scores in [levels[k], levels[k - 1])
    level = np.searchsorted(-levels, -score, side="left") if len(score) else np.zeros(0, np.int64)
    shape = (max(len(levels), 1), recordings)
    hit, false = (
        coo_array((np.ones(int(keep.sum())), (level[keep], of[keep])), shape=shape).tocsr() for keep in (right, ~right)
    )
    events = np.bincount(matching.event_recording[matching.counted], minlength=recordings).astype(float)
    draws = int(np.clip(WORK / max(hit.nnz + false.nnz, 1), FEWEST_DRAWS, DRAWS))
    rng = np.random.default_rng(seed)
    results: dict[str, list[Floats]] = {name: [] for name in (*names, *map(str, range(len(rates))))}
    block = max(1, min(AT_ONCE // recordings, AT_ONCE // shape[0]))
    for first in range(0, draws, block):
        size = min(block, draws - first)
        weights = np.stack([_draw(rng, recordings) for _ in range(size)], axis=1)  # (recordings, draws)
        total = np.maximum(events @ weights, 0)
        hits, wrong = np.cumsum(hit @ weights, axis=0), np.cumsum(false @ weights, axis=0)  # (levels, draws)
        with np.errstate(invalid="ignore", divide="ignore"):
            recall, precision = hits / total, hits / (hits + wrong)
            results["precision"].append(precision[-1])
            results["recall"].append(recall[-1])
            results["f1"].append(2 * hits[-1] / (total + hits[-1] + wrong[-1]))
            gained = np.diff(recall, axis=0, prepend=0)
            results["ap"].append((gained * np.nan_to_num(precision)).sum(axis=0))
        if hours is not None:
            searched = hours @ weights
            for k, rate in enumerate(rates):
                inside = (wrong <= np.floor(rate * searched + 1e-9)).sum(axis=0) - 1
                reached = np.take_along_axis(recall, np.maximum(inside, 0)[None], axis=0)[0]
                results[str(k)].append(np.where(inside >= 0, reached, np.where(total > 0, 0.0, np.nan)))
    intervals = {name: _interval(parts) for name, parts in results.items()}
    return {
        "draws": draws,
        "recordings": recordings,
        **{name: intervals[name] for name in names},
        "recall_at": [intervals[str(k)] for k in range(len(rates))],
    }


def _draw(rng: np.random.Generator, recordings: int) -> Floats:
    return np.bincount(rng.integers(0, recordings, recordings), minlength=recordings).astype(float)


def _interval(parts: list[Floats]) -> Interval:
    """Draws without any event, or without any detection, say nothing about a ratio of them and are left out."""
    values = np.concatenate(parts) if parts else np.zeros(0)
    values = values[np.isfinite(values)]
    return [float(v) for v in np.percentile(values, [2.5, 97.5])] if len(values) else None
