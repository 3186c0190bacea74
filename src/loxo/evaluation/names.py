"""One recording under many names: tables from other machines, moved folders, another suffix after conversion.

Two names are of one recording when the file name is the same (case and audio suffix apart) and one path could be the
tail of the other. Recorders write the same file names at every site (`20190522_000000.WAV`), so among several
recordings of one file name the one whose folders agree most is taken, and where that does not decide, LoxoError says
so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from loxo.errors import LoxoError
from loxo.runs.read import common_length

AUDIO = (
    *("wav", "wave", "bwf", "rf64", "w64", "aif", "aiff", "aifc", "caf"),
    *("flac", "ogg", "oga", "opus", "mp3", "m4a", "wma"),
)


def parts(name: str) -> tuple[str, ...]:
    """The path from its end: the file's name without audio suffix, then the folders; in lower case."""
    pieces = [piece for piece in name.replace("\\", "/").casefold().split("/") if piece not in ("", ".")]
    stem, dot, suffix = pieces[-1].rpartition(".") if pieces else ("", "", "")
    if dot and suffix in AUDIO:
        pieces[-1] = stem
    return tuple(reversed(pieces))


def _same(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    return common_length(one, other) == min(len(one), len(other))


def _distinct(entries: list[tuple[str, tuple[str, ...]]]) -> list[tuple[str, tuple[str, ...]]]:
    """Of the names of one file, those that are no other one's tail."""
    kept: list[tuple[str, tuple[str, ...]]] = []
    for name, pieces in sorted(entries, key=lambda entry: (-len(entry[1]), entry[0])):
        alike = [other for other, whole in kept if _same(pieces, whole)]
        if len(alike) > 1:
            raise LoxoError(
                f"The recording {name!r} could be {alike[0]!r} or {alike[1]!r}. Write the folder into the tables."
            )
        if not alike:
            kept.append((name, pieces))
    return kept


class Index:
    """The recordings that some tables speak of, each once, and the way from any name to its number.

    `names` are the longest names given, sorted, so that nothing depends on the order of tables and rows.
    """

    def __init__(self, given: Iterable[str]) -> None:
        by_file: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
        for name in dict.fromkeys(given):
            pieces = parts(name)
            by_file.setdefault(pieces[0] if pieces else "", []).append((name, pieces))
        found = [entry for entries in by_file.values() for entry in _distinct(entries)]
        self.names: list[str] = []
        self._parts: list[tuple[str, ...]] = []
        self._by_file: dict[str, list[int]] = {}
        for name, pieces in sorted(found):
            self._by_file.setdefault(pieces[0] if pieces else "", []).append(len(self.names))
            self.names.append(name)
            self._parts.append(pieces)

    def __len__(self) -> int:
        return len(self.names)

    def find(self, others: Iterable[str]) -> dict[str, int]:
        """For each of another list's names the number of the recording, -1 for one that is not among these.

        Raises LoxoError where a name could be either of two recordings, or two of the names the same one.
        """
        unique = list(dict.fromkeys(others))
        result = dict.fromkeys(unique, -1)
        best: dict[int, list[tuple[int, str]]] = {}
        for name in unique:
            pieces = parts(name)
            candidates = self._by_file.get(pieces[0] if pieces else "", [])
            ranked = sorted(((common_length(pieces, self._parts[k]), k) for k in candidates), reverse=True)
            if not ranked:
                continue
            if len(ranked) > 1 and ranked[0][0] == ranked[1][0]:
                raise LoxoError(
                    f"The recording {name!r} could be {self.names[ranked[1][1]]!r} or {self.names[ranked[0][1]]!r}. "
                    "Write the folder into the tables."
                )
            best.setdefault(ranked[0][1], []).append((ranked[0][0], name))
        for number, claims in best.items():
            most = max(agreement for agreement, _ in claims)
            of_it = [name for agreement, name in claims if agreement == most]
            first_name = max(of_it, key=lambda name: len(parts(name)))
            odd = [name for name in of_it if not _same(parts(name), parts(first_name))]
            if odd:
                raise LoxoError(
                    f"Either of {first_name!r} and {odd[0]!r} could be {self.names[number]!r}. "
                    "Write the folder into the tables."
                )
            whole = parts(self.names[number])
            for agreement, name in claims:
                if agreement == most or _same(parts(name), whole):
                    result[name] = number
        return result


def label_names(lists: Sequence[Iterable[str]]) -> dict[str, str]:
    """Every label as given -> the label as first given: case and outer spaces make no difference."""
    result: dict[str, str] = {}
    first: dict[str, str] = {}
    for labels in lists:
        for label in labels:
            result[label] = first.setdefault(label.strip().casefold(), label.strip())
    return result
