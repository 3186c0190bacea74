"""Scores that mean something: of the events scored 0.8, about 80 % are right on like data.

Fitted from the detections of a validation set, each with its raw score and whether it was right (the verdicts of a
matching, or a person's review). What is stored are a few points between which straight lines run. The probabilities
rise strictly from 0 to 1 of the raw score, so a calibrated list has the order of the raw one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from loxo.detection.logit import from_logit, logit
from loxo.engine.config import Calibration, OperatingCurve
from loxo.errors import LoxoError
from loxo.evaluation.matching import HIT, Matching
from loxo.evaluation.metrics import Curve, curve
from loxo.evaluation.spans import Bools, Floats

FEW = 200  # detections, or
FEW_OF_A_KIND = 20  # right or wrong ones: below, a curve of two parameters is all that they can bear
MOST_POINTS = 20
SURE = 1e-3  # no probability closer to 0 or 1 than this
RISE = 1e-5  # smallest step from one point to the next


def fit_calibration(scores: Floats, right: Bools, method: str = "auto") -> Calibration:
    """P(right | raw score), from raw scores in 0-1 and whether each detection was right, both (detections,).

    method: "isotonic" (pool adjacent violators on bins), "platt" (a logistic curve over the scores'
    logits, its targets drawn in as by one more right and one more wrong one), or "auto": Platt's where there are
    fewer than 200 detections or fewer than 20 of either kind. With none at all the probability is the score itself.
    Raises LoxoError for an unknown method and for scores that do not lie in 0-1.
    """
    scores, right = np.asarray(scores, float), np.asarray(right, bool)
    if method not in ("auto", "isotonic", "platt"):
        raise LoxoError(f"Unknown way to calibrate {method!r}: use 'auto', 'isotonic' or 'platt'.")
    if len(scores) != len(right):
        raise LoxoError(f"There are {len(scores)} scores but {len(right)} verdicts.")
    if len(scores) and not ((scores >= 0) & (scores <= 1)).all():
        raise LoxoError("Scores to calibrate must lie between 0 and 1.")
    if not len(scores):
        return _strict(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    if method == "auto":
        few = len(scores) < FEW or min(right.sum(), (~right).sum()) < FEW_OF_A_KIND
        method = "platt" if few else "isotonic"
    return _platt(scores, right) if method == "platt" else _isotonic(scores, right)


def calibrated_scores(scores: Floats, calibration: Calibration) -> Floats:
    """The probabilities of raw scores."""
    return np.interp(scores, calibration.raw, calibration.probability)


def _isotonic(scores: Floats, right: Bools) -> Calibration:
    order = np.lexsort((right, scores))
    scores, right = scores[order], right[order]
    # Bins of equal mass, the right ones together as heavy as the wrong ones: in a long list of doubtful events the few
    # that are right would else all end in one bin.
    mass = np.cumsum(np.where(right, 1 / max(right.sum(), 1), 1 / max((~right).sum(), 1)))
    borders = np.unique(np.concatenate([[0], np.searchsorted(mass, np.linspace(0, mass[-1], MOST_POINTS + 1)[1:-1])]))
    borders = np.append(borders, len(scores))
    starts = np.unique(np.searchsorted(scores, scores[borders[:-1]]))  # equal scores stay together
    weight = np.diff(starts, append=len(scores)).astype(float)
    mean = np.add.reduceat(scores, starts) / weight
    share = np.add.reduceat(right.astype(float), starts) / weight
    blocks: list[tuple[float, float, float]] = []  # right ones, all, sum of scores: pooled until the shares rise
    for k, n, total in zip(share * weight, weight, mean * weight, strict=True):
        block = (float(k), float(n), float(total))
        while blocks and blocks[-1][0] * block[1] >= block[0] * blocks[-1][1]:
            before = blocks.pop()
            block = (block[0] + before[0], block[1] + before[1], block[2] + before[2])
        blocks.append(block)
    ones, many, summed = np.array(blocks).T
    p = (ones + 1) / (many + 2)  # a block without a wrong one is no proof that there are none
    # The outermost blocks hold to the ends of what was seen; from there a line runs to 0 and to 1.
    raw = np.concatenate([[scores[0]], summed / many, [scores[-1]]])
    return _strict(raw, np.concatenate([p[:1], p, p[-1:]]))


def _platt(scores: Floats, right: Bools) -> Calibration:
    x = logit(scores, SURE)
    ones, zeros = float(right.sum()), float((~right).sum())
    target = np.where(right, (ones + 1) / (ones + 2), 1 / (zeros + 2))
    slope, offset = _logistic(x, target)
    if slope <= 0:  # higher scores are not better here: all that is known is the share
        slope, offset = 0.0, logit(float(target.mean()), SURE)
    raw = from_logit(np.linspace(-6.5, 6.5, MOST_POINTS - 1))
    return _strict(raw, from_logit(slope * logit(raw, SURE) + offset))


def _logistic(x: Floats, target: Floats) -> tuple[float, float]:
    """Slope and offset of the logistic curve that fits best, held towards a slope of 1 about as much as by one event.

    Newton's method; a step that does not lower the loss is halved.
    """
    design, hold, prior = np.stack([x, np.ones_like(x)]), np.diag([0.1, 1e-6]), np.array([1.0, 0.0])

    def loss(w: Floats) -> float:
        z = w @ design
        return float((np.logaddexp(0, z) - target * z).sum() + (w - prior) @ hold @ (w - prior) / 2)

    w = np.zeros(2)
    best = loss(w)
    for _ in range(100):
        p = from_logit(np.clip(w @ design, -30, 30))
        step = np.linalg.solve(
            (design * (p * (1 - p) + 1e-9)) @ design.T + hold, design @ (p - target) + hold @ (w - prior)
        )
        while np.abs(step).max() > 1e-9 and not loss(w - step) <= best:
            step = step / 2
        w, best = w - step, loss(w - step)
        if np.abs(step).max() <= 1e-9:
            break
    return float(w[0]), float(w[1])


def _strict(raw: Floats, probability: Floats) -> Calibration:
    """Points from raw 0 to 1, both coordinates rising strictly, the probabilities kept off 0 and 1."""
    raw, first = np.unique(np.round(raw, 6), return_index=True)
    p = np.clip(np.asarray(probability)[first], SURE, 1 - SURE)
    if raw[0] > 0:
        raw, p = np.concatenate([[0.0], raw]), np.concatenate([[SURE], p])
    if raw[-1] < 1:
        raw, p = np.concatenate([raw, [1.0]]), np.concatenate([p, [p[-1]]])
    steps = np.arange(len(p)) * RISE
    p = np.maximum.accumulate(p - steps) + steps  # each at least RISE above the one before
    top = 1 - SURE
    p = np.minimum(p, top - steps[::-1])
    return Calibration(raw=tuple(round(float(v), 6) for v in raw), probability=tuple(round(float(v), 6) for v in p))


# -- is it so?


@dataclass(frozen=True)
class Reliability:
    """What detections of a score are worth. One entry a bin, by rising score."""

    score: Floats  # mean score
    share: Floats  # of right ones
    count: Floats

    @property
    def error(self) -> float | None:
        """The expected calibration error: |share right - mean score|, averaged over detections. None without any."""
        total = self.count.sum()
        return float((self.count * np.abs(self.share - self.score)).sum() / total) if total else None

    def to_dict(self) -> dict[str, Any]:
        return {
            "error": self.error,
            "bins": [
                {"score": float(s), "share_right": float(r), "detections": int(n)}
                for s, r, n in zip(self.score, self.share, self.count, strict=True)
            ],
        }


def reliability(scores: Floats, right: Bools, bins: int = 10) -> Reliability:
    """Detections in `bins` bins of equal mass (equal scores stay together), by score: mean score and share right."""
    scores, right = np.asarray(scores, float), np.asarray(right, bool)
    if not len(scores):
        return Reliability(*(np.zeros(0) for _ in range(3)))
    order = np.argsort(scores, kind="stable")
    scores, right = scores[order], right[order]
    borders = np.unique(np.linspace(0, len(scores), bins + 1).astype(int))[:-1]
    starts = np.unique(np.searchsorted(scores, scores[borders]))
    count = np.diff(starts, append=len(scores)).astype(float)
    mean = np.add.reduceat(scores, starts) / count
    return Reliability(mean, np.add.reduceat(right.astype(float), starts) / count, count)


def judged_scores(matching: Matching) -> tuple[Floats, Bools]:
    """Scores and rightness of the detections that count: what fit_calibration and reliability want."""
    return matching.score[matching.judged], matching.verdict[matching.judged] == HIT


def operating_curve(
    scores: Floats, right: Bools, events: int, hours: float, data: str, points: int = 60
) -> OperatingCurve:
    """Recall and false positives an hour at falling thresholds, thinned to about `points` points of the true curve.

    scores: calibrated, with rightness, both (judged detections,); events: how many there were to find; hours: of
    recordings searched; data: one sentence that says on what this was measured.
    Raises LoxoError without hours or events.
    """
    if hours <= 0 or events <= 0:
        raise LoxoError("An operating curve needs hours of recordings and events to find.")
    whole = curve(np.asarray(scores, float), np.asarray(right, bool), events)
    keep = _thinned(whole, points)
    return OperatingCurve(
        threshold=tuple(round(float(v), 6) for v in whole.threshold[keep]),
        fp_per_hour=tuple(float(v) for v in whole.false[keep] / hours),
        recall=tuple(float(v) for v in whole.recall[keep]),
        data=data,
    )


def _thinned(whole: Curve, points: int) -> list[int]:
    """The points that are best at their number of false positives, evenly spread over its logarithm and the recall."""
    if len(whole) <= points:
        return list(range(len(whole)))
    targets = np.geomspace(1, max(int(whole.false[-1]), 1), points // 2)
    at_false = np.searchsorted(whole.false, targets, side="right") - 1
    at_recall = np.searchsorted(whole.hits, np.linspace(0, whole.hits[-1], points // 2))
    ends = [0, len(whole) - 1]
    return sorted({int(k) for k in (*ends, *at_false, *at_recall) if 0 <= k < len(whole)})
