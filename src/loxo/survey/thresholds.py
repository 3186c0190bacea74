"""Chooses thresholds from the operating curves in a model file.

`by_false_positives` chooses, for each class, the lowest threshold with at most the allowed number of false positives
per hour. `by_review` converts a review budget, the number of false positives that a reviewer accepts in total, to a
rate. It divides the budget equally among the classes and by the hours of the recordings. True positives are not part of
the budget. There is no interpolation between two points of a curve: the higher threshold is used.

A curve is valid for recordings like those on which it was measured, so every choice has a sentence that names them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loxo.audio.finding import find_recordings
from loxo.engine.config import OperatingCurve
from loxo.errors import LoxoError
from loxo.survey.processes import PATIENCE_S, Job, Jobs, Processes


@dataclass(frozen=True)
class Choice:
    """Thresholds by class, for `detect(..., threshold=...)`, and one sentence about each class."""

    thresholds: dict[str, float]
    sentences: tuple[str, ...]


def by_false_positives(config: Any, per_hour: float) -> Choice:
    """Thresholds with at most `per_hour` false positives per hour of each class. `config` is the model's.

    Raises LoxoError if `per_hour` is not positive, if the model has no curves, and if even the highest threshold of a
    curve has more false positives.
    """
    if not per_hour > 0:
        raise LoxoError(f"The number of false positives an hour must be more than 0, not {per_hour:g}.")
    curves = _curves(config)
    chosen = {label: _lowest(label, curve, per_hour) for label, curve in curves.items()}
    sentences = [_sentence(label, curves[label], k) for label, k in chosen.items()]
    others = [label for label in config.classes if label not in curves]
    if others:
        sentences.append(f"{', '.join(others)}: the model has no operating curve; its own threshold is used.")
    return Choice({label: curves[label].threshold[k] for label, k in chosen.items()}, tuple(sentences))


def by_review(config: Any, budget: int, hours: float) -> Choice:
    """Thresholds with about `budget` false positives in total in `hours` of recordings, the same number for each class.

    Raises LoxoError as by_false_positives does, and if `budget` or `hours` is not positive.
    """
    if budget < 1 or not hours > 0:
        raise LoxoError(f"A review budget needs at least one event and some audio, not {budget} in {hours:g} hours.")
    curves = _curves(config)
    per_hour = budget / hours / len(curves)
    choice = by_false_positives(config, per_hour)
    expected = [
        f"{label}: {_expected(curve, _lowest(label, curve, per_hour), hours)}" for label, curve in curves.items()
    ]
    return Choice(choice.thresholds, (*choice.sentences, *expected))


def false_positives_in(curve: OperatingCurve, k: int, hours: float) -> tuple[float, float] | None:
    """The 95 % interval of the number of false positives in `hours` of similar recordings, at threshold k of a curve;
    None if the curve does not state its uncertainty.

    The rate has a gamma distribution with the mean and the standard deviation of the curve. In the new recordings,
    false positives occur in the same groups as in those of the curve. The number then has a negative binomial
    distribution.
    """
    if not curve.fp_sd or not curve.hours:
        return None
    from scipy.stats import nbinom  # type: ignore[import-untyped]

    mean = max(curve.fp_per_hour[k], 0.5 / curve.hours) * hours
    variance = (curve.fp_sd[k] * hours) ** 2 * (1 + curve.hours / hours)
    variance = max(variance, 1.0001 * mean)
    low, high = nbinom.ppf((0.025, 0.975), mean**2 / (variance - mean), mean / variance)
    return float(low), float(high)


def _expected(curve: OperatingCurve, k: int, hours: float) -> str:
    interval = false_positives_in(curve, k, hours)
    number = f"expect about {curve.fp_per_hour[k] * hours:.0f} false positives in these {hours:.3g} hours"
    if interval is None:
        return (
            f"{number}. The number may be several times off, because it was measured on other recordings. Review a "
            "sample of the run, then use `loxo calibrate --review`."
        )
    return f"{number}, {interval[0]:.0f} to {interval[1]:.0f} in recordings like those (95 % interval)."


def choose(config: Any, max_fp_per_hour: float | None, review_budget: int | None, hours: Callable[[], float]) -> Choice:
    """The result of by_false_positives or by_review, whichever limit is given. Only by_review calls `hours`.

    Raises LoxoError if both limits are given, and as the two functions do.
    """
    if max_fp_per_hour is not None and review_budget is not None:
        raise LoxoError("Choose thresholds by false positives an hour or by a review budget, not by both.")
    if max_fp_per_hour is not None:
        return by_false_positives(config, max_fp_per_hour)
    if review_budget is not None:
        _curves(config)  # fails early, before `hours` reads many headers
        return by_review(config, review_budget, hours())
    return Choice({}, ())


def hours_in(paths: Iterable[str | Path], patience_s: float = PATIENCE_S) -> float:
    """Total duration of the recordings in `paths`, from their headers, which a worker process reads; unreadable
    recordings count as 0."""
    jobs = Jobs([Job(index, str(path)) for index, path in enumerate(find_recordings(paths)[0])])
    with Processes("loxo.survey.tasks:Durations", (), patience_s=patience_s) as pool:
        return sum(result for _, result in pool.run(jobs) if isinstance(result, float)) / 3600


def _curves(config: Any) -> dict[str, OperatingCurve]:
    curves = {label: config.curves[label] for label in config.classes if label in config.curves}
    if not curves:
        raise LoxoError(
            "This model has no operating curves, so no threshold can be chosen by false positives or by a review "
            "budget. Give --threshold, or train it with validation recordings."
        )
    return curves


def _lowest(label: str, curve: OperatingCurve, per_hour: float) -> int:
    """The index of the lowest threshold such that it and all higher ones of the curve keep the limit."""
    order = sorted(range(len(curve.threshold)), key=lambda k: -curve.threshold[k])
    allowed = []
    for k in order:
        if curve.fp_per_hour[k] > per_hour:
            break
        allowed.append(k)
    if not allowed:
        lowest = (
            f"{curve.fp_per_hour[order[0]]:.3g} per hour at the highest threshold" if order else "the curve is empty"
        )
        raise LoxoError(
            f"{label}: {per_hour:.3g} false positives per hour is below the lowest measured rate ({lowest}). Give a "
            f"higher rate, or --threshold. Measured on: {curve.data}"
        )
    return allowed[-1]


def _sentence(label: str, curve: OperatingCurve, k: int) -> str:
    return (
        f"{label}: threshold {curve.threshold[k]:.3g}, where {curve.fp_per_hour[k]:.3g} false positives an hour and a "
        f"recall of {curve.recall[k]:.2f} were measured. Measured on: {curve.data}"
    )
