"""Rows of a table to events: what places them, what they are called, and what is wrong with them.

Where a table has file offsets, they place its events: begin times run on from one recording to the next. A table that
has none, and whose begin times go on rising from recording to recording, does not say where its events are.

A row that cannot be placed raises LoxoError with its line number (`strict`), or is left out and reported. What can be
read in spite of a flaw is read and reported. Reports are in `events.attrs["problems"]`, one sentence for each kind of
flaw with the number of rows and up to three examples. `attrs["rows"]` is the number of rows in the file, and
`attrs["without_events"]` lists the recordings of rows that say that there is nothing (`DUMMY_NoEles`, `nocall`).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loxo.audio.filenames import base_name, parse_name
from loxo.errors import LoxoError
from loxo.events.cells import ParsedTable, normalise_header, to_number
from loxo.events.table import events_frame

if TYPE_CHECKING:
    import pandas as pd

NO_EVENT = re.compile(r"nocall|dummy[ _-]?no[ _-]?ele(s|phants?)?", re.IGNORECASE)
MARGINAL = re.compile(r"\bmarginals?\b", re.IGNORECASE)
NOT_MARGINAL = frozenset({"0", "no", "n", "false", "nan", "na", "-"})  # in a column that is for nothing else
EXAMPLES = 3
DAY_S = 86400
MAX_CHANCE_PROBABILITY = 1e-6  # how improbable an order of rows must be before it is taken for begin times that run on


class InvalidRow(Exception):
    """A row is no event. `why` is the same for all rows of the kind, `detail` is of this one."""

    def __init__(self, why: str, detail: str = "") -> None:
        super().__init__(why)
        self.why, self.detail = why, detail


class Problems:
    """What is wrong with the rows of one file, by kind."""

    def __init__(self, path: Path, strict: bool) -> None:
        self.path, self.strict = path, strict
        self.found: dict[str, list[tuple[int, str]]] = {}

    def leave_out(self, line: int, why: str, detail: str = "") -> None:
        if self.strict:
            raise LoxoError(f"{self.path}, line {line}: {why}{f' ({detail})' if detail else ''}.")
        self.note(line, f"are left out: {why}", detail)

    def note(self, line: int, what: str, detail: str = "") -> None:
        self.found.setdefault(what, []).append((line, detail))

    def sentences(self, rows: int) -> list[str]:
        return [
            f"{self.path}: {len(all_)} of {rows} row(s) {what} {_format_examples(all_)}."
            for what, all_ in self.found.items()
        ]


def _format_examples(found: list[tuple[int, str]]) -> str:
    shown = "; ".join(f"line {line}: {detail}" if detail else f"line {line}" for line, detail in found[:EXAMPLES])
    return f"({shown}{'; ...' if len(found) > EXAMPLES else ''})"


def events_from_table(
    table: ParsedTable,
    *,
    label: str | None = None,
    recording: str | None = None,
    extra: Mapping[str, str] | None = None,
    strict: bool = True,
) -> pd.DataFrame:
    """The events of a table's rows, as an events table with the attributes of this module's docstring.

    `label` is given to events whose row has none, `recording` to rows that name none. `extra` keeps further columns.
    A column `marginal` (bool) follows where the table has a column that could hold such a note.
    Raises LoxoError for a column of `extra` that is not there and, if `strict`, for a row that cannot be placed.
    """
    kept = {column: table.find(header) for column, header in (extra or {}).items()}
    problems = Problems(table.path, strict)
    has_offsets = table.has("offset")
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    without: dict[str, int] = {}
    selections: dict[tuple[Any, ...], tuple[dict[str, Any], set[tuple[str, str]]]] = {}
    for line, cells in table.rows:
        try:
            name = _recording(table, cells) or recording
            if not name:
                raise InvalidRow("there is no recording's name (Begin Path or Begin File); give `recording`")
            if any(cells[len(table.header) :]):
                raise InvalidRow(f"there are {len(cells)} cells but the header has {len(table.header)}")
            if any(NO_EVENT.fullmatch(cell) for cell in cells):
                without.setdefault(name, line)
                continue
            start, end = _parse_times(table, cells, has_offsets)
        except InvalidRow as fault:
            problems.leave_out(line, fault.why, fault.detail)
            continue
        row: dict[str, Any] = {
            "recording": name,
            "start_s": start,
            "end_s": end,
            "label": table.text(cells, "label") or label or "",
            **_parse_score_and_bounds(table, line, cells, problems),
            **_parse_site_and_time(table, cells, name),
            **{column: cells[index] for column, index in kept.items()},
        }
        if "marginal" in table.columns or "notes" in table.columns:
            row["marginal"] = _is_marginal(table, cells)
        number = table.text(cells, "selection")
        view = (table.text(cells, "view"), table.text(cells, "channel"))
        first, views = selections.setdefault((number or row["label"], name, start, end), (row, set()))
        if first is not row and view not in views:  # the same selection in another view or channel
            views.add(view)
            if view[0].casefold().startswith("spectrogram"):  # the view that knows frequencies
                first.update(low_hz=row["low_hz"], high_hz=row["high_hz"])
            first["label"] = first["label"] or row["label"]
            continue
        views.add(view)
        rows.append(row)
        lines.append(line)
    if not has_offsets:
        rows, lines = _drop_cumulative_times(rows, lines, problems)
    _note_suspicious_rows(table, rows, lines, without, problems)
    if label is None:
        for line, row in zip(lines, rows, strict=True):
            if not row["label"]:
                problems.note(line, "have no label; give `label` or `label_column`")
    for column in kept:
        _numbers_where_possible(rows, column)
    try:
        events = events_frame(rows)
    except LoxoError as error:
        raise LoxoError(f"{table.path}: {error}") from error
    for column in kept:
        if column not in events.columns:  # no rows
            events[column] = []
    events.attrs |= {
        "without_events": list(without),
        "problems": problems.sentences(len(table.rows)),
        "rows": len(table.rows),
    }
    return events


def _recording(table: ParsedTable, cells: list[str]) -> str:
    name, folder = table.text(cells, "recording"), table.text(cells, "folder")
    return f"{folder}/{name}" if folder and name and base_name(name) == name else name


def _parse_number(table: ParsedTable, cells: list[str], field: str) -> float:
    """NaN for an empty cell or a column that is not there."""
    text = table.text(cells, field)
    value = to_number(text) if text else math.nan
    if value is None:
        column = next(column for column in table.columns[field] if cells[column])
        raise InvalidRow(f"{table.header[column]!r} is no number", repr(text))
    return value


def _parse_times(table: ParsedTable, cells: list[str], has_offsets: bool) -> tuple[float, float]:
    """Start and end in seconds from the start of the recording, to the microsecond that tables are written in."""
    begin, end = _parse_number(table, cells, "begin"), _parse_number(table, cells, "end")
    length = _parse_number(table, cells, "duration") if math.isnan(end - begin) else end - begin
    start = _parse_number(table, cells, "offset") if has_offsets else begin
    if math.isnan(start):
        raise InvalidRow("the cell that places the event (File Offset, or else Begin Time) is empty")
    if math.isnan(length):
        raise InvalidRow("neither Begin and End Time nor a duration say how long the event is")
    detail = f"it starts at {start:g} s and lasts {length:g} s"
    if length < 0:
        raise InvalidRow("the event cannot be placed: it ends before it starts", detail)
    if start < 0:
        raise InvalidRow("the event cannot be placed: it starts before its recording", detail)
    if math.isinf(start + length):
        raise InvalidRow("the event cannot be placed: it has no end", detail)
    return round(start, 6), round(start + length, 6)


def _parse_score_and_bounds(table: ParsedTable, line: int, cells: list[str], problems: Problems) -> dict[str, float]:
    """Score and frequencies; what they cannot be becomes NaN and is noted, because it moves no event."""
    values: dict[str, float] = {}
    for field in ("score", "low", "high"):
        try:
            values[field] = _parse_number(table, cells, field)
        except InvalidRow as fault:
            problems.note(line, f"have a cell that is not read: {fault.why}", fault.detail)
            values[field] = math.nan
    if not math.isnan(values["score"]) and not 0 <= values["score"] <= 1:
        problems.note(line, "have a score outside 0 to 1, which is not read", f"{values['score']:g}")
        values["score"] = math.nan
    low, high = values["low"], values["high"]
    if low > high or low < 0:
        problems.note(line, "have frequency bounds that cannot be, which are not read", f"{low:g} to {high:g} Hz")
        low = high = math.nan
    return {"score": values["score"], "low_hz": low, "high_hz": high}


def _parse_site_and_time(table: ParsedTable, cells: list[str], name: str) -> dict[str, Any]:
    """Site and wall clock where the table says and the recording's name does not."""
    origin: dict[str, Any] = {}
    site, start = parse_name(name)
    if site is None and (told := table.text(cells, "site")):
        origin["site"] = told
    if start is None and (told := table.text(cells, "clock")):
        with suppress(ValueError):
            origin["start_time"] = datetime.fromisoformat(told)
    return origin


