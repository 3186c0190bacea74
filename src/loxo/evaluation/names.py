"""Recordings with several names: tables from other computers, moved folders, another suffix after a conversion.

Two names denote the same recording under two conditions. The file names are equal, except for case and audio suffix.
One path can be the tail of the other. Recorders use the same file names at every site (`20190522_000000.WAV`). Among
several recordings with the same file name, the one with the most equal folders is chosen. If this is not
unique, a LoxoError states the ambiguous names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from loxo.audio.finding import SUFFIXES
from loxo.audio.storage import basename
from loxo.errors import LoxoError
from loxo.files import escape
from loxo.runs.read import common_length


def path_parts(name: str) -> tuple[str, ...]:
    """The parts of a path in reverse order and in lower case: the file name without audio suffix, then the folders.

    A path may be one of Windows, or a URL; the query of a web address is no part.
    """
    parts = [piece for piece in escape(name).replace("\\", "/").casefold().split("/")[:-1] if piece not in ("", ".")]
    return (basename(escape(name)).casefold().removesuffix(audio_suffix(name)), *reversed(parts))


def audio_suffix(name: str) -> str:
    """The suffix of an audio file in lower case, with the dot; "" for other names."""
    file = basename(escape(name)).casefold()
    return next((suffix for suffix in SUFFIXES if file.endswith(suffix)), "")


def renamed(name: str, rename: Mapping[str, str]) -> str:
    """The name with parts of its folders and of its file name replaced: with {"dzan": "dz"}, dzan_1.wav becomes
    dz_1.wav. Upper and lower case do not matter. Each part of the path is changed once by each entry."""
    parts = re.split(r"([/\\])", name)
    for old, new in rename.items():
        pattern = re.compile(re.escape(old), re.IGNORECASE)
        parts = [pattern.sub(lambda _, new=new: new, part, count=1) for part in parts]
    return "".join(parts)


def _is_tail(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether one path is the tail of the other."""
    return common_length(one, other) == min(len(one), len(other))


def _distinct(entries: list[tuple[str, tuple[str, ...]]]) -> list[tuple[str, tuple[str, ...]]]:
    """The names of one file name, without those that are the tail of another one."""
    kept: list[tuple[str, tuple[str, ...]]] = []
    for name, parts in sorted(entries, key=lambda entry: (-len(entry[1]), entry[0])):
        longer = [other for other, whole in kept if _is_tail(parts, whole)]
        if len(longer) > 1:
            raise LoxoError(
                f"The name {name!r} could be the recording {longer[0]!r} or {longer[1]!r}. "
                "Write the folder into the tables."
            )
        if not longer:
            kept.append((name, parts))
    return kept


class Index:
    """The recordings of some tables, each once, and a search for the number of any name.

    `names` contains the longest names of all recordings, sorted, so that the order of tables and rows has no effect.
    """

    def __init__(self, given: Iterable[str]) -> None:
        by_file: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
        for name in dict.fromkeys(given):
            parts = path_parts(name)
            by_file.setdefault(parts[0] if parts else "", []).append((name, parts))
        found = [entry for entries in by_file.values() for entry in _distinct(entries)]
        self.names: list[str] = []
        self._parts: list[tuple[str, ...]] = []
        self._by_file: dict[str, list[int]] = {}
        for name, parts in sorted(found):
            self._by_file.setdefault(parts[0] if parts else "", []).append(len(self.names))
            self.names.append(name)
            self._parts.append(parts)

    def __len__(self) -> int:
        return len(self.names)

    def find(self, others: Iterable[str]) -> dict[str, int]:
        """For each of the other names the number of its recording, or -1 if it is not in this index.

        Raises LoxoError if a name could denote two recordings, or if two of the names could denote the same one.
        """
        unique = list(dict.fromkeys(others))
        result = dict.fromkeys(unique, -1)
        best: dict[int, list[tuple[int, str]]] = {}
        for name in unique:
            parts = path_parts(name)
            candidates = self._by_file.get(parts[0] if parts else "", [])
            ranked = sorted(((common_length(parts, self._parts[k]), k) for k in candidates), reverse=True)
            if not ranked:
                continue
            if len(ranked) > 1 and ranked[0][0] == ranked[1][0]:
                raise LoxoError(
                    f"The name {name!r} could be the recording {self.names[ranked[1][1]]!r} or "
                    f"{self.names[ranked[0][1]]!r}. Write the folder into the tables."
                )
            best.setdefault(ranked[0][1], []).append((ranked[0][0], name))
        for number, claims in best.items():
            max_agreement = max(agreement for agreement, _ in claims)
            best_names = [name for agreement, name in claims if agreement == max_agreement]
            first_name = max(best_names, key=lambda name: len(path_parts(name)))
            incompatible = [name for name in best_names if not _is_tail(path_parts(name), path_parts(first_name))]
            if incompatible:
                raise LoxoError(
                    f"Both {first_name!r} and {incompatible[0]!r} could be the recording {self.names[number]!r}. "
                    "Write the folder into the tables."
                )
            whole = path_parts(self.names[number])
            for agreement, name in claims:
                if agreement == max_agreement or _is_tail(path_parts(name), whole):
                    result[name] = number
        return result


def label_names(lists: Sequence[Iterable[str]]) -> dict[str, str]:
    """A dict from every label to its first spelling. Labels are equal if they differ only in case and outer spaces."""
    result: dict[str, str] = {}
    first: dict[str, str] = {}
    for labels in lists:
        for label in labels:
            result[label] = first.setdefault(label.strip().casefold(), label.strip())
    return result
