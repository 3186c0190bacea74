"""Calibrated scores: of the detections with a score of 0.8, about 80 % are correct on similar data.

A calibration is fitted on the detections of a validation set. Each has a raw score and a verdict, from a matching or
from a review by a person. A calibration is stored as a few points with linear interpolation between them. The
probability rises strictly over the raw scores from 0 to 1, so the order of detections does not change.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import Any

import numpy as np

from loxo.detection.logit import from_logit, logit
from loxo.engine.config import Calibration, OperatingCurve
from loxo.errors import LoxoError
from loxo.evaluation.matching import HIT, Matching
from loxo.evaluation.metrics import Curve, curve
from loxo.evaluation.spans import Bools, Floats, Ints

# With fewer detections, or fewer correct or false ones, "auto" uses Platt scaling, which has only two parameters.
MIN_DETECTIONS = 200
MIN_OF_EACH_VERDICT = 20
MAX_POINTS = 20
MIN_PROBABILITY = 1e-3  # probabilities are limited to MIN_PROBABILITY and 1 - MIN_PROBABILITY
MIN_RISE = 1e-5  # min difference between the probabilities of adjacent points


def fit_calibration(scores: Floats, correct: Bools, method: str = "auto") -> Calibration:
    """Fits P(correct | raw score) to raw scores in 0-1 and whether each detection is correct, both (detections,).

    The method "isotonic" is isotonic regression on bins, by pooling adjacent violators. "platt" is a logistic function
    of the logit of the score, with a prior of one correct and one false detection. "auto" uses "platt" for fewer than
    200 detections, or fewer than 20 correct or 20 false ones; else "isotonic". Without detections the probability
    equals the score. Raises LoxoError for an unknown method and for scores outside 0-1.
    """
    scores, correct = np.asarray(scores, float), np.asarray(correct, bool)
    if method not in ("auto", "isotonic", "platt"):
        raise LoxoError(f"Unknown calibration method {method!r}: use 'auto', 'isotonic' or 'platt'.")
    if len(scores) != len(correct):
        raise LoxoError(f"There are {len(scores)} scores but {len(correct)} verdicts: give one verdict for each score.")
    if len(scores) and not ((scores >= 0) & (scores <= 1)).all():
        raise LoxoError("The raw scores of a calibration must be between 0 and 1.")
    if not len(scores):
        return strictly_rising(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    if method == "auto":
        few = len(scores) < MIN_DETECTIONS or min(correct.sum(), (~correct).sum()) < MIN_OF_EACH_VERDICT
        method = "platt" if few else "isotonic"
    return _platt(scores, correct) if method == "platt" else _isotonic(scores, correct)


def calibrated_scores(scores: Floats, calibration: Calibration) -> Floats:
    """The calibrated probabilities of raw scores."""
    return np.interp(scores, calibration.raw, calibration.probability)


def rescored(scores: Floats, before: Calibration | None, now: Calibration) -> Floats:
    """Scores of the calibration `before` (None: raw scores) as scores of the calibration `now`."""
    raw = scores if before is None else np.interp(scores, before.probability, before.raw)
    return calibrated_scores(raw, now)


def round_down(value: float, digits: int = 6) -> float:
    """A threshold with so many decimals. It is rounded down, so that the event with this score stays listed."""
    return float(Decimal(repr(value)).quantize(Decimal(1).scaleb(-digits), ROUND_FLOOR))


def shown_threshold(value: float) -> float:
    """A threshold with about three digits, rounded down, for a sentence."""
    return round_down(value, 3 if value >= 0.1 else 5)


def _isotonic(scores: Floats, correct: Bools) -> Calibration:
    order = np.lexsort((correct, scores))
    scores, correct = scores[order], correct[order]
    # Bins of equal mass, where all correct detections together have the same mass as all false ones. With equal counts,
    # the few correct detections of a long list would all be in one bin.
    mass = np.cumsum(np.where(correct, 1 / max(correct.sum(), 1), 1 / max((~correct).sum(), 1)))
    borders = np.unique(np.concatenate([[0], np.searchsorted(mass, np.linspace(0, mass[-1], MAX_POINTS + 1)[1:-1])]))
    borders = np.append(borders, len(scores))
    starts = np.unique(np.searchsorted(scores, scores[borders[:-1]]))  # equal scores are in the same bin
    count = np.diff(starts, append=len(scores)).astype(float)
    mean = np.add.reduceat(scores, starts) / count
    precision = np.add.reduceat(correct.astype(float), starts) / count
    # Blocks of (correct detections, all detections, sum of scores). They are pooled until the precision rises.
    blocks: list[tuple[float, float, float]] = []
    for k, n, total in zip(precision * count, count, mean * count, strict=True):
        block = (float(k), float(n), float(total))
        while blocks and blocks[-1][0] * block[1] >= block[0] * blocks[-1][1]:
            before = blocks.pop()
            block = (block[0] + before[0], block[1] + before[1], block[2] + before[2])
        blocks.append(block)
    hits, counts, summed = np.array(blocks).T
    p = (hits + 1) / (counts + 2)  # with a prior, because small blocks are uncertain
    # The probabilities of the outer blocks extend to the lowest and to the highest score. Beyond them the curve is
    # linear to 0 and to 1.
    raw = np.concatenate([[scores[0]], summed / counts, [scores[-1]]])
    return strictly_rising(raw, np.concatenate([p[:1], p, p[-1:]]))


def _platt(scores: Floats, correct: Bools) -> Calibration:
    x = logit(scores, MIN_PROBABILITY)
    ones, zeros = float(correct.sum()), float((~correct).sum())
    target = np.where(correct, (ones + 1) / (ones + 2), 1 / (zeros + 2))
    slope, offset = _logistic(x, target)
    if slope <= 0:  # higher scores are not more often correct, so only the overall precision is known
        slope, offset = 0.0, logit(float(target.mean()), MIN_PROBABILITY)
    raw = from_logit(np.linspace(-6.5, 6.5, MAX_POINTS - 1))
    return strictly_rising(raw, from_logit(slope * logit(raw, MIN_PROBABILITY) + offset))


def _logistic(x: Floats, target: Floats) -> tuple[float, float]:
    """Slope and offset of the logistic function with the best fit, with weak regularisation towards a slope of 1.

    This is Newton's method. An update that does not reduce the loss is halved.
    """
    design, regularisation, prior = np.stack([x, np.ones_like(x)]), np.diag([0.1, 1e-6]), np.array([1.0, 0.0])

    def loss(w: Floats) -> float:
        z = w @ design
        return float((np.logaddexp(0, z) - target * z).sum() + (w - prior) @ regularisation @ (w - prior) / 2)

    w = np.zeros(2)
    best = loss(w)
    for _ in range(100):
        p = from_logit(np.clip(w @ design, -30, 30))
        step = np.linalg.solve(
            (design * (p * (1 - p) + 1e-9)) @ design.T + regularisation,
            design @ (p - target) + regularisation @ (w - prior),
        )
        while np.abs(step).max() > 1e-9 and not loss(w - step) <= best:
            step = step / 2
        w, best = w - step, loss(w - step)
        if np.abs(step).max() <= 1e-9:
            break
    return float(w[0]), float(w[1])


def strictly_rising(raw: Floats, probability: Floats) -> Calibration:
    """A calibration through the points, from raw score 0 to 1. Both coordinates rise strictly; 0 < probability < 1."""
    raw, first = np.unique(np.round(raw, 6), return_index=True)
    p = np.clip(np.asarray(probability)[first], MIN_PROBABILITY, 1 - MIN_PROBABILITY)
    if raw[0] > 0:
        raw, p = np.concatenate([[0.0], raw]), np.concatenate([[MIN_PROBABILITY], p])
    if raw[-1] < 1:
        raw, p = np.concatenate([raw, [1.0]]), np.concatenate([p, [p[-1]]])
    steps = np.arange(len(p)) * MIN_RISE
    p = np.maximum.accumulate(p - steps) + steps  # each is at least MIN_RISE above the previous one
    max_probability = 1 - MIN_PROBABILITY
    p = np.minimum(p, max_probability - steps[::-1])
    return Calibration(raw=tuple(round(float(v), 6) for v in raw), probability=tuple(round(float(v), 6) for v in p))


# -- checks of a calibration


@dataclass(frozen=True)
class Reliability:
    """Precision of detections as a function of their score. All arrays (bins,), by rising score."""

    score: Floats  # mean score
    precision: Floats  # fraction of correct detections
    count: Floats

    @property
    def error(self) -> float | None:
        """The expected calibration error: |precision - mean score|, averaged over detections. None without any."""
        total = self.count.sum()
        return float((self.count * np.abs(self.precision - self.score)).sum() / total) if total else None

    def to_dict(self) -> dict[str, Any]:
        return {
            "error": self.error,
            "bins": [
                {"score": float(s), "share_right": float(r), "detections": int(n)}
                for s, r, n in zip(self.score, self.precision, self.count, strict=True)
            ],
        }


def reliability(scores: Floats, correct: Bools, bins: int = 10) -> Reliability:
    """Mean score and precision in `bins` bins with equal numbers of detections; equal scores are in the same bin."""
    scores, correct = np.asarray(scores, float), np.asarray(correct, bool)
    if not len(scores):
        return Reliability(*(np.zeros(0) for _ in range(3)))
    order = np.argsort(scores, kind="stable")
    scores, correct = scores[order], correct[order]
    borders = np.unique(np.linspace(0, len(scores), bins + 1).astype(int))[:-1]
    starts = np.unique(np.searchsorted(scores, scores[borders]))
    count = np.diff(starts, append=len(scores)).astype(float)
    mean = np.add.reduceat(scores, starts) / count
    return Reliability(mean, np.add.reduceat(correct.astype(float), starts) / count, count)


def scores_and_verdicts(matching: Matching) -> tuple[Floats, Bools]:
    """Scores, and whether they are correct, of all detections that are not ignored."""
    return matching.score[matching.evaluated], matching.verdict[matching.evaluated] == HIT


def operating_curve(
    scores: Floats,
    correct: Bools,
    events: int,
    hours: float,
    data: str,
    points: int = 60,
    *,
    recording: Ints | None = None,
    lengths: Floats | None = None,
) -> OperatingCurve:
    """Recall and false positives per hour at falling thresholds, as about `points` points of the complete curve.

    scores: calibrated scores, and whether they are correct, both (detections,) without ignored ones.
    events: number of true events.
    hours: duration of the recordings.
    data: one sentence that describes the data.
    recording: (detections,), number of the recording; lengths: (recordings,), durations in any unit. With them, the
    curve has standard deviations of the false positives per hour.

    Raises LoxoError without hours or events.
    """
    if hours <= 0 or events <= 0:
        raise LoxoError("An operating curve needs more than 0 hours of recordings and at least one true event.")
    whole = curve(np.asarray(scores, float), np.asarray(correct, bool), events)
    keep = selected_points(whole, points)
    sd: tuple[float, ...] = ()
    if recording is not None and lengths is not None:
        false = np.stack(
            [
                np.bincount(recording[~correct & (scores >= lowest)], minlength=len(lengths)).astype(float)
                for lowest in whole.threshold[keep]
            ]
        )
        sd = tuple(float(v) for v in rate_sd(false, lengths, hours))
    return OperatingCurve(
        threshold=tuple(round_down(float(v)) for v in whole.threshold[keep]),
        fp_per_hour=tuple(float(v) for v in whole.false_positives[keep] / hours),
        recall=tuple(float(v) for v in whole.recall[keep]),
        data=data,
        fp_sd=sd,
        hours=hours,
    )


def rate_sd(false: Floats, lengths: Floats, hours: float, variance: Floats | float = 0.0) -> Floats:
    """(points,): standard deviations of false positives per hour, from those in each recording (points, recordings).

    False positives occur in groups, in rain for example. Their variance is therefore that between recordings, and at
    least that of a Poisson process. lengths: (recordings,), durations. variance: (points,), further variance of the
    sums, if the false positives were estimated.
    """
    total = false.sum(axis=1)
    expected = total[:, None] * (lengths / lengths.sum())
    recordings = len(lengths)
    between = ((false - expected) ** 2).sum(axis=1) * (recordings / max(recordings - 1, 1))
    return np.sqrt(np.maximum(between, total + 0.5) + variance) / hours


def lowest_threshold(curve: OperatingCurve, max_fp_per_hour: float) -> float:
    """The lowest threshold of the curve with at most so many false positives per hour, else its highest one."""
    kept = [t for t, rate in zip(curve.threshold, curve.fp_per_hour, strict=True) if rate <= max_fp_per_hour]
    return min(kept, default=max(curve.threshold))


def selected_points(whole: Curve, points: int) -> list[int]:
    """Indices of points at regular intervals of recall and of the logarithm of the false positives.

    For its number of false positives, each is the point with the highest recall.
    """
    if len(whole) <= points:
        return list(range(len(whole)))
    targets = np.geomspace(1, max(int(whole.false_positives[-1]), 1), points // 2)
    at_false = np.searchsorted(whole.false_positives, targets, side="right") - 1
    at_recall = np.searchsorted(whole.hits, np.linspace(0, whole.hits[-1], points // 2))
    ends = [0, len(whole) - 1]
    return sorted({int(k) for k in (*ends, *at_false, *at_recall) if 0 <= k < len(whole)})
