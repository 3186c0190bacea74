"""Atomic writing of files: a file is written completely or not at all. Checksums of what was written."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any

from loxo.errors import LoxoError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_DRAFT = re.compile(r"\.(.+)\.\d+\.tmp")  # the name that atomic_path gives
_use_fsync: ContextVar[bool] = ContextVar("_use_fsync", default=True)


@contextmanager
def without_fsync() -> Iterator[None]:
    """Writes files in this block without fsync: the system writes them to the disk later, usually within a minute.

    Use it for many small files, for which fsync would take most of the time. Other processes still see each file
    completely or not at all, even if this process ends. After a loss of power, files may be missing or empty, and the
    caller must detect this.
    """
    token = _use_fsync.set(False)
    try:
        yield
    finally:
        _use_fsync.reset(token)


def checksum(content: bytes) -> str:
    """The CRC-32 of `content` in hexadecimal digits. It detects damage, not an attack."""
    return f"{zlib.crc32(content):08x}"


def sync_folder(folder: Path) -> None:
    """Flushes the names of the files in a folder to the disk, where the system can do this."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def remove_drafts(folder: Path, names: Container[str] | None = None) -> None:
    """Removes the temporary files of atomic_path that a killed process has left in a folder: of the files with these
    names, or, without names, of all files in the folder and its subfolders.

    The caller must ensure that no other process writes these files.
    """
    for inside, folders, files in os.walk(folder):
        for file in files:
            draft = _DRAFT.fullmatch(file)
            if draft is not None and (names is None or draft[1] in names):
                with suppress(OSError):
                    Path(inside, file).unlink()
        if names is not None:
            folders.clear()


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path in the folder of `path`; it is renamed to `path` if the block ends without an error.

    After an error, the temporary file is removed and the old file is unchanged. A missing folder is created. Raises
    LoxoError if the file cannot be written.
    """
    path = Path(path)
    draft = path.with_name(f".{path.name[:200]}.{os.getpid()}.tmp")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield draft
            draft.replace(path)
            if _use_fsync.get():
                sync_folder(path.parent)
        except BaseException:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise LoxoError(
            f"{path}: the file cannot be written ({error.strerror or error}). Check that you may write to its "
            "folder and that there is room on the disk."
        ) from error


@contextmanager
def atomic_file(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Opens an atomic_path for writing ("w": UTF-8 text with line feeds, "wb": bytes) and flushes it to the disk."""
    text: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    with atomic_path(path) as draft, draft.open(mode, **text) as file:
        yield file
        file.flush()
        if _use_fsync.get():
            os.fsync(file.fileno())


def write_atomically(path: str | Path, content: bytes) -> None:
    """Writes `content` to a file with atomic_file."""
    with atomic_file(path, "wb") as file:
        file.write(content)


def lock_file(handle: int) -> None:
    """Locks an open file for this process, without waiting. Raises BlockingIOError when the file is locked already.

    The lock is the system's own (flock). It ends when the file is closed and when the process ends, for any reason.
    Where the system or the file server has no such locks, this function does nothing.
    """
    if fcntl is None:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # a file server without locks
        return
