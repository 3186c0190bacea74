"""What turns the bytes of a recording into samples: libsndfile, and PyAV (FFmpeg) for what libsndfile cannot read.

Both count in frames from the first one, hold no more than a block in memory, and read local files and URLs alike.
WMA and WebM write their times in milliseconds; packets of one length are put back onto their grid after a seek, others
stand within half a millisecond of where they stand in the whole. AAC, AMR and AC-3 without a container know no times at
all: they are decoded once to learn their length, and from their start for every stretch.

Failure policy: damaged or missing data raise Damaged. Faults of the storage raise StorageError; inside a decoder
written in C they are kept until it has returned.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from loxo.audio.headers import UnknownLength
from loxo.audio.remote import Info, StorageError
from loxo.audio.storage import open_binary

RUN_UP = 8192  # frames that are decoded before the one asked for, until a lossy decoder has found its feet
LOOSE_S = 0.002  # two packets whose times differ by less from what their lengths say follow upon each other
GAP_S = 10.0  # a longer hole between two packets is damage; shorter ones become silence
TAIL_S = 5.0  # at the end, decoded to learn where exactly it is
SEEKABLE = ("mov", "matroska", "asf", "wv", "ape")  # FFmpeg's names of containers with times
ASF = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"
KINDS = (  # offset, first bytes, what it is
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


class Damaged(Exception):
    """The data of a recording cannot be decoded there."""


class Decoder(Protocol):
    """An open recording."""

    sample_rate: int
    channels: int
    frames: int
    subtype: str  # name of the sample format or codec
    unfinished: bool  # cut off, without a word about how much is missing

    def seek(self, frame: int) -> None:
        """The next read begins at this frame."""

    def read(self, count: int, dtype: str = "float32") -> NDArray[Any]:
        """Up to `count` frames, (frames, channels); none at the end. float32 lies in [-1, 1]."""


@contextmanager
def open_libsndfile(
    path: Path | str, length_field: int | None = None, known: Info | None = None, expect: int = 0
) -> Iterator[Decoder]:
    """A recording of a kind that libsndfile knows. `length_field`: offset of a WAV's length that must not be believed;
    `known` and `expect` as for open_binary. Raises Damaged when it cannot be read."""
    if isinstance(path, Path) and length_field is None:
        try:
            sound = soundfile.SoundFile(path)
        except soundfile.LibsndfileError as error:
            raise Damaged(str(error)) from error
        with sound:
            yield _Libsndfile(sound, None)
        return
    with open_binary(path, known, expect) as raw:
        calm = CalmFile(raw if length_field is None else UnknownLength(raw, length_field))
        try:
            sound = soundfile.SoundFile(calm)
        except soundfile.LibsndfileError as error:
            raise calm.fault or Damaged(str(error)) from error
        with sound:
            yield _Libsndfile(sound, calm)


class _Libsndfile:
    def __init__(self, sound: soundfile.SoundFile, calm: CalmFile | None) -> None:
        self._sound, self._calm = sound, calm
        self.sample_rate, self.channels = sound.samplerate, sound.channels
        self.frames, self.subtype, self.unfinished = sound.frames, sound.subtype, False

    def seek(self, frame: int) -> None:
        try:
            self._sound.seek(frame)
        except soundfile.LibsndfileError as error:
            raise self._fault() or Damaged(str(error)) from error

    def read(self, count: int, dtype: str = "float32") -> NDArray[Any]:
        try:
            frames: NDArray[Any] = self._sound.read(count, dtype=dtype, always_2d=True)
        except soundfile.LibsndfileError as error:
            raise self._fault() or Damaged(str(error)) from error
        if fault := self._fault():
            raise fault
        return frames

    def _fault(self) -> Exception | None:
        return self._calm.fault if self._calm else None


class CalmFile(io.RawIOBase):
    """For decoders written in C, through which no exception can pass: reading fails as if the file ended there.

    The first exception is kept in `fault`, and nothing is read after it.
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
        return self._raw.seek(offset, whence)

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]  # any writable buffer
        if self.fault is not None:
            return 0
        try:
            return self._raw.readinto(buffer) or 0  # type: ignore[union-attr]
        except (StorageError, OSError) as error:
            self.fault = error
            return 0


def foreign_kind(start: bytes) -> str | None:
    """What a file is by its first bytes, of the kinds that PyAV reads and libsndfile does not; else None."""
    for offset, magic, kind in KINDS:
        if start[offset : offset + len(magic)] == magic:
            return kind
    return None


@contextmanager
def open_pyav(path: Path | str, known: Info | None = None, expect: int = 0, frames: int = -1) -> Iterator[Decoder]:
    """The first audio track of a file that FFmpeg knows. `frames`: its length if that is known already.

    Raises Damaged when it cannot be read, ImportError without PyAV.
    """
    import av
    import av.error

    with open_binary(path, known, expect) as raw, ExitStack() as stack:
        calm = CalmFile(raw)

        def container() -> Any:
            stack.close()
            calm.seek(0)
            return stack.enter_context(av.open(calm, mode="r", metadata_errors="ignore"))

        try:
            yield _PyAV(container, calm, frames)
        except (av.error.FFmpegError, ValueError, IndexError) as error:
            raise calm.fault or Damaged(_words(error)) from error


