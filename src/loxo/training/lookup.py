"""The files that names in tables mean: names from another computer, files that lie somewhere else now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from loxo.audio.finding import SUFFIXES
from loxo.audio.storage import basename


class Lookup:
    """Finds files by name, in capitals or not, with whatever audio suffix; among namesakes by the folders above.

    `rename` gives what parts of names in tables are called on the disk, as {"dzan": "dz"}; it is tried where a name
    itself is not found.
    """

    def __init__(self, paths: Iterable[str], rename: Mapping[str, str]) -> None:
        self.rename = {old.casefold(): new.casefold() for old, new in rename.items()}
        self.by_stem: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            self.by_stem[_parts(path)[-1]].append(path)

    def find(self, name: str) -> list[str]:
        """One file, or several that cannot be told apart, or none."""
        parts = _parts(name)
        if parts[-1] not in self.by_stem:
            for old, new in self.rename.items():
                parts = [part.replace(old, new, 1) for part in parts]
        candidates = self.by_stem.get(parts[-1], [])
        if len(candidates) < 2:
            return candidates
        likeness = {path: (_common_tail(_parts(path), parts), _suffix(path) == _suffix(name)) for path in candidates}
        best = max(likeness.values())
        return [path for path in candidates if likeness[path] == best]


def _parts(path: str) -> list[str]:
    """The folders and the name of a path of whatever system, in small letters, the name without an audio suffix."""
    folders = path.casefold().replace("\\", "/").split("/")[:-1]
    return [*folders, basename(path).casefold().removesuffix(_suffix(path))]


def _suffix(path: str) -> str:
    name = basename(path).casefold()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")


def _common_tail(one: list[str], other: list[str]) -> int:
    for k, (a, b) in enumerate(zip(reversed(one), reversed(other), strict=False)):
        if a != b:
            return k
    return min(len(one), len(other))
