"""Downloads the recordings that are named in tables from an archive on object storage, or only clips around events.

    NAME.wav        a recording as in the archive; or, with `windows`, a clip without loss, named
                    SITE_YYYYMMDD_HHMMSS.flac after the start time of the clip
    tables/         with `windows`: a copy of each table with its events placed in the clips
    fetch.json      the parameters; the source, size and SHA-256 of each file

The archive must have the layout of the Elephant Listening Project's public bucket, recordings/wav/SITE/
SITE_DATE_TIME.wav. A table may also contain URLs of recordings.

Failure policy: a later call checks the files against fetch.json, downloads changed files again, and resumes with the
missing ones, also within a file. Recordings that the archive does not contain, or that cannot be downloaded, are
reported at the end. An archive that no longer answers, a full disk, and a folder of another fetch raise LoxoError.
"""

from __future__ import annotations

import hashlib
import json
import re
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
from loxo.fetch.download import disk_errors, download
from loxo.fetch.requested import RequestedRecording
from loxo.files import inside, leads_out, parse_json, sha256_of, write_atomically

if TYPE_CHECKING:
    import pandas as pd

ELP_BUCKET = "s3://congo8khz-pnnn"
LAYOUT = ("recordings", "wav")
STATE_FILE = "fetch.json"
GIVE_UP_AFTER = 3  # consecutive recordings without an answer from the archive


@dataclass(frozen=True)
class FetchProgress:
    """Progress of a fetch."""

    recordings: int  # completed, including earlier calls
    total: int
    bytes: int
    total_bytes: int  # size of the recordings to download; 0 with `windows`
    current: str  # name of the recording


@dataclass(frozen=True)
class FetchSummary:
    """Result of a fetch."""

    folder: Path
    recordings: int  # that are in the folder, completely or as clips
    resumed: int  # of these, unchanged since an earlier call
    files: int
    bytes: int
    missing: list[str]  # names that the archive does not contain
    problems: list[str]  # one sentence for each other recording that was not fetched
    notes: list[str]  # problems of the tables, and files that had changed
    tables: list[Path]  # tables written with `windows`

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
    """Fetches the recordings named in `tables` from `bucket` (an s3:// or https:// address) into the folder `dest`.

    `windows` fetches only clips around events, with `margin_s` seconds before and after each event, and writes tables
    for the clips. Recordings without events then have no clips. `rename` replaces parts of the names in tables by
    those in the archive, such as {"dzan": "dz"}. `limit` is the maximum number of recordings, the first by name.
    Raises LoxoError as described in this module's docstring, and for a table that cannot be read.
    """
    if margin_s < 0:
        raise LoxoError(f"The margin around events is {margin_s:g} s, but it must not be negative. Give 0 or more.")
    if not storage.is_url(bucket):
        raise LoxoError(f"{bucket}: this is not an archive. Give an s3:// or https:// address, such as {ELP_BUCKET}.")
    bucket = storage.hide_secrets(bucket)
    paths = [Path(path) for path in tables]
    read, wanted, problems, notes = _read(paths, bucket, dict(rename or {}))
    wanted = [item for item in wanted if item.events or not windows][:limit]
    if not wanted:
        reasons = "".join(f" {sentence}" for sentence in (problems + notes)[:3])
        raise LoxoError(f"The tables contain no recording that can be fetched. Check the tables.{reasons}")
    parameters: dict[str, Any] = {"bucket": bucket, "windows": windows}
    if windows:
        hashes = {path.name: hashlib.sha256(storage.read_bytes(path)).hexdigest() for path in paths}
        parameters |= {"margin_s": float(margin_s), "rename": dict(rename or {}), "tables": hashes}
    run = _Fetch(Path(dest), parameters, problems, notes, len(wanted), on_progress)
    wanted = run.check(wanted)
    if windows:
        from loxo.fetch.clips import fetch_clips, write_tables

        run.fetch_all(wanted, lambda item, known: fetch_clips(item, known, run.folder, margin_s, run.files))
        written, lost = write_tables(paths, read, run.folder, run.files)
        run.problems += lost
    else:
        run.check_disk_space(wanted)
        run.fetch_all(wanted, run.fetch_recording)
        written = []
    return run.summary(written)


