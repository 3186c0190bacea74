"""Stretches of recordings as arrays, and where they overlap: events, detections, regions in which nothing counts.

All recordings are in the same arrays; `recording` is any integer that tells them apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

EPS = 1e-9  # seconds
PAIRS_AT_ONCE = 1 << 22  # bounds the memory of the search


def _ints() -> Ints:
    return np.zeros(0, np.int64)


def _floats() -> Floats:
    return np.zeros(0)


@dataclass(frozen=True)
class Regions:
    """Stretches of recordings in which nothing counts."""

    recording: Ints = field(default_factory=_ints)
    start: Floats = field(default_factory=_floats)  # seconds
    end: Floats = field(default_factory=_floats)

    def __len__(self) -> int:
        return len(self.start)


@dataclass(frozen=True)
class Truth:
    """The true events of one class, and where nothing counts. All arrays (events,)."""

    recording: Ints
    start: Floats
    end: Floats
    counted: Bools  # False: marginal, not asked for and not held against a detector
    clip: Bools  # True: a label for a whole clip
    ignored: Regions = field(default_factory=Regions)

    def __len__(self) -> int:
        return len(self.start)

    @property
    def events(self) -> int:
        """How many are asked for."""
        return int(self.counted.sum())


@dataclass(frozen=True)
class Found:
    """The detections of one class. All arrays (detections,)."""

    recording: Ints
    start: Floats
    end: Floats
    score: Floats

    def __len__(self) -> int:
        return len(self.start)

    def above(self, threshold: float) -> Found:
        """Those that score at least this."""
        keep = self.score >= threshold
        return Found(self.recording[keep], self.start[keep], self.end[keep], self.score[keep])


def overlapping(a: Found | Truth | Regions, b: Found | Truth | Regions) -> Iterator[tuple[Ints, Ints]]:
    """Index pairs of all spans of `a` and `b` that share a stretch of a recording, in blocks of bounded size.

    Two spans overlap when one of them starts within the other: two searches in sorted starts find exactly these.
    """
    times, rank = np.unique(np.concatenate([a.start, a.end, b.start, b.end]), return_inverse=True)
    cuts = np.cumsum([len(a), len(a), len(b)])
    ranks = np.split(rank.astype(np.int64), cuts)
    scale = np.int64(len(times) + 1)
    a_start, a_end = (a.recording * scale + part for part in ranks[:2])
    b_start, b_end = (b.recording * scale + part for part in ranks[2:])
    yield from _starting_within(a_start, a_end, b_start, "left")
    for j, i in _starting_within(b_start, b_end, a_start, "right"):
        yield i, j


def _starting_within(start: Ints, end: Ints, others: Ints, side: str) -> Iterator[tuple[Ints, Ints]]:
    """(span, other) for the others that start in [start, end) ("left") or (start, end) ("right")."""
    order = np.argsort(others, kind="stable")
    ordered = others[order]
    first = np.searchsorted(ordered, start, side=side)  # type: ignore[call-overload]
    count = np.maximum(np.searchsorted(ordered, end, side="left") - first, 0)
    done = np.concatenate([[0], np.cumsum(count)])
    at = 0
    while at < len(start) or at == 0:
        stop = max(int(np.searchsorted(done, done[at] + PAIRS_AT_ONCE, side="right")) - 1, at + 1)
        size = count[at:stop]
        span = np.repeat(np.arange(at, at + len(size)), size)
        within = np.arange(len(span)) - np.repeat(done[at : at + len(size)] - done[at], size)
        yield span, order[first[span] + within]
        at = stop


def merged(regions: Regions) -> Regions:
    """The same stretches, those that touch or overlap made one; by recording and start."""
    if not len(regions):
        return regions
    order = np.lexsort((regions.start, regions.recording))
    recording, start, end = regions.recording[order], regions.start[order], regions.end[order]
    new_recording = np.diff(recording, prepend=recording[0] - 1) != 0
    # The largest end so far within a recording: ranks make a running maximum restart where the recording changes.
    times, rank = np.unique(end, return_inverse=True)
    block = np.cumsum(new_recording)
    reach = times[np.maximum.accumulate(block * len(times) + rank) - block * len(times)]
    first = new_recording | (start > np.concatenate([[0.0], reach[:-1]]))
    last = np.append(first[1:], True)
    return Regions(recording[first], start[first], reach[last])


def seconds_within(found: Found | Truth | Regions, regions: Regions) -> Floats:
    """How many seconds of each span lie in the regions, overlapping regions counted once."""
    regions = merged(regions)
    total = np.zeros(len(found))
    for i, j in overlapping(found, regions):
        shared = np.minimum(found.end[i], regions.end[j]) - np.maximum(found.start[i], regions.start[j])
        total += np.bincount(i, weights=np.maximum(shared, 0.0), minlength=len(found))
    return total


def where_nothing_counts(truth: Truth) -> Regions:
    """The ignored regions, the marginal events and the clip-level labels, together."""
    out = ~truth.counted | truth.clip
    return Regions(
        np.concatenate([truth.ignored.recording, truth.recording[out]]),
        np.concatenate([truth.ignored.start, truth.start[out]]),
        np.concatenate([truth.ignored.end, truth.end[out]]),
    )
