"""The elements of a report's HTML page. The page is one file that contains its style and figures and loads nothing.

All text from outside (names of files and sites, messages) is escaped by `text`.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from importlib.resources import files
from typing import Any

from loxo import languages
from loxo.files import escape

MAX_ROWS = 40  # max number of rows of a table on the page; the CSV files contain all rows


def colours() -> str:
    """The stylesheet with the colours and fonts of all pages."""
    return (files(__package__) / "colours.css").read_text(encoding="utf-8")


def _style() -> str:
    return colours() + (files(__package__) / "page.css").read_text(encoding="utf-8")


def text(value: object) -> str:
    """The value escaped for HTML, and characters that UTF-8 cannot hold as loxo.files.escape does."""
    return html.escape(escape(str(value)))


def page(title: str, lead: str, facts: str, sections: Sequence[tuple[str, str, str]], footer: str) -> str:
    """The whole page. Sections are (id, heading, HTML); lead, facts and footer are HTML."""
    links = "".join(f'<a href="#{name}">{text(heading)}</a>' for name, heading, _ in sections)
    body = "".join(
        f'<section id="{name}"><h2>{text(heading)}</h2>{content}</section>\n' for name, heading, content in sections
    )
    return (
        f'<!DOCTYPE html>\n<html lang="{languages.current()}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        'img-src data:; media-src data:">\n'
        f"<title>{text(title)}</title>\n<style>{_style()}</style>\n</head>\n<body>\n<main>\n"
        f'<header><h1>{text(title)}</h1><p class="lead">{lead}</p>{facts}<nav>{links}</nav></header>\n'
        f"{body}<footer>{footer}</footer>\n</main>\n</body>\n</html>\n"
    )


def fact_list(facts: Iterable[tuple[str, str, str]]) -> str:
    """The large numbers at the top of the page: (name, number, small text)."""
    cells = (
        f"<div><dt>{text(what)}</dt><dd>{text(number)}<small>{text(small)}</small></dd></div>"
        for what, number, small in facts
    )
    return f'<dl class="facts">{"".join(cells)}</dl>'


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], total: str | None = None) -> str:
    """A table. Columns whose name ends with "#" contain numbers, aligned to the right. Columns whose name ends with "*"
    contain long text that may be wrapped. Cells of other columns stay on one line.

    A row whose first cell is `total` is bold.
    """
    kinds = [
        ' class="n"' if name.endswith("#") else ' class="w"' if name.endswith("*") else ' class="d"' for name in columns
    ]
    head = "".join(f"<th{kind}>{text(name.rstrip('#*'))}</th>" for name, kind in zip(columns, kinds, strict=True))
    body = []
    for row in rows:
        cells = "".join(f"<td{kind}>{text(cell)}</td>" for cell, kind in zip(row, kinds, strict=True))
        bold = ' class="total"' if total is not None and row[0] == total else ""
        body.append(f"<tr{bold}>{cells}</tr>")
    rows_html = f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody>"
    return f'<div class="scroll" tabindex="0"><table>{rows_html}</table></div>'


def cut_table(
    columns: list[str], rows: list[Any], csv: str = "", whole: int | None = None, total: str | None = None
) -> str:
    """A table of the first MAX_ROWS rows, and a note about the file that contains the others."""
    whole = len(rows) if whole is None else whole
    made = table(columns, rows[:MAX_ROWS], total)
    if whole > MAX_ROWS:
        words = "{shown} of {n:,} rows. All rows are in the file .{csv}.csv next to this page."
        note = languages.text(words if csv else "{shown} of {n:,} rows.", shown=MAX_ROWS, n=whole, csv=csv)
        made += paragraph(note, "note")
    return made


def figure(svg: str, caption: str = "") -> str:
    """A chart, which is inverted in the dark theme."""
    words = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    return f'<figure class="chart" tabindex="0">{svg}{words}</figure>'


def details(title: str, content: str) -> str:
    """Content that opens with a click."""
    return f"<details><summary>{text(title)}</summary>{content}</details>"


def paragraph(sentence: str, kind: str = "") -> str:
    """A paragraph. Text between backquotes is set as code."""
    opening = f'<p class="{kind}">' if kind else "<p>"
    marked = re.sub(r"`([^`]*)`", r"<code>\1</code>", text(sentence))
    return f"{opening}{marked}</p>"


# -- numbers as text


def number(value: float, digits: int = 3) -> str:
    """The value with `digits` significant digits and thousands separators; a dash if it is not finite."""
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    places = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    return whole(value, min(places, 6))


def whole(value: float, places: int = 0) -> str:
    return languages.number(value, f",.{places}f")


def site(name: str) -> str:
    """A site in a table; a recording may have none, and a row may be of all sites."""
    return languages.translated(name or NO_SITE)


NO_SITE = languages.mark("no site in the name")


def offset(seconds: float) -> str:
    """A time from the start of a recording, as in "3 h 12 min 44 s", which nobody takes for a clock."""
    minutes, rest = divmod(int(seconds), 60)
    parts = [*divmod(minutes, 60), rest]
    return " ".join(f"{part} {unit}" for part, unit in zip(parts, ("h", "min", "s"), strict=True) if part) or "0 s"


def hours(value: float) -> str:
    if 0 < value < 1:
        return f"{whole(60 * value, 1)} min"
    return f"{whole(value, 1 if value < 100 else 0)} h"


def span(first: datetime, last: datetime) -> str:
    one, other = (languages.when(day, f"{day.day} %b %Y") for day in (first, last))
    if one == other:
        return one
    return f"{one.removesuffix(f' {last.year}')} – {other}"


def interval(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return "–"
    return f"{number(value)} ({number(low)}–{number(high)})"


def whole_interval(value: float, low: float, high: float) -> str:
    """A number of events with its limits."""
    if not math.isfinite(value):
        return "–"
    return f"{whole(value)} ({whole(low)}–{whole(high)})"
