"""The decisions of a reviewer, as the lines of a decision log give them. The lines are described in decision_log.py.

A line that `Session` cannot have written raises LoxoError, because decisions must not vanish silently.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from loxo.errors import LoxoError
from loxo.files import parse_json
from loxo.runs.renamed import Renamed

VERDICTS = ("yes", "no", "unsure", "other")
FIELDS = ("verdict", "label", "start_s", "end_s", "low_hz", "high_hz", "note", "recording", "channel")
DRAWN = "drawn-"  # prefix of the names of events that a reviewer drew
SEARCHED = "searched-"  # prefix of the names of stretches in which every call of a label is listed or drawn
RANDOM = SEARCHED + "random-"  # the same, for stretches that were chosen at random
MAX_LABEL, MAX_NOTE, MAX_REVIEWER = 60, 2000, 100  # characters
MAX_NUMBER = 1e12  # of seconds and hertz

Change = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The decision of one reviewer on one event. None: as detected, or not decided."""

    verdict: str | None = None  # one of VERDICTS
    label: str | None = None  # the correct label, with the verdict "other"; the label of a drawn event
    start_s: float | None = None
    end_s: float | None = None
    low_hz: float | None = None
    high_hz: float | None = None
    note: str = ""
    recording: str | None = None  # of a drawn event or a searched stretch, as events.csv names it
    channel: int | None = None  # of a drawn event, from 1; None: the mean of all channels
    at: str = ""  # when it was last changed, ISO 8601 in UTC


@dataclass
class Decisions:
    """The decisions in effect after the actions of one decision log, in their order."""

    reviewer: str = ""
    by_event: dict[str, Decision] = field(default_factory=dict)
    actions: int = 0  # number of the last action
    done: list[tuple[int, list[Change]]] = field(default_factory=list)
    undone: list[tuple[int, list[Change]]] = field(default_factory=list)
    _history: dict[str, list[tuple[int, Change]]] = field(default_factory=lambda: defaultdict(list))

    def act(self, number: int, changes: list[Change], again: bool = False) -> None:
        self.actions = max(self.actions, number)
        self.done.append((number, changes))
        self.undone.clear()
        self._apply(number, changes, again)

    def undo(self, number: int) -> None:
        """Takes back an action. Raises ValueError if it is not in effect."""
        place = next((k for k in reversed(range(len(self.done))) if self.done[k][0] == number), None)
        if place is None:
            raise ValueError("the action is not in effect")
        _, changes = self.done.pop(place)
        self.undone.append((number, changes))
        for event in {change["event"]: None for change in changes}:
            history = self._history[event] = [entry for entry in self._history[event] if entry[0] != number]
            self._recall(event, history)

    def redo(self, number: int) -> None:
        """Restores the action that was undone last. Raises ValueError if it has another number."""
        if not self.undone or self.undone[-1][0] != number:
            raise ValueError("another action was undone last")
        _, changes = self.undone.pop()
        self.done.append((number, changes))
        self._apply(number, changes, again=False)

    def _apply(self, number: int, changes: Iterable[Change], again: bool) -> None:
        for change in changes:
            event = change["event"]
            history = self._history[event]
            if again:
                place = bisect_right(history, change["at"], key=lambda entry: entry[1]["at"])
                history.insert(place, (number, change))
                self._recall(event, history)
            else:
                history.append((number, change))
                self.by_event[event] = _changed(self.by_event.get(event, Decision()), change)

    def _recall(self, event: str, history: list[tuple[int, Change]]) -> None:
        decision = Decision()
        for _, change in history:
            decision = _changed(decision, change)
        if history:
            self.by_event[event] = decision
        else:
            self.by_event.pop(event, None)


def _changed(decision: Decision, change: Change) -> Decision:
    return replace(decision, **{name: change[name] for name in (*FIELDS, "at") if name in change})


