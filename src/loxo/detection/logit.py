"""Scores on the scale on which evidence adds up."""

import math

SURE = 1e-4  # scores closer to 0 or 1 are not told apart


def logit(score: float) -> float:
    """The logarithm of the odds."""
    score = min(max(score, SURE), 1 - SURE)
    return math.log(score / (1 - score))


def from_logit(value: float) -> float:
    """The inverse of logit."""
    return 1 / (1 + math.exp(-value))