def _is_marginal(table: ParsedTable, cells: list[str]) -> bool:
    """Whether the annotator was in doubt: a mark in a column for it, or the word in a note, or a note that is "m"."""
    if any(cell.casefold() not in NOT_MARGINAL for cell in table.texts(cells, "marginal")):
        return True
    for column in table.columns.get("notes", ()):
        tag = normalise_header(table.header[column]).startswith("tag")  # there m stands for other things
        if MARGINAL.search(cells[column]) or (not tag and cells[column].casefold() == "m"):
            return True
    return False


def _drop_cumulative_times(
    rows: list[dict[str, Any]], lines: list[int], problems: Problems
) -> tuple[list[dict[str, Any]], list[int]]:
    """The rows that begin times place. Where these run on, only those of the first recording are on its time line."""
    order = sorted(range(len(rows)), key=lambda k: rows[k]["start_s"])
    blocks: list[tuple[str, int]] = []  # recording and number of its rows, along the begin times
    for k in order:
        name = rows[k]["recording"]
        if blocks and blocks[-1][0] == name:
            blocks[-1] = (name, blocks[-1][1] + 1)
        elif any(name == other for other, _ in blocks):
            return rows, lines
        else:
            blocks.append((name, 1))
    # Were begin times counted within each recording, how often would each one's rows stand together all the same?
    chance = math.lgamma(len(blocks) + 1) + sum(math.lgamma(n + 1) for _, n in blocks) - math.lgamma(len(rows) + 1)
    if len(blocks) < 2 or chance > math.log(MAX_CHANCE_PROBABILITY):
        return rows, lines
    placed = []
    for k, row in enumerate(rows):
        if row["recording"] == blocks[0][0]:
            placed.append(k)
        else:
            problems.leave_out(
                lines[k],
                "Begin Time runs on from one recording to the next, and there is no File Offset (s) to place the event",
                f"{row['start_s']:g} s for {base_name(row['recording'])}",
            )
    return [rows[k] for k in placed], [lines[k] for k in placed]


