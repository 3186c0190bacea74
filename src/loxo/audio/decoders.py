"""Decoders: libsndfile here, and PyAV for formats that libsndfile cannot read (pyav.py).

Both count frames from the start of the recording, keep at most one block in memory, and read local files and URLs.

Failure policy: damaged or missing data raise DecodeError. Storage errors raise StorageError. A storage error inside a
decoder written in C is raised after the decoder has returned.
"""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from loxo.audio.headers import is_absurd
from loxo.audio.remote import Info, StorageError
from loxo.audio.spliced import Segments, SplicedFile, segments_length
from loxo.audio.storage import open_binary

COUNT_BLOCK_FRAMES = 1 << 16
RETRY_BLOCK_FRAMES = 256  # a block that cannot be decoded is read again in blocks of this length


Streams = tuple[Segments, ...]  # the bytes to read, for each stream in a file; empty: the file as it is


class DecodeError(Exception):
    """The data at this position of a recording cannot be decoded."""


class Decoder(Protocol):
    """An open recording."""

    sample_rate: int
    channels: int
    frames: int
    lengths: tuple[int, ...]  # frames of each stream, if the file contains several
    subtype: str  # name of the sample format or codec
    end_missing: bool  # the file is cut off, and the missing length is unknown

    def seek(self, frame: int) -> None:
        """Sets the frame at which the next read starts."""

    def read(self, count: int, dtype: str = "float32") -> NDArray[Any]:
        """Returns up to `count` frames, (frames, channels); no frames at the end. float32 is in [-1, 1]."""


class UnseekableError(DecodeError):
    """libsndfile reads this codec only from start to end."""


@contextmanager
def open_libsndfile(
    path: Path | str,
    streams: Streams = (),
    known: Info | None = None,
    expected_bytes: int = 0,
    lengths: tuple[int, ...] = (),
) -> Iterator[Decoder]:
    """Opens a recording in a format that libsndfile can read.

    `streams` are the bytes to read in place of the file, for each stream in it, and `lengths` their frames, if known.
    `known` and `expected_bytes` are those of open_binary. Raises DecodeError when the recording cannot be read.
    """
    if isinstance(path, Path) and not streams:
        try:
            # soundfile refuses a str with bytes that are not UTF-8.
            sound = soundfile.SoundFile(path if os.name == "nt" else os.fsencode(path))
        except soundfile.LibsndfileError as error:
            raise DecodeError(str(error)) from error
        with sound:
            yield _Libsndfile(sound, None)
        return
    with open_binary(path, known, expected_bytes) as raw:

        def open_stream(segments: Segments | None) -> _Libsndfile:
            source = ErrorCapturingFile(raw if segments is None else SplicedFile(raw, segments))
            try:
                return _Libsndfile(soundfile.SoundFile(source), source)
            except soundfile.LibsndfileError as error:
                raise source.fault or DecodeError(str(error)) from error

        sound = (
            _Chain(open_stream, streams, lengths) if len(streams) > 1 else open_stream(streams[0] if streams else None)
        )
        try:
            yield sound
        finally:
            sound.close()


class _Libsndfile:
    def __init__(self, sound: soundfile.SoundFile, source: ErrorCapturingFile | None) -> None:
        self._sound, self._source = sound, source
        self.sample_rate, self.channels = sound.samplerate, sound.channels
        self.frames, self.subtype, self.end_missing = sound.frames, sound.subtype, False
        self.lengths: tuple[int, ...] = ()
        if not sound.seekable():
            raise UnseekableError("it cannot be read from a position inside")

    def close(self) -> None:
        self._sound.close()

    def seek(self, frame: int) -> None:
        try:
            self._sound.seek(frame)
        except soundfile.LibsndfileError as error:
            raise self._fault() or DecodeError(str(error)) from error

    def read(self, count: int, dtype: str = "float32") -> NDArray[Any]:
        try:
            frames: NDArray[Any] = self._sound.read(count, dtype=dtype, always_2d=True)
        except soundfile.LibsndfileError as error:
            raise self._fault() or DecodeError(str(error)) from error
        if fault := self._fault():
            raise fault
        return frames

    def _fault(self) -> Exception | None:
        return self._source.fault if self._source else None


class _Chain:
    """Several streams, one after the other, as one recording. One of them is open at a time."""

    def __init__(
        self, open_stream: Callable[[Segments], _Libsndfile], streams: Streams, lengths: tuple[int, ...]
    ) -> None:
        self._open, self._streams = open_stream, streams
        self._number = 0
        self._sound = first = open_stream(streams[0])
        self.sample_rate, self.channels, self.subtype = first.sample_rate, first.channels, first.subtype
        self.end_missing = False
        self.lengths = lengths or tuple(self._length(number) for number in range(len(streams)))
        self._starts = [0, *accumulate(self.lengths)]
        self.frames = self._starts[-1]
        self.seek(0)

    def _length(self, number: int) -> int:
        sound = self._go(number)
        if (sound.sample_rate, sound.channels) != (self.sample_rate, self.channels):
            raise DecodeError("it contains recordings with different sample rates or channels")
        if not is_absurd(sound.frames, sound.sample_rate, segments_length(self._streams[number])):
            return sound.frames
        frames, damaged = count_frames(sound)
        self.end_missing |= damaged
        return frames

    def close(self) -> None:
        self._sound.close()

    def seek(self, frame: int) -> None:
        number = min(max(bisect_right(self._starts, frame) - 1, 0), len(self._streams) - 1)
        self._go(number).seek(frame - self._starts[number])
        self._position = frame

    def read(self, count: int, dtype: str = "float32") -> NDArray[Any]:
        parts = []
        while count and self._position < self.frames:
            frames = self._sound.read(min(count, self._starts[self._number + 1] - self._position), dtype)
            if not len(frames):
                break
            parts.append(frames)
            count -= len(frames)
            self._position += len(frames)
            if self._position == self._starts[self._number + 1] and self._position < self.frames:
                self.seek(self._position)
        return np.concatenate(parts) if parts else np.zeros((0, self.channels), dtype)

    def _go(self, number: int) -> _Libsndfile:
        if number != self._number:
            self.close()
            self._number, self._sound = number, self._open(self._streams[number])
        return self._sound


def count_frames(sound: Decoder) -> tuple[int, bool]:
    """Decodes a recording from its start; returns the number of frames, and True if the data are damaged there."""
    frames = 0
    try:
        sound.seek(0)
        while count := len(sound.read(COUNT_BLOCK_FRAMES)):
            frames += count
    except DecodeError:
        try:
            sound.seek(frames)
            while count := len(sound.read(RETRY_BLOCK_FRAMES)):
                frames += count
        except DecodeError:
            pass
        return frames, True
    return frames, False


class ErrorCapturingFile(io.RawIOBase):
    """A file for decoders written in C, which cannot propagate Python exceptions.

    The first exception is stored in `fault`. From then on, reads return no data, as at the end of a file.
    """

    def __init__(self, raw: BinaryIO | io.RawIOBase) -> None:
        super().__init__()
        self._raw = raw
        self.fault: Exception | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._raw.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        try:
            return self._raw.seek(offset, whence)
        except (OSError, ValueError, OverflowError):  # a position from a damaged header
            return -1

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]  # any writable buffer
        if self.fault is not None:
            return 0
        try:
            return self._raw.readinto(buffer) or 0  # type: ignore[union-attr]
        except (StorageError, OSError) as error:
            self.fault = error
            return 0
