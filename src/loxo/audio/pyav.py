"""PyAV (FFmpeg), for formats that libsndfile cannot read.

WMA and WebM store timestamps in milliseconds. If all packets have the same length, their exact positions are restored
after a seek. Otherwise a position after a seek may be wrong by up to half a millisecond. AAC, AMR and AC-3 files
without a container have no timestamps. They are decoded once to find their length, and from the start for each excerpt.

Failure policy: that of loxo.audio.decoders.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loxo.audio.decoders import DecodeError, Decoder, ErrorCapturingFile, Streams
from loxo.audio.headers import is_absurd
from loxo.audio.remote import Info
from loxo.audio.spliced import SplicedFile
from loxo.audio.storage import open_binary

PRE_ROLL_FRAMES = 8192  # decoded before the requested frame, because a lossy decoder needs earlier packets
TIMESTAMP_TOLERANCE_S = 0.002  # a smaller difference between timestamp and packet length is a rounding error
MAX_GAP_S = 10.0  # a longer gap between two packets is damage; shorter gaps are filled with silence
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
