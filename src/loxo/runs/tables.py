"""The tables of a run folder, in the formats that were asked for.

| format       | of each recording          | of the run (see events/combined.py)             |
|--------------|----------------------------|-------------------------------------------------|
| raven        | tables/NAME.selections.txt | events.selections.txt, beside it events.files.txt |
| audacity     | labels/NAME.labels.txt     |                                                 |
| csv          |                            | events.csv, which is always written             |
| kaleidoscope |                            | kaleidoscope.csv                                |
| parquet      |                            | events.parquet                                  |

All of them can be made at any time from the events that the run's journal keeps, so a run may be resumed with other
formats. Those that are not asked for any more are left as they are, and so is a table of a recording that is there.
Tables for programs that open recordings hold absolute paths; events.csv and events.parquet hold them as given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loxo.errors import LoxoError
from loxo.events.combined import AnalysedRecording, CsvRun, EventCells, KaleidoscopeRun, ParquetRun, RavenRun, RunWriter
from loxo.events.table import COLUMNS, NUMBERS, events_frame
from loxo.events.writers import WRITERS

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("raven", "csv", "audacity", "kaleidoscope", "parquet")
FOLDERS = {"raven": "tables", "audacity": "labels"}  # formats with a file for each recording


@dataclass(frozen=True)
class Finished(AnalysedRecording):
    """A recording whose tables can be written: analysed, whole or in part."""

    name: str  # of its tables, below their folder, without suffix


def parse_formats(formats: str | Iterable[str]) -> tuple[str, ...]:
    """Formats out of a text with commas, or a list; each once, in the order of FORMATS. LoxoError for an unknown one,
    or for Parquet where it cannot be written."""
    given = formats.split(",") if isinstance(formats, str) else formats
    wanted = {name.strip().lower() for name in given} - {""}
    unknown = sorted(wanted - set(FORMATS))
    if unknown:
        raise LoxoError(f"There is no format {unknown[0]!r}. Use one or more of {', '.join(FORMATS)}.")
    if "parquet" in wanted:
        ParquetRun(".", {})  # says what is missing now, not after days
    return tuple(name for name in FORMATS if name in wanted)


def table_name(name: str, format: str) -> str:
    """Where the file of one recording lies below the run's folder, in a format of FOLDERS."""
    return f"{FOLDERS[format]}/{name}{WRITERS[format].suffix}"


def write_recording(folder: Path, name: str, path: str, events: pd.DataFrame, formats: Sequence[str]) -> None:
    """The files of one recording (none in most formats). `path` is absolute. Raises LoxoError where it cannot write."""
    for format in formats:
        if format in FOLDERS:
            WRITERS[format].write(events.assign(recording=path), folder / table_name(name, format))


def write_run(
    folder: Path,
    recordings: Iterable[Finished],
    events: Callable[[Finished], Sequence[EventCells]],
    formats: Sequence[str],
    provenance: Mapping[str, Any],
    *,
    is_there: Callable[[str], bool] | None = None,
) -> None:
    """The tables of the whole run, and those of single recordings that are not there yet, in constant memory.

    `recordings` come in the order of the tables, silent ones too; `events` gives the rows of one as its journal keeps
    them. `provenance` (the run's parameters) goes along where a format can hold it. `is_there` tells which tables, by
    their names below the folder, need not be written; without it, those that are files there.
    Raises LoxoError where it cannot write; then the tables of the run are as they were.
    """
    writers: list[RunWriter] = [CsvRun(folder)]
    if "raven" in formats:
        writers.append(RavenRun(folder))
    if "kaleidoscope" in formats:
        writers.append(KaleidoscopeRun(folder))
    if "parquet" in formats:
        writers.append(ParquetRun(folder, provenance))
    single = [format for format in formats if format in FOLDERS]
    if is_there is None:

        def is_there(name: str) -> bool:
            return (folder / name).is_file()

    with ExitStack() as stack:
        for writer in writers:
            stack.enter_context(writer)
        for recording in recordings:
            rows = events(recording)
            for writer in writers:
                writer.add(recording, rows)
            missing = [format for format in single if not is_there(table_name(recording.name, format))]
            if missing:
                frame = events_of_cells(recording.path, rows)
                write_recording(folder, recording.name, recording.path, frame, missing)


def events_of_cells(recording: str, rows: Iterable[EventCells]) -> pd.DataFrame:
    """The events table of one recording from cells for CSV."""
    events = []
    for cells in rows:
        event: dict[str, Any] = dict(zip(COLUMNS[1:], cells, strict=True))
        event |= {name: float(event[name]) if event[name] else None for name in NUMBERS}
        event["site"] = event["site"] or None
        event["start_time"] = datetime.fromisoformat(event["start_time"]) if event["start_time"] else None
        events.append({"recording": recording, **event})
    return events_frame(events)
