"""The number of true events among the listed events of one class, from the decisions of a review.

P(true | score) has three parts, and each adds its uncertainty:

- a curve, P = ceiling x sigmoid(a + b x logit(score)) with b >= 0, so P increases with the score; the ceiling allows
  for false positives with high scores;
- the strata: in each unit of logit(score) P may differ from the curve. The decisions show by how
  much (`concentration`);
- the sites: at each site P may differ from the mean of all sites. Decisions of other sites count less, the more the
  sites differ (`spread`). A site without decisions therefore has a wide interval.

`Fit.truths` draws possible truths: each one assigns "true" or "false" to all events and agrees with all decisions.
Every number of a report (by site, day, hour) is a sum over them; its 95 % interval is that of `count`.

Only scores that were reviewed are counted (`Fit.low`, `Fit.high`): a decision on a score of 0.9 shows nothing about
events with a score of 0.1. The estimate is valid for events like the reviewed ones: a sample over all scores and sites.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loxo.detection.logit import from_logit, logit

PRIOR = ((0.0, 2.5), (1.0, 2.0))  # mean and standard deviation of a and b
CEILING = (1.0, 0.9, 0.75, 0.5)  # P of the highest scores: some false positives have high scores too
CONCENTRATION = (5.0, 20.0, 100.0, 1000.0)  # a stratum is near the curve as if the curve were so many decisions
SPREAD = (0.1, 0.4, 0.8, 1.3, 2.0)  # standard deviation of the sites, on the logit scale
PRECISIONS = (0.85, 0.9, 0.95, 0.99)
MIN_DECISIONS = 20  # fewer decisions give no useful fit
MIN_IN_BIN = 2  # decisions in a tenth of the scores, so that its events are counted
INTERVAL = (0.025, 0.975)
LEVEL = 0.95  # of the possible truths that the interval of a count contains
MAX_LOGIT = 7.0  # of a score of 0.999; logits are clipped to +-MAX_LOGIT
STRATA = 14  # of one unit of logit(score)
GRID = 21  # number of points along a and along b
DRAWS = 1000  # number of possible truths
CHUNK = 50  # possible truths that are in memory at once

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


def _bounded_logit(scores: NDArray[Any]) -> Array:
    """Logits of the scores, clipped to +-MAX_LOGIT."""
    return np.clip(logit(np.asarray(scores, np.float64)), -MAX_LOGIT, MAX_LOGIT)


def _stratum(x: Array) -> NDArray[np.intp]:
    return np.clip(np.floor(x + MAX_LOGIT), 0, STRATA - 1).astype(np.intp)


@dataclass(frozen=True)
class Count:
    """A number of true events and its 95 % interval."""

    mean: float
    low: float
    high: float


def count(sums: NDArray[Any]) -> Count:
    """The mean and the interval of a sum over all possible truths, (DRAWS,): the shortest span of numbers with at least
    95 % of them.

    It is not cut off at 2.5 % on both sides. Most undecided events of a rare class are false, so the sum is often at
    its lowest value, and nothing can be cut off there.
    """
    ordered = np.sort(sums)
    kept = math.ceil(LEVEL * len(ordered))
    lows, highs = ordered[: len(ordered) - kept + 1], ordered[kept - 1 :]
    shortest = np.flatnonzero(highs - lows == (highs - lows).min())
    inside = np.searchsorted(ordered, highs[shortest], "right") - np.searchsorted(ordered, lows[shortest], "left")
    best = shortest[inside.argmax()]
    return Count(float(sums.mean()), float(lows[best]), float(highs[best]))


@dataclass(frozen=True)
class Fit:
    """Curves with their posterior probabilities, from `right` true events of `decided` ones."""

    decided: int
    right: int
    low: float  # events with a score from `low` to `high` are counted
    high: float
    a: Array  # (curves,)
    b: Array
    ceiling: Array  # (curves,)
    concentration: Array  # (curves,)
    posterior: Array  # (curves,), sums to 1
    centre: Array  # (STRATA,): mean logit of the decided events; NaN without any
    decided_in: Array  # (STRATA,)
    right_in: Array

    def probability(self, scores: NDArray[Any]) -> Array:
        """(events,): P at each score, the mean over the curves."""
        centres = np.linspace(-MAX_LOGIT, MAX_LOGIT, 141)
        return np.interp(
            _bounded_logit(scores), centres, self.posterior @ _curve(self.a, self.b, self.ceiling, centres)
        )

    def band(self, scores: NDArray[Any]) -> tuple[Array, Array]:
        """Lower and upper bound of the 95 % interval of P at each score."""
        curves = _curve(self.a, self.b, self.ceiling, _bounded_logit(scores))
        order = np.argsort(curves, axis=0)
        mass = np.cumsum(self.posterior[order], axis=0)
        low, high = ((mass >= q).argmax(0)[None] for q in INTERVAL)
        ordered = np.take_along_axis(curves, order, axis=0)
        return np.take_along_axis(ordered, low, 0)[0], np.take_along_axis(ordered, high, 0)[0]

    def counted(self, scores: NDArray[Any]) -> Flags:
        """(events,): whether the review covers an event's score."""
        return (scores >= self.low) & (scores <= self.high)

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

    def truths(
        self, scores: Array, sites: NDArray[Any], decided: Flags, right: Flags, groups: NDArray[np.intp], size: int
    ) -> NDArray[np.int32]:
        """(DRAWS, size): the number of true events in each group in each possible truth.

        All arrays are (events,). `groups` is the group of each event, 0 to size - 1; -1: it is not counted. Decided
        events keep their decision. The same input gives the same numbers.
        """
        rng = np.random.default_rng(0)
        used = ~decided & (groups >= 0)
        x = _bounded_logit(scores)
        strata = _stratum(x)
        names, site = np.unique(np.asarray(sites, str), return_inverse=True)
        fixed = np.bincount(groups[right & decided & (groups >= 0)], minlength=size)
        known = decided & np.isfinite(scores)
        of_cell = site * STRATA + strata
        shape = (len(names), STRATA)
        decided_in, right_in = (
            np.bincount(of_cell[rows], minlength=len(names) * STRATA).reshape(shape) for rows in (known, known & right)
        )
        found = []
        for start in range(0, DRAWS, CHUNK):
            curve = rng.choice(len(self.posterior), min(CHUNK, DRAWS - start), p=self.posterior)
            a, b, ceiling, strength = self.a[curve], self.b[curve], self.ceiling[curve], self.concentration[curve, None]
            centre = np.where(
                np.isnan(self.centre), (np.arange(STRATA) + 0.5) * 2 * MAX_LOGIT / STRATA - MAX_LOGIT, self.centre
            )
            mean = np.clip(_curve(a, b, ceiling, centre), 1e-6, 1 - 1e-6)
            p = rng.beta(strength * mean + self.right_in, strength * (1 - mean) + self.decided_in - self.right_in)
            base = logit(p, 1e-9)  # (chunk, STRATA): at the centre of each stratum
            differs = _site_effects(rng, base, decided_in, right_in)  # (chunk, sites)
            z = logit(_curve(a, b, ceiling, x[used]), 1e-6)
            z += (base - logit(mean, 1e-6))[:, strata[used]]
            z += differs[:, site[used]]
            hits = rng.random(z.shape, np.float32) < from_logit(z)
            rows, columns = np.nonzero(hits)
            sums = np.bincount(rows * size + groups[used][columns], minlength=len(curve) * size).astype(np.int32)
            found.append(fixed.astype(np.int32) + sums.reshape(len(curve), size))
        return np.concatenate(found)


