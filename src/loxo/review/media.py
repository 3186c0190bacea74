"""Media of events for the page: spectrograms with frame scores, thumbnails, sound.

A recording is identified by its number in the run, or by the row of an event: the page sends no paths of recordings.
Where a station has kept only clips of events (loxo.live.clips), a picture shows these, and the rest of it is silent.
Recent results are cached, because a reviewer goes back and forth. A picture is sent as one message: the length of a
JSON header (4 bytes, little-endian), the header, then the levels row by row and the frame scores class by class, one
byte each.
"""

from __future__ import annotations

import json
import struct
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loxo.audio.channels import channel_prefix
from loxo.audio.playback import Pieces, sound
from loxo.audio.recording import Recording, probe
from loxo.audio.storage import is_url
from loxo.engine.config import OVERLAP_SUFFIX
from loxo.errors import LoxoError
from loxo.live.clips import clips_of
from loxo.review.session import Session
from loxo.review.spectrogram import BANDS, LEVEL_DB, SAMPLE_S, overview, picture, thumbnail
from loxo.runs.scores import KeptScores, find_scores

COLUMNS = 1500  # of a picture
MIN_HOP_S, MAX_HOP_S = 0.01, 0.08  # seconds per computed column; of a longer picture, columns are the max of several
MAX_DENSE_S, SPARSE_COLUMNS = 700.0, 750  # of longer pictures only samples are read (spectrogram.overview)
MARKS = 1000  # parts of the overview of a recording
MAX_SOUND_S = 300.0  # max length of a sound in recording time
THUMB_S, THUMB_COLUMNS, THUMB_ROWS = 20.0, 200, 90
PICTURES, THUMBS, SOUNDS, RECORDINGS, SCORES = 48, 1000, 8, 64, 8  # cache sizes