def check_change(change: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a change. Raises LoxoError for a value that a decision log cannot contain."""
    ready = {name: change[name] for name in ("event", *FIELDS) if name in change}
    if not isinstance(ready["event"], str) or ready.get("verdict") not in (None, *VERDICTS):
        raise LoxoError(f"An event must have a name, and a verdict is one of {', '.join(VERDICTS)}.")
    for name in ("label", "note", "recording"):
        if not isinstance(ready.get(name), str | None):
            raise LoxoError(f"A {name} must be text.")
    if ready.get("label") is not None and not is_line(ready["label"], MAX_LABEL):
        raise LoxoError(f"A label must have 1 to {MAX_LABEL} characters, in one line.")
    if "note" in ready:
        ready["note"] = ready["note"] or ""
        if len(ready["note"]) > MAX_NOTE:
            raise LoxoError(f"A note must have at most {MAX_NOTE} characters.")
        if _NO_TEXT.search(ready["note"]):
            raise LoxoError("The note contains a character that no file can hold. Type the note again.")
    for name in ("start_s", "end_s", "low_hz", "high_hz"):
        value = ready.get(name)
        if value is not None:
            if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < MAX_NUMBER:
                raise LoxoError("The edges of an event must be numbers.")
            ready[name] = float(value)
    channel = ready.get("channel")
    if channel is not None and (isinstance(channel, bool) or not isinstance(channel, int) or channel < 1):
        raise LoxoError("A channel must be a number from 1.")
    return ready


_NO_TEXT = re.compile("[\x00-\x08\x0e-\x1f\ud800-\udfff]")  # control characters, and halves of characters


def is_line(text: str, length: int) -> bool:
    return 0 < len(text) <= length and text.isprintable()


def missing_lines(ours: list[bytes], lines: list[bytes], decisions: Decisions) -> list[bytes]:
    """What must be appended to a file of `lines` so that it contains the actions of `ours`, and their undoing.
    `decisions` are those of `lines`, and then those of the whole file."""
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ours, lines, strict=False)))
    if common == len(lines):  # an older copy, or an empty file
        for line in ours[common:]:
            replay_line(decisions, parse_json(line))
        return ours[common:]
    if common == len(ours):
        return []
    present, entries = set(lines), [parse_json(line) for line in lines]
    known = {_identity(e["at"], e["changes"]): e["action"] for e in entries if "action" in e}
    numbers: dict[int, int] = {}  # number of an action in `ours`: its number in the file
    changes: dict[int, Any] = {}
    missing = []
    for line in ours:
        entry = parse_json(line)
        new: dict[str, Any] | None = None
        if line in present:
            if "action" in entry:
                numbers[entry["action"]], changes[entry["action"]] = entry["action"], entry["changes"]
        elif "undo" in entry:
            number = numbers.get(entry["undo"])
            if _is_in_effect(number, decisions):
                new = {"undo": number, "at": entry["at"]}
        elif "action" in entry or "redo" in entry:
            number = entry["action"] if "action" in entry else entry["redo"]
            if "action" in entry:
                changes[number] = entry["changes"]
            same = known.get(_identity(entry["at"], changes[number]))
            if same is not None:
                numbers[number] = same
            elif "action" in entry or not _is_in_effect(numbers.get(number), decisions):
                numbers[number] = decisions.actions + 1
                new = {"action": numbers[number], "at": entry["at"], "again": True, "changes": changes[number]}
        if new is not None:
            replay_line(decisions, new)
            missing.append(encoded(new))
    return missing


def _identity(at: str, changes: Any) -> str:
    return json.dumps((at, changes), sort_keys=True)


def _is_in_effect(number: int | None, decisions: Decisions) -> bool:
    return any(number == done for done, _ in decisions.done)


def replay(path: Path, lines: Iterable[bytes]) -> Decisions:
    decisions, renamed = Decisions(reviewer=path.stem), Renamed(path.parent.parent)
    for number, line in enumerate(lines, 1):
        try:
            entry = parse_json(line)
            if renamed.lines and "action" in entry:
                entry["changes"] = renamed.changes(entry["changes"], entry["at"])
            replay_line(decisions, entry)
        except (LoxoError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise LoxoError(
                f"{path}, line {number}: the decision log is damaged in this line. Remove the line, or put back a "
                "copy of the file."
            ) from error
    return decisions


def replay_line(decisions: Decisions, line: dict[str, Any]) -> None:
    if "journal" in line:
        if not is_line(line["reviewer"], MAX_REVIEWER):
            raise ValueError("no name of a reviewer")
        decisions.reviewer = line["reviewer"]
        return
    (number,) = (line[kind] for kind in ("action", "undo", "redo") if kind in line)
    if isinstance(number, bool) or not isinstance(number, int) or not isinstance(line["at"], str):
        raise ValueError("no number of an action, or no time")
    if "action" in line:
        changes: list[Change] = [check_change(change) | {"at": line["at"]} for change in line["changes"]]
        decisions.act(number, changes, bool(line.get("again")))
    elif "undo" in line:
        decisions.undo(number)
    else:
        decisions.redo(number)


def events_of(entry: Mapping[str, Any], decisions: Decisions) -> list[str]:
    """The events of a line that is not replayed yet."""
    changes = (
        entry["changes"] if "changes" in entry else (decisions.done if "undo" in entry else decisions.undone)[-1][1]
    )
    return [change["event"] for change in changes]


def encoded(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, separators=(",", ":")).encode()
