"""Frame targets from events, for training and evaluation and for every data source.

Training targets also have pauses before onsets within a call (`training_targets`), so that the model learns to separate
calls that overlap.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loxo.engine.config import ModelConfig
from loxo.errors import LoxoError
from loxo.training.config import EDGES

Span = tuple[int, int]  # first sample, sample after the last one
EventSpan = tuple[str, int, int]  # label, first sample, sample after the last one

MAX_PAUSE_S = 0.3
FINE_STEP_S = 0.1  # no event in field recordings is shorter than a step of this length

# Special values of targets:
PAUSE = -2.0  # a pause that was cut into a call: a negative, to which the loss can give a higher weight
IGNORED = -1.0  # the annotator was not sure: excluded from the loss and from all metrics
SOMEWHERE = -3.0  # a clip-level label: some of these steps are positive. As IGNORED, but the clip is positive


def judged(targets: Any) -> Any:
    """True for targets that count in the frame loss and in metrics. Array or tensor of any shape."""
    return (targets != IGNORED) & (targets != SOMEWHERE)


def default_edges(config: ModelConfig) -> str:
    """The kind of target at an event's border (see `bin_targets`) that training uses by default.

    Models with fine steps use "hard", as evaluation does. Longer steps use "doubled": a shot that lies on a border
    between two steps may cover less than half of each, and would have no positive target.
    """
    return "hard" if config.step_samples <= FINE_STEP_S * config.sample_rate else "doubled"


def frame_targets(
    events: Iterable[EventSpan], classes: tuple[str, ...], steps: int, step_samples: int, edges: str = "hard"
) -> np.ndarray:
    """`bin_targets` with one bin per step of the model; a step has `step_samples` samples."""
    return bin_targets(events, classes, steps, steps * step_samples, edges)


def bin_targets(
    events: Iterable[EventSpan], classes: tuple[str, ...], bins: int, window_samples: int, edges: str = "hard"
) -> np.ndarray:
    """float32 (classes, bins) in 0-1: the targets of a window of `window_samples`, divided into equal bins.

    Bin k covers [k, k + 1) x window_samples / bins, which need not be whole samples. `edges` defines its target:

    - "hard": 1 where events of the class cover at least half of the bin, else 0, as for positive frames in evaluation;
    - "soft": the fraction of the bin that they cover;
    - "doubled": twice that fraction, at most 1. An event on a border that is shorter than a bin counts in both bins.

    The targets are exact to the sample. Events that overlap count once. Events of other labels and parts outside the
    window have no effect. Raises LoxoError for an unknown value of `edges`.
    """
    if edges not in EDGES:
        raise LoxoError(f"edges is {edges!r}, but it must be one of {', '.join(EDGES)}.")
    events = list(events)
    covered = np.zeros((len(classes), bins), np.int64)  # in units of 1 / bins samples; a whole bin is window_samples
    for k, label in enumerate(classes):
        for start, stop in merge_spans((start, stop) for name, start, stop in events if name == label):
            start, stop = max(start, 0) * bins, min(stop, window_samples) * bins
            if start >= stop:
                continue
            left, right = start // window_samples, -(-stop // window_samples)
            borders = np.arange(left, right + 1, dtype=np.int64) * window_samples
            covered[k, left:right] += np.diff(borders.clip(start, stop))
    if edges == "hard":
        return (2 * covered >= window_samples).astype(np.float32)
    factor = 2 if edges == "doubled" else 1
    return np.minimum(1.0, factor * covered / window_samples).astype(np.float32)


def training_targets(
    events: Iterable[EventSpan],
    classes: tuple[str, ...],
    bins: int,
    window_samples: int,
    edges: str = "hard",
    *,
    pause: float,
    sample_rate: int,
) -> np.ndarray:
    """`bin_targets` of the events `with_pauses`; PAUSE where a pause removes half of a bin or more."""
    events = list(events)
    targets = bin_targets(
        with_pauses(events, pause, int(MAX_PAUSE_S * sample_rate)), classes, bins, window_samples, edges
    )
    targets[bin_targets(events, classes, bins, window_samples, edges) - targets >= 0.5] = PAUSE
    return targets


def with_overlap_rows(
    targets: NDArray[np.float32], events: Iterable[EventSpan], config: ModelConfig
) -> NDArray[np.float32]:
    """Targets (classes, bins) extended to all rows of the model's output (rows, bins).

    The additional rows are 1 in bins of which at least half is a call overlap of the class. Bins that are IGNORED or
    SOMEWHERE for a class are IGNORED for its call overlap.
    """
    if config.rows == config.classes:
        return targets
    overlap_targets = bin_targets(call_overlaps(events), config.classes, targets.shape[1], config.window_samples)
    return np.concatenate((targets, np.where(judged(targets), overlap_targets, np.float32(IGNORED))))


def call_overlaps(events: Iterable[EventSpan]) -> list[EventSpan]:
    """The spans that two or more events of one label have in common."""
    events = list(events)
    shared = []
    for label in {name: None for name, _, _ in events}:
        latest = None  # the latest end of the events so far
        for start, stop in sorted((start, stop) for name, start, stop in events if name == label):
            if latest is not None and start < min(latest, stop):
                shared.append((label, start, min(latest, stop)))
            latest = stop if latest is None else max(latest, stop)
    return shared


def with_pauses(events: Iterable[EventSpan], share: float, max_length: int) -> list[EventSpan]:
    """The events with a pause before each onset, so that an onset within another call of its class is visible.

    The length of the pause is `share` of the time since the previous onset, at most `max_length` samples. It is cut out
    of every call of the class. Without pauses, two calls that overlap would be one span of ones in the targets, and the
    model would learn to give them one peak. Only training uses pauses: in evaluation every frame of a call is positive.
    """
    events = list(events)
    parts: list[EventSpan] = []
    for label in {name: None for name, _, _ in events}:
        own = sorted((start, stop) for name, start, stop in events if name == label)
        onsets = sorted({start for start, _ in own})
        lengths = [min(int(share * (onset - previous)), max_length) for previous, onset in pairwise(onsets)]
        pauses = [(onset - length, onset) for onset, length in zip(onsets[1:], lengths, strict=True) if length]
        for start, stop in own:
            for pause_start, pause_stop in pauses:
                if start < pause_start < stop:
                    parts.append((label, start, pause_start))
                    start = min(pause_stop, stop)
            parts.append((label, start, stop))
    return [part for part in parts if part[1] < part[2]]


def merge_spans(spans: Iterable[Span]) -> list[Span]:
    """The union of the spans, sorted. Empty spans are removed; spans that overlap or touch are joined."""
    merged: list[Span] = []
    for start, stop in sorted(spans):
        if start >= stop:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    return merged
