"""The runs that the app lists: those that it started, and run folders that the user opened.

Each is a file `runs/ID.json` in the home folder of the app, with the path of the run folder and a summary of its
run.json. The summary is used as long as run.json and events.csv have not changed, so a thousand runs are listed without
opening one. The ID is a hash of the path.

Failure policy: a run folder that is missing or damaged stays in the list, with the reason in `problem`.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from loxo.app.jobs import LONG, Job, read_values, write_values
from loxo.errors import LoxoError
from loxo.files import escape, inside, without_fsync
from loxo.review.decision_log import decision_logs
from loxo.runs.record import RECORD, read_record
from loxo.runs.tables import EVENTS

REPORT, EVALUATION = "report.html", "evaluation.html"  # pages of a run
REVIEWED = "reviewed"  # folder of the reviewed tables


class Runs:
    """The runs in a home folder."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "runs"
        self._known: dict[str, tuple[int, dict[str, Any]]] = {}  # files that were read, with their time of change

    def add(self, folder: Path) -> str:
        """Lists a run folder, which may not exist yet. Returns its ID."""
        id = run_id(folder)
        if not (self.folder / f"{id}.json").exists():
            write_values(self.folder / f"{id}.json", {"folder": str(folder)})
        return id

    def open(self, folder: Path) -> str:
        """Lists an existing run folder that the user has chosen. Raises LoxoError when it is not a run folder."""
        read_record(folder)
        return self.add(folder)

    def path(self, id: str) -> Path:
        """The folder of a run. Raises LoxoError for an unknown run."""
        entry = self._entry(id)
        if "folder" not in entry:
            raise LoxoError(f"There is no run {escape(id)} in the list.")
        return Path(entry["folder"])

    def forget(self, id: str) -> None:
        """Removes a run from the list. Its folder stays."""
        self.path(id)
        (self.folder / f"{id}.json").unlink()

    def listed(self, jobs: Iterable[Job]) -> list[dict[str, Any]]:
        """All runs with their summaries and the state of their latest long job, the latest first."""
        latest = {job.run: job for job in jobs if job.lane == LONG}
        try:
            names = os.listdir(self.folder)  # noqa: PTH208 (thousands of names)
        except FileNotFoundError:
            return []
        found = [self.summary(name[:-5], latest) for name in names if name.endswith(".json") and name[0] != "."]
        return sorted(found, key=lambda run: -run["changed"])

    def summary(self, id: str, latest: dict[str | None, Job]) -> dict[str, Any]:
        folder = self.path(id)
        entry, stamp = self._entry(id), _stamp(folder)
        if entry.get("stamp") != stamp:
            entry = {"folder": str(folder), "stamp": stamp, "summary": _summary(folder)}
            with without_fsync(), suppress(LoxoError):  # a lost summary is made again
                write_values(self.folder / f"{id}.json", entry)
        job = latest.get(str(folder))
        summary = entry["summary"]
        state = summary["status"]
        if job is not None and (job.is_open or state not in ("finished", "missing")):
            state = job.state
        changed = max([stamp[0] / 1e9, *([job.started or job.created] if job is not None else [])])
        return {
            **summary,
            "id": id,
            "name": escape(folder.name),
            "folder": escape(str(folder)),
            "state": state,
            "job": None if job is None else job.id,
            "share": None if job is None or not job.is_open else job.progress.get("share", 0),
            "changed": changed,
        }

    def _entry(self, id: str) -> dict[str, Any]:
        path = self.folder / f"{id}.json"
        try:
            time = path.stat().st_mtime_ns if id.isalnum() else -1
        except OSError:
            return {}
        known = self._known.get(id)
        if known is None or known[0] != time:
            known = self._known[id] = time, read_values(path) if time >= 0 else {}
        return known[1]


def run_id(folder: Path) -> str:
    return hashlib.sha256(str(folder).encode(errors="surrogatepass")).hexdigest()[:12]


def count_events(folder: Path) -> dict[str, int]:
    """The number of events of each label in events.csv."""
    try:
        with inside(folder, EVENTS).open(encoding="utf-8", errors="replace", newline="") as file:
            rows = csv.reader(file)
            column = next(rows).index("label")
            return dict(Counter(row[column] for row in rows if len(row) > column))
    except (OSError, ValueError, StopIteration, csv.Error):
        return {}


def _stamp(folder: Path) -> list[int]:
    """Times of change and sizes of the files that a summary depends on."""
    stamp = []
    for name in (RECORD, EVENTS):
        try:
            found = (folder / name).stat()
            stamp += [found.st_mtime_ns, found.st_size]
        except OSError:
            stamp += [0, 0]
    return stamp


def _summary(folder: Path) -> dict[str, Any]:
    summary: dict[str, Any] = {"status": "missing", "recordings": 0, "hours": 0.0, "events": {}, "problems": 0}
    if not folder.is_dir():
        return summary
    try:
        record = read_record(folder)
    except LoxoError as error:
        return summary | {"problem": escape(str(error))}
    return {
        "status": record.status,
        "recordings": sum(file.status != "failed" for file in record.recordings),
        "hours": sum(file.analysed_s for file in record.recordings) / 3600,
        "events": count_events(folder),
        "problems": len(record.problems) + sum(file.status != "done" for file in record.recordings),
    }


def outputs(folder: Path) -> dict[str, Any]:
    """What exists for a run: reviewed decisions, pages, exported tables, kept scores, the folder of its recordings."""
    try:
        logs = decision_logs(folder)
    except LoxoError:
        logs = []
    return {
        "review": bool(logs),
        "report": (folder / REPORT).is_file(),
        "evaluation": (folder / EVALUATION).is_file(),
        "reviewed": (folder / REVIEWED).is_dir(),
        "scores": (folder / "scores").is_dir(),
        "recordings": _recordings(folder),
    }


def _recordings(folder: Path) -> str | None:
    """The folder that contains all recordings of a run; None where there is none on this computer."""
    try:
        above = {os.path.dirname(file.recording) for file in read_record(folder).recordings}  # noqa: PTH120 (text)
        return os.path.commonpath(above) or None
    except (LoxoError, ValueError):
        return None
