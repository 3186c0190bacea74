"""Thresholds for what a user can afford, from the operating curves that a model carries.

`by_false_positives`: in each class the lowest threshold at which no more false positives an hour were counted than
allowed. `by_review`: the same for a number of events that somebody is willing to look through in vain: the budget is
shared equally among the classes and spread over the hours analysed; true calls come on top. Between two points of a
curve nothing is assumed: the higher threshold is taken.

A curve holds on data like those it was measured on, so every choice comes with a sentence that names these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loxo.audio.finding import find_recordings
from loxo.audio.recording import RecordingError, probe
from loxo.engine.config import OperatingCurve
from loxo.errors import LoxoError


@dataclass(frozen=True)
class Choice:
    """Thresholds by class, for `detect(..., threshold=...)`, and one sentence about each."""

    thresholds: dict[str, float]
    sentences: tuple[str, ...]


def by_false_positives(config: Any, per_hour: float) -> Choice:
    """At most `per_hour` false positives of each class an hour. `config` is the model's.

    Raises LoxoError for a number that is not positive, a model without curves, and where even the highest threshold
    of a curve gives more.
    """
    if not per_hour > 0:
        raise LoxoError(f"The number of false positives an hour must be more than 0, not {per_hour:g}.")
    curves = _curves(config)
    chosen = {label: _lowest(label, curve, per_hour) for label, curve in curves.items()}
    sentences = [_sentence(label, curves[label], k) for label, k in chosen.items()]
    others = [label for label in config.classes if label not in curves]
    if others:
        sentences.append(f"{', '.join(others)}: the model has no curve; its own threshold stays.")
    return Choice({label: curves[label].threshold[k] for label, k in chosen.items()}, tuple(sentences))


def by_review(config: Any, budget: int, hours: float) -> Choice:
    """About `budget` false positives in all among what is found in `hours` of recordings, equally many of each class.

    Raises LoxoError as by_false_positives does, and when there are no hours.
    """
    if budget < 1 or not hours > 0:
        raise LoxoError(f"A review budget needs at least one event and some audio, not {budget} in {hours:g} hours.")
    return by_false_positives(config, budget / hours / len(_curves(config)))


def choose(config: Any, max_fp_per_hour: float | None, review_budget: int | None, hours: Callable[[], float]) -> Choice:
    """What was asked for: by_false_positives or by_review, with `hours` asked only if it matters.

    Raises LoxoError when both are asked for, and as they do.
    """
    if max_fp_per_hour is not None and review_budget is not None:
        raise LoxoError("Choose thresholds by false positives an hour or by a review budget, not by both.")
    if max_fp_per_hour is not None:
        return by_false_positives(config, max_fp_per_hour)
    if review_budget is not None:
        _curves(config)  # before many headers are read in vain
        return by_review(config, review_budget, hours())
    return Choice({}, ())


def hours_in(paths: Iterable[str | Path]) -> float:
    """Hours of recordings, as their headers say, in what a search is given; those that cannot be read do not count."""
    seconds = 0.0
    for path in find_recordings(paths)[0]:
        with suppress(RecordingError):
            seconds += probe(path).duration_s
    return seconds / 3600


def _curves(config: Any) -> dict[str, OperatingCurve]:
    curves = {label: config.curves[label] for label in config.classes if label in config.curves}
    if not curves:
        raise LoxoError(
            "This model has no operating curves, so no threshold can be chosen by false positives or by a review "
            "budget. Give --threshold, or train it with validation recordings."
        )
    return curves


def _lowest(label: str, curve: OperatingCurve, per_hour: float) -> int:
    """The point of the curve with the lowest threshold that keeps to the limit at it and above."""
    order = sorted(range(len(curve.threshold)), key=lambda k: -curve.threshold[k])
    allowed = []
    for k in order:
        if curve.fp_per_hour[k] > per_hour:
            break
        allowed.append(k)
    if not allowed:
        least = f"{curve.fp_per_hour[order[0]]:.3g} an hour" if order else "nothing at all"
        raise LoxoError(
            f"{label}: {per_hour:.3g} false positives an hour is less than was ever measured ({least} at the highest "
            f"threshold). Measured on: {curve.data}"
        )
    return allowed[-1]


def _sentence(label: str, curve: OperatingCurve, k: int) -> str:
    return (
        f"{label}: threshold {curve.threshold[k]:.3g}, where {curve.fp_per_hour[k]:.3g} false positives an hour and a "
        f"recall of {curve.recall[k]:.2f} were measured. Measured on: {curve.data}"
    )
