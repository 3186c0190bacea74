"""The cells of a table file, and which column is what: any encoding, separator, order and spelling of the headers.

Encodings: UTF-8 and UTF-16 with or without a mark, else Latin-1. Line ends: any. A column is known by its name without
case, unit, spaces and punctuation: `Begin Time (s)`, `begin_time` and `BeginTime` are one. Where several columns mean
the same (duplicates, blank ones, `Begin Path` beside `Begin File`), the first that has something in a row counts there.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

from loxo.errors import LoxoError

# What the columns of a table may be called, in order of trust; written as normalise_header() gives them.
NAMES = {
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
UNITS = ("s", "sec", "secs", "second", "seconds", "hz")


@dataclass(frozen=True)
class ParsedTable:
    """A file's rows, each with its line number, and for every field of NAMES the columns that hold it."""

    path: Path
    header: list[str]
    rows: list[tuple[int, list[str]]]  # each as long as the header, or longer where the file has it so
    columns: dict[str, list[int]]

    def text(self, row: list[str], field: str) -> str:
        """The first cell of that field that is not blank, else ""."""
        return next((row[column] for column in self.columns.get(field, ()) if row[column]), "")

    def texts(self, row: list[str], field: str) -> list[str]:
        """All cells of that field that are not blank."""
        return [row[column] for column in self.columns.get(field, ()) if row[column]]

    def find(self, header: str) -> int:
        """The column of that name; LoxoError when there is none."""
        names = [normalise_header(cell) for cell in self.header]
        if not normalise_header(header) or normalise_header(header) not in names:
            raise LoxoError(f"{self.path}: there is no column {header!r}, but {', '.join(filter(None, self.header))}.")
        return names.index(normalise_header(header))

    def has(self, field: str) -> bool:
        """Whether any row says something in that field."""
        return any(self.text(row, field) for _, row in self.rows)


def read_text(path: Path) -> str:
    """A text file with "\\n" as line end. Raises LoxoError when it cannot be opened."""
    try:
        text = decode(path.read_bytes())
    except OSError as error:
        raise LoxoError(f"{path}: the table cannot be opened ({error.strerror}).") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def decode(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    for zero, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):  # without a mark: a table begins with a Latin letter
        if data[zero : zero + 1] == b"\0":
            return data.decode(encoding, errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def first_line(text: str) -> str:
    """The first line with something in it, "" where there is none."""
    return next((line for line in text.split("\n") if line.strip()), "")


def detect_delimiter(line: str) -> str:
    """What parts the cells of a header: TAB where there is one, else the more frequent of semicolon and comma."""
    return "\t" if "\t" in line else max(",;", key=line.count)


def parse_table(path: Path, text: str, delimiter: str, label_column: str | None = None) -> ParsedTable:
    """The cells of a table with a header. Raises LoxoError when it is no table of events."""
    lines = _tabbed(text) if delimiter == "\t" else _comma_separated(path, text, delimiter)
    if not lines:
        raise LoxoError(f"{path}: the table is empty; a table of events has at least a header.")
    header = lines[0][1]
    columns: dict[str, list[int]] = {}
    names = [normalise_header(cell) for cell in header]
    for field, known in NAMES.items():
        found = [column for name in known for column, plain_name in enumerate(names) if plain_name == name]
        if found:
            columns[field] = found
    if "onset" in names and "offset" in names:  # then the offset is an event's end, not its place in the file
        bare = names.index("offset")
        columns["end"] = [*columns.get("end", []), bare]
        columns["offset"] = [column for column in columns["offset"] if column != bare]
    if "start" in names and "starttime" in names:  # our own events.csv: the one counts seconds, the other is the clock
        columns["clock"] = [names.index("starttime")]
        columns["begin"] = [column for column in columns["begin"] if names[column] != "starttime"]
    rows = [(number, [*cells, *[""] * (len(header) - len(cells))]) for number, cells in lines[1:]]
    table = ParsedTable(path, header, rows, columns)
    if label_column is not None:
        columns["label"] = [table.find(label_column)]
    if not columns.get("offset") and "begin" not in columns:
        raise LoxoError(
            f"{path}: this is no table of events: it has neither 'File Offset (s)' nor 'Begin Time (s)', but "
            f"{', '.join(filter(None, header))}."
        )
    return table


def _tabbed(text: str) -> list[tuple[int, list[str]]]:
    return [
        (number, [_unquote(cell) for cell in line.split("\t")])
        for number, line in enumerate(text.split("\n"), 1)
        if line.strip()
    ]


def _comma_separated(path: Path, text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise LoxoError(f"{path}, line {reader.line_num}: this is no line of a table ({error}).") from error
    return lines[1:] if lines and lines[0][1][0].casefold().startswith("sep=") else lines  # a word of Excel's


def _unquote(cell: str) -> str:
    """Excel puts cells with quotes or commas between quotes. A quote alone is left: annotators write inches."""
    cell = cell.strip()
    if len(cell) >= 2 and cell[0] == cell[-1] == '"':
        return cell[1:-1].replace('""', '"').strip()
    return cell


def normalise_header(header: str) -> str:
    """A header without case, unit, spaces and punctuation."""
    words = re.findall(r"[^\W_]+", header.casefold())
    while len(words) > 1 and words[-1] in UNITS:
        words.pop()
    return "".join(words)


def to_number(text: str) -> float | None:
    """A cell's number; None where it is none. 1,5 is one and a half; 48,860.4 has a separator of thousands."""
    if text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    elif "." in text:
        text = text.replace(",", "")
    try:
        return float(text)
    except ValueError:
        return None
