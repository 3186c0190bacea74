"""The journal of a run: one JSON line for every finished recording, with its events, appended as soon as it is done.

A run resumes from its journal. Opening the journal drops an incomplete last line, which a power failure or a full disk
leaves. The offsets of the lines are kept in memory, the events are not.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loxo.audio.storage import RangeFile, is_url
from loxo.errors import LoxoError
from loxo.files import atomic_file, inside, leads_out, parse_json

JOURNAL = "journal.jsonl"
DONE, TRUNCATED, FAILED = "done", "truncated", "failed"

Row = list[str]  # an event's cells for CSV, without the recording's


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A recording and its status in the run."""

    path: str  # absolute, or a URL
    recording: str  # as given
    name: str  # of its files in the run folder, without suffix; may contain "/"
    size: int  # bytes
    version: str  # changes with the content (loxo.audio.storage.size_and_version)
    status: str  # DONE, TRUNCATED or FAILED
    duration_s: float = 0.0
    analysed_s: float = 0.0
    events: int = 0
    reason: str | None = None  # why truncated or failed
    notes: tuple[str, ...] = ()
    files: tuple[tuple[str, int], ...] = ()  # paths relative to the run folder, and sizes in bytes


class Journal:
    """Opens or creates the journal at `path`. Raises LoxoError when it cannot be read or written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, Entry] = {}  # by absolute path; a later line replaces an earlier one
        self._spans: dict[str, tuple[int, int]] = {}  # offset and length of their lines in bytes
        self._end = 0
        try:
            self._file = path.open("a+b", buffering=0)
            self._load()
        except OSError as error:
            raise self._fault(error) from error

    def _load(self) -> None:
        with self.path.open("rb") as file:
            for line in file:
                try:
                    entry = _entry(parse_json(line)) if line.endswith(b"\n") else None
                except (ValueError, TypeError, KeyError, OverflowError):
                    entry = None
                if entry is None:
                    break
                self._remember(entry, len(line))
        self._file.truncate(self._end)

    def _remember(self, entry: Entry, length: int) -> None:
        self.entries[entry.path] = entry
        self._spans[entry.path] = self._end, length
        self._end += length

    def add(self, entry: Entry, rows: list[Row], *, to_disk: bool = True) -> None:
        """Appends a recording. With `to_disk`, this line and all earlier ones are on the disk (fsync) at the return."""
        line = _line(entry, rows)
        try:
            written = self._file.write(line)
            while written < len(line):  # the disk is nearly full: the next write raises the reason
                written += self._file.write(line[written:])
            if to_disk:
                os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._end)
            raise self._fault(error) from error
        self._remember(entry, len(line))

    def rows(self, path: str) -> list[Row]:
        """The events of a recording, which is given by its absolute path."""
        rows: list[Row] = parse_json(self._text(path))["rows"]
        return rows

    def _text(self, path: str) -> bytes:
        offset, length = self._spans[path]
        self._file.seek(offset)
        return self._file.read(length)

    def close(self) -> None:
        self._file.close()

    def close_compact(self) -> None:
        """Closes the journal and rewrites it: each recording once, in the order of their paths."""
        with atomic_file(self.path, "wb") as file:
            for path in sorted(self.entries):
                file.write(_line(self.entries[path], self.rows(path)))
            self._file.close()  # an open file cannot be replaced on every system

    def _fault(self, error: OSError) -> LoxoError:
        return LoxoError(
            f"{self.path}: the run cannot be recorded ({error.strerror}). May you write there, and is there room on "
            "the disk?"
        )


def read_journal(path: Path | str) -> Iterator[tuple[Entry, list[Row]]]:
    """The recordings of a run with their events, one after the other. `path` may be a URL.

    The file is neither changed nor locked. A recording that an interrupted run analysed twice occurs twice, the later
    analysis last. Reading stops at an incomplete line. Raises LoxoError when the journal cannot be read.
    """
    try:
        with io.BufferedReader(RangeFile(str(path))) if is_url(path) else Path(path).open("rb") as file:
            for line in file:
                try:
                    values = parse_json(line)
                    rows = values["rows"]
                    yield _entry(values), rows
                except (ValueError, TypeError, KeyError, OverflowError):
                    return  # incomplete, after an interruption
    except OSError as error:
        raise LoxoError(
            f"{path}: the journal of the run cannot be read ({error.strerror or error}). Run `loxo detect` again."
        ) from error


def read_run_journal(run: str | Path) -> Iterator[tuple[Entry, list[Row]]]:
    """read_journal for a run folder on a disk."""
    return read_journal(inside(run, JOURNAL))


def _line(entry: Entry, rows: list[Row]) -> bytes:
    # dataclasses.asdict would copy every value, which is slow for many recordings.
    values = {field: getattr(entry, field) for field in _FIELDS}
    return json.dumps({**values, "rows": rows}).encode() + b"\n"


_FIELDS = tuple(field.name for field in dataclasses.fields(Entry))


def _entry(values: dict[str, Any]) -> Entry:
    del values["rows"]
    values["notes"] = tuple(values["notes"])
    values["files"] = tuple((str(name), int(size)) for name, size in values["files"])
    entry = Entry(**values)
    if any(map(leads_out, (entry.name, *(name for name, _ in entry.files)))):
        raise ValueError("a name leads out of the run folder")
    return entry
