"""The decisions of a reviewer on disk: an append-only file of JSON lines, one file per reviewer, in `RUN/review/`.

    {"journal": 1, "reviewer": "Ana"}                                            the first line
    {"action": 1, "at": "2026-03-01T08:00:00+00:00", "changes": [{"event": "5f0c...", "verdict": "yes"}]}
    {"undo": 1, "at": ...}    {"redo": 1, "at": ...}

A change names an event and sets the fields (FIELDS) that it contains; the other fields stay. A searched stretch is
stored in the same way: its name begins with SEARCHED, and it has a recording, a label and two times, but no verdict.
One action may change many events and is undone as one. Undo takes back the last action that is in effect, without
limit. Redo restores it until a new action is added. Nothing is ever erased.

Failure policy: a line is on the disk (fsync) in the file that the path names before `add`, `undo` and `redo` return. A
kill at any moment therefore loses no decision that the server has answered. Programs that synchronise folders replace,
overwrite and remove files. The file of the path is compared with the open file before and after each line. Another file
is opened and read, and the lines that it lacks are written again (`missing_lines`). An action that is written again has
`"again": true`: of the decisions on one event the latest counts, in whatever order the lines are. If that is
impossible, LoxoError is raised and the line does not count.

An incomplete last line was never answered and is dropped. Any other damaged line raises LoxoError, because decisions
must not vanish silently.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loxo.errors import LoxoError
from loxo.files import inside, lock_file
from loxo.review.decisions import (
    MAX_REVIEWER,
    Change,
    Decisions,
    encoded,
    events_of,
    is_line,
    missing_lines,
    replay,
    replay_line,
)

FOLDER, SUFFIX = "review", ".jsonl"
MAX_SIZE = 100 << 20  # bytes of a log: more than a million decisions
TRIES = 5  # a log that is replaced more often while one line is written is a fault

Stamp = tuple[int, int, int, int]  # device, inode, size and time of the last change of a file


class DecisionLog:
    """One reviewer's decision log, open for appending. Raises LoxoError when it cannot be opened, or is locked."""

    def __init__(self, path: Path, reviewer: str) -> None:
        self.path, self.reviewer = path, reviewer
        self.decisions = Decisions(reviewer=reviewer)
        self._lines = [encoded({"journal": 1, "reviewer": reviewer})]  # all lines that the file must contain
        self._file: int | None = None
        self._stamp: Stamp | None = None  # of the file after the last line
        self._end: int | None = None  # where a line that was refused begins, if it could not be removed
        self._changed: dict[str, None] = {}  # events whose decisions changed since the last answer
        self.follow()

    def add(self, changes: Sequence[Change]) -> list[str]:
        """Appends an action. It is on the disk when `add` returns. Returns the events whose decisions changed."""
        return self._commit(lambda now: {"action": now.actions + 1, "at": _now(), "changes": list(changes)}) or []

    def undo(self) -> list[str] | None:
        """Takes back the last action in effect. Returns the events that changed, or None if there is no action."""
        return self._commit(lambda now: {"undo": now.done[-1][0], "at": _now()} if now.done else None)

    def redo(self) -> list[str] | None:
        """Restores the last action that was undone. Returns the events that changed, or None if there is none."""
        return self._commit(lambda now: {"redo": now.undone[-1][0], "at": _now()} if now.undone else None)

    def follow(self) -> list[str]:
        """Opens and reads the file that the path names, if it is another one or was changed by another program, and
        writes the lines that it lacks. Returns the events whose decisions changed."""
        self._follow()
        return self._take_changed()

    def _follow(self) -> None:
        try:
            for _ in range(TRIES):
                if self._is_current():
                    return
                self._reopen()
        except OSError as error:
            raise self._fault(error) from error
        raise self._replaced_again()

    def _take_changed(self) -> list[str]:
        changed, self._changed = list(self._changed), {}
        return changed

    def close(self) -> None:
        """Closes the file. Raises LoxoError if it was replaced and the decisions cannot be written again."""
        try:
            self.follow()
        finally:
            if self._file is not None:
                os.close(self._file)
            self._file = None

    def _commit(self, make: Callable[[Decisions], dict[str, Any] | None]) -> list[str] | None:
        """Writes the line that `make` gives for the present decisions."""
        line = None
        for _ in range(TRIES):
            self._follow()
            if line is not None and line in self._lines:  # the file that replaced the old one is a copy with the line
                return self._take_changed()
            entry = make(self.decisions)
            if entry is None:
                return self._take_changed() or None
            line = encoded(entry)
            if self._append(line):
                events = events_of(entry, self.decisions)
                replay_line(self.decisions, entry)
                self._lines.append(line)
                return list(dict.fromkeys((*events, *self._take_changed())))
        raise self._replaced_again()

    def _append(self, line: bytes) -> bool:
        """Returns False if another program has replaced or changed the file: the line may be lost."""
        assert self._file is not None and self._stamp is not None
        start = self._stamp[2]
        try:
            _write(self._file, line + b"\n")
            stamp = _stamp(os.fstat(self._file))
            if stamp[2] == start + len(line) + 1 and self._names(stamp):
                self._stamp = stamp
                return True
        except OSError as error:
            self._cut(start)
            raise self._fault(error) from error
        self._stamp = None
        return False

    def _cut(self, end: int) -> None:
        """The next line must not follow an incomplete one, and a refused line must not count."""
        assert self._file is not None
        self._end, self._stamp = end, None
        with suppress(OSError):  # else `_reopen` tries again
            if os.fstat(self._file).st_size > end:
                os.ftruncate(self._file, end)
            self._end = None

    def _is_current(self) -> bool:
        return self._stamp is not None and self._names(self._stamp)

    def _names(self, stamp: Stamp) -> bool:
        try:
            return _stamp(self.path.stat()) == stamp
        except FileNotFoundError:
            return False

    def _reopen(self) -> None:
        """Makes the file of the path the open one, with all lines in it. After an error nothing has changed here."""
        self.path.parent.mkdir(exist_ok=True)  # never the run folder: it may be on a disk that was taken out
        file, old = self._file, self._file
        if old is None or not _is_same(old, self.path):
            file, self._end = _open_regular(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND), None
        assert file is not None
        try:
            if file != old:
                self._lock(file)
            content = _content(file, self.path)
            end = content[: self._end].rfind(b"\n") + 1
            lines = content[:end].splitlines()
            decisions = replay(self.path, lines)
            if lines and _file_name(decisions.reviewer) != _file_name(self.reviewer):
                raise LoxoError(
                    f"{self.path}: this is the decision log of {decisions.reviewer!r}, not of {self.reviewer!r}. Give "
                    "that name with --reviewer, or put back the other log."
                )
            missing = missing_lines(self._lines, lines, decisions)
            if end < len(content):
                os.ftruncate(file, end)
            self._end = None
            if missing:
                try:
                    _write(file, b"".join(line + b"\n" for line in missing))
                except OSError:
                    with suppress(OSError):
                        os.ftruncate(file, end)
                    raise
                _sync_folder(self.path.parent)
            stamp = _stamp(os.fstat(file))
        except BaseException:
            if file != old:
                os.close(file)
            raise
        if old is not None and file != old:
            os.close(old)
        before, now = self.decisions.by_event, decisions.by_event
        self._changed |= dict.fromkeys(event for event in before | now if before.get(event) != now.get(event))
        decisions.reviewer = self.reviewer
        self._file, self._stamp, self._lines, self.decisions = file, stamp, [*lines, *missing], decisions

    def _lock(self, file: int) -> None:
        """Two servers must not write one decision log."""
        try:
            lock_file(file)
        except BlockingIOError:
            raise LoxoError(
                f"{self.path}: another `loxo review` has this decision log open. Use its page, stop it first, or give "
                "another name with --reviewer."
            ) from None

    def _fault(self, error: OSError) -> LoxoError:
        return LoxoError(
            f"{self.path}: the decision cannot be stored ({error.strerror or error}). Is the run folder there, may you "
            "write there, and is there room on the disk? Then decide again."
        )

    def _replaced_again(self) -> LoxoError:
        return LoxoError(
            f"{self.path}: the decision cannot be stored, because another program replaces the file again and again. "
            "Stop that program, then decide again."
        )


