"""Clips around events, cut from remote recordings without loss, and tables with the events of the clips."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loxo.audio.cutting import cut
from loxo.audio.filenames import parse_name
from loxo.audio.recording import Recording, probe
from loxo.audio.remote import Info
from loxo.fetch.download import disk_errors
from loxo.files import inside, sha256_of

if TYPE_CHECKING:
    import pandas as pd

    from loxo.fetch.requested import RequestedRecording

EXTRA_COLUMNS = {"marginal": "marginals", "note": "notes"}  # further columns of the new tables -> their headers


def clip_spans(events: list[tuple[float, float]], margin_s: float, duration_s: float) -> list[tuple[int, float]]:
    """Returns start (a whole second) and end of each clip in seconds, sorted, without overlaps."""
    found: list[tuple[int, float]] = []
    for start, end in sorted(events):
        if start >= duration_s:
            continue
        first = max(math.floor(start - margin_s), 0)
        last = min(math.ceil(end + margin_s), duration_s)
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found


def fetch_clips(
    item: RequestedRecording, known: Info, folder: Path, margin_s: float, taken: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Writes the clips of a recording; returns their entries in fetch.json by file name.

    A clip's name is the site and the clip's start time, if the recording's name contains them. `taken` are names in
    use. Raises RecordingError if the recording cannot be read, and LoxoError if the disk cannot be written.
    """
    recording = probe(item.url)
    entries: dict[str, dict[str, Any]] = {}
    used = {name for name, entry in taken.items() if entry["recording"] != item.name}
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for start, end in clip_spans(item.events, margin_s, recording.duration_s):
        name = _name(recording, item.name, start, used)
        rate = recording.sample_rate
        frames = min(round(end * rate), recording.frames) - start * rate
        if frames <= 0:
            continue
        path = inside(folder, name)
        cut(recording, start * rate, frames, path)
        entries[name] = {
            "size": path.stat().st_size,
            "sha256": sha256_of(path),
            "start_s": start,
            "duration_s": frames / rate,
            "recording_s": recording.duration_s,
        }
    return entries


def _name(recording: Recording, name: str, start: int, used: set[str]) -> str:
    suffix = ".wav" if recording.subtype in ("PCM_32", "FLOAT", "DOUBLE") else ".flac"
    site, begin = parse_name(name)[:2]
    if site and begin and not begin.microsecond:
        by_time = f"{site}_{begin + timedelta(seconds=start):%Y%m%d_%H%M%S%z}{suffix}"
        if by_time not in used:
            return by_time
    return f"{Path(name).stem}_at_{start:06d}s{suffix}"


def write_tables(
    paths: list[Path], read: list[pd.DataFrame], folder: Path, files: dict[str, dict[str, Any]]
) -> tuple[list[Path], list[str]]:
    """Writes each table with its events placed in the clips; reports tables with events that have no clip."""
    from loxo.events.raven import write_raven

    clips: dict[str, list[tuple[float, float, str]]] = {}
    for name, entry in files.items():
        clips.setdefault(entry["recording"], []).append((entry["start_s"], entry["duration_s"], name))
    written, problems = [], []
    stems: dict[str, int] = {}
    for path, events in zip(paths, read, strict=True):
        unplaced = 0
        rows: list[dict[Any, Any]] = []
        for event in events.to_dict("records"):
            clip = _find_clip(clips.get(event["fetched"], []), event["start_s"])
            if clip is None:
                unplaced += 1
                continue
            start, duration, name = clip
            begin, end = event["start_s"] - start, min(event["end_s"] - start, duration)
            rows.append({**event, "recording": str((folder / name).absolute()), "start_s": begin, "end_s": end})
        if unplaced:
            problems.append(
                f"{path}: {unplaced} of {len(events)} events have no clip: their recordings were not fetched, or "
                "end before these events."
            )
        stems[path.stem] = stems.get(path.stem, 0) + 1
        number = f"-{stems[path.stem]}" if stems[path.stem] > 1 else ""
        target = inside(folder, f"tables/{path.stem}{number}.txt")
        kept = {column: header for column, header in EXTRA_COLUMNS.items() if column in events.columns}
        table = events.iloc[:0] if not rows else _frame(rows, events)
        durations = {str((folder / name).absolute()): entry["duration_s"] for name, entry in sorted(files.items())}
        write_raven(table, target, durations=durations, extra=kept)
        written.append(target)
    return written, problems


def _find_clip(clips: list[tuple[float, float, str]], start_s: float) -> tuple[float, float, str] | None:
    return next((clip for clip in clips if clip[0] <= start_s < clip[0] + clip[1]), None)


def _frame(rows: list[dict[Any, Any]], like: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, columns=like.columns).astype(like.dtypes)
