"""Merges the decision logs of several reviewers, and of one reviewer on several computers, into one verdict per event.

A `.jsonl` file from another computer is included if it is copied into `RUN/review/`. Of one reviewer's decisions on an
event, the latest counts. Of several reviewers, a clear verdict overrides "unsure". Different clear verdicts make the
event "disputed"; it then counts neither as correct nor as wrong until a reviewer changes a verdict.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from loxo.review.agreement import category
from loxo.review.decisions import Decision, Decisions

DISPUTED = "disputed"
BOUNDS = ("start_s", "end_s", "low_hz", "high_hz")
MAX_HZ = 1e6  # above every recorder's range
SAME_EVENT_IOU = 0.5  # at this IoU or above, two drawn events are the same


def bounds_fault(bounds: Mapping[str, float | None], duration_s: float) -> str | None:
    """Why no event of a recording can have these bounds, as a sentence; None if one can. NaN: unknown frequencies."""
    start, end, low, high = (math.nan if (value := bounds.get(name)) is None else value for name in BOUNDS)
    if not 0 <= start < end <= duration_s + 0.01:
        return f"An event must be within its recording (0 to {duration_s:.1f} s) and must end after it starts."
    if low < 0 or high <= low or high > MAX_HZ:
        return "The upper frequency of an event must be above the lower one, and both between 0 Hz and 1 MHz."
    return None


@dataclass(frozen=True)
class Final:
    """The merged decision of all reviewers on an event."""

    verdict: str | None  # yes, no, unsure, other or disputed; None: only bounds or a note
    label: str | None  # if it differs from the detected label
    bounds: dict[str, float]  # the changed bounds, by their names in BOUNDS
    reviewers: str  # "Ana: yes; Ben: unsure"
    note: str
    recording: str | None  # of a drawn event or a searched stretch
    channel: int | None  # of a drawn event

    @property
    def is_event(self) -> bool:
        """Whether it is confirmed, as detected or with another label."""
        return self.verdict in ("yes", "other")


def by_reviewer(logs: Iterable[Decisions]) -> dict[str, dict[str, Decision]]:
    """The decisions of each reviewer by event."""
    people: dict[str, dict[str, Decision]] = defaultdict(dict)
    for log in logs:
        decisions = people[log.reviewer]
        for event, decision in log.by_event.items():
            if event not in decisions or decisions[event].at <= decision.at:
                decisions[event] = decision
    return dict(people)


def finals(people: Mapping[str, Mapping[str, Decision]]) -> dict[str, Final]:
    """The merged decision on each event that has a decision."""
    said: dict[str, list[tuple[str, Decision]]] = defaultdict(list)
    for name in sorted(people):
        for event, decision in people[name].items():
            said[event].append((name, decision))
    return {event: final(decisions) for event, decisions in said.items()}


def final(said: list[tuple[str, Decision]]) -> Final:
    """Merges the decisions of the reviewers (name, decision) on one event."""
    given = [decision for _, decision in said if decision.verdict]
    clear = [decision for decision in given if decision.verdict != "unsure"]
    verdict = None
    if given:
        verdict = "unsure"
    if clear:
        verdict = clear[0].verdict if len({category(decision) for decision in clear}) == 1 else DISPUTED
    latest = sorted(said, key=lambda pair: pair[1].at)
    bounds: dict[str, float] = {}
    label = recording = channel = None
    for _, decision in latest:
        bounds |= {name: value for name in BOUNDS if (value := getattr(decision, name)) is not None}
        label, recording = decision.label or label, decision.recording or recording
        channel = decision.channel or channel
    return Final(
        verdict=verdict,
        label=label if verdict == "other" or recording else None,
        bounds=bounds,
        reviewers="; ".join(f"{name}: {category(decision)}" for name, decision in said if decision.verdict),
        note="; ".join(f"{name}: {decision.note}" for name, decision in said if decision.note),
        recording=recording,
        channel=channel,
    )


def without_repeats(drawn: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Drawn events (recording, label, start_s, end_s) without repetitions of one event by several reviewers."""
    kept: list[dict[str, Any]] = []
    for event in drawn:
        if not any(_same(event, other) for other in kept):
            kept.append(event)
    return kept


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if (one["recording"], one["label"]) != (other["recording"], other["label"]):
        return False
    shared = min(one["end_s"], other["end_s"]) - max(one["start_s"], other["start_s"])
    union = max(one["end_s"], other["end_s"]) - min(one["start_s"], other["start_s"])
    return shared > 0 and shared / union >= SAME_EVENT_IOU
