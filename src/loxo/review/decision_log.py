"""The decisions of a reviewer on disk: an append-only file of JSON lines, one file per reviewer, in `RUN/review/`.

    {"journal": 1, "reviewer": "Ana"}                                            the first line
    {"action": 1, "at": "2026-03-01T08:00:00+00:00", "changes": [{"event": "5f0c...", "verdict": "yes"}]}
    {"undo": 1, "at": ...}    {"redo": 1, "at": ...}

A change names an event and sets the fields (FIELDS) that it contains; the other fields stay. One action may change many
events and is undone as one. Undo takes back the last action that is in effect, without limit. Redo restores it until
a new action is added. Nothing is ever erased.

Failure policy: an action is on the disk (fsync) before `add` returns. A kill at any moment therefore loses no decision
that the server has answered. An incomplete last line was never answered and is dropped. Any other damaged line raises
LoxoError, because decisions must not vanish silently.
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from loxo.errors import LoxoError
from loxo.files import lock_file

FOLDER, SUFFIX = "review", ".jsonl"
VERDICTS = ("yes", "no", "unsure", "other")
FIELDS = ("verdict", "label", "start_s", "end_s", "low_hz", "high_hz", "note", "recording")
DRAWN = "drawn-"  # prefix of the names of events that a reviewer drew

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
    recording: str | None = None  # of a drawn event, as events.csv names it
    at: str = ""  # when it was last changed, ISO 8601 in UTC


@dataclass
class Decisions:
    """The decisions in effect after the actions of one decision log, in their order."""

    reviewer: str = ""
    by_event: dict[str, Decision] = field(default_factory=dict)
    actions: int = 0  # number of the last action
    done: list[tuple[int, list[Change]]] = field(default_factory=list)
    undone: list[tuple[int, list[Change]]] = field(default_factory=list)
    _history: dict[str, list[Change]] = field(default_factory=lambda: defaultdict(list))

    def act(self, number: int, changes: list[Change]) -> None:
        self.actions = number
        self.done.append((number, changes))
        self.undone.clear()
        self._apply(changes)

    def undo(self) -> tuple[int, list[Change]]:
        number, changes = self.done.pop()
        self.undone.append((number, changes))
        for change in reversed(changes):
            event = change["event"]
            history = self._history[event]
            history.pop()  # the last change of this event: actions are undone in reverse order
            decision = Decision()
            for earlier in history:
                decision = _changed(decision, earlier)
            if history:
                self.by_event[event] = decision
            else:
                self.by_event.pop(event, None)
        return number, changes

    def redo(self) -> tuple[int, list[Change]]:
        number, changes = self.undone.pop()
        self.done.append((number, changes))
        self._apply(changes)
        return number, changes

    def _apply(self, changes: Iterable[Change]) -> None:
        for change in changes:
            event = change["event"]
            self._history[event].append(change)
            self.by_event[event] = _changed(self.by_event.get(event, Decision()), change)


def _changed(decision: Decision, change: Change) -> Decision:
    return replace(decision, **{name: change[name] for name in (*FIELDS, "at") if name in change})


class DecisionLog:
    """One reviewer's decision log, open for appending. Raises LoxoError when it cannot be opened, or is locked."""

    def __init__(self, path: Path, reviewer: str) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = path.open("a+b")
        except OSError as error:
            raise self._fault(error) from error
        try:
            self._open(reviewer)
        except OSError as error:
            self._file.close()
            raise self._fault(error) from error
        except LoxoError:
            self._file.close()
            raise

    def _open(self, reviewer: str) -> None:
        self._lock()
        self._file.seek(0)
        content = self._file.read()
        end = content.rfind(b"\n") + 1
        self._file.truncate(end)
        self.decisions = _replay(self.path, content[:end])
        self.decisions.reviewer = reviewer
        if not end:
            self._append({"journal": 1, "reviewer": reviewer})
            _sync_folder(self.path.parent)

    def add(self, changes: Sequence[Change]) -> None:
        """Appends an action. It is on the disk when `add` returns."""
        number, at = self.decisions.actions + 1, _now()
        self._append({"action": number, "at": at, "changes": list(changes)})
        self.decisions.act(number, [{**change, "at": at} for change in changes])

    def undo(self) -> list[Change] | None:
        """Takes back the last action in effect. Returns its changes, or None if there is no action."""
        if not self.decisions.done:
            return None
        self._append({"undo": self.decisions.done[-1][0], "at": _now()})
        return self.decisions.undo()[1]

    def redo(self) -> list[Change] | None:
        """Restores the last action that was undone. Returns its changes, or None if there is no action."""
        if not self.decisions.undone:
            return None
        self._append({"redo": self.decisions.undone[-1][0], "at": _now()})
        return self.decisions.redo()[1]

    def close(self) -> None:
        self._file.close()

    def _append(self, line: dict[str, Any]) -> None:
        start = self._file.seek(0, os.SEEK_END)
        try:
            self._file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            self._reopen(start)  # the next line must not follow an incomplete one
            raise self._fault(error) from error

    def _lock(self) -> None:
        """Two servers must not write one decision log."""
        try:
            lock_file(self._file.fileno())
        except BlockingIOError:
            raise LoxoError(
                f"{self.path}: another `loxo review` has this decision log open. Use its page, stop it first, or give "
                "another name with --reviewer."
            ) from None

    def _reopen(self, end: int) -> None:
        with suppress(OSError):  # closing writes the rest of the buffer, which fails again
            self._file.close()
        self._file = self.path.open("a+b")
        self._file.truncate(end)
        self._lock()

    def _fault(self, error: OSError) -> LoxoError:
        return LoxoError(
            f"{self.path}: the decision cannot be stored ({error.strerror or error}). May you write there, and is "
            "there room on the disk?"
        )


