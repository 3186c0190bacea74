"""The folder of a run on object storage.

    s3://bucket/prefix/...   the layout of runfolder.py, but for parts/ and .lock; whole objects only
    WORK/                    the working folder on this computer: the lock, the journal, parts of unfinished recordings,
                             and files that are not put yet. It goes when the run is finished.

A recording's files are put when it is done; the journal is put again every JOURNAL_S, and run.json when a call begins
and ends. With the same working folder a run goes on just as a local one does. With another one, or on another computer,
it goes on from the journal at the address: what that has not, and unfinished recordings, are done again.

Failure policy: that of uploads.py. The lock is the working folder's. A run elsewhere that writes to the same address is
noticed when the journal there is not the one that was put last; then this run ends.
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
from loxo.detection.detect import Outcome
from loxo.errors import LoxoError
from loxo.files import write_atomically
from loxo.machine import user_cache
from loxo.runs.folder import Found, RunFolder
from loxo.runs.journal import Entry, read_journal
from loxo.runs.tables import FOLDERS
from loxo.runs.uploads import Uploads

JOURNAL_S = 60.0  # as often at most is the journal put, and for no more than a twentieth of the time
RECORD, JOURNAL = "run.json", "journal.jsonl"


def open_run(
    out: str | Path, parameters: dict[str, Any], problems: Sequence[tuple[Found, str]], work: str | Path | None = None
) -> RunFolder:
    """The run folder `out`, on a disk or at an s3:// address; then `work` is the working folder, else a folder of the
    user's cache named after the address. Raises LoxoError for another address, or for `work` with a folder on a disk.
    """
    check_place(out, work)
    if "://" not in str(out):
        return RunFolder(Path(out), parameters, problems)
    address = str(out).rstrip("/")
    return RemoteRunFolder(address, Path(work) if work else default_work(address), parameters, problems)


def check_place(out: str | Path, work: str | Path | None) -> None:
    """Raises LoxoError for an address where no run can be written, or for `work` with a folder on a disk."""
    if "://" in str(out) and not re.match(r"s3://[^/]+/.*[^/]", str(out)):
        raise LoxoError(f"{out}: a run cannot be written there. Give a folder, or s3://bucket/prefix.")
    if "://" not in str(out) and work is not None:
        raise LoxoError(f"{work}: a working folder goes with --out s3://bucket/prefix; the folder {out} needs none.")


def default_work(address: str) -> Path:
    """The working folder of a run at this address, in the user's cache."""
    return user_cache() / "runs" / hashlib.sha256(address.encode()).hexdigest()[:16]


class RemoteRunFolder(RunFolder):
    """A run at `address`, written through the working folder `work`. Raises LoxoError as RunFolder does."""

    def __init__(
        self, address: str, work: Path, parameters: dict[str, Any], problems: Sequence[tuple[Found, str]]
    ) -> None:
        super().__init__(work, parameters, problems)
        self.place = self.address = address
        self.sizes: dict[str, int] = {}  # of the objects below the address
        self.uploads = Uploads(work, address, self.sizes)
        self._journals: set[str] = set()  # MD5 of what this run has put, or found
        self._journal_at = time.monotonic() + JOURNAL_S

    def __enter__(self) -> RemoteRunFolder:
        try:
            super().__enter__()
        except BaseException:
            self._tidy()
            raise
        try:
            self._put(RECORD)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._tidy()

    def _tidy(self) -> None:
        """Removes the working folder's folders that are empty, and then itself."""
        for name in (*FOLDERS.values(), "scores", "parts", ""):
            for path in sorted((self.folder / name).rglob("*"), reverse=True) if name else ():
                with suppress(OSError):
                    path.rmdir()
            with suppress(OSError):
                (self.folder / name).rmdir()

    def _fetch(self) -> None:
        """Lists what is at the address, and takes over the record of the run there."""
        below = len(self.address) + 1
        for url, known in get_store(self.address).listing(f"{self.address}/"):
            self.sizes[url[below:]] = known.size if known else -1
        if RECORD in self.sizes:
            write_atomically(self.folder / RECORD, read_bytes(self._at(RECORD)))
        elif self.sizes:
            raise LoxoError(f"{self.place}: something lies there, but no run of Loxo. Give another address.")

    def _open_journal(self) -> None:
        """The journal of the working folder, and what only the one at the address has."""
        super()._open_journal()
        if JOURNAL not in self.sizes:
            return
        self._journals.add(info(self._at(JOURNAL)).md5 or "")
        names = {entry.name.casefold() for entry in self.journal.entries.values()}
        for entry, rows in read_journal(self._at(JOURNAL)):
            before = self.journal.entries.get(entry.path)
            if before is None and entry.name.casefold() not in names:
                self.journal.add(entry, rows, to_disk=False)
                names.add(entry.name.casefold())

    def keep(self, entry: Entry, outcome: Outcome) -> None:
        super().keep(entry, outcome)
        for name, _ in self.journal.entries[entry.path].files:
            self.uploads.put(name)
        if time.monotonic() >= self._journal_at:
            began = time.monotonic()
            with suppress(StorageError):  # it is put again later, at the latest at the end
                self._put(JOURNAL)
            self._journal_at = time.monotonic() + max(JOURNAL_S, 20 * (time.monotonic() - began))

    def close(self, status: str, asked: Sequence[Entry]) -> None:
        """As for a folder on a disk; then everything is put, the journal and run.json last."""
        super().close(status, asked)
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            first = name.partition("/")[0]
            if path.is_file() and not path.name.startswith(".") and first not in ("parts", RECORD, JOURNAL):
                self.uploads.put(name)
        self.uploads.finish()
        for name in (JOURNAL, RECORD):
            self._put(name)
        if status == "finished":
            for name in (JOURNAL, RECORD):
                (self.folder / name).unlink(missing_ok=True)

    def _put(self, name: str) -> None:
        """Puts a file that stays in the working folder."""
        data = (self.folder / name).read_bytes()
        if name == JOURNAL:
            self._check_alone()
            self._journals.add(hashlib.md5(data, usedforsecurity=False).hexdigest())
        write_bytes(self._at(name), data)
        self.sizes[name] = len(data)

    def _check_alone(self) -> None:
        try:
            there = info(self._at(JOURNAL)).md5
        except StorageError as error:
            if error.missing:
                return
            raise
        if there is not None and there not in self._journals:
            raise LoxoError(
                f"{self.place}: another run has written there in the meantime. Let one of them end, then give the "
                "same command again."
            )

    def _is_there(self, name: str, size: int | None = None) -> bool:
        known = self.sizes.get(name)
        return super()._is_there(name, size) or (known is not None and size in (None, known))

    def _remove(self, name: str) -> None:
        super()._remove(name)
        if self.sizes.pop(name, None) is not None:
            remove(self._at(name))

    def _at(self, name: str) -> str:
        return join(self.address, name)
