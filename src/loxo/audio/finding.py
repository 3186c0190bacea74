"""Finding recordings: folders, patterns, lists, and the same on object storage."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from loxo.audio.remote import StorageError
from loxo.audio.storage import WILD, is_url, list_names, read_bytes

WAVE_SUFFIXES = (".wav", ".wave", ".bwf", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".caf")
COMPRESSED_SUFFIXES = (".flac", ".ogg", ".oga", ".opus", ".mp3")
FOREIGN_SUFFIXES = (".m4a", ".mp4", ".aac", ".wma", ".webm", ".mka", ".amr", ".3gp", ".wv", ".ape", ".ac3")  # by PyAV
SUFFIXES = WAVE_SUFFIXES + COMPRESSED_SUFFIXES + FOREIGN_SUFFIXES
LIST_SUFFIXES = (".txt", ".lst")

Found = Path | str  # a local file, or a URL
Problem = tuple[Found, str]


def find_recordings(paths: Iterable[str | Path]) -> tuple[list[Found], list[Problem]]:
    """The recordings in files, folders, patterns, lists and URLs, each once, and the problems as (path, sentence).

    Folders are searched with all their subfolders for the suffixes in SUFFIXES, in capitals or not; hidden files and
    folders are passed over, and with them macOS's `._*`. A file given by name is taken whatever it is called, but
    one that ends in .txt or .lst is a list: a path, pattern or URL a line, relative to the list's folder or else to
    the current one; lines that begin with # say nothing. In patterns `**` stands for any number of folders. A URL with
    one of the SUFFIXES is a recording (whether it is there, only reading it tells), any other one a folder.
    Local files come first, as Path, then URLs, as str; each kind sorted.
    """
    found: dict[str, Path] = {}
    urls: dict[str, None] = {}
    problems: list[Problem] = []

    for path in _spread(paths, problems):
        if isinstance(path, str):
            _find_urls(path, urls, problems)
        elif path.is_dir():
            files = []
            for folder, folders, names in os.walk(path, onerror=lambda e: problems.append(_unreadable(e))):
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                files += [
                    Path(folder, name) for name in names if not name.startswith(".") and name.lower().endswith(SUFFIXES)
                ]
            if not files:
                problems.append((path, f"{path}: the folder holds no recordings ({', '.join(SUFFIXES)})."))
            for file in files:
                found.setdefault(os.path.abspath(file), file)  # noqa: PTH100 (links are not followed)
        elif path.exists():
            found.setdefault(os.path.abspath(path), path)  # noqa: PTH100
        else:
            problems.append((path, f"{path}: there is no such file or folder."))
    return [*sorted(found.values()), *sorted(urls)], problems


def list_recordings(prefix: str, suffixes: Iterable[str] | None = None) -> list[str]:
    """The URLs of all recordings under a prefix or of a pattern, as list_names gives them.

    `suffixes` are SUFFIXES unless given. Raises StorageError.
    """
    endings = SUFFIXES if suffixes is None else tuple(suffixes)
    return [url for url in list_names(prefix) if url.lower().endswith(endings)]


def _spread(paths: Iterable[str | Path], problems: list[Problem], listed: bool = False) -> Iterable[Found]:
    """What lists and local patterns stand for; everything else as it is."""
    for path in paths:
        if str(path).lower().endswith(LIST_SUFFIXES) and not listed and (is_url(path) or Path(path).is_file()):
            try:
                yield from _spread(_lines(path), problems, listed=True)
            except StorageError as error:
                problems.append((path, str(error)))
        elif is_url(path):
            yield str(path)
        elif WILD.search(str(path)) and not Path(path).exists():
            hits = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 (patterns from the root on)
            hits = [hit for hit in hits if Path(hit).is_dir() or hit.lower().endswith(SUFFIXES)]
            if str(path).endswith("**"):  # what its folders hold is among the hits
                hits = [hit for hit in hits if not Path(hit).is_dir()]
            if not hits:
                problems.append((Path(path), f"{path}: no recording or folder has a name like this."))
            yield from map(Path, hits)
        else:
            yield Path(path)


def _lines(path: str | Path) -> Iterable[str | Path]:
    data = read_bytes(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    folder = Path() if is_url(path) else Path(path).parent
    for line in map(str.strip, text.splitlines()):
        if not line or line.startswith("#"):
            continue
        near = folder / line
        yield line if is_url(line) or not (near.exists() or WILD.search(line)) else near


def _find_urls(url: str, urls: dict[str, None], problems: list[Problem]) -> None:
    wild = WILD.search(url.partition("?")[0] if not url.startswith("s3://") else url)
    name = url if url.startswith("s3://") else url.partition("?")[0].partition("#")[0]
    if not wild and name.lower().endswith(SUFFIXES):
        urls[url] = None
        return
    try:
        listed = list_recordings(url)
    except StorageError as error:
        problems.append((url, str(error)))
        return
    if not listed:
        problems.append((url, f"{url}: there are no recordings under this name ({', '.join(SUFFIXES)})."))
    urls.update(dict.fromkeys(listed))


def _unreadable(error: OSError) -> tuple[Path, str]:
    return Path(error.filename), f"{error.filename}: the folder cannot be read ({error.strerror})."
