"""Converts rows of a table to events: position, label, score and frequencies, and problems of the rows.

File offsets are used as start times if the table has them, because begin times may be cumulative over recordings. If a
table has no file offsets and cumulative begin times, the positions of its events are unknown.

A row without a valid position raises LoxoError with its line number (`strict`), or is left out and reported. A row
with another problem is read and reported. `events.attrs["problems"]` has one sentence for each kind of problem, with
the number of rows and up to three examples. `attrs["rows"]` is the number of rows in the file, and
`attrs["without_events"]` lists the recordings of rows that state that there are no events (`DUMMY_NoEles`, `nocall`).
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
from loxo.audio.urls import hide_secrets
from loxo.errors import LoxoError
from loxo.events.cells import ParsedTable, normalise_header
from loxo.events.numbers import ColumnNumbers, decimal_sign, has_two_readings, to_number
from loxo.events.table import events_frame

if TYPE_CHECKING:
    import pandas as pd

NO_EVENT = re.compile(r"nocall|dummy[ _-]?no[ _-]?ele(s|phants?)?", re.IGNORECASE)
MARGINAL = re.compile(r"\bmarginals?\b", re.IGNORECASE)
NOT_MARGINAL = frozenset({"0", "no", "n", "false", "nan", "na", "-"})  # values of a column `marginal` that mean no
EXAMPLES = 3
DAY_S = 86400
AMBIGUOUS = "have a number with two readings; write it without thousands separators, or with another count of decimals"
MAX_CHANCE_PROBABILITY = 1e-6  # a row order that is less probable means cumulative begin times


class InvalidRow(Exception):
    """A row is not a valid event. `reason` is the kind of problem, `detail` describes this row."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


