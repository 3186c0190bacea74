"""The folders of this computer that the app may use, and what a folder contains before a survey starts.

The app lists and uses folders only below its places: the user's home folder, drives and memory cards, and folders that
were given with `--folder`. Everything else is refused, whoever asks (`Places.check`). A folder is searched as `loxo
detect` searches it. Headers of a sample of the recordings are read by a worker process, because a damaged file may
crash a decoder.
"""

from __future__ import annotations

import getpass
import os
import shutil
import string
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from loxo.audio.filenames import USUAL_NAMES
from loxo.audio.finding import SUFFIXES, find_recordings
from loxo.audio.storage import is_url
from loxo.errors import LoxoError
from loxo.files import escape
from loxo.languages import translated

MAX_LISTED = 2000  # folders in one answer
SAMPLE = 100  # recordings whose headers are read
MAX_PROBLEMS = 50
HEADER_PATIENCE_S = 30.0


class Place(NamedTuple):
    """A folder at which browsing starts. `kind` is home, drive or folder."""

    kind: str
    path: Path


class Places:
    """The places of the app. `given` are further folders."""

    def __init__(self, given: Iterable[Path] = ()) -> None:
        self.given = [Path(os.path.abspath(path)) for path in given]  # noqa: PTH100 (links are kept)

    def listed(self) -> list[Place]:
        """The places that exist now: a memory card may have come."""
        found = [Place("home", Path.home()), *(Place("drive", path) for path in drives())]
        found += [Place("folder", path) for path in self.given]
        return [place for place in found if place.path.is_dir()]

    def check(self, text: str | Path) -> Path:
        """The path, if it lies in a place, also behind its links. Raises LoxoError."""
        path = Path(os.path.normpath(text))
        refusal = LoxoError(
            f"{escape(str(text))}: the app does not use this folder. Choose one in your home folder or on a drive, or "
            "start it with --folder."
        )
        if "\0" in str(text) or not path.is_absolute():
            raise refusal
        roots = [place.path for place in self.listed()]
        # As text first: on Windows, a look at \\server\share would send the user's login there.
        if not any(path.is_relative_to(root) for root in roots):
            raise refusal
        real = Path(os.path.realpath(path))
        if not any(real.is_relative_to(os.path.realpath(root)) for root in roots):
            raise refusal
        return path

    def folders(self, path: Path) -> dict[str, Any]:
        """The folders in a folder, and the number of recordings directly in it."""
        path = self.check(path)
        names, recordings = [], 0
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    with suppress(OSError):
                        if entry.is_dir():
                            names.append(entry.name)
                        elif entry.name.lower().endswith(SUFFIXES):
                            recordings += 1
        except OSError as error:
            raise LoxoError(f"{escape(str(path))}: the folder cannot be read ({error.strerror or error}).") from error
        parent = path.parent
        try:
            self.check(parent)
        except LoxoError:
            parent = None  # type: ignore[assignment]
        names.sort(key=str.casefold)
        return {
            "path": str(path),
            "parent": None if parent is None or parent == path else str(parent),
            "folders": [{"name": escape(name), "path": str(path / name)} for name in names[:MAX_LISTED]],
            "left_out": max(len(names) - MAX_LISTED, 0),
            "recordings": recordings,
        }


def drives() -> list[Path]:
    """The drives and memory cards that are mounted now."""
    if sys.platform == "win32":
        return [Path(f"{letter}:\\") for letter in string.ascii_uppercase if os.path.exists(f"{letter}:\\")]  # noqa: PTH110
    if sys.platform == "darwin":
        return _mounted(Path("/Volumes"))
    user = ""
    with suppress(OSError, KeyError):
        user = getpass.getuser()
    return [*_mounted(Path("/media", user)), *_mounted(Path("/run/media", user)), *_mounted(Path("/mnt"))]


def _mounted(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_dir())
    except OSError:
        return []


def inspect(folder: Path, out: Path) -> dict[str, Any]:
    """What a folder contains: recordings, hours, sites and dates, and problems that can be seen before the start.

    `out` is where the run will be written. The hours are estimated from a sample when there are many recordings.
    """
    from loxo.runs.sites import find_origins

    found, problems = find_recordings([folder])
    sizes = [_size(path) for path in found]
    sentences = [sentence for _, sentence in problems]
    empty = [str(path) for path, size in zip(found, sizes, strict=True) if size == 0]
    sentences += [f"{path}: the file is empty." for path in empty]
    hours, faults = _hours(found, sizes)
    sentences += [fault for fault in faults if not any(fault.startswith(path) for path in empty)]
    names = [escape(str(path)) for path in found]
    origins = find_origins(names, USUAL_NAMES, None)
    starts = sorted(origin.start.replace(tzinfo=None) for origin in origins.by_recording.values() if origin.start)
    recordings = Counter(origin.site for origin in origins.by_recording.values())
    days = Counter(start.date().isoformat() for start in starts)
    return {
        "folder": str(folder),
        "recordings": len(found),
        "bytes": sum(sizes),
        "hours": hours,
        "is_estimate": len(found) > SAMPLE,
        "formats": dict(Counter(Path(path).suffix.lower().lstrip(".") for path in found)),
        "sites": [{"name": escape(name), "recordings": n} for name, n in sorted(recordings.items()) if name],
        "without_site": recordings.get("", 0),
        "without_start": len(found) - len(starts),
        "has_zone": any(origin.start and origin.start.tzinfo for origin in origins.by_recording.values()),
        "first": starts[0].isoformat() if starts else None,
        "last": starts[-1].isoformat() if starts else None,
        "days": len(days),
        "problems": [escape(translated(sentence)) for sentence in sentences[:MAX_PROBLEMS]],
        "more_problems": max(len(sentences) - MAX_PROBLEMS, 0),
        "notes": [escape(translated(note)) for note in origins.notes],
        "free_bytes": _free(out),
    }


def _hours(found: Sequence[Path | str], sizes: Sequence[int]) -> tuple[float, list[str]]:
    """Hours of sound, and the faults of headers, from a sample that is spread over the recordings."""
    from loxo.survey.processes import Job, Jobs, Processes

    step = max(len(found) / SAMPLE, 1)
    chosen = [int(k * step) for k in range(min(len(found), SAMPLE))]
    chosen = [index for index in chosen if sizes[index]]
    seconds, known, faults = 0.0, 0, []
    if chosen:
        jobs = Jobs([Job(index, str(found[index])) for index in chosen])
        with Processes("loxo.survey.tasks:Durations", (), patience_s=HEADER_PATIENCE_S) as pool:
            for job, result in pool.run(jobs):
                if isinstance(result, float):
                    seconds += result
                    known += sizes[job.index]
                else:
                    faults.append(result if isinstance(result, str) else f"{job.path}: the file cannot be read.")
    whole = sum(sizes)
    return (seconds * whole / known / 3600 if known else 0.0), sorted(faults)


def _size(path: Path | str) -> int:
    if is_url(path):
        return 0
    with suppress(OSError):
        return Path(path).stat().st_size
    return 0


def _free(folder: Path) -> int | None:
    """Free bytes on the disk of a folder that may not exist yet."""
    for place in (folder, *folder.parents):
        with suppress(OSError):
            return shutil.disk_usage(place).free
    return None
