"""How windows lie on a long waveform, and how much each counts where they overlap: once for models and for detection.

All positions are whole steps. Windows start at multiples of a hop; the last is moved back to end where the waveform
ends, or starts at 0 where the waveform is shorter than a window. Where a token stands for several steps, they all start
with a token (`stride` steps), and the last may reach beyond the waveform's end by less than one.
"""

from __future__ import annotations

import math
from functools import cache

from loxo.errors import LoxoError

GROUP = 4  # windows a CPU takes at once; larger sizes were no faster on one core, beyond noise
OVERLAP = 0.25  # of windows in detection: AP 0.004-0.016 below that of 0.5 on simulated hours, two thirds of the work


@cache
def window_weight(steps: int) -> tuple[float, ...]:
    """What each of a window's steps counts for, (steps,): sine squared over the window, sin^2(pi (k + 1/2) / steps).

    Least at the ends, where a window has seen least of what surrounds a step; positive everywhere, so that a step
    seen by one window only has a weight too. Windows that overlap by half add up to the same everywhere.
    """
    return tuple(math.sin(math.pi * (k + 0.5) / steps) ** 2 for k in range(steps))


def check_overlap(overlap: float) -> None:
    """Raises LoxoError for an overlap below 0, or of 1 and more."""
    if not 0 <= overlap < 1:
        raise LoxoError(f"The overlap of windows must be at least 0 and less than 1, not {overlap}.")


def hop_steps(overlap: float, steps: int, stride: int = 1) -> int:
    """From one window's start to the next one's, when they share `overlap` of their length. Raises as check_overlap."""
    check_overlap(overlap)
    return max(round(steps / stride * (1 - overlap)), 1) * stride


def last_start(total: int, steps: int, stride: int = 1) -> int:
    """Where the window begins that holds the last of `total` steps."""
    return max(-(-(total - steps) // stride), 0) * stride


def window_starts(total: int, steps: int, hop: int, stride: int = 1) -> list[int]:
    """The first step of every window over `total` steps, rising."""
    last = last_start(total, steps, stride)
    return [*range(0, last, hop), last] if total else []
