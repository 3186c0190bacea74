"""Tables of a whole run, written recording by recording in constant memory, and visible only when complete.

    RavenRun         events.selections.txt, one selection table of all recordings, and events.files.txt, which lists the
                     recordings in the order of the table's cumulative begin times. In Raven, open the recordings in
                     this order (Open Sound Files, or the list), then the table. Recordings without events are listed.
    CsvRun           events.csv
    KaleidoscopeRun  kaleidoscope.csv for Kaleidoscope Pro's viewer, with an empty column MANUAL ID
    ParquetRun       events.parquet, with the run's parameters in its metadata under the key `loxo`

The events of a recording are passed as CSV cells (writers.csv_row, without the recording), as in a run's journal.
Names of recordings are written with loxo.files.escape, as in all tables.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Protocol, Self

from loxo.audio.channels import MIX
from loxo.audio.filenames import base_name
from loxo.errors import LoxoError
from loxo.events.cells import safe_cell
from loxo.events.raven import HEADER, frequency_cell
from loxo.events.table import CHANNEL, COLUMNS
from loxo.events.writers import write_csv_rows
from loxo.files import atomic_file, atomic_path, escape
from loxo.installation import install_extra

EventCells = Sequence[str]  # the values of one event: COLUMNS without the recording, then the channel if it has one
START, END, LABEL, SCORE, LOW, HIGH, SITE, TIME = range(len(COLUMNS) - 1)
PARQUET_ROWS = 20_000  # rows of a row group

KALEIDOSCOPE_HEADER = (
    *("INDIR", "FOLDER", "IN FILE", "CHANNEL", "OFFSET", "DURATION", "DATE", "TIME", "HOUR", "Fmin", "Fmax"),
    *("TOP1MATCH", "confidence", "MANUAL ID"),
)


@dataclass(frozen=True)
class AnalysedRecording:
    """A recording that was analysed in a run, with or without events."""

    recording: str  # as given
    path: str  # absolute path or URL
    seconds: float  # duration that other programs show


class RunWriter(Protocol):
    """A context manager that writes one table of a run. The table becomes visible when the block ends without an error.

    Raises LoxoError if the table cannot be written.
    """

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: Any) -> bool | None: ...
    def add(self, recording: AnalysedRecording, events: Iterable[EventCells]) -> None: ...


class _TextFiles:
    """Opens temporary files at the start of the block, and renames them if it ends without an error."""

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


class RavenRun(_TextFiles):
    """One selection table of many recordings. Begin times are sums of whole nanoseconds, without rounding errors."""

    names = ("events.selections.txt", "events.files.txt")

    def begin(self) -> None:
        self.before_ns, self.selections = 0, 0
        self.files[0].write("\t".join(HEADER) + "\n")

    def add(self, recording: AnalysedRecording, events: Iterable[EventCells]) -> None:
        table, listed = self.files
        path = escape(recording.path)
        listed.write(path + "\n")
        for cells in events:
            self.selections += 1
            begin, end = (_seconds(self.before_ns + round(float(cells[k]) * 1e9)) for k in (START, END))
            row = (
                *(str(self.selections), "Spectrogram 1", _channel(cells), begin, end),
                *(frequency_cell(float(cells[k])) if cells[k] else "" for k in (LOW, HIGH)),
                *(cells[LABEL], cells[LABEL], cells[SCORE], path, f"{float(cells[START]):.6f}"),
                escape(base_name(recording.path)),
            )
            table.write("\t".join(map(safe_cell, row)) + "\n")
        self.before_ns += round(recording.seconds * 1e9)


class CsvRun(_TextFiles):
    """The events table, with recordings as given; with `channels`, the channel of each event as the last column."""

    names = ("events.csv",)

    def __init__(self, folder: str | Path, channels: bool = False) -> None:
        super().__init__(folder)
        self.header = (*COLUMNS, CHANNEL) if channels else COLUMNS

    def begin(self) -> None:
        write_csv_rows(self.files[0], [self.header])

    def add(self, recording: AnalysedRecording, events: Iterable[EventCells]) -> None:
        write_csv_rows(self.files[0], ([escape(recording.recording), *cells] for cells in events))


class KaleidoscopeRun(_TextFiles):
    """Offset and duration in seconds, frequencies in Hz, wall clock time of the event if the file name contains it."""

    names = ("kaleidoscope.csv",)

    def begin(self) -> None:
        write_csv_rows(self.files[0], [KALEIDOSCOPE_HEADER])

    def add(self, recording: AnalysedRecording, events: Iterable[EventCells]) -> None:
        name = base_name(recording.path)
        folder = escape(recording.path[: -len(name)].rstrip("/\\"))
        name = escape(name)
        for cells in events:
            time = datetime.fromisoformat(cells[TIME]) if cells[TIME] else None
            clock = (f"{time:%Y-%m-%d}", f"{time:%H:%M:%S}", f"{time:%H}") if time else ("", "", "")
            duration = f"{float(cells[END]) - float(cells[START]):.6f}"
            row = (
                *(folder, "", name, str(int(_channel(cells)) - 1), f"{float(cells[START]):.6f}", duration, *clock),
                *(cells[LOW], cells[HIGH], cells[LABEL], cells[SCORE], ""),
            )
            write_csv_rows(self.files[0], [row])


class ParquetRun:
    """The events table with its dtypes.

    `start_time` is the recorder's wall clock time without a zone. `utc_offset_s` is its offset from UTC in seconds;
    null if unknown.
    """

    names = ("events.parquet",)

    def __init__(self, folder: str | Path, provenance: Mapping[str, Any]) -> None:
        try:
            import pyarrow
        except ImportError as error:
            raise LoxoError(
                f"Parquet needs pyarrow. Leave this format out, or install it: {install_extra('formats')}"
            ) from error
        self.schema = pyarrow.schema(
            [
                ("recording", pyarrow.string()),
                *((name, pyarrow.float64()) for name in ("start_s", "end_s")),
                ("label", pyarrow.string()),
                *((name, pyarrow.float64()) for name in ("score", "low_hz", "high_hz")),
                ("site", pyarrow.string()),
                ("start_time", pyarrow.timestamp("us")),
                ("utc_offset_s", pyarrow.int32()),
                *([(CHANNEL, pyarrow.int32())] if has_channels(provenance) else []),
            ],
            metadata={"loxo": json.dumps(provenance)},
        )
        self.path = Path(folder, self.names[0])
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
                    "recording": escape(recording.recording),
                    **{
                        name: _parse_number(cells[k])
                        for k, name in enumerate(COLUMNS[1:TIME])
                        if k not in (LABEL, SITE)
                    },
                    "label": cells[LABEL],
                    "site": cells[SITE] or None,
                    "start_time": time.replace(tzinfo=None) if time else None,
                    "utc_offset_s": round(offset.total_seconds()) if offset is not None else None,
                    **({CHANNEL: int(_channel(cells))} if CHANNEL in self.schema.names else {}),
                }
            )
            if len(self.rows) == PARQUET_ROWS:
                self._flush()

    def _flush(self) -> None:
        import pyarrow

        if self.rows:
            self.writer.write_table(pyarrow.Table.from_pylist(self.rows, self.schema))
        self.rows.clear()


def has_channels(provenance: Mapping[str, Any]) -> bool:
    """Whether the events of a run with these parameters have a channel."""
    return bool(provenance.get(CHANNEL, MIX) != MIX)


def _channel(cells: EventCells) -> str:
    """The channel of an event, from 1; "1" where the mean of the channels was searched."""
    return cells[TIME + 1] if len(cells) > TIME + 1 else "1"


def _seconds(nanoseconds: int) -> str:
    """Formats seconds with microseconds, without rounding errors for long runs."""
    whole, rest = divmod((nanoseconds + 500) // 1000, 1_000_000)
    return f"{whole}.{rest:06d}"


def _parse_number(cell: str) -> float | None:
    return float(cell) if cell else None
