"""One interface for local paths and s3://, https:// and http:// URLs.

Local paths are used directly. Objects are read by byte range, with a few blocks in memory. An excerpt from a long
recording therefore needs little more than its own bytes. If a server does not support byte ranges, the whole object is
copied once into a temporary file. Files and objects are written completely or not at all.

All functions accept URLs with secrets. Messages contain the public URL only (see urls.py).

URLs need the extra `s3`; without it they raise StorageError with the command that installs it. All errors are
StorageError (see remote.py), for local files too.
"""

from __future__ import annotations

import io
import os
import re
import tempfile
import threading
from collections import OrderedDict
from pathlib import Path
from typing import IO, BinaryIO, Generic, NoReturn, TypeVar, cast
from urllib.parse import unquote, urlsplit

from loxo.audio.filenames import base_name
from loxo.audio.raw_file import RawFile
from loxo.audio.remote import Info, StorageError, Store
from loxo.audio.urls import PathOrUrl as PathOrUrl
from loxo.audio.urls import hide_secrets, public_url
from loxo.audio.urls import is_url as is_url
from loxo.files import write_atomically
from loxo.installation import install_extra

FIRST_BLOCK_BYTES = 64 << 10  # first request, which contains the header; blocks start at multiples of this
FIRST_BLOCKS_KEPT = 256  # number of objects whose first block is cached, because recordings are opened repeatedly
MAX_BLOCK_BYTES = 4 << 20  # block length doubles up to this while a file is read in sequence
CACHE_BYTES = 3 * MAX_BLOCK_BYTES  # cache size of one open file
COPIES_KEPT = 2  # number of temporary copies of objects from servers without byte ranges
WILDCARD = re.compile(r"[*?\[]")

T = TypeVar("T")


def basename(path: PathOrUrl) -> str:
    """Returns the last part of a path or URL; for a web address, without its query and unescaped."""
    text = os.fspath(path)
    if is_url(text) and not text.startswith("s3://"):
        return unquote(urlsplit(text).path).rstrip("/").rpartition("/")[2]
    return text.rstrip("/").rpartition("/")[2] if is_url(text) else base_name(text)


def join(folder: PathOrUrl, *parts: str) -> str:
    """Joins `parts` to a local folder or URL; parts of a URL are separated by "/"."""
    if is_url(folder):
        return "/".join([os.fspath(folder).rstrip("/"), *(part.strip("/") for part in parts)])
    return str(Path(folder, *parts))


def get_store(url: str) -> Store:
    """Returns the store for a URL's scheme. Raises StorageError if its packages are not installed."""
    try:
        if url.startswith("s3://"):
            from loxo.audio.s3 import S3Store

            return S3Store()
        from loxo.audio.web import WebStore

        return WebStore()
    except ImportError as error:
        raise StorageError(
            f"{public_url(url)}: this needs packages that are not installed ({error.name}). Install them with "
            f"{install_extra('s3')}"
        ) from error


def info(path: PathOrUrl) -> Info:
    """Requests size and version of a file or object. Raises StorageError (`missing` if it does not exist)."""
    if is_url(path):
        url = hide_secrets(str(path))
        return get_store(url).info(url)
    try:
        stat = Path(path).stat()
    except OSError as error:
        _raise_local_error(path, error)
    return Info(stat.st_size, str(stat.st_mtime_ns))


def size_and_version(path: PathOrUrl) -> tuple[int, str]:
    """Returns the size in bytes (-1 if the server does not report it) and a version that changes with the content.

    The version is a file's modification time in nanoseconds, or an object's ETag. For objects that this process has
    listed, the values of the listing are returned without a request. Raises StorageError as info does.
    """
    known = _LISTED_INFO.get(public_url(str(path))) or info(path)
    return known.size, known.version


def exists(path: PathOrUrl) -> bool:
    """Returns True if a file, folder or object exists. Raises StorageError if this cannot be determined."""
    if not is_url(path):
        return Path(path).exists()
    try:
        info(path)
    except StorageError as error:
        if error.missing:
            return False
        raise
    return True


def read_bytes(path: PathOrUrl) -> bytes:
    """Returns the whole content of a file or object."""
    with open_binary(path) as file:
        return file.read()


