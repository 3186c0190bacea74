"""Tables of a whole run, written recording by recording in constant memory, and put in place only when complete.

    RavenRun         events.selections.txt, one selection table of all recordings, and beside it events.files.txt, the
                     recordings one a line in the order in which its times run on: open them in Raven in that order
                     (Open Sound Files, or the list), then the table. Silent recordings count and are listed.
    CsvRun           events.csv
    KaleidoscopeRun  kaleidoscope.csv, as Kaleidoscope Pro's viewer wants it, with an empty MANUAL ID to fill in
    ParquetRun       events.parquet; its metadata hold the run's parameters under the key `loxo`

A recording's events come as cells for CSV (writers.csv_row, without the recording): that is what a run's journal keeps.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Protocol, Self

from loxo.audio.filenames import base_name
from loxo.errors import LoxoError
from loxo.events.raven import HEADER, frequency_cell
from loxo.events.table import COLUMNS
from loxo.files import atomic_file, atomic_path

EventCells = Sequence[str]  # of an event: COLUMNS without the recording
START, END, LABEL, SCORE, LOW, HIGH, SITE, TIME = range(len(COLUMNS) - 1)
PARQUET_ROWS = 20_000  # in a group

KALEIDOSCOPE_HEADER = (
    *("INDIR", "FOLDER", "IN FILE", "CHANNEL", "OFFSET", "DURATION", "DATE", "TIME", "HOUR", "Fmin", "Fmax"),
    *("TOP1MATCH", "confidence", "MANUAL ID"),
)


@dataclass(frozen=True)
class AnalysedRecording:
    """A recording of a run, with or without events."""

    recording: str  # as given
    path: str  # absolute path or URL
    seconds: float  # what a program that opens it will see


class RunWriter(Protocol):
    """A context manager; nothing is to be seen in the folder before it ends without an error. Raises LoxoError where
    it cannot write."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: Any) -> bool | None: ...
    def add(self, recording: AnalysedRecording, events: Iterable[EventCells]) -> None: ...


class _Files:
    """Opens its files on entering; they take their names when the block ends well."""

    names: tuple[str, ...]

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.stack = ExitStack()
        self.files: list[IO[str]] = []

    def __enter__(self) -> Self:
        self.files = [self.stack.enter_context(atomic_file(self.folder / name)) for name in self.names]
        self.begin()
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self.stack.__exit__(*error)

    def begin(self) -> None: ...


class RavenRun(_Files):
    """One selection table of many recordings. Begin times are sums of whole nanoseconds, which never drift."""

    names = ("events.selections.txt", "events.files.txt")

    def begin(self) -> None:
        self.before_ns, self.selections = 0, 0
        self.files[0].write("\t".join(HEADER) + "\n")

    def add(self, recording: AnalysedRecording, events: Iterable[EventCells]) -> None:
        table, listed = self.files
        _check_no_separators(recording.path)
        listed.write(recording.path + "\n")
        for cells in events:
            self.selections += 1
            begin, end = (_seconds(self.before_ns + round(float(cells[k]) * 1e9)) for k in (START, END))
            row = (
                *(str(self.selections), "Spectrogram 1", "1", begin, end),
                *(frequency_cell(float(cells[k])) if cells[k] else "" for k in (LOW, HIGH)),
                *(cells[LABEL], cells[LABEL], cells[SCORE], recording.path, f"{float(cells[START]):.6f}"),
                base_name(recording.path),
            )
            table.write("\t".join(row) + "\n")
        self.before_ns += round(recording.seconds * 1e9)


class CsvRun(_Files):
    """The events table, recordings as given."""

    names = ("events.csv",)

    def begin(self) -> None:
        self.csv = csv.writer(self.files[0], lineterminator="\n")
        self.csv.writerow(COLUMNS)

    def add(self, recording: AnalysedRecording, events: Iterable[EventCells]) -> None:
        self.csv.writerows([recording.recording, *cells] for cells in events)