class Media:
    """Pictures and sounds of a session's events. Its methods raise LoxoError when a recording cannot be read."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._pictures, self._thumbs, self._sounds = _Cache(PICTURES), _Cache(THUMBS), _Cache(SOUNDS)
        self._recordings, self._scores = _Cache(RECORDINGS), _Cache(SCORES)

    def picture(self, source: int, band: str, start: float, end: float, channel: int | None) -> bytes:
        """The spectrogram and frame scores of a recording between two times. `channel` counts from 1; it is used only
        where the run searched single channels."""
        self.session.check_source(source)
        channel = channel if self.session.has_channels else None
        return self._pictures.get(
            (source, band, start, end, channel), lambda: self._picture(source, band, start, end, channel)
        )

    def overview(self, source: int, channel: int | None) -> dict[str, Any]:
        """The events, searched stretches and frame scores of a whole recording, in MARKS parts: the max in each."""
        found = self.session.recordings.marks(source, MARKS)
        try:
            kept = self._kept_scores(self.session.sources[source])
        except LoxoError:  # the picture names the fault
            kept = None
        found["scores"] = None
        if kept is not None:
            classes, _ = _classes(kept, channel if self.session.has_channels else None)
            found["scores"] = _reduced(kept.scores[classes].max(axis=0, keepdims=True), MARKS)[0].tolist()
        return found

    def thumb(self, row: int, band: str) -> bytes:
        """A small spectrogram of THUMB_S around an event."""
        start, end = self.window(row, THUMB_S)
        return self._thumbs.get((row, band, start), lambda: self._thumb(row, band, start, end))

    def sound(self, source: int, start_s: float, end_s: float, speed: int, pitched: bool, channel: int | None) -> bytes:
        """A WAV of an excerpt of a recording; see loxo.audio.playback. `channel` as for `picture`."""
        start, end = max(start_s, 0.0), min(end_s, start_s + MAX_SOUND_S)
        recording = self._recording(self.session.sources[self.session.check_source(source)])
        if not start < min(end, recording.duration_s):
            raise LoxoError("There is no sound between these times. Choose times within the recording.")
        index = _index(channel) if self.session.has_channels else None
        key = (recording.path, start, end, speed, pitched, index)
        return self._sounds.get(key, lambda: sound(recording, start, end, speed=speed, pitched=pitched, channel=index))

    def _picture(self, source: int, band: str, start: float, end: float, channel: int | None) -> bytes:
        name = self.session.sources[source]
        recording = self._recording(name)
        start, end = max(start, 0.0), min(end, recording.duration_s)
        if not start < end:
            raise LoxoError("There is no sound between these times. Choose times within the recording.")
        if end - start > MAX_DENSE_S:
            shown = overview(recording, _band(band), start, end, SPARSE_COLUMNS, _index(channel))
            levels, hop_s, sampled = shown.levels, shown.hop_s, SAMPLE_S
        else:
            hop_s, sampled = min(max((end - start) / COLUMNS, MIN_HOP_S), MAX_HOP_S), None
            shown = picture(recording, _band(band), start, end, hop_s, _index(channel))
            levels = thumbnail(shown, COLUMNS, shown.levels.shape[0])
            hop_s = shown.hop_s * shown.levels.shape[1] / levels.shape[1]
        header: dict[str, Any] = {
            "start": shown.start_s,
            "hop": hop_s,
            "row_hz": shown.row_hz,
            "db": LEVEL_DB,
            "sampled": sampled,
            "channels": recording.channels if self.session.has_channels else None,
            "clips": recording.spans if isinstance(recording, Pieces) else None,
        }
        scores = np.zeros((0, 0), np.uint8)
        kept = None
        try:
            kept = self._kept_scores(name)
        except LoxoError as error:  # the picture is shown without its scores
            header["problem"] = str(error)
        if kept is not None:
            first = max(int(start / kept.hop_s), 0)
            classes, labels = _classes(kept, channel)
            steps = kept.scores[classes, first : int(np.ceil(end / kept.hop_s))]
            scores = _reduced(steps, COLUMNS)
            hop_s = kept.hop_s * steps.shape[1] / max(scores.shape[1], 1)
            header["scores"] = {"labels": labels, "start": first * kept.hop_s, "hop": hop_s}
        return _message(header, levels, scores)

    def _thumb(self, row: int, band: str, start: float, end: float) -> bytes:
        # Coarse columns would miss short gunshots: each column is the max of finer ones.
        hop_s, channel = (end - start) / THUMB_COLUMNS / 2, _index(self.session.channel_of(row))
        recording = self._recording(self.session.recording_of(row))
        shown = picture(recording, _band(band), start, end, hop_s, channel)
        seconds = shown.hop_s * shown.levels.shape[1]
        levels = thumbnail(shown, THUMB_COLUMNS, THUMB_ROWS)
        top = shown.row_hz * shown.levels.shape[0]
        header = {
            "start": shown.start_s,
            "hop": seconds / levels.shape[1],
            "row_hz": top / levels.shape[0],
            "db": LEVEL_DB,
        }
        return _message(header, levels, np.zeros((0, 0), np.uint8))

    def window(self, row: int, seconds: float) -> tuple[float, float]:
        """Start and end of a small picture around the event as detected or drawn."""
        start, end = self.session.original_times(row)
        half = max(seconds / 2, (end - start) * 0.65)
        return (start + end) / 2 - half, (start + end) / 2 + half

    def _recording(self, name: str) -> Recording | Pieces:
        return self._recordings.get(name, lambda: self._open(name))

    def _open(self, name: str) -> Recording | Pieces:
        """The recording, or if it was not found its clips."""
        session = self.session
        if not is_url(name) and session.places.find(name) is None:
            events = set(session.names[slice(*session.span.get(name, (0, 0)))])
            clips = clips_of(name, events, session.run.folder)
            if clips:
                return Pieces(name, session.durations[name], tuple((start, probe(path)) for start, path in clips))
        return probe(session.places.locate(name))

    def _kept_scores(self, name: str) -> KeptScores | None:
        return self._scores.get(name, lambda: find_scores(self.session.run.folder, name))


def _index(channel: int | None) -> int | None:
    """The index of a channel from 0; None is the mean of all."""
    return None if channel is None else max(channel - 1, 0)


def _classes(kept: KeptScores, channel: int | None) -> tuple[list[int], list[str]]:
    """The rows of the frame scores of a channel that are classes, and their labels."""
    prefix = channel_prefix(kept.labels, _index(channel))
    rows = [k for k, label in enumerate(kept.labels) if label.startswith(prefix) and not label.endswith(OVERLAP_SUFFIX)]
    return rows, [kept.labels[k].removeprefix(prefix) for k in rows]


def _reduced(scores: NDArray[np.float32], columns: int) -> NDArray[np.uint8]:
    """(classes, at most `columns`): the max of the scores in equal parts, as bytes."""
    if scores.shape[1] > columns:
        scores = np.maximum.reduceat(scores, np.linspace(0, scores.shape[1], columns + 1).astype(int)[:-1], axis=1)
    return np.rint(np.clip(scores, 0, 1) * 255).astype(np.uint8)


def _band(name: str) -> Any:
    if name not in BANDS:
        raise LoxoError(f"There is no band {name!r}. Use one of {', '.join(BANDS)}.")
    return BANDS[name]


def _message(header: dict[str, Any], levels: np.ndarray, scores: np.ndarray) -> bytes:
    header["shape"] = levels.shape
    head = json.dumps(header | {"score_shape": scores.shape}).encode()
    return b"".join((struct.pack("<I", len(head)), head, levels.tobytes(), scores.tobytes()))


class _Cache:
    """Keeps the `size` most recently used values."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._values: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make()  # without the lock, so that several pictures are made at once; making one twice does no harm
        with self._lock:
            self._values[key] = value
            while len(self._values) > self.size:
                self._values.popitem(last=False)
        return value
