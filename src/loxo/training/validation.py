"""Validation: windows that stay the same for the whole run, the events in them, and how well scores find these.

A detection is right by evaluation's matching, one-to-one at intersection over union of at least 0.3. Each window is
decoded alone. What the annotator was not sure of counts neither way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from loxo.detection.decode import class_rows, find_events
from loxo.engine.config import Decoding, ModelConfig
from loxo.errors import LoxoError
from loxo.evaluation.matching import Matching, match
from loxo.evaluation.metrics import average_precision, curve, matching_curve
from loxo.evaluation.spans import Detections, Regions, Truth
from loxo.training.targets import IGNORED, Span

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ValidationWindow:
    """samples (samples,); targets (classes, steps); spans, in samples, that may reach beyond the window's borders."""

    samples: Floats
    targets: Floats
    events: Sequence[Span]
    ignored: Sequence[Span] = ()  # where it is not known whether there is a call of this class


@dataclass(frozen=True)
class ValidationWindows:
    """samples (windows, samples); targets (windows, classes, steps); truth: the events of each class in all windows."""

    samples: Floats
    targets: Floats
    truth: Mapping[str, Truth]

    def __len__(self) -> int:
        return len(self.samples)


def collect(config: ModelConfig, windows: Sequence[ValidationWindow]) -> ValidationWindows:
    """Windows as one set, in memory."""
    truth = {label: _truth(config, label, windows) for label in config.classes}
    samples = np.stack([window.samples for window in windows])
    return ValidationWindows(samples, np.stack([window.targets for window in windows]), truth)


def _truth(config: ModelConfig, label: str, windows: Sequence[ValidationWindow]) -> Truth:
    """One class's events as far as they lie in the windows. Of one that a border cuts at least a step must be left to
    be asked for: less can hardly be heard."""
    size = config.window_samples
    events = _inside(label, [window.events for window in windows], size)
    ignored = _inside(label, [window.ignored for window in windows], size) / (1, config.sample_rate, config.sample_rate)
    cut = (events[:, 1] == 0) | (events[:, 2] == size)
    counted = ~(cut & (events[:, 2] - events[:, 1] < config.step_samples))
    start, end = (events[:, k] / config.sample_rate for k in (1, 2))
    regions = Regions(ignored[:, 0].astype(np.int64), ignored[:, 1], ignored[:, 2])
    return Truth(events[:, 0], start, end, counted, np.zeros(len(events), bool), regions)


def _inside(label: str, spans: Sequence[Sequence[Span]], size: int) -> NDArray[np.int64]:
    """(spans, 3) of one class: window, first and past, cut at the window's borders; those outside left out."""
    rows = [
        (k, max(first, 0), min(past, size))
        for k, several in enumerate(spans)
        for name, first, past in several
        if name == label and first < size and past > 0
    ]
    return np.array(rows, np.int64).reshape(-1, 3)


def check_classes(validation: ValidationWindows, way_out: str) -> None:
    """Raises LoxoError when a class has no event to be found: its threshold and best checkpoint could not be chosen."""
    absent = [label for label, truth in validation.truth.items() if not truth.events]
    if absent:
        raise LoxoError(
            f"The {len(validation)} validation windows hold no {' and no '.join(absent)}, so that nothing could be "
            f"judged. {way_out}"
        )


def score_windows(
    logits_of: Callable[[torch.Tensor], torch.Tensor], validation: ValidationWindows, batch_size: int
) -> Floats:
    """Logits (windows, rows, steps) of all windows; `logits_of` maps (batch, samples) to (batch, rows, steps)."""
    parts = [
        logits_of(torch.from_numpy(validation.samples[first : first + batch_size])).float().cpu().numpy()
        for first in range(0, len(validation), batch_size)
    ]
    return np.concatenate(parts)


def decoded(scores: Floats, decoding: Decoding, step_s: float) -> Detections:
    """The events that one class's rows of scores (windows, 1 or 2, steps) show, whatever their score."""
    rows = [
        (k, *event)
        for k, values in enumerate(scores)
        for event in find_events(values[0], decoding, step_s, *values[1:])
    ]
    window, first, past, score = (np.array(column) for column in zip(*rows, strict=True)) if rows else [np.zeros(0)] * 4
    return Detections(window.astype(np.int64), first * step_s, past * step_s, score.astype(float))


def matched(scores: Floats, decoding: Decoding, truth: Truth, config: ModelConfig) -> Matching:
    """The detections in one class's rows of scores (windows, 1 or 2, steps) against its events."""
    return match(truth, decoded(scores, decoding, config.step_samples / config.sample_rate))


def judge(scores: Floats, validation: ValidationWindows, config: ModelConfig) -> dict[str, float]:
    """Frame AP and event AP of each class, and the mean event AP, of scores (windows, rows, steps) in 0-1."""
    figures: dict[str, float] = {}
    areas = []
    for k, label in enumerate(config.classes):
        targets = validation.targets[:, k]
        sure = targets != IGNORED
        right = targets[sure] >= 0.5
        frames = average_precision(curve(scores[:, k][sure].astype(float), right, int(right.sum())))
        decoding, own = config.decoding.get(label, Decoding()), scores[:, class_rows(label, config.rows)]
        events = average_precision(matching_curve(matched(own, decoding, validation.truth[label], config)))
        figures |= {f"frame_ap_{label}": frames or 0.0, f"event_ap_{label}": events or 0.0}
        areas.append(events or 0.0)
    return {"event_ap": float(np.mean(areas)), **figures}
