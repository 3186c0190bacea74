"""The recordings of a session: what is in any stretch of them, and the stretches that were searched for missed calls.

A recording is identified by its number in the run (`Session.sources`). Callers hold no lock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from loxo.audio.filenames import base_name
from loxo.files import escape
from loxo.review.decisions import RANDOM, SEARCHED, VERDICTS
from loxo.review.recall import Stretches

if TYPE_CHECKING:
    from loxo.review.session import Session

MAX_AROUND = 400  # max number of events in one picture


class Recordings:
    """The recordings of the run of a session."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def listed(self) -> list[dict[str, Any]]:
        """The recordings for the page, in the order of their numbers."""
        session, stretches = self.session, self._searched()
        lines = zip(session.sources, session.run.recordings["status"], strict=True)
        return [
            {
                "source": number,
                "recording": escape(base_name(name)),
                "site": session.sites[name],
                "begin": iso(session.begins[name]),
                "duration": float(session.durations[name]),
                "events": int(np.subtract(*session.span.get(name, (0, 0))[::-1])),
                "searched": sum(end - start for start, end in {(s["start_s"], s["end_s"]) for s in stretches[name]}),
                "failed": status == "failed",
            }
            for number, (name, status) in enumerate(lines)
        ]

    def around(self, source: int, start_s: float, end_s: float) -> dict[str, Any]:
        """The events of a recording between two times, of many the MAX_AROUND with the highest scores, and the
        stretches of the recording that were searched."""
        session = self.session
        recording = session.sources[session.check_source(source)]
        first, last = session.span.get(recording, (0, 0))
        starts = session.bounds["start_s"][first:last]
        begin = first + int(np.searchsorted(starts, start_s - session.longest))
        stop = first + int(np.searchsorted(starts, end_s))
        rows = (begin + np.flatnonzero(session.bounds["end_s"][begin:stop] > start_s)).tolist()
        left_out = max(len(rows) - MAX_AROUND, 0)
        if left_out:
            rows = sorted(sorted(rows, key=lambda row: -np.nan_to_num(session.columns.score[row]))[:MAX_AROUND])
        for row, event in enumerate(session.drawn, len(session.names)):
            decision = session.decisions.get(event)
            if decision and decision.recording == recording:
                rows.append(row)
        details = map(session.detail, rows)
        return {
            "events": [event for event in details if event["end_s"] > start_s and event["start_s"] < end_s],
            "left_out": left_out,
            "searched": self._searched()[recording],
        }

    def marks(self, source: int, columns: int) -> dict[str, Any]:
        """The events of a whole recording for an overview: for each of `columns` equal parts of it with an event, the
        letter "y" if one is confirmed, else "-" if one is not decided, else "n"."""
        session = self.session
        recording = session.sources[session.check_source(source)]
        first, last = session.span.get(recording, (0, 0))
        width = max(session.durations[recording] / columns, 1e-9)
        parts = np.minimum(session.bounds["start_s"][first:last] / width, columns - 1).astype(int)
        verdicts = session.verdict[first:last]
        found: dict[int, str] = {}
        for letter, names in (("n", ("no",)), ("-", (None, "unsure")), ("y", ("yes", "other"))):
            codes = [0 if name is None else VERDICTS.index(name) + 1 for name in names]
            found |= dict.fromkeys(np.unique(parts[np.isin(verdicts, codes)]).tolist(), letter)
        for event in session.drawn:
            decision = session.decisions.get(event)
            if decision and decision.recording == recording and decision.verdict in ("yes", "other"):
                found[min(int((decision.start_s or 0) / width), columns - 1)] = "y"
        return {"columns": columns, "marks": found, "searched": self._searched()[recording]}

    @cached_property
    def stretches(self) -> Stretches:
        """The random stretches of the run: all sound that was analysed."""
        return Stretches(self.session.run.recordings["analysed_s"].fillna(0).to_numpy(np.float64))

    def next_stretch(self, labels: Sequence[str], after: int = -1) -> dict[str, Any] | None:
        """The first random stretch behind number `after` that no reviewer has searched for these labels, and the
        number of those that were searched. None: there is no other."""
        session = self.session
        with session.lock:
            done = {
                (decision.recording, decision.start_s, decision.label)
                for decisions in (session.decisions, *session.theirs.values())
                for event, decision in decisions.items()
                if event.startswith(RANDOM)
            }
        for number in range(after + 1, len(self.stretches)):
            stretch = self.stretches[number]
            name = session.sources[stretch.source]
            if not all((name, stretch.start_s, label) in done for label in labels):
                return {"number": number, "searched": len({key[:2] for key in done}), **asdict(stretch)}
        return None

    def _searched(self) -> dict[str, list[dict[str, Any]]]:
        """The stretches that this reviewer has searched, by recording."""
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        with self.session.lock:
            for event, decision in self.session.decisions.items():
                if event.startswith(SEARCHED) and decision.recording:
                    stretch = {"start_s": decision.start_s, "end_s": decision.end_s, "label": decision.label}
                    found[decision.recording].append(stretch)
        return found


def iso(time: Any) -> str | None:
    return None if pd.isna(time) else str(time.isoformat(timespec="milliseconds"))
