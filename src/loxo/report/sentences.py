"""Sentences about the number of true events of a class, for the report, the review page and the terminal."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from loxo.report.estimate import PRECISIONS, Count, Fit

NOTHING_REVIEWED = (
    "No event of this run was reviewed: all events are listed, not checked. The true numbers are not known, and most "
    "listed events may be false. Review a sample with `loxo review {run} --sample 200`, write it with `loxo review "
    "{run} --export`, and write this report again."
)


def plural(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def number_of_true_events(
    label: str, listed: int, reviewed: int, confirmed: int, found: Count, curve: Fit | None
) -> str:
    """`found` is the number of true events among the listed ones; `curve` is None if every event was decided."""
    word = label or "event"
    if curve is None:
        return f"{plural(confirmed, f'true {word}')} of {listed:,} listed. All of them were reviewed."
    return (
        f"About {plural(round(found.mean), f'true {word}')} among {listed:,} listed; the 95 % interval is "
        f"{found.low:,.0f} to {found.high:,.0f}. {reviewed:,} were reviewed, and {confirmed:,} were confirmed."
    )


def not_an_estimate(label: str, listed: int, reviewed: int, needed: int) -> str:
    """For a class without an estimate."""
    word = label or "event"
    if not listed:
        return f"No {word} is listed."
    if not reviewed:
        return f"{plural(listed, word)} listed, not checked. The true number is not known."
    return (
        f"{plural(listed, word)} listed, {reviewed:,} reviewed. An estimate needs {plural(needed, 'more decision')}, "
        "spread over all scores."
    )


def not_counted(curve: Fit, scores: NDArray[Any]) -> str:
    """Which undecided events, with these scores, are in no estimate; "" if there are none."""
    parts = []
    for rows, words in (
        (scores < curve.low, f"less than {curve.low:.1f}"),
        (scores > curve.high, f"more than {curve.high:.1f}"),
        (~np.isfinite(scores), "not at all"),
    ):
        if rows.any():
            parts.append(
                f"{plural(int(rows.sum()), 'listed event')} that score{'s' if rows.sum() == 1 else ''} {words}"
            )
    if not parts:
        return ""
    return f"Not reviewed, so not counted: {' and '.join(parts)}."


def not_listed(label: str, threshold: float | None) -> str:
    word = label or "event"
    if threshold is None:
        return f"Not counted: {word}s that the run does not list."
    return f"Not counted: {word}s that score less than {threshold:g}. The run does not list them."


def keep_events(threshold: float, share: float, limits: str = "") -> str:
    """What share of the events above a threshold is true."""
    return f"Keep events that score {threshold:g} and more: about {100 * share:.0f} % of them are right{limits}."


def keep(curve: Fit, scores: NDArray[Any]) -> list[str]:
    """From which score listed events with these scores are true often enough, for each of PRECISIONS."""
    scores = np.sort(scores[curve.counted(scores)])[::-1]
    steps = np.arange(99, 0, -1) / 100
    kept = np.searchsorted(-scores, -steps, side="right")  # number of events that score at least this much
    true = np.concatenate([[0.0], np.cumsum(curve.probability(scores))])[kept]
    with np.errstate(invalid="ignore"):
        share = np.where(kept > 0, true / kept, 0.0)
    found: dict[int, str] = {}
    for precision in PRECISIONS:
        reached = np.flatnonzero(share >= precision)
        if len(reached):
            row = int(np.searchsorted(kept, kept[reached[-1]]))  # the highest threshold that keeps the same events
            found[row] = (
                f"{keep_events(steps[row], share[row])} These are {plural(int(kept[row]), 'event')}, with "
                f"{100 * true[row] / max(true[-1], 1e-9):.0f} % of all listed true events."
            )
    return list(found.values())


def all_calls(label: str, found: Count, recall: dict[str, Any]) -> str:
    """The number of all calls, also those that the run does not list, from random stretches that were searched.
    `recall` is that of results.json: recall, low, high, stretches, found, missed. "" without a call in them."""
    share, low, high = (recall.get(name) for name in ("recall", "low", "high"))
    if not share or not low or not high:
        return ""
    calls = recall["found"] + recall["missed"]
    return (
        f"Reviewers searched {plural(recall['stretches'], 'random excerpt')}. The run lists {recall['found']:,} of "
        f"{plural(calls, 'call')} in them, which is {100 * share:.0f} % (95 % interval {100 * low:.0f} to "
        f"{100 * high:.0f} %). With the calls that are not listed, there were about {found.mean / share:,.0f} "
        f"{label or 'event'}s ({found.low / high:,.0f} to {found.high / low:,.0f})."
    )
