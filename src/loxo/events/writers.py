"""One small class per output format, with the same method write(events, path)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from loxo.events.cells import safe_cell
from loxo.events.raven import write_raven_rows
from loxo.events.table import CHANNEL, COLUMNS, check_events, sort_events
from loxo.files import atomic_file, escape, write_atomically

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[Any, Any]  # of the events table, by column


class Writer:
    """A writer of one format with the file suffix `suffix`. It raises LoxoError if the file cannot be written."""

    suffix: str

    def write(self, events: pd.DataFrame, path: str | Path) -> None:
        """Writes an events table. Raises LoxoError as check_events does, too."""
        check_events(events)
        self.write_rows(sort_events(events).to_dict("records"), path)

    def write_rows(self, rows: Sequence[Row], path: str | Path) -> None:
        """Writes the rows of an events table, which have its order."""
        raise NotImplementedError


class RavenWriter(Writer):
    """A selection table of one recording, for Raven Pro and Raven Lite."""

    suffix = ".selections.txt"

    def write_rows(self, rows: Sequence[Row], path: str | Path) -> None:
        write_raven_rows(rows, path)


class CsvWriter(Writer):
    """The events table with its columns in their order: comma separated, UTF-8."""

    suffix = ".csv"

    def write_rows(self, rows: Sequence[Row], path: str | Path) -> None:
        header = (*COLUMNS, CHANNEL) if any(CHANNEL in row for row in rows) else COLUMNS
        with atomic_file(path) as file:
            write_csv_rows(file, [header, *map(csv_row, rows)])


class AudacityWriter(Writer):
    """A label track of one recording for Audacity: start, end, label and score, without a header."""

    suffix = ".labels.txt"

    def write_rows(self, rows: Sequence[Row], path: str | Path) -> None:
        cells = [(row["start_s"], row["end_s"], f"{escape(row['label'])} {row['score']:.2f}") for row in rows]
        lines = [f"{start:.6f}\t{end:.6f}\t{safe_cell(text)}\n" for start, end, text in cells]
        write_atomically(path, "".join(lines).encode())


WRITERS: dict[str, Writer] = {"raven": RavenWriter(), "csv": CsvWriter(), "audacity": AudacityWriter()}


def csv_row(event: Mapping[Any, Any]) -> list[str]:
    """Returns an event's CSV cells: numbers with up to six decimals, wall clock in ISO 8601, "" if unknown.

    The channel is the last cell, for events that have one.
    """
    return [_csv_cell(event[name]) for name in (*COLUMNS, CHANNEL) if name in event]


def write_csv_rows(file: IO[str], rows: Iterable[Iterable[str]]) -> None:
    """Writes rows of cells to an open CSV file, with line feeds as line ends. No cell starts a formula (safe_cell)."""
    import csv

    csv.writer(file, lineterminator="\n").writerows(map(safe_cell, row) for row in rows)


def _csv_cell(value: Any) -> str:
    if value is None or value != value:  # None, NaN, NaT
        return ""
    if isinstance(value, float):
        return repr(round(value, 6)).removesuffix(".0") if math.isfinite(value) else ""
    return value.isoformat() if hasattr(value, "isoformat") else escape(str(value))
