"""Local paths and s3://, https://, http:// URLs behind one face.

A local path is used as it is. An object is read by byte range, a few blocks of it in memory at a time, so that a
window from the middle of a day's recording costs little more than its own bytes; where a server knows no ranges, the
whole is copied once into a temporary file. What is written becomes visible whole or not at all in both worlds.

URLs need the extra `s3`; without it they raise StorageError with the command that installs it. Faults are StorageError
throughout (see remote.py), for local files too.
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
from loxo.audio.remote import Info, StorageError, Store
from loxo.files import write_atomically

SCHEMES = ("s3://", "https://", "http://")
HEAD_BYTES = 64 << 10  # read with the first request, where headers lie; also the grid of blocks
HEADS = 256  # so many objects' first blocks are kept, for recordings that are opened again and again
LARGEST_BLOCK = 4 << 20  # a block is twice the one before while a file is read on and on
KEPT_BYTES = 3 * LARGEST_BLOCK  # of one open file
COPIES = 2  # so many objects from servers without ranges are kept in temporary files
WILD = re.compile(r"[*?\[]")

Place = str | os.PathLike[str]
T = TypeVar("T")


def is_url(path: Place) -> bool:
    """Whether a path is a URL that Loxo reads."""
    return isinstance(path, str) and path.lower().startswith(SCHEMES)


def basename(path: Place) -> str:
    """The last part of a path or URL, without a web address's query and escapes."""
    text = os.fspath(path)
    if is_url(text) and not text.startswith("s3://"):
        return unquote(urlsplit(text).path).rstrip("/").rpartition("/")[2]
    return text.rstrip("/").rpartition("/")[2] if is_url(text) else base_name(text)


def join(folder: Place, *parts: str) -> str:
    """A place below a folder, local or not: `parts` have "/" between them."""
    if is_url(folder):
        return "/".join([os.fspath(folder).rstrip("/"), *(part.strip("/") for part in parts)])
    return str(Path(folder, *parts))


def get_store(url: str) -> Store:
    """The store of a URL's scheme. Raises StorageError when the packages for it are not installed."""
    try:
        if url.startswith("s3://"):
            from loxo.audio.s3 import S3Store

            return S3Store()
        from loxo.audio.web import WebStore

        return WebStore()
    except ImportError as error:
        raise StorageError(
            f"{url}: this needs packages that are not installed ({error.name}). Install them with: "
            "pip install 'loxo[s3]'"
        ) from error


def info(path: Place) -> Info:
    """Size and version of a file or object, asked anew. Raises StorageError (`missing`: it is not there)."""
    if is_url(path):
        return get_store(str(path)).info(str(path))
    try:
        stat = Path(path).stat()
    except OSError as error:
        _local_fault(path, error)
    return Info(stat.st_size, str(stat.st_mtime_ns))


def size_and_version(path: Place) -> tuple[int, str]:
    """Size in bytes (-1: the server does not tell), and a text that is another one when the content is another.

    The version is the time of change of a file in nanoseconds, and an object's ETag. Of objects that this process has
    listed, it is what the listing said: no request is made. Raises StorageError as info does.
    """
    known = _LISTED.get(str(path)) or info(path)
    return known.size, known.version


def exists(path: Place) -> bool:
    """Whether a file, a folder or an object is there. Raises StorageError when that cannot be found out."""
    if not is_url(path):
        return Path(path).exists()
    try:
        info(path)
    except StorageError as error:
        if error.missing:
            return False
        raise
    return True


def read_bytes(path: Place) -> bytes:
    """The whole content of a file or object."""
    with open_binary(path) as file:
        return file.read()


def write_bytes(path: Place, data: bytes) -> None:
    """Writes a file or an S3 object, whole or not at all."""
    if is_url(path):
        get_store(str(path)).put(str(path), data)
        _LISTED.pop(str(path), None)
    else:
        write_atomically(os.fspath(path), data)


def remove(path: Place) -> None:
    """Removes a file or an S3 object; nothing happens when it is not there."""
    if is_url(path):
        get_store(str(path)).delete(str(path))
        _LISTED.pop(str(path), None)
        return
    try:
        Path(path).unlink(missing_ok=True)
    except OSError as error:
        _local_fault(path, error, "removed")


def list_names(prefix: str) -> list[str]:
    """The URLs of all objects under a URL, which stands for a folder, with its subfolders, sorted; hidden ones apart.

    In a pattern `*` and `?` stand for letters other than "/", `**` for any. A web server has to show index pages.
    """
    wild = WILD.search(prefix) if prefix.startswith("s3://") else re.search(r"[*\[]", prefix)
    folder = prefix[: wild.start()].rpartition("/")[0] + "/" if wild else prefix.rstrip("/") + "/"
    pattern = _pattern(prefix) if wild else None
    start = prefix[: wild.start()] if wild and prefix.startswith("s3://") else folder
    names = []
    for url, known in get_store(prefix).listing(start):
        below = url[len(folder) :]
        if any(part.startswith(".") for part in below.split("/")) or (pattern and not pattern.fullmatch(url)):
            continue
        names.append(url)
        if known is not None:
            _LISTED[url] = known
    return sorted(names)


