"""Raven selection tables, read and written.

Written: TAB separated, UTF-8, the twelve columns of BirdNET-Analyzer 2.4.0 in its order (scripts of many laboratories
expect them), then `Begin File`. Every row has both ways to place an event: `Begin Path` with `File Offset (s)`, which
Raven trusts when it opens a *sound selection table*, and `Begin Time (s)` on the time line of all recordings one after
the other, which it trusts when it opens a *selection table*. A table without events is a header.

Read: what people have. Columns in any order and case; UTF-8, UTF-16 or Latin-1; any line ends; Windows paths. Where
there is a file offset it places the event, because begin times run on across the recordings of one table. The rows of
one selection in several views or channels are one event. Rows by which annotators mark a recording without any call
(`DUMMY_NoEles`, BirdNET's `nocall`) are no events; their recordings are listed in `events.attrs["without_events"]`.
Nothing is dropped silently: a row that cannot be placed raises LoxoError with its line number.
"""

from __future__ import annotations

import codecs
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loxo.audio.filenames import base_name
from loxo.errors import LoxoError
from loxo.events.table import check_events, events_frame, sort_events
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

# What the columns of a table may be called, in order of trust; written as _plain gives them.
NAMES = {
    "selection": ("selection",),
    "view": ("view",),
    "channel": ("channel",),
    "begin": ("begin time", "start time", "start"),
    "end": ("end time", "end"),
    "duration": ("delta time", "duration"),
    "offset": ("file offset", "begin file offset"),
    "recording": ("begin path", "begin file", "filename", "file name", "file"),
    "low": ("low freq", "low frequency"),
    "high": ("high freq", "high frequency"),
    "label": ("common name", "label", "species", "annotation", "call type", "class"),
    "score": ("confidence", "score"),
}
NO_EVENT = frozenset({"dummy_noeles", "nocall"})


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
            _number(row["low_hz"]),
            _number(row["high_hz"]),
            row["label"],
            row["label"],
            _number(row["score"]),
            recording,
            f"{start:.6f}",
            base_name(recording),
        ]
        cells += [_cell(row[column]) for column in extra]
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


def _number(value: float) -> str:
    """Six decimals at most; nothing for NaN."""
    return "" if math.isnan(value) else repr(round(float(value), 6)).removesuffix(".0")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return _number(value) if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class _Table:
    """The cells of a file, and which column is what."""

    path: Path
    header: list[str]
    rows: list[tuple[int, list[str]]]  # line number, cells
    columns: dict[str, int]

    def text(self, cells: list[str], column: str) -> str:
        return cells[self.columns[column]] if column in self.columns else ""

    def fault(self, line: int, sentence: str) -> LoxoError:
        return LoxoError(f"{self.path}, line {line}: {sentence}")

    def number(self, line: int, cells: list[str], column: str) -> float:
        """NaN for an empty cell or a column that is not there. A decimal comma is understood."""
        text = self.text(cells, column)
        if not text:
            return math.nan
        try:
            return float(text.replace(",", ".") if text.count(",") == 1 and "." not in text else text)
        except ValueError:
            raise self.fault(line, f"{self.header[self.columns[column]]!r} is {text!r}, which is no number.") from None


