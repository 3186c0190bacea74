"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any

from loxo.errors import LoxoError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_to_disk: ContextVar[bool] = ContextVar("_to_disk", default=True)


@contextmanager
def left_to_the_system() -> Iterator[None]:
    """Files written in this block reach the disk when the system sees fit, usually within a minute, not at once.

    For many small files in a row, where waiting for the disk would take most of the time. They are still seen whole or
    not at all, whatever becomes of this process; after a loss of power they may be gone or empty, which their writer
    must be able to notice.
    """
    token = _to_disk.set(False)
    try:
        yield
    finally:
        _to_disk.reset(token)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary name beside `path` for a file that takes its own name only when the block ends without an error.

    After an error the draft is gone and the old file is as it was. The folder is made if need be. Raises LoxoError
    when it cannot be written.
    """
    path = Path(path)
    draft = path.with_name(f".{path.name[:200]}.{os.getpid()}.tmp")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield draft
            draft.replace(path)
        except BaseException:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise LoxoError(
            f"{path}: the file cannot be written ({error.strerror or error}). May you write to its folder, and is "
            "there room on the disk?"
        ) from error


@contextmanager
def atomic_file(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """An atomic_path, open to write ("w": UTF-8 text with plain line feeds, "wb": bytes) and flushed to the disk."""
    text: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    with atomic_path(path) as draft, draft.open(mode, **text) as file:
        yield file
        file.flush()
        if _to_disk.get():
            os.fsync(file.fileno())


def write_atomically(path: str | Path, content: bytes) -> None:
    """atomic_file for content that is at hand."""
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