def _read(
    paths: list[Path], bucket: str, rename: dict[str, str]
) -> tuple[list[pd.DataFrame], list[RequestedRecording], list[str], list[str]]:
    """Returns the events of all tables, their recordings, problems with their names, and notes on the tables."""
    from loxo.events.raven import read_raven

    read: list[pd.DataFrame] = []
    problems: list[str] = []
    notes: list[str] = []
    wanted: dict[str, RequestedRecording] = {}
    for path in paths:
        events = read_raven(path, label="")  # labels are not used, so missing labels are not reported
        notes += events.attrs["problems"]
        names = {}
        for recording in [*events["recording"], *events.attrs["without_events"]]:
            names[recording] = name = _renamed(storage.basename(recording), rename)
            if not _is_file_name(name):
                sentence = f"{path}: the recording {recording!r} has no name that a file can have. Rename it."
                problems += [sentence] if sentence not in problems else []
                continue
            url = recording if storage.is_url(recording) else _url(bucket, name)
            if url is None:
                sentence = f"{path}: {name!r} contains no site, so its folder in {bucket} is unknown. Rename it."
                problems += [sentence] if sentence not in problems else []
            else:
                wanted.setdefault(name, RequestedRecording(name, url))
        for recording, start, end in zip(events["recording"], events["start_s"], events["end_s"], strict=True):
            if names[recording] in wanted:
                wanted[names[recording]].events.append((start, end))
        events["fetched"] = [names[recording] for recording in events["recording"]]
        read.append(events)
    return read, [wanted[name] for name in sorted(wanted)], problems, notes


def _is_file_name(name: str) -> bool:
    """Whether a file of this name can be written into the destination folder, on every system."""
    return not leads_out(name) and not re.search(r"[/\\\x00-\x1f]", name) and name not in (".", STATE_FILE, "tables")


def _renamed(name: str, rename: dict[str, str]) -> str:
    for old, new in rename.items():
        name = name.replace(old, new)
    return name


def _url(bucket: str, name: str) -> str | None:
    site = parse_name(name).site
    return storage.join(bucket, *LAYOUT, site, name) if site else None


