"""Thresholds of event scores, without imports of numerical packages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loxo.errors import LoxoError

Threshold = float | Mapping[str, float] | None  # one for all classes, by class, or the model's own


def check_threshold(threshold: Threshold, classes: Sequence[str]) -> None:
    """Raises LoxoError for a threshold outside 0 to 1, and for a threshold of an unknown class."""
    given = threshold if isinstance(threshold, Mapping) else {} if threshold is None else {"": threshold}
    for label, value in given.items():
        if label and label not in classes:
            raise LoxoError(f"A threshold is given for {label!r}, but the model's classes are {', '.join(classes)}.")
        if not 0 <= value <= 1:
            raise LoxoError(f"The threshold must be between 0 and 1, not {value}.")
