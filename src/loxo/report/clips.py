"""A clip of each listed event, to listen to and to show: for trainings, for a court.

The folder has a folder for each label. For an event there are three files with one name, which begins with the score:

    SCORE_RECORDING_at_OFFSETs.wav      the event and CONTEXT_S around it, with the samples of the recording
    SCORE_RECORDING_at_OFFSETs.x8.wav   the same eight times faster, so that a rumble is audible
    SCORE_RECORDING_at_OFFSETs.png      its spectrogram with the listed events

`clips.csv` has the columns of events.csv, the clip's name, its first second in the recording (`clip_start_s`), and the
SHA-256 of the WAV file.

A clip that exists is kept, so that an interrupted report continues. Failure policy: a recording that is missing or
cannot be read is named once, and its events have no clip.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loxo.audio.cutting import cut
from loxo.audio.filenames import base_name
from loxo.audio.playback import sound
from loxo.audio.recording import Recording, RecordingError, probe, read
from loxo.errors import LoxoError
from loxo.events.table import CHANNEL, COLUMNS
from loxo.files import inside, portable_name, sha256_of, write_atomically
from loxo.report.plots import RUMBLE_BAND_HZ, draw_detections
from loxo.report.tables import write_csv
from loxo.runs.read import Places

if TYPE_CHECKING:
    import pandas as pd

CONTEXT_S = 5.0  # before and after an event
SPEED = 8
LOW_RATE, FULL_RATE = 1000, 8000  # highest sample rates of the spectrograms in Hz, by band


def write_clips(
    folder: Path, events: pd.DataFrame, places: Places, on_progress: Callable[[int, int], None] | None = None
) -> list[str]:
    """Writes the clips of an events table into `folder`. Returns a sentence for each recording without clips.

    on_progress receives (events done, all events). Raises LoxoError when the folder cannot be written.
    """
    faults: dict[str, str] = {}
    rows: list[dict[Any, Any]] = []
    taken: set[str] = set()  # clips of recordings with one name in several folders may have one name
    done = 0
    for name, of_recording in events.groupby("recording", sort=False):
        recording = _open(str(name), places, faults)
        for event in of_recording.to_dict("records"):
            clip = _name(event, taken)
            if recording is not None and str(name) not in faults:
                try:
                    rows.append(_clip(folder, clip, event, of_recording, recording))
                except RecordingError as error:
                    faults[str(name)] = str(error)
            done += 1
            if on_progress is not None:
                on_progress(done, len(events))
    _write_list(folder, rows)
    return [f"{sentence} Its events have no clips." for sentence in faults.values()]


def _open(name: str, places: Places, faults: dict[str, str]) -> Recording | None:
    try:
        return probe(places.locate(name))
    except LoxoError as error:
        faults[name] = str(error)
        return None


def _name(event: dict[Any, Any], taken: set[str]) -> str:
    """The name of an event's clip, which is added to the names in use. The same events have the same names again."""
    stem = Path(base_name(event["recording"])).stem
    first = name = portable_name(f"{event['label']}/{event['score']:.3f}_{stem}_at_{event['start_s']:09.2f}s")
    number = 1
    while name in taken:
        number += 1
        name = f"{first}-{number}"
    taken.add(name)
    return name


def _clip(folder: Path, name: str, event: dict[Any, Any], events: pd.DataFrame, recording: Recording) -> dict[Any, Any]:
    """Writes the three files of an event, unless they exist. Returns its row of clips.csv."""
    wav, fast, picture = (inside(folder, name + suffix) for suffix in (".wav", f".x{SPEED}.wav", ".png"))
    rate = recording.sample_rate
    first = max(int((event["start_s"] - CONTEXT_S) * rate), 0)
    frames = min(int((event["end_s"] + CONTEXT_S) * rate), recording.frames) - first
    start, end = first / rate, (first + frames) / rate
    if not picture.is_file():  # it is written last
        picture.parent.mkdir(parents=True, exist_ok=True)
        channel = int(event[CHANNEL]) - 1 if CHANNEL in event else None
        cut(recording, first, frames, wav)
        write_atomically(fast, sound(recording, start, end, speed=SPEED, channel=channel))
        low = event["high_hz"] <= RUMBLE_BAND_HZ
        shown_rate = min(LOW_RATE if low else FULL_RATE, rate)
        draw_detections(
            read(recording, shown_rate, start, end - start, channel),
            shown_rate,
            events[(events["start_s"] < end) & (events["end_s"] > start)],
            None,
            (),
            1.0,
            picture,
            title=f"{event['label']} {event['score']:.2f}   {base_name(event['recording'])}   {_clock(event)}",
            bands=("low" if low else "full",),
            start_s=start,
        )
    return {**event, "clip": f"{name}.wav", "clip_start_s": start, "sha256": sha256_of(wav)}


def _clock(event: dict[Any, Any]) -> str:
    """Date and wall clock time of an event; "" if they are unknown."""
    time = event["start_time"]
    return "" if time is None or time != time else f"{time:%Y-%m-%d %H:%M:%S}"


def _write_list(folder: Path, rows: list[dict[Any, Any]]) -> None:
    import pandas as pd

    columns = [*COLUMNS, CHANNEL, "clip", "clip_start_s", "sha256"]
    table = pd.DataFrame(rows, columns=[name for name in columns if name != CHANNEL or (rows and CHANNEL in rows[0])])
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "clips.csv", table)
