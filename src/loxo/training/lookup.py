"""Finds the recordings that tables name, although tables contain paths from other computers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from loxo.audio.finding import SUFFIXES
from loxo.audio.storage import basename
from loxo.files import escape


class Lookup:
    """Finds files by name. Upper and lower case and the audio suffix do not matter.

    Of several files with one name, the one whose parent folders agree best with the table is chosen. `rename` maps
    parts of names in the tables to their names on disk, as {"dzan": "dz"}. It applies only where the name itself is not
    found.
    """

    def __init__(self, paths: Iterable[str], rename: Mapping[str, str]) -> None:
        self.rename = {old.casefold(): new.casefold() for old, new in rename.items()}
        self.by_stem: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            self.by_stem[_parts(path)[-1]].append(path)

    def find(self, name: str) -> list[str]:
        """The files that agree best with `name`: one, none, or several that are equally good."""
        parts = _parts(name)
        if parts[-1] not in self.by_stem:
            for old, new in self.rename.items():
                parts = [part.replace(old, new, 1) for part in parts]
        candidates = self.by_stem.get(parts[-1], [])
        if len(candidates) < 2:
            return candidates
        agreement = {path: (_common_tail(_parts(path), parts), _suffix(path) == _suffix(name)) for path in candidates}
        best = max(agreement.values())
        return [path for path in candidates if agreement[path] == best]


def _parts(path: str) -> list[str]:
    """The folders and the name of a path (POSIX, Windows or URL), in lower case and without an audio suffix."""
    path = escape(path)
    folders = path.casefold().replace("\\", "/").split("/")[:-1]
    return [*folders, basename(path).casefold().removesuffix(_suffix(path))]


def _suffix(path: str) -> str:
    name = basename(path).casefold()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")


def _common_tail(one: list[str], other: list[str]) -> int:
    """The number of parts at the end that two paths have in common."""
    for k, (a, b) in enumerate(zip(reversed(one), reversed(other), strict=False)):
        if a != b:
            return k
    return min(len(one), len(other))