class _Fetch:
    """The destination folder and the state of the fetch."""

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
        self.changed: set[str] = set()  # files that differ from fetch.json
        self.infos: dict[str, Info] = {}
        self.done: set[str] = set()
        self.resumed = self.bytes = self.total_bytes = 0

    def _open(self) -> dict[str, dict[str, Any]]:
        path = inside(self.folder, STATE_FILE)
        if not path.exists():
            return {}
        try:
            content = parse_json(storage.read_bytes(path))
            before, files = dict(content["parameters"]), dict(content["files"])
            for name, entry in files.items():
                if leads_out(name):
                    raise ValueError(f"the name {name!r} leads out of the folder")
                entry["recording"], entry["size"], entry["sha256"]
        except (ValueError, KeyError, TypeError) as error:
            raise LoxoError(
                f"{path}: this is not a state file of `loxo fetch`, or it is damaged. Give another folder."
            ) from error
        for key in self.parameters.keys() | before.keys():
            if self.parameters.get(key) != before.get(key):
                raise LoxoError(
                    f"{self.folder}: this folder is from a fetch with other parameters ({key}: {before.get(key)!r} "
                    f"instead of {self.parameters.get(key)!r}). Give another folder."
                )
        return files

    def check(self, wanted: list[RequestedRecording]) -> list[RequestedRecording]:
        """Returns the recordings to fetch: files are missing or differ from fetch.json."""
        by_recording: dict[str, list[str]] = {}
        for name, entry in self.files.items():
            by_recording.setdefault(entry["recording"], []).append(name)
        remaining = []
        for item in wanted:
            names = by_recording.get(item.name, [])
            changed = [name for name in names if not self._unchanged(name)]
            for name in changed:
                self.changed.add(name)
                if (self.folder / name).exists():
                    self.notes.append(
                        f"{self.folder / name}: the file was changed after an earlier fetch, and is fetched again."
                    )
                del self.files[name]
            if names and not changed:
                self.done.add(item.name)
                self.resumed += 1
            else:
                remaining.append(item)
            self._report(item.name)
        return self._query_archive(remaining)

    def _unchanged(self, name: str) -> bool:
        path, entry = inside(self.folder, name), self.files[name]
        return path.is_file() and path.stat().st_size == entry["size"] and sha256_of(path) == entry["sha256"]

    def _query_archive(self, wanted: list[RequestedRecording]) -> list[RequestedRecording]:
        """Requests size and version of each recording; returns the recordings that the archive contains."""
        available = []
        failures = 0
        for item in wanted:
            self._report(item.name)
            try:
                self.infos[item.name] = storage.info(item.url)
            except StorageError as error:
                if error.missing:
                    self.missing.append(item.name)
                else:
                    self.problems.append(str(error))
                failures = self._count_failures(failures, error)
                continue
            failures = 0
            self.total_bytes += max(self.infos[item.name].size, 0)
            available.append(item)
        return available

    def check_disk_space(self, wanted: list[RequestedRecording]) -> None:
        """Raises LoxoError before the download starts if the disk has not enough space for the recordings."""
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.folder).free
            received = sum(path.stat().st_size for path in self.folder.glob(".*.part"))
        if self.total_bytes - received > free:
            raise LoxoError(
                f"{self.folder}: the {len(wanted)} recordings have {self.total_bytes / 1e9:.1f} GB, but the disk has "
                f"only {free / 1e9:.1f} GB free. Free some space, set a limit, or fetch only clips around events."
            )

    def fetch_all(
        self, wanted: list[RequestedRecording], get: Callable[[RequestedRecording, Info], dict[str, dict[str, Any]]]
    ) -> None:
        """Calls `get` for one recording after the other and adds its files to fetch.json."""
        failures = 0
        for item in wanted:
            self._report(item.name)
            try:
                entries = get(item, self.infos[item.name])
            except (StorageError, RecordingError) as error:
                self.problems.append(str(error))
                failures = self._count_failures(failures, error)
                continue
            failures = 0
            self.files |= {
                name: {"recording": item.name, "source": item.url, "version": self.infos[item.name].version, **entry}
                for name, entry in entries.items()
            }
            self.done.add(item.name)
            self._write()
            self._report(item.name)

    def fetch_recording(self, item: RequestedRecording, known: Info) -> dict[str, dict[str, Any]]:
        """Downloads a recording. A file of the same name that is not in fetch.json is never overwritten."""
        target = inside(self.folder, item.name)
        if target.exists() and item.name not in self.changed:
            if target.stat().st_size != known.size:
                raise StorageError(
                    f"{target}: a file of this name exists already, with a different size. Move it away."
                )
            return {item.name: {"size": known.size, "sha256": sha256_of(target)}}

        def on_bytes(count: int) -> None:
            self.bytes += count
            self._report(item.name)

        sha256 = download(item.url, target, known, on_bytes)
        return {item.name: {"size": target.stat().st_size, "sha256": sha256}}

    def _count_failures(self, failures: int, error: StorageError | RecordingError) -> int:
        failures = failures + 1 if error.transient else 0
        if failures >= GIVE_UP_AFTER:
            raise LoxoError(f"{error} This happened for {failures} recordings in a row. The same command resumes.")
        return failures

    def _report(self, current: str) -> None:
        if self.on_progress is not None:
            done = len(self.done) + len(self.missing)
            self.on_progress(FetchProgress(done, self.count, self.bytes, self.total_bytes, current))

    def _write(self) -> None:
        files = {name: self.files[name] for name in sorted(self.files)}
        state = {"parameters": self.parameters, "missing": sorted(self.missing), "files": files}
        write_atomically(self.folder / STATE_FILE, (json.dumps(state, indent=1) + "\n").encode())

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
