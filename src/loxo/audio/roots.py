"""The folders and servers whose recordings may be opened because a run or a table names them.

A run folder may come from another person. A recording that it names is opened in these places only:

- folders and servers whose recordings were given to Loxo on this computer before. They are remembered in the user's
  cache, in `recordings.txt`, one in each line;
- folders and servers that the caller gives, such as `--recordings` and the folder beside the run.

A symbolic link to a file is followed in remembered folders only: the user has chosen their content. No name is looked
up on the disk or on a server before it was compared with these places.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from loxo.audio.urls import PathOrUrl, is_url
from loxo.machine import user_cache

LIST = "recordings.txt"

_remembered: set[str] = set()  # by this process, also where the cache cannot be written


class Roots:
    """The remembered places, and the folders and servers in `given`."""

    def __init__(self, given: Sequence[PathOrUrl] = ()) -> None:
        self._known = _remembered | _read_list()
        self._given = {name for place in given for name in _names(place)}

    def __contains__(self, recording: PathOrUrl) -> bool:
        """Whether a recording may be opened. It need not exist."""
        if "\0" in os.fspath(recording):
            return False
        if is_url(recording):
            return server(str(recording)) in self._known | self._given
        path = os.path.abspath(recording)  # noqa: PTH100
        folder = os.path.normcase(os.path.dirname(path))  # noqa: PTH120
        # As text first: on Windows, a look at \\server\share would send the user's login there.
        if not _within(folder, self._known | self._given):
            return False
        if _within(os.path.normcase(os.path.realpath(folder)), self._known):
            return True
        return _within(os.path.normcase(os.path.realpath(path)), self._given)


def remember(recordings: Iterable[PathOrUrl]) -> None:
    """Adds the folders and servers of recordings that the user has given, for this process and later ones."""
    places = {server(str(path)) if is_url(path) else os.path.dirname(os.path.abspath(path)) for path in recordings}  # noqa: PTH100, PTH120
    new = {name for place in places for name in _names(place)} - _remembered
    new = {name for name in new - _read_list() if "\n" not in name}
    _remembered.update(new)
    with suppress(OSError):  # a cache that cannot be written: later processes need --recordings
        user_cache().mkdir(parents=True, exist_ok=True)
        with (user_cache() / LIST).open("a", encoding="utf-8", errors="surrogateescape") as file:
            file.writelines(f"{name}\n" for name in sorted(new))


def server(url: str) -> str:
    """The server or bucket of a URL, such as https://example.org or s3://bucket."""
    try:
        parts = urlsplit(url)
    except ValueError:  # such as an open bracket: no server has this name
        return url
    return f"{parts.scheme.lower()}://{parts.netloc.rpartition('@')[2].lower()}"


def _names(place: PathOrUrl) -> set[str]:
    """A folder under its own name and without links, or a server."""
    if is_url(place):
        return {server(str(place))}
    return {os.path.normcase(find(place)) for find in (os.path.abspath, os.path.realpath)}


def _within(path: str, folders: set[str]) -> bool:
    while path not in folders:
        above = os.path.dirname(path)  # noqa: PTH120
        if above == path:
            return False
        path = above
    return True


def _read_list() -> set[str]:
    try:
        text = Path(user_cache(), LIST).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return set()
    return set(text.split("\n")) - {""}
