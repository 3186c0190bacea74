"""One object of a storage into one local file: resumed where it stopped, checked, visible only when it is whole.

What has arrived lies beside the file in `.NAME.XXXXXXXXXXXX.part`, named after the object's version, so that the
rest of another version is never put behind it.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from loxo.audio.remote import Info, StorageError
from loxo.audio.storage import get_store
from loxo.errors import LoxoError

CHUNK_BYTES = 8 << 20  # asked for at a time; what an interruption may cost


def download(url: str, target: Path, known: Info, on_bytes: Callable[[int], None] = lambda count: None) -> str:
    """Fetches an object that storage.info described as `known`; gives the SHA-256 of the file.

    Size and, where the storage tells it, MD5 are checked; a copy that is wrong is fetched once more. `on_bytes` is
    called with the number of bytes that came, those of an earlier attempt included. Raises StorageError for what the
    storage did, LoxoError when the disk is full or cannot be written.
    """
    part = target.with_name(f".{target.name}.{hashlib.sha256(known.version.encode()).hexdigest()[:12]}.part")
    with on_disk(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        for old in target.parent.glob(f".{_escape(target.name)}.*.part"):
            if old != part:
                old.unlink()
    fault = ""
    for _ in range(2):
        sha256, fault = _attempt(url, part, known, on_bytes)
        if not fault:
            with on_disk(target.parent):
                part.replace(target)
            return sha256
        with on_disk(target.parent):
            on_bytes(-part.stat().st_size)
            part.unlink()
    raise StorageError(f"{url}: what arrived is not what the storage holds ({fault}), twice. Try again later.")


def _attempt(url: str, part: Path, known: Info, on_bytes: Callable[[int], None]) -> tuple[str, str]:
    """SHA-256 of what is there now, and what is wrong with it, if anything."""
    store = get_store(url)
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    size = 0

    def take(data: bytes) -> None:
        nonlocal size
        sha256.update(data)
        md5.update(data)
        size += len(data)
        on_bytes(len(data))

    with on_disk(part.parent):
        file = part.open("ab+")
    with closing_calmly(file):
        file.seek(0)
        for data in iter(lambda: file.read(CHUNK_BYTES), b""):
            take(data)
        while size < known.size:
            now, data = store.get(url, size, min(size + CHUNK_BYTES, known.size))
            if not now.ranges and not data:
                break
            if now.version != known.version or not data:
                raise StorageError(f"{url}: the object was replaced by another one while it was fetched. Try again.")
            with on_disk(part.parent):
                file.write(data)
                file.flush()
            take(data)
        if size < known.size or known.size < 0:  # a server that gives the whole only
            on_bytes(-size)
            size, sha256, md5 = 0, hashlib.sha256(), hashlib.md5(usedforsecurity=False)
            with on_disk(part.parent):
                store.copy(url, file)
                file.seek(0)
            for data in iter(lambda: file.read(CHUNK_BYTES), b""):
                take(data)
        with on_disk(part.parent):
            file.flush()
            os.fsync(file.fileno())
    if known.size >= 0 and size != known.size:
        return sha256.hexdigest(), f"{size} bytes instead of {known.size}"
    if known.md5 and md5.hexdigest() != known.md5:
        return sha256.hexdigest(), "another MD5"
    return sha256.hexdigest(), ""


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def on_disk(folder: Path) -> Iterator[None]:
    """Turns what goes wrong with a disk into one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise disk_full(folder) from error
        raise LoxoError(f"{folder}: it cannot be written there ({error.strerror or error}).") from error


def disk_full(folder: Path) -> LoxoError:
    return LoxoError(f"{folder}: the disk is full. Make room; the same command then goes on where it stopped.")


@contextmanager
def closing_calmly(file: IO[bytes]) -> Iterator[None]:
    """Closes a file whose last bytes may have nowhere to go without a second complaint about it."""
    try:
        yield
    finally:
        with suppress(OSError):
            file.close()


def _escape(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