def read_decision_log(path: Path) -> Decisions:
    """The decisions in a log that another server may be writing. Raises LoxoError as DecisionLog does."""
    try:
        file = _open_regular(path, os.O_RDONLY)
        try:
            content = _content(file, path)
        finally:
            os.close(file)
    except OSError as error:
        raise LoxoError(
            f"{path}: the decision log cannot be read ({error.strerror or error}). May you read the file?"
        ) from error
    return replay(path, content[: content.rfind(b"\n") + 1].splitlines())


Logs = dict[Path, tuple[Stamp | None, Decisions | str]]


def read_decision_logs(paths: Iterable[Path], known: Logs | None = None) -> Logs:
    """The stamp and the decisions of each log, or the reason why it cannot be read. A log is read again only if its
    stamp differs from that in `known`, or it could not be read. A log that no longer exists is left out."""
    logs: Logs = {}
    for path in paths:
        stamp = None
        try:
            with suppress(OSError):
                stamp = _stamp(path.stat())
            before = known.get(path) if known else None
            if before and stamp and before[0] == stamp and isinstance(before[1], Decisions):
                logs[path] = before
            else:
                logs[path] = (stamp, read_decision_log(path))
        except LoxoError as error:
            if os.path.lexists(path):
                logs[path] = (stamp, f"{error} Until then its decisions do not count.")
    return logs


