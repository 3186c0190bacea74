"""Names of events, and recordings that were renamed because the clock of their station was wrong.

The name of an event contains the name of its recording. RUN/renamed.jsonl has a line for each renamed recording, with
the names of its events before and after, so that decisions of a review follow the recording.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loxo.errors import LoxoError
from loxo.files import inside, parse_json, write_atomically

RENAMED = "renamed.jsonl"


def event_name(table: str, label: str, start_s: float, end_s: float) -> str:
    """The name of an event: 16 hexadecimal digits, a hash of its recording's table, its label and its times. `table` is
    the path of that table in the run folder, whether it was written or not."""
    (name,) = hashed_names(np.array([digest(f"{table}\t{label}")], np.uint64), [start_s], [end_s])
    return name


def hashed_names(digests: NDArray[np.uint64], start_s: ArrayLike, end_s: ArrayLike) -> list[str]:
    """The names of many events. digests: of "TABLE<TAB>LABEL" of each event, as in event_name."""
    bits = digests
    for seconds in (start_s, end_s):
        bits = _mix(bits ^ np.rint(np.asarray(seconds, float) * 1e6).astype(np.int64).astype(np.uint64))
    digits = bits.astype(">u8").tobytes().hex()
    return [digits[k : k + 16] for k in range(0, len(digits), 16)]


def digest(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(errors="surrogateescape"), digest_size=8).digest())


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijective hash of 64-bit numbers: the finaliser of SplitMix64 (Steele and others 2014)."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def note_renamed(folder: Path, recording: tuple[str, str], events: Mapping[str, str]) -> None:
    """Adds a recording, as events.csv names it before and after, with the names of its events. The line is on the disk
    at the return. Raises LoxoError if it cannot be written."""
    path = inside(folder, RENAMED)
    line = {"at": datetime.now(UTC).isoformat(), "names": dict((recording, *events.items()))}
    before = path.read_bytes() if path.is_file() else b""
    write_atomically(path, before + json.dumps(line).encode() + b"\n")


class Renamed:
    """The renamed recordings of a run folder. A folder without any, and a damaged line, rename nothing."""

    def __init__(self, folder: Path) -> None:
        self.lines: list[tuple[str, Mapping[str, Any]]] = []
        with suppress(OSError, LoxoError):
            for line in inside(folder, RENAMED).read_bytes().splitlines():
                with suppress(ValueError, KeyError, TypeError, LoxoError):
                    values = parse_json(line)
                    self.lines.append((str(values["at"]), dict(values["names"])))

    def present(self, name: str, at: str) -> str:
        """The present name of an event or a recording that had this name at a time (ISO 8601, UTC)."""
        for renamed_at, names in self.lines:
            if renamed_at >= at:
                found = names.get(name, name)
                name = found if isinstance(found, str) else name
        return name

    def changes(self, changes: Iterable[Mapping[str, Any]], at: str) -> list[dict[str, Any]]:
        """The changes of a decision log with present names."""
        keys = ("event", "recording")
        return [
            {**change, **{key: self.present(change[key], at) for key in keys if isinstance(change.get(key), str)}}
            for change in changes
        ]