def _note_suspicious_rows(
    table: ParsedTable, rows: list[dict[str, Any]], lines: list[int], without: dict[str, int], problems: Problems
) -> None:
    seen: dict[tuple[Any, ...], int] = {}
    of_recording = Counter(row["recording"] for row in rows)
    for line, row in zip(lines, rows, strict=True):
        name = row["recording"]
        if of_recording[name] == 1 and _looks_like_dummy(row):
            problems.note(
                line,
                "look like the mark of a recording without events (its only row, the first 10 s, up to 100 Hz) but are "
                "not called so: if they are, write DUMMY_NoEles into any column",
                base_name(name),
            )
        if row["start_s"] >= DAY_S:
            problems.note(
                line, "start more than 24 h into their recording", f"{row['start_s']:g} s of {base_name(name)}"
            )
        if row["start_s"] == row["end_s"]:
            problems.note(line, "are of no length", f"at {row['start_s']:g} s of {base_name(name)}")
        if name in without:
            problems.note(line, "are in a recording that another row says is without events", f"line {without[name]}")
        key = (name, row["start_s"], row["end_s"], row["label"])
        if key in seen:
            problems.note(line, "repeat another row", f"as line {seen[key]}")
        seen.setdefault(key, line)
    for line, cells in table.rows:
        names = {base_name(cells[column]).casefold() for column in table.columns.get("recording", ()) if cells[column]}
        if len(names) > 1:
            problems.note(line, "name two recordings; the first is taken", " and ".join(sorted(names)))


def _looks_like_dummy(row: dict[str, Any]) -> bool:
    """The box that ELP draws into a recording without elephants, in a table that lost the note that says so."""
    return bool(row["start_s"] < 2 and 9 < row["end_s"] - row["start_s"] < 10.5 and row["high_hz"] == 100)


def _numbers_where_possible(rows: list[dict[str, Any]], column: str) -> None:
    try:
        values = [float(row[column]) if row[column] else math.nan for row in rows]
    except ValueError:
        return
    if not all(math.isnan(value) for value in values):
        for row, value in zip(rows, values, strict=True):
            row[column] = value
