"""The folder of a run on object storage.

    s3://bucket/prefix/...   the layout of folder.py, without parts/ and .lock; whole objects only
    WORK/                    the working folder on this computer: the lock, the journal, parts of unfinished recordings,
                             and files that are not uploaded yet. It is removed when the run is finished.

The files of a recording are uploaded when it is done. The journal is uploaded every JOURNAL_S, run.json when a call
begins and when it ends. With the same working folder a run resumes as a local run does. With another working folder, or
on another computer, it resumes from the journal at the address: recordings that are not in that journal, and unfinished
ones, are analysed again.

Failure policy: as in uploads.py. The lock is that of the working folder. A run elsewhere that writes to the same
address is detected when the journal there is not the one that this run uploaded last; then this run ends.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from loxo.audio.remote import StorageError
from loxo.audio.storage import get_store, info, join, read_bytes, remove, write_bytes
from loxo.audio.urls import hide_secrets, public_url
from loxo.errors import LoxoError
from loxo.events.sites import SiteTable
from loxo.files import write_atomically
from loxo.machine import user_cache
from loxo.runs.folder import PARTS, Found, RunFolder
from loxo.runs.journal import JOURNAL, Entry, read_journal, read_parameters
from loxo.runs.record import RECORD
from loxo.runs.result import Outcome
from loxo.runs.scores import FOLDER as SCORES
from loxo.runs.sites import SITES
from loxo.runs.tables import FOLDERS
from loxo.runs.uploads import Uploads

JOURNAL_S = 60.0  # min interval between uploads of the journal; they also take at most a twentieth of the time


def open_run(
    out: str | Path,
    parameters: dict[str, Any],
    problems: Sequence[tuple[Found, str]],
    work: str | Path | None = None,
    sites: SiteTable | None = None,
) -> RunFolder:
    """The run folder `out`, on a disk or at an s3:// address. `work` is the working folder for an address (None: a
    folder in the user's cache). `sites` replaces the table of sites in the folder. Raises LoxoError for another kind of
    address, or for `work` with a folder on a disk.
    """
    check_place(out, work)
    out = hide_secrets(str(out))
    if "://" not in str(out):
        return RunFolder(Path(out), parameters, problems, sites)
    address = str(out).rstrip("/")
    return RemoteRunFolder(address, Path(work) if work else default_work(address), parameters, problems, sites)


def check_place(out: str | Path, work: str | Path | None) -> None:
    """Raises LoxoError for an address to which no run can be written, or for `work` with a folder on a disk."""
    if "://" in str(out) and not re.match(r"s3://[^/]+/.*[^/]", str(out)):
        raise LoxoError(f"{public_url(str(out))}: a run cannot be written there. Give a folder, or s3://bucket/prefix.")
    if "://" not in str(out) and work is not None:
        raise LoxoError(
            f"{work}: a working folder is only for --out s3://bucket/prefix; the folder {out} needs none. Leave "
            "--work out."
        )


def default_work(address: str) -> Path:
    """The working folder of a run at this address, in the user's cache."""
    return user_cache() / "runs" / hashlib.sha256(address.encode()).hexdigest()[:16]


