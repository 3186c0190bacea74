"""Reads events from Raven selection tables, CSV tables of many tools and Audacity label tracks, detected by content.

CSV tables have a header, with start and end (or duration) in seconds, file name and label. The headers of Loxo's
events.csv, BirdNET, Kaleidoscope, OpenSoundscape, DCASE and others are known (`cells.py`). The delimiter is TAB, comma
or semicolon. Audacity label tracks have start, end and label without a header. If a table has no column for the
recording, `recording` is used, or else the name of the table, such as `nn01_20200101_000000.labels.txt`.

Failure policy: a file that is not a table raises LoxoError. Rows without a valid position are left out and reported in
`events.attrs["problems"]`, or raise LoxoError if `strict` (`rows.py`). A table without rows that is named after a
recording means that this recording was searched and has no events.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from loxo.audio.filenames import parse_name
from loxo.errors import LoxoError
from loxo.events.cells import (
    ParsedTable,
    detect_delimiter,
    first_line,
    normalise_header,
    original_cell,
    parse_table,
    read_text,
)
from loxo.events.numbers import to_number
from loxo.events.rows import events_from_table
from loxo.events.table import COLUMNS, UNDECIDED, sort_events, wall_clock
from loxo.files import walk_files

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".txt", ".csv", ".tsv")
AUDACITY = ["start", "end", "label", "score", "low", "high", "file"]
# Text that programs add between the name of a recording and the suffix of its table.
TABLE_ENDINGS = re.compile(
    r"(?P<table>[._](selections?|labels?|table(\.\d+)?|annotations?|results?|birdnet|raven))|\.(txt|csv|tsv)", re.I
)
LABEL_WITH_SCORE = re.compile(r"(?P<label>.*) (?P<score>nan|[01]\.\d\d)")  # as AudacityWriter writes it


def read_events(
    path: str | Path,
    label_column: str | None = None,
    *,
    label: str | None = None,
    recording: str | None = None,
    strict: bool = False,
    extra: Mapping[str, Collection[str]] | None = None,
) -> pd.DataFrame:
    """Reads one table in any known format as an events table.

    `label_column`, `label`, `recording`, `strict` and the attributes `without_events`, `problems` and `rows` are those
    of `read_raven`. `extra` names further columns that are read if the table has one of their headers, as given by
    `normalise_header`. The attribute `incomplete` is True for a table of a review that lacks undecided events.
    Raises LoxoError if the file is not a table of events or, if `strict`, for an invalid row.
    """
    path = Path(path)
    text = read_text(path)
    named, is_named_after = _recording_from_name(path)
    line = first_line(text)
    numbers = [to_number(cell.strip()) for cell in line.split("\t")[:2]]
    if not line or (len(numbers) == 2 and None not in numbers):
        if not line and not (recording or is_named_after):
            raise LoxoError(f"{path}: the table is empty. A table of events needs at least a header.")
        table = _audacity(path, text, recording or named)
    else:
        delimiter = detect_delimiter(line)
        if delimiter not in line:
            raise LoxoError(f"{path}: this is not a table of events: its first line is {line[:60]!r}.")
        table = parse_table(path, text, delimiter, label_column)
    default = recording or (None if table.has("recording") else named)
    headers = {normalise_header(cell): cell for cell in table.header}
    found = {name: [headers[one] for one in known if one in headers] for name, known in (extra or {}).items()}
    events = events_from_table(
        table,
        label=label,
        recording=default,
        extra={name: known[0] for name, known in found.items() if known},
        strict=strict,
    )
    undecided = headers.get(normalise_header(UNDECIDED))
    events.attrs["incomplete"] = undecided is not None and (
        not table.rows or any(cells[table.find(undecided)] not in ("", "0") for _, cells in table.rows)
    )
    if not table.rows and (recording or is_named_after) and not events.attrs["incomplete"]:
        events.attrs["without_events"] = [recording or named]
    return events


def read_tables(
    paths: str | Path | Iterable[str | Path],
    label_column: str | None = None,
    *,
    label: str | None = None,
    strict: bool = False,
    extra: Mapping[str, Collection[str]] | None = None,
    read: Callable[..., pd.DataFrame] = read_events,
) -> pd.DataFrame:
    """Reads one or more tables as one events table, with the attributes of `read_raven`. Folders are searched.

    The column `table` is the number of the table of each event. The attribute `incomplete` lists the tables of a review
    that lack undecided events. `extra` is as in `read_events`; a column that no table has is left out. `read` reads one
    table and has the parameters of `read_events`.

    A file in a folder that is not a table of events is reported in `problems`. Raises LoxoError if a path does not
    exist, a folder contains no table, or a file given by name is not a table. An invalid row raises it with `strict`.
    """
    import pandas as pd

    tables: list[pd.DataFrame] = []
    without: dict[str, None] = {}
    problems: list[str] = []
    incomplete: list[str] = []
    count = 0
    for path, by_name in _list_tables([paths] if isinstance(paths, str | Path) else paths):
        try:
            events = read(path, label_column, label=label, strict=strict, extra=extra)
        except LoxoError as error:
            if by_name or strict:
                raise
            problems.append(str(error))
            continue
        without |= dict.fromkeys(events.attrs["without_events"])
        problems += events.attrs["problems"]
        count += events.attrs["rows"]
        incomplete += [str(path)] if events.attrs["incomplete"] else []
        events.attrs = {}
        tables.append(events.assign(table=len(tables)))
    if not tables:
        given = paths if isinstance(paths, str | Path) else ", ".join(map(str, paths))
        raise LoxoError(f"{given}: there is no readable table of events. {' '.join(problems[:1])}".rstrip())
    filled = [table for table in tables if len(table)]
    if not filled:
        merged = tables[0]
    elif len(filled) == 1:
        merged = filled[0]
    else:
        if any("marginal" in table for table in filled):
            filled = [table if "marginal" in table else table.assign(marginal=False) for table in filled]
        times = [time for table in filled for time in table["start_time"]]
        merged = pd.concat([table.drop(columns="start_time") for table in filled], ignore_index=True)
        merged.insert(len(COLUMNS) - 1, "start_time", wall_clock(times))
        merged = sort_events(merged)
    merged.attrs = {"without_events": list(without), "problems": problems, "rows": count, "incomplete": incomplete}
    return merged


def _list_tables(paths: Iterable[str | Path]) -> Iterable[tuple[Path, bool]]:
    """Yields each file, and True if it was given by name."""
    for path in map(Path, paths):
        if not path.is_dir():
            yield path, True
            continue
        files = [file for file in walk_files(path) if file.suffix.lower() in SUFFIXES and file.name[0] != "."]
        if not files:
            raise LoxoError(
                f"{path}: the folder contains no table of events ({', '.join(SUFFIXES)}): give another folder."
            )
        yield from ((file, False) for file in files)


def _recording_from_name(path: Path) -> tuple[str, bool]:
    """Returns the recording in the name of a table, and True if the name has a table ending or a time."""
    name, is_table = path.name, False
    while match := re.search(f"({TABLE_ENDINGS.pattern})$", name, re.IGNORECASE):
        name, is_table = name[: match.start()], is_table or match["table"] is not None
    return name, is_table or parse_name(name).start is not None


def _audacity(path: Path, text: str, recording: str) -> ParsedTable:
    """Parses a label track. A line that starts with a backslash contains the frequencies of the previous label."""
    rows: list[tuple[int, list[str]]] = []
    for number, line in enumerate(text.split("\n"), 1):
        cells = [original_cell(cell.strip()) for cell in line.split("\t")]
        if cells[0] == "\\" and rows:
            rows[-1][1][4:6] = [*cells[1:3], "", ""][:2]
        elif line.strip():
            start, end, label, score = [*cells, "", "", ""][:4]
            if not score and (match := LABEL_WITH_SCORE.fullmatch(label)):
                label, score = match["label"], match["score"]
            rows.append((number, [start, end, label, score, "", "", recording]))
    columns = {name: [AUDACITY.index(name)] for name in AUDACITY[2:-1]}
    columns |= {"begin": [0], "end": [1], "recording": [6]}
    return ParsedTable(path, AUDACITY, rows, columns)
