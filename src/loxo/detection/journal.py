"""The journal of a run: one JSON line for every finished recording, with its events, appended as soon as it is done.

It is what a run resumes from. A line torn by a loss of power is dropped when the journal is opened again. Only where
the lines lie is held in memory, not the events.
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from loxo.errors import LoxoError
from loxo.files import atomic_file

DONE, TRUNCATED, FAILED = "done", "truncated", "failed"

Row = list[str]  # an event's cells for CSV, without the recording


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A recording and what became of it."""

    path: str  # absolute
    recording: str  # as given
    name: str  # of its table, below the folder of tables, without suffix
    size: int  # bytes
    mtime_ns: int
    status: str  # DONE, TRUNCATED or FAILED
    duration_s: float = 0.0
    analysed_s: float = 0.0
    events: int = 0
    reason: str | None = None  # why truncated or failed
    notes: tuple[str, ...] = ()


class Journal:
    """Opens or begins the journal at `path`. Raises LoxoError when it cannot be read or written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, Entry] = {}  # by absolute path; a later line replaces an earlier one
        self._offsets: dict[str, int] = {}
        try:
            self._file: IO[bytes] = path.open("a+b")
            self._load()
        except OSError as error:
            raise self._fault(error) from error

    def _load(self) -> None:
        self._file.seek(0)
        end = 0
        for line in self._file:
            try:
                entry = _entry(json.loads(line)) if line.endswith(b"\n") else None
            except (ValueError, TypeError, KeyError):
                entry = None
            if entry is None:
                break
            self.entries[entry.path] = entry
            self._offsets[entry.path] = end
            end += len(line)
        self._file.truncate(end)

    def add(self, entry: Entry, rows: list[Row]) -> None:
        """Appends a recording and makes sure it is on the disk."""
        try:
            self._file.seek(0, os.SEEK_END)
            offset = self._file.tell()
            self._file.write(_line(entry, rows))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._fault(error) from error
        self.entries[entry.path] = entry
        self._offsets[entry.path] = offset

    def rows(self, path: str) -> list[Row]:
        """The events of a recording, by its absolute path."""
        self._file.seek(self._offsets[path])
        rows: list[Row] = json.loads(self._file.readline())["rows"]
        return rows

    def close(self) -> None:
        self._file.close()

    def close_compact(self) -> None:
        """Closes the journal and writes it anew, each recording once, in the order of their paths."""
        with atomic_file(self.path, "wb") as file:
            for path in sorted(self.entries):
                file.write(_line(self.entries[path], self.rows(path)))
            self._file.close()  # an open file cannot be replaced on every system

    def _fault(self, error: OSError) -> LoxoError:
        return LoxoError(f"{self.path}: the run cannot be recorded ({error.strerror}). May you write there?")


def _line(entry: Entry, rows: list[Row]) -> bytes:
    return json.dumps({**dataclasses.asdict(entry), "rows": rows}).encode() + b"\n"


def _entry(values: dict[str, Any]) -> Entry:
    del values["rows"]
    values["notes"] = tuple(values["notes"])
    return Entry(**values)
