"""Spans of time in recordings, as arrays: events, detections and excluded regions; and the overlap between spans.

The spans of all recordings are in the same arrays. `recording` is any integer that identifies the recording.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

Time = TypeVar("Time", int, float)  # samples or seconds

EPS = 1e-9  # seconds
PAIRS_AT_ONCE = 1 << 22  # bounds the memory of the search


def _ints() -> Ints:
    return np.zeros(0, np.int64)


def _floats() -> Floats:
    return np.zeros(0)


@dataclass(frozen=True)
class Regions:
    """Spans of recordings, such as regions that are excluded from the evaluation. All arrays (regions,)."""

    recording: Ints = field(default_factory=_ints)
    start: Floats = field(default_factory=_floats)  # seconds
    end: Floats = field(default_factory=_floats)

    def __len__(self) -> int:
        return len(self.start)


@dataclass(frozen=True)
class Truth:
    """The true events of one class, and the ignored regions. All arrays (events,)."""

    recording: Ints
    start: Floats  # seconds
    end: Floats
    counted: Bools  # False: a marginal event, which need not be detected; its detections are ignored
    clip: Bools  # True: a clip-level label, which covers a whole recording
    ignored: Regions = field(default_factory=Regions)

    def __len__(self) -> int:
        return len(self.start)

    @property
    def events(self) -> int:
        """Number of counted events."""
        return int(self.counted.sum())


@dataclass(frozen=True)
class Detections:
    """The detections of one class. All arrays (detections,)."""

    recording: Ints
    start: Floats  # seconds
    end: Floats
    score: Floats

    def __len__(self) -> int:
        return len(self.start)

    def above(self, threshold: float) -> Detections:
        """The detections with a score of at least `threshold`."""
        keep = self.score >= threshold
        return Detections(self.recording[keep], self.start[keep], self.end[keep], self.score[keep])


def gaps(spans: Iterable[tuple[Time, Time]], end: Time) -> list[tuple[Time, Time]]:
    """The spans of time from 0 to `end` that lie outside all `spans`."""
    found: list[tuple[Time, Time]] = []
    covered = type(end)(0)
    for start, stop in sorted(spans):
        if covered < start:
            found.append((covered, min(start, end)))
        covered = max(covered, stop)
    found.append((covered, end))
    return [(start, stop) for start, stop in found if start < stop]


def overlapping_pairs(a: Detections | Truth | Regions, b: Detections | Truth | Regions) -> Iterator[tuple[Ints, Ints]]:
    """Index pairs of all spans of `a` and `b` that overlap in the same recording, in blocks of bounded size.

    Two spans overlap if one of them starts within the other. Two searches in sorted starts find exactly these pairs.
    """
    times, rank = np.unique(np.concatenate([a.start, a.end, b.start, b.end]), return_inverse=True)
    cuts = np.cumsum([len(a), len(a), len(b)])
    ranks = np.split(rank.astype(np.int64), cuts)
    scale = np.int64(len(times) + 1)
    a_start, a_end = (a.recording * scale + span_rank for span_rank in ranks[:2])
    b_start, b_end = (b.recording * scale + span_rank for span_rank in ranks[2:])
    yield from _starting_within(a_start, a_end, b_start, "left")
    for j, i in _starting_within(b_start, b_end, a_start, "right"):
        yield i, j


def _starting_within(start: Ints, end: Ints, others: Ints, side: str) -> Iterator[tuple[Ints, Ints]]:
    """Index pairs (span, other) of the others that start in [start, end) ("left") or in (start, end) ("right")."""
    order = np.argsort(others, kind="stable")
    ordered = others[order]
    first = np.searchsorted(ordered, start, side=side)  # type: ignore[call-overload]
    count = np.maximum(np.searchsorted(ordered, end, side="left") - first, 0)
    cumulative = np.concatenate([[0], np.cumsum(count)])
    at = 0
    while at < len(start) or at == 0:
        stop = max(int(np.searchsorted(cumulative, cumulative[at] + PAIRS_AT_ONCE, side="right")) - 1, at + 1)
        size = count[at:stop]
        span = np.repeat(np.arange(at, at + len(size)), size)
        within = np.arange(len(span)) - np.repeat(cumulative[at : at + len(size)] - cumulative[at], size)
        yield span, order[first[span] + within]
        at = stop


def merged(regions: Regions) -> Regions:
    """The union of the regions, without overlaps, sorted by recording and start. Adjacent regions are joined."""
    if not len(regions):
        return regions
    order = np.lexsort((regions.start, regions.recording))
    recording, start, end = regions.recording[order], regions.start[order], regions.end[order]
    new_recording = np.diff(recording, prepend=recording[0] - 1) != 0
    # The largest end so far in each recording. With ranks, one running maximum restarts where the recording changes.
    times, rank = np.unique(end, return_inverse=True)
    block = np.cumsum(new_recording)
    max_end = times[np.maximum.accumulate(block * len(times) + rank) - block * len(times)]
    first = new_recording | (start > np.concatenate([[0.0], max_end[:-1]]))
    last = np.append(first[1:], True)
    return Regions(recording[first], start[first], max_end[last])


def seconds_inside(spans: Detections | Truth | Regions, regions: Regions) -> Floats:
    """Seconds of each span that lie in the regions. Overlapping regions count once."""
    regions = merged(regions)
    total = np.zeros(len(spans))
    for i, j in overlapping_pairs(spans, regions):
        shared = np.minimum(spans.end[i], regions.end[j]) - np.maximum(spans.start[i], regions.start[j])
        total += np.bincount(i, weights=np.maximum(shared, 0.0), minlength=len(spans))
    return total


def excluded_regions(truth: Truth) -> Regions:
    """The regions in which detections may be ignored: ignored regions, marginal events and clip-level labels."""
    excluded = ~truth.counted | truth.clip
    return Regions(
        np.concatenate([truth.ignored.recording, truth.recording[excluded]]),
        np.concatenate([truth.ignored.start, truth.start[excluded]]),
        np.concatenate([truth.ignored.end, truth.end[excluded]]),
    )