class _PyAV:
    def __init__(self, open_container: Callable[[], Any], calm: CalmFile, frames: int) -> None:
        self._open, self._calm = open_container, calm
        self._grid = (0, 0)  # where packets of one length begin, if they do: the first one's end, and that length
        self._position, self._block = self._rewind()  # a frame, and what is decoded from there on and not yet given
        if not len(self._block):
            raise Damaged("no sound in it can be decoded")
        self._seekable = any(name in SEEKABLE for name in self._container.format.name.split(","))
        self.sample_rate, self.channels = self._rate, self._block.shape[1]
        self.subtype = str(self._track.codec_context.name).upper()
        self.unfinished = False
        self.frames = self._find_end() if frames < 0 else frames

    def seek(self, frame: int) -> None:
        if not self._position <= frame <= self._position + len(self._block):
            early = frame - RUN_UP
            if frame >= self._position and early <= self._position + len(self._block):
                pass  # not far: decoded up to there
            elif not (self._seekable and early > 0 and self._jump(early, frame)):
                self._position, self._block = self._rewind()
        self._skip_to(frame)

    def read(self, count: int, dtype: str = "float32") -> NDArray[Any]:
        parts, missing = [], count
        while missing:
            if not len(self._block):
                self._block = self._following()
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
                self._block = self._following()
                if not len(self._block):
                    return
            step = min(len(self._block), frame - self._position)
            self._block = self._block[step:]
            self._position += step

    def _rewind(self) -> tuple[int, NDArray[np.float32]]:
        """Opens the file anew: to seek to its start loses the first packet where its time is below 0."""
        self._container = self._open()
        if not self._container.streams.audio:
            raise Damaged("there is no sound in it")
        self._track = self._container.streams.audio[0]
        self._packets = self._container.decode(self._track)
        self._end: int | None = 0  # the frame after the last decoded one
        self._origin: Any = None  # time of the first frame of the file
        self.channels = 0
        block = self._following()
        self.channels = block.shape[1]
        return 0, np.concatenate((block, self._following()))  # two, so that _grid is known before the first seek

    def _jump(self, early: int, frame: int) -> bool:
        """Seeks by time to some frame at or before `early`; False if it came out after `frame`."""
        time = self._origin + early / self.sample_rate
        self._container.seek(int(time / self._track.time_base), stream=self._track, backward=True)
        self._packets = self._container.decode(self._track)
        self._end = None
        self._block = self._following()
        self._position = (self._end or 0) - len(self._block)
        return bool(len(self._block)) and self._position <= frame

    def _following(self) -> NDArray[np.float32]:
        block = self._next()
        return np.zeros((0, self.channels), np.float32) if block is None else block

    def _next(self) -> NDArray[np.float32] | None:
        """The next decoded frames, with silence before them where packets are missing; None at the end."""
        import av.error

        while True:
            try:
                frame = next(self._packets)
            except (StopIteration, av.error.EOFError):
                if self._calm.fault:
                    raise self._calm.fault from None
                return None
            except av.error.FFmpegError as error:
                raise self._calm.fault or Damaged(_words(error)) from error
            block = _samples(frame)
            self._rate = frame.sample_rate
            if self._origin is None:
                self._origin = (frame.pts or 0) * frame.time_base
            if frame.pts is None:
                here = self._end or 0
            else:
                here = round((frame.pts * frame.time_base - self._origin) * frame.sample_rate)
            gap = 0 if self._end is None else here - self._end
            if abs(gap) <= LOOSE_S * frame.sample_rate:
                here, gap = here - gap, 0
            if gap > GAP_S * frame.sample_rate:
                raise Damaged("a part is missing")
            if self._end is None:
                here = self._snap(here + len(block)) - len(block)
            elif self._end and not self._grid[1]:
                self._grid = (self._end, len(block))
            self._end = here + len(block)
            if gap > 0:
                return np.concatenate((np.zeros((gap, block.shape[1]), np.float32), block))
            if -gap < len(block):
                return block[-gap:]
            self._end = here - gap  # all of it was there before

    def _snap(self, end: int) -> int:
        """Where a packet ends, if its time is only known to the millisecond: after a whole number of packets.

        Where it begins says less: FFmpeg drops a part of the first ones after a seek.
        """
        first, length = self._grid
        if self._track.time_base * self._rate <= 1 or length < 2 * LOOSE_S * self._rate:
            return end
        snapped = first + round((end - first) / length) * length
        return snapped if abs(snapped - end) <= LOOSE_S * self._rate else end

    def _find_end(self) -> int:
        """The number of frames: near the end by what can be decoded there, else by what the file says."""
        promised = 0
        if self._track.duration:
            promised = int(self._track.duration * self._track.time_base * self.sample_rate)
        elif self._container.duration:
            promised = int(self._container.duration * self.sample_rate / 1_000_000)
        if not self._seekable or not promised:
            tail, promised = 0, 0
        else:
            tail = max(promised - int(TAIL_S * self.sample_rate), 0)
        try:
            self.seek(tail)
            while len(self._following()):
                pass
            end = self._end or 0
        except Damaged:
            self.unfinished = not promised
            end = promised or self._end or 0
        self._position, self._block = self._rewind()
        # Far less than promised: the file is cut off, and reading it to there will say so.
        return end if end > tail or not promised else promised


def _samples(frame: Any) -> NDArray[np.float32]:
    """(frames, channels) of a decoded packet."""
    array = frame.to_ndarray()
    array = array.T if frame.format.is_planar else array.reshape(-1, frame.layout.nb_channels)
    if array.dtype == np.uint8:
        return (array.astype(np.float32) - 128) / 128
    if array.dtype.kind == "i":
        return array.astype(np.float32) / np.float32(2 ** (8 * array.dtype.itemsize - 1))
    return np.ascontiguousarray(array, np.float32)


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
