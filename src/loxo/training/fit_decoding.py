"""Fits decoding and calibration of a trained model on the validation windows.

For each class, all combinations of a few values of `smooth_s`, `edge_ratio` and `valley_ratio` are tried on the frame
scores. The combination with the highest event AP is used. The preset's values stay unless another combination is
clearly better. Calibration is then fitted on the events that this decoding gives. The threshold is the calibrated score
with the highest F1. Durations and frequencies stay those of the preset.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from loxo.detection.decode import class_rows
from loxo.engine.config import Calibration, Decoding, ModelConfig
from loxo.evaluation.calibration import calibrated_scores, fit_calibration, round_down, scores_and_verdicts
from loxo.evaluation.matching import Matching
from loxo.evaluation.metrics import Curve, average_precision, matching_curve
from loxo.evaluation.spans import Truth
from loxo.training.validation import Floats, ValidationWindows, match_class

SMOOTHING_STEPS = (0, 3, 5)
EDGE_RATIOS = (0.3, 0.5, 0.7)
VALLEY_RATIOS = (0.0, 0.5, 0.8)
# Gain in event AP that a change must exceed. There are few validation windows and they are dense, so that a smaller
# gain is chance. A long smoothing that is equally good there would join the calls of a bout in recordings.
CLEAR_GAIN = 0.02


@dataclass(frozen=True)
class Fit:
    """The result for one class. `figures` goes into the model file."""

    decoding: Decoding
    calibration: Calibration
    figures: dict[str, Any]


def fit_decoding(
    scores: Floats, validation: ValidationWindows, config: ModelConfig
) -> tuple[ModelConfig, dict[str, dict[str, Any]]]:
    """The config with decoding and calibration of every class, and the metrics of each on the validation windows.

    scores: (windows, rows, steps), 0-1.
    """
    fits = {
        label: fit_class(
            scores[:, class_rows(label, config.rows)],
            validation.truth[label],
            config.decoding.get(label, Decoding()),
            config,
        )
        for label in config.classes
    }
    decoding = {label: fit.decoding for label, fit in fits.items()}
    calibration = {label: fit.calibration for label, fit in fits.items()}
    figures = {label: fit.figures for label, fit in fits.items()}
    return replace(config, decoding={**config.decoding, **decoding}, calibration=calibration), figures


def listed_figures(
    scores: Floats, validation: ValidationWindows, config: ModelConfig
) -> dict[str, dict[str, float | None]]:
    """For each class, its event AP and what is listed at its threshold: recall and precision of the events."""
    figures: dict[str, dict[str, float | None]] = {}
    for label, truth in validation.truth.items():
        decoding, calibration = config.decoding.get(label, Decoding()), config.calibration.get(label)
        matching = match_class(scores[:, class_rows(label, config.rows)], decoding, truth, config)
        listed, correct = scores_and_verdicts(matching)
        if calibration is not None:
            listed = calibrated_scores(listed, calibration)
        chosen = listed >= decoding.threshold
        hits = int(correct[chosen].sum())
        figures[label] = {
            "event_ap": round(average_precision(matching_curve(matching)) or 0.0, 4),
            "recall": round(hits / max(matching.events, 1), 4),
            "precision": round(hits / int(chosen.sum()), 4) if chosen.any() else None,
            "threshold": round(decoding.threshold, 4),
            "events": matching.events,
        }
    return figures


def fit_class(scores: Floats, truth: Truth, start: Decoding, config: ModelConfig) -> Fit:
    """Fits one class. scores: the rows of the class, (windows, 1 or 2, steps); start: the preset's decoding."""
    best, matching = start, match_class(scores, start, truth, config)
    best_ap = average_precision(matching_curve(matching)) or 0.0
    min_ap = best_ap + CLEAR_GAIN
    for decoding in _candidates(start, config.step_samples / config.sample_rate):
        candidate = match_class(scores, decoding, truth, config)
        ap = average_precision(matching_curve(candidate)) or 0.0
        if ap > max(best_ap, min_ap):
            best, matching, best_ap = decoding, candidate, ap
    calibration = fit_calibration(*scores_and_verdicts(matching))
    threshold, f1 = _threshold(matching_curve(matching), start.threshold)
    probability = float(calibrated_scores(np.array([threshold]), calibration)[0])
    figures = {
        "event_ap": round(best_ap, 4),
        "f1": round(f1, 4),
        "threshold": round_down(probability, 4),
        "events": matching.events,
        "detections": int(_count_listed(matching, threshold)),
    }
    return Fit(replace(best, threshold=round_down(probability, 4)), calibration, figures)


def _candidates(start: Decoding, step_s: float) -> Iterator[Decoding]:
    for steps, edge, valley in product(SMOOTHING_STEPS, EDGE_RATIOS, VALLEY_RATIOS):
        yield replace(start, smooth_s=round(steps * step_s, 6), edge_ratio=edge, valley_ratio=valley)


def _threshold(points: Curve, default: float) -> tuple[float, float]:
    """(raw score, F1) at the highest F1; (default, 0) if there are no detections.

    The raw score lies half way between the lowest event that is listed and the next lower one.
    """
    if not len(points):
        return default, 0.0
    k = int(np.argmax(points.f1))
    below = points.threshold[k + 1] if k + 1 < len(points) else 0.0
    return float(points.threshold[k] + below) / 2, float(points.f1[k])


def _count_listed(matching: Matching, threshold: float) -> int:
    return int((matching.score[matching.evaluated] >= threshold).sum())
