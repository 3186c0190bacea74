"""One run at a time in a folder.

The lock is the system's own (flock) on a file `.lock`, so that it ends with the process that holds it, however that
ends: nothing is left behind that would keep the next run out. Where the system or the file server has no such locks,
there is none.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from loxo.errors import LoxoError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """Holds the lock of a folder. Raises LoxoError when another process has it, or it cannot be made."""
    path = folder / ".lock"
    try:
        handle = _hold(path)
    except OSError as error:
        raise LoxoError(f"{folder}: this cannot be the folder of a run ({error.strerror}).") from error
    try:
        yield
    finally:
        with suppress(OSError):  # a disk that has become read-only
            path.unlink()
        os.close(handle)


def _hold(path: Path) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(handle)
        except BlockingIOError:
            owner = os.pread(handle, 100, 0).decode(errors="replace").strip() or "another process"
            os.close(handle)
            raise LoxoError(
                f"{path.parent}: another run is writing into this folder ({owner}). Wait for its end, or give another "
                "folder."
            ) from None
        # Its last owner may have removed the file between our open and our lock: then it is nobody's.
        with suppress(OSError):
            if os.path.samestat(os.fstat(handle), path.stat()):
                break
        os.close(handle)
    with suppress(OSError, AttributeError):  # only for the message above: a full disk, or Windows
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
    return handle


def _lock(handle: int) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # a file server without locks
        return
