"""Raven selection tables, read and written.

Written: TAB separated, UTF-8, the twelve columns of BirdNET-Analyzer 2.4.0 in its order (scripts of many laboratories
expect them), then `Begin File`. Every row has both ways to place an event: `Begin Path` with `File Offset (s)`, which
Raven trusts when it opens a *sound selection table*, and `Begin Time (s)` on the time line of all recordings one after
the other, which it trusts when it opens a *selection table*. A table without events is a header.

Read: what people have. Columns in any order and case, twice or blank; UTF-8, UTF-16 or Latin-1; any line ends; Windows
paths (`cells.py`). Where there is a file offset it places the event, because begin times run on across the recordings
of one table. The rows of one selection in several views or channels are one event. Rows by which annotators mark a
recording without any call (`DUMMY_NoEles`, BirdNET's `nocall`) are no events; their recordings are listed in
`events.attrs["without_events"]`. Nothing is dropped silently: a row that cannot be placed raises LoxoError with its
line number, or is reported in `events.attrs["problems"]` (`rows.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loxo.audio.filenames import base_name
from loxo.errors import LoxoError
from loxo.events.cells import first_line, parse_table, read_text
from loxo.events.rows import events_from_table
from loxo.events.table import check_events, sort_events
from loxo.files import write_atomically

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
    """Writes a selection table, whole or not at all. Times to the microsecond, scores to six digits.

    `extra` names further columns to write: column of the events table -> header in the file. A table of several
    recordings needs `durations`, every recording's seconds in the order in which Raven will open them (those without
    events too), because begin times run on from one to the next.
    Raises LoxoError when the events are no events table, a recording has no duration, or the file cannot be written.
    """
    check_events(events)
    events = sort_events(events)
    starts = _sequence_starts(events, durations)
    extra = dict(extra or {})
    lines = ["\t".join((*HEADER, *extra.values()))]
    for number, row in enumerate(events.to_dict("records"), 1):
        recording, start, end = row["recording"], row["start_s"], row["end_s"]
        before = starts.get(recording, 0.0)
        cells = [
            str(number),
            "Spectrogram 1",
            "1",
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
        for cell in cells:
            if any(mark in cell for mark in "\t\r\n"):
                raise LoxoError(f"{path}: {cell!r} has a TAB or line end in it, which a selection table cannot hold.")
        lines.append("\t".join(cells))
    write_atomically(path, ("\n".join(lines) + "\n").encode())


def _sequence_starts(events: pd.DataFrame, durations: Mapping[str, float] | None) -> dict[str, float]:
    """Seconds from the start of the first recording to the start of each one."""
    recordings = list(events["recording"].unique())
    if durations is None:
        if len(recordings) > 1:
            raise LoxoError(
                f"A selection table of {len(recordings)} recordings needs the duration of every recording, in the "
                "order in which they are opened. Give `durations`, or write one table for each recording."
            )
        return {}
    unknown = [name for name in recordings if name not in durations]
    if unknown:
        raise LoxoError(f"No duration is given for {unknown[0]!r} ({len(unknown)} recording(s) in all).")
    ends = [0.0]
    for duration in durations.values():
        ends.append(math.fsum((ends[-1], duration)))
    return dict(zip(durations, ends, strict=False))


def frequency_cell(value: float) -> str:
    """Always with a decimal point: readers that go by the look of a column (crowsetta) else take it for integers."""
    return "" if math.isnan(value) else repr(round(float(value), 6))


def _format_number(value: float) -> str:
    """Six decimals at most; nothing for NaN."""
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
    """The events of a selection table, as an events table. See this module's docstring for what is understood.

    `label_column` names the column of the labels; without it the usual names are tried. `label` is given to every event
    whose row has none (else ""). `recording` is for tables that do not name theirs. `extra` keeps further columns:
    column of the events table -> header in the file; numbers where all cells are numbers. A column `marginal` (bool)
    says where the annotator was in doubt, if the table has notes.

    `events.attrs` holds `without_events` (recordings marked as searched and empty), `problems` (a list of sentences
    with counts and examples) and `rows` (how many the file has).
    Raises LoxoError when it is no such table, or a column asked for is not there; and when a row cannot be placed,
    unless `strict` is False: then it is left out and its kind listed in `problems`.
    """
    path = Path(path)
    text = read_text(path)
    line = first_line(text)
    if line and "\t" not in line:
        raise LoxoError(f"{path}: this is no selection table: there is no TAB in its first line {line[:60]!r}.")
    table = parse_table(path, text, "\t", label_column)
    return events_from_table(table, label=label, recording=recording, extra=extra, strict=strict)
