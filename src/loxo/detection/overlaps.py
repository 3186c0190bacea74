"""Two events where the scores of a class show one: calls that sound at the same time.

A class scores as high for two calls at once as for one, so that they come out as one event, or as two with a border
somewhere between them. Where a model also tells where two events sound at once, a stretch of such scores is read as
the end of one call and the beginning of the next: what was one event from s to e becomes one from s to the stretch's
end and one from its beginning to e. Of a call within a longer one that is half wrong, but both are still found.
"""

from __future__ import annotations

from bisect import bisect, insort
from collections.abc import Sequence

from loxo.detection.odds import from_logit, logit

Event = tuple[int, int, float]  # first step, step after the last, score
Stretch = tuple[int, int, float]  # the same, with the score that two events sound at once

APART = 3  # steps: neighbours no further apart than this may be one stretch of calls
SHARE = 0.5  # of an event's logit in the score of a second call within it; by AP on simulated hours
BACK = 4  # events before a step, by their beginning, among which is the one that the step lies in


def tell_apart(events: Sequence[Event], stretches: Sequence[Stretch]) -> list[Event]:
    """The events, of which none overlap, and those that the stretches tell apart; by their middles.

    Where a stretch holds the border of two events, they are drawn out over it. Else the event around the stretch's
    middle becomes two, unless the stretch is as long as it is. The longer one keeps the score; the other has that of
    the stretch and a share of the event's, since a second call is the clearer the clearer the first is, but no more.
    """
    found = sorted(events)
    for first, last, score in sorted(stretches):
        middle = (first + last) / 2
        near = range(max(bisect(found, (middle,)) - BACK, 0), bisect(found, (last,)))
        border = next((k for k in near if k + 1 < len(found) and _meet(found[k], found[k + 1], first, last)), None)
        around = [k for k in near if found[k][0] < middle < found[k][1]]
        if border is not None:
            (start, end, one), (begin, stop, other) = found[border : border + 2]
            found[border : border + 2] = (start, max(end, last), one), (min(begin, first), stop, other)
        elif around:
            start, end, one = found.pop(max(around, key=lambda k: found[k][2]))
            parts = {(start, min(last, end)), (max(first, start), end)}
            longer, *shorter = sorted(parts, key=lambda part: (part[0] - part[1], part))
            insort(found, (*longer, one))
            for part in shorter:  # none where the stretch is the whole event: nobody could tell the two rows apart
                insort(found, (*part, min(one, from_logit(logit(score) + SHARE * logit(one)))))
    return sorted(found, key=lambda event: event[0] + event[1])


def _meet(one: Event, other: Event, first: int, last: int) -> bool:
    """Whether one event ends and the next one begins within a stretch, or at its ends."""
    return 0 <= other[0] - one[1] <= APART and first <= one[1] and other[0] <= last
