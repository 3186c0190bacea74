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
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loxo.audio.filenames import parse_name
from loxo.errors import LoxoError
from loxo.events.cells import ParsedTable, detect_delimiter, first_line, original_cell, parse_table, read_text
from loxo.events.numbers import to_number
from loxo.events.rows import events_from_table
from loxo.events.table import events_frame
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
) -> pd.DataFrame:
    """Reads one table in any known format as an events table.

    `label_column`, `label`, `recording`, `strict` and the attributes `without_events`, `problems` and `rows` are those
    of `read_raven`. Raises LoxoError if the file is not a table of events or, if `strict`, for an invalid row.
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
    events = events_from_table(table, label=label, recording=default, strict=strict)
    if not table.rows and (recording or is_named_after):
        events.attrs["without_events"] = [recording or named]
    return events


def read_tables(
    paths: str | Path | Iterable[str | Path],
    label_column: str | None = None,
    *,
    label: str | None = None,
    strict: bool = False,
) -> pd.DataFrame:
    """Reads one or more tables as one events table, with the attributes of `read_raven`. Folders are searched.

    A file in a folder that is not a table of events is reported in `problems`. Raises LoxoError if a path does not
    exist, a folder contains no table, or a file given by name is not a table. An invalid row raises it with `strict`.
    """
    rows: list[dict[Any, Any]] = []
    without: dict[str, None] = {}
    problems: list[str] = []
    count = 0
    for path, by_name in _list_tables([paths] if isinstance(paths, str | Path) else paths):
        try:
            events = read_events(path, label_column, label=label, strict=strict)
        except LoxoError as error:
            if by_name or strict:
                raise
            problems.append(str(error))
            continue
        rows += events.to_dict("records")
        without |= dict.fromkeys(events.attrs["without_events"])
        problems += events.attrs["problems"]
        count += events.attrs["rows"]
    marked = any("marginal" in row for row in rows)
    merged = events_frame({**row, "marginal": row.get("marginal", False)} if marked else row for row in rows)
    merged.attrs |= {"without_events": list(without), "problems": problems, "rows": count}
    return merged


def _list_tables(paths: Iterable[str | Path]) -> Iterable[tuple[Path, bool]]:
    """Yields each file, and True if it was given by name."""
    for path in map(Path, paths):
        if not path.is_dir():
            yield path, True
            continue
        files = [file for file in walk_files(path) if file.suffix.lower() in SUFFIXES]
        if not files:
            raise LoxoError(f"{path}: the folder contains no table of events ({', '.join(SUFFIXES)}).")
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
