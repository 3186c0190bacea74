"""Recall: the fraction of the calls in the recordings that the run lists, from stretches that a reviewer searched.

All recordings are cut into stretches of about STRETCH_S, which have a random order. The reviewer searches the first
ones for one label and draws the calls that the run does not list. Only random stretches count: a stretch that was
opened for a reason shows more calls, or more missed calls, than the others. A call belongs to the stretch that contains
its middle.

Calls come in groups, so one stretch with many calls is not many independent observations. The interval is Wilson's for
the number of independent calls with the same variance as the stretches show, with the quantile of Student's t for the
number of stretches that have calls. If no call or every call is missed, the stretches show no variance; then each
counts as one observation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit  # type: ignore[import-untyped]

STRETCH_S = 60.0


@dataclass(frozen=True)
class Stretch:
    """A part of a recording, by the number of the recording in the run."""

    source: int
    start_s: float
    end_s: float


class Stretches:
    """All stretches of the recordings with these lengths, in an order that is the same for all reviewers."""

    def __init__(self, lengths_s: NDArray[np.float64]) -> None:
        counts = np.where(lengths_s > 0, np.maximum(np.rint(lengths_s / STRETCH_S), 1), 0).astype(np.int64)
        self._lengths, self._counts, self._ends = lengths_s, counts, np.cumsum(counts)
        self._order = np.random.default_rng(0).permutation(int(counts.sum()))

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, number: int) -> Stretch:
        cell = self._order[number]
        source = int(np.searchsorted(self._ends, cell, side="right"))
        count = int(self._counts[source])
        place = int(cell - self._ends[source]) + count
        length = float(self._lengths[source]) / count
        return Stretch(source, round(place * length, 3), round((place + 1) * length, 3))


@dataclass(frozen=True)
class Recall:
    """The recall of listed events and its 95 % interval, from `stretches` with `found` listed and `missed` calls."""

    stretches: int
    hours: float
    found: int
    missed: int
    recall: float | None  # None without a call
    low: float
    high: float


def recall(seconds: float, found: NDArray[np.int64], missed: NDArray[np.int64]) -> Recall:
    """The recall from the numbers of calls in each stretch (stretches,), which are `seconds` long together."""
    calls, count = found + missed, len(found)
    total = int(calls.sum())
    if not total:
        return Recall(count, seconds / 3600, 0, 0, None, 0.0, 1.0)
    share = float(found.sum()) / total
    groups = independent = total**2 / float((calls**2).sum())  # number of stretches with calls, were all alike
    if count > 1 and 0 < share < 1:
        variance = float(((found - share * calls) ** 2).sum()) / total**2 * count / (count - 1)
        independent = total / max(variance * total / (share * (1 - share)), 1.0)
    low, high = wilson(share * independent, independent, float(stdtrit(max(groups - 1, 1.0), 0.975)))
    return Recall(count, seconds / 3600, int(found.sum()), int(missed.sum()), round(share, 4), low, high)


def wilson(right: float, events: float, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's 95 % interval of the fraction right / events."""
    share, extra = right / events, z * z / events
    middle = (share + extra / 2) / (1 + extra)
    reach = z / (1 + extra) * math.sqrt(share * (1 - share) / events + extra / (4 * events))
    return round(max(middle - reach, 0.0), 4), round(min(middle + reach, 1.0), 4)
