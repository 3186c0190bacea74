"""One-to-one matching of detections with true events, within a recording and a class.

**Eligible pairs** are defined by one of these criteria, all with a tolerance of 1 ns:

| criterion | a detection may be matched with an event if                                                          |
|-----------|------------------------------------------------------------------------------------------------------|
| `iou30`   | their intersection over union (IoU) is at least 0.3                                                  |
| `iou50`   | their IoU is at least 0.5                                                                            |
| `hit10`   | the detection covers at least 10 % of the event (the hit of Keen and others 2017, but one-to-one)    |

For a clip-level label ("somewhere in this clip") any overlap is sufficient.

**Matching** processes the detections in the order of falling scores (ties: by recording, start, end). A detection is a
hit if it can be matched while all hits before it stay matched, if necessary with other events (an augmenting path).
This has three consequences. For *any* threshold the number of hits is the maximum of all one-to-one matchings. A hit
remains a hit at lower thresholds. The result does not depend on the order of rows. Several pairings of the hits may be
possible. This matters only for the errors of onset and offset, and `pairs` uses the one with the largest total overlap.

**Ignored detections.** Marginal events (`counted` is False) need not be detected. A detection that is not a hit is
ignored if it meets the criterion with a marginal event. It is also ignored if at least half of it lies in marginal
events, ignored regions or clip-level labels. (A clip with such a label may contain further events.)

All recordings are processed at once, as arrays. Two sorted searches find the pairs that overlap. Unambiguous pairs are
matched without a loop. The time of the loop over the other pairs is almost proportional to their number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from loxo.errors import LoxoError
from loxo.evaluation.spans import (
    EPS,
    Bools,
    Detections,
    Floats,
    Ints,
    Truth,
    excluded_regions,
    overlapping_pairs,
    seconds_inside,
)

if TYPE_CHECKING:
    import pandas as pd

HIT, FALSE_POSITIVE, IGNORED = 1, 0, -1  # verdicts
IGNORED_FRACTION = 0.5  # min fraction of a detection in excluded regions for the verdict IGNORED


@dataclass(frozen=True)
class Criterion:
    """A detection may be matched with an event if `measure` ("iou" or "cover") is at least `min_value`."""

    name: str
    measure: str
    min_value: float

    def __str__(self) -> str:
        if self.measure == "iou":
            return f"one-to-one at intersection over union >= {self.min_value:g}"
        return f"one-to-one, the detection covering >= {100 * self.min_value:g} % of the event"


def iou_criterion(min_iou: float) -> Criterion:
    """The criterion of a min intersection over union, with a name like iou30. Raises LoxoError outside (0, 1]."""
    if not 0 < min_iou <= 1:
        raise LoxoError(f"The intersection over union must be more than 0 and at most 1, not {min_iou:g}.")
    return Criterion(f"iou{100 * min_iou:g}", "iou", min_iou)


IOU30, IOU50 = iou_criterion(0.3), iou_criterion(0.5)
HIT10 = Criterion("hit10", "cover", 0.1)


@dataclass(frozen=True)
class Matching:
    """The result of a matching for each detection and each event."""

    criterion: Criterion
    score: Floats  # (detections,), copied from the detections
    recording: Ints  # (detections,), copied from the detections
    verdict: NDArray[np.int8]  # (detections,): HIT, FALSE_POSITIVE or IGNORED
    loose: Bools  # (detections,): a false positive that overlaps an event of the class (a fragment, inexact borders)
    found_at: Floats  # (events,): the highest threshold at which the event is found; -inf if it is missed
    counted: Bools  # (events,), copied from the events
    event_recording: Ints  # (events,), copied from the events
    matched_by: Ints  # (events,): index of the matched detection, -1 for none
    eligible_pairs: tuple[Ints, Ints, Floats]  # with counted events: detection, event, overlap in seconds

    @property
    def events(self) -> int:
        """Number of counted events."""
        return int(self.counted.sum())

    @property
    def evaluated(self) -> Bools:
        """(detections,): True for hits and false positives, False for ignored detections."""
        return self.verdict != IGNORED


def match(truth: Truth, detections: Detections, criterion: Criterion = IOU30) -> Matching:
    """Matches the detections of one class with its events, in all recordings at once. See the docstring of the module.

    Scores must be finite. If a table has no scores, use the same score for all detections.
    """
    return match_all(truth, detections, [criterion])[0]


def match_all(truth: Truth, detections: Detections, criteria: Sequence[Criterion]) -> list[Matching]:
    """`match` with several criteria. The search for overlaps is done once."""
    if not np.isfinite(detections.score).all():
        raise LoxoError(
            "A detection without a score cannot be ranked: if there are no scores, give all detections the same score."
        )
    overlaps = np.zeros(len(detections), bool)
    marginal = np.zeros((len(criteria), len(detections)), bool)  # meets the criterion with a marginal event
    blocks: list[list[tuple[Ints, Ints, Floats]]] = [[] for _ in criteria]
    for d, e in overlapping_pairs(detections, truth):
        shared = np.minimum(detections.end[d], truth.end[e]) - np.maximum(detections.start[d], truth.start[e])
        overlaps[d[shared > 0]] = True
        for k, criterion in enumerate(criteria):
            ok = (shared > 0) & (_eligible(criterion, shared, detections, d, truth, e) | truth.clip[e])
            marginal[k, d[ok & ~truth.counted[e]]] = True
            ok &= truth.counted[e]
            blocks[k].append((d[ok], e[ok], shared[ok]))
    excluded = _mostly_excluded(truth, detections)
    matchings = []
    for k, criterion in enumerate(criteria):
        detection, event, shared = (np.concatenate([block[column] for block in blocks[k]]) for column in range(3))
        hit, found_at, matched_by = _augment(truth, detections, detection, event, shared)
        verdict = np.where(hit, HIT, FALSE_POSITIVE).astype(np.int8)
        verdict[~hit & (marginal[k] | excluded)] = IGNORED
        matchings.append(
            Matching(
                criterion=criterion,
                score=detections.score,
                recording=detections.recording,
                verdict=verdict,
                loose=overlaps & (verdict == FALSE_POSITIVE),
                found_at=found_at,
                counted=truth.counted,
                event_recording=truth.recording,
                matched_by=matched_by,
                eligible_pairs=(detection, event, shared),
            )
        )
    return matchings


def match_tables(
    truth_table: pd.DataFrame, detection_table: pd.DataFrame, label: str, criterion: Criterion = IOU30
) -> tuple[Matching, Truth, Detections]:
    """Matches two events tables for one class. Equal names denote the same recording.

    All events are counted, unless the table of the truth has a boolean column `marginal`. A boolean column `clip_level`
    marks clip-level labels. Detections without a score get the score 1. Raises LoxoError like `match`.
    """
    import pandas as pd

    truth_table = truth_table[truth_table["label"] == label]
    detection_table = detection_table[detection_table["label"] == label]
    names = pd.concat([truth_table["recording"], detection_table["recording"]], ignore_index=True)
    codes = np.asarray(pd.factorize(names, sort=True)[0], np.int64)
    flags = {name: np.zeros(len(truth_table), bool) for name in ("marginal", "clip_level")}
    for name in flags:
        if name in truth_table.columns:
            flags[name] = truth_table[name].to_numpy(bool)
    times = [truth_table[name].to_numpy(float) for name in ("start_s", "end_s")]
    events = Truth(codes[: len(truth_table)], times[0], times[1], ~flags["marginal"], flags["clip_level"])
    start, end, score = (detection_table[name].to_numpy(float) for name in ("start_s", "end_s", "score"))
    detections = Detections(codes[len(truth_table) :], start, end, np.where(np.isnan(score), 1.0, score))
    return match(events, detections, criterion), events, detections


def pairs(matching: Matching) -> tuple[Ints, Ints]:
    """Indices of the hits (hits,) and of their events (hits,), in the order of the detections.

    Of all possible pairings of the hits with the found events, this is the one with the largest total overlap.
    """
    detection, event, shared = matching.eligible_pairs
    events = np.flatnonzero(matching.matched_by >= 0)
    holder = matching.matched_by[events]
    keep = (matching.verdict[detection] == HIT) & (matching.matched_by[event] >= 0)
    detection, event, shared = detection[keep], event[keep], shared[keep]
    ambiguous = (np.bincount(detection, minlength=len(matching.score)) > 1)[detection]
    partner = np.full(len(matching.score), -1, np.int64)
    partner[holder] = events
    if ambiguous.any():
        for group in _components(detection, event, shared, len(matching.score), len(matching.counted)):
            assigned, events = _assign(*group)
            partner[assigned] = events
    hits = np.flatnonzero(partner >= 0)
    return hits, partner[hits]


def _eligible(criterion: Criterion, shared: Floats, detections: Detections, d: Ints, truth: Truth, e: Ints) -> Bools:
    """Whether each pair (d, e) meets the criterion; `shared` is its overlap in seconds. All arrays (pairs,)."""
    if criterion.measure == "iou":
        whole = np.maximum(detections.end[d], truth.end[e]) - np.minimum(detections.start[d], truth.start[e])
    else:
        whole = truth.end[e] - truth.start[e]
    result: Bools = shared >= criterion.min_value * whole - EPS
    return result


def _mostly_excluded(truth: Truth, detections: Detections) -> Bools:
    """(detections,): whether at least IGNORED_FRACTION of a detection lies in excluded regions."""
    regions = excluded_regions(truth)
    if not len(regions):
        return np.zeros(len(detections), bool)
    length = detections.end - detections.start
    inside: Bools = (length > 0) & (seconds_inside(detections, regions) >= IGNORED_FRACTION * length - EPS)
    return inside


# -- the matching algorithm


def _augment(
    truth: Truth, detections: Detections, detection: Ints, event: Ints, shared: Floats
) -> tuple[Bools, Floats, Ints]:
    """(hit, found_at, matched_by) from the eligible pairs."""
    hit = np.zeros(len(detections), bool)
    found_at = np.full(len(truth), -np.inf)
    matched_by = np.full(len(truth), -1, np.int64)
    alone = (np.bincount(detection, minlength=len(detections))[detection] == 1) & (
        np.bincount(event, minlength=len(truth))[event] == 1
    )
    hit[detection[alone]] = True
    matched_by[event[alone]] = detection[alone]
    found_at[event[alone]] = detections.score[detection[alone]]

    detection, event, shared = detection[~alone], event[~alone], shared[~alone]
    if not len(detection):
        return hit, found_at, matched_by
    rank = np.empty(len(detections), np.int64)
    rank[np.lexsort((detections.end, detections.start, detections.recording, -detections.score))] = np.arange(
        len(detections)
    )
    place = np.empty(len(truth), np.int64)
    place[np.lexsort((truth.end, truth.start, truth.recording))] = np.arange(len(truth))
    order = np.lexsort((place[event], -shared, rank[detection]))  # by falling score, the largest overlap first
    detection, event = detection[order], event[order]
    first = np.flatnonzero(np.diff(detection, prepend=-1))
    several, names = np.unique(event, return_inverse=True)
    holder, gained = _matched(names.tolist(), [*first.tolist(), len(detection)], len(several))
    ranked = detection[first]  # the detections of the ambiguous pairs, by falling score
    holders, gained_by = np.array(holder), np.array(gained)
    matched = holders >= 0
    matched_by[several[matched]] = ranked[holders[matched]]
    found_at[several[matched]] = detections.score[ranked[gained_by[matched]]]
    hit[ranked[holders[matched]]] = True
    return hit, found_at, matched_by


def _matched(events: list[int], borders: list[int], count: int) -> tuple[list[int], list[int]]:
    """For each of `count` events: the matched detection, and the one whose search first matched it (-1: none).

    Detection k may be matched with events[borders[k] : borders[k + 1]], in order of preference. Events that a failed
    search has reached can never become free again, so they stay `closed`. All failed searches together visit every pair
    at most once.
    """
    holder, gained, closed = [-1] * count, [-1] * count, [False] * count
    for start in range(len(borders) - 1):
        path, at = [start], [borders[start]]
        taken: list[int] = []
        reached: list[int] = []
        while path:
            top, k = path[-1], at[-1]
            if k == borders[top + 1]:
                path.pop()
                at.pop()
                if taken:
                    taken.pop()
                continue
            at[-1] += 1
            event = events[k]
            if closed[event]:
                continue
            closed[event] = True
            reached.append(event)
            taken.append(event)
            if holder[event] < 0:
                for searcher, taken_event in zip(path, taken, strict=True):
                    holder[taken_event] = searcher
                gained[event] = start
                for other in reached:
                    closed[other] = False
                break
            path.append(holder[event])
            at.append(borders[holder[event]])
    return holder, gained


def _components(
    detection: Ints, event: Ints, shared: Floats, detections: int, events: int
) -> Iterator[tuple[Ints, Ints, Floats]]:
    """The pairs in their connected components, without components of a single pair."""
    from scipy.sparse import coo_array  # type: ignore[import-untyped]
    from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

    nodes = detections + events
    graph = coo_array((np.ones(len(detection), np.int8), (detection, event + detections)), shape=(nodes, nodes))
    component = connected_components(graph, directed=False)[1][detection]
    order = np.argsort(component, kind="stable")
    borders = np.flatnonzero(np.diff(component[order], prepend=-1, append=-1))
    for start, stop in pairwise(borders.tolist()):
        if stop - start > 1:
            members = order[start:stop]
            yield detection[members], event[members], shared[members]


def _assign(detection: Ints, event: Ints, shared: Floats) -> tuple[Ints, Ints]:
    """A pairing of every detection with an event that maximises the total overlap. A complete pairing always exists."""
    from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    detections, row = np.unique(detection, return_inverse=True)
    events, column = np.unique(event, return_inverse=True)
    # A pair that is not eligible must cost more than all eligible pairs together can save.
    forbidden = len(detections) * float(shared.max()) + 1.0
    if len(detections) * len(events) <= 250_000:
        cost = np.full((len(detections), len(events)), forbidden)
        cost[row, column] = -shared
        rows, columns = linear_sum_assignment(cost)
    else:
        pair = row.astype(np.int32), column.astype(np.int32)  # the solver of SciPy 1.13 takes no other indices
        costs = coo_array((forbidden - shared, pair), shape=(len(detections), len(events))).tocsr()
        rows, columns = min_weight_full_bipartite_matching(costs)
    return detections[rows], events[columns]