def open_binary(path: Place, known: Info | None = None, expect: int = 0) -> BinaryIO:
    """A file or object, open for reading at any place; a RangeFile for a URL.

    `known` is what info or RangeFile.info gave before, and saves a request; `expect` is how many bytes will probably be
    read in one go. Raises StorageError.
    """
    if is_url(path):
        return cast(BinaryIO, RangeFile(str(path), known, expect))
    try:
        return Path(path).open("rb")
    except OSError as error:
        _local_fault(path, error)


def _local_fault(path: Place, error: OSError, what: str = "opened") -> NoReturn:
    raise StorageError(
        f"{path}: the file cannot be {what} ({error.strerror or error}).", missing=isinstance(error, FileNotFoundError)
    ) from error


def _pattern(pattern: str) -> re.Pattern[str]:
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]" if pattern.startswith("s3://") else r"\?"}
    parts = []
    for part in re.split(r"(\*\*/?|\*|\?|\[[^\]]+\])", pattern):
        choice = part.startswith("[") and part.endswith("]")
        parts.append(words.get(part) or (part.replace("[!", "[^") if choice else re.escape(part)))
    return re.compile("".join(parts), re.DOTALL)


class RangeFile(io.RawIOBase):
    """An object as a file that can be read at any place. Not for several threads at once.

    Reading gives as many bytes as are asked for, unless the object ends. Raises StorageError when they cannot be had,
    and when the object is replaced by another one in the meantime.
    """

    def __init__(self, url: str, known: Info | None = None, expect: int = 0) -> None:
        super().__init__()
        self.url = url
        self._store = get_store(url)
        self._blocks: list[tuple[int, bytes]] = []  # offset and content, the last used at the end
        self._position = 0
        self._copy: _Copy | None = None
        # One block more, because the first one begins up to a block before what is asked for.
        self._expect = min((-(-max(expect, 1) // HEAD_BYTES) + 1) * HEAD_BYTES, LARGEST_BLOCK)
        self._length, self._next = self._expect, -1
        head = _HEADS.get((url, known.version)) if known else None
        if known is None:
            known, head = self._store.get(url, 0, HEAD_BYTES)
            if known.ranges:
                _HEADS.put((url, known.version), head)
        self.info = known
        if not known.ranges and (known.size < 0 or head is None or len(head) < known.size):
            self._use_copy(known)
        elif head is not None:
            self._blocks.append((0, head))
            self._next = len(head)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.info.size}[whence]
        self._position = max(base + offset, 0)
        return self._position

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
        self._length = LARGEST_BLOCK
        return self.read(max(self.info.size - self._position, 0)) or b""

    def _block(self, position: int) -> tuple[int, bytes]:
        """A block with the byte at `position` in it."""
        for k, (start, block) in enumerate(self._blocks):
            if start <= position < start + len(block):
                self._blocks.append(self._blocks.pop(k))
                return self._blocks[-1]
        if position == self._next:
            start, self._length = position, min(2 * self._length, LARGEST_BLOCK)
        else:
            start, self._length = position // HEAD_BYTES * HEAD_BYTES, self._expect
        self._next = stop = min(start + self._length, self.info.size)
        block = self._copied(start, stop) if self._copy else self._fetch(start, stop)
        while self._blocks and sum(len(content) for _, content in self._blocks) > KEPT_BYTES - len(block):
            self._blocks.pop(0)
        self._blocks.append((start, block))
        if start == 0 and not self._copy:
            _HEADS.put((self.url, self.info.version), block[:HEAD_BYTES])
        return start, block

    def _use_copy(self, known: Info) -> None:
        """From now on this is read from a temporary file, which a later RangeFile finds again."""
        key = (self.url, known.version)
        self._copy = _COPIES.get(key) or _COPIES.put(key, _Copy(self.url, self._store))
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
            raise StorageError(f"{self.url}: the object was replaced by another one while it was read. Try again.")
        return block


class _Copy:
    """An object from a server without ranges, in a temporary file."""

    def __init__(self, url: str, store: Store) -> None:
        self._lock = threading.Lock()
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (it outlives this call)
        store.copy(url, self._file)
        self.size = self._file.seek(0, io.SEEK_END)

    def read(self, start: int, stop: int) -> bytes:
        with self._lock:
            self._file.seek(start)
            return self._file.read(stop - start)

    def __del__(self) -> None:
        self._file.close()


class _Recent(Generic[T]):
    """The last few of something, by URL and version."""

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


_HEADS: _Recent[bytes] = _Recent(HEADS)
_COPIES: _Recent[_Copy] = _Recent(COPIES)
_LISTED: dict[str, Info] = {}


def clear_caches() -> None:
    """Drops what this process remembers of objects: listings, first blocks and temporary files."""
    _HEADS.clear()
    _COPIES.clear()
    _LISTED.clear()
