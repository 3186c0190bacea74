"""The tables of a run folder, in the requested formats.

| format       | of each recording          | of the run (see events/combined.py)             |
|--------------|----------------------------|-------------------------------------------------|
| raven        | tables/NAME.selections.txt | events.selections.txt, beside it events.files.txt |
| audacity     | labels/NAME.labels.txt     |                                                 |
| csv          |                            | events.csv, which is always written             |
| kaleidoscope |                            | kaleidoscope.csv                                |
| parquet      |                            | events.parquet                                  |

All tables can be written at any time from the events in the run's journal, so a run may be resumed with other formats.
Tables in formats that are no longer requested stay as they are, and so does an existing table of a recording. Tables
for programs that open recordings contain absolute paths; events.csv and events.parquet contain the paths as given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loxo.errors import LoxoError
from loxo.events.combined import (
    AnalysedRecording,
    CsvRun,
    EventCells,
    KaleidoscopeRun,
    ParquetRun,
    RavenRun,
    RunWriter,
    has_channels,
)
from loxo.events.table import CHANNEL, COLUMNS, NUMBERS, events_frame
from loxo.events.writers import WRITERS
from loxo.files import escape, inside
from loxo.runs.journal import Entry

if TYPE_CHECKING:
    import pandas as pd

EVENTS = CsvRun.names[0]
FORMATS = ("raven", "csv", "audacity", "kaleidoscope", "parquet")
RUN_TABLES = (*CsvRun.names, *RavenRun.names, *KaleidoscopeRun.names, *ParquetRun.names)
FOLDERS = {"raven": "tables", "audacity": "labels"}  # formats with one file per recording
TABLE_SUFFIX = WRITERS["raven"].suffix


@dataclass(frozen=True)
class Finished(AnalysedRecording):
    """A recording whose tables can be written: it was analysed, whole or in part."""

    name: str  # of its files in the run folder, without suffix

    @classmethod
    def of(cls, entry: Entry) -> Finished:
        """The recording of an entry that has not failed."""
        return cls(entry.recording, entry.path, entry.analysed_s if entry.reason else entry.duration_s, entry.name)


def parse_formats(formats: str | Iterable[str]) -> tuple[str, ...]:
    """The formats in a comma-separated text or a list: each once, in the order of FORMATS. Raises LoxoError for an
    unknown format, and for Parquet if the packages for it are missing."""
    given = formats.split(",") if isinstance(formats, str) else formats
    wanted = {name.strip().lower() for name in given} - {""}
    unknown = sorted(wanted - set(FORMATS))
    if unknown:
        raise LoxoError(f"There is no format {unknown[0]!r}. Use one or more of {', '.join(FORMATS)}.")
    if "parquet" in wanted:
        ParquetRun(".", {})  # raises LoxoError if a package is missing: now, not at the end of a long run
    return tuple(name for name in FORMATS if name in wanted)


def table_name(name: str, format: str) -> str:
    """The path of one recording's table relative to the run folder, in a format of FOLDERS."""
    return f"{FOLDERS[format]}/{name}{WRITERS[format].suffix}"


def write_recording(folder: Path, name: str, path: str, events: pd.DataFrame, formats: Sequence[str]) -> None:
    """Writes the tables of one recording (none in most formats). `path` is absolute. Raises LoxoError if it cannot."""
    for format in formats:
        if format in FOLDERS:
            WRITERS[format].write(events.assign(recording=escape(path)), inside(folder, table_name(name, format)))


def write_run(
    folder: Path,
    recordings: Iterable[Finished],
    events: Callable[[Finished], Sequence[EventCells]],
    formats: Sequence[str],
    provenance: Mapping[str, Any],
    *,
    exists: Callable[[str], bool] | None = None,
) -> None:
    """Writes the tables of the whole run, and the missing tables of single recordings, in constant memory.

    `recordings` come in the order of the tables, with those without events; `events` returns the rows of a recording in
    the journal. `provenance` (the run's parameters) is stored in formats that have metadata. `exists` states whether a
    table, by its path relative to the folder, need not be written; without it, existing files are not written.
    Raises LoxoError if it cannot; then the tables of the run stay as they were.
    """
    writers: list[RunWriter] = [CsvRun(folder, channels=has_channels(provenance))]
    if "raven" in formats:
        writers.append(RavenRun(folder))
    if "kaleidoscope" in formats:
        writers.append(KaleidoscopeRun(folder))
    if "parquet" in formats:
        writers.append(ParquetRun(folder, provenance))
    single = [format for format in formats if format in FOLDERS]
    if exists is None:

        def exists(name: str) -> bool:
            return inside(folder, name).is_file()

    with ExitStack() as stack:
        for writer in writers:
            stack.enter_context(writer)
        for recording in recordings:
            rows = events(recording)
            for writer in writers:
                writer.add(recording, rows)
            missing = [format for format in single if not exists(table_name(recording.name, format))]
            if missing:
                frame = events_of_cells(escape(recording.path), rows)
                write_recording(folder, recording.name, recording.path, frame, missing)


def events_of_cells(recording: str, rows: Iterable[EventCells]) -> pd.DataFrame:
    """The events table of one recording, from its cells for CSV."""
    return events_frame(rows_of_cells(recording, rows))


def rows_of_cells(recording: str, rows: Iterable[EventCells]) -> list[dict[str, Any]]:
    """The rows of events_of_cells, without pandas."""
    events = []
    for cells in rows:
        event: dict[str, Any] = dict(zip((*COLUMNS[1:], CHANNEL), cells, strict=False))
        if CHANNEL in event:
            event[CHANNEL] = int(event[CHANNEL])
        event |= {name: float(event[name]) if event[name] else None for name in NUMBERS}
        event["site"] = event["site"] or None
        event["start_time"] = datetime.fromisoformat(event["start_time"]) if event["start_time"] else None
        events.append({"recording": recording, **event})
    return events
