"""Reads manifest.csv, the list of a pack of real recordings."""

from __future__ import annotations

import csv
from pathlib import Path

Row = dict[str, str]


def part_rows(pack: Path, part: str) -> list[Row]:
    """The rows of manifest.csv (one for each event or file) of this part."""
    with (pack / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["part"] == part]


def is_background(row: Row) -> bool:
    """Whether the row belongs to a recording without rumbles and gunshots, in which false positives are counted."""
    return row["file"].startswith("background/")


def background_hours(rows: list[Row]) -> float:
    """The total duration of the backgrounds in the rows, in hours."""
    return sum({row["file"]: float(row["duration_s"]) for row in rows if is_background(row)}.values()) / 3600
