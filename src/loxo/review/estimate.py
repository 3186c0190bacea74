"""P(correct | score) of one class from reviewed events, and how many of the unreviewed ones are right.

The model: logit P = a + b x logit(score), b >= 0: a score is a probability that is bent, never turned over. Instead
of one best curve, all curves of a grid are kept, each weighted by how well it explains the decisions; means and
intervals are taken over them, so few decisions give wide intervals, and events that are all right or all wrong do no
harm. Before the first decision the curve is thought to lie about P = score (PRIOR).

It holds for events like the reviewed ones: a sample over all scores (`--sample`), not those of one quiet site.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loxo.detection.logit import from_logit, logit

PRIOR = ((0.0, 2.5), (1.0, 1.0))  # mean and standard deviation of a and b
PRECISIONS = (0.85, 0.9, 0.95, 0.99)
LEAST_DECISIONS = 20  # fewer say next to nothing
INTERVAL = (0.025, 0.975)
BINS = 141  # of the scores' logits, in which counts are done
REACH = 7.0  # logit of the scores 0.001 to 0.999; what lies beyond is taken as the border
GRID = 41  # points along a and along b
DRAWS = 2000  # for an interval

Array = NDArray[np.float64]


def _bounded_logit(scores: NDArray[Any]) -> Array:
    """Logits of the scores, clipped to +-REACH."""
    return np.clip(logit(np.asarray(scores, np.float64)), -REACH, REACH)


@dataclass(frozen=True)
class Count:
    """An expected number and its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Fit:
    """Curves P(correct | score) and their weights (which sum to 1), from `right` of `decided` events."""

    decided: int
    right: int
    a: Array  # (curves,)
    b: Array
    weight: Array

    def probability(self, scores: NDArray[Any]) -> Array:
        """(events,): the mean over the curves."""
        centres, _ = _binned(scores)
        return np.interp(_bounded_logit(scores), centres, self.weight @ _sigmoid(self.a, self.b, centres))

    def band(self, scores: NDArray[Any]) -> tuple[Array, Array]:
        """Lower and upper bound of the 95 % interval of P at each score."""
        curves = _sigmoid(self.a, self.b, _bounded_logit(scores))
        order = np.argsort(curves, axis=0)
        mass = np.cumsum(self.weight[order], axis=0)
        low, high = ((mass >= q).argmax(0)[None] for q in INTERVAL)
        ordered = np.take_along_axis(curves, order, axis=0)
        return np.take_along_axis(ordered, low, 0)[0], np.take_along_axis(ordered, high, 0)[0]

    def count(self, scores: NDArray[Any]) -> Count:
        """How many events of these scores are right: expectation, and an interval that holds both what the curve leaves
        open and the chance of each event. The same input gives the same numbers."""
        if not len(scores):
            return Count(0.0, 0.0, 0.0)
        centres, place = _binned(scores)
        events = np.bincount(place, minlength=BINS)
        used = events > 0
        rng = np.random.default_rng(0)
        curves = rng.choice(len(self.weight), DRAWS, p=self.weight)
        p = _sigmoid(self.a[curves], self.b[curves], centres[used])
        draws = rng.binomial(events[used], p).sum(axis=1)
        low, high = np.quantile(draws, INTERVAL)
        return Count(float(events @ (self.weight @ _sigmoid(self.a, self.b, centres))), float(low), float(high))

    def score_for(self, probability: float) -> float | None:
        """The lowest score from which on an event is right with this probability; None where none reaches it."""
        scores = np.arange(1, 1000) / 1000
        reached = self.probability(scores) >= probability
        return float(scores[reached.argmax()]) if reached.any() else None

    def threshold_for(self, precision: float, scores: NDArray[Any]) -> float | None:
        """The lowest threshold at which so large a share of all listed events is right, for a run of these scores."""
        ordered = np.sort(np.asarray(scores, np.float64))[::-1]
        share = np.cumsum(self.probability(ordered)) / np.arange(1, len(ordered) + 1)
        reached = np.flatnonzero(share >= precision)
        return float(ordered[reached[-1]]) if len(reached) else None


def fit(scores: NDArray[Any], right: NDArray[np.bool_]) -> Fit | None:
    """The curves after decisions on events of these scores (events,), right or wrong; None for fewer than
    LEAST_DECISIONS. Events without a score are passed over."""
    scores, right = np.asarray(scores, np.float64), np.asarray(right, bool)
    known = np.isfinite(scores)
    scores, right = scores[known], right[known]
    if len(scores) < LEAST_DECISIONS:
        return None
    centres, place = _binned(scores)
    all_of, right_of = (np.bincount(place[of], minlength=BINS) for of in (slice(None), right))
    used = all_of > 0
    centres, all_of, right_of = centres[used], all_of[used], right_of[used]
    a_range, b_range = (-12.0, 12.0), (0.0, 5.0)
    for _ in range(4):  # the grid closes in on what the decisions leave possible
        a, b = (part.ravel() for part in np.meshgrid(np.linspace(*a_range, GRID), np.linspace(*b_range, GRID)))
        z = a[:, None] + b[:, None] * centres
        log_likelihood = z @ right_of - np.log1p(np.exp(z)) @ all_of
        log_prior = sum(-0.5 * ((x - mean) / sd) ** 2 for x, (mean, sd) in zip((a, b), PRIOR, strict=True))
        weight = np.exp((total := log_likelihood + log_prior) - total.max())
        weight /= weight.sum()
        a_range, b_range = _around(a, weight, a_range), _around(b, weight, b_range)
    kept = weight > 1e-6
    return Fit(len(scores), int(right.sum()), a[kept], b[kept], weight[kept] / weight[kept].sum())


def _around(values: Array, weight: Array, limits: tuple[float, float]) -> tuple[float, float]:
    """Six standard deviations on both sides, within the limits; at least a grid step, which may hide a narrow peak."""
    mean = float(weight @ values)
    spread = float(np.sqrt(weight @ (values - mean) ** 2))
    reach = max(6 * spread, 2 * (limits[1] - limits[0]) / (GRID - 1))
    return max(mean - reach, limits[0]), min(mean + reach, limits[1])


def _sigmoid(a: Array, b: Array, z: Array) -> Array:
    """(curves, scores)"""
    return from_logit(a[:, None] + b[:, None] * z)


def _binned(scores: NDArray[Any]) -> tuple[Array, NDArray[np.intp]]:
    """Centres of the bins, and the bin of each score."""
    centres = np.linspace(-REACH, REACH, BINS)
    return centres, np.rint((_bounded_logit(scores) + REACH) * ((BINS - 1) / (2 * REACH))).astype(np.intp)
