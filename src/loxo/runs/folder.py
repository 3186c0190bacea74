"""The folder of a run.

    run.json        the run record (record.py): parameters, and the status of each recording
    events.csv      the events of all recordings, sorted; beside it the tables of the run in other formats (tables.py)
    tables/         a Raven selection table for each recording that could be read. Its name is the recording's path
                    relative to the given folder, or the bare name of a file that was given, with the suffix
                    .selections.txt. A name that some disks refuse is changed (loxo.files.portable_name). If two
                    recordings would have the same name, the later one gets -xxxxxxxx, from the SHA-256 of its path.
                    run.json has the path and the table of each recording.
    scores/         on request: the frame scores under the same names (scores.py)
    sites.csv       the table of sites, if one was given (sites.py)
    journal.jsonl   the finished recordings with their events, from which a later call resumes (journal.py)
    renamed.jsonl   recordings of a station that were renamed after its clock was set (renamed.py)
    parts/          while a run is in progress or interrupted: finished shards of unfinished recordings (shard_store.py)
    changed/        tables that a later call has found changed, see below
    .lock           while a run is in progress (lock.py)

Tables contain absolute paths, so that Raven finds the recordings; events.csv contains the paths as given.

Every file is written whole or not at all. run.json and events.csv are written when a call begins and when it ends, not
for each recording. If recordings finish in quick succession, most of their tables are written without fsync. The
journal stores the sizes and checksums of the files, and a later call compares all of them. A missing or changed table
is written again from the journal; a recording whose scores are missing or changed is analysed again. A changed table
may be a person's work. It is therefore moved to changed/, and the summary has a note. Files on object storage are
compared by size only, because the storage has checksums of its own. If the disk refuses the names of a recording's
files, that recording has failed; any other fault of the disk ends the run.

A later call starts from the journal, which contains the parameters too. run.json is then written again, so it may be
damaged or lost. Without parameters in the journal (earlier versions) or in run.json, all recordings are analysed again.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, nullcontext, suppress
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any

from loxo.audio.channels import MIX
from loxo.audio.filenames import add_seconds
from loxo.audio.storage import is_url, size_and_version
from loxo.errors import LoxoError, with_path
from loxo.events.sites import SiteTable
from loxo.events.writers import WRITERS, csv_row
from loxo.files import checksum, escape, inside, portable_name, remove_drafts, without_fsync, write_atomically
from loxo.runs.journal import DONE, FAILED, JOURNAL, TRUNCATED, Entry, Journal, is_journal
from loxo.runs.lock import folder_lock
from loxo.runs.record import (
    FIELD_ERRORS,
    RECORD,
    RecordedFile,
    RunRecord,
    foreign_record,
    is_run,
    read_record,
    write_record,
)
from loxo.runs.renamed import event_name, note_renamed
from loxo.runs.result import Outcome, RecordingResult
from loxo.runs.scores import FOLDER as SCORES
from loxo.runs.scores import score_name
from loxo.runs.shard_store import Parts
from loxo.runs.sites import SITES, Origins, find_origins, recorded_names, stored_sites, write_journal_tables
from loxo.runs.tables import FOLDERS, RUN_TABLES, rows_of_cells, table_name

# Two calls may share a folder only if these parameters are equal. Other parameters change the results at most by
# rounding errors, or change only the format of the output.
MUST_AGREE = (
    *("version", "model_sha256", "runtime", "threshold", "decoding", "window_overlap"),
    *("keep_scores", "names", "channel", "from_scores"),
)
MAX_CRASHES = 2  # worker processes that one version of a recording may crash
FSYNC_INTERVAL_S = 0.2  # at least this long between two recordings whose files are written with fsync
# Faults of a single name, not of the disk: it is too long, or a character or a word is refused, or a file has the name
# of a folder
NAME_ERRORS = {
    *(errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ENOENT),
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
}
PARTS = "parts"  # folder of the finished shards
CHANGED = "changed"  # folder of the tables that were found changed
Found = Path | str


def event_names(entry: Entry, rows: Iterable[dict[str, Any]]) -> list[str]:
    """The names of the events of a recording (renamed.py)."""
    table = table_name(entry.name, "raven")
    return [event_name(table, row["label"], row["start_s"], row["end_s"]) for row in rows]


class RunFolder:
    """A run folder that this process writes, as a context manager that holds the lock.

    Raises LoxoError when the folder cannot be written, contains something else or a run with other parameters, or
    another process is writing into it.
    """

    def __init__(
        self,
        folder: Path,
        parameters: dict[str, Any],
        problems: Sequence[tuple[Found, str]],
        sites: SiteTable | None = None,
    ) -> None:
        self.folder, self.parameters, self.problems = folder, parameters, list(problems)
        self.sites = sites  # None: those in the folder, if any
        self.place: Path | str = folder  # as the user gave it, for messages
        self.notes: list[str] = []  # for the summary
        self._held = ExitStack()
        self._is_closed = False
        self._to_disk_at = 0.0
        self._unsynced = 0  # recordings whose files were written without fsync
        self._made: set[Path] = set()  # folders
        self._names: dict[str, str] = {}  # names of files -> paths of the recordings that this process has planned

    def __enter__(self) -> RunFolder:
        try:
            self._check_contents()
            self.folder.mkdir(parents=True, exist_ok=True)
            self._held.enter_context(folder_lock(self.folder))
            self._check_contents()
            self._remove_drafts()
            self._fetch()
            self.journal = Journal(inside(self.folder, JOURNAL))
            self._check_parameters()
            self.sites = self.sites or stored_sites(self.folder)
            self._record("running")  # before the journal: a folder with a run record is always accepted
            self.journal.open(self.parameters)
            self._held.callback(self.journal.close)
            self._merge()
        except OSError as error:
            self._held.close()
            raise LoxoError(
                f"{self.folder}: this cannot be the folder of a run ({error.strerror}). Give a folder that you may "
                "write to."
            ) from error
        except BaseException:
            self._held.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_closed:
            with suppress(LoxoError):
                self._record("interrupted")
        self._held.close()

    def _check_contents(self) -> None:
        """Raises LoxoError when the folder contains files, but no run, or links that lead out of it."""
        for name in (RECORD, JOURNAL, SITES, PARTS, SCORES, CHANGED, *RUN_TABLES, *FOLDERS.values()):
            inside(self.folder, name)
        if is_run(self.folder) or is_journal(self.folder / JOURNAL) or not self.folder.is_dir():
            return
        if any(not path.name.startswith(".") for path in self.folder.iterdir()):
            raise LoxoError(f"{self.folder}: the folder is not empty and contains no run of Loxo. Give another name.")

    def _remove_drafts(self) -> None:
        """Removes the temporary files of a killed run. `loxo report` and `loxo review` write others."""
        remove_drafts(self.folder, {RECORD, JOURNAL, SITES, *RUN_TABLES})
        for name in (*FOLDERS.values(), SCORES, PARTS):
            remove_drafts(self.folder / name)

    def _parameters_before(self) -> dict[str, Any] | None:
        """The parameters of the run in the folder, if they are known. Those in the journal have a checksum."""
        if self.journal.parameters is not None or not is_run(self.folder):
            return self.journal.parameters
        try:
            return read_record(self.folder).parameters
        except LoxoError:
            if not self.journal.entries:
                raise
            return None

    def _check_parameters(self) -> None:
        """Raises LoxoError when the folder contains a run with other parameters."""
        before = self._parameters_before()
        if before is None:  # without a journal too, the folder is new
            self.journal.forget()
            return
        if self.journal.damaged:
            lines = "1 line is" if self.journal.damaged == 1 else f"{self.journal.damaged} lines are"
            self.notes.append(
                f"{self.journal.path}: {lines} damaged. Their recordings are analysed again if they are among the "
                "given ones."
            )
        # Earlier versions always read the mean of the channels.
        before, now = ({"channel": MIX, **each} for each in (before, self.parameters))
        try:
            differences = [
                difference for name in MUST_AGREE for difference in _differences(name, before.get(name), now.get(name))
            ]
        except FIELD_ERRORS as error:
            raise foreign_record(self.folder, error) from error
        if differences:
            raise LoxoError(
                f"{self.place}: the folder contains a run with other parameters ({'; '.join(differences)}). "
                "Give another folder, or the same parameters to resume."
            )

    def _fetch(self) -> None:
        """Downloads the record of a run on object storage (remote.py)."""

    def _merge(self) -> None:
        """Adds the recordings in the journal of a run on object storage (remote.py)."""

    def plan(self, found: Sequence[Found], given: Sequence[str]) -> list[Entry]:
        """A journal entry for each recording, each with a different name; names of earlier calls stay. `given` are the
        files and folders in which the recordings were found."""
        names = self._names
        if not names:
            names.update((_key(entry.name), entry.path) for entry in self.journal.entries.values())
        roots = {_absolute(path) for path in given}
        entries = []
        for recording in map(str, found):
            path = _absolute(recording)
            name = portable_name(_name(path, roots))
            before = self.journal.entries.get(path)
            if before is not None:
                name = before.name
            elif names.setdefault(_key(name), path) != path:
                name += "-" + hashlib.sha256(path.encode(errors="surrogatepass")).hexdigest()[:8]
                names[_key(name)] = path
            try:
                size, version = size_and_version(recording)
            except LoxoError:  # the analysis reports the reason
                size, version = 0, ""
            is_same = before is not None and (before.size, before.version) == (size, version)
            entries.append(
                Entry(
                    path=path,
                    recording=recording,
                    name=name,
                    size=size,
                    version=version,
                    status=FAILED,
                    crashes=before.crashes if before is not None and is_same else 0,
                )
            )
        if self.sites is not None:
            known = [*self.journal.entries.values(), *entries]
            self._origins([entry.recording for entry in known], self.sites)  # a fault is found before the work
        return entries

    def origins(self, recordings: Sequence[str]) -> Origins:
        """Where and when these recordings begin. If they match rows of several sites, the table of sites is not used:
        the tables of the run report it."""
        try:
            return self._origins(recordings, self.sites)
        except LoxoError:
            return self._origins(recordings, None)

    def _origins(self, recordings: Iterable[str], sites: SiteTable | None) -> Origins:
        return find_origins(map(escape, recordings), recorded_names(self.folder, self.parameters), sites)

    def finished(self, entry: Entry) -> bool:
        """Whether a recording was analysed, its size and version have not changed, and its scores are whole; or whether
        it has crashed MAX_CRASHES workers. Moves changed tables away; `close` writes them again."""
        before = self.journal.entries.get(entry.path)
        if before is None:
            return False
        tables = {table_name(before.name, format) for format in self.parameters["formats"] if format in FOLDERS}
        has_scores = True
        for (name, size), known in zip_longest(before.files, before.checksums):
            if name not in tables | {score_name(before.name)} or self._is_whole(name, size, known):
                continue
            if name in tables:
                self._move_away(name)
            else:
                has_scores = False
        is_same = (before.size, before.version) == (entry.size, entry.version)
        return is_same and has_scores and (before.status != FAILED or before.crashes >= MAX_CRASHES)

    def _is_whole(self, name: str, size: int, known: str | None) -> bool:
        """Whether a file exists and has not changed. Reading 100,000 tables takes seconds (docs/detection.md)."""
        if not self._exists(name, size):
            return False
        try:
            return known is None or checksum(inside(self.folder, name).read_bytes()) == known
        except FileNotFoundError:  # it is on object storage
            return True
        except OSError:
            return False

    def _move_away(self, name: str) -> None:
        """Moves a changed table into changed/."""
        path = inside(self.folder, name)
        if not path.is_file():
            return
        number, kept = 1, inside(self.folder, f"{CHANGED}/{name}")
        while kept.exists():
            number += 1
            kept = kept.with_name(f"{Path(name).name}.{number}")
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            path.replace(kept)
        except OSError as error:
            raise self._fault(error) from error
        self.notes.append(
            f"{path}: Loxo did not write the table in this form: it was edited, or it is damaged. It was moved to "
            f"{kept}, and the table is written again."
        )

    def _exists(self, name: str, size: int | None = None) -> bool:
        """Whether a file of the run exists, with this size if one is given."""
        try:
            return inside(self.folder, name).stat().st_size == size or size is None
        except (OSError, LoxoError):
            return False

    def _remove(self, name: str) -> None:
        inside(self.folder, name).unlink(missing_ok=True)

    def parts(self, entries: Sequence[Entry], shard_minutes: float) -> Parts:
        """The store of the finished shards of these recordings."""
        keys = [
            hashlib.sha256(
                f"{shard_minutes}\0{entry.size}\0{entry.version}\0{entry.path}".encode(errors="surrogatepass")
            ).hexdigest()[:24]
            for entry in entries
        ]
        return Parts(inside(self.folder, PARTS), keys)

    def keep(self, entry: Entry, outcome: Outcome) -> None:
        """Writes a recording's files, then its line in the journal, which marks the files as complete."""
        now = time.monotonic()
        to_disk = now - self._to_disk_at >= FSYNC_INTERVAL_S
        if isinstance(outcome, str):
            self._remove_files(entry)  # written for an earlier version of the recording
            reason = with_path(entry.recording, outcome)
            self.journal.add(dataclasses.replace(entry, reason=reason), [], to_disk=to_disk)
            return
        try:
            with nullcontext() if to_disk else without_fsync():
                files = self._keep_files(entry, outcome)
        except (LoxoError, UnicodeError) as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno not in NAME_ERRORS:
                raise
            self.keep(entry, f"{entry.recording}: its files cannot be written into the run folder. {error}")
            return
        entry = dataclasses.replace(
            entry,
            status=TRUNCATED if outcome.fault else DONE,
            duration_s=outcome.duration_s,
            analysed_s=outcome.analysed_s,
            events=len(outcome.events),
            reason=outcome.fault and with_path(entry.recording, outcome.fault),
            notes=outcome.notes,
            files=tuple(files),
            checksums=self._checksums(files),
        )
        rows = [csv_row(event)[1:] for event in outcome.events]
        self.journal.add(entry, rows, to_disk=to_disk)
        self._unsynced += not to_disk
        if to_disk:
            self._to_disk_at = time.monotonic()

    def _keep_files(self, entry: Entry, outcome: RecordingResult) -> list[tuple[str, int]]:
        if entry.path in self.journal.entries:
            self._remove_files(entry)
        files = [self._keep_table(entry, outcome, format) for format in self.parameters["formats"] if format in FOLDERS]
        if outcome.score_file is not None:
            files.append(self._keep_scores(entry, outcome.score_file))
        return files

    def _remove_files(self, entry: Entry) -> None:
        before = self.journal.entries.get(entry.path)
        try:
            for name, _ in before.files if before is not None else ():
                self._remove(name)
            for format in FOLDERS if before is not None else ():  # of the formats that another call wrote
                self._remove(table_name(entry.name, format))
        except OSError as error:
            raise self._fault(error) from error

    def _fault(self, error: OSError) -> LoxoError:
        return LoxoError(
            f"{self.folder}: the run can no longer write into this folder ({error.strerror}). May you write there, "
            "and is there room on the disk?"
        )

    def lose_worker(self, entry: Entry, crashed: bool, hung: bool) -> Entry:
        """Stores that a worker crashed or hung in a recording, which is analysed again. Returns the new entry."""
        if crashed or hung:
            crashes = entry.crashes + 1 if crashed else max(entry.crashes, 1)
            entry = dataclasses.replace(entry, crashes=crashes)
            before = self.journal.entries.get(entry.path)
            self.journal.add(
                dataclasses.replace(
                    entry,
                    reason=f"{entry.recording}: a worker process crashed or hung. Give the same command again.",
                    files=() if before is None else before.files,
                ),
                [],
            )
        return entry

    def rename(
        self,
        before: str | Path,
        after: str | Path,
        start: datetime,
        on_names: Callable[[dict[str, str]], None] = lambda names: None,
    ) -> None:
        """A recording has got another name, because its clock was wrong: its events get times from `start` on.
        `on_names` receives the names of its events, before and after, while the journal has the old ones."""
        old = self.journal.entries.get(_absolute(str(before)))
        if old is None:
            return
        rows = rows_of_cells(escape(str(after)), self.journal.rows(old.path))
        for row in rows:
            row["start_time"] = add_seconds(start, row["start_s"])
        (entry,) = self.plan([after], [str(Path(after).parent)])
        names = dict(zip(event_names(old, rows), event_names(entry, rows), strict=True))
        note_renamed(self.folder, (escape(old.recording), escape(str(after))), names)
        on_names(names)
        if not entry.size:  # the recording is not kept
            entry = dataclasses.replace(entry, size=old.size, version=old.version)
        if old.status == FAILED:
            self.keep(entry, old.reason or "")
        else:
            fault = old.reason and old.reason.replace(str(before), str(after))
            self.keep(entry, RecordingResult(rows, None, old.duration_s, old.analysed_s, fault, old.notes))
        self._remove_files(old)
        self.journal.drop(old.path)

    def _keep_table(self, entry: Entry, result: RecordingResult, format: str) -> tuple[str, int]:
        writer = WRITERS[format]
        events = [{**event, "recording": escape(entry.path)} for event in result.events]
        return self._write(table_name(entry.name, format), lambda path: writer.write_rows(events, path))

    def _keep_scores(self, entry: Entry, content: bytes) -> tuple[str, int]:
        return self._write(score_name(entry.name), lambda path: write_atomically(path, content))

    def _checksums(self, files: Sequence[tuple[str, int]]) -> tuple[str, ...]:
        """The checksums of files that were written just now."""
        try:
            return tuple(checksum(inside(self.folder, name).read_bytes()) for name, _ in files)
        except OSError as error:
            raise self._fault(error) from error

    def _write(self, name: str, write: Callable[[Path], None]) -> tuple[str, int]:
        """Writes a file. Returns its path relative to the folder and its size in bytes, for the journal."""
        path = inside(self.folder, name)
        write(path)
        return name, path.stat().st_size

    def close(self, status: str, asked: Sequence[Entry]) -> None:
        """Writes the tables of the run, run.json and the compact journal. Each recording has the path that was given
        last."""
        if self._unsynced and hasattr(os, "sync"):
            os.sync()
        given = {entry.path: entry.recording for entry in asked}
        self.journal.entries = {
            path: entry
            if given.get(path, entry.recording) == entry.recording
            else dataclasses.replace(entry, recording=given[path])
            for path, entry in self.journal.entries.items()
        }
        self.notes += self._write_tables()
        self._record(status)
        self.journal.close_compact()
        self._is_closed = True

    def refresh(self) -> None:
        """Writes the tables of the run and run.json, while the run continues."""
        self._write_tables()
        self._record("running")

    def _write_tables(self) -> tuple[str, ...]:
        """Returns notes on the sites."""
        origins = self._origins([entry.recording for entry in self.journal.entries.values()], self.sites)
        if self.sites is not None:
            write_atomically(inside(self.folder, SITES), self.sites.content)
        write_journal_tables(self.folder, self.journal, self._ordered(), origins, self.parameters, exists=self._exists)
        return origins.notes

    def _ordered(self) -> list[Entry]:
        return sorted(self.journal.entries.values(), key=lambda entry: (entry.recording, entry.path))

    def _record(self, status: str) -> None:
        has_table = "raven" in self.parameters["formats"]
        record = RunRecord(
            status=status,
            parameters=self.parameters,
            problems=tuple((str(path), sentence) for path, sentence in self.problems),
            recordings=tuple(
                RecordedFile(
                    recording=entry.recording,
                    status=entry.status,
                    duration_s=entry.duration_s,
                    analysed_s=entry.analysed_s,
                    events=entry.events,
                    reason=entry.reason,
                    notes=entry.notes,
                    name=None if entry.status == FAILED else entry.name,
                    table=table_name(entry.name, "raven") if has_table and entry.status != FAILED else None,
                )
                for entry in self._ordered()
            ),
        )
        write_record(self.folder, record)


def _differences(name: str, before: Any, now: Any) -> Iterator[str]:
    """The values that differ, one sentence each; of parameters by class, those of single classes."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in {**before, **now}:
            yield from _differences(f"{name}.{key}", before.get(key), now.get(key))
    elif before != now:
        yield f"{name} {before!r} is now {now!r}"


def _key(name: str) -> str:
    """Equal for names that are one file on some disks: without case, composed characters."""
    return unicodedata.normalize("NFC", name.casefold())


def _absolute(path: str) -> str:
    """The absolute path of a file, without resolving links; a URL stays as it is."""
    return path.rstrip("/") if is_url(path) else os.path.abspath(path)  # noqa: PTH100


def _name(path: str, roots: set[str]) -> str:
    """The path relative to the outermost folder in `roots` that contains it, or the bare name; without suffix, with "/"
    as the separator."""
    separator = "/" if is_url(path) else os.sep
    parts = path.split(separator)
    depths = range(1, len(parts))
    depth = next((k for k in depths if (separator.join(parts[:k]) or separator) in roots), len(parts) - 1)
    below = parts[depth:]
    stem, dot, suffix = below[-1].rpartition(".")
    below[-1] = stem if dot and stem and suffix else below[-1]
    return "/".join(below)