def write_bytes(path: PathOrUrl, data: bytes) -> None:
    """Writes a file or an S3 object, completely or not at all."""
    if is_url(path):
        url = hide_secrets(str(path))
        get_store(url).put(url, data)
        _LISTED_INFO.pop(url, None)
    else:
        write_atomically(os.fspath(path), data)


def remove(path: PathOrUrl) -> None:
    """Removes a file or an S3 object, if it exists."""
    if is_url(path):
        url = hide_secrets(str(path))
        get_store(url).delete(url)
        _LISTED_INFO.pop(url, None)
        return
    try:
        Path(path).unlink(missing_ok=True)
    except OSError as error:
        _raise_local_error(path, error, "removed")


def list_names(prefix: str) -> list[str]:
    """Returns the sorted URLs of all objects in a folder with its subfolders, except hidden ones.

    `prefix` is the URL of the folder, or a pattern: `*` and `?` match characters other than "/", `**` any characters.
    A web server must provide index pages.
    """
    prefix = hide_secrets(prefix)
    wild = WILDCARD.search(prefix) if prefix.startswith("s3://") else re.search(r"[*\[]", prefix)
    folder = prefix[: wild.start()].rpartition("/")[0] + "/" if wild else prefix.rstrip("/") + "/"
    pattern = glob_to_regex(prefix) if wild else None
    start = prefix[: wild.start()] if wild and prefix.startswith("s3://") else folder
    names = []
    for url, known in get_store(prefix).listing(start):
        below = url[len(folder) :]
        if any(part.startswith(".") for part in below.split("/")) or (pattern and not pattern.fullmatch(url)):
            continue
        names.append(url)
        if known is not None:
            _LISTED_INFO[url] = known
    return sorted(names)


def open_binary(path: PathOrUrl, known: Info | None = None, expected_bytes: int = 0) -> BinaryIO:
    """Opens a file or object for reading at any position; a URL is opened as a RangeFile.

    `known` is an earlier result of info or RangeFile.info, and saves a request. `expected_bytes` is the expected length
    of a sequence of reads. Raises StorageError.
    """
    if is_url(path):
        return cast(BinaryIO, RangeFile(str(path), known, expected_bytes))
    try:
        return Path(path).open("rb")
    except OSError as error:
        _raise_local_error(path, error)


def _raise_local_error(path: PathOrUrl, error: OSError, action: str = "opened") -> NoReturn:
    raise StorageError(
        f"{path}: the file cannot be {action} ({error.strerror or error}). Check the path.",
        missing=isinstance(error, FileNotFoundError),
    ) from error


def glob_to_regex(pattern: str, any_character: str | None = None) -> re.Pattern[str]:
    """The regular expression of a pattern. `?` is `any_character`; by default, a question mark in a web address."""
    question = any_character or ("[^/]" if pattern.startswith("s3://") else r"\?")
    translations = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": question}
    parts = []
    for part in re.split(r"(\*\*/?|\*|\?|\[[^\]]+\])", pattern):
        choice = part.startswith("[") and part.endswith("]")
        parts.append(translations.get(part) or (part.replace("[!", "[^") if choice else re.escape(part)))
    return re.compile("".join(parts), re.DOTALL)


