"""The folder of a run.

    run.json        model and its hash, version, every parameter, and for each recording status, seconds and reason, and
                    the `name` of its files
    events.csv      the events of all recordings, sorted; beside it the tables of the run in other formats (outputs.py)
    tables/         a Raven selection table for each recording that could be read, named after it: the path below the
                    folder that was given, or the bare name of a file that was given, with .selections.txt for its
                    suffix. If two recordings would share a name, the later gets -xxxxxxxx, from its path's SHA-256.
    scores/         if asked for: the frame scores by the same names (scorefile.py)
    journal.jsonl   what a later call resumes from (journal.py)
    parts/          while a run is under way or interrupted: finished shards of unfinished recordings (parts.py)
    .lock           while a run is under way (lock.py)

Tables hold absolute paths, so that Raven finds the recordings; events.csv holds them as given.

Every file is written whole or not at all. run.json and events.csv are written when a call begins and ends, not for each
recording. Where recordings are finished in quick succession, their tables are left to the system to write to the disk;
the journal has their sizes, so that one that a loss of power has spoiled is noticed, and its recording done again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

from loxo.audio.storage import is_url, size_and_version
from loxo.detection.detect import Analysis, Outcome
from loxo.errors import LoxoError
from loxo.events.writers import WRITERS, csv_row
from loxo.files import without_fsync, write_atomically
from loxo.runs.config import current_parameters
from loxo.runs.journal import DONE, FAILED, TRUNCATED, Entry, Journal
from loxo.runs.lock import only_run
from loxo.runs.scores import write_scores
from loxo.runs.shard_store import Parts
from loxo.runs.tables import FOLDERS, Finished, table_name, write_run

# Two calls may share a folder only if these are equal. What else is recorded changes no more than float noise, or only
# the form of the output.
MUST_AGREE = (
    *("version", "model_sha256", "runtime", "threshold", "decoding", "window_overlap"),
    *("keep_scores", "names", "from_scores"),
)
TO_DISK_S = 0.2  # as often at most is the disk waited for
Found = Path | str


class RunFolder:
    """A run folder that this process writes, as a context: it holds the lock.

    Raises LoxoError when the folder cannot be written, holds something else or a run with other parameters, or another
    run is writing into it.
    """

    def __init__(self, folder: Path, parameters: dict[str, Any], problems: Sequence[tuple[Found, str]]) -> None:
        self.folder, self.parameters, self.problems = folder, parameters, list(problems)
        self.place: Path | str = folder  # as users know it
        self._held = ExitStack()
        self._to_disk_at = 0.0
        self._left = 0  # recordings whose files were left to the system
        self._made: set[Path] = set()  # folders
        self._empty: dict[str, bytes] = {}  # what a table without events looks like, by format

    def __enter__(self) -> RunFolder:
        try:
            self._check_contents()
            self.folder.mkdir(parents=True, exist_ok=True)
            self._held.enter_context(only_run(self.folder))
            self._check_contents()
            self._fetch()
            self._check_parameters()
            self._open_journal()
            self._record("running")
        except OSError as error:
            self._held.close()
            raise LoxoError(
                f"{self.folder}: this cannot be the folder of a run ({error.strerror}). Give one you may write to."
            ) from error
        except BaseException:
            self._held.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.journal.close()
        self._held.close()

    def _check_contents(self) -> None:
        """Raises LoxoError when the folder holds anything but a run."""
        if (self.folder / "run.json").is_file() or not self.folder.is_dir():
            return
        if any(not path.name.startswith(".") for path in self.folder.iterdir()):
            raise LoxoError(f"{self.folder}: the folder is not empty and holds no run of Loxo. Give another name.")

    def _check_parameters(self) -> None:
        """Raises LoxoError when the folder holds a run with other parameters."""
        record = self.folder / "run.json"
        if not record.is_file():
            return
        try:
            before = current_parameters(json.loads(record.read_text(encoding="utf-8"))["parameters"])
            differences = [
                difference
                for name in MUST_AGREE
                for difference in _differences(name, before.get(name), self.parameters.get(name))
            ]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LoxoError(f"{record}: this is no run of Loxo, or it is damaged. Give another folder.") from error
        if differences:
            raise LoxoError(
                f"{self.place}: the folder holds a run with other parameters ({'; '.join(differences)}). "
                "Give another folder, or the same parameters to resume."
            )

    def _fetch(self) -> None:
        """Gets what is needed of a run that lies elsewhere (remotefolder.py)."""

    def _open_journal(self) -> None:
        self.journal = Journal(self.folder / "journal.jsonl")

    def plan(self, found: Sequence[Found], given: Sequence[str]) -> list[Entry]:
        """An entry for each recording, with a name of its own; names of earlier calls stay. `given` is what the
        recordings were found in, in part folders."""
        names = {entry.name.casefold(): entry.path for entry in self.journal.entries.values()}
        roots = {_absolute(path) for path in given}
        entries = []
        for recording in map(str, found):
            path = _absolute(recording)
            name = _name(path, roots)
            before = self.journal.entries.get(path)
            if before is not None:
                name = before.name
            elif names.setdefault(name.casefold(), path) != path:
                name += "-" + hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()[:8]
                names[name.casefold()] = path
            try:
                size, version = size_and_version(recording)
            except LoxoError:  # the analysis will say why
                size, version = 0, ""
            entries.append(Entry(path=path, recording=recording, name=name, size=size, version=version, status=FAILED))
        return entries

    def finished(self, entry: Entry) -> bool:
        """Whether a recording needs no more work: it was done when it was as it is, and its files are there."""
        before = self.journal.entries.get(entry.path)
        if before is None or before.status == FAILED or (before.size, before.version) != (entry.size, entry.version):
            return False
        return all(self._is_there(name, size) for name, size in before.files)

    def _is_there(self, name: str, size: int | None = None) -> bool:
        """Whether a file of the run is there, of this size if one is given."""
        try:
            return (self.folder / name).stat().st_size == size or size is None
        except OSError:
            return False

    def _remove(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)

    def parts(self, entries: Sequence[Entry], shard_minutes: float) -> Parts:
        """Where the finished shards of these recordings are kept."""
        keys = [
            hashlib.sha256(
                f"{shard_minutes}\0{entry.size}\0{entry.version}\0{entry.path}".encode(errors="surrogateescape")
            ).hexdigest()[:24]
            for entry in entries
        ]
        return Parts(self.folder / "parts", keys)

    def keep(self, entry: Entry, outcome: Outcome) -> None:
        """Writes a recording's files and then, as the sign that they are complete, its line of the journal."""
        now = time.monotonic()
        to_disk = now - self._to_disk_at >= TO_DISK_S
        if isinstance(outcome, str):
            self._remove_files(entry)  # of an earlier state of the recording
            self.journal.add(dataclasses.replace(entry, reason=outcome), [], to_disk=to_disk)
            return
        with nullcontext() if to_disk else without_fsync():
            if entry.path in self.journal.entries:
                self._remove_files(entry)
            files = [
                self._keep_table(entry, outcome, format) for format in self.parameters["formats"] if format in FOLDERS
            ]
            if self.parameters["keep_scores"]:
                files.append(self._keep_scores(entry, outcome))
        entry = dataclasses.replace(
            entry,
            status=TRUNCATED if outcome.fault else DONE,
            duration_s=outcome.duration_s,
            analysed_s=outcome.analysed_s,
            events=len(outcome.events),
            reason=outcome.fault,
            notes=outcome.notes,
            files=tuple(files),
        )
        rows = [csv_row(event)[1:] for event in outcome.events.to_dict("records")] if len(outcome.events) else []
        self.journal.add(entry, rows, to_disk=to_disk)
        self._left += not to_disk
        if to_disk:
            self._to_disk_at = time.monotonic()

    def _remove_files(self, entry: Entry) -> None:
        before = self.journal.entries.get(entry.path)
        try:
            for name, _ in before.files if before is not None else ():
                self._remove(name)
            for format in FOLDERS if before is not None else ():  # of formats that were asked for in another call
                self._remove(table_name(entry.name, format))
        except OSError as error:
            raise LoxoError(f"{self.folder}: the run cannot write there any more ({error.strerror}).") from error

    def _keep_table(self, entry: Entry, analysis: Analysis, format: str) -> tuple[str, int]:
        writer = WRITERS[format]
        name = table_name(entry.name, format)
        if len(analysis.events):
            return self._write(name, lambda path: writer.write(analysis.events.assign(recording=entry.path), path))
        # Most short recordings hold no event, and their tables are all the same.
        if format not in self._empty:
            written = self._write(name, lambda path: writer.write(analysis.events, path))
            self._empty[format] = (self.folder / name).read_bytes()
            return written
        return self._write(name, lambda path: write_atomically(path, self._empty[format]))

    def _keep_scores(self, entry: Entry, analysis: Analysis) -> tuple[str, int]:
        return self._write(
            f"scores/{entry.name}.npz",
            lambda path: write_scores(path, analysis.rows, analysis.scores, analysis.hop_s),
        )

    def _write(self, name: str, write: Callable[[Path], None]) -> tuple[str, int]:
        """The name of a file below the folder, as it goes into the journal, and its bytes."""
        path = self.folder / name
        write(path)
        return name, path.stat().st_size

    def close(self, status: str, asked: Sequence[Entry]) -> None:
        """events.csv, run.json and the journal of all recordings in the folder, by the names they were last given."""
        if self._left and hasattr(os, "sync"):
            os.sync()
        given = {entry.path: entry.recording for entry in asked}
        self.journal.entries = {
            path: entry
            if given.get(path, entry.recording) == entry.recording
            else dataclasses.replace(entry, recording=given[path])
            for path, entry in self.journal.entries.items()
        }
        analysed = (
            Finished(entry.recording, entry.path, entry.analysed_s if entry.reason else entry.duration_s, entry.name)
            for entry in self._ordered()
            if entry.status != FAILED
        )
        formats = self.parameters["formats"]
        write_run(
            self.folder,
            analysed,
            lambda done: self.journal.rows(done.path),
            formats,
            self.parameters,
            is_there=self._is_there,
        )
        self._record(status)
        self.journal.close_compact()

    def _ordered(self) -> list[Entry]:
        return sorted(self.journal.entries.values(), key=lambda entry: (entry.recording, entry.path))

    def _record(self, status: str) -> None:
        has_table = "raven" in self.parameters["formats"]
        record = {
            "status": status,
            "parameters": self.parameters,
            "problems": [[str(path), sentence] for path, sentence in self.problems],
            "recordings": [
                {
                    "recording": entry.recording,
                    "status": entry.status,
                    "duration_s": round(entry.duration_s, 6),
                    "analysed_s": round(entry.analysed_s, 6),
                    "events": entry.events,
                    "reason": entry.reason,
                    "notes": list(entry.notes),
                    "name": None if entry.status == FAILED else entry.name,
                    "table": table_name(entry.name, "raven") if has_table and entry.status != FAILED else None,
                }
                for entry in self._ordered()
            ],
        }
        write_atomically(self.folder / "run.json", (json.dumps(record, indent=1) + "\n").encode())


def _differences(name: str, before: Any, now: Any) -> Iterator[str]:
    """What is not the same any more, down to the single values of parameters by class."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in {**before, **now}:
            yield from _differences(f"{name}.{key}", before.get(key), now.get(key))
    elif before != now:
        yield f"{name} {before!r} is now {now!r}"


def _absolute(path: str) -> str:
    """The absolute path of a file, links not followed; a URL is one already."""
    return path.rstrip("/") if is_url(path) else os.path.abspath(path)  # noqa: PTH100


def _name(path: str, roots: set[str]) -> str:
    """The path below the outermost of the folders in `roots` that holds it, or the bare name; without suffix, and with
    "/" between."""
    separator = "/" if is_url(path) else os.sep
    parts = path.split(separator)
    depths = range(1, len(parts))
    depth = next((k for k in depths if (separator.join(parts[:k]) or separator) in roots), len(parts) - 1)
    below = parts[depth:]
    stem, dot, suffix = below[-1].rpartition(".")
    below[-1] = stem if dot and stem and suffix else below[-1]
    return "/".join(below)
