"""Media of events for the page: spectrograms with frame scores, thumbnails, sound.

A recording is identified by the row of an event only: the page sends no paths. Recent results are cached, because a
reviewer goes back and forth. A picture is sent as one message: the length of a JSON header (4 bytes, little-endian),
the header, then the levels row by row and the frame scores class by class, one byte each.
"""

from __future__ import annotations

import json
import struct
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import numpy as np

from loxo.audio.channels import channel_prefix
from loxo.audio.recording import Recording, probe
from loxo.engine.config import OVERLAP_SUFFIX
from loxo.errors import LoxoError
from loxo.review.audio import sound
from loxo.review.session import Session
from loxo.review.spectrogram import BANDS, LEVEL_DB, picture, thumbnail
from loxo.runs.scores import KeptScores, find_scores

MAX_CONTEXT_S = 60.0  # max length of a picture, except of longer events
HOP_S = 0.04  # seconds per column
MAX_SOUND_S = 300.0  # max length of a sound in recording time
THUMB_S, THUMB_COLUMNS, THUMB_ROWS = 20.0, 200, 90
PICTURES, THUMBS, SOUNDS, RECORDINGS, SCORES = 48, 1000, 8, 64, 8  # cache sizes


class Media:
    """Pictures and sounds of a session's events. Its methods raise LoxoError when a recording cannot be read."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._pictures, self._thumbs, self._sounds = _Cache(PICTURES), _Cache(THUMBS), _Cache(SOUNDS)
        self._recordings, self._scores = _Cache(RECORDINGS), _Cache(SCORES)

    def picture(self, row: int, band: str) -> bytes:
        """The spectrogram and frame scores of MAX_CONTEXT_S around an event, or of the whole of a longer event."""
        start, end = self.window(row, MAX_CONTEXT_S)
        return self._pictures.get((row, band, start), lambda: self._picture(row, band, start, end))

    def thumb(self, row: int, band: str) -> bytes:
        """A small spectrogram of THUMB_S around an event."""
        start, end = self.window(row, THUMB_S)
        return self._thumbs.get((row, band, start), lambda: self._thumb(row, band, start, end))

    def sound(self, row: int, start_s: float, end_s: float, speed: int, pitched: bool) -> bytes:
        """A WAV of an excerpt of the event's recording; see loxo.review.audio."""
        start, end = max(start_s, 0.0), min(end_s, start_s + MAX_SOUND_S)
        recording = self._recording(row)
        if not start < min(end, recording.duration_s):
            raise LoxoError("There is no sound between these times. Choose times within the recording.")
        channel = self.session.channel_of(row)
        key = (recording.path, start, end, speed, pitched, channel)
        return self._sounds.get(
            key, lambda: sound(recording, start, end, speed=speed, pitched=pitched, channel=channel)
        )

    def _picture(self, row: int, band: str, start: float, end: float) -> bytes:
        channel = self.session.channel_of(row)
        shown = picture(self._recording(row), _band(band), start, end, HOP_S, channel)
        header: dict[str, Any] = {"start": shown.start_s, "hop": shown.hop_s, "row_hz": shown.row_hz, "db": LEVEL_DB}
        scores = np.zeros((0, 0), np.uint8)
        kept = None
        try:
            kept = self._kept_scores(row)
        except LoxoError as error:  # the picture is shown without its scores
            header["problem"] = str(error)
        if kept is not None:
            first = max(int(start / kept.hop_s), 0)
            prefix = channel_prefix(kept.labels, channel)
            classes = [
                k
                for k, label in enumerate(kept.labels)
                if label.startswith(prefix) and not label.endswith(OVERLAP_SUFFIX)
            ]
            steps = np.clip(kept.scores[classes, first : int(np.ceil(end / kept.hop_s))], 0, 1)
            scores = np.rint(steps * 255).astype(np.uint8)
            labels = [kept.labels[k].removeprefix(prefix) for k in classes]
            header["scores"] = {"labels": labels, "start": first * kept.hop_s, "hop": kept.hop_s}
        return _message(header, shown.levels, scores)

    def _thumb(self, row: int, band: str, start: float, end: float) -> bytes:
        # Coarse columns would miss short gunshots: each column is the max of finer ones.
        hop_s, channel = (end - start) / THUMB_COLUMNS / 2, self.session.channel_of(row)
        shown = picture(self._recording(row), _band(band), start, end, hop_s, channel)
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
        """Start and end of a picture around the event as detected or drawn. Moved edges do not move the picture."""
        start, end = self.session.original_times(row)
        half = max(seconds / 2, (end - start) * 0.65)
        return (start + end) / 2 - half, (start + end) / 2 + half

    def _recording(self, row: int) -> Recording:
        name = self.session.recording_of(row)
        return self._recordings.get(name, lambda: probe(self._path(name)))

    def _path(self, name: str) -> str | Path:
        return self.session.places.locate(name)

    def _kept_scores(self, row: int) -> KeptScores | None:
        name = self.session.recording_of(row)

        return self._scores.get(name, lambda: find_scores(self.session.run.folder, name))


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
