"""Files: writing them completely or not at all, checksums, names that disks and tables can hold, walks of folders.

A name in a file that another person may have written is used as a path only through `inside`, and such JSON is read
only with `parse_json`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import zlib
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any

from loxo.errors import LoxoError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
try:
    import msvcrt
except ImportError:  # all other systems
    msvcrt = None  # type: ignore[assignment]

MAX_NAME_BYTES = 255  # of a file name, on the usual file systems
LOCKED_BYTE = 0x7FFF_FFF0  # of a locked file on Windows
MAX_STEM_BYTES = 220  # leaves room for the suffixes of tables
RESERVED_NAMES = {
    "CON",
    "PRN",
    "AUX",
    "NUL",
    *(f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10)),
}  # Windows

# What a line of a table or UTF-8 cannot hold: control characters, line separators, halves of surrogate pairs. A byte of
# a file name that is not UTF-8 is such a half in Python.
_UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ESCAPED = re.compile("<([0-9A-F]{2}|[0-9A-F]{4})>")
_NOT_PORTABLE = re.compile('[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff<>:"|?*\\\\]')

_DRAFT = re.compile(r"\.(.+)\.\d+\.tmp")  # the name that atomic_path gives
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


def checksum(content: bytes) -> str:
    """The CRC-32 of `content` in hexadecimal digits. It detects damage, not an attack."""
    return f"{zlib.crc32(content):08x}"


def sync_folder(folder: Path) -> None:
    """Flushes the names of the files in a folder to the disk, where the system can do this."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def remove_drafts(folder: Path, names: Container[str] | None = None) -> None:
    """Removes the temporary files of atomic_path that a killed process has left in a folder: of the files with these
    names, or, without names, of all files in the folder and its subfolders.

    The caller must ensure that no other process writes these files.
    """
    for inside, folders, files in os.walk(folder):
        for file in files:
            draft = _DRAFT.fullmatch(file)
            if draft is not None and (names is None or draft[1] in names):
                with suppress(OSError):
                    Path(inside, file).unlink()
        if names is not None:
            folders.clear()


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path in the folder of `path`; it is renamed to `path` if the block ends without an error.

    After an error, the temporary file is removed and the old file is unchanged. A missing folder is created. Raises
    LoxoError if the file cannot be written.
    """
    path = Path(path)
    draft = path.with_name(f".{shorten(path.name, MAX_NAME_BYTES - 20)}.{os.getpid()}.tmp")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.unlink(missing_ok=True)  # a link of this name would lead the writer to another file
            yield draft
            draft.replace(path)
            if _use_fsync.get():
                sync_folder(path.parent)
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


def escape(text: str) -> str:
    """The text as it is written into a table or printed: characters that a line or UTF-8 cannot hold become codes.

    A code is the hexadecimal number of the byte or character in angle brackets: <09> for TAB, <0A> for a line feed,
    <E9> for a byte E9 that is not UTF-8. `unescape` returns the original text, if it contained no such code. A second
    call changes nothing.
    """
    return _UNWRITABLE.sub(lambda found: f"<{_code(found[0]):02X}>", text)


def unescape(text: str) -> str:
    """The text that `escape` has converted. A text without such codes is returned as it is."""

    def original(found: re.Match[str]) -> str:
        number = int(found[1], 16)
        character = chr(0xDC00 + number if 0xA0 <= number <= 0xFF else number)
        return character if _UNWRITABLE.match(character) else found[0]

    return _ESCAPED.sub(original, text) if "<" in text else text


def _code(character: str) -> int:
    number = ord(character)
    return number - 0xDC00 if 0xDCA0 <= number <= 0xDCFF else number


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def portable_name(name: str) -> str:
    """A name for files, with "/" between folders, that Linux, macOS, Windows and exFAT disks accept.

    In each part, refused characters become "_", and a part longer than MAX_STEM_BYTES is shortened. A changed part ends
    with -xxxxxxxx, from the SHA-256 of the original part, so different names stay different. The last part is without
    its suffix.
    """
    *folders, last = name.split("/")
    # Windows drops dots and spaces at the end of a folder. A table and a folder must not have the same name.
    stems = [re.sub(r"\.(txt|npz)$", r"_\1", folder.rstrip(". "), flags=re.IGNORECASE) for folder in folders]
    return "/".join([*map(_portable, folders, stems), _portable(last, last)])


def _portable(original: str, stem: str) -> str:
    clean = _NOT_PORTABLE.sub("_", stem)
    if not clean.strip(". ") or clean.split(".")[0].strip().upper() in RESERVED_NAMES:
        clean = "_" + clean.strip(". ")
    if clean == original and len(_utf8(clean)) <= MAX_STEM_BYTES:
        return original
    return f"{_cut(clean, MAX_STEM_BYTES - 9)}-{_hash(original)}"


def shorten(name: str, limit: int) -> str:
    """A file name of at most `limit` bytes; a shortened name ends with a hash of the original one."""
    return name if len(_utf8(name)) <= limit else f"{_cut(name, limit - 9)}-{_hash(name)}"


def _cut(name: str, limit: int) -> str:
    """The beginning of a name, at most `limit` bytes, without a part of a character."""
    return _utf8(name)[:limit].decode(errors="ignore")


def _hash(name: str) -> str:
    return hashlib.sha256(_utf8(name)).hexdigest()[:8]


def _utf8(name: str) -> bytes:
    return name.encode(errors="surrogatepass")


def walk(
    folders: Iterable[Path], on_fault: Callable[[Path, OSError], None] = lambda path, error: None
) -> Iterator[tuple[Path, list[str] | None]]:
    """The folders and all their subfolders, each with the names of its files, or with None if it was searched already.

    Symbolic links to folders are followed after all other folders, so the result does not depend on the names of
    links. A folder that several links or several of the given folders reach is searched once; loops therefore end.
    Hidden files and folders are skipped. `on_fault` receives each folder that cannot be read, and each link that leads
    nowhere.
    """
    searched: set[str] = set()
    todo = deque((folder, os.path.realpath(folder)) for folder in folders)
    links: deque[tuple[Path, str]] = deque()
    while todo or links:
        folder, real = (todo or links).popleft()
        if real in searched:
            yield folder, None
            continue
        searched.add(real)
        try:
            with os.scandir(folder) as entries:
                found = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda e: e.name)
        except OSError as error:
            on_fault(folder, error)
            continue
        names = []
        for entry in found:
            path = folder / entry.name
            try:
                if stat.S_ISDIR(entry.stat().st_mode):
                    if entry.is_symlink():
                        links.append((path, os.path.realpath(path)))
                    else:
                        todo.append((path, os.path.join(real, entry.name)))  # noqa: PTH118 (text)
                    continue
            except OSError as error:
                if entry.is_symlink():
                    on_fault(path, error)
                    continue
            names.append(entry.name)
        yield folder, names


def walk_files(folder: Path) -> Iterator[Path]:
    """All files of `walk`, sorted by path. Faults, pipes and devices are skipped."""
    found = sorted(path / name for path, names in walk([folder]) for name in names or ())
    return (path for path in found if path.is_file())


def lock_file(handle: int) -> None:
    """Locks an open file for this process, without waiting. Raises BlockingIOError when the file is locked already.

    The lock is the system's own (flock, or on Windows that of a byte behind the end of the file, so that others can
    read the file). It ends when the file is closed and when the process ends, for any reason. Where the file server has
    no such locks, this function does nothing.
    """
    if fcntl is None:
        _lock_byte(handle)
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # a file server without locks
        return


def _lock_byte(handle: int) -> None:
    if msvcrt is None:
        return
    position = os.lseek(handle, 0, os.SEEK_CUR)
    os.lseek(handle, LOCKED_BYTE, os.SEEK_SET)
    try:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
    except PermissionError as error:
        raise BlockingIOError(error.errno, error.strerror) from error
    except OSError:
        return
    finally:
        os.lseek(handle, position, os.SEEK_SET)


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
