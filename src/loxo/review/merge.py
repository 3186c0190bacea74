"""Several reviewers' journals, and one person's from several computers, as one answer for each event.

Any `.jsonl` of another computer put into `RUN/review/` takes part. Of one person's decisions on an event the latest
counts. Different people: an "unsure" gives way to a clear answer; clear answers that differ make the event "disputed",
and it counts for nothing until one of them changes theirs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from loxo.review.agreement import category
from loxo.review.decision_log import Decision, Decisions

DISPUTED = "disputed"
BOUNDS = ("start_s", "end_s", "low_hz", "high_hz")
SAME_EVENT_IOU = 0.5  # two reviewers drew the same missed event


@dataclass(frozen=True)
class Final:
    """What the reviewers together say of an event."""

    verdict: str | None  # yes, no, unsure, other, disputed; None: bounds or a note only
    label: str | None  # where it is not the detected one
    bounds: dict[str, float]  # those of BOUNDS that were changed
    reviewers: str  # "Ana: yes; Ben: unsure"
    note: str
    recording: str | None  # of a drawn event

    @property
    def is_event(self) -> bool:
        """Confirmed, as detected or under another label."""
        return self.verdict in ("yes", "other")


def by_reviewer(journals: Iterable[Decisions]) -> dict[str, dict[str, Decision]]:
    """The decisions of each person by event."""
    people: dict[str, dict[str, Decision]] = defaultdict(dict)
    for journal in journals:
        decisions = people[journal.reviewer]
        for event, decision in journal.by_event.items():
            if event not in decisions or decisions[event].at <= decision.at:
                decisions[event] = decision
    return dict(people)


def finals(people: Mapping[str, Mapping[str, Decision]]) -> dict[str, Final]:
    """What is said of each event that anybody touched."""
    said: dict[str, list[tuple[str, Decision]]] = defaultdict(list)
    for name in sorted(people):
        for event, decision in people[name].items():
            said[event].append((name, decision))
    return {event: final(decisions) for event, decisions in said.items()}


def final(said: list[tuple[str, Decision]]) -> Final:
    """One answer out of what each reviewer says of one event."""
    given = [decision for _, decision in said if decision.verdict]
    clear = [decision for decision in given if decision.verdict != "unsure"]
    verdict = None
    if given:
        verdict = "unsure"
    if clear:
        verdict = clear[0].verdict if len({category(decision) for decision in clear}) == 1 else DISPUTED
    latest = sorted(said, key=lambda pair: pair[1].at)
    bounds: dict[str, float] = {}
    label = recording = None
    for _, decision in latest:
        bounds |= {name: value for name in BOUNDS if (value := getattr(decision, name)) is not None}
        label, recording = decision.label or label, decision.recording or recording
    return Final(
        verdict=verdict,
        label=label if verdict == "other" or recording else None,
        bounds=bounds,
        reviewers="; ".join(f"{name}: {category(decision)}" for name, decision in said if decision.verdict),
        note="; ".join(f"{name}: {decision.note}" for name, decision in said if decision.note),
        recording=recording,
    )


def without_doubles(drawn: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Drawn events (recording, label, start_s, end_s), each once though several people may have drawn it."""
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
