"""A run while it is in progress, for the page of the run: counts, problems, and a strip of events.

Everything comes from the journal of the run (loxo.runs.journal.Follower), which a finished run keeps. A `Live` reads
only what is new since its last call.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from loxo.app.station import Station
from loxo.audio.filenames import USUAL_NAMES, Names, base_name
from loxo.errors import LoxoError
from loxo.events.table import COLUMNS
from loxo.files import escape
from loxo.languages import translated
from loxo.runs.journal import DONE, FAILED, Entry, Follower
from loxo.runs.record import RECORD, read_record

BINS = 120  # of the strip
MAX_PROBLEMS = 200
LABEL, START = COLUMNS.index("label") - 1, COLUMNS.index("start_s") - 1  # in a row of the journal


class Live:
    """The state of one run folder, for one listener."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._due_at = 0.0  # when `state` may be computed again
        self._is_new = True
        self._follower = Follower(folder)
        self._station = Station(folder)
        self._restarts = 0
        self._entries: dict[str, tuple[Entry, list[tuple[str, float]], datetime | None]] = {}

    def changes(self) -> dict[str, Any] | None:
        """The state, if it has changed since the last call. A long run is summarised less often: never for more than a
        tenth of the time."""
        if self.read():
            self._is_new = True
        began = time.monotonic()
        if not self._is_new or began < self._due_at:
            return None
        state = self.state()
        self._is_new, self._due_at = False, began + 10 * (time.monotonic() - began)
        return state

    def read(self) -> bool:
        """Reads what is new. Returns whether anything changed."""
        found = self._follower.read()
        if self._follower.restarts != self._restarts:
            self._restarts = self._follower.restarts
            self._entries.clear()
        names = _names(self._follower.parameters or {})
        for entry, rows in found:
            events = [(row[LABEL], float(row[START])) for row in rows]
            start = names.parse(entry.recording).start
            self._entries[entry.path] = entry, events, start and start.replace(tzinfo=None)
        return self._station.read() or bool(found)

    def state(self) -> dict[str, Any]:
        """Counts, problems and the strip."""
        entries = [entry for entry, _, _ in self._entries.values()]
        problems = [
            {"recording": escape(base_name(entry.recording)), "sentence": escape(translated(entry.reason or ""))}
            for entry in entries
            if entry.status != DONE
        ]
        problems += [
            {"recording": escape(base_name(path)), "sentence": escape(translated(text))}
            for path, text in self._refused()
        ]
        return {
            "recordings": sum(entry.status != FAILED for entry in entries),
            "hours": sum(entry.analysed_s for entry in entries) / 3600,
            "events": dict(Counter(label for _, events, _ in self._entries.values() for label, _ in events)),
            "problems": problems[-MAX_PROBLEMS:],
            "problem_count": len(problems),
            "strip": self.strip(),
            "station": self._station.state,
        }

    def _refused(self) -> tuple[tuple[str, str], ...]:
        try:
            return read_record(self.folder).problems if (self.folder / RECORD).is_file() else ()
        except LoxoError:
            return ()

    def strip(self) -> dict[str, Any] | None:
        """Events of each label and analysed hours in BINS equal parts of the time of the recorders' clocks; where few
        recordings have a start time, of the recorded hours in the order of the recordings."""
        all_of = sorted(self._entries.values(), key=lambda each: (each[2] or datetime.min, each[0].recording))
        all_of = [each for each in all_of if each[0].analysed_s > 0]
        if not all_of:
            return None
        dated = [each for each in all_of if each[2] is not None]
        is_dated = 2 * len(dated) >= len(all_of)
        spans: list[tuple[float, float, list[tuple[str, float]]]] = []
        first = dated[0][2] if is_dated else None
        end = 0.0
        for entry, events, start in dated if is_dated else all_of:
            begin = (start - first).total_seconds() if start is not None and first is not None else end
            spans.append((begin, entry.analysed_s, events))
            end = max(end, begin + entry.analysed_s)
        scale = BINS / max(end, 1.0)
        labels: dict[str, list[int]] = {}
        effort = [0.0] * BINS
        for begin, length, events in spans:
            _add_effort(effort, begin * scale, (begin + length) * scale, 1 / scale / 3600)
            for label, at in events:
                bins = labels.setdefault(label, [0] * BINS)
                bins[min(int((begin + at) * scale), BINS - 1)] += 1
        return {
            "first": first.isoformat() if first is not None else None,
            "seconds": end,
            "labels": labels,
            "effort": [round(hours, 4) for hours in effort],
        }


def _add_effort(effort: list[float], start: float, end: float, hours: float) -> None:
    """Adds a recording from bin `start` to bin `end`; a bin is this number of hours."""
    for index in range(int(start), min(int(end) + 1, len(effort))):
        effort[index] += max(min(end, index + 1) - max(start, index), 0.0) * hours


def _names(parameters: Mapping[str, Any]) -> Names:
    try:
        return Names(**(parameters.get("names") or {}))
    except (TypeError, LoxoError):
        return USUAL_NAMES
