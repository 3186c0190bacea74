"""Agreement of reviewers on the events that two of them have decided: Cohen's kappa.

Kappa is 1 for full agreement and 0 for the agreement that is expected by chance. The categories are yes, no, unsure,
and each other label.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from loxo.review.decisions import Decision


@dataclass(frozen=True)
class Agreement:
    """Agreement of two reviewers on the events that both have decided."""

    reviewers: tuple[str, str]
    events: int
    agreed: int
    kappa: float  # NaN if there is only one category
    low: float  # 95 % interval, large-sample
    high: float


def category(decision: Decision) -> str:
    """The category of a decision, as text for the page."""
    return f"other: {decision.label}" if decision.verdict == "other" else str(decision.verdict)


def agreements(by_reviewer: Mapping[str, Mapping[str, Decision]]) -> list[Agreement]:
    """The agreement of all pairs of reviewers with a common event. `by_reviewer`: decisions by event."""
    names = sorted(by_reviewer)
    found = []
    for index, one in enumerate(names):
        for other in names[index + 1 :]:
            first, second = by_reviewer[one], by_reviewer[other]
            both = [event for event in first if event in second and first[event].verdict and second[event].verdict]
            if both:
                pairs = [(category(first[event]), category(second[event])) for event in both]
                found.append(_agreement((one, other), Counter(pairs)))
    return found


def _agreement(reviewers: tuple[str, str], table: Counter[tuple[str, str]]) -> Agreement:
    events = table.total()
    agreed = sum(count for (one, other), count in table.items() if one == other)
    rows, columns = Counter[str](), Counter[str]()
    for (one, other), count in table.items():
        rows[one] += count
        columns[other] += count
    chance = sum(rows[name] * columns[name] for name in rows) / events**2
    share = agreed / events
    if chance == 1:
        return Agreement(reviewers, events, agreed, math.nan, math.nan, math.nan)
    kappa = (share - chance) / (1 - chance)
    error = math.sqrt(share * (1 - share) / events) / (1 - chance)
    return Agreement(reviewers, events, agreed, kappa, max(kappa - 1.96 * error, -1.0), min(kappa + 1.96 * error, 1.0))
