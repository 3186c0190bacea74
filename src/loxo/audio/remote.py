"""Common interface of object storage (s3.py) and web servers (web.py), with retries and error messages.

Both run in the event loop that fsspec keeps in its own thread. They read byte ranges of an object and list objects;
object storage can also be written.

Failure policy: a call with a transient error is repeated up to ATTEMPTS times, with increasing pauses. Transient errors
are throttling, a lost connection, a busy or slow server, and an incomplete response. Afterwards, and for other errors
(no such object or bucket, no access), StorageError is raised. Its `transient` states the kind of error, and its
`missing` that the object does not exist.
"""

from __future__ import annotations

import errno
import random
import re
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import IO, Any, Protocol, TypeVar

from loxo.audio.urls import without_secrets
from loxo.errors import LoxoError

ATTEMPTS = 8
FIRST_PAUSE_S = 0.25  # doubled after each attempt, about 30 s in total
MAX_PAUSE_S = 20.0
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 30.0  # longest pause between two packets of a response
COPY_BYTES = 1 << 20  # block size when a whole object is copied
RETRY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})

T = TypeVar("T")
Call = Callable[[], Coroutine[Any, Any, T]]


class StorageError(LoxoError):
    """A file or object cannot be read or written.

    `missing`: it does not exist. `transient`: another attempt may succeed.
    """

    def __init__(self, message: str, *, missing: bool = False, transient: bool = False) -> None:
        super().__init__(message)
        self.missing, self.transient = missing, transient


@dataclass(frozen=True)
class Info:
    """Metadata of an object or a file."""

    size: int  # bytes; -1 if the server does not report it
    version: str  # changes with the content: the ETag, or else the modification time
    md5: str | None = None  # hexadecimal, if the ETag is an MD5
    ranges: bool = True  # the server supports byte ranges


class Store(Protocol):
    """Operations on URLs of one scheme. All of them raise StorageError."""

    def info(self, url: str) -> Info:
        """Returns size and version of an object."""

    def get(self, url: str, start: int, stop: int) -> tuple[Info, bytes]:
        """Returns the bytes [start, stop), fewer at the end of the object.

        Without support for byte ranges, returns bytes only for a request of the whole object.
        """

    def copy(self, url: str, file: IO[bytes]) -> Info:
        """Copies the whole object into a file."""

    def listing(self, prefix: str) -> Iterator[tuple[str, Info | None]]:
        """Lists all objects under a prefix that ends in "/", with its subfolders. Info is None if it is not listed."""

    def put(self, url: str, data: bytes) -> None:
        """Writes an object, completely or not at all."""

    def delete(self, url: str) -> None:
        """Removes an object, if it exists."""


class IncompleteResponse(Exception):
    def __init__(self, got: int, declared: int) -> None:
        super().__init__(f"the response ended after {got} of {declared} bytes")


def call_with_retries(action: Call[T], loop: Any, explain: Callable[[BaseException], StorageError]) -> T:
    """Returns the result of a call, which is repeated after transient errors."""
    from fsspec.asyn import sync

    pause_s = FIRST_PAUSE_S
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return sync(loop, action)
        except Exception as error:
            fault = explain(error)
            if attempt == ATTEMPTS or not fault.transient:
                raise fault from error
            requested_s = getattr(error, "pause_s", 0.0)  # requested by the server
            # Random pauses, so that many workers that failed at the same time do not retry at the same time.
            time.sleep(min(max(pause_s * random.uniform(0.75, 1.25), requested_s), MAX_PAUSE_S))
            pause_s *= 2
    raise AssertionError


def retries_exhausted(url: str, reason: str) -> StorageError:
    return StorageError(
        f"{url}: the server could not be reached or did not complete its response in {ATTEMPTS} attempts ({reason}). "
        "Check the connection and try again.",
        transient=True,
    )


def unexpected_error(url: str, error: BaseException) -> StorageError:
    """Describes an error that is not a response of the server."""
    if is_transient(error):
        return retries_exhausted(url, error_text(error))
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StorageError(f"{url}: the disk is too full for a copy of it ({error.strerror}). Free some space.")
    return StorageError(f"{url}: reading failed ({type(error).__name__}: {error_text(error)}). Check the address.")


def is_transient(error: BaseException) -> bool:
    """Returns True for errors of the connection, after which another attempt may succeed."""
    import aiohttp

    kinds: tuple[type[BaseException], ...] = (IncompleteResponse, aiohttp.ClientError, TimeoutError, ConnectionError)
    try:
        from botocore import exceptions
        from botocore.parsers import ResponseParserError

        kinds += (exceptions.ConnectionError, exceptions.HTTPClientError, exceptions.IncompleteReadError)
        kinds += (ResponseParserError,)
    except ImportError:  # web servers need no botocore
        pass
    return isinstance(error, kinds)


def error_text(error: BaseException) -> str:
    """Returns the message of an error in one line of at most 200 characters, or else its type; no secrets of URLs."""
    return " ".join(without_secrets(str(error)).split())[:200] or type(error).__name__


def check_length(got: int, declared: int) -> None:
    """Raises IncompleteResponse if a response is shorter or longer than its header declares."""
    if got != declared:
        raise IncompleteResponse(got, declared)


def md5_from_etag(etag: str) -> str | None:
    """Returns the MD5 in an ETag. It has none if the object was uploaded in parts or encrypted with a key."""
    return etag.strip('"') if re.fullmatch(r'"?[0-9a-f]{32}"?', etag) else None
