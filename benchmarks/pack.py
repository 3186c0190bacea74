"""The list of a pack of real recordings, manifest.csv, as the benchmarks read it."""

from __future__ import annotations

import csv
from pathlib import Path

Row = dict[str, str]


def part_rows(pack: Path, part: str) -> list[Row]:
    """The rows of the list, one for each event or file, that are of the part."""
    with (pack / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["part"] == part]


def is_background(row: Row) -> bool:
    """Whether it is of a recording without calls and shots, in which false positives are counted."""
    return row["file"].startswith("background/")


def background_hours(rows: list[Row]) -> float:
    """Those of the backgrounds among the rows."""
    return sum({row["file"]: float(row["duration_s"]) for row in rows if is_background(row)}.values()) / 3600
