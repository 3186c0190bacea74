"""Finds the recordings that tables name, although tables contain paths from other computers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from loxo.evaluation.names import audio_suffix, path_parts, renamed
from loxo.runs.read import common_length


class Lookup:
    """Finds files by name. Upper and lower case and the audio suffix do not matter.

    Of several files with one name, the one whose parent folders agree best with the table is chosen. `rename` applies
    only where the name itself is not found (`loxo.evaluation.names.renamed`).
    """

    def __init__(self, paths: Iterable[str], rename: Mapping[str, str]) -> None:
        self.rename = rename
        self.by_file: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            self.by_file[path_parts(path)[0]].append(path)

    def find(self, name: str) -> list[str]:
        """The files that agree best with `name`: one, none, or several that are equally good."""
        parts = path_parts(name)
        if parts[0] not in self.by_file:
            parts = path_parts(renamed(name, self.rename))
        candidates = self.by_file.get(parts[0], [])
        if len(candidates) < 2:
            return candidates
        agreement = {
            path: (common_length(path_parts(path), parts), audio_suffix(path) == audio_suffix(name))
            for path in candidates
        }
        best = max(agreement.values())
        return [path for path in candidates if agreement[path] == best]
