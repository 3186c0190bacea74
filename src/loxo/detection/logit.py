"""Logit and its inverse, with clipping."""

from __future__ import annotations

import math
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

EPS = 1e-4  # probabilities are clipped to [EPS, 1 - EPS]: logits within +-9.21


@overload
def logit(p: float, eps: float = EPS) -> float: ...
@overload
def logit(p: NDArray[np.floating[Any]], eps: float = EPS) -> NDArray[np.float64]: ...
def logit(p: float | NDArray[np.floating[Any]], eps: float = EPS) -> float | NDArray[np.float64]:
    """log(p / (1 - p)), the logarithm of the odds, of p clipped to [eps, 1 - eps]; a number or an array."""
    if isinstance(p, np.ndarray):
        clipped = np.clip(p.astype(np.float64), eps, 1 - eps)
        return np.log(clipped / (1 - clipped))
    p = min(max(p, eps), 1 - eps)
    return math.log(p / (1 - p))


@overload
def from_logit(x: float) -> float: ...
@overload
def from_logit(x: NDArray[np.floating[Any]]) -> NDArray[np.float64]: ...
def from_logit(x: float | NDArray[np.floating[Any]]) -> float | NDArray[np.float64]:
    """1 / (1 + exp(-x)), the inverse of logit; a number or an array."""
    return 1 / (1 + np.exp(-x)) if isinstance(x, np.ndarray) else 1 / (1 + math.exp(-x))
