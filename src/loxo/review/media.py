"""What the page shows and plays of an event: spectrogram, frame scores, small pictures, sound.

Recordings are only ever reached through an event's row: no path comes from the page. What was made last is kept, since
a reviewer goes back and forth. A picture travels as one message: the length of a JSON header (4 bytes, little-endian),
the header, then the levels row by row and the frame scores class by class, a byte each.
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

from loxo.audio.recording import Recording, probe
from loxo.audio.storage import is_url
from loxo.engine.config import OVERLAP_SUFFIX
from loxo.errors import LoxoError
from loxo.review.audio import sound
from loxo.review.session import Session
from loxo.review.spectrogram import BANDS, LEVEL_DB, picture, thumbnail
from loxo.runs.scores import KeptScores, read_scores

LONGEST_CONTEXT_S = 60.0  # shown around an event
HOP_S = 0.04  # seconds a column
LONGEST_SOUND_S = 300.0  # of a recording
THUMB_S, THUMB_COLUMNS, THUMB_ROWS = 20.0, 200, 90
PICTURES, THUMBS, SOUNDS, RECORDINGS, SCORES = 48, 1000, 8, 64, 8  # kept


class Media:
    """Pictures and sounds of a session's events. Its methods raise LoxoError where a recording cannot be read."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._pictures, self._thumbs, self._sounds = _Kept(PICTURES), _Kept(THUMBS), _Kept(SOUNDS)
        self._recordings, self._scores = _Kept(RECORDINGS), _Kept(SCORES)

    def picture(self, row: int, band: str) -> bytes:
        """The spectrogram of LONGEST_CONTEXT_S around an event, or of a longer event whole, and its frame scores."""
        start, end = self.window(row, LONGEST_CONTEXT_S)
        return self._pictures.get((row, band, start), lambda: self._picture(row, band, start, end))

    def thumb(self, row: int, band: str) -> bytes:
        """The same, small."""
        start, end = self.window(row, THUMB_S)
        return self._thumbs.get((row, band, start), lambda: self._thumb(row, band, start, end))

    def sound(self, row: int, start_s: float, end_s: float, speed: int, pitched: bool) -> bytes:
        """A WAV of a stretch of the event's recording; see loxo.review.audio."""
        start, end = max(start_s, 0.0), min(end_s, start_s + LONGEST_SOUND_S)
        recording = self._recording(row)
        if not start < min(end, recording.duration_s):
            raise LoxoError("There is no sound between these times.")
        key = (recording.path, start, end, speed, pitched)
        return self._sounds.get(key, lambda: sound(recording, start, end, speed=speed, pitched=pitched))

    def _picture(self, row: int, band: str, start: float, end: float) -> bytes:
        shown = picture(self._recording(row), _band(band), start, end, HOP_S)
        header: dict[str, Any] = {"start": shown.start_s, "hop": shown.hop_s, "row_hz": shown.row_hz, "db": LEVEL_DB}
        kept = self._kept_scores(row)
        scores = np.zeros((0, 0), np.uint8)
        if kept is not None:
            first = max(int(start / kept.hop_s), 0)
            classes = [k for k, label in enumerate(kept.labels) if not label.endswith(OVERLAP_SUFFIX)]
            steps = np.clip(kept.scores[classes, first : int(np.ceil(end / kept.hop_s))], 0, 1)
            scores = np.rint(steps * 255).astype(np.uint8)
            labels = [kept.labels[k] for k in classes]
            header["scores"] = {"labels": labels, "start": first * kept.hop_s, "hop": kept.hop_s}
        return _message(header, shown.levels, scores)

    def _thumb(self, row: int, band: str, start: float, end: float) -> bytes:
        # Every second column would skip short shots: the strongest of finer ones is shown.
        shown = picture(self._recording(row), _band(band), start, end, (end - start) / THUMB_COLUMNS / 2)
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
        """Where the event was detected or drawn: moving its edges does not move the picture."""
        start, end = self.session.home_of(row)
        half = max(seconds / 2, (end - start) * 0.65)
        return (start + end) / 2 - half, (start + end) / 2 + half

    def _recording(self, row: int) -> Recording:
        name = self.session.recording_of(row)
        return self._recordings.get(name, lambda: probe(self._path(name)))

    def _path(self, name: str) -> str | Path:
        path = self.session.places.find(name)
        if path is None and is_url(name):
            return name
        if path is None:
            where = self.session.places.root
            raise LoxoError(
                f"{name}: the recording is not there any more. Start again with --recordings and the folder it lies in."
                if where is None
                else f"{name}: no recording of that name lies below {where}."
            )
        return path

    def _kept_scores(self, row: int) -> KeptScores | None:
        name = self.session.recording_of(row)

        def read() -> KeptScores | None:
            try:
                return read_scores(self.session.run.folder, name)
            except LoxoError:  # the run was made without --keep-scores: the picture goes without them
                return None

        return self._scores.get(name, read)


def _band(name: str) -> Any:
    if name not in BANDS:
        raise LoxoError(f"There is no band {name!r}: use one of {', '.join(BANDS)}.")
    return BANDS[name]


def _message(header: dict[str, Any], levels: np.ndarray, scores: np.ndarray) -> bytes:
    header["shape"] = levels.shape
    head = json.dumps(header | {"score_shape": scores.shape}).encode()
    return b"".join((struct.pack("<I", len(head)), head, levels.tobytes(), scores.tobytes()))


class _Kept:
    """The last `size` things that were made."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._things: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        with self._lock:
            if key in self._things:
                self._things.move_to_end(key)
                return self._things[key]
        thing = make()  # outside of the lock: several pictures at once; the same one twice does no harm
        with self._lock:
            self._things[key] = thing
            while len(self._things) > self.size:
                self._things.popitem(last=False)
        return thing
