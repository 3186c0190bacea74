"""Decoders: libsndfile, and PyAV (FFmpeg) for formats that libsndfile cannot read.

Both count frames from the start of the recording, keep at most one block in memory, and read local files and URLs.
WMA and WebM store timestamps in milliseconds. If all packets have the same length, their exact positions are restored
after a seek. Otherwise a position after a seek may be wrong by up to half a millisecond. AAC, AMR and AC-3 files
without a container have no timestamps. They are decoded once to find their length, and from the start for each excerpt.

Failure policy: damaged or missing data raise DecodeError. Storage errors raise StorageError. A storage error inside a
decoder written in C is raised after the decoder has returned.
"""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
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

PRE_ROLL_FRAMES = 8192  # decoded before the requested frame, because a lossy decoder needs earlier packets
TIMESTAMP_TOLERANCE_S = 0.002  # a smaller difference between timestamp and packet length is a rounding error
MAX_GAP_S = 10.0  # a longer gap between two packets is damage; shorter gaps are filled with silence
COUNT_BLOCK_FRAMES = 1 << 16
RETRY_BLOCK_FRAMES = 256  # a block that cannot be decoded is read again in blocks of this length
TAIL_S = 5.0  # length of the end that is decoded to find the exact length
SEEKABLE_CONTAINERS = (
    "mov",
    "matroska",
    "asf",
    "wv",
    "ape",
    "wav",
    "w64",
    "aiff",
    "caf",
)  # FFmpeg's names of containers with timestamps
# Containers whose declared duration is that of the sound, if they have one track. Encoders add and remove parts of a
# packet: the largest difference in seconds.
EXACT_CONTAINERS = {"matroska": 0.1, "wv": 0.1, "ape": 0.1, "asf": 0.5}
ASF = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"
SIGNATURES = (  # offset, signature, name of the format
    (4, b"ftyp", "MP4 (M4A)"),
    (4, b"moov", "MP4 (MOV)"),
    (4, b"mdat", "MP4 (MOV)"),
    (0, b"\x1aE\xdf\xa3", "WebM or Matroska"),
    (0, ASF, "Windows Media"),
    (0, b"#!AMR", "AMR"),
    (0, b"\xff\xf1", "AAC"),
    (0, b"\xff\xf9", "AAC"),
    (0, b"wvpk", "WavPack"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"\x0bw", "AC-3"),
)


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


def pyav_format(start: bytes) -> str | None:
    """Identifies a format that PyAV can read and libsndfile cannot, from a file's first bytes; else None."""
    for offset, magic, kind in SIGNATURES:
        if start[offset : offset + len(magic)] == magic:
            return kind
    return None


@contextmanager
def open_pyav(
    path: Path | str, streams: Streams = (), known: Info | None = None, expected_bytes: int = 0, frames: int = -1
) -> Iterator[Decoder]:
    """Opens the first audio track of a file that FFmpeg can read. `frames`: its length, or -1 if unknown.

    Raises DecodeError when the file cannot be read, and ImportError when PyAV is not installed.
    """
    import av
    import av.error

    with open_binary(path, known, expected_bytes) as raw, ExitStack() as stack:
        source = ErrorCapturingFile(SplicedFile(raw, streams[0]) if streams else raw)
        size = source.seek(0, io.SEEK_END)

        def container() -> Any:
            stack.close()
            source.seek(0)
            return stack.enter_context(av.open(source, mode="r", metadata_errors="ignore"))

        try:
            yield _PyAV(container, source, frames, size)
        except (av.error.FFmpegError, ValueError, IndexError) as error:
            raise source.fault or DecodeError(_error_text(error)) from error


