"""The table of sites that a user has filled in on the page, as a CSV file for `--sites`."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

from loxo.events.sites import parse_sites
from loxo.files import write_atomically

COLUMNS = ("site", "folder", "recorder", "latitude", "longitude", "time_zone", "start", "end")


def site_table(home: Path, rows: Sequence[dict[str, str]], write: bool) -> Path:
    """The path of the table below the home folder of the app. Its name is a hash of its content. Raises LoxoError as
    loxo.events.sites does."""
    used = [name for name in COLUMNS if any(row.get(name, "").strip() for row in rows)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(used)
    for row in rows:
        if row.get("site", "").strip():
            writer.writerow([row.get(name, "").strip() for name in used])
    content = text.getvalue().encode()
    parse_sites(content, "the table of sites")
    path = home / "sites" / f"{hashlib.sha256(content).hexdigest()[:12]}.csv"
    if write:
        write_atomically(path, content)
    return path
