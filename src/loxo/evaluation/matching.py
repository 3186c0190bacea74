"""Which detections are right: one-to-one matching of detections with true events, within a recording and a class.

**A pair is eligible** by one of these criteria, all with a tolerance of 1 ns:

| criterion | a detection may be matched with an event when                                                        |
|-----------|------------------------------------------------------------------------------------------------------|
| `iou30`   | intersection over union is at least 0.3                                                              |
| `iou50`   | ... at least 0.5                                                                                     |
| `hit10`   | the detection covers at least 10 % of the event (the hit of Keen and others 2017), yet one-to-one    |

An event that is a label for a whole clip ("somewhere in here") is met by any overlap.

**Matching** takes the detections by falling score (ties: by recording, start, end). A detection is a hit when it can be
given an event of its own, those before it keeping one each, if need be another one than before (an augmenting path). So
among the detections above *any* threshold the number of hits is the largest that a one-to-one matching can have,
hits stay hits as the threshold falls, and nothing depends on the order of rows. Which of several possible events a hit
is paired with matters only for errors of onset and offset: `pairs` takes the pairing of largest total overlap.

**What counts neither way.** Marginal events (`counted` False) are not asked for. A detection that is no hit is
ignored when it meets the criterion with a marginal event, or when at least half of it lies in marginal events, in
ignored regions, or in clip-level labels (the further shots of a clip whose label says only that there is one).

Everything is arrays over all recordings at once: overlapping pairs come from two sorted searches, what is unambiguous
is matched without a loop, and the loop over the rest runs in time proportional to the number of eligible pairs,
nearly.
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
    Floats,
    Found,
    Ints,
    Truth,
    overlapping,
    seconds_within,
    where_nothing_counts,
)

if TYPE_CHECKING:
    import pandas as pd

HIT, FALSE, IGNORED = 1, 0, -1  # verdicts
IGNORED_SHARE = 0.5  # of a detection in ignored regions, from which on it is ignored


@dataclass(frozen=True)
class Criterion:
    """When a detection may be matched with an event: `measure` ("iou" or "cover") is at least `share`."""

    name: str
    measure: str
    share: float

    def __str__(self) -> str:
        if self.measure == "iou":
            return f"one-to-one at intersection over union >= {self.share:g}"
        return f"one-to-one, the detection covering >= {100 * self.share:g} % of the event"


def iou(share: float) -> Criterion:
    """The criterion of an intersection over union, named like iou30. Raises LoxoError outside (0, 1]."""
    if not 0 < share <= 1:
        raise LoxoError(f"An intersection over union to be reached must be more than 0 and at most 1, not {share:g}.")
    return Criterion(f"iou{100 * share:g}", "iou", share)


IOU30, IOU50 = iou(0.3), iou(0.5)
HIT10 = Criterion("hit10", "cover", 0.1)


@dataclass(frozen=True)
class Matching:
    """What became of each detection and each event."""

    criterion: Criterion
    score: Floats  # (detections,), as given
    recording: Ints  # (detections,), as given
    verdict: NDArray[np.int8]  # (detections,): HIT, FALSE or IGNORED
    loose: Bools  # (detections,): FALSE, yet overlapping some event of the class (a fragment, bad borders)
    found_at: Floats  # (events,): the highest threshold at which the event is found; -inf where it is missed
    counted: Bools  # (events,), as given
    event_recording: Ints  # (events,), as given
    held_by: Ints  # (events,): the detection that holds it, -1 for none
    edges: tuple[Ints, Ints, Floats]  # the eligible pairs with counted events: detection, event, overlap in seconds

    @property
    def events(self) -> int:
        """How many events are asked for."""
        return int(self.counted.sum())

    @property
    def judged(self) -> Bools:
        """(detections,): True where a detection counts one way or the other."""
        return self.verdict != IGNORED


def match(truth: Truth, found: Found, criterion: Criterion = IOU30) -> Matching:
    """Matches the detections of one class with its events, in all recordings at once. See this module's docstring.

    Scores must be finite numbers; where a table has none, give all the same.
    """
    if not np.isfinite(found.score).all():
        raise LoxoError("A detection without a score cannot be ranked; give all the same score where there is none.")
    return match_all(truth, found, [criterion])[0]


def match_all(truth: Truth, found: Found, criteria: Sequence[Criterion]) -> list[Matching]:
    """`match` by several criteria, which share the search for what overlaps."""
    if not np.isfinite(found.score).all():
        raise LoxoError("A detection without a score cannot be ranked; give all the same score where there is none.")
    touching = np.zeros(len(found), bool)
    marginal = np.zeros((len(criteria), len(found)), bool)  # meets the criterion with a marginal event
    parts: list[list[tuple[Ints, Ints, Floats]]] = [[] for _ in criteria]
    for d, e in overlapping(found, truth):
        shared = np.minimum(found.end[d], truth.end[e]) - np.maximum(found.start[d], truth.start[e])
        touching[d[shared > 0]] = True
        for k, criterion in enumerate(criteria):
            ok = (shared > 0) & (_eligible(criterion, shared, found, d, truth, e) | truth.clip[e])
            marginal[k, d[ok & ~truth.counted[e]]] = True
            ok &= truth.counted[e]
            parts[k].append((d[ok], e[ok], shared[ok]))
    aside = _in_ignored(truth, found)
    matchings = []
    for k, criterion in enumerate(criteria):
        detection, event, shared = (np.concatenate([part[column] for part in parts[k]]) for column in range(3))
        hit, found_at, held_by = _augment(truth, found, detection, event, shared)
        verdict = np.where(hit, HIT, FALSE).astype(np.int8)
        verdict[~hit & (marginal[k] | aside)] = IGNORED
        matchings.append(
            Matching(
                criterion=criterion,
                score=found.score,
                recording=found.recording,
                verdict=verdict,
                loose=touching & (verdict == FALSE),
                found_at=found_at,
                counted=truth.counted,
                event_recording=truth.recording,
                held_by=held_by,
                edges=(detection, event, shared),
            )
        )
    return matchings


def match_tables(
    truth: pd.DataFrame, detections: pd.DataFrame, label: str, criterion: Criterion = IOU30
) -> tuple[Matching, Truth, Found]:
    """Matches two events tables for one class; recordings are the same where their names are equal.

    All events count, unless the truth has the boolean columns `marginal` or `clip_level`. Detections without a score
    get 1. Raises LoxoError as `match` does.
    """
    import pandas as pd

    truth, detections = truth[truth["label"] == label], detections[detections["label"] == label]
    names = pd.concat([truth["recording"], detections["recording"]], ignore_index=True)
    codes = np.asarray(pd.factorize(names, sort=True)[0], np.int64)
    flags = {name: np.zeros(len(truth), bool) for name in ("marginal", "clip_level")}
    for name in flags:
        if name in truth.columns:
            flags[name] = truth[name].to_numpy(bool)
    times = [truth[name].to_numpy(float) for name in ("start_s", "end_s")]
    events = Truth(codes[: len(truth)], times[0], times[1], ~flags["marginal"], flags["clip_level"])
    start, end, score = (detections[name].to_numpy(float) for name in ("start_s", "end_s", "score"))
    found = Found(codes[len(truth) :], start, end, np.where(np.isnan(score), 1.0, score))
    return match(events, found, criterion), events, found


def pairs(matching: Matching) -> tuple[Ints, Ints]:
    """The hits and their events, as indices (hits,), (hits,) in the order of detections.

    Of all ways to pair the hits with the events found, the one with the largest overlap in seconds, summed.
    """
    detection, event, shared = matching.edges
    events = np.flatnonzero(matching.held_by >= 0)
    holder = matching.held_by[events]
    keep = (matching.verdict[detection] == HIT) & (matching.held_by[event] >= 0)
    detection, event, shared = detection[keep], event[keep], shared[keep]
    crowded = (np.bincount(detection, minlength=len(matching.score)) > 1)[detection]
    partner = np.full(len(matching.score), -1, np.int64)
    partner[holder] = events
    if crowded.any():
        for some, others, overlap in _components(detection, event, shared, len(matching.score), len(matching.counted)):
            who, what = _assign(some, others, overlap)
            partner[who] = what
    hits = np.flatnonzero(partner >= 0)
    return hits, partner[hits]


def _eligible(criterion: Criterion, shared: Floats, found: Found, d: Ints, truth: Truth, e: Ints) -> Bools:
    if criterion.measure == "iou":
        whole = np.maximum(found.end[d], truth.end[e]) - np.minimum(found.start[d], truth.start[e])
    else:
        whole = truth.end[e] - truth.start[e]
    result: Bools = shared >= criterion.share * whole - EPS
    return result


def _in_ignored(truth: Truth, found: Found) -> Bools:
    regions = where_nothing_counts(truth)
    if not len(regions):
        return np.zeros(len(found), bool)
    length = found.end - found.start
    inside: Bools = (length > 0) & (seconds_within(found, regions) >= IGNORED_SHARE * length - EPS)
    return inside


# -- the matching itself


def _augment(truth: Truth, found: Found, detection: Ints, event: Ints, shared: Floats) -> tuple[Bools, Floats, Ints]:
    """(hit, found_at, held_by) from the eligible pairs."""
    hit = np.zeros(len(found), bool)
    found_at = np.full(len(truth), -np.inf)
    held_by = np.full(len(truth), -1, np.int64)
    alone = (np.bincount(detection, minlength=len(found))[detection] == 1) & (
        np.bincount(event, minlength=len(truth))[event] == 1
    )
    hit[detection[alone]] = True
    held_by[event[alone]] = detection[alone]
    found_at[event[alone]] = found.score[detection[alone]]

    detection, event, shared = detection[~alone], event[~alone], shared[~alone]
    if not len(detection):
        return hit, found_at, held_by
    rank = np.empty(len(found), np.int64)
    rank[np.lexsort((found.end, found.start, found.recording, -found.score))] = np.arange(len(found))
    place = np.empty(len(truth), np.int64)
    place[np.lexsort((truth.end, truth.start, truth.recording))] = np.arange(len(truth))
    order = np.lexsort((place[event], -shared, rank[detection]))  # by falling score, the best event first
    detection, event = detection[order], event[order]
    first = np.flatnonzero(np.diff(detection, prepend=-1))
    several, names = np.unique(event, return_inverse=True)
    holder, gained = _matched(names.tolist(), [*first.tolist(), len(detection)], len(several))
    who = detection[first]  # the detections with several possibilities, by falling score
    held = np.array(holder)
    at = np.array(gained)
    has = held >= 0
    held_by[several[has]] = who[held[has]]
    found_at[several[has]] = found.score[who[at[has]]]
    hit[who[held[has]]] = True
    return hit, found_at, held_by


def _matched(events: list[int], borders: list[int], count: int) -> tuple[list[int], list[int]]:
    """For each of `count` events the detection that holds it and the one with which it was first held (-1: none).

    Detection k may have events[borders[k] : borders[k + 1]], liked in this order. An event reached in a search that
    fails can never be freed again, so it stays `closed`: all failing searches together look at every pair once.
    """
    holder, gained, closed = [-1] * count, [-1] * count, [False] * count
    for start in range(len(borders) - 1):
        trail, at = [start], [borders[start]]
        taken: list[int] = []
        reached: list[int] = []
        while trail:
            top, k = trail[-1], at[-1]
            if k == borders[top + 1]:
                trail.pop()
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
                for who, what in zip(trail, taken, strict=True):
                    holder[what] = who
                gained[event] = start
                for other in reached:
                    closed[other] = False
                break
            trail.append(holder[event])
            at.append(borders[holder[event]])
    return holder, gained


def _components(
    detection: Ints, event: Ints, shared: Floats, detections: int, events: int
) -> Iterator[tuple[Ints, Ints, Floats]]:
    """The pairs, parted into groups that have nothing to do with each other; those of one detection left out."""
    from scipy.sparse import coo_array  # type: ignore[import-untyped]
    from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

    nodes = detections + events
    graph = coo_array((np.ones(len(detection), np.int8), (detection, event + detections)), shape=(nodes, nodes))
    of = connected_components(graph, directed=False)[1][detection]
    order = np.argsort(of, kind="stable")
    borders = np.flatnonzero(np.diff(of[order], prepend=-1, append=-1))
    for a, b in pairwise(borders.tolist()):
        if b - a > 1:
            part = order[a:b]
            yield detection[part], event[part], shared[part]


def _assign(detection: Ints, event: Ints, shared: Floats) -> tuple[Ints, Ints]:
    """Every detection with an event, by the largest total overlap. A perfect pairing is known to exist."""
    from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    some, row = np.unique(detection, return_inverse=True)
    others, column = np.unique(event, return_inverse=True)
    # A pair that is not eligible must cost more than all others together could.
    forbidden = len(some) * float(shared.max()) + 1.0
    if len(some) * len(others) <= 250_000:
        cost = np.full((len(some), len(others)), forbidden)
        cost[row, column] = -shared
        rows, columns = linear_sum_assignment(cost)
    else:
        weights = coo_array((forbidden - shared, (row, column)), shape=(len(some), len(others))).tocsr()
        rows, columns = min_weight_full_bipartite_matching(weights)
    return some[rows], others[columns]
