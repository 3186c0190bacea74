"""Search for recordings in folders, patterns and lists, on a disk or on object storage."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from loxo.audio.remote import StorageError
from loxo.audio.storage import WILDCARD, glob_to_regex, is_url, list_names, read_bytes
from loxo.audio.urls import hide_secrets, public_url
from loxo.errors import with_path
from loxo.files import escape, walk

WAVE_SUFFIXES = (".wav", ".wave", ".bwf", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".caf")
COMPRESSED_SUFFIXES = (".flac", ".ogg", ".oga", ".opus", ".mp3")
FOREIGN_SUFFIXES = (".m4a", ".mp4", ".aac", ".wma", ".webm", ".mka", ".amr", ".3gp", ".wv", ".ape", ".ac3")  # PyAV
SUFFIXES = WAVE_SUFFIXES + COMPRESSED_SUFFIXES + FOREIGN_SUFFIXES
LIST_SUFFIXES = (".txt", ".lst")

DIFFERENT_QUERY = (
    "this address was given twice, with different fields that are not stored, such as signatures. Only one of the two "
    "was used. Give each recording once."
)

RecordingPath = Path | str  # Path: a local file, str: a URL
Problem = tuple[RecordingPath, str]


def find_recordings(paths: Iterable[str | Path]) -> tuple[list[RecordingPath], list[Problem]]:
    """Returns the recordings in files, folders, patterns, lists and URLs, each once, and problems as (path, sentence).

    Folders are searched with all their subfolders for the suffixes in SUFFIXES, in any case. Symbolic links to folders
    are followed, and each folder is searched once (loxo.files.walk). A link that leads nowhere is a problem. Hidden
    files and folders are skipped, including macOS's `._*`. A file given by name is accepted with any suffix, except
    that .txt and .lst files are lists. A list has one path, pattern or URL per line, relative to the list's folder or
    else to the current folder. Lines that start with # are comments. In patterns, `**` matches any number of folders,
    also behind links. A URL with one of the
    SUFFIXES is a recording (it is not checked here whether it exists); any other URL is a folder.
    Local files come first, as Path, then URLs, as str; each group is sorted.
    """
    found: dict[str, Path] = {}
    folders: dict[str, Path] = {}
    urls: dict[str, None] = {}
    problems: list[Problem] = []
    requested: dict[str, str] = {}  # URLs with their secrets

    for path in _expand(paths, problems):
        if isinstance(path, str):
            given, path = path, hide_secrets(path)
            if requested.setdefault(path, given) != given:
                problems.append((path, f"{path}: {DIFFERENT_QUERY}"))
            _find_urls(path, urls, problems)
        elif path.is_dir():
            folders.setdefault(os.path.abspath(path), path)  # noqa: PTH100 (links are not followed)
        elif path.exists():
            found.setdefault(os.path.join(os.path.realpath(path.parent), path.name), path)  # noqa: PTH118 (text)
        elif path.is_symlink():
            problems.append(_fault(path))
        else:
            problems.append((path, f"{path}: there is no such file or folder. Check the path."))
    used: set[str] = set()  # folders with recordings below
    for folder, names in walk(folders.values(), lambda path, error: problems.append(_fault(path, error))):
        files = [name for name in names or () if name.lower().endswith(SUFFIXES)]
        real = os.path.realpath(folder) if files else ""
        for name in files:
            found.setdefault(os.path.join(real, name), folder / name)  # noqa: PTH118 (text)
        apparent = os.path.abspath(folder)  # noqa: PTH100
        if files or (names is None and apparent not in folders):
            _add_with_parents(apparent, used)
    for given, path in folders.items():
        if given not in used:
            problems.append((path, f"{path}: the folder contains no recordings ({', '.join(SUFFIXES)})."))
    named: dict[str, Path] = {}
    for path in sorted(found.values()):
        if named.setdefault(escape(str(path)), path) != path:
            sentence = "in tables, this name is the same as that of another recording. Rename one of the two"
            problems.append((path, f"{path}: {sentence}."))
    return [*named.values(), *sorted(urls)], [(path, with_path(path, sentence)) for path, sentence in problems]


def _add_with_parents(folder: str, used: set[str]) -> None:
    while folder not in used:
        used.add(folder)
        folder = os.path.dirname(folder)  # noqa: PTH120 (text)


def list_recordings(prefix: str, suffixes: Iterable[str] | None = None) -> list[str]:
    """Returns the URLs of all recordings under a prefix or matching a pattern (see list_names).

    `suffixes` defaults to SUFFIXES. Raises StorageError.
    """
    endings = SUFFIXES if suffixes is None else tuple(suffixes)
    return [url for url in list_names(prefix) if url.lower().endswith(endings)]


def _expand(paths: Iterable[str | Path], problems: list[Problem], listed: bool = False) -> Iterable[RecordingPath]:
    """Replaces lists and local patterns by the paths in them; returns all other paths unchanged."""
    for path in paths:
        if str(path).lower().endswith(LIST_SUFFIXES) and not listed and (is_url(path) or Path(path).is_file()):
            try:
                yield from _expand(_read_list(path), problems, listed=True)
            except StorageError as error:
                problems.append((public_url(str(path)), str(error)))
        elif is_url(path):
            yield str(path)
        elif WILDCARD.search(str(path)) and not Path(path).exists():
            hits = sorted(_glob(str(path), problems))
            hits = [hit for hit in hits if Path(hit).is_dir() or hit.lower().endswith(SUFFIXES)]
            if str(path).endswith("**"):  # the files in these folders are already among the hits
                hits = [hit for hit in hits if not Path(hit).is_dir()]
            if not hits:
                problems.append(
                    (Path(path), f"{path}: no recording or folder matches this pattern. Check the pattern.")
                )
            yield from map(Path, hits)
        else:
            yield Path(path)


def _glob(pattern: str, problems: list[Problem]) -> Iterable[str]:
    """The files and folders that match a local pattern. Behind `**`, links are followed as `walk` does."""
    head, stars, tail = pattern.partition("**")
    if not stars:
        return glob.glob(pattern)  # noqa: PTH207 (patterns may be absolute)
    head, _, start = head.replace(os.sep, "/").rpartition("/")
    begins = glob.glob(head or ("/" if pattern.startswith(("/", os.sep)) else "."))  # noqa: PTH207
    below = glob_to_regex(start + stars + tail.replace(os.sep, "/"), any_character="[^/]")
    hits = []
    for begin in sorted(filter(os.path.isdir, begins)):
        for folder, names in walk([Path(begin)], lambda path, error: problems.append(_fault(path, error))):
            found = [] if names is None else [folder, *(folder / name for name in names)]
            below_begin = (path for path in found if path != Path(begin))
            hits += [str(path) for path in below_begin if below.fullmatch(path.relative_to(begin).as_posix())]
    return hits


def _read_list(path: str | Path) -> Iterable[str | Path]:
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
        yield line if is_url(line) or not (near.exists() or WILDCARD.search(line)) else near


def _find_urls(url: str, urls: dict[str, None], problems: list[Problem]) -> None:
    wild = WILDCARD.search(url.partition("?")[0] if not url.startswith("s3://") else url)
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
        problems.append((url, f"{url}: there are no recordings under this address ({', '.join(SUFFIXES)})."))
    urls.update(dict.fromkeys(listed))


def _fault(path: Path, error: OSError | None = None) -> Problem:
    if path.is_symlink() and not path.exists():
        return path, f"{path}: this link leads nowhere. Connect the disk that it leads to, or remove the link."
    reason = error.strerror or error if error else "not a folder"
    return path, f"{path}: the folder cannot be read ({reason}). Check its permissions."
