"""Reads manifest.csv, the list of a pack of real recordings."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable
from pathlib import Path

Row = dict[str, str]
# Groups of the training part that are used as recordings, in addition to the simulated windows with all backgrounds:
# each is a clip of a few seconds of one project, with or without gunshots.
RECORDED_GROUPS = ("belize", "dagua", "qutaa", "rfcxwa", "tfk")
# Recordings of Belize whose automatic time is not at the gunshot, but at a click, a tone or another sound before it.
# They are those of the 530 in which a detector found the gunshot elsewhere, and whose spectrogram shows it there.
_MISTIMED = "3 119 141 196 198 214 242 245 268 310 334 348 366 376 403 406 407 449 454 493 496 516 558"
MISTIMED = frozenset(f"belize_gun_{int(number):03d}.flac" for number in _MISTIMED.split())
TABLE_COLUMNS = ("recording", "start_s", "end_s", "label")


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


def group(row: Row) -> str:
    """The first part of a file's name: the project or site that a recording comes from."""
    return Path(row["file"]).name.split("_")[0]


def is_timed(row: Row) -> bool:
    """Whether the times of a gunshot are those of the sound, not those of its whole recording."""
    return not row["confidence"].startswith("clip-level") and Path(row["file"]).name not in MISTIMED


def clip_fold(row: Row, folds: int = 5) -> int:
    """The fold of a recording, 1 to `folds`, by a hash of its name."""
    return int(hashlib.sha256(Path(row["file"]).name.encode()).hexdigest(), 16) % folds + 1


def training_settings(pack: Path, folder: Path, held_out: Callable[[Row], bool] = lambda row: False) -> list[str]:
    """Writes the training part of the pack to `folder`, without the rows held out. Returns settings of `loxo train`.

    manifest.csv lists all backgrounds, with absolute paths. annotations.csv lists the gunshots of RECORDED_GROUPS and
    their recordings without events; the folder `recordings` contains links to these. A gunshot without a time covers
    its whole recording, so that training uses it as a clip-level label.
    """
    rows = [row for row in part_rows(pack, "train") if not held_out(row)]
    recordings = folder / "recordings"
    recordings.mkdir(parents=True, exist_ok=True)
    events = []
    for row in rows:
        path = (pack / row["file"]).resolve()
        if group(row) not in RECORDED_GROUPS:
            continue
        if not (link := recordings / path.name).is_symlink():
            link.symlink_to(path)
        if is_background(row):
            events.append((path.name, "", "", "nocall"))
        else:
            span = (row["start_s"], row["end_s"]) if is_timed(row) else ("0", row["duration_s"])
            events.append((path.name, *span, row["label"]))
    with (folder / "annotations.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([TABLE_COLUMNS, *dict.fromkeys(events)])
    backgrounds = [row | {"file": str((pack / row["file"]).resolve())} for row in rows if is_background(row)]
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, backgrounds[0])
        writer.writeheader()
        writer.writerows(backgrounds)
    return [
        f"data.backgrounds={folder / 'manifest.csv'}",
        f"data.tables=[{folder / 'annotations.csv'}]",
        f"data.recordings=[{recordings}]",
        "data.simulated=0.7",
    ]
