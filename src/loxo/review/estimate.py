"""P(correct | score) of one class from reviewed events, and the number of correct events among the unreviewed ones.

The model is logit P = a + b x logit(score) with b >= 0: P increases with the score. All curves on a grid of (a, b) are
used, each with its posterior probability given the decisions. Means and intervals are computed over these curves. Few
decisions therefore give wide intervals, and decisions that are all "yes" or all "no" still give finite curves. The
prior (PRIOR) is centred on P = score.

The estimate is valid for events like the reviewed ones: a sample over all scores (`--sample`), not one quiet site.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loxo.detection.logit import from_logit, logit

PRIOR = ((0.0, 2.5), (1.0, 1.0))  # mean and standard deviation of a and b
PRECISIONS = (0.85, 0.9, 0.95, 0.99)
MIN_DECISIONS = 20  # fewer decisions give no useful fit
INTERVAL = (0.025, 0.975)
BINS = 141  # number of bins of the scores' logits, used for counting
MAX_LOGIT = 7.0  # of a score of 0.999; logits are clipped to +-MAX_LOGIT
GRID = 41  # number of points along a and along b
DRAWS = 2000  # number of simulated counts for an interval

Array = NDArray[np.float64]


def _bounded_logit(scores: NDArray[Any]) -> Array:
    """Logits of the scores, clipped to +-MAX_LOGIT."""
    return np.clip(logit(np.asarray(scores, np.float64)), -MAX_LOGIT, MAX_LOGIT)


@dataclass(frozen=True)
class Count:
    """An expected number and its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Fit:
    """Curves P(correct | score) with their posterior probabilities, from `right` correct events of `decided` ones."""

    decided: int
    right: int
    a: Array  # (curves,)
    b: Array
    posterior: Array  # sums to 1

    def probability(self, scores: NDArray[Any]) -> Array:
        """(events,): P at each score, the mean over the curves."""
        centres, _ = _binned(scores)
        return np.interp(_bounded_logit(scores), centres, self.posterior @ _sigmoid(self.a, self.b, centres))

    def band(self, scores: NDArray[Any]) -> tuple[Array, Array]:
        """Lower and upper bound of the 95 % interval of P at each score."""
        curves = _sigmoid(self.a, self.b, _bounded_logit(scores))
        order = np.argsort(curves, axis=0)
        mass = np.cumsum(self.posterior[order], axis=0)
        low, high = ((mass >= q).argmax(0)[None] for q in INTERVAL)
        ordered = np.take_along_axis(curves, order, axis=0)
        return np.take_along_axis(ordered, low, 0)[0], np.take_along_axis(ordered, high, 0)[0]

    def count(self, scores: NDArray[Any]) -> Count:
        """The number of correct events among events with these scores: expectation and interval. The interval includes
        the uncertainty of the curve and the chance of each event. The same input gives the same numbers."""
        if not len(scores):
            return Count(0.0, 0.0, 0.0)
        centres, place = _binned(scores)
        events = np.bincount(place, minlength=BINS)
        used = events > 0
        rng = np.random.default_rng(0)
        curves = rng.choice(len(self.posterior), DRAWS, p=self.posterior)
        p = _sigmoid(self.a[curves], self.b[curves], centres[used])
        draws = rng.binomial(events[used], p).sum(axis=1)
        low, high = np.quantile(draws, INTERVAL)
        return Count(float(events @ (self.posterior @ _sigmoid(self.a, self.b, centres))), float(low), float(high))

    def score_for(self, probability: float) -> float | None:
        """The lowest score at which P reaches this probability; None if it reaches it nowhere."""
        scores = np.arange(1, 1000) / 1000
        reached = self.probability(scores) >= probability
        return float(scores[reached.argmax()]) if reached.any() else None

    def threshold_for(self, precision: float, scores: NDArray[Any]) -> float | None:
        """The lowest threshold with at least this precision of all listed events, for events with these scores."""
        ordered = np.sort(np.asarray(scores, np.float64))[::-1]
        share = np.cumsum(self.probability(ordered)) / np.arange(1, len(ordered) + 1)
        reached = np.flatnonzero(share >= precision)
        return float(ordered[reached[-1]]) if len(reached) else None


def fit(scores: NDArray[Any], right: NDArray[np.bool_]) -> Fit | None:
    """Fits the curves to decisions on events with these scores (events,). Events without a score are ignored.

    None for fewer than MIN_DECISIONS decisions.
    """
    scores, right = np.asarray(scores, np.float64), np.asarray(right, bool)
    known = np.isfinite(scores)
    scores, right = scores[known], right[known]
    if len(scores) < MIN_DECISIONS:
        return None
    centres, place = _binned(scores)
    all_of, right_of = (np.bincount(place[of], minlength=BINS) for of in (slice(None), right))
    used = all_of > 0
    centres, all_of, right_of = centres[used], all_of[used], right_of[used]
    a_range, b_range = (-12.0, 12.0), (0.0, 5.0)
    for _ in range(4):  # the grid is refined around the posterior
        a, b = (part.ravel() for part in np.meshgrid(np.linspace(*a_range, GRID), np.linspace(*b_range, GRID)))
        z = a[:, None] + b[:, None] * centres
        log_likelihood = z @ right_of - np.log1p(np.exp(z)) @ all_of
        log_prior = sum(-0.5 * ((x - mean) / sd) ** 2 for x, (mean, sd) in zip((a, b), PRIOR, strict=True))
        posterior = np.exp((total := log_likelihood + log_prior) - total.max())
        posterior /= posterior.sum()
        a_range, b_range = _around(a, posterior, a_range), _around(b, posterior, b_range)
    kept = posterior > 1e-6
    return Fit(len(scores), int(right.sum()), a[kept], b[kept], posterior[kept] / posterior[kept].sum())


def _around(values: Array, posterior: Array, limits: tuple[float, float]) -> tuple[float, float]:
    """Six standard deviations on both sides of the mean, within the limits. At least two grid spacings,
    because a narrow peak may lie between the grid points."""
    mean = float(posterior @ values)
    spread = float(np.sqrt(posterior @ (values - mean) ** 2))
    radius = max(6 * spread, 2 * (limits[1] - limits[0]) / (GRID - 1))
    return max(mean - radius, limits[0]), min(mean + radius, limits[1])


def _sigmoid(a: Array, b: Array, z: Array) -> Array:
    """(curves, scores): P at logits z of the scores."""
    return from_logit(a[:, None] + b[:, None] * z)


def _binned(scores: NDArray[Any]) -> tuple[Array, NDArray[np.intp]]:
    """The centres of the bins as logits, and the bin of each score."""
    centres = np.linspace(-MAX_LOGIT, MAX_LOGIT, BINS)
    return centres, np.rint((_bounded_logit(scores) + MAX_LOGIT) * ((BINS - 1) / (2 * MAX_LOGIT))).astype(np.intp)
