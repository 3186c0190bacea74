"""Events to frame targets, the same for every data source."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

Span = tuple[str, int, int]  # label, first sample, sample past the last


def frame_targets(events: Iterable[Span], classes: tuple[str, ...], steps: int, step_samples: int) -> np.ndarray:
    """float32 (classes, steps) in 0-1: how much of each step events of the class cover, doubled and capped at 1.

    So a step is a full positive as soon as half of it is covered: a shot shorter than one step that falls on a border
    counts in both, and the borders of long events stay soft. Exact to the sample; overlapping events count once.
    Events of other labels are ignored, parts outside the window cut off.
    """
    covered = np.zeros((len(classes), steps * step_samples), dtype=bool)
    for label, first, past in events:
        if label in classes:
            covered[classes.index(label), max(0, first) : max(0, past)] = True
    share = covered.reshape(len(classes), steps, step_samples).mean(2, dtype=np.float32)
    return np.minimum(1.0, 2.0 * share)