def read_decision_log(path: Path) -> Decisions:
    """The decisions in a log that another server may be writing. Raises LoxoError as DecisionLog does."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LoxoError(
            f"{path}: the decision log cannot be read ({error.strerror or error}). May you read the file?"
        ) from error
    return _replay(path, content[: content.rfind(b"\n") + 1])


def decision_log_path(run: Path, reviewer: str) -> Path:
    """The path of a reviewer's decision log. Raises LoxoError for a name without a letter or digit."""
    name = re.sub(r"[^\w.-]+", "-", reviewer.strip().casefold()).strip("-.")
    if not name:
        raise LoxoError(f"The reviewer's name {reviewer!r} has no letter or digit. Give another with --reviewer.")
    return run / FOLDER / (name + SUFFIX)


def decision_logs(run: Path) -> list[Path]:
    """The paths of all decision logs of a run, sorted by name."""
    return sorted((run / FOLDER).glob("*" + SUFFIX))


def _replay(path: Path, content: bytes) -> Decisions:
    decisions = Decisions(reviewer=path.stem)
    for number, line in enumerate(content.splitlines(), 1):
        try:
            _replay_line(decisions, json.loads(line))
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise LoxoError(
                f"{path}, line {number}: the decision log is damaged in this line. Remove the line, or put back a "
                "copy of the file."
            ) from error
    return decisions


def _replay_line(decisions: Decisions, line: dict[str, Any]) -> None:
    if "journal" in line:
        decisions.reviewer = str(line["reviewer"])
    elif "action" in line:
        at = str(line["at"])
        decisions.act(int(line["action"]), [_checked({**change, "at": at}) for change in line["changes"]])
    elif "undo" in line:
        if decisions.undo()[0] != line["undo"]:
            raise ValueError("another action is the last one in effect")
    elif decisions.redo()[0] != line["redo"]:
        raise ValueError("another action was undone last")


def _checked(change: dict[str, Any]) -> dict[str, Any]:
    """Returns the change. Raises ValueError if `Session` cannot have written it."""
    if not isinstance(change["event"], str) or change.get("verdict") not in (None, *VERDICTS):
        raise ValueError("no such change")
    return change


def _sync_folder(folder: Path) -> None:
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