class Problems:
    """The problems of the rows of one file, by kind."""

    def __init__(self, path: Path, strict: bool) -> None:
        self.path, self.strict = path, strict
        self.found: dict[str, list[tuple[int, str]]] = {}

    def skip_row(self, line: int, reason: str, detail: str = "") -> None:
        if self.strict:
            raise LoxoError(f"{self.path}, line {line}: {reason}{f' ({detail})' if detail else ''}. Correct this row.")
        self.note(line, f"are left out: {reason}", detail)

    def note(self, line: int, problem: str, detail: str = "") -> None:
        self.found.setdefault(problem, []).append((line, detail))

    def sentences(self, rows: int) -> list[str]:
        return [
            f"{self.path}: {len(all_)} of {rows} row(s) {problem} {_format_examples(all_)}."
            for problem, all_ in self.found.items()
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
    """Converts a table to an events table with the attributes that this module's docstring describes.

    `label` is the label of rows without one, and `recording` the recording of rows without one. `extra` reads further
    columns. The column `marginal` (bool) is added if the table has a column for such notes.
    Raises LoxoError if a column of `extra` does not exist and, if `strict`, for a row without a valid position.
    """
    kept = {column: table.find(header) for column, header in (extra or {}).items()}
    problems = Problems(table.path, strict)
    has_offsets = table.has("offset")
    numbers = ColumnNumbers(table)
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    without: dict[str, int] = {}
    selections: dict[tuple[Any, ...], tuple[dict[str, Any], set[tuple[str, str]]]] = {}
    for line, cells in table.rows:
        try:
            name = _recording(table, cells) or recording
            if not name:
                raise InvalidRow("there is no name of a recording (Begin Path or Begin File); give `recording`")
            if any(cells[len(table.header) :]):
                raise InvalidRow(f"there are {len(cells)} cells but the header has {len(table.header)}")
            if any(NO_EVENT.fullmatch(cell) for cell in cells):
                without.setdefault(name, line)
                continue
            start, end = _parse_times(numbers, cells, has_offsets)
        except InvalidRow as fault:
            problems.skip_row(line, fault.reason, fault.detail)
            continue
        if doubtful := numbers.ambiguous(cells):
            problems.note(line, AMBIGUOUS, ", ".join(doubtful))
        row: dict[str, Any] = {
            "recording": name,
            "start_s": start,
            "end_s": end,
            "label": table.text(cells, "label") or label or "",
            **_parse_score_and_bounds(numbers, line, cells, problems),
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
            if view[0].casefold().startswith("spectrogram"):  # only this view has frequencies
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
        _numbers_where_possible(rows, lines, column, numbers.sign, problems)
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
    return hide_secrets(f"{folder}/{name}" if folder and name and base_name(name) == name else name)


def _parse_number(numbers: ColumnNumbers, cells: list[str], field: str) -> float:
    """Returns the number in a cell; NaN for an empty cell or a missing column."""
    value = numbers.parse(cells, field)
    if value is None:
        table = numbers.table
        column = next(column for column in table.columns[field] if cells[column])
        raise InvalidRow(f"{table.header[column]!r} is not a number", repr(table.text(cells, field)))
    return value


def _parse_times(numbers: ColumnNumbers, cells: list[str], has_offsets: bool) -> tuple[float, float]:
    """Returns start and end in seconds from the start of the recording, rounded to the microseconds of tables."""
    begin, end = _parse_number(numbers, cells, "begin"), _parse_number(numbers, cells, "end")
    length = _parse_number(numbers, cells, "duration") if math.isnan(end - begin) else end - begin
    start = _parse_number(numbers, cells, "offset") if has_offsets else begin
    if math.isnan(start):
        raise InvalidRow("the start of the event is empty (File Offset, or else Begin Time)")
    if math.isnan(length):
        raise InvalidRow("there is neither Begin and End Time nor a duration")
    detail = f"it starts at {start:g} s and lasts {length:g} s"
    if length < 0:
        raise InvalidRow("the event ends before it starts", detail)
    if start < 0:
        raise InvalidRow("the event starts before its recording", detail)
    if math.isinf(start + length):
        raise InvalidRow("the event has no end", detail)
    return round(start, 6), round(start + length, 6)


def _parse_score_and_bounds(
    numbers: ColumnNumbers, line: int, cells: list[str], problems: Problems
) -> dict[str, float]:
    """Returns score and frequency bounds. Invalid values become NaN and are reported; the event is kept."""
    values: dict[str, float] = {}
    for field in ("score", "low", "high"):
        try:
            values[field] = _parse_number(numbers, cells, field)
        except InvalidRow as fault:
            problems.note(line, f"have a cell that is ignored: {fault.reason}", fault.detail)
            values[field] = math.nan
    if not math.isnan(values["score"]) and not 0 <= values["score"] <= 1:
        problems.note(line, "have a score outside 0 to 1, which is ignored", f"{values['score']:g}")
        values["score"] = math.nan
    low, high = values["low"], values["high"]
    if low > high or low < 0:
        problems.note(line, "have impossible frequency bounds, which are ignored", f"{low:g} to {high:g} Hz")
        low = high = math.nan
    return {"score": values["score"], "low_hz": low, "high_hz": high}


def _parse_site_and_time(table: ParsedTable, cells: list[str], name: str) -> dict[str, Any]:
    """Returns the table's site and wall clock time, if the recording's name does not contain them."""
    origin: dict[str, Any] = {}
    site, start = parse_name(name)
    if site is None and (text := table.text(cells, "site")):
        origin["site"] = text
    if start is None and (text := table.text(cells, "clock")):
        with suppress(ValueError):
            origin["start_time"] = datetime.fromisoformat(text)
    return origin


def _is_marginal(table: ParsedTable, cells: list[str]) -> bool:
    """Returns True if a row is marked as marginal: in its own column, by the word in a note, or by the note "m"."""
    if any(cell.casefold() not in NOT_MARGINAL for cell in table.texts(cells, "marginal")):
        return True
    for column in table.columns.get("notes", ()):
        tag = normalise_header(table.header[column]).startswith("tag")  # in tags, m has other meanings
        if MARGINAL.search(cells[column]) or (not tag and cells[column].casefold() == "m"):
            return True
    return False


def _drop_cumulative_times(
    rows: list[dict[str, Any]], lines: list[int], problems: Problems
) -> tuple[list[dict[str, Any]], list[int]]:
    """Skips rows with unknown positions: with cumulative begin times, only those of the first recording are known."""
    order = sorted(range(len(rows)), key=lambda k: rows[k]["start_s"])
    blocks: list[tuple[str, int]] = []  # recording and number of its rows, in order of begin times
    for k in order:
        name = rows[k]["recording"]
        if blocks and blocks[-1][0] == name:
            blocks[-1] = (name, blocks[-1][1] + 1)
        elif any(name == other for other, _ in blocks):
            return rows, lines
        else:
            blocks.append((name, 1))
    # Log probability that the rows of each recording are contiguous if begin times are not cumulative.
    chance = math.lgamma(len(blocks) + 1) + sum(math.lgamma(n + 1) for _, n in blocks) - math.lgamma(len(rows) + 1)
    if len(blocks) < 2 or chance > math.log(MAX_CHANCE_PROBABILITY):
        return rows, lines
    placed = []
    for k, row in enumerate(rows):
        if row["recording"] == blocks[0][0]:
            placed.append(k)
        else:
            problems.skip_row(
                lines[k],
                "Begin Time is cumulative over recordings, and there is no File Offset (s)",
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
                "resemble the mark of a recording without events (its only row, the first 10 s, up to 100 Hz), but "
                "have no such label; for a recording without events, write DUMMY_NoEles into any column",
                base_name(name),
            )
        if row["start_s"] >= DAY_S:
            problems.note(
                line, "start more than 24 h into their recording", f"{row['start_s']:g} s of {base_name(name)}"
            )
        if row["start_s"] == row["end_s"]:
            problems.note(line, "have no duration", f"at {row['start_s']:g} s of {base_name(name)}")
        if name in without:
            problems.note(line, "are in a recording that another row marks as without events", f"line {without[name]}")
        key = (name, row["start_s"], row["end_s"], row["label"])
        if key in seen:
            problems.note(line, "repeat another row", f"as line {seen[key]}")
        seen.setdefault(key, line)
    for line, cells in table.rows:
        names = {base_name(cells[column]).casefold() for column in table.columns.get("recording", ()) if cells[column]}
        if len(names) > 1:
            problems.note(line, "name two recordings; the first is used", " and ".join(sorted(names)))


def _looks_like_dummy(row: dict[str, Any]) -> bool:
    """Returns True for the box of an ELP recording without elephants, in a table that lost the note of such boxes."""
    return bool(row["start_s"] < 2 and 9 < row["end_s"] - row["start_s"] < 10.5 and row["high_hz"] == 100)


def _numbers_where_possible(
    rows: list[dict[str, Any]], lines: list[int], column: str, sign: str | None, problems: Problems
) -> None:
    """Converts a column to numbers if all its cells are numbers. `sign` is the decimal sign of the other columns."""
    texts = [row[column] for row in rows]
    own = decimal_sign(texts)
    values = [to_number(text, own or sign) if text else math.nan for text in texts]
    if None in values or all(map(math.isnan, filter(None, values))):
        return
    for line, row, text, value in zip(lines, rows, texts, values, strict=True):
        row[column] = value
        if own is None and has_two_readings(text) and (sign is None or sign not in text):
            problems.note(line, AMBIGUOUS, f"{text!r} is read as {value:.10g}")
