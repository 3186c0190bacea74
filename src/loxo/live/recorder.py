"""Writes a stream into recordings (WAV, 16 bits), and keeps their time.

A recording lasts `segment_s`, and ends at a gap: sound that was lost lies in no recording, so it is no effort. The name
states site and start: `clearing_20240501_110000.250+0100.wav`. loxo.audio.filenames reads it.

Time is counted in samples. The wall clock gives the start of the stream. It is compared with the monotonic clock all
the time:

- It jumps when a computer without a battery-backed clock gets the time of the network or of GPS. The start of the
  stream is moved by the jump, and so are the recordings of this process (listen.py).
- Samples that arrive later and later show that the device has lost some: more than GAP_S behind for SURE_S is a gap.
- Samples that waited in a pipe while the program started arrive faster at first. When they arrive steadily, the start
  of the stream is moved back by the time that they had waited.
- Less is the drift between the two clocks, and moves the start of the next recording.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from loxo.errors import LoxoError

JUMP_S = 2.0  # of the wall clock; smaller steps are drift
GAP_S, SURE_S = 2.0, 10.0
EARLY_S, STEADY_S = 0.5, 0.5  # that sound waited, at least; by how much the lag may vary within SURE_S / 2


class StreamClock:
    """The wall-clock time of each sample of a stream without gaps."""

    def __init__(
        self, rate: int, monotonic: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self.rate, self.wall = rate, wall
        self.offset = wall() - monotonic()
        self.monotonic = monotonic
        self.begin_at: float | None = None  # monotonic time of the first sample
        self.start = 0.0  # wall-clock time of the first sample
        self.drift_s = 0.0  # of the device's clock, so far
        self.lags: deque[tuple[float, float]] = deque()  # monotonic time, seconds that the samples are late

    def add(self, received_at: float, samples: int, block: int) -> None:
        """Notes that `samples` samples have arrived, of which the last `block` ones at `received_at` (monotonic)."""
        if self.begin_at is None:
            self.begin_at = received_at - block / self.rate
            self.start = self.begin_at + self.offset
        self.lags.append((received_at, received_at - self.begin_at - samples / self.rate))
        while self.lags[0][0] < received_at - SURE_S:
            self.lags.popleft()

    def jump(self) -> float:
        """By how much the wall clock has jumped since the last call; 0 for less than JUMP_S."""
        moved = self.wall() - self.monotonic() - self.offset
        if abs(moved) < JUMP_S:
            return 0.0
        self.offset += moved
        self.start += moved
        return moved

    def missing_s(self) -> float:
        """Seconds of sound that the device has lost; 0 for none."""
        full = bool(self.lags) and self.lags[-1][0] - self.lags[0][0] > 0.9 * SURE_S
        late = min((lag for _, lag in self.lags), default=0.0)
        return late if full and late > GAP_S else 0.0

    def waited_s(self) -> float:
        """Seconds that sound had waited when the stream began; 0 for less than EARLY_S, and until it is known."""
        if not self.lags or self.lags[-1][0] - self.lags[0][0] < 0.9 * SURE_S:
            return 0.0
        recent = [lag for at, lag in self.lags if at > self.lags[-1][0] - SURE_S / 2]
        is_steady = max(recent) - min(recent) < STEADY_S
        return -min(recent) if is_steady and -min(recent) > EARLY_S else 0.0

    def begin_earlier(self, seconds: float) -> None:
        """Moves the start of the stream back."""
        assert self.begin_at is not None
        self.begin_at -= seconds
        self.start -= seconds
        self.lags.clear()

    def correct_drift(self) -> None:
        """Moves the start of the stream by the drift since the last call, where samples arrive in real time."""
        late = min((lag for _, lag in self.lags), default=0.0)
        if self.begin_at is not None and abs(late) <= GAP_S:
            self.begin_at += late
            self.start += late
            self.drift_s += late
            self.lags.clear()

    def time_of(self, sample: int) -> float:
        return self.start + sample / self.rate


@dataclass
class Segment:
    """A recording. Times are in seconds since 1970, positions in samples of the stream."""

    path: Path
    start: float
    first: int
    samples: int = 0


class Recorder:
    """Writes recordings into a folder. Raises LoxoError when it cannot."""

    def __init__(self, folder: Path, site: str, rate: int, segment_s: float) -> None:
        self.folder, self.site, self.rate = folder, site, rate
        self.size = round(segment_s * rate)
        self.segment: Segment | None = None
        self._file: soundfile.SoundFile | None = None

    def write(self, samples: NDArray[np.int16], first: int, time_of: Callable[[int], float]) -> list[Segment]:
        """Writes samples of which the first one is the sample `first` of the stream. Returns finished recordings."""
        finished = []
        while len(samples):
            if self.segment is None:
                self._open(time_of(first), first)
            assert self.segment is not None and self._file is not None
            some = samples[: self.size - self.segment.samples]
            try:
                self._file.write(some)
            except (OSError, soundfile.SoundFileError) as error:
                raise LoxoError(
                    f"{self.segment.path}: the recording cannot be written ({error}). Is there room on the disk?"
                ) from error
            self.segment.samples += len(some)
            samples, first = samples[len(some) :], first + len(some)
            if self.segment.samples == self.size:
                finished += self.close()
        return finished

    def rename(self, start: float) -> Path | None:
        """The current recording began at this time: it gets that name. Returns its former path."""
        if self.segment is None:
            return None
        before, after = self.segment.path, self.folder / recording_name(self.site, start)
        try:
            before.rename(after)
        except OSError:  # where an open file cannot be renamed, it keeps its name
            return None
        self.segment.path, self.segment.start = after, start
        return before

    def close(self) -> list[Segment]:
        """Ends the current recording and returns it."""
        if self.segment is None or self._file is None:
            return []
        self._file.close()
        finished, self.segment, self._file = self.segment, None, None
        return [finished]

    def _open(self, start: float, first: int) -> None:
        path = self.folder / recording_name(self.site, start)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = soundfile.SoundFile(path, "w", self.rate, 1, "PCM_16", format="WAV")
        except (OSError, soundfile.SoundFileError) as error:
            raise LoxoError(f"{path}: the recording cannot be written ({error}). Check the folder.") from error
        self.segment = Segment(path, start, first)


def recording_name(site: str, start: float) -> str:
    at = datetime.fromtimestamp(round(start, 3)).astimezone()
    return f"{site}_{at:%Y%m%d_%H%M%S}.{at.microsecond // 1000:03d}{at:%z}.wav"


def check_site(site: str) -> str:
    """The name of a site, for names of files. Raises LoxoError for one that they cannot contain."""
    if not re.fullmatch(r"[\w.-]+", site) or site.startswith("."):
        raise LoxoError(f"The site {site!r} becomes part of file names: use letters, digits, - and _ only.")
    return site
