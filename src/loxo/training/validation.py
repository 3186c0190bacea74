"""Validation windows, which stay the same for the whole run, and the metrics of a model on them.

A detection is a true positive by the matching of evaluation: one-to-one, with an intersection over union of at least
0.3. Each window is decoded alone. Spans about which the annotator was not sure count neither as positive nor as
negative.
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
from loxo.training.targets import EventSpan, judged

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ValidationWindow:
    """samples (samples,); targets (classes, steps). Events are in samples and may extend beyond the window."""

    samples: Floats
    targets: Floats
    events: Sequence[EventSpan]
    ignored: Sequence[EventSpan] = ()  # the annotator was not sure whether these are calls of the class
    clip_level: Sequence[EventSpan] = ()  # clip-level labels: an event is somewhere in these spans


@dataclass(frozen=True)
class ValidationWindows:
    """samples (windows, samples); targets (windows, classes, steps); truth: the events of each class in all windows."""

    samples: Floats
    targets: Floats
    truth: Mapping[str, Truth]

    def __len__(self) -> int:
        return len(self.samples)


def stack_windows(config: ModelConfig, windows: Sequence[ValidationWindow]) -> ValidationWindows:
    """The windows as one set of arrays in memory."""
    truth = {label: _truth(config, label, windows) for label in config.classes}
    samples = np.stack([window.samples for window in windows])
    return ValidationWindows(samples, np.stack([window.targets for window in windows]), truth)


def join_windows(parts: Sequence[ValidationWindows]) -> ValidationWindows:
    """The windows of all parts as one set, in their order."""
    first = np.cumsum([0, *(len(part) for part in parts[:-1])])
    truth = {}
    for label in parts[0].truth:
        own = [part.truth[label] for part in parts]
        ignored = [one.ignored for one in own]
        start, end, counted, clip = (
            np.concatenate([getattr(one, name) for one in own]) for name in ("start", "end", "counted", "clip")
        )
        regions = Regions(
            np.concatenate([one.recording + offset for one, offset in zip(ignored, first, strict=True)]),
            *(np.concatenate([getattr(one, name) for one in ignored]) for name in ("start", "end")),
        )
        window = np.concatenate([one.recording + offset for one, offset in zip(own, first, strict=True)])
        truth[label] = Truth(window, start, end, counted, clip, regions)
    samples, targets = (np.concatenate([getattr(part, name) for part in parts]) for name in ("samples", "targets"))
    return ValidationWindows(samples, targets, truth)


def _truth(config: ModelConfig, label: str, windows: Sequence[ValidationWindow]) -> Truth:
    """The events of one class, cut at the borders of the windows.

    An event of which less than one step is left after the cut need not be found: so little of a call is hardly audible.
    """
    size = config.window_samples
    events = _spans_in_windows(label, [window.events for window in windows], size)
    clip_level = _spans_in_windows(label, [window.clip_level for window in windows], size)
    is_clip = np.repeat([False, True], [len(events), len(clip_level)])
    events = np.concatenate([events, clip_level])
    ignored = _spans_in_windows(label, [window.ignored for window in windows], size)
    ignored_s = ignored / (1, config.sample_rate, config.sample_rate)
    cut = ((events[:, 1] == 0) | (events[:, 2] == size)) & ~is_clip
    counted = ~(cut & (events[:, 2] - events[:, 1] < config.step_samples))
    start, end = (events[:, k] / config.sample_rate for k in (1, 2))
    regions = Regions(ignored_s[:, 0].astype(np.int64), ignored_s[:, 1], ignored_s[:, 2])
    return Truth(events[:, 0], start, end, counted, is_clip, regions)


def _spans_in_windows(label: str, events: Sequence[Sequence[EventSpan]], size: int) -> NDArray[np.int64]:
    """(spans, 3) of one class: window, start, stop. Spans are cut at the borders; spans outside are left out."""
    rows = [
        (k, max(start, 0), min(stop, size))
        for k, window_events in enumerate(events)
        for name, start, stop in window_events
        if name == label and start < size and stop > 0
    ]
    return np.array(rows, np.int64).reshape(-1, 3)


def check_classes(validation: ValidationWindows, remedy: str) -> None:
    """Raises LoxoError when a class has no event: neither its threshold nor the best checkpoint could be chosen.

    `remedy`: sentence at the end of the error.
    """
    absent = [label for label, truth in validation.truth.items() if not truth.events]
    if absent:
        raise LoxoError(
            f"The {len(validation)} validation windows contain no {' and no '.join(absent)}, so that the model cannot "
            f"be validated. {remedy}"
        )


def score_windows(
    logits: Callable[[torch.Tensor], torch.Tensor], validation: ValidationWindows, batch_size: int
) -> Floats:
    """Logits (windows, rows, steps) of all windows; `logits` maps (batch, samples) to (batch, rows, steps)."""
    batches = [
        logits(torch.from_numpy(validation.samples[start : start + batch_size])).float().cpu().numpy()
        for start in range(0, len(validation), batch_size)
    ]
    return np.concatenate(batches)


def decode_class(scores: Floats, decoding: Decoding, step_s: float) -> Detections:
    """The events of one class, with any score, from its rows of scores (windows, 1 or 2, steps)."""
    rows = [
        (k, *event)
        for k, values in enumerate(scores)
        for event in find_events(values[0], decoding, step_s, *values[1:])
    ]
    window, start, stop, score = (np.array(column) for column in zip(*rows, strict=True)) if rows else [np.zeros(0)] * 4
    return Detections(window.astype(np.int64), start * step_s, stop * step_s, score.astype(float))


def match_class(scores: Floats, decoding: Decoding, truth: Truth, config: ModelConfig) -> Matching:
    """The detections of one class, from its rows of scores (windows, 1 or 2, steps), matched with its events."""
    return match(truth, decode_class(scores, decoding, config.step_samples / config.sample_rate))


def validation_metrics(scores: Floats, validation: ValidationWindows, config: ModelConfig) -> dict[str, float]:
    """Frame AP and event AP of each class and the mean event AP, for scores (windows, rows, steps) in 0-1."""
    metrics: dict[str, float] = {}
    event_aps = []
    for k, label in enumerate(config.classes):
        targets = validation.targets[:, k]
        counted = judged(targets)
        positive = targets[counted] >= 0.5
        frames = average_precision(curve(scores[:, k][counted].astype(float), positive, int(positive.sum())))
        decoding, own = config.decoding.get(label, Decoding()), scores[:, class_rows(label, config.rows)]
        events = average_precision(matching_curve(match_class(own, decoding, validation.truth[label], config)))
        metrics |= {f"frame_ap_{label}": frames or 0.0, f"event_ap_{label}": events or 0.0}
        event_aps.append(events or 0.0)
    return {"event_ap": float(np.mean(event_aps)), **metrics}
