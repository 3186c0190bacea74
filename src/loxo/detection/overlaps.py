"""Splits an event in two where the model finds two overlapping calls of one class.

Two calls at once score as high as one call. Without this module they become one event, or two events with a border
somewhere between them. A model with overlap outputs also computes the probability that two calls overlap. A span of
high overlap scores is read as the end of one call and the beginning of the next. An event from s to e then becomes two:
one from s to the end of the span, and one from its beginning to e. For a call inside a longer one, one border of each
event is wrong, but both calls are still found.
"""

from __future__ import annotations

from bisect import bisect, insort
from collections.abc import Sequence

from loxo.detection.logit import from_logit, logit

Event = tuple[int, int, float]  # first step, stop step, score
OverlapSpan = tuple[int, int, float]  # first step, stop step, score of the overlap

# The border between two events may be a pause of up to PAUSE_S: training targets contain pauses of up to 0.3 s before
# an onset inside another call, and scores need about as long to fall and to rise. A span that begins or ends within
# NEAR_S of a border belongs to it.
PAUSE_S, NEAR_S = 0.8, 0.5
EVENT_WEIGHT = 0.5  # of the event's logit in the score of the second event; chosen by AP on simulated hours
SAME_RATIO = 0.9  # two events are the same if their intersection is at least this fraction of their union
LOOK_BACK = 4  # number of events that start before a step, among which the event that contains the step is searched


def split_overlaps(events: Sequence[Event], spans: Sequence[OverlapSpan], step_s: float) -> list[Event]:
    """The events after each span has been applied, sorted by their middles. The given events must not overlap.

    If a span is at the border of two events, both are extended over it. Otherwise the event around the middle of the
    span becomes two events, unless the span is nearly as long as the event. The longer one keeps the score. The logit
    of the other's score is that of the span plus a fraction of the event's logit, because a second call is clearer if
    the first one is clear; it never exceeds the event's score.
    """
    pause, near = PAUSE_S / step_s, NEAR_S / step_s
    found = sorted(events)
    for first, stop, score in sorted(spans):
        middle = (first + stop) / 2
        nearby = range(max(bisect(found, (middle,)) - LOOK_BACK, 0), bisect(found, (stop + near + 1,)))
        borders = (k for k in nearby[:-1] if _adjacent(found[k], found[k + 1], pause))
        border = next((k for k in borders if first - near <= found[k][1] and found[k + 1][0] <= stop + near), None)
        around = [k for k in nearby if found[k][0] < middle < found[k][1]]
        if border is not None:
            (start, end, one), (onset, offset, other) = found[border : border + 2]
            pair = (start, min(max(end, stop), offset)), (max(min(onset, first), start), offset)
            if not _same(*pair):
                found[border : border + 2] = (*pair[0], one), (*pair[1], other)
        elif around:
            k = max(around, key=lambda k: found[k][2])
            start, end, one = found[k]
            pair = (start, min(stop, end)), (max(first, start), end)
            if not _same(*pair):
                del found[k]
                longer, shorter = sorted(pair, key=lambda span: span[0] - span[1])
                insort(found, (*longer, one))
                insort(found, (*shorter, min(one, from_logit(logit(score) + EVENT_WEIGHT * logit(one)))))
    return sorted(found, key=lambda event: event[0] + event[1])


def _adjacent(one: Event, other: Event, pause: float) -> bool:
    """Whether the second event follows the first with no more than a pause between them."""
    return 0 <= other[0] - one[1] <= pause


def _same(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two spans, of which the first starts and ends earlier, are nearly the same event."""
    return min(one[1] - one[0], other[1] - other[0]) >= SAME_RATIO * (other[1] - one[0])
