"""The recordings that tables name, out of an archive on object storage: whole, or just the stretches around events.

    NAME.wav        a recording as the archive holds it; or, with `windows`, a stretch of one, without loss, as
                    SITE_YYYYMMDD_HHMMSS.flac with the time at which the stretch begins
    tables/         with `windows`: each table once more, its events placed in the stretches
    fetch.json      what was asked for, and of each file its source, size and SHA-256

The archive's layout is that of the Elephant Listening Project's public bucket, recordings/wav/SITE/SITE_DATE_TIME.wav;
a table may also name recordings by URL.

Failure policy: a later call checks what is there against fetch.json, fetches again what has changed, and goes on with
what is missing, in the middle of a file too. What the archive does not hold, or does not give, is named at the end. An
archive that does not answer any more, a full disk, and a folder of another fetch are LoxoErrors.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loxo.audio import storage
from loxo.audio.filenames import parse_name
from loxo.audio.recording import RecordingError
from loxo.audio.remote import Info, StorageError
from loxo.errors import LoxoError
from loxo.fetch.download import download, on_disk, sha256_of
from loxo.fetch.wanted import Wanted
from loxo.files import write_atomically

if TYPE_CHECKING:
    import pandas as pd

ELP_BUCKET = "s3://congo8khz-pnnn"
LAYOUT = ("recordings", "wav")
RECORD = "fetch.json"
GIVE_UP_AFTER = 3  # recordings in a row that got no answer


@dataclass(frozen=True)
class FetchProgress:
    """How far a fetch is."""

    recordings: int  # done, those of earlier calls included
    of: int
    bytes: int
    of_bytes: int  # of the recordings; with windows, 0
    doing: str  # name of the recording


@dataclass(frozen=True)
class FetchSummary:
    """What became of the recordings that the tables name."""

    folder: Path
    recordings: int  # that are there now, or stretches of them
    resumed: int  # of these, there before and unchanged
    files: int
    bytes: int
    missing: list[str]  # names that the archive does not hold
    problems: list[str]  # what could not be fetched, one sentence each, `missing` apart
    notes: list[str]  # flaws of the tables, and files that had changed
    tables: list[Path]  # written, with windows

    def __str__(self) -> str:
        words = [(self.recordings, "recording"), (self.files, "file")]
        counts = ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in words)
        missing = f", {len(self.missing)} missing in the archive" if self.missing else ""
        return f"{counts}, {self.bytes / 1e9:.2f} GB{missing}"


def fetch(
    tables: Iterable[str | Path],
    dest: str | Path,
    *,
    bucket: str = ELP_BUCKET,
    windows: bool = False,
    margin_s: float = 30.0,
    rename: Mapping[str, str] | None = None,
    limit: int | None = None,
    on_progress: Callable[[FetchProgress], None] | None = None,
) -> FetchSummary:
    """Fetches the recordings that `tables` name from `bucket` (an s3:// or https:// place) into the folder `dest`.

    `windows` fetches only the stretches around events, `margin_s` seconds more on either side, and writes tables for
    them; recordings that were searched and hold none give no stretch. `rename` gives what parts of names in tables are
    called in the archive, as {"dzan": "dz"}. `limit` takes only the first recordings by name.
    Raises LoxoError as this module's docstring says, and for a table that cannot be read.
    """
    if margin_s < 0:
        raise LoxoError(f"The margin around events must not be negative, as {margin_s:g} s is.")
    if not storage.is_url(bucket):
        raise LoxoError(f"{bucket}: an archive is an s3:// or https:// place, such as {ELP_BUCKET}.")
    paths = [Path(path) for path in tables]
    read, wanted, problems, notes = _read(paths, bucket, dict(rename or {}))
    wanted = [item for item in wanted if item.events or not windows][:limit]
    if not wanted:
        reasons = "".join(f" {sentence}" for sentence in (problems + notes)[:3])
        raise LoxoError(f"The tables name no recording that could be fetched.{reasons}")
    parameters: dict[str, Any] = {"bucket": bucket, "windows": windows}
    if windows:
        hashes = {path.name: hashlib.sha256(storage.read_bytes(path)).hexdigest() for path in paths}
        parameters |= {"margin_s": float(margin_s), "rename": dict(rename or {}), "tables": hashes}
    run = _Fetch(Path(dest), parameters, problems, notes, len(wanted), on_progress)
    wanted = run.check(wanted)
    if windows:
        from loxo.fetch.clips import fetch_stretches, write_tables

        run.each(wanted, lambda item, known: fetch_stretches(item, known, run.folder, margin_s, run.files))
        written, lost = write_tables(paths, read, run.folder, run.files)
        run.problems += lost
    else:
        run.need_room(wanted)
        run.each(wanted, run.whole)
        written = []
    return run.summary(written)


def _read(
    paths: list[Path], bucket: str, rename: dict[str, str]
) -> tuple[list[pd.DataFrame], list[Wanted], list[str], list[str]]:
    """The events of all tables, the recordings they name, names without a place in the archive, and flaws."""
    from loxo.events.raven import read_raven

    read: list[pd.DataFrame] = []
    problems: list[str] = []
    notes: list[str] = []
    wanted: dict[str, Wanted] = {}
    for path in paths:
        events = read_raven(path, label="")  # labels are of no account here, so their lack is no flaw
        notes += events.attrs["problems"]
        names = {}
        for recording in [*events["recording"], *events.attrs["without_events"]]:
            names[recording] = name = _renamed(storage.basename(recording), rename)
            url = recording if storage.is_url(recording) else _url(bucket, name)
            if url is None:
                sentence = f"{path}: {name!r} does not tell its site, so it has no place in {bucket}."
                problems += [sentence] if sentence not in problems else []
            else:
                wanted.setdefault(name, Wanted(name, url))
        for recording, start, end in zip(events["recording"], events["start_s"], events["end_s"], strict=True):
            if names[recording] in wanted:
                wanted[names[recording]].events.append((start, end))
        events["fetched"] = [names[recording] for recording in events["recording"]]
        read.append(events)
    return read, [wanted[name] for name in sorted(wanted)], problems, notes


def _renamed(name: str, rename: dict[str, str]) -> str:
    for old, new in rename.items():
        name = name.replace(old, new)
    return name


def _url(bucket: str, name: str) -> str | None:
    site = parse_name(name).site
    return storage.join(bucket, *LAYOUT, site, name) if site else None


class _Fetch:
    """A folder and what is known of it."""

    def __init__(
        self,
        folder: Path,
        parameters: dict[str, Any],
        problems: list[str],
        notes: list[str],
        count: int,
        on_progress: Callable[[FetchProgress], None] | None,
    ) -> None:
        self.folder, self.parameters, self.problems, self.notes = folder, parameters, problems, notes
        self.count, self.on_progress = count, on_progress
        self.files: dict[str, dict[str, Any]] = self._open()
        self.missing: list[str] = []
        self.changed: set[str] = set()  # files that are not as fetch.json says
        self.infos: dict[str, Info] = {}
        self.done: set[str] = set()
        self.resumed = self.bytes = self.of_bytes = 0

    def _open(self) -> dict[str, dict[str, Any]]:
        record = self.folder / RECORD
        if not record.exists():
            return {}
        try:
            content = json.loads(storage.read_bytes(record))
            before, files = content["parameters"], dict(content["files"])
        except (ValueError, KeyError, TypeError) as error:
            raise LoxoError(
                f"{record}: this is not a record of `loxo fetch`, or damaged. Give another folder."
            ) from error
        for key in self.parameters.keys() | before.keys():
            if self.parameters.get(key) != before.get(key):
                raise LoxoError(
                    f"{self.folder}: this folder holds a fetch with other parameters ({key}: {before.get(key)!r} "
                    f"instead of {self.parameters.get(key)!r}). Give another folder."
                )
        return files

    def check(self, wanted: list[Wanted]) -> list[Wanted]:
        """What is still to be fetched: not there, or not as fetch.json says."""
        by_recording: dict[str, list[str]] = {}
        for name, entry in self.files.items():
            by_recording.setdefault(entry["recording"], []).append(name)
        rest = []
        for item in wanted:
            names = by_recording.get(item.name, [])
            changed = [name for name in names if not self._unchanged(name)]
            for name in changed:
                self.changed.add(name)
                if (self.folder / name).exists():
                    self.notes.append(f"{self.folder / name}: the file had changed since then; it was fetched again.")
                del self.files[name]
            if names and not changed:
                self.done.add(item.name)
                self.resumed += 1
            else:
                rest.append(item)
            self._report(item.name)
        return self._ask(rest)

    def _unchanged(self, name: str) -> bool:
        path, entry = self.folder / name, self.files[name]
        return path.is_file() and path.stat().st_size == entry["size"] and sha256_of(path) == entry["sha256"]

    def _ask(self, wanted: list[Wanted]) -> list[Wanted]:
        """Size and version of each, and which ones the archive does not hold."""
        there = []
        silent = 0
        for item in wanted:
            self._report(item.name)
            try:
                self.infos[item.name] = storage.info(item.url)
            except StorageError as error:
                if error.missing:
                    self.missing.append(item.name)
                else:
                    self.problems.append(str(error))
                silent = self._count_silence(silent, error)
                continue
            silent = 0
            self.of_bytes += max(self.infos[item.name].size, 0)
            there.append(item)
        return there

    def need_room(self, wanted: list[Wanted]) -> None:
        """Raises LoxoError now rather than after a night, if the disk cannot hold the recordings."""
        with on_disk(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.folder).free
            came = sum(path.stat().st_size for path in self.folder.glob(".*.part"))
        if self.of_bytes - came > free:
            raise LoxoError(
                f"{self.folder}: the {len(wanted)} recordings to fetch have {self.of_bytes / 1e9:.1f} GB, but the disk "
                f"has room for {free / 1e9:.1f} GB. Make room, give a limit, or fetch only windows around events."
            )

    def each(self, wanted: list[Wanted], get: Callable[[Wanted, Info], dict[str, dict[str, Any]]]) -> None:
        """Gets one recording after the other and records its files."""
        silent = 0
        for item in wanted:
            self._report(item.name)
            try:
                entries = get(item, self.infos[item.name])
            except (StorageError, RecordingError) as error:
                self.problems.append(str(error))
                silent = self._count_silence(silent, error)
                continue
            silent = 0
            self.files |= {
                name: {"recording": item.name, "source": item.url, "version": self.infos[item.name].version, **entry}
                for name, entry in entries.items()
            }
            self.done.add(item.name)
            self._write()
            self._report(item.name)

    def whole(self, item: Wanted, known: Info) -> dict[str, dict[str, Any]]:
        """Fetches a recording. A file of its name that this folder's record does not know is never overwritten."""
        target = self.folder / item.name
        if target.exists() and item.name not in self.changed:
            if target.stat().st_size != known.size:
                raise StorageError(
                    f"{target}: a file of this name is there already, and is not the archive's. Move it away."
                )
            return {item.name: {"size": known.size, "sha256": sha256_of(target)}}

        def on_bytes(count: int) -> None:
            self.bytes += count
            self._report(item.name)

        sha256 = download(item.url, target, known, on_bytes)
        return {item.name: {"size": target.stat().st_size, "sha256": sha256}}

    def _count_silence(self, silent: int, error: StorageError | RecordingError) -> int:
        silent = silent + 1 if error.transient else 0
        if silent >= GIVE_UP_AFTER:
            raise LoxoError(f"{error} It was the same for {silent} recordings in a row. The same command goes on.")
        return silent

    def _report(self, doing: str) -> None:
        if self.on_progress is not None:
            done = len(self.done) + len(self.missing)
            self.on_progress(FetchProgress(done, self.count, self.bytes, self.of_bytes, doing))

    def _write(self) -> None:
        files = {name: self.files[name] for name in sorted(self.files)}
        record = {"parameters": self.parameters, "missing": sorted(self.missing), "files": files}
        write_atomically(self.folder / RECORD, (json.dumps(record, indent=1) + "\n").encode())

    def summary(self, tables: list[Path]) -> FetchSummary:
        self._write()
        files = [entry for entry in self.files.values() if entry["recording"] in self.done]
        return FetchSummary(
            folder=self.folder,
            recordings=len(self.done),
            resumed=self.resumed,
            files=len(files),
            bytes=sum(entry["size"] for entry in files),
            missing=sorted(self.missing),
            problems=self.problems,
            notes=self.notes,
            tables=tables,
        )
