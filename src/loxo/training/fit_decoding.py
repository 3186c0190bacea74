"""After training: how scores become events, and what an event's score is worth, fitted on the validation windows.

For each class, every combination of a few lengths of smoothing, edges and splits is tried on the frame scores; the best
event AP wins, the preset's own values where nothing is better. Calibration is then fitted on the events that these
give, and the threshold is the calibrated score of the highest F1. Durations and frequencies stay the preset's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from loxo.detection.decode import class_rows
from loxo.engine.config import Calibration, Decoding, ModelConfig
from loxo.evaluation.calibration import calibrated_scores, fit_calibration, judged_scores
from loxo.evaluation.matching import Matching
from loxo.evaluation.metrics import Curve, average_precision, matching_curve
from loxo.evaluation.spans import Truth
from loxo.training.validation import Floats, ValidationWindows, matched

SMOOTHING = (0, 3, 5)  # steps
EDGES = (0.3, 0.5, 0.7)
SPLITS = (0.0, 0.5, 0.8)
# Event AP that a change must gain. Validation windows are dense and few: less than this is chance, and a long smoothing
# that is as good there joins the calls of a bout in recordings.
CLEAR_GAIN = 0.02


@dataclass(frozen=True)
class Fit:
    """What came out for one class, for the record."""

    decoding: Decoding
    calibration: Calibration
    figures: dict[str, Any]


def fit_decoding(
    scores: Floats, validation: ValidationWindows, config: ModelConfig
) -> tuple[ModelConfig, dict[str, dict[str, Any]]]:
    """The config with decoding and calibration of every class, and what each reached on the validation windows.

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


def fit_class(scores: Floats, truth: Truth, start: Decoding, config: ModelConfig) -> Fit:
    """scores: one class's rows, (windows, 1 or 2, steps)."""
    best, matching = start, matched(scores, start, truth, config)
    area = average_precision(matching_curve(matching)) or 0.0
    to_beat = area + CLEAR_GAIN
    for decoding in _candidates(start, config.step_samples / config.sample_rate):
        one = matched(scores, decoding, truth, config)
        reached = average_precision(matching_curve(one)) or 0.0
        if reached > max(area, to_beat):
            best, matching, area = decoding, one, reached
    calibration = fit_calibration(*judged_scores(matching))
    threshold, f1 = _threshold(matching_curve(matching), start.threshold)
    probability = float(calibrated_scores(np.array([threshold]), calibration)[0])
    figures = {
        "event_ap": round(area, 4),
        "f1": round(f1, 4),
        "threshold": round(probability, 4),
        "events": matching.events,
        "detections": int(_above(matching, threshold)),
    }
    return Fit(replace(best, threshold=round(probability, 4)), calibration, figures)


def _candidates(start: Decoding, step_s: float) -> Iterator[Decoding]:
    for steps, edge, split in product(SMOOTHING, EDGES, SPLITS):
        yield replace(start, smooth_s=round(steps * step_s, 6), edge_ratio=edge, valley_ratio=split)


def _threshold(points: Curve, otherwise: float) -> tuple[float, float]:
    """(raw score, F1) half way between the lowest event to be listed at the highest F1 and the next lower one."""
    if not len(points):
        return otherwise, 0.0
    k = int(np.argmax(points.f1))
    below = points.threshold[k + 1] if k + 1 < len(points) else 0.0
    return float(points.threshold[k] + below) / 2, float(points.f1[k])


def _above(matching: Matching, threshold: float) -> int:
    return int((matching.score[matching.judged] >= threshold).sum())
