"""What object storage (s3.py) and web servers (web.py) have in common: the calls, the patience, the faults.

Both run in the event loop that fsspec keeps in a thread of its own, and give one object by byte range, listings, and,
for object storage, writing.

Failure policy: what passes (throttling, a connection that breaks off, a server that is busy or slow, an answer cut
short) is tried ATTEMPTS times with growing pauses. What remains, and what does not pass (no such object or bucket, no
access), is a StorageError, one sentence. Its `transient` tells the two apart, its `missing` that nothing is there.
"""

from __future__ import annotations

import errno
import random
import re
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import IO, Any, Protocol, TypeVar

from loxo.errors import LoxoError

ATTEMPTS = 8
FIRST_PAUSE_S = 0.25  # doubled after each attempt: half a minute in all
MAX_PAUSE_S = 20.0
CONNECT_S, SILENCE_S = 10.0, 30.0  # how long a server may take to answer, and pause in the middle of an answer
COPY_BYTES = 1 << 20  # of an object that is fetched whole, at a time
BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})

T = TypeVar("T")
Call = Callable[[], Coroutine[Any, Any, T]]


class StorageError(LoxoError):
    """Something cannot be read or written where it lies. `missing`: nothing is there. `transient`: it may pass."""

    def __init__(self, message: str, *, missing: bool = False, transient: bool = False) -> None:
        super().__init__(message)
        self.missing, self.transient = missing, transient


@dataclass(frozen=True)
class Info:
    """What is known of an object or a file without reading it."""

    size: int  # in bytes; -1 where the server does not tell
    version: str  # another one when the content is another: ETag, or else the time of change
    md5: str | None = None  # hexadecimal, where the ETag is one
    ranges: bool = True  # whether parts of it can be asked for


class Store(Protocol):
    """What can be done with URLs of one scheme. Everything raises StorageError."""

    def info(self, url: str) -> Info:
        """Size and version."""

    def get(self, url: str, start: int, stop: int) -> tuple[Info, bytes]:
        """The bytes [start, stop), fewer at the end. Without ranges: none, unless the whole is what was asked for."""

    def copy(self, url: str, file: IO[bytes]) -> Info:
        """The whole object, into a file."""

    def listing(self, prefix: str) -> Iterator[tuple[str, Info | None]]:
        """All objects under a prefix that ends in "/", those of its subfolders included. None: not told."""

    def put(self, url: str, data: bytes) -> None:
        """Writes an object, whole or not at all."""

    def delete(self, url: str) -> None:
        """Removes an object, if it is there."""


class CutShort(Exception):
    def __init__(self, got: int, promised: int) -> None:
        super().__init__(f"an answer broke off after {got} of {promised} bytes")


def persist(action: Call[T], loop: Any, explain: Callable[[BaseException], StorageError]) -> T:
    """The result of a call, made again while its faults are such as pass."""
    from fsspec.asyn import sync

    pause_s = FIRST_PAUSE_S
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return sync(loop, action)
        except Exception as error:
            fault = explain(error)
            if attempt == ATTEMPTS or not fault.transient:
                raise fault from error
            asked_s = getattr(error, "pause_s", 0.0)  # by the server
            # Some chance in it, so that many workers that were turned away together do not come back together.
            time.sleep(min(max(pause_s * random.uniform(0.75, 1.25), asked_s), MAX_PAUSE_S))
            pause_s *= 2
    raise AssertionError


def gave_up(url: str, reason: str) -> StorageError:
    return StorageError(
        f"{url}: the server could not be reached, or broke off, in {ATTEMPTS} attempts ({reason}). Check the "
        "connection and try again.",
        transient=True,
    )


def other_fault(url: str, error: BaseException) -> StorageError:
    """The sentence for what neither the server nor the connection said."""
    if passes(error):
        return gave_up(url, words(error))
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StorageError(f"{url}: there is no room on the disk for a copy of it ({error.strerror}).")
    return StorageError(f"{url}: reading failed ({type(error).__name__}: {words(error)}).")


def passes(error: BaseException) -> bool:
    import aiohttp

    kinds: tuple[type[BaseException], ...] = (CutShort, aiohttp.ClientError, TimeoutError, ConnectionError)
    try:
        from botocore import exceptions
        from botocore.parsers import ResponseParserError

        kinds += (exceptions.ConnectionError, exceptions.HTTPClientError, exceptions.IncompleteReadError)
        kinds += (ResponseParserError,)
    except ImportError:  # the web alone needs no botocore
        pass
    return isinstance(error, kinds)


def words(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def check_length(got: int, promised: int) -> None:
    if got != promised:
        raise CutShort(got, promised)


def md5(etag: str) -> str | None:
    """An ETag is an MD5 unless the object was written in several parts, or encrypted with a key."""
    return etag.strip('"') if re.fullmatch(r'"?[0-9a-f]{32}"?', etag) else None
