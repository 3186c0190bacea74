"""The journal of a run: one JSON line for every finished recording, with its events, appended as soon as it is done.

A run resumes from its journal. Another line contains the parameters of the run, so that the journal is of use without
run.json. Each line ends with the checksum of its other bytes; lines of earlier versions have none. The offsets of the
lines are kept in memory, the events are not.

Failure policy: a damaged line is skipped, and its recording is analysed again. Opening the journal for writing removes
an incomplete last line, which a power failure or a full disk leaves.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from loxo.audio.storage import RangeFile, is_url
from loxo.errors import LoxoError
from loxo.events.table import COLUMNS, NUMBERS
from loxo.files import atomic_file, checksum, inside, leads_out, parse_json, sync_folder

JOURNAL = "journal.jsonl"
PARAMETERS, CHECKSUM = "parameters", b', "checksum": "'  # of a line
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
    crashes: int = 0  # worker processes that this recording has crashed; a process that hung counts once
    checksums: tuple[str, ...] = ()  # of these files (loxo.files.checksum); earlier versions stored none


class Journal:
    """Reads the journal at `path`, if it exists; `open` is called before `add`. Raises LoxoError when it cannot be read
    or written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parameters: dict[str, Any] | None = None  # of the run; earlier versions stored none
        self.entries: dict[str, Entry] = {}  # by absolute path; a later line replaces an earlier one
        self.damaged = 0  # lines
        self._spans: dict[str, tuple[int, int]] = {}  # offset and length of their lines in bytes
        self._end = 0
        self._file: io.FileIO | None = None
        try:
            self._load()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise self._fault(error) from error

    def _load(self) -> None:
        with self.path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                try:
                    entry, values = _parse(line)
                except Exception:  # whatever is wrong with the line, it is damaged
                    self.damaged += 1
                    self._end += len(line)
                    continue
                if entry is not None:
                    self._remember(entry, len(line))
                else:
                    self.parameters = values[PARAMETERS]
                    self._end += len(line)

    def forget(self) -> None:
        """Drops all recordings; `open` then empties the file."""
        self.entries, self._spans, self._end = {}, {}, 0

    def open(self, parameters: Mapping[str, Any]) -> None:
        """Opens the file for writing and stores the parameters of the run."""
        before, self.parameters = self.parameters, json.loads(json.dumps(parameters))
        is_stored = self._end > 0 and self.parameters == before
        try:
            self._file = self.path.open("a+b", buffering=0)
            self._file.truncate(self._end)
        except OSError as error:
            raise self._fault(error) from error
        if not is_stored:
            self._end += self._append(_line({PARAMETERS: self.parameters}), to_disk=True)
            sync_folder(self.path.parent)

    def _remember(self, entry: Entry, length: int) -> None:
        self.entries[entry.path] = entry
        self._spans[entry.path] = self._end, length
        self._end += length

    def add(self, entry: Entry, rows: list[Row], *, to_disk: bool = True) -> None:
        """Appends a recording. With `to_disk`, this line and all earlier ones are on the disk (fsync) at the return."""
        self._remember(entry, self._append(_entry_line(entry, rows), to_disk))

    def _append(self, line: bytes, to_disk: bool) -> int:
        """Returns the length of the line."""
        assert self._file is not None
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
        return len(line)

    def drop(self, path: str) -> None:
        """Removes a recording, and writes the file again without it."""
        del self.entries[path]
        parameters = self.parameters
        assert parameters is not None
        self.close_compact()
        self.forget()
        self._load()
        self.open(parameters)

    def rows(self, path: str) -> list[Row]:
        """The events of a recording, which is given by its absolute path."""
        offset, length = self._spans[path]
        assert self._file is not None
        self._file.seek(offset)
        try:
            rows: list[Row] = _parse(self._file.read(length))[1]["rows"]
        except Exception as error:
            raise LoxoError(
                f"{self.path}: a line was damaged while the run was in progress ({error}). Give the same command again."
            ) from error
        return rows

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Opens the file in this block for `rows` only."""
        try:
            with self.path.open("rb", buffering=0) as self._file:
                yield
        except OSError as error:
            raise LoxoError(f"{self.path}: the journal of the run cannot be read ({error.strerror}).") from error

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def close_compact(self) -> None:
        """Closes the journal and rewrites it: each recording once, in the order of their paths."""
        with atomic_file(self.path, "wb") as file:
            file.write(_line({PARAMETERS: self.parameters}))
            for path in sorted(self.entries):
                file.write(_entry_line(self.entries[path], self.rows(path)))
            self.close()  # an open file cannot be replaced on every system

    def _fault(self, error: OSError) -> LoxoError:
        return LoxoError(
            f"{self.path}: the run cannot be recorded ({error.strerror}). May you write there, and is there room on "
            "the disk?"
        )


def read_journal(path: Path | str) -> Iterator[tuple[Entry, list[Row]]]:
    """The recordings of a run with their events, one after the other. `path` may be a URL.

    The file is neither changed nor locked. A recording that an interrupted run analysed twice occurs twice, the later
    analysis last. Damaged lines are skipped. Raises LoxoError when the journal cannot be read.
    """
    for entry, values in _lines(path):
        if entry is not None:
            yield entry, values["rows"]


class Follower:
    """Reads the journal of a run while another process writes it: each call of `read` returns the new lines.

    A run that ends rewrites its journal. Then `read` starts again at the beginning, and `restarts` counts it. The file
    is neither changed nor locked; damaged lines are skipped.
    """

    def __init__(self, run: str | Path) -> None:
        self.path = inside(run, JOURNAL)
        self.parameters: dict[str, Any] | None = None
        self.restarts = 0
        self._file: tuple[int, int] | None = None
        self._offset = 0

    def read(self) -> list[tuple[Entry, list[Row]]]:
        """The recordings of the new whole lines, with their events. A missing file has none."""
        found = []
        try:
            with self.path.open("rb") as file:
                stat = os.fstat(file.fileno())
                identity = stat.st_dev, stat.st_ino
                if self._file != identity or stat.st_size < self._offset:
                    self.restarts += self._file is not None
                    self._file, self._offset = identity, 0
                file.seek(self._offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._offset += len(line)
                    with suppress(Exception):  # whatever is wrong with the line, it is damaged
                        entry, values = _parse(line)
                        if entry is None:
                            self.parameters = values[PARAMETERS]
                        else:
                            found.append((entry, values["rows"]))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise LoxoError(
                f"{self.path}: the journal of the run cannot be read ({error.strerror or error})."
            ) from error
        return found


def read_parameters(path: Path | str) -> dict[str, Any] | None:
    """The parameters of the run in the journal at `path`, which may be a URL; None if it contains none."""
    found = [values[PARAMETERS] for entry, values in _lines(path) if entry is None]
    return found[-1] if found else None


def is_journal(path: Path) -> bool:
    """Whether a file is a journal: it is empty, or at least one line is whole."""
    try:
        return path.stat().st_size == 0 or any(True for _ in _lines(path))
    except OSError:
        return False


def _lines(path: Path | str) -> Iterator[tuple[Entry | None, dict[str, Any]]]:
    """The whole lines, as _parse returns them."""
    try:
        with io.BufferedReader(RangeFile(str(path))) if is_url(path) else Path(path).open("rb") as file:
            for line in file:
                try:
                    parsed = _parse(line)
                except Exception:  # a damaged line, or an incomplete one after an interruption
                    continue
                yield parsed
    except OSError as error:
        raise LoxoError(
            f"{path}: the journal of the run cannot be read ({error.strerror or error}). Run `loxo detect` again."
        ) from error


def read_run_journal(run: str | Path) -> Iterator[tuple[Entry, list[Row]]]:
    """read_journal for a run folder on a disk."""
    return read_journal(inside(run, JOURNAL))


def _entry_line(entry: Entry, rows: list[Row]) -> bytes:
    # dataclasses.asdict would copy every value, which is slow for many recordings.
    return _line(
        {**{field: getattr(entry, field) for field in _FIELDS if field != "crashes" or entry.crashes}, "rows": rows}
    )


def _line(values: Mapping[str, Any]) -> bytes:
    body = json.dumps(values).encode().removesuffix(b"}")
    return body + CHECKSUM + checksum(body).encode() + b'"}\n'


_FIELDS = tuple(field.name for field in dataclasses.fields(Entry))


def _parse(line: bytes) -> tuple[Entry | None, dict[str, Any]]:
    """The recording in a line, or None if it contains parameters, and all its values. Raises any exception when the
    line is damaged."""
    body, mark, found = line.rpartition(CHECKSUM)
    if mark:
        if found != checksum(body).encode() + b'"}\n':
            raise ValueError("its checksum is wrong")
        line = body + b"}"
    values = parse_json(line)
    if values.keys() == {PARAMETERS} and isinstance(values[PARAMETERS], dict):
        return None, values
    return _entry(values), values


def _entry(values: Mapping[str, Any]) -> Entry:
    """Raises some exception when a value is wrong: a damaged line of an earlier version has no checksum."""
    fields = {name: value for name, value in values.items() if name != "rows"}
    fields["notes"] = tuple(map(str, fields["notes"]))
    fields["files"] = tuple((str(name), int(size)) for name, size in fields["files"])
    fields["checksums"] = tuple(map(str, fields.get("checksums", ())))
    fields["crashes"] = int(fields.get("crashes", 0))
    entry = Entry(**fields)
    if len(entry.checksums) not in (0, len(entry.files)):
        raise ValueError("a checksum is missing")
    if any(map(leads_out, (entry.name, *(name for name, _ in entry.files)))):
        raise ValueError("a name leads out of the run folder")
    texts = (entry.path, entry.recording, entry.name, entry.version, entry.reason or "")
    if not all(isinstance(text, str) for text in texts) or entry.status not in (DONE, TRUNCATED, FAILED):
        raise ValueError("a text is wrong")
    if not all(math.isfinite(number) for number in (entry.size, entry.events, entry.duration_s, entry.analysed_s)):
        raise ValueError("a number is wrong")
    for row in values["rows"]:
        cells = dict(zip(COLUMNS[1:], row, strict=False))
        for name in NUMBERS:
            float(cells[name] or 0)
        if cells["start_time"]:
            datetime.fromisoformat(cells["start_time"])
    return entry