def _site_effects(rng: np.random.Generator, base: Array, decided: NDArray[Any], right: NDArray[Any]) -> Array:
    """(draws, sites): how far each site is from the mean of all sites, drawn given its decisions (sites, STRATA)."""
    if len(decided) < 2:
        return np.zeros((len(base), len(decided)))
    nodes, weights = np.polynomial.hermite_e.hermegauss(9)
    steps = np.multiply.outer(np.array(SPREAD), nodes)  # (SPREAD, nodes)
    z = base[:, None, None, :] + steps[None, :, :, None]
    log_true, log_false = -np.logaddexp(0, -z), -np.logaddexp(0, z)
    fits = log_true @ right.T + log_false @ (decided - right).T  # (draws, SPREAD, nodes, sites)
    fits += np.log(weights / weights.sum())[:, None]
    of_site = np.logaddexp.reduce(fits, axis=2)
    spread = _choice(rng, of_site.sum(axis=2))
    of_spread = fits[np.arange(len(base)), spread]  # (draws, nodes, sites)
    node = _choice(rng, np.moveaxis(of_spread, 1, 2))
    return np.take_along_axis(steps[spread], node, axis=1)


def _choice(rng: np.random.Generator, log_weights: Array) -> NDArray[np.intp]:
    """One index along the last axis, drawn with these weights."""
    return (log_weights + rng.gumbel(size=log_weights.shape)).argmax(axis=-1)


