"""Metrics of segments of equal length (1 s, 10 s, hours) and of the frames of stored frame scores.

Segments are counted from the start of each recording. A segment is positive if a counted event overlaps it. It is
detected if a detection overlaps it, and its score is the highest score of these detections. A segment is left out if it
overlaps a marginal event, an ignored region or a clip-level label, but no counted event. Clip-level labels do not make
a segment positive, because they do not state the position of the event. Only segments that overlap a span are stored
in memory. No metric uses true negatives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from loxo.detection.logit import logit
from loxo.evaluation.metrics import average_precision, curve, ratios
from loxo.evaluation.spans import Bools, Detections, Floats, Ints, Regions, Truth, excluded_regions, merged

LENGTHS_S = (1.0, 10.0)
HOUR_S = 3600.0
SEGMENTS_AT_ONCE = 1 << 20  # limits the memory
LOGIT_BINS = 1 << 16  # resolution of the logit of a frame score
MAX_LOGIT = 20.0  # logits of frame scores are limited to +-20


def segment_scores(truth: Truth, detections: Detections, length_s: float) -> dict[str, Any]:
    """Metrics of segments of length_s: hits, false, events (positive segments), precision, recall, f1 and ap."""
    used = truth.counted & ~truth.clip
    events = Regions(truth.recording[used], truth.start[used], truth.end[used])
    excluded = merged(excluded_regions(truth))
    number, results = 0, []
    for selected in _recording_blocks([events, excluded, detections], length_s):
        positive, left_out = (_unique(_keys(_selected(spans, selected), length_s)[0]) for spans in (events, excluded))
        own = _selected(detections, selected)
        keys, owner = _keys(own, length_s)
        order = np.argsort(keys, kind="stable")
        keys, score = keys[order], detections.score[selected[detections.recording]][owner[order]]
        first = np.flatnonzero(np.diff(keys, prepend=-1))
        detected, score = keys[first], np.maximum.reduceat(score, first) if len(first) else score
        correct = _contained_in(detected, positive)
        keep = correct | ~_contained_in(detected, left_out)
        results.append((score[keep], correct[keep]))
        number += len(positive)
    score, correct = (np.concatenate([part[k] for part in results]) for k in range(2))
    hits = int(correct.sum())
    points = curve(score, correct, number)
    return {**ratios(hits, len(correct) - hits, number), "ap": average_precision(points)}


def _recording_blocks(lists: Sequence[Regions | Detections], length_s: float) -> Iterator[Bools]:
    """Groups of recordings, as masks, with spans in about SEGMENTS_AT_ONCE segments per group."""
    recordings = max((int(spans.recording.max()) for spans in lists if len(spans)), default=-1) + 1
    occupied = np.zeros(recordings)
    for spans in lists:
        occupied += np.bincount(spans.recording, (spans.end - spans.start) / length_s + 1, minlength=recordings)
    group = (np.cumsum(occupied) // SEGMENTS_AT_ONCE).astype(np.int64)
    for k in np.unique(group):
        yield group == k
    if not recordings:
        yield np.zeros(0, bool)


def _selected(spans: Regions | Detections, selected: Bools) -> Regions:
    keep = selected[spans.recording]
    return Regions(spans.recording[keep], spans.start[keep], spans.end[keep])


def _unique(keys: Ints) -> Ints:
    """The same as np.unique, which is slow with keys like these, because it uses a hash table."""
    keys = np.sort(keys)
    return keys[np.diff(keys, prepend=-1) != 0]


def _contained_in(keys: Ints, ordered: Ints) -> Bools:
    if not len(ordered):
        return np.zeros(len(keys), bool)
    at = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
    return ordered[at] == keys


def _keys(spans: Regions, length_s: float) -> tuple[Ints, Ints]:
    """For each segment that a span overlaps: an integer key, and the index of the span. Tolerance at borders: 1 ns."""
    first = np.floor(spans.start / length_s + 1e-9).astype(np.int64)
    count = np.maximum(np.ceil(spans.end / length_s - 1e-9).astype(np.int64) - first, 1)
    owner = np.repeat(np.arange(len(spans)), count)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    # 40 bits for the segment and 23 bits for the recording are sufficient for any survey.
    return (spans.recording[owner] << 40) + first[owner] + within, owner


def presence(truth: Truth, detections: Detections, site: Ints, start_s: Floats) -> dict[str, Any]:
    """segment_scores of clock hours: is the class present in this hour at this site?

    site: (recordings,), an integer that identifies the site of each recording; start_s: (recordings,), the start time
    of the recording in seconds of the clock. A recording with an unknown start has a separate site and a start of 0.
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
    seconds = start_s[detections.recording]
    return segment_scores(
        by_site,
        Detections(site[detections.recording], detections.start + seconds, detections.end + seconds, detections.score),
        HOUR_S,
    )


# -- frames


class Frames:
    """Average precision over the frames of many recordings, in constant memory.

    The logits of the scores are rounded to 0.0006 and limited to +-20. A frame is positive if events cover at least
    half of it. The caller excludes all other frames that overlap an excluded region.
    """

    def __init__(self) -> None:
        self._counts = np.zeros((2, LOGIT_BINS), np.int64)

    def add(self, scores: Floats, positive: Bools, keep: Bools | None = None) -> None:
        """Adds frames, all arrays (frames,). scores: in 0-1; positive: a mask; keep: a mask of the frames to count."""
        scores = np.asarray(scores, float)
        logits = np.clip(logit(scores, eps=1e-9), -MAX_LOGIT, MAX_LOGIT)  # logit(1e-9) is -20.7
        level = np.rint((logits + MAX_LOGIT) / (2 * MAX_LOGIT) * (LOGIT_BINS - 1)).astype(np.int64)
        for k, rows in enumerate((~positive, positive)):
            chosen = level[rows] if keep is None else level[rows & keep]
            self._counts[k] += np.bincount(chosen, minlength=LOGIT_BINS)

    def result(self) -> dict[str, Any]:
        """A dict with ap, frames and positive (the number of positive frames). ap is None without positive frames."""
        negative, positive = self._counts[:, ::-1]
        total = int(positive.sum())
        with np.errstate(invalid="ignore"):
            precision = np.cumsum(positive) / np.cumsum(positive + negative)
        area = float((positive[positive > 0] * precision[positive > 0]).sum())
        return {"ap": area / total if total else None, "frames": int(self._counts.sum()), "positive": total}


def positive_frames(spans: Iterable[tuple[float, float]], count: int, hop_s: float) -> Bools:
    """The frames that the spans cover by at least half, as a mask (count,)."""
    return frame_truth(spans, count, hop_s) >= 0.5 - 1e-9


def frame_truth(spans: Iterable[tuple[float, float]], count: int, hop_s: float) -> Floats:
    """Fraction of each frame that the union of the spans covers, (count,). Frame k is [k, k + 1) x hop_s."""
    given = list(spans)
    start, end = (np.array([span[k] for span in given], float) / hop_s for k in range(2))
    regions = merged(Regions(np.zeros(len(given), np.int64), start, end))
    if not len(regions):
        return np.zeros(count)
    # The covered duration up to a time is a piecewise linear function with knots at the borders of the spans.
    borders = np.stack([regions.start, regions.end], axis=1).ravel()
    upto = np.cumsum(regions.end - regions.start)
    covered = np.stack([upto - (regions.end - regions.start), upto], axis=1).ravel()
    return np.diff(np.interp(np.arange(count + 1), borders, covered))
