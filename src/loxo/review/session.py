"""The session of one reviewer with one run: its events as arrays, the decisions, and the data of the page.

Rows 0 to n - 1 are the detected events, sorted by recording and start. Rows from n on are events that this reviewer
drew, in the order of drawing. Row numbers are constant while the server runs. The decision log identifies an event by
its name, which stays the same when a run is resumed or repeated (`event_names`). Decisions on events that the run no
longer contains are counted (`unmatched`), never dropped. The decisions of other reviewers on an event are shown only
after this reviewer has decided.

Threads: callers hold no lock; the session locks itself.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import uuid
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loxo.audio.filenames import base_name
from loxo.audio.storage import is_url
from loxo.errors import LoxoError
from loxo.events.table import CHANNEL
from loxo.files import escape
from loxo.languages import mark, plural, text
from loxo.report.estimate import Fit, fit
from loxo.review.agreement import category
from loxo.review.decision_log import DecisionLog, Logs, decision_log_path, decision_logs, read_decision_logs
from loxo.review.decisions import DRAWN, RANDOM, SEARCHED, VERDICTS, Change, Decision, Decisions, check_change
from loxo.review.merge import BOUNDS, bounds_fault, by_reviewer, finals
from loxo.review.queue import Columns, Filter, Rows, kept, ordered
from loxo.review.recordings import Recordings, iso
from loxo.runs.read import Places, Run, read_run
from loxo.runs.renamed import digest, hashed_names

MAX_CHANGES = 2000  # in one action


def open_run(folder: str | Path) -> tuple[Run, list[str]]:
    """The run, its events sorted by recording and start, and the names of the events. Raises LoxoError as read_run."""
    run = read_run(folder)
    codes, _ = pd.factorize(run.events["recording"], sort=True)
    order = np.lexsort((run.events["end_s"], run.events["start_s"], codes))
    run = dataclasses.replace(run, events=run.events.iloc[order].reset_index(drop=True))
    return run, event_names(run)


def event_names(run: Run) -> list[str]:
    """The name of each event, as loxo.runs.renamed.event_name computes it."""
    tables = {
        recording: table or recording
        for recording, table in zip(run.recordings["recording"], run.recordings["table"], strict=True)
    }
    events = run.events
    recording_codes, recordings = pd.factorize(events["recording"])
    label_codes, labels = pd.factorize(events["label"])
    # Text is hashed once per recording and label, because a hundred thousand hashes would delay the page.
    seeds = np.array([[digest(f"{tables[one]}\t{label}") for label in labels] for one in recordings], np.uint64)
    digests = seeds.reshape(len(recordings), len(labels))[recording_codes, label_codes]
    names = hashed_names(digests, events["start_s"].to_numpy(float), events["end_s"].to_numpy(float))
    if len(set(names)) < len(names):  # identical events
        seen: set[str] = set()
        for row, name in enumerate(names):
            while name in seen:
                name += "+"
            seen.add(name)
            names[row] = name
    return names


class Session:
    """Opens a run for a reviewer. `recordings`: a folder in which moved recordings are found by their names.

    Raises LoxoError when the folder is not a run, a decision log is damaged, or the reviewer has the run open
    elsewhere.
    """

    def __init__(self, folder: str | Path, reviewer: str, recordings: str | Path | None = None) -> None:
        self.reviewer = reviewer.strip()
        self.run, self.names = open_run(folder)
        self.places = Places(self.run, recordings)
        self.row_of = dict(zip(self.names, range(len(self.names)), strict=True))
        events = self.run.events
        hours = events["start_time"].dt.hour.fillna(-1).to_numpy(np.int8)
        lot = np.frombuffer(bytes.fromhex("".join([name[:16] for name in self.names])), ">u8").astype(
            np.uint64
        ) >> np.uint64(4)
        self.columns = Columns(
            events["label"].to_numpy(), events["site"].fillna("").to_numpy(), hours, events["score"].to_numpy(), lot
        )
        self.recording = events["recording"].to_numpy()
        self.bounds = {name: events[name].to_numpy() for name in BOUNDS}
        borders = (
            [0, *np.flatnonzero(self.recording[1:] != self.recording[:-1]) + 1, len(events)] if len(events) else []
        )
        self.span = {self.recording[first]: (int(first), int(stop)) for first, stop in pairwise(borders)}
        self.longest = float((self.bounds["end_s"] - self.bounds["start_s"]).max()) if len(events) else 0.0
        listed = self.run.recordings
        self.sources: list[str] = listed["recording"].tolist()  # a recording's number is its index here
        self.source_of = {name: number for number, name in enumerate(self.sources)}
        self.durations = dict(zip(self.sources, listed["duration_s"], strict=True))
        self.sites = dict(zip(self.sources, listed["site"], strict=True))
        self.begins = dict(zip(self.sources, listed["start"], strict=True))
        self.has_channels = CHANNEL in self.run.events
        self.recordings = Recordings(self)
        self.log = DecisionLog(decision_log_path(self.run.folder, self.reviewer), self.reviewer)
        self.verdict = np.zeros(len(events), np.int8)  # 0: none, else 1 + the index in VERDICTS
        self.noted = np.zeros(len(events), bool)
        self.drawn: list[str] = []
        self.warnings: list[str] = []  # of refresh
        self.said = ""  # the changes that were undone or restored last
        self._unmatched: set[str] = set()
        self._others: Logs = {}
        self.theirs: dict[str, dict[str, Decision]] = {}  # decisions of the other reviewers, by name and event
        self._fits: dict[str, Fit] | None = None
        self.lock = threading.RLock()
        self._update(self.log.decisions.by_event)
        self.refresh()

    def close(self) -> None:
        """Closes the decision log. Raises LoxoError as DecisionLog.close."""
        self.log.close()

    # -- decisions

    @property
    def decisions(self) -> dict[str, Decision]:
        return self.log.decisions.by_event

    @property
    def decided(self) -> int:
        """The number of detected events with a decision of this reviewer."""
        return int(np.count_nonzero(self.verdict))

    @property
    def unmatched(self) -> int:
        return len(self._unmatched)

    def act(self, changes: Sequence[dict[str, Any]]) -> list[int]:
        """Writes an action to the disk and returns the rows that it changed, and then those that changed because
        another program has replaced the decision log.

        A change is one of these, with the number of a recording as `source`. If a change is wrong, raises LoxoError
        and writes nothing.

            {"row": r, field: value ...}                                      a decision on an event
            {"source": s, "label": ..., "start_s": ..., ... "channel": ...}   a missed event that was drawn
            {"searched": s, "label": ..., "start_s": ..., "end_s": ...}       no other call of the label is in it
            {"searched": s, "label": ..., "random": k}                        the same, stretch k of the random ones
        """
        with self.lock:
            if not 0 < len(changes) <= MAX_CHANGES:
                raise LoxoError(f"One action can change 1 to {MAX_CHANGES} events, not {len(changes)}.")
            ready = [self._ready(change) for change in changes]
            return self._update(self.log.add(ready))

    def undo(self) -> list[int]:
        """Undoes the last action. Returns the rows that it had changed. `said` names the changes ("": none)."""
        with self.lock:
            events = self.log.undo()
            self.said = said_of(self.log.decisions.undone[-1][1]) if events else ""
            return self._update(events or ())

    def redo(self) -> list[int]:
        """Restores the last undone action. Returns the rows that it changes; `said` as for `undo`."""
        with self.lock:
            events = self.log.redo()
            self.said = said_of(self.log.decisions.done[-1][1]) if events else ""
            return self._update(events or ())

    def _update(self, events: Iterable[str]) -> list[int]:
        """Updates the arrays from the decisions on these events. Returns their rows."""
        rows = []
        for event in events:
            decision = self.decisions.get(event)
            row = self.row_of.get(event)
            if event.startswith(SEARCHED) or (row is None and decision is None):
                continue  # a searched stretch has no row, nor has a drawing that was undone before
            if row is None and decision and self._is_drawing(event, decision):
                self.drawn.append(event)
                row = self.row_of[event] = len(self.names) + len(self.drawn) - 1
            if row is None:
                self._unmatched.add(event)
                continue
            rows.append(row)
            if row < len(self.names):
                verdict = decision.verdict if decision else None
                self.verdict[row] = VERDICTS.index(verdict) + 1 if verdict else 0
                self.noted[row] = bool(decision and decision.note)
        self._fits = None
        return rows

    def _is_drawing(self, event: str, decision: Decision) -> bool:
        """Whether this is a drawn event of this run that the page can show."""
        bounds = {name: getattr(decision, name) for name in BOUNDS}
        duration_s = self.durations.get(decision.recording or "")
        complete = event.startswith(DRAWN) and duration_s is not None and decision.label and None not in bounds.values()
        return bool(complete and bounds_fault(bounds, duration_s or 0.0) is None)

    def _ready(self, change: dict[str, Any]) -> dict[str, Any]:
        """A checked change for the decision log."""
        if "searched" in change:
            return self._ready_stretch(change)
        ready = {name: value for name, value in change.items() if name not in ("row", "source")}
        drawing = "source" in change
        if drawing:
            row, recording = -1, self.sources[self.check_source(change["source"])]
            ready |= {"event": DRAWN + uuid.uuid4().hex[:16], "recording": recording, "verdict": "yes"}
        else:
            row = self.check_row(change.get("row"))
            recording = self.recording_of(row)
            ready["event"] = self.name_of(row)
        for name in ("label", "note"):
            if ready.get(name) is not None:
                ready[name] = str(ready[name]).strip()
        if (drawing or ready.get("verdict") == "other") and not ready.get("label"):
            raise LoxoError("The label is missing. Give the label of the event.")
        ready = check_change(ready)
        drawn = ready["event"].startswith(DRAWN)
        before = Decision() if drawing else self.decisions.get(ready["event"], Decision())
        if (
            drawn
            and ready.get("verdict") != "other"
            and ready.get("label", before.label) not in (*self.run.labels, before.label)
        ):
            raise LoxoError(f"The label of a drawn event must be a label of this run: {', '.join(self.run.labels)}.")
        if any(name in ready for name in BOUNDS) or drawn:
            self._check_bounds(ready, {} if drawn else self._detected(row), before, self.durations[recording])
        return ready

    def _ready_stretch(self, change: dict[str, Any]) -> dict[str, Any]:
        source, label = self.check_source(change["searched"]), change.get("label")
        start, end, number = change.get("start_s"), change.get("end_s"), change.get("random")
        if label not in self.run.labels:
            raise LoxoError(f"A stretch is searched for a label of this run: {', '.join(self.run.labels)}.")
        if number is not None:
            if not 0 <= number < len(self.recordings.stretches):
                raise LoxoError(f"There is no random stretch {number} in this run. Reload the page.")
            stretch = self.recordings.stretches[number]
            if stretch.source != source:
                raise LoxoError("The random stretches of this run have changed. Reload the page.")
            start, end = stretch.start_s, stretch.end_s
        fault = bounds_fault({"start_s": start, "end_s": end}, self.durations[self.sources[source]])
        if fault is not None:
            raise LoxoError("A searched stretch must be within its recording.")
        return check_change(
            {
                "event": (SEARCHED if number is None else RANDOM) + uuid.uuid4().hex[:16],
                "recording": self.sources[source],
                "label": label,
                "start_s": start,
                "end_s": end,
            }
        )

    @staticmethod
    def _check_bounds(ready: dict[str, Any], detected: dict[str, float], before: Decision, duration_s: float) -> None:
        """Raises LoxoError if the event would have impossible bounds, or a drawn event would lack one."""
        bounds = {}
        for name in BOUNDS:
            if ready.get(name) is not None:
                ready[name] = round(ready[name], 6)
            moved = ready.get(name, getattr(before, name))
            bounds[name] = detected.get(name) if moved is None else moved
        missing = [name for name, value in bounds.items() if value is None]
        if missing:
            raise LoxoError(f"A drawn event needs a start, an end and two frequencies. Missing: {', '.join(missing)}.")
        fault = bounds_fault(bounds, duration_s)
        if fault is not None:
            raise LoxoError(fault)

    # -- recordings

    def check_source(self, number: Any) -> int:
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(self.sources):
            raise LoxoError(f"There is no recording {number!r} in this run. Reload the page.")
        return number

    def search_in(self, folder: str) -> int:
        """Searches for moved recordings below a folder. Returns how many recordings of the run are found now."""
        if is_url(folder):
            raise LoxoError(f"Start `loxo review` again with --recordings {folder}: a page cannot choose a server.")
        places = Places(self.run, Path(folder).expanduser())
        found = sum(places.find(name) is not None for name in self.sources)
        if not found:
            raise LoxoError(f"{folder}: no recording of this run is in this folder or below it. Give another folder.")
        self.places = places
        return found

    # -- rows

    def check_row(self, row: Any) -> int:
        if not isinstance(row, int) or not 0 <= row < len(self.names) + len(self.drawn):
            raise LoxoError(f"There is no event {row!r} in this run. Reload the page.")
        if not self.exists(row):
            raise LoxoError("The drawing of this event was undone. Choose another event.")
        return row

    def exists(self, row: int) -> bool:
        """Whether the event exists: detected, or drawn and not undone."""
        return row < len(self.names) or self.name_of(row) in self.decisions

    def name_of(self, row: int) -> str:
        return self.names[row] if row < len(self.names) else self.drawn[row - len(self.names)]

    def recording_of(self, row: int) -> str:
        if row < len(self.names):
            return str(self.recording[row])
        return self.decisions[self.name_of(row)].recording or ""

    def channel_of(self, row: int) -> int | None:
        """The channel of an event, from 1; None where the mean of all channels was searched."""
        if row >= len(self.names):
            return self.decisions[self.name_of(row)].channel
        return int(self.run.events[CHANNEL].iloc[row]) if self.has_channels else None

    def original_times(self, row: int) -> tuple[float, float]:
        """Start and end as detected or drawn, without moved edges of detected events."""
        if row < len(self.names):
            return float(self.bounds["start_s"][row]), float(self.bounds["end_s"][row])
        bounds = self._bounds_of(row)
        return bounds["start_s"], bounds["end_s"]

    def _detected(self, row: int) -> dict[str, float]:
        return {name: float(self.bounds[name][row]) for name in BOUNDS} if row < len(self.names) else {}

    def _bounds_of(self, row: int) -> dict[str, float]:
        """The current bounds: as detected, or as this reviewer moved them."""
        decision = self.decisions.get(self.name_of(row), Decision())
        return self._detected(row) | {name: value for name in BOUNDS if (value := getattr(decision, name)) is not None}

    def detail(self, row: int) -> dict[str, Any]:
        """The data of an event for the page."""
        recording, decision = self.recording_of(row), self.decisions.get(self.name_of(row))
        detected = row < len(self.names)
        score = float(self.columns.score[row]) if detected else math.nan
        others = []
        if decision and decision.verdict:
            others = [
                f"{name}: {category(theirs[self.name_of(row)])}"
                for name, theirs in self.theirs.items()
                if self.name_of(row) in theirs and theirs[self.name_of(row)].verdict
            ]
        return {
            "row": row,
            "name": self.name_of(row),
            "recording": escape(base_name(recording)),
            "source": self.source_of[recording],
            "channel": self.channel_of(row),
            "begin": iso(self.begins[recording]),
            "label": str(self.columns.label[row]) if detected else (decision.label if decision else ""),
            "site": self.sites[recording],
            "score": None if math.isnan(score) else round(score, 4),
            "detected": _finite({name: float(self.bounds[name][row]) for name in BOUNDS}) if detected else None,
            **_finite(self._bounds_of(row)),
            "duration": float(self.durations[recording]),
            "verdict": decision.verdict if decision else None,
            "other": decision.label if decision and detected else None,
            "note": decision.note if decision else "",
            "others": others,
        }

    # -- queues

    def queue(self, filter: Filter) -> Rows:
        """The rows that pass the filter, in its order. Drawn events are last."""
        with self.lock:
            if filter.status in ("second", "disputed"):
                self.refresh()
            mask = kept(filter, self.columns) & self._has_status(filter.status)
            rows = ordered(np.flatnonzero(mask), filter, self.columns, self.uncertainty)
            return np.concatenate((rows, np.array(self._drawn_rows(filter), np.intp)))

    def place_of(self, name: str | None, rows: Rows) -> int:
        """The index of the event with this name in these rows; 0 if it is not among them."""
        places = np.flatnonzero(rows == self.row_of.get(name or "", -1))
        return int(places[0]) if len(places) else 0

    def letters(self, rows: Rows) -> str:
        """The first letter of each row's verdict, "-" if there is none."""
        detected = rows[rows < len(self.names)]
        letters = np.array([b"-", *(verdict[0].encode() for verdict in VERDICTS)])
        drawn = (self.decisions.get(self.name_of(int(row)), Decision()) for row in rows[len(detected) :])
        return letters[self.verdict[detected]].tobytes().decode() + "".join((d.verdict or "-")[0] for d in drawn)

    def _has_status(self, status: str) -> NDArray[np.bool_]:
        if status in VERDICTS:
            return self.verdict == VERDICTS.index(status) + 1
        if status == "noted":
            return self.noted
        if status == "drawn":
            return np.zeros(len(self.names), bool)
        if status in ("second", "disputed"):
            mask = np.zeros(len(self.names), bool)
            wanted = (
                (event for theirs in self.theirs.values() for event, decision in theirs.items() if decision.verdict)
                if status == "second"
                else (event for event, answer in finals(self.people()).items() if answer.verdict == "disputed")
            )
            rows = [row for event in wanted if (row := self.row_of.get(event)) is not None and row < len(self.names)]
            mask[rows] = True
            return mask & (self.verdict == 0) if status == "second" else mask
        return {"open": self.verdict == 0, "decided": self.verdict > 0}.get(status, np.ones(len(self.names), bool))

    def _drawn_rows(self, filter: Filter) -> list[int]:
        if filter.status not in ("all", "drawn") or filter.sample is not None:
            return []
        standing = [(row, self.decisions.get(event)) for row, event in enumerate(self.drawn, len(self.names))]
        return [row for row, decision in standing if decision and filter.label in (None, decision.label)]

    def uncertainty(self) -> NDArray[np.float64]:
        """(events,): 1 if correct and wrong are equally probable, 0 if the probability is 0 or 1. The probability comes
        from the fit to the decisions, or is the score if there are too few decisions."""
        p = np.nan_to_num(self.columns.score, nan=0.5)
        for label, curve in self.fits().items():
            rows = self.columns.label == label
            p[rows] = curve.probability(p[rows])
        return 1 - np.abs(2 * p - 1)

    def fits(self) -> dict[str, Fit]:
        """P(correct | score) of each class, from this reviewer's decisions."""
        with self.lock:
            if self._fits is None:
                decided = np.isin(self.verdict, [VERDICTS.index(name) + 1 for name in ("yes", "no", "other")])
                right = self.verdict == 1
                fits = {
                    label: fit(self.columns.score[of], right[of])
                    for label in self.run.labels
                    if (of := decided & (self.columns.label == label)).any()
                }
                self._fits = {label: curve for label, curve in fits.items() if curve is not None}
            return self._fits

    # -- other reviewers

    def refresh(self) -> None:
        """Reads the decision logs that have changed, and forgets those that are gone. `warnings` gets a sentence for
        each log that cannot be read: its decisions do not count."""
        with self.lock:
            self.warnings = []
            try:
                self._update(self.log.follow())
            except LoxoError as error:  # the decisions stay in memory, and the next decision is refused
                self.warnings.append(str(error))
            paths = [path for path in decision_logs(self.run.folder) if path != self.log.path]
            self._others = read_decision_logs(paths, self._others)
            self.warnings += [found for _, found in self._others.values() if isinstance(found, str)]
            people = by_reviewer(self._readable())
            self.theirs = {name: theirs for name, theirs in people.items() if name != self.reviewer}

    def _readable(self) -> list[Decisions]:
        return [found for _, found in self._others.values() if isinstance(found, Decisions)]

    def people(self) -> dict[str, dict[str, Decision]]:
        """The decisions of all reviewers by event."""
        with self.lock:
            return by_reviewer([self.log.decisions, *self._readable()])


def said_of(changes: Iterable[Change]) -> str:
    """The changes of one action in words, for the page: "the note", "12 decisions"."""
    kinds = []
    for change in changes:
        if change["event"].startswith(SEARCHED):
            kinds.append("stretch")
        elif "recording" in change:
            kinds.append("drawn")
        elif "verdict" in change:
            kinds.append("decision")
        else:
            kinds.append("note" if "note" in change else "edge")
    if len(kinds) == 1:
        return text(ACTIONS[kinds[0]][0])
    many = ACTIONS[kinds[0]][1] if len(set(kinds)) == 1 else CHANGES
    return plural(len(kinds), many, many)


ACTIONS = {
    "stretch": (mark("the searched stretch"), mark("{n} searched stretches")),
    "drawn": (mark("the drawn event"), mark("{n} drawn events")),
    "decision": (mark("the decision"), mark("{n} decisions")),
    "note": (mark("the note"), mark("{n} notes")),
    "edge": (mark("the moved edge"), mark("{n} moved edges")),
}
CHANGES = mark("{n} changes")


def _finite(values: dict[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
