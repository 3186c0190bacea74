"""The table of sites that a user has filled in on the page, as a CSV file for `--sites`."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

from loxo.events.sites import SiteTable, parse_sites
from loxo.files import write_atomically

COLUMNS = ("site", "folder", "recorder", "latitude", "longitude", "time_zone", "start", "end")


def site_table(home: Path, rows: Sequence[dict[str, str]], write: bool) -> Path:
    """The path of the table below the home folder of the app. Its name is a hash of its content. Raises LoxoError as
    loxo.events.sites does."""
    content = _content(rows)
    parse_sites(content, "the table of sites")
    path = home / "sites" / f"{hashlib.sha256(content).hexdigest()[:12]}.csv"
    if write:
        write_atomically(path, content)
    return path


def site_map(table: SiteTable) -> str:
    """A map of the sites with coordinates as SVG; "" if there are none. Names have room beside their places."""
    places = [site for site in table.sites.values() if site.coordinates is not None]
    if not places:
        return ""
    from loxo.report.figures import render
    from loxo.report.sites import draw_places

    return render(lambda: draw_places(places), "svg", "sites").decode()


def given_sites(rows: Sequence[dict[str, str]]) -> SiteTable:
    """The rows of the form as a table of sites. Raises LoxoError as loxo.events.sites does."""
    return parse_sites(_content(rows), "the table of sites")


def _content(rows: Sequence[dict[str, str]]) -> bytes:
    used = [name for name in COLUMNS if any(row.get(name, "").strip() for row in rows)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(used)
    for row in rows:
        if row.get("site", "").strip():
            writer.writerow([row.get(name, "").strip() for name in used])
    return text.getvalue().encode()