class RemoteRunFolder(RunFolder):
    """A run at `address`, written through the working folder `work`. Raises LoxoError as RunFolder does."""

    def __init__(
        self,
        address: str,
        work: Path,
        parameters: dict[str, Any],
        problems: Sequence[tuple[Found, str]],
        sites: SiteTable | None = None,
    ) -> None:
        super().__init__(work, parameters, problems, sites)
        self.place = self.address = address
        self.sizes: dict[str, int] = {}  # of the objects at the address, in bytes, by their path relative to it
        self.uploads = Uploads(work, address, self.sizes)
        self._journals: set[str] = set()  # MD5 of the journals that this run has uploaded or found
        self._journal_at = time.monotonic() + JOURNAL_S

    def __enter__(self) -> RemoteRunFolder:
        try:
            super().__enter__()
        except BaseException:
            self._tidy()
            raise
        try:
            self._upload(RECORD)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._tidy()

    def _tidy(self) -> None:
        """Removes the empty folders in the working folder, and then the working folder."""
        for name in (*FOLDERS.values(), SCORES, PARTS, ""):
            for path in sorted((self.folder / name).rglob("*"), reverse=True) if name else ():
                with suppress(OSError):
                    path.rmdir()
            with suppress(OSError):
                (self.folder / name).rmdir()

    def _fetch(self) -> None:
        """Lists the objects at the address and downloads the run record and the table of sites."""
        below = len(self.address) + 1
        for url, known in get_store(self.address).listing(f"{self.address}/"):
            self.sizes[url[below:]] = known.size if known else -1
        if RECORD in self.sizes:
            for name in {RECORD, SITES} & self.sizes.keys():
                write_atomically(self.folder / name, read_bytes(self._address(name)))
        elif self.sizes and (JOURNAL not in self.sizes or read_parameters(self._address(JOURNAL)) is None):
            raise LoxoError(
                f"{self.place}: there are objects at this address, but no run of Loxo. Give another address."
            )

    def _parameters_before(self) -> dict[str, Any] | None:
        if self.journal.parameters is None and JOURNAL in self.sizes:
            known = read_parameters(self._address(JOURNAL))
            if known is not None:
                return known
        return super()._parameters_before()

    def _merge(self) -> None:
        """Adds the recordings that only the journal at the address contains."""
        if JOURNAL not in self.sizes:
            return
        self._journals.add(info(self._address(JOURNAL)).md5 or "")
        names = {entry.name.casefold() for entry in self.journal.entries.values()}
        for entry, rows in read_journal(self._address(JOURNAL)):
            before = self.journal.entries.get(entry.path)
            if before is None and entry.name.casefold() not in names:
                self.journal.add(entry, rows, to_disk=False)
                names.add(entry.name.casefold())
        self._record("running")

    def keep(self, entry: Entry, outcome: Outcome) -> None:
        super().keep(entry, outcome)
        for name, _ in self.journal.entries[entry.path].files:
            self.uploads.put(name)
        if time.monotonic() >= self._journal_at:
            began = time.monotonic()
            with suppress(StorageError):  # uploaded again later, at the latest at the end
                self._upload(JOURNAL)
            self._journal_at = time.monotonic() + max(JOURNAL_S, 20 * (time.monotonic() - began))

    def close(self, status: str, asked: Sequence[Entry]) -> None:
        """As for a folder on a disk. Then everything is uploaded, the journal and run.json last."""
        super().close(status, asked)
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            first = name.partition("/")[0]
            if path.is_file() and not path.name.startswith(".") and first not in (PARTS, RECORD, JOURNAL):
                self.uploads.put(name)
        self.uploads.finish()
        for name in (JOURNAL, RECORD):
            self._upload(name)
        if status == "finished":
            for name in (JOURNAL, RECORD):
                (self.folder / name).unlink(missing_ok=True)

    def _upload(self, name: str) -> None:
        """Uploads a file that stays in the working folder."""
        data = (self.folder / name).read_bytes()
        if name == JOURNAL:
            self._check_alone()
            self._journals.add(hashlib.md5(data, usedforsecurity=False).hexdigest())
        write_bytes(self._address(name), data)
        self.sizes[name] = len(data)

    def _check_alone(self) -> None:
        try:
            there = info(self._address(JOURNAL)).md5
        except StorageError as error:
            if error.missing:
                return
            raise
        if there is not None and there not in self._journals:
            raise LoxoError(
                f"{self.place}: another run has written to this address in the meantime. Stop one of the two runs, "
                "then give the same command again."
            )

    def _exists(self, name: str, size: int | None = None) -> bool:
        known = self.sizes.get(name)
        return super()._exists(name, size) or (known is not None and size in (None, known))

    def _remove(self, name: str) -> None:
        super()._remove(name)
        if self.sizes.pop(name, None) is not None:
            remove(self._address(name))

    def _address(self, name: str) -> str:
        return join(self.address, name)