def fit(scores: NDArray[Any], right: Flags, listed: NDArray[Any] | None = None) -> Fit | None:
    """Fits the curves to decisions on events with these scores (events,). Events without a score are ignored.
    `listed` are the scores of all events of the class, by default those of the decided events.

    None for fewer than MIN_DECISIONS decisions.
    """
    from scipy.special import gammaln  # type: ignore[import-untyped]

    scores, right = np.asarray(scores, np.float64), np.asarray(right, bool)
    known = np.isfinite(scores)
    scores, right = scores[known], right[known]
    covered = _reviewed_scores(scores, scores if listed is None else np.asarray(listed, np.float64))
    if len(scores) < MIN_DECISIONS or covered is None:
        return None
    x = _bounded_logit(scores)
    strata = _stratum(x)
    decided_in, right_in = (np.bincount(strata[of], minlength=STRATA).astype(float) for of in (slice(None), right))
    with np.errstate(invalid="ignore"):
        centre = np.bincount(strata, x, minlength=STRATA) / decided_in
    used = decided_in > 0
    n, k, at = decided_in[used], right_in[used], centre[used]
    a_range, b_range = (-12.0, 12.0), (0.0, 5.0)
    for _ in range(4):  # the grid is refined around the posterior
        axes = (np.linspace(*a_range, GRID), np.linspace(*b_range, GRID), np.array(CEILING), np.array(CONCENTRATION))
        a, b, ceiling, strength = (part.ravel() for part in np.meshgrid(*axes))
        mean = np.clip(_curve(a, b, ceiling, at), 1e-9, 1 - 1e-9)
        one, other, both = strength[:, None] * mean, strength[:, None] * (1 - mean), strength[:, None]
        likelihood = gammaln(k + one) - gammaln(one) + gammaln(n - k + other) - gammaln(other)
        likelihood += gammaln(both) - gammaln(n + both)
        log_prior = sum(-0.5 * ((x - mean) / sd) ** 2 for x, (mean, sd) in zip((a, b), PRIOR, strict=True))
        posterior = np.exp((total := likelihood.sum(axis=1) + log_prior) - total.max())
        posterior /= posterior.sum()
        a_range, b_range = _around(a, posterior, a_range), _around(b, posterior, b_range)
    kept = posterior > 1e-6
    posterior = posterior[kept] / posterior[kept].sum()
    curves = (a[kept], b[kept], ceiling[kept], strength[kept], posterior)
    return Fit(len(scores), int(right.sum()), *covered, *curves, centre, decided_in, right_in)


def _reviewed_scores(decided: Array, listed: Array) -> tuple[float, float] | None:
    """The range of scores that the decisions cover: from the lowest to the highest tenth with enough decisions, if any.

    Enough are MIN_IN_BIN, or decisions on all listed events of the tenth.
    """
    of_decided, of_listed = (
        np.bincount(np.clip(scores[np.isfinite(scores)] * 10, 0, 9).astype(int), minlength=10)
        for scores in (decided, listed)
    )
    enough = np.flatnonzero((of_decided >= MIN_IN_BIN) | ((of_decided > 0) & (of_decided >= of_listed)))
    if not len(enough):
        return None
    return float(enough[0]) / 10, float(enough[-1] + 1) / 10


def _around(values: Array, posterior: Array, limits: tuple[float, float]) -> tuple[float, float]:
    """Six standard deviations on both sides of the mean, within the limits. At least two grid spacings,
    because a narrow peak may lie between the grid points."""
    mean = float(posterior @ values)
    spread = float(np.sqrt(posterior @ (values - mean) ** 2))
    radius = max(6 * spread, 2 * (limits[1] - limits[0]) / (GRID - 1))
    return max(mean - radius, limits[0]), min(mean + radius, limits[1])


def _curve(a: Array, b: Array, ceiling: Array, x: Array) -> Array:
    """(curves, scores): P at logits x of the scores."""
    return ceiling[:, None] * from_logit(a[:, None] + b[:, None] * x)
