"""Sentences about the number of true events of a class, for the report, the review page and the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loxo.languages import mark, plural, text
from loxo.report.estimate import PRECISIONS, Count, Fit

NOTHING_REVIEWED = mark(
    "No event of this run was reviewed: all events are listed, not checked. The true numbers are not known, and most "
    "listed events may be false. Review a sample with `loxo review {run} --sample 200`, write it with `loxo review "
    "{run} --export`, and write this report again."
)


# The words of the bundled models. An event without a label is an event.
NAMES = {"": mark("event"), "rumble": mark("rumble"), "gunshot": mark("gunshot")}
PLURALS = {"": mark("events"), "rumble": mark("rumbles"), "gunshot": mark("gunshots")}


def noun(label: str) -> str:
    """The word for an event with this label: rumble."""
    return text(NAMES[label]) if label in NAMES else label


def nouns(label: str) -> str:
    """The word for several events with this label: rumbles. A label that is no word of ours keeps its form, except in
    English."""
    return text(PLURALS[label]) if label in PLURALS else text("{label}s", label=label)


def counted(count: int, label: str) -> str:
    """3 rumbles"""
    return plural(count, "{n} {event}", "{n} {events}", event=noun(label), events=nouns(label))


def counted_true(count: int, label: str) -> str:
    """3 true rumbles"""
    return plural(count, "{n} true {event}", "{n} true {events}", event=noun(label), events=nouns(label))


def joined(words: Sequence[str]) -> str:
    """Words as in "a, b and c"."""
    return text("{words} and {last}", words=", ".join(words[:-1]), last=words[-1]) if len(words) > 1 else "".join(words)


def number_of_true_events(
    label: str, listed: int, reviewed: int, confirmed: int, found: Count, curve: Fit | None
) -> str:
    """`found` is the number of true events among the listed ones; `curve` is None if every event was decided."""
    if curve is None:
        true = counted_true(confirmed, label)
        return text("{true} of {listed:,} listed. All of them were reviewed.", true=true, listed=listed)
    return text(
        "About {true} among {listed:,} listed; the 95 % interval is {low:,.0f} to {high:,.0f}. {reviewed:,} were "
        "reviewed, and {confirmed:,} were confirmed.",
        true=counted_true(round(found.mean), label),
        listed=listed,
        low=found.low,
        high=found.high,
        reviewed=reviewed,
        confirmed=confirmed,
    )


def not_an_estimate(label: str, listed: int, reviewed: int, needed: int) -> str:
    """For a class without an estimate."""
    if not listed:
        return text("No {event} is listed.", event=noun(label))
    if not reviewed:
        return text("{events} listed, not checked. The true number is not known.", events=counted(listed, label))
    return text(
        "{events} listed, {reviewed:,} reviewed. An estimate needs {decisions}, spread over all scores.",
        events=counted(listed, label),
        reviewed=reviewed,
        decisions=plural(needed, "{n} more decision", "{n} more decisions"),
    )


def not_counted(curve: Fit, scores: NDArray[Any]) -> str:
    """Which undecided events, with these scores, are in no estimate; "" if there are none."""
    parts = []
    for rows, words in (
        (scores < curve.low, text("less than {score:.1f}", score=curve.low)),
        (scores > curve.high, text("more than {score:.1f}", score=curve.high)),
        (~np.isfinite(scores), text("not at all")),
    ):
        if rows.any():
            one, other = "{n} listed event that scores {score}", "{n} listed events that score {score}"
            parts.append(plural(int(rows.sum()), one, other, score=words))
    if not parts:
        return ""
    return text("Not reviewed, so not counted: {events}.", events=text(" and ").join(parts))


def not_listed(label: str, threshold: float | None) -> str:
    if threshold is None:
        return text("Not counted: {events} that the run does not list.", events=nouns(label))
    return text(
        "Not counted: {events} that score less than {threshold:g}. The run does not list them.",
        events=nouns(label),
        threshold=threshold,
    )


def keep_events(threshold: float, share: float, limits: str = "") -> str:
    """What share of the events above a threshold is true."""
    return text(
        "Keep events that score {threshold:g} and more: about {percent:.0f} % of them are right{limits}.",
        threshold=threshold,
        percent=100 * share,
        limits=limits,
    )


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
            these = text(
                "These are {events}, with {percent:.0f} % of all listed true events.",
                events=counted(int(kept[row]), ""),
                percent=100 * true[row] / max(true[-1], 1e-9),
            )
            found[row] = f"{keep_events(steps[row], share[row])} {these}"
    return list(found.values())


def all_calls(label: str, found: Count, recall: dict[str, Any]) -> str:
    """The number of all calls, also those that the run does not list, from random stretches that were searched.
    `recall` is that of results.json: recall, low, high, stretches, found, missed. "" without a call in them."""
    share, low, high = (recall.get(name) for name in ("recall", "low", "high"))
    if not share or not low or not high:
        return ""
    calls = recall["found"] + recall["missed"]
    return text(
        "Reviewers searched {excerpts}. The run lists {listed:,} of {calls} in them, which is {percent:.0f} % (95 % "
        "interval {percent_low:.0f} to {percent_high:.0f} %). With the calls that are not listed, there were about "
        "{total:,.0f} {events} ({low:,.0f} to {high:,.0f}).",
        excerpts=plural(recall["stretches"], "{n} random excerpt", "{n} random excerpts"),
        listed=recall["found"],
        calls=plural(calls, "{n} call", "{n} calls"),
        percent=100 * share,
        percent_low=100 * low,
        percent_high=100 * high,
        total=found.mean / share,
        events=nouns(label),
        low=found.low / high,
        high=found.high / low,
    )
