"""Stretches around events, cut out of remote recordings without loss, and the tables that go with them."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import soundfile

from loxo.audio.decoders import Damaged
from loxo.audio.filenames import parse_name
from loxo.audio.recording import Recording, RecordingError, open_decoder, probe
from loxo.audio.remote import Info
from loxo.fetch.download import disk_full, on_disk, sha256_of
from loxo.files import atomic_path

if TYPE_CHECKING:
    import pandas as pd

    from loxo.fetch.wanted import Wanted

BLOCK_FRAMES = 1 << 20
WHOLE_NUMBERS = {"PCM_U8": "PCM_16", "PCM_S8": "PCM_16", "PCM_16": "PCM_16", "PCM_24": "PCM_24"}
KEPT = {"marginal": "marginals", "note": "notes"}  # columns that go into the new tables -> their headers


def stretches(events: list[tuple[float, float]], margin_s: float, duration_s: float) -> list[tuple[int, float]]:
    """Start (a whole second) and end of what is to be cut out, sorted, without overlaps. Times in seconds."""
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


def fetch_stretches(
    item: Wanted, known: Info, folder: Path, margin_s: float, taken: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Cuts out a recording's stretches; gives the entries of fetch.json by file name.

    Names are the site and the time at which a stretch begins, where the recording's name tells them; `taken` are names
    in use. Raises RecordingError when the recording cannot be read there, LoxoError for the disk.
    """
    recording = probe(item.url)
    entries: dict[str, dict[str, Any]] = {}
    used = {name for name, entry in taken.items() if entry["recording"] != item.name}
    with on_disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for start, end in stretches(item.events, margin_s, recording.duration_s):
        name = _name(recording, item.name, start, used)
        rate = recording.sample_rate
        frames = min(round(end * rate), recording.frames) - start * rate
        if frames <= 0:
            continue
        path = folder / name
        _cut(recording, start * rate, frames, path)
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
        told = f"{site}_{begin + timedelta(seconds=start):%Y%m%d_%H%M%S%z}{suffix}"
        if told not in used:
            return told
    return f"{Path(name).stem}_at_{start:06d}s{suffix}"


def _cut(recording: Recording, first: int, frames: int, path: Path) -> None:
    """The frames from `first` on as a file, sample for sample where the format holds whole numbers."""
    subtype = WHOLE_NUMBERS.get(recording.subtype, "PCM_16")
    if path.suffix == ".wav":
        subtype = recording.subtype
    dtype = {"PCM_16": "int16", "FLOAT": "float32", "DOUBLE": "float64"}.get(subtype, "int32")
    position = first
    try:
        with (
            atomic_path(path) as draft,
            open_decoder(recording, frames) as sound,
            soundfile.SoundFile(
                draft, "w", recording.sample_rate, recording.channels, subtype, format=path.suffix[1:].upper()
            ) as file,
        ):
            sound.seek(first)
            while position < first + frames:
                block = sound.read(min(BLOCK_FRAMES, first + frames - position), dtype)
                if not len(block):
                    raise Damaged("the recording ends before")
                position += len(block)
                file.write(block)
    except Damaged as error:
        raise RecordingError(
            f"{recording.path}: decoding stopped at {position / recording.sample_rate:.1f} s ({error})."
        ) from error
    except soundfile.LibsndfileError as error:  # while writing: a decoder's own are Damaged
        raise disk_full(path.parent) from error


def write_tables(
    paths: list[Path], read: list[pd.DataFrame], folder: Path, files: dict[str, dict[str, Any]]
) -> tuple[list[Path], list[str]]:
    """Each table with its events placed in the stretches; and a sentence for each table with events that have none."""
    from loxo.events.raven import write_raven

    by_recording: dict[str, list[tuple[float, float, str]]] = {}
    for name, entry in files.items():
        by_recording.setdefault(entry["recording"], []).append((entry["start_s"], entry["duration_s"], name))
    written, problems = [], []
    stems: dict[str, int] = {}
    for path, events in zip(paths, read, strict=True):
        lost = 0
        rows: list[dict[Any, Any]] = []
        for event in events.to_dict("records"):
            home = _home(by_recording.get(event["fetched"], []), event["start_s"])
            if home is None:
                lost += 1
                continue
            start, duration, name = home
            begin, end = event["start_s"] - start, min(event["end_s"] - start, duration)
            rows.append({**event, "recording": str((folder / name).absolute()), "start_s": begin, "end_s": end})
        if lost:
            problems.append(
                f"{path}: {lost} of {len(events)} events have no stretch: their recordings were not fetched, or end "
                "before them."
            )
        stems[path.stem] = stems.get(path.stem, 0) + 1
        number = f"-{stems[path.stem]}" if stems[path.stem] > 1 else ""
        target = folder / "tables" / f"{path.stem}{number}.txt"
        kept = {column: header for column, header in KEPT.items() if column in events.columns}
        table = events.iloc[:0] if not rows else _frame(rows, events)
        durations = {str((folder / name).absolute()): entry["duration_s"] for name, entry in sorted(files.items())}
        write_raven(table, target, durations=durations, extra=kept)
        written.append(target)
    return written, problems


def _home(stretches: list[tuple[float, float, str]], start_s: float) -> tuple[float, float, str] | None:
    return next((home for home in stretches if home[0] <= start_s < home[0] + home[1]), None)


def _frame(rows: list[dict[Any, Any]], like: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, columns=like.columns).astype(like.dtypes)
