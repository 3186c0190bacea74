"""Events to frame targets: one function for every source of data, in training and in evaluation.

Training alone adds pauses before onsets within a call (`training_targets`), so that calls that overlap can be told
apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from loxo.engine.config import ModelConfig
from loxo.errors import LoxoError
from loxo.training.config import EDGES

Span = tuple[str, int, int]  # label, first sample, sample past the last
LONGEST_PAUSE_S = 0.3

PAUSE = -2.0  # the target of training where a pause was cut into a call: 0, and the loss may weigh it more
FINE_S = 0.1  # steps of up to this length cut no event that a field recording shows to less than one of them
IGNORED = -1.0  # the target where an annotator was not sure: no loss and no metric counts these frames


def fitting_edges(config: ModelConfig) -> str:
    """What training takes unless it is told: evaluation's for fine steps, and doubled for those that may be longer than
    a shot, which would have no target at all where it lies on a border."""
    return "hard" if config.step_samples <= FINE_S * config.sample_rate else "doubled"


def frame_targets(
    events: Iterable[Span], classes: tuple[str, ...], steps: int, step_samples: int, edges: str = "hard"
) -> np.ndarray:
    """bin_targets at the model's own steps, of `step_samples` each."""
    return bin_targets(events, classes, steps, steps * step_samples, edges)


def bin_targets(
    events: Iterable[Span], classes: tuple[str, ...], bins: int, window_samples: int, edges: str = "hard"
) -> np.ndarray:
    """float32 (classes, bins) in 0-1 for a window of `window_samples`, cut into any number of equal bins.

    Bin k covers [k, k + 1) x window_samples / bins, which need not be whole samples. `edges` says what a bin is worth:

    - "hard": 1 where events of the class cover at least half of it, else 0: what evaluation calls a positive frame;
    - "soft": the share of it that they cover;
    - "doubled": twice that share, at most 1. So an event shorter than a bin that falls on a border counts in both.

    Exact to the sample; overlapping events count once. Events of other labels are ignored, parts outside the window
    cut off. Raises LoxoError for other edges.
    """
    if edges not in EDGES:
        raise LoxoError(f"edges is {edges!r}; it can be {', '.join(EDGES)}.")
    events = list(events)
    covered = np.zeros((len(classes), bins), np.int64)  # in units of 1 / bins samples; a whole bin is window_samples
    for k, label in enumerate(classes):
        for first, past in merged((start, end) for name, start, end in events if name == label):
            first, past = max(first, 0) * bins, min(past, window_samples) * bins
            if first >= past:
                continue
            left, right = first // window_samples, -(-past // window_samples)
            borders = np.arange(left, right + 1, dtype=np.int64) * window_samples
            covered[k, left:right] += np.diff(borders.clip(first, past))
    if edges == "hard":
        return (2 * covered >= window_samples).astype(np.float32)
    factor = 2 if edges == "doubled" else 1
    return np.minimum(1.0, factor * covered / window_samples).astype(np.float32)


def training_targets(
    events: Iterable[Span],
    classes: tuple[str, ...],
    bins: int,
    window_samples: int,
    edges: str = "hard",
    *,
    pause: float,
    sample_rate: int,
) -> np.ndarray:
    """bin_targets of the events `with_pauses`, PAUSE where these take half of a bin or more away."""
    events = list(events)
    targets = bin_targets(
        with_pauses(events, pause, int(LONGEST_PAUSE_S * sample_rate)), classes, bins, window_samples, edges
    )
    targets[bin_targets(events, classes, bins, window_samples, edges) - targets >= 0.5] = PAUSE
    return targets


def with_overlaps(targets: NDArray[np.float32], events: Iterable[Span], config: ModelConfig) -> NDArray[np.float32]:
    """The targets (classes, bins) of a window's events for every row that the model gives: for one that tells where
    two events of a class sound at once, 1 in the bins that they share by half. What is not sure of a class is not sure
    of its overlaps."""
    if config.rows == config.classes:
        return targets
    two = bin_targets(overlaps(events), config.classes, targets.shape[1], config.window_samples)
    return np.concatenate((targets, np.where(targets == IGNORED, np.float32(IGNORED), two)))


def overlaps(events: Iterable[Span]) -> list[Span]:
    """The stretches in which two or more events of one label sound."""
    events = list(events)
    both = []
    for label in {name: None for name, _, _ in events}:
        last = None  # the end of the event that lasts longest of those before
        for first, past in sorted((first, past) for name, first, past in events if name == label):
            if last is not None and first < min(last, past):
                both.append((label, first, min(last, past)))
            last = past if last is None else max(last, past)
    return both


def with_pauses(events: Iterable[Span], share: float, longest: int) -> list[Span]:
    """The events with a pause before each onset, so that it shows even where another call of the class lasts.

    The pause is `share` of the time since the onset before it, at most `longest` samples, and is cut out of every call
    of the class. Without it two calls that overlap would be one stretch of ones, and a network that has learnt so gives
    them one peak. For training only: in evaluation a frame within a call is a frame within a call.
    """
    events = list(events)
    parts: list[Span] = []
    for label in {name: None for name, _, _ in events}:
        own = sorted((first, past) for name, first, past in events if name == label)
        onsets = sorted({first for first, _ in own})
        lengths = [min(int(share * (onset - before)), longest) for before, onset in pairwise(onsets)]
        pauses = [(onset - length, onset) for onset, length in zip(onsets[1:], lengths, strict=True) if length]
        for first, past in own:
            for start, end in pauses:
                if first < start < past:
                    parts.append((label, first, start))
                    first = min(end, past)
            parts.append((label, first, past))
    return [part for part in parts if part[1] < part[2]]


def merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same stretches of time, sorted, none empty, none touching another."""
    whole: list[tuple[int, int]] = []
    for first, past in sorted(spans):
        if first >= past:
            continue
        if whole and first <= whole[-1][1]:
            whole[-1] = (whole[-1][0], max(whole[-1][1], past))
        else:
            whole.append((first, past))
    return whole
