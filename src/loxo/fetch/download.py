"""Download of one object to a local file, which is resumed, checked, and visible only when it is complete.

Until then the data are in `.NAME.XXXXXXXXXXXX.part` in the same folder. X is a hash of the object's version, so that
data of two versions are never joined.
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
from loxo.files import inside

CHUNK_BYTES = 8 << 20  # length of one request; an interruption loses at most this


def download(url: str, target: Path, known: Info, on_bytes: Callable[[int], None] = lambda count: None) -> str:
    """Downloads an object with the metadata `known` from storage.info; returns the SHA-256 of the file.

    The size is checked, and the MD5 if the storage reports it. A wrong copy is downloaded once more. `on_bytes` is
    called with the number of received bytes, including those of an earlier attempt. Raises StorageError for errors of
    the storage, and LoxoError if the disk is full or cannot be written.
    """
    version = hashlib.sha256(known.version.encode()).hexdigest()[:12]
    part = inside(target.parent, f".{target.name}.{version}.part")
    with disk_errors(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        for old in target.parent.glob(f".{_escape(target.name)}.*.part"):
            if old != part:
                old.unlink()
    fault = ""
    for _ in range(2):
        sha256, fault = _attempt(url, part, known, on_bytes)
        if not fault:
            with disk_errors(target.parent):
                part.replace(target)
            return sha256
        with disk_errors(target.parent):
            on_bytes(-part.stat().st_size)
            part.unlink()
    raise StorageError(f"{url}: the downloaded data differ from the stored object ({fault}), twice. Try again later.")


def _attempt(url: str, part: Path, known: Info, on_bytes: Callable[[int], None]) -> tuple[str, str]:
    """Completes the part file; returns its SHA-256 and its fault, which is "" for a correct file."""
    store = get_store(url)
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    size = 0

    def add(data: bytes) -> None:
        nonlocal size
        sha256.update(data)
        md5.update(data)
        size += len(data)
        on_bytes(len(data))

    with disk_errors(part.parent):
        file = part.open("ab+")
    with closing_quietly(file):
        file.seek(0)
        for data in iter(lambda: file.read(CHUNK_BYTES), b""):
            add(data)
        while size < known.size:
            now, data = store.get(url, size, min(size + CHUNK_BYTES, known.size))
            if not now.ranges and not data:
                break
            if now.version != known.version or not data:
                raise StorageError(f"{url}: the object was replaced by another one during the download. Try again.")
            with disk_errors(part.parent):
                file.write(data)
                file.flush()
            add(data)
        if size < known.size or known.size < 0:  # a server without byte ranges
            on_bytes(-size)
            size, sha256, md5 = 0, hashlib.sha256(), hashlib.md5(usedforsecurity=False)
            with disk_errors(part.parent):
                store.copy(url, file)
                file.seek(0)
            for data in iter(lambda: file.read(CHUNK_BYTES), b""):
                add(data)
        with disk_errors(part.parent):
            file.flush()
            os.fsync(file.fileno())
    if known.size >= 0 and size != known.size:
        return sha256.hexdigest(), f"{size} bytes instead of {known.size}"
    if known.md5 and md5.hexdigest() != known.md5:
        return sha256.hexdigest(), "different MD5"
    return sha256.hexdigest(), ""


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Raises LoxoError for an OSError in the block: the disk is full or `folder` cannot be written."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise disk_full(folder) from error
        raise LoxoError(
            f"{folder}: the folder cannot be written ({error.strerror or error}). Check its permissions."
        ) from error


def disk_full(folder: Path) -> LoxoError:
    return LoxoError(f"{folder}: the disk is full. Free some space; the same command then resumes.")


@contextmanager
def closing_quietly(file: IO[bytes]) -> Iterator[None]:
    """Closes a file and ignores errors, because a full disk has already raised one."""
    try:
        yield
    finally:
        with suppress(OSError):
            file.close()


def _escape(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