class RangeFile(RawFile):
    """An object as a file that can be read at any position. Not thread-safe.

    Reads return as many bytes as requested, except at the end of the object. Raises StorageError if the bytes cannot be
    read, or if the object was replaced after it was opened.
    """

    def __init__(self, url: str, known: Info | None = None, expected_bytes: int = 0) -> None:
        super().__init__()
        self.url = url = hide_secrets(url)
        self._store = get_store(url)
        self._blocks: list[tuple[int, bytes]] = []  # offset and content; the most recently used block is last
        self._copy: _TemporaryCopy | None = None
        # One more block, because the first block may start before the requested position.
        self._first_length = min(
            (-(-max(expected_bytes, 1) // FIRST_BLOCK_BYTES) + 1) * FIRST_BLOCK_BYTES, MAX_BLOCK_BYTES
        )
        self._length, self._next = self._first_length, -1
        head = _FIRST_BLOCKS.get((url, known.version)) if known else None
        if known is None:
            known, head = self._store.get(url, 0, FIRST_BLOCK_BYTES)
            if known.ranges:
                _FIRST_BLOCKS.put((url, known.version), head)
        self.info = known
        if not known.ranges and (known.size < 0 or head is None or len(head) < known.size):
            self._use_copy(known)
        elif head is not None:
            self._blocks.append((0, head))
            self._next = len(head)

    @property
    def _size(self) -> int:
        return self.info.size

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]  # any writable buffer
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view) and self._position < self.info.size:
            start, block = self._block(self._position)
            piece = block[self._position - start : self._position - start + len(view) - done]
            view[done : done + len(piece)] = piece
            done += len(piece)
            self._position += len(piece)
        return done

    def readall(self) -> bytes:
        self._length = MAX_BLOCK_BYTES
        return self.read(max(self.info.size - self._position, 0)) or b""

    def _block(self, position: int) -> tuple[int, bytes]:
        """Returns a block that contains the byte at `position`."""
        for k, (start, block) in enumerate(self._blocks):
            if start <= position < start + len(block):
                self._blocks.append(self._blocks.pop(k))
                return self._blocks[-1]
        if position == self._next:
            start, self._length = position, min(2 * self._length, MAX_BLOCK_BYTES)
        else:
            start, self._length = position // FIRST_BLOCK_BYTES * FIRST_BLOCK_BYTES, self._first_length
        self._next = stop = min(start + self._length, self.info.size)
        block = self._copied(start, stop) if self._copy else self._fetch(start, stop)
        while self._blocks and sum(len(content) for _, content in self._blocks) > CACHE_BYTES - len(block):
            self._blocks.pop(0)
        self._blocks.append((start, block))
        if start == 0 and not self._copy:
            _FIRST_BLOCKS.put((self.url, self.info.version), block[:FIRST_BLOCK_BYTES])
        return start, block

    def _use_copy(self, known: Info) -> None:
        """Reads the object from a temporary copy from now on; later RangeFiles use the same copy."""
        key = (self.url, known.version)
        self._copy = _TEMPORARY_COPIES.get(key) or _TEMPORARY_COPIES.put(key, _TemporaryCopy(self.url, self._store))
        self.info = Info(self._copy.size, known.version, known.md5, ranges=False)

    def _copied(self, start: int, stop: int) -> bytes:
        assert self._copy is not None
        return self._copy.read(start, stop)

    def _fetch(self, start: int, stop: int) -> bytes:
        now, block = self._store.get(self.url, start, stop)
        if not now.ranges and len(block) != stop - start:
            self._use_copy(now)
            return self._copied(start, stop)
        if now.version != self.info.version or now.size not in (self.info.size, -1) or len(block) != stop - start:
            raise StorageError(f"{self.url}: the object was replaced by another one during reading. Try again.")
        return block


class _TemporaryCopy:
    """An object from a server without byte ranges, in a temporary file."""

    def __init__(self, url: str, store: Store) -> None:
        self._lock = threading.Lock()
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed in __del__)
        store.copy(url, self._file)
        self.size = self._file.seek(0, io.SEEK_END)

    def read(self, start: int, stop: int) -> bytes:
        with self._lock:
            self._file.seek(start)
            return self._file.read(stop - start)

    def __del__(self) -> None:
        self._file.close()


class _LruCache(Generic[T]):
    """A thread-safe cache of the most recently used items, by URL and version."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._lock = threading.Lock()
        self._items: OrderedDict[tuple[str, str], T] = OrderedDict()

    def get(self, key: tuple[str, str]) -> T | None:
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
            return self._items.get(key)

    def put(self, key: tuple[str, str], item: T) -> T:
        with self._lock:
            self._items[key] = item
            self._items.move_to_end(key)
            while len(self._items) > self._count:
                self._items.popitem(last=False)
        return item

    def clear(self) -> None:
        with self._lock:
            self._items.clear()


_FIRST_BLOCKS: _LruCache[bytes] = _LruCache(FIRST_BLOCKS_KEPT)
_TEMPORARY_COPIES: _LruCache[_TemporaryCopy] = _LruCache(COPIES_KEPT)
_LISTED_INFO: dict[str, Info] = {}


def clear_caches() -> None:
    """Clears this process's caches of objects: listings, first blocks and temporary copies."""
    _FIRST_BLOCKS.clear()
    _TEMPORARY_COPIES.clear()
    _LISTED_INFO.clear()
