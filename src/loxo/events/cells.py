"""The cells of a table file and the meaning of its columns, for any encoding, separator, order and spelling.

Encodings are UTF-8 and UTF-16 with or without a byte order mark, else Windows-1252, else Latin-1. All line ends are
accepted. Headers are compared without case, unit, spaces and punctuation: `Begin Time (s)`, `begin_time` and
`BeginTime` are the same.
Several columns can have the same meaning, such as duplicates, or `Begin Path` and `Begin File`. Then the first cell of
a row that is not blank is used.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

from loxo.errors import LoxoError

# Known headers of each field, in order of preference, as normalise_header returns them.
COLUMN_NAMES = {
    "selection": ("selection",),
    "view": ("view",),
    "channel": ("channel",),
    "begin": ("begintime", "start", "begin", "onset", "starttime"),
    "end": ("endtime", "end", "stop", "stoptime"),
    "duration": ("deltatime", "duration", "length"),
    "offset": ("fileoffset", "beginfileoffset", "offset"),
    "recording": (
        *("beginpath", "beginfile", "recording", "filename", "file", "filepath", "path"),
        *("soundfile", "soundfiles", "audiofile", "audiopath", "infile", "wavfile", "wav"),
    ),
    "folder": ("folder",),
    "low": ("lowfreq", "lowfrequency", "low", "lowf", "minfreq", "minfrequency", "freqlow", "freqmin", "fmin"),
    "high": ("highfreq", "highfrequency", "high", "highf", "maxfreq", "maxfrequency", "freqhigh", "freqmax", "fmax"),
    "label": (
        *("commonname", "label", "eventlabel", "manualid", "species", "annotation", "calltype", "class"),
        *("top1match", "scientificname", "speciescode"),
    ),
    "score": ("confidence", "score", "probability"),
    "site": ("site",),
    "marginal": ("marginal", "marginals"),
    "notes": ("notes", "note", "comments", "comment", "tag1", "tag2", "tag3", "tags"),
}
# Spreadsheets remove quotes, and some of them spaces. The last four letters are full-width =, +, - and @.
_FORMULA = re.compile("[\\s'\"]*[=+\\-@\\t\\r\\n\uff1d\uff0b\uff0d\uff20].", re.DOTALL)
UNITS = ("s", "sec", "secs", "second", "seconds", "hz")


@dataclass(frozen=True)
class ParsedTable:
    """The rows of a table, with their line numbers, and the columns of each field in COLUMN_NAMES."""

    path: Path
    header: list[str]
    rows: list[tuple[int, list[str]]]  # each has at least as many cells as the header
    columns: dict[str, list[int]]

    def text(self, row: list[str], field: str) -> str:
        """Returns the first cell of this field that is not blank, else ""."""
        return next((row[column] for column in self.columns.get(field, ()) if row[column]), "")

    def texts(self, row: list[str], field: str) -> list[str]:
        """Returns all cells of this field that are not blank."""
        return [row[column] for column in self.columns.get(field, ()) if row[column]]

    def find(self, header: str) -> int:
        """Returns the index of the column with this header. Raises LoxoError if it does not exist."""
        names = [normalise_header(cell) for cell in self.header]
        if not normalise_header(header) or normalise_header(header) not in names:
            raise LoxoError(
                f"{self.path}: there is no column {header!r}. Use one of {', '.join(filter(None, self.header))}."
            )
        return names.index(normalise_header(header))

    def has(self, field: str) -> bool:
        """Returns True if any row has a value in this field."""
        return any(self.text(row, field) for _, row in self.rows)


def read_text(path: Path) -> str:
    """Reads a text file; line ends become "\\n". Raises LoxoError if it cannot be opened."""
    try:
        text = decode(path.read_bytes())
    except OSError as error:
        raise LoxoError(f"{path}: the table cannot be opened ({error.strerror}). Check the path.") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def decode(data: bytes) -> str:
    """Decodes UTF-8 or UTF-16, with or without a byte order mark, else Windows-1252 or Latin-1."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    for zero, encoding in (
        (1, "utf-16-le"),
        (0, "utf-16-be"),
    ):  # no byte order mark: a table starts with a Latin letter
        if data[zero : zero + 1] == b"\0":
            return data.decode(encoding, errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def first_line(text: str) -> str:
    """Returns the first line that is not blank, else ""."""
    return next((line for line in text.split("\n") if line.strip()), "")


def detect_delimiter(line: str) -> str:
    """Returns the delimiter of a header: TAB if it occurs, else the more frequent of semicolon and comma."""
    return "\t" if "\t" in line else max(",;", key=line.count)


def parse_table(path: Path, text: str, delimiter: str, label_column: str | None = None) -> ParsedTable:
    """Parses a table with a header. Raises LoxoError if it is not a table of events."""
    lines = split_rows(path, text, delimiter)
    if not lines:
        raise LoxoError(f"{path}: the table is empty. A table of events needs at least a header.")
    header = lines[0][1]
    columns: dict[str, list[int]] = {}
    names = [normalise_header(cell) for cell in header]
    for field, known in COLUMN_NAMES.items():
        found = [column for name in known for column, plain_name in enumerate(names) if plain_name == name]
        if found:
            columns[field] = found
    if "onset" in names and "offset" in names:  # then the offset is the end of the event, not its position in the file
        bare = names.index("offset")
        columns["end"] = [*columns.get("end", []), bare]
        columns["offset"] = [column for column in columns["offset"] if column != bare]
    if "start" in names and "starttime" in names:  # Loxo's events.csv: start is in seconds, start_time the wall clock
        columns["clock"] = [names.index("starttime")]
        columns["begin"] = [column for column in columns["begin"] if names[column] != "starttime"]
    rows = [(number, [*cells, *[""] * (len(header) - len(cells))]) for number, cells in lines[1:]]
    table = ParsedTable(path, header, rows, columns)
    if label_column is not None:
        columns["label"] = [table.find(label_column)]
    if not columns.get("offset") and "begin" not in columns:
        raise LoxoError(
            f"{path}: this is not a table of events: it needs a column 'File Offset (s)' or 'Begin Time (s)', but has "
            f"{', '.join(filter(None, header))}."
        )
    return table


def split_rows(path: Path, text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """Returns the cells of each line that is not blank, with its number. Raises LoxoError for an invalid CSV line."""
    return _split_tabs(text) if delimiter == "\t" else _split_csv(path, text, delimiter)


def _split_tabs(text: str) -> list[tuple[int, list[str]]]:
    return [
        (number, [original_cell(_unquote(cell)) for cell in line.split("\t")])
        for number, line in enumerate(text.split("\n"), 1)
        if line.strip()
    ]


def _split_csv(path: Path, text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows = ([cell.strip() for cell in row] for row in reader)
    try:
        lines = [(reader.line_num, list(map(original_cell, row))) for row in rows if any(row)]
    except csv.Error as error:
        raise LoxoError(
            f"{path}, line {reader.line_num}: this is not a line of a table ({error}). Correct it."
        ) from error
    return (
        lines[1:] if lines and lines[0][1][0].casefold().startswith("sep=") else lines
    )  # Excel's line that names the separator


def _unquote(cell: str) -> str:
    """Removes the quotes that Excel writes around a cell. A single quote is kept: annotators write it for inches."""
    cell = cell.strip()
    if len(cell) >= 2 and cell[0] == cell[-1] == '"':
        return cell[1:-1].replace('""', '"').strip()
    return cell


def safe_cell(text: str) -> str:
    """The text of a cell that no spreadsheet reads as a formula: an apostrophe is put before =, +, -, @, TAB and CR.

    Numbers are unchanged. `original_cell` removes the apostrophe: every reader of tables applies it.
    """
    if not _FORMULA.match(text):
        return text
    try:
        float(text)
        return text
    except ValueError:
        return "'" + text


def original_cell(text: str) -> str:
    """The text that safe_cell was given."""
    return text[1:] if text[:1] == "'" and _FORMULA.match(text[1:]) else text


def normalise_header(header: str) -> str:
    """Returns a header without case, unit, spaces and punctuation."""
    words = re.findall(r"[^\W_]+", header.casefold())
    while len(words) > 1 and words[-1] in UNITS:
        words.pop()
    return "".join(words)
