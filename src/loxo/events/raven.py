"""Reading and writing of Raven selection tables.

Written tables are TAB separated UTF-8. They have the twelve columns of BirdNET-Analyzer 2.4.0 in its order, which
scripts of many laboratories expect, and then `Begin File`. Every row contains both positions of an event. Raven uses
`Begin Path` and `File Offset (s)` when it opens a *sound selection table*. It uses `Begin Time (s)`, which is
cumulative over all recordings, when it opens a *selection table*. A table without events has only the header.
Characters that a table cannot hold, such as a TAB in the name of a recording, are written as codes (loxo.files.escape).

Read tables may have columns in any order and case, duplicate or blank. Encodings are UTF-8, UTF-16 and Latin-1, with
any line ends and with Windows paths (`cells.py`). A file offset is used before a begin time, because begin times are
cumulative over the recordings of a table. The rows of one selection in several views or channels are one event. Rows
that mark a recording without calls (`DUMMY_NoEles`, BirdNET's `nocall`) are not events; their recordings are listed in
`events.attrs["without_events"]`. Text that a spreadsheet would read as a formula is written with an apostrophe before
it, which reading removes (`cells.safe_cell`). No row is dropped silently: a row without a valid position raises
LoxoError with its line number, or is reported in `events.attrs["problems"]` (`rows.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loxo.audio.filenames import base_name
from loxo.errors import LoxoError
from loxo.events.cells import first_line, parse_table, read_text, safe_cell
from loxo.events.rows import events_from_table
from loxo.events.table import check_events, sort_events
from loxo.files import escape, write_atomically

if TYPE_CHECKING:
    import pandas as pd

HEADER = (
    "Selection",
    "View",
    "Channel",
    "Begin Time (s)",
    "End Time (s)",
    "Low Freq (Hz)",
    "High Freq (Hz)",
    "Common Name",
    "Species Code",
    "Confidence",
    "Begin Path",
    "File Offset (s)",
    "Begin File",
)


def write_raven(
    events: pd.DataFrame,
    path: str | Path,
    *,
    extra: Mapping[str, str] | None = None,
    durations: Mapping[str, float] | None = None,
) -> None:
    """Writes a selection table, completely or not at all. Times have microseconds, scores six decimals.

    An optional column `channel` of the events (from 1) fills `Channel`; the default is 1.
    `extra` adds columns: column of the events table -> header in the file. A table of several recordings needs
    `durations`: the seconds of every recording, also of those without events, in the order in which Raven opens them.
    They are needed because begin times are cumulative.
    Raises LoxoError if `events` is not an events table, a duration is missing, or the file cannot be written.
    """
    check_events(events)
    write_raven_rows(sort_events(events).to_dict("records"), path, extra=extra, durations=durations)


def write_raven_rows(
    rows: Sequence[Mapping[Any, Any]],
    path: str | Path,
    *,
    extra: Mapping[str, str] | None = None,
    durations: Mapping[str, float] | None = None,
) -> None:
    """As write_raven, for the rows of an events table in its order."""
    starts = _sequence_starts(list(dict.fromkeys(row["recording"] for row in rows)), durations)
    extra = dict(extra or {})
    lines = ["\t".join((*HEADER, *extra.values()))]
    for number, row in enumerate(rows, 1):
        recording, start, end = row["recording"], row["start_s"], row["end_s"]
        before = starts.get(recording, 0.0)
        cells = [
            str(number),
            "Spectrogram 1",
            str(row.get("channel", 1)),
            f"{before + start:.6f}",
            f"{before + end:.6f}",
            frequency_cell(row["low_hz"]),
            frequency_cell(row["high_hz"]),
            row["label"],
            row["label"],
            _format_number(row["score"]),
            recording,
            f"{start:.6f}",
            base_name(recording),
        ]
        cells += [_format_cell(row[column]) for column in extra]
        lines.append("\t".join(safe_cell(escape(cell)) for cell in cells))
    write_atomically(path, ("\n".join(lines) + "\n").encode())


def _sequence_starts(recordings: Sequence[str], durations: Mapping[str, float] | None) -> dict[str, float]:
    """Returns the seconds from the start of the first recording to the start of each recording."""
    if durations is None:
        if len(recordings) > 1:
            raise LoxoError(
                f"A selection table of {len(recordings)} recordings needs the duration of every recording, in the "
                "order in which they are opened. Give `durations`, or write one table for each recording."
            )
        return {}
    unknown = [name for name in recordings if name not in durations]
    if unknown:
        raise LoxoError(
            f"`durations` contains no duration of {unknown[0]!r} ({len(unknown)} recording(s) in total). Add it."
        )
    ends = [0.0]
    for duration in durations.values():
        ends.append(math.fsum((ends[-1], duration)))
    return dict(zip(durations, ends, strict=False))


def frequency_cell(value: float) -> str:
    """Formats a frequency with a decimal point: readers that infer a column's type (crowsetta) expect floats."""
    return "" if math.isnan(value) else repr(round(float(value), 6))


def _format_number(value: float) -> str:
    """Formats a number with up to six decimals; "" for NaN."""
    return "" if math.isnan(value) else repr(round(float(value), 6)).removesuffix(".0")


def _format_cell(value: Any) -> str:
    if value is None:
        return ""
    return _format_number(value) if isinstance(value, float) else str(value)


def read_raven(
    path: str | Path,
    label_column: str | None = None,
    *,
    label: str | None = None,
    recording: str | None = None,
    extra: Mapping[str, str] | None = None,
    strict: bool = True,
) -> pd.DataFrame:
    """Reads a selection table as an events table. This module's docstring describes the accepted tables.

    `label_column` is the header of the labels; by default the usual headers are tried. `label` is the label of events
    without one (default ""). `recording` is the recording of a table that does not name one. `extra` reads further
    columns: column of the events table -> header in the file; as numbers if all cells are numbers. If the table has
    notes, the column `marginal` (bool) marks events that the annotator was unsure about.

    `events.attrs` contains `without_events` (recordings that were searched and have no events), `problems` (sentences
    with counts and examples) and `rows` (number of rows in the file).
    Raises LoxoError if the file is not a selection table, if a requested column does not exist, or if a row has no
    valid position. With `strict` False, rows without a valid position are left out and reported in `problems`.
    """
    path = Path(path)
    text = read_text(path)
    line = first_line(text)
    if line and "\t" not in line:
        raise LoxoError(f"{path}: this is not a selection table: there is no TAB in its first line {line[:60]!r}.")
    table = parse_table(path, text, "\t", label_column)
    return events_from_table(table, label=label, recording=recording, extra=extra, strict=strict)