class KaleidoscopeRun(_Files):
    """Offsets and durations in seconds, frequencies in Hz, wall clock of the event where the file's name tells it."""

    names = ("kaleidoscope.csv",)

    def begin(self) -> None:
        self.csv = csv.writer(self.files[0], lineterminator="\n")
        self.csv.writerow(KALEIDOSCOPE_HEADER)

    def add(self, recording: AnalysedRecording, events: Iterable[EventCells]) -> None:
        name = base_name(recording.path)
        folder = recording.path[: -len(name)].rstrip("/\\")
        for cells in events:
            time = datetime.fromisoformat(cells[TIME]) if cells[TIME] else None
            clock = (f"{time:%Y-%m-%d}", f"{time:%H:%M:%S}", f"{time:%H}") if time else ("", "", "")
            duration = f"{float(cells[END]) - float(cells[START]):.6f}"
            self.csv.writerow(
                (
                    *(folder, "", name, "0", f"{float(cells[START]):.6f}", duration, *clock),
                    *(cells[LOW], cells[HIGH], cells[LABEL], cells[SCORE], ""),
                )
            )


class ParquetRun:
    """The events table with its dtypes. `start_time` is the recorder's wall clock, without a zone, `utc_offset_s` how
    many seconds that clock is ahead of UTC, null where nobody says."""

    def __init__(self, folder: str | Path, provenance: Mapping[str, Any]) -> None:
        try:
            import pyarrow
        except ImportError as error:
            raise LoxoError("Parquet needs pyarrow: `pip install loxo[formats]`, or leave that format out.") from error
        self.schema = pyarrow.schema(
            [
                ("recording", pyarrow.string()),
                *((name, pyarrow.float64()) for name in ("start_s", "end_s")),
                ("label", pyarrow.string()),
                *((name, pyarrow.float64()) for name in ("score", "low_hz", "high_hz")),
                ("site", pyarrow.string()),
                ("start_time", pyarrow.timestamp("us")),
                ("utc_offset_s", pyarrow.int32()),
            ],
            metadata={"loxo": json.dumps(provenance)},
        )
        self.path = Path(folder, "events.parquet")
        self.stack = ExitStack()
        self.rows: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        from pyarrow.parquet import ParquetWriter

        draft = self.stack.enter_context(atomic_path(self.path))
        self.writer = self.stack.enter_context(ParquetWriter(draft, self.schema))
        return self

    def __exit__(self, *error: Any) -> bool | None:
        try:
            if error[0] is None:
                self._flush()
        except BaseException:
            self.stack.__exit__(*sys.exc_info())
            raise
        return self.stack.__exit__(*error)

    def add(self, recording: AnalysedRecording, events: Iterable[EventCells]) -> None:
        for cells in events:
            time = datetime.fromisoformat(cells[TIME]) if cells[TIME] else None
            offset = time.utcoffset() if time else None
            self.rows.append(
                {
                    "recording": recording.recording,
                    **{
                        name: _parse_number(cells[k])
                        for k, name in enumerate(COLUMNS[1:TIME])
                        if k not in (LABEL, SITE)
                    },
                    "label": cells[LABEL],
                    "site": cells[SITE] or None,
                    "start_time": time.replace(tzinfo=None) if time else None,
                    "utc_offset_s": round(offset.total_seconds()) if offset is not None else None,
                }
            )
            if len(self.rows) == PARQUET_ROWS:
                self._flush()

    def _flush(self) -> None:
        import pyarrow

        if self.rows:
            self.writer.write_table(pyarrow.Table.from_pylist(self.rows, self.schema))
        self.rows.clear()


def _seconds(nanoseconds: int) -> str:
    """To the microsecond, without float noise however long the run is."""
    whole, rest = divmod((nanoseconds + 500) // 1000, 1_000_000)
    return f"{whole}.{rest:06d}"


def _parse_number(cell: str) -> float | None:
    return float(cell) if cell else None


def _check_no_separators(path: str) -> None:
    if any(mark in path for mark in "\t\r\n"):
        raise LoxoError(f"{path!r} has a TAB or line end in its name, which a selection table cannot hold. Rename it.")
