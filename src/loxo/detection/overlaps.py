"""Two events where the scores of a class show one: calls that sound at the same time.

A class scores as high for two calls at once as for one, so that they come out as one event, or as two with a border
somewhere between them. Where a model also tells where two events sound at once, a stretch of such scores is read as
the end of one call and the beginning of the next: what was one event from s to e becomes one from s to the stretch's
end and one from its beginning to e. Of a call within a longer one that is half wrong, but both are still found.
"""

from __future__ import annotations

from bisect import bisect, insort
from collections.abc import Sequence

from loxo.detection.logit import from_logit, logit

Event = tuple[int, int, float]  # first step, step after the last, score
Stretch = tuple[int, int, float]  # the same, with the score that two events sound at once

# A border may be a pause: in training one of up to 0.3 s is left before an onset that falls into another call, and
# scores fall and rise over as much. A stretch that ends or begins so near to a border was heard on one side of it.
PAUSE_S, NEAR_S = 0.8, 0.5
SHARE = 0.5  # of an event's logit in the score of a second call within it; by AP on simulated hours
ALIKE = 0.9  # share of all that two calls cover together; nobody could tell two rows of a table apart that both have it
BACK = 4  # events before a step, by their beginning, among which is the one that the step lies in


def tell_apart(events: Sequence[Event], stretches: Sequence[Stretch], step_s: float) -> list[Event]:
    """The events, of which none overlap, and those that the stretches tell apart; by their middles.

    Where a stretch lies at the border of two events, they are drawn out over it. Else the event around the stretch's
    middle becomes two, unless the stretch is nearly as long as it is. The longer one keeps the score; the other has
    that of the stretch and a share of the event's, since a second call is the clearer the clearer the first is, but no
    more.
    """
    pause, near = PAUSE_S / step_s, NEAR_S / step_s
    found = sorted(events)
    for first, last, score in sorted(stretches):
        middle = (first + last) / 2
        some = range(max(bisect(found, (middle,)) - BACK, 0), bisect(found, (last + near + 1,)))
        borders = (k for k in some[:-1] if _apart(found[k], found[k + 1], pause))
        border = next((k for k in borders if first - near <= found[k][1] and found[k + 1][0] <= last + near), None)
        around = [k for k in some if found[k][0] < middle < found[k][1]]
        if border is not None:
            (start, end, one), (onset, offset, other) = found[border : border + 2]
            parts = (start, min(max(end, last), offset)), (max(min(onset, first), start), offset)
            if not _alike(*parts):
                found[border : border + 2] = (*parts[0], one), (*parts[1], other)
        elif around:
            k = max(around, key=lambda k: found[k][2])
            start, end, one = found[k]
            parts = (start, min(last, end)), (max(first, start), end)
            if not _alike(*parts):
                del found[k]
                longer, shorter = sorted(parts, key=lambda part: part[0] - part[1])
                insort(found, (*longer, one))
                insort(found, (*shorter, min(one, from_logit(logit(score) + SHARE * logit(one)))))
    return sorted(found, key=lambda event: event[0] + event[1])


def _apart(one: Event, other: Event, pause: float) -> bool:
    """Whether two events follow each other with no more than a pause between."""
    return 0 <= other[0] - one[1] <= pause


def _alike(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether the end of one call and the beginning of the next are nearly all of both: the same event twice."""
    return min(one[1] - one[0], other[1] - other[0]) >= ALIKE * (other[1] - one[0])
