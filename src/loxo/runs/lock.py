"""One process at a time writes into a run folder.

The lock is the system's lock (loxo.files.lock_file) on the file `.lock`. It ends with the process that holds it, for
any reason, so a killed run never blocks the next one. Where the system or the file server has no such locks, nothing is
locked.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from loxo.errors import LoxoError
from loxo.files import inside, lock_file


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Holds the lock of a folder. Raises LoxoError when another process holds it, or the file cannot be created."""
    path = inside(folder, ".lock")
    try:
        handle = _hold(path)
    except OSError as error:
        raise LoxoError(
            f"{folder}: this cannot be the folder of a run ({error.strerror}). Give a folder that you may write to."
        ) from error
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
            lock_file(handle)
        except BlockingIOError:
            owner = os.read(handle, 100).decode(errors="replace").strip() or "another process"
            os.close(handle)
            raise LoxoError(
                f"{path.parent}: another run is writing into this folder ({owner}). Wait until it ends, or give "
                "another folder."
            ) from None
        # The last owner may have removed the file between our open and our lock. Then the lock protects nothing.
        with suppress(OSError):
            if os.path.samestat(os.fstat(handle), path.stat()):
                break
        os.close(handle)
    with suppress(OSError):  # only for the message above; fails on a full disk
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
    return handle