def read_raven(
    path: str | Path,
    label_column: str | None = None,
    *,
    label: str | None = None,
    recording: str | None = None,
    extra: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """The events of a selection table, as an events table. See this module's docstring for what is understood.

    `label_column` names the column of the labels; without it the usual names are tried, and a table that has none gives
    `label` (or "") to every event. `recording` is for tables that do not name theirs. `extra` keeps further columns:
    column of the events table -> header in the file; numbers where all cells are numbers.
    Raises LoxoError when it is no such table, a column asked for is not there, or a row cannot be placed.
    """
    table = _read_table(Path(path), label_column)
    kept = {column: _find_column(table, header) for column, header in (extra or {}).items()}
    rows: list[dict[str, Any]] = []
    without: dict[str, None] = {}
    seen: dict[tuple[Any, ...], set[tuple[str, str]]] = {}
    spectrogram: dict[tuple[Any, ...], dict[str, Any]] = {}
    for line, cells in table.rows:
        name = table.text(cells, "recording") or recording
        if not name:
            raise table.fault(line, "there is no recording's name (Begin Path or Begin File). Give `recording`.")
        if any(cell.casefold() in NO_EVENT for cell in cells):
            without[name] = None
            continue
        start, end = _place(table, line, cells)
        row: dict[str, Any] = {
            "recording": name,
            "start_s": start,
            "end_s": end,
            "label": (table.text(cells, "label") if "label" in table.columns else label) or label or "",
            "score": table.number(line, cells, "score"),
            "low_hz": table.number(line, cells, "low"),
            "high_hz": table.number(line, cells, "high"),
            **{column: cells[index] for column, index in kept.items()},
        }
        view = (table.text(cells, "view"), table.text(cells, "channel"))
        key = (table.text(cells, "selection"), name, start, end)
        if key[0] and view not in (views := seen.setdefault(key, set())):
            views.add(view)
            if len(views) > 1:
                if view[0].casefold().startswith("spectrogram"):  # the view that knows frequencies
                    spectrogram[key].update({k: v for k, v in row.items() if k in ("low_hz", "high_hz")})
                continue
            spectrogram[key] = row
        rows.append(row)
    for column in kept:
        _numbers_where_possible(rows, column)
    try:
        events = events_frame(rows)
    except LoxoError as error:
        raise LoxoError(f"{path}: {error}") from error
    for column in kept:
        if column not in events.columns:  # no rows
            events[column] = []
    events.attrs["without_events"] = list(without)
    return events


def _place(table: _Table, line: int, cells: list[str]) -> tuple[float, float]:
    """Start and end in seconds from the start of the recording, to the microsecond that tables are written in."""
    begin, end = table.number(line, cells, "begin"), table.number(line, cells, "end")
    duration = table.number(line, cells, "duration") if math.isnan(end - begin) else end - begin
    start = table.number(line, cells, "offset") if "offset" in table.columns else begin
    if math.isnan(start):
        raise table.fault(line, "the cell that places the event (File Offset, or else Begin Time) is empty.")
    if math.isnan(duration):
        raise table.fault(line, "neither Begin and End Time nor a duration say how long the event is.")
    if duration < 0 or start < 0 or math.isinf(start + duration):
        raise table.fault(line, f"the event cannot be placed: it starts at {start:g} s and lasts {duration:g} s.")
    return round(start, 6), round(start + duration, 6)


def _numbers_where_possible(rows: list[dict[str, Any]], column: str) -> None:
    try:
        values = [float(row[column]) if row[column] else math.nan for row in rows]
    except ValueError:
        return
    if not all(math.isnan(value) for value in values):
        for row, value in zip(rows, values, strict=True):
            row[column] = value


def _read_table(path: Path, label_column: str | None) -> _Table:
    try:
        text = _decode(path.read_bytes())
    except OSError as error:
        raise LoxoError(f"{path}: the table cannot be opened ({error.strerror}).") from error
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        raise LoxoError(f"{path}: the table is empty; a selection table has at least a header.")
    header = [_unquote(cell) for cell in numbered[0][1].split("\t")]
    if len(header) < 2:
        raise LoxoError(
            f"{path}: this is no selection table: there is no TAB in its first line {numbered[0][1][:60]!r}."
        )
    rows = []
    for number, line in numbered[1:]:
        cells = [_unquote(cell) for cell in line.split("\t")]
        if any(cells[len(header) :]):
            raise LoxoError(f"{path}, line {number}: there are {len(cells)} cells but the header has {len(header)}.")
        rows.append((number, [*cells, *[""] * (len(header) - len(cells))][: len(header)]))
    plain = [_plain(cell) for cell in header]
    columns = {}
    for column, names in NAMES.items():
        for name in names:
            if name in plain:
                columns[column] = plain.index(name)
                break
    table = _Table(path, header, rows, columns)
    if label_column is not None:
        columns["label"] = _find_column(table, label_column)
    if "offset" not in columns and "begin" not in columns:
        raise LoxoError(
            f"{path}: this is no selection table: it has neither 'File Offset (s)' nor 'Begin Time (s)', but "
            f"{', '.join(header)}."
        )
    return table


def _decode(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    if data[1:2] == b"\0":  # UTF-16 without a mark
        return data.decode("utf-16-le", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _unquote(cell: str) -> str:
    """Excel puts cells with quotes or commas between quotes. A quote alone is left: annotators write inches."""
    cell = cell.strip()
    if len(cell) >= 2 and cell[0] == cell[-1] == '"':
        return cell[1:-1].replace('""', '"').strip()
    return cell


def _plain(header: str) -> str:
    """A header without case, unit and spacing: 'Begin Time (s)' and 'begin time' are one."""
    name = header.casefold()
    for unit in ("(s)", "(hz)"):
        name = name.replace(unit, "")
    return " ".join(name.replace("_", " ").split())


def _find_column(table: _Table, header: str) -> int:
    plain = [_plain(cell) for cell in table.header]
    if _plain(header) not in plain:
        raise LoxoError(f"{table.path}: there is no column {header!r}, but {', '.join(table.header)}.")
    return plain.index(_plain(header))
