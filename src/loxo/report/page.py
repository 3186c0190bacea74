"""The elements of a report's HTML page. The page is one file that contains its style and figures and loads nothing.

All text from outside (names of files and sites, messages) is escaped by `text`.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from loxo.files import escape

STYLE = """
:root { --ink: #23282c; --soft: #626b72; --line: #e3e6e8; --ground: #fbfbf9; --accent: #2f6d5e; }
* { box-sizing: border-box; }
html { font-size: 16px; -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 3rem 1.5rem 5rem; }
h1 { font-size: 1.9rem; line-height: 1.2; font-weight: 600; letter-spacing: -0.01em; margin: 0 0 .4rem;
  overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; font-weight: 600; margin: 3.2rem 0 .6rem; padding-top: 1.1rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1rem; font-weight: 600; margin: 1.8rem 0 .4rem; }
p { max-width: 46rem; margin: .5rem 0; }
p { overflow-wrap: anywhere; }
.lead { color: var(--soft); }
.note { color: var(--soft); font-size: .88rem; max-width: 50rem; }
.warn { border-left: 3px solid #c44e00; padding: .25rem 0 .25rem .9rem; margin: .8rem 0; max-width: 50rem; }
nav { font-size: .88rem; margin: 1.4rem 0 0; } nav a { color: var(--accent); margin-right: 1.1rem; }
a { color: var(--accent); }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: 1.2rem 1.6rem;
  margin: 1.8rem 0 0; padding: 0; }
.facts div { border-top: 2px solid var(--accent); padding-top: .5rem; }
.facts dt { color: var(--soft); font-size: .82rem; }
.facts dd { margin: 0; font-size: 1.55rem; font-weight: 600; letter-spacing: -0.01em;
  font-variant-numeric: tabular-nums; }
.facts small { display: block; font-size: .8rem; font-weight: 400; color: var(--soft); letter-spacing: 0; }
figure { margin: 1rem 0 1.4rem; } figure svg { width: 100%; height: auto; display: block; }
figure svg text {
  font-family: system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif !important; }
figcaption { color: var(--soft); font-size: .88rem; max-width: 50rem; margin-top: .3rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; margin: .8rem 0; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--soft); border-bottom: 1px solid #bfc6ca; vertical-align: bottom; }
th, td { padding: .3rem 1.3rem .3rem 0; } td { border-bottom: 1px solid var(--line); vertical-align: top; }
td.n, th.n { text-align: right; white-space: nowrap; } td.w { overflow-wrap: anywhere; min-width: 12rem; }
tr.total td { font-weight: 600; }
code { font: .85em/1.5 ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
td.d { white-space: nowrap; }
footer { margin-top: 4rem; color: var(--soft); font-size: .82rem;
  border-top: 1px solid var(--line); padding-top: 1rem; }
@media print {
  @page { margin: 16mm 14mm; }
  html { font-size: 11.5px; } body { background: #fff; } main { max-width: none; padding: 0; } nav { display: none; }
  figure, tr, .facts, .warn { break-inside: avoid; } h2, h3 { break-after: avoid; } .scroll { overflow: visible; }
}
"""


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
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        'img-src data:">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
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
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'


def figure(svg: str, caption: str = "") -> str:
    return f"<figure>{svg}{f'<figcaption>{text(caption)}</figcaption>' if caption else ''}</figure>"


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
    return f"{value:,.{min(places, 6)}f}"


def count(value: int, word: str) -> str:
    return f"{value:,} {word}{'' if value == 1 else 's'}"


def hours(value: float) -> str:
    if 0 < value < 1:
        return f"{60 * value:.1f} min"
    return f"{value:,.1f} h" if value < 100 else f"{value:,.0f} h"


def span(first: datetime, last: datetime) -> str:
    one, other = (f"{day.day} {day:%b %Y}" for day in (first, last))
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
    return f"{value:,.0f} ({low:,.0f}–{high:,.0f})"
