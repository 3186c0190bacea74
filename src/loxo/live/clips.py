"""Clips of events, for a station that keeps no whole recordings (`loxo listen --keep events`).

    RUN/clips/clearing_20240501_110312.250+0100_gunshot_0123456789abcdef.wav

A clip has the sound of one event and MARGIN_S before and after it. Its name contains the site, the time at which the
clip begins, the label, and the name of the event, as the decisions of a review contain it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from loxo.audio.cutting import cut
from loxo.audio.filenames import Names, base_name
from loxo.audio.recording import probe
from loxo.files import inside
from loxo.live.recorder import recording_name

FOLDER = "clips"  # in the run folder
MARGIN_S = 5.0


def write_clips(
    recording: Path, site: str, events: Sequence[Mapping[str, Any]], names: Sequence[str], folder: Path
) -> None:
    """Writes a clip of each event of a recording, by its name. Raises LoxoError if it cannot be read or written."""
    begin = Names().parse(recording.name).start
    if not events or begin is None:
        return
    folder.mkdir(exist_ok=True)
    source = probe(recording)
    for event, name in zip(events, names, strict=True):
        first = max(round((event["start_s"] - MARGIN_S) * source.sample_rate), 0)
        end = min(round((event["end_s"] + MARGIN_S) * source.sample_rate), source.frames)
        start = begin.timestamp() + first / source.sample_rate
        cut(source, first, end - first, folder / clip_name(site, start, event["label"], name))


def clip_name(site: str, start: float, label: str, event: str) -> str:
    readable = re.sub(r"[^\w-]+", "-", label).strip("-") or "event"
    return f"{recording_name(site, start).removesuffix('.wav')}_{readable}_{event}.wav"


def event_of(clip: Path) -> str:
    """The name of the event of a clip."""
    return clip.stem.rpartition("_")[2]


def clips_of(recording: str, events: Collection[str], run: Path) -> list[tuple[float, Path]]:
    """The clips in a run folder of these events of a recording, with the seconds from its start. Clips whose names have
    no time are left out. Raises LoxoError when the folder leads elsewhere."""
    begin = Names().parse(base_name(recording)).start
    found = []
    for path in sorted(inside(run, FOLDER).glob("*.wav")):
        start = Names().parse(path.name).start
        if event_of(path) in events and begin is not None and start is not None:
            clip = inside(run, f"{FOLDER}/{path.name}")
            found.append((max(start.timestamp() - begin.timestamp(), 0.0), clip))
    return found


def rename_clips(folder: Path, site: str, names: Mapping[str, str], shift_s: float) -> None:
    """The recording of these events, by their names before and after, began `shift_s` later than its name stated."""
    for clip in list(folder.glob("*.wav")) if names else ():
        before, start = event_of(clip), Names().parse(clip.name).start
        if before in names and start is not None:
            label = clip.stem.split("_")[-2]
            clip.rename(folder / clip_name(site, start.timestamp() + shift_s, label, names[before]))
