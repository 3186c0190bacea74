"""Atomic writing of files, paths that stay inside a folder, and JSON from outside.

A file is written completely or not at all. A name in a file that another person may have written is used as a path only
through `inside`, and such JSON is read only with `parse_json`.
"""

from __future__ import annotations

import json
import os
import re
import stat
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
            draft.unlink(missing_ok=True)  # a link of this name would lead the writer to another file
            yield draft
            draft.replace(path)
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


def leads_out(name: object) -> bool:
    """Returns True unless `name` is a relative path that stays in its folder: no "..", drive letter or NUL.

    A backslash counts as a separator on every system, because a folder may come from another one.
    """
    if not isinstance(name, str) or not name or "\0" in name:
        return True
    parts = re.split(r"[/\\]", name)
    return not parts[0] or ".." in parts or re.match(r"[A-Za-z]:", name) is not None


def inside(folder: str | Path, name: str) -> Path:
    """The path of the file `name` in `folder`, for a name or a folder from another person.

    Raises LoxoError when the path leads out of the folder (`leads_out`, or a symbolic link in the folder), or to
    something that is neither a file nor a folder. The folder itself may be a link.
    """
    path = Path(folder, name) if not leads_out(name) else None
    if path is None:
        raise LoxoError(
            f"{folder}: the name {name!r} in it leads out of this folder, so it is not used. Do not trust this folder, "
            "or make it again."
        )
    try:
        real = os.path.realpath(path)
        if not Path(real).is_relative_to(os.path.realpath(folder)):
            raise LoxoError(
                f"{path}: a symbolic link leads out of {folder}, so it is not followed. Replace the link by the files "
                "themselves."
            )
        mode = Path(real).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return path
    except (OSError, ValueError) as error:  # a name that this system cannot hold
        reason = getattr(error, "strerror", None) or error
        raise LoxoError(
            f"{folder}: the file {name!r} in it cannot be used ({reason}). Make the folder again."
        ) from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise LoxoError(f"{path}: this is a pipe or a device, not a file. Remove it.")
    return path


def parse_json(content: str | bytes) -> Any:
    """json.loads for content from outside: every fault is a ValueError, also JSON that is nested too deeply."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
