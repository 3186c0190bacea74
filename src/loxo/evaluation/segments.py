"""Scores of stretches of equal length: seconds, ten seconds, hours, and the frames of a detector's kept scores.

A segment is positive when a true event overlaps it, and called when a detection does; its score is the highest among
these. Segments that a marginal event, an ignored region or a clip-level label touches, and no counted event, are left
out; so are clip-level labels themselves, which do not say where. Segments are cut from the start of each recording.
Only segments that anything touches are held in memory; true negatives are in none of the figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from loxo.detection.logit import logit
from loxo.evaluation.metrics import average_precision, curve, ratios
from loxo.evaluation.spans import Bools, Floats, Found, Ints, Regions, Truth, merged, where_nothing_counts

LENGTHS_S = (1.0, 10.0)
HOUR_S = 3600.0
SEGMENTS_AT_ONCE = 1 << 20  # bounds the memory
BINS = 1 << 16  # of the logit of a frame score
LOGIT = 20.0  # beyond which frame scores are all the same


def segment_scores(truth: Truth, found: Found, length_s: float) -> dict[str, Any]:
    """hits, false, events, precision, recall, f1 and ap over segments of length_s; "events" are positive segments."""
    asked = truth.counted & ~truth.clip
    events = Regions(truth.recording[asked], truth.start[asked], truth.end[asked])
    aside = merged(where_nothing_counts(truth))
    number, parts = 0, []
    for few in _blocks([events, aside, found], length_s):
        positive, out = (_distinct(_keys(_only(spans, few), length_s)[0]) for spans in (events, aside))
        own = _only(found, few)
        keys, owner = _keys(own, length_s)
        order = np.argsort(keys, kind="stable")
        keys, score = keys[order], found.score[few[found.recording]][owner[order]]
        first = np.flatnonzero(np.diff(keys, prepend=-1))
        called, score = keys[first], np.maximum.reduceat(score, first) if len(first) else score
        right = _among(called, positive)
        keep = right | ~_among(called, out)
        parts.append((score[keep], right[keep]))
        number += len(positive)
    score, right = (np.concatenate([part[k] for part in parts]) for k in range(2))
    hits = int(right.sum())
    points = curve(score, right, number)
    return {**ratios(hits, len(right) - hits, number), "ap": average_precision(points)}


def _blocks(lists: Sequence[Regions | Found], length_s: float) -> Iterator[Bools]:
    """The recordings in groups with about SEGMENTS_AT_ONCE touched segments each, as masks over their numbers."""
    most = max((int(spans.recording.max()) for spans in lists if len(spans)), default=-1) + 1
    touched = np.zeros(most)
    for spans in lists:
        touched += np.bincount(spans.recording, (spans.end - spans.start) / length_s + 1, minlength=most)
    group = (np.cumsum(touched) // SEGMENTS_AT_ONCE).astype(np.int64)
    for k in np.unique(group):
        yield group == k
    if not most:
        yield np.zeros(0, bool)


def _only(spans: Regions | Found, few: Bools) -> Regions:
    keep = few[spans.recording]
    return Regions(spans.recording[keep], spans.start[keep], spans.end[keep])


def _distinct(keys: Ints) -> Ints:
    """As np.unique, whose hashing is slow on keys like these."""
    keys = np.sort(keys)
    return keys[np.diff(keys, prepend=-1) != 0]


def _among(keys: Ints, ordered: Ints) -> Bools:
    if not len(ordered):
        return np.zeros(len(keys), bool)
    at = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
    return ordered[at] == keys


def _keys(spans: Regions, length_s: float) -> tuple[Ints, Ints]:
    """One integer for each segment that a span touches, and the span's index. Borders within 1 ns do not touch."""
    first = np.floor(spans.start / length_s + 1e-9).astype(np.int64)
    count = np.maximum(np.ceil(spans.end / length_s - 1e-9).astype(np.int64) - first, 1)
    owner = np.repeat(np.arange(len(spans)), count)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    # 2^40 seconds are enough for every clock, 2^23 recordings for every survey
    return (spans.recording[owner] << 40) + first[owner] + within, owner


def presence(truth: Truth, found: Found, site: Ints, start_s: Floats) -> dict[str, Any]:
    """segment_scores of hours of the clock: is the class heard in this hour at this site?

    site: (recordings,) an integer for each recording, the same for recordings of one site; start_s: (recordings,)
    when the recording begins, in seconds of the clock. A recording whose start is not known has a site of its own and
    0.
    """
    by_site = Truth(
        site[truth.recording],
        truth.start + start_s[truth.recording],
        truth.end + start_s[truth.recording],
        truth.counted,
        truth.clip,
        Regions(
            site[truth.ignored.recording],
            truth.ignored.start + start_s[truth.ignored.recording],
            truth.ignored.end + start_s[truth.ignored.recording],
        ),
    )
    seconds = start_s[found.recording]
    return segment_scores(
        by_site, Found(site[found.recording], found.start + seconds, found.end + seconds, found.score), HOUR_S
    )


# -- frames


class Frames:
    """Average precision over the frames of many recordings, in constant memory.

    Scores are held apart to 0.0006 of their logit, and all the same beyond 20. A frame is positive when events cover
    half of it or more; frames that anything ignored touches are left out, unless they are positive.
    """

    def __init__(self) -> None:
        self._counts = np.zeros((2, BINS), np.int64)

    def add(self, scores: Floats, positive: Bools, keep: Bools | None = None) -> None:
        """scores in 0-1 and whether each frame is positive, both (frames,); `keep`: the frames that count."""
        scores = np.asarray(scores, float)
        logits = np.clip(logit(scores, eps=1e-9), -LOGIT, LOGIT)  # logit(1e-9) is -20.7
        level = np.rint((logits + LOGIT) / (2 * LOGIT) * (BINS - 1)).astype(np.int64)
        for k, rows in enumerate((~positive, positive)):
            chosen = level[rows] if keep is None else level[rows & keep]
            self._counts[k] += np.bincount(chosen, minlength=BINS)

    def result(self) -> dict[str, Any]:
        """{"ap", "frames", "positive"}; ap is None without a positive frame."""
        wrong, right = self._counts[:, ::-1]
        total = int(right.sum())
        with np.errstate(invalid="ignore"):
            precision = np.cumsum(right) / np.cumsum(right + wrong)
        area = float((right[right > 0] * precision[right > 0]).sum())
        return {"ap": area / total if total else None, "frames": int(self._counts.sum()), "positive": total}


def positive_frames(spans: Iterable[tuple[float, float]], steps: int, hop_s: float) -> Bools:
    """The frames of which the spans cover half or more, (steps,)."""
    return frame_truth(spans, steps, hop_s) >= 0.5 - 1e-9


def frame_truth(spans: Iterable[tuple[float, float]], steps: int, hop_s: float) -> Floats:
    """Share of each frame that the spans cover, (steps,); overlapping spans count once. Frame k: [k, k + 1) x hop_s."""
    given = list(spans)
    start, end = (np.array([span[k] for span in given], float) / hop_s for k in range(2))
    regions = merged(Regions(np.zeros(len(given), np.int64), start, end))
    if not len(regions):
        return np.zeros(steps)
    # What is covered up to a moment rises along straight lines between the borders of the spans.
    borders = np.stack([regions.start, regions.end], axis=1).ravel()
    upto = np.cumsum(regions.end - regions.start)
    covered = np.stack([upto - (regions.end - regions.start), upto], axis=1).ravel()
    return np.diff(np.interp(np.arange(steps + 1), borders, covered))
