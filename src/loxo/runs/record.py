"""The run record: `run.json` of a run folder. It is written and read here only.

    status       "running", "finished" or "interrupted"
    parameters   version, model, model_sha256, the model's config (config.py), every option of the run
    problems     [path, sentence] for each path that gave no recording
    counts       recordings by flaw: recovered (read whole although their header is wrong), noted (with another note),
                 truncated, refused (failed, or a path that gave no recording)
    recordings   for each recording: recording (path as given), status ("done", "truncated" or "failed"), duration_s,
                 analysed_s, events, reason (why truncated or failed, or null), notes (list of sentences), name (of its
                 files in the run folder, without suffix; null if failed), table (its Raven table, or null)

Records of earlier versions are read: parameters under former names get their current names, and a recording without
`name` gets its name from `table`.

Failure policy: a missing, unreadable, damaged or foreign run.json raises LoxoError, with one message for each fault.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from loxo.audio.headers import RECOVERED
from loxo.engine.config import current_names, decoding_with_current_names
from loxo.errors import LoxoError
from loxo.files import escape, inside, leads_out, parse_json, write_atomically
from loxo.runs.tables import FOLDERS, TABLE_SUFFIX

RECORD = "run.json"

# What a wrong value in a run record raises while it is read
FIELD_ERRORS = (KeyError, TypeError, ValueError, AttributeError, OverflowError)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedFile:
    """One recording in the run record."""

    recording: str  # path or URL, as given
    status: str  # done, truncated or failed
    duration_s: float
    analysed_s: float
    events: int = 0
    reason: str | None = None  # why truncated or failed
    notes: tuple[str, ...] = ()
    name: str | None = None  # of its files in the run folder, without suffix; None if failed
    table: str | None = None  # its Raven table, relative to the run folder; None if the run wrote none


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """The content of run.json. Records are cached: do not change the parameters in place."""

    status: str  # running, finished or interrupted
    parameters: dict[str, Any]  # under their current names
    problems: tuple[tuple[str, str], ...] = ()  # paths that gave no recording, each with a sentence
    recordings: tuple[RecordedFile, ...] = ()

    @cached_property
    def names(self) -> dict[str, str]:
        """The names of the files of each analysed recording, by its name in tables (loxo.files.escape)."""
        return {escape(file.recording): file.name for file in self.recordings if file.name is not None}

    @cached_property
    def counts(self) -> dict[str, int]:
        """Number of recordings with a flaw, by flaw. Each recording counts once."""
        counts = {"recovered": 0, "noted": 0, "truncated": 0, "refused": len(self.problems)}
        for file in self.recordings:
            if file.status != "done":
                counts["refused" if file.status == "failed" else "truncated"] += 1
            elif file.notes:
                counts["recovered" if any(RECOVERED in note for note in file.notes) else "noted"] += 1
        return counts


def is_run(folder: str | Path) -> bool:
    """Whether the folder has a run record."""
    return Path(folder, RECORD).is_file()


def read_record(folder: str | Path) -> RunRecord:
    """The record of a run folder. See this module's docstring for the LoxoErrors."""
    folder = Path(folder)
    path = inside(folder, RECORD)
    try:
        stat = path.stat()
        return _read(path, stat.st_mtime_ns, stat.st_size)
    except FileNotFoundError as error:
        what = f"there is no {RECORD} in it" if folder.is_dir() else "there is no such folder"
        raise LoxoError(
            f"{folder}: this is not a run folder of `loxo detect`: {what}. Give the folder that `loxo detect --out` "
            "has written."
        ) from error
    except NotADirectoryError as error:
        raise LoxoError(f"{folder}: this is a file. Give the folder that `loxo detect --out` has written.") from error
    except OSError as error:
        raise LoxoError(f"{path}: the run record cannot be read ({error.strerror or error}).") from error


def foreign_record(folder: str | Path, error: Exception) -> LoxoError:
    """The refusal of a run.json that is valid JSON, but lacks a field of a run record or has a wrong value in it."""
    detail = f"{error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())
    return LoxoError(
        f"{Path(folder, RECORD)}: this is not the run record of a detection run, or it is damaged ({detail}). Give the "
        "folder that `loxo detect --out` has written, or run `loxo detect` again into another folder."
    )


def write_record(folder: Path, record: RunRecord) -> None:
    """Writes run.json, whole or not at all. Raises LoxoError where it cannot be written."""
    content = {
        "status": record.status,
        "parameters": record.parameters,
        "problems": record.problems,
        "counts": record.counts,
        "recordings": [
            {
                "recording": file.recording,
                "status": file.status,
                "duration_s": round(file.duration_s, 6),
                "analysed_s": round(file.analysed_s, 6),
                "events": file.events,
                "reason": file.reason,
                "notes": file.notes,
                "name": file.name,
                "table": file.table,
            }
            for file in record.recordings
        ],
    }
    write_atomically(inside(folder, RECORD), (json.dumps(content, indent=1) + "\n").encode())


@lru_cache(maxsize=4)
def _read(path: Path, mtime_ns: int, size: int) -> RunRecord:
    """Reads run.json. Modification time and size are part of the cache key only."""
    try:
        content = parse_json(path.read_bytes())
    except ValueError as error:
        raise LoxoError(
            f"{path}: the run record is damaged ({error}). Give the same `loxo detect` command again, which writes it "
            "again. If journal.jsonl is lost too, give another folder."
        ) from error
    try:
        return RunRecord(
            status=str(content["status"]),
            parameters=_current_parameters(content["parameters"]),
            problems=tuple((str(given), str(sentence)) for given, sentence in content.get("problems", [])),
            recordings=tuple(_files(content["recordings"])),
        )
    except FIELD_ERRORS as error:
        raise foreign_record(path.parent, error) from error


def _files(rows: Iterable[Mapping[str, Any]]) -> Iterable[RecordedFile]:
    for row in rows:
        table = row.get("table")
        name = row.get("name")
        if name is None and table is not None:  # written before `name` was stored
            name = str(table).removeprefix(FOLDERS["raven"] + "/").removesuffix(TABLE_SUFFIX)
        for path in (name, table):
            if path is not None and leads_out(path):
                raise ValueError(f"the name {path!r} leads out of the run folder")
        yield RecordedFile(
            recording=str(row["recording"]),
            status=str(row["status"]),
            duration_s=float(row["duration_s"]),
            analysed_s=float(row["analysed_s"]),
            events=int(row.get("events", 0)),
            reason=row.get("reason"),
            notes=tuple(row.get("notes", ())),
            name=name,
            table=table,
        )


def _current_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters under their current names, also where an earlier version wrote them."""
    current = current_names("run", parameters)
    if isinstance(current.get("decoding"), Mapping):
        current["decoding"] = decoding_with_current_names(current["decoding"])
    return current