class _PyAV:
    def __init__(self, open_container: Callable[[], Any], source: ErrorCapturingFile, frames: int, size: int) -> None:
        self._open, self._source, self._size = open_container, source, size
        self._packet_grid = (0, 0)  # end of the first packet and length of a packet, if all have the same length
        self._position, self._block = self._rewind()  # next frame, and decoded frames from there on
        if not len(self._block):
            raise DecodeError("the file has no audio that can be decoded")
        self._seekable = any(name in SEEKABLE_CONTAINERS for name in self._container.format.name.split(","))
        self.sample_rate, self.channels = self._rate, self._block.shape[1]
        self.subtype = str(self._track.codec_context.name).upper()
        self.end_missing = False
        self.lengths: tuple[int, ...] = ()
        self.frames = self._find_end() if frames < 0 else frames

    def seek(self, frame: int) -> None:
        if not self._position <= frame <= self._position + len(self._block):
            target = frame - PRE_ROLL_FRAMES
            if frame >= self._position and target <= self._position + len(self._block):
                pass  # the frame is near: decode the frames before it
            elif not (self._seekable and target > 0 and self._seek_by_time(target, frame)):
                self._position, self._block = self._rewind()
        self._skip_to(frame)

    def read(self, count: int, dtype: str = "float32") -> NDArray[Any]:
        parts, missing = [], count
        while missing:
            if not len(self._block):
                self._block = self._next_block()
                if not len(self._block):
                    break
            parts.append(self._block[:missing])
            self._block = self._block[missing:]
            self._position += len(parts[-1])
            missing -= len(parts[-1])
        frames = np.concatenate(parts) if parts else np.zeros((0, self.channels), np.float32)
        if dtype == "int16":
            return np.clip(np.rint(frames * 32768), -32768, 32767).astype(np.int16)
        return frames.astype(dtype, copy=False)

    def _skip_to(self, frame: int) -> None:
        while self._position < frame:
            if not len(self._block):
                self._block = self._next_block()
                if not len(self._block):
                    return
            step = min(len(self._block), frame - self._position)
            self._block = self._block[step:]
            self._position += step

    def _rewind(self) -> tuple[int, NDArray[np.float32]]:
        """Opens the file again. A seek to its start would lose the first packet if its timestamp is negative."""
        self._container = self._open()
        if not self._container.streams.audio:
            raise DecodeError("the file has no audio track")
        self._track = self._container.streams.audio[0]
        self._packets = self._container.decode(self._track)
        self._end: int | None = 0  # the frame after the last decoded one
        self._origin: Any = None  # timestamp of the first frame of the file
        self.channels = 0
        block = self._next_block()
        self.channels = block.shape[1]
        return 0, np.concatenate((block, self._next_block()))  # two packets, to know _packet_grid before the first seek

    def _seek_by_time(self, target: int, frame: int) -> bool:
        """Seeks by timestamp to a frame at or before `target`; False if the position is after `frame`."""
        time = self._origin + target / self.sample_rate
        self._container.seek(int(time / self._track.time_base), stream=self._track, backward=True)
        self._packets = self._container.decode(self._track)
        self._end = None
        self._block = self._next_block()
        self._position = (self._end or 0) - len(self._block)
        return bool(len(self._block)) and self._position <= frame

    def _next_block(self) -> NDArray[np.float32]:
        block = self._decode_packet()
        return np.zeros((0, self.channels), np.float32) if block is None else block

    def _decode_packet(self) -> NDArray[np.float32] | None:
        """Returns the next decoded frames, after silence for missing packets; None at the end."""
        import av.error

        while True:
            try:
                frame = next(self._packets)
            except (StopIteration, av.error.EOFError):
                if self._source.fault:
                    raise self._source.fault from None
                return None
            except av.error.FFmpegError as error:
                raise self._source.fault or DecodeError(_error_text(error)) from error
            block = _samples(frame)
            self._rate = frame.sample_rate
            if self._origin is None:
                self._origin = (frame.pts or 0) * frame.time_base
            if frame.pts is None:
                here = self._end or 0
            else:
                here = round((frame.pts * frame.time_base - self._origin) * frame.sample_rate)
            gap = 0 if self._end is None else here - self._end
            if abs(gap) <= TIMESTAMP_TOLERANCE_S * frame.sample_rate:
                here, gap = here - gap, 0
            if gap > MAX_GAP_S * frame.sample_rate:
                raise DecodeError("packets are missing")
            if self._end is None:
                here = self._snap_to_grid(here + len(block)) - len(block)
            elif self._end and not self._packet_grid[1]:
                self._packet_grid = (self._end, len(block))
            self._end = here + len(block)
            if gap > 0:
                return np.concatenate((np.zeros((gap, block.shape[1]), np.float32), block))
            if -gap < len(block):
                return block[-gap:]
            self._end = here - gap  # all frames of this packet were returned before

    def _snap_to_grid(self, end: int) -> int:
        """Corrects the end of a packet whose timestamp is rounded to milliseconds, to a whole number of packets.

        The start of a packet is less reliable: FFmpeg drops a part of the first packets after a seek.
        """
        first, length = self._packet_grid
        if self._track.time_base * self._rate <= 1 or length < 2 * TIMESTAMP_TOLERANCE_S * self._rate:
            return end
        snapped = first + round((end - first) / length) * length
        return snapped if abs(snapped - end) <= TIMESTAMP_TOLERANCE_S * self._rate else end

    def _find_end(self) -> int:
        """Returns the number of frames: from the decoded end of the file, else from its declared duration."""
        declared = 0
        if self._track.duration:
            declared = int(self._track.duration * self._track.time_base * self.sample_rate)
        elif self._container.duration:
            declared = int(self._container.duration * self.sample_rate / 1_000_000)
        if not self._seekable or not declared or is_absurd(declared, self.sample_rate, self._size):
            tail, declared = 0, 0
        else:
            tail = max(declared - int(TAIL_S * self.sample_rate), 0)
        try:
            self.seek(tail)
            while len(self._next_block()):
                pass
            end = self._end or 0
        except DecodeError:
            self.end_missing = not declared
            end = declared or self._end or 0
        self._position, self._block = self._rewind()
        tolerances = [EXACT_CONTAINERS.get(name) for name in self._container.format.name.split(",")]
        tolerance = next((seconds for seconds in tolerances if seconds is not None), None)
        if tolerance is not None and len(self._container.streams) == 1:
            self.end_missing |= tail < end < declared - tolerance * self.sample_rate
        # If the end is before the tail, the file is cut off; `read` reports this when it reaches the end.
        return end if end > tail or not declared else declared


def _samples(frame: Any) -> NDArray[np.float32]:
    """Converts a decoded packet to (frames, channels) float32."""
    array = frame.to_ndarray()
    array = array.T if frame.format.is_planar else array.reshape(-1, frame.layout.nb_channels)
    if array.dtype == np.uint8:
        return (array.astype(np.float32) - 128) / 128
    if array.dtype.kind == "i":
        return array.astype(np.float32) / np.float32(2 ** (8 * array.dtype.itemsize - 1))
    return np.ascontiguousarray(array, np.float32)


def _error_text(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
