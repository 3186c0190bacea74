"""Positions of overlapping windows on a long waveform, and the taper that weights each window where windows overlap.

Models and detection both use this module. All positions are whole steps. Windows start at multiples of a hop. The last
window is moved back so that it ends with the waveform; if the waveform is shorter than a window, it starts at 0. Where
one token covers several steps, every window starts with a token (a multiple of `stride` steps). The last window may
then extend beyond the waveform's end by less than one token.
"""

from __future__ import annotations

import math
from functools import cache

from loxo.errors import LoxoError

GROUP = 4  # windows in one batch on a CPU; larger batches were not measurably faster on one core
# Overlap of windows in detection, as a fraction of a window. On simulated hours the average precision of the bundled
# weights is within 0.004 of that with 0.25, for 0.86 of the computation (docs/experiments.md, E38).
WINDOW_OVERLAP = 0.125


@cache
def window_weight(steps: int) -> tuple[float, ...]:
    """The taper of a window: one weight per step, (steps,), sin^2(pi (k + 1/2) / steps).

    It is smallest at the ends, where a window contains the least context of a step. It is positive everywhere, so that
    a step in a single window has a weight too. Windows that overlap by half have a constant sum of weights.
    """
    return tuple(math.sin(math.pi * (k + 0.5) / steps) ** 2 for k in range(steps))


def check_window_overlap(window_overlap: float) -> None:
    """Raises LoxoError for an overlap below 0, or of 1 and more."""
    if not 0 <= window_overlap < 1:
        raise LoxoError(f"The overlap of windows must be at least 0 and less than 1, not {window_overlap}.")


def hop_steps(window_overlap: float, steps: int, stride: int = 1) -> int:
    """Steps from one window's start to the next one's, a multiple of `stride`. Raises as check_window_overlap."""
    check_window_overlap(window_overlap)
    return max(round(steps / stride * (1 - window_overlap)), 1) * stride


def last_start(total: int, steps: int, stride: int = 1) -> int:
    """First step of the window that contains the last of `total` steps."""
    return max(-(-(total - steps) // stride), 0) * stride


def window_starts(total: int, steps: int, hop: int, stride: int = 1) -> list[int]:
    """The first step of every window over `total` steps, in increasing order."""
    last = last_start(total, steps, stride)
    return [*range(0, last, hop), last] if total else []