def decision_log_path(run: Path, reviewer: str) -> Path:
    """The path of a reviewer's decision log. Raises LoxoError for a name without a letter or digit, or of several
    lines."""
    if not is_line(reviewer, MAX_REVIEWER):
        raise LoxoError(
            f"The reviewer's name {reviewer!r} must have at most {MAX_REVIEWER} characters, in one line. Give another "
            "with --reviewer."
        )
    name = _file_name(reviewer)
    if not name:
        raise LoxoError(f"The reviewer's name {reviewer!r} has no letter or digit. Give another with --reviewer.")
    return inside(run, f"{FOLDER}/{name}{SUFFIX}")


def _file_name(reviewer: str) -> str:
    return re.sub(r"[^\w.-]+", "-", reviewer.strip().casefold()).strip("-.")


def decision_logs(run: Path) -> list[Path]:
    """The paths of all decision logs of a run, sorted by name."""
    return sorted(inside(run, FOLDER).glob("*" + SUFFIX))


def _open_regular(path: Path, flags: int) -> int:
    """Opens a regular file of the run folder: no link to elsewhere, no pipe."""
    if Path(os.path.realpath(path)) != Path(os.path.realpath(path.parent.parent), *path.parts[-2:]):
        raise LoxoError(
            f"{path}: the file is behind a symbolic link, which Loxo does not follow. Replace the link by the file."
        )
    file = os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0), 0o666)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise LoxoError(f"{path}: this is not a file, so it cannot be a decision log. Remove it.")
    return file


def _content(file: int, path: Path) -> bytes:
    if os.fstat(file).st_size > MAX_SIZE:
        raise LoxoError(
            f"{path}: the file is larger than {MAX_SIZE >> 20} MiB, so it cannot be a decision log. Remove it."
        )
    with open(file, "rb", closefd=False) as opened:
        opened.seek(0)
        return opened.read(MAX_SIZE)


def _write(file: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]
    os.fsync(file)


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _is_same(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _sync_folder(folder: Path) -> None:
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
