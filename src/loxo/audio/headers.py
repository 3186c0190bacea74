"""Declared length of a recording in its header, to detect files that are cut off.

libsndfile reads the samples that exist and does not report missing ones. The headers of WAV, RF64 (also called BW64),
W64 and AIFF files declare the number of bytes of samples. An OGG file marks its last page instead.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import BinaryIO

W64_RIFF = b"riff\x2e\x91\xcf\x11"
UNKNOWN = 0xFFFFFFFF


@dataclass(frozen=True)
class DataChunk:
    """Position and length of the samples in a file, in bytes."""

    offset: int  # of the first sample
    declared: int | None  # length in the header; None: the header has none, for example after a loss of power
    present: int  # length in the file from `offset` on, at most `declared`
    length_field: int | None = None  # offset of a WAV's length field if it is zero although samples follow

    @property
    def missing(self) -> int:
        return 0 if self.declared is None else self.declared - self.present


def read_data_chunk(file: BinaryIO) -> DataChunk | None:
    """Finds the data chunk of a WAV, RF64, W64 or AIFF file; None for another format or a header without one."""
    size = file.seek(0, io.SEEK_END)
    magic = _at(file, 0, 12)
    if magic[:4] in (b"RIFF", b"RF64", b"BW64") and magic[8:12] == b"WAVE":
        return _riff(file, size)
    if magic[:4] == b"FORM" and magic[8:12] in (b"AIFF", b"AIFC"):
        return _aiff(file, size)
    if magic[:8] == W64_RIFF:
        return _w64(file, size)
    return None


def ogg_end_missing(file: BinaryIO) -> bool:
    """Returns True if the last page of an OGG file is missing, incomplete or damaged."""
    if _at(file, 0, 4) != b"OggS":
        return False
    tail = _at(file, max(file.seek(0, io.SEEK_END) - 2 * 65307, 0), -1)  # twice the largest page
    page = tail[tail.rfind(b"OggS") :] if b"OggS" in tail else b""
    if len(page) < 27 or not page[5] & 4:
        return True
    lengths = page[27 : 27 + page[26]]  # lengths of the page's segments
    end = 27 + page[26] + sum(lengths)
    if len(page) < end:
        return True
    return _ogg_checksum(page[:22] + bytes(4) + page[26:end]) != struct.unpack_from("<I", page, 22)[0]


def ogg_duration_s(file: BinaryIO, rate: int) -> float | None:
    """Returns the end time stored in an OGG file's last page; None for another format or if it is not stored.

    Decoders skip damaged pages without an error. Their output is then shorter than this duration.
    """
    head = _at(file, 0, 200)
    if head[:4] != b"OggS":
        return None
    tail = _at(file, max(file.seek(0, io.SEEK_END) - 2 * 65307, 0), -1)
    last = tail.rfind(b"OggS")
    if last < 0 or len(tail) < last + 14:
        return None
    (count,) = struct.unpack_from("<q", tail, last + 6)
    opus = head.find(b"OpusHead")
    if opus >= 0 and len(head) >= opus + 12:  # counted at 48 kHz for every sample rate, with a start that is not played
        return float(count - struct.unpack_from("<H", head, opus + 10)[0]) / 48000
    return float(count) / rate if b"\x01vorbis" in head and count > 0 else None


def _ogg_checksum(page: bytes) -> int:
    """Returns the CRC-32 of an OGG page. Decoders skip pages whose checksum is wrong. Used for one page per file."""
    value = 0
    for byte in page:
        value = (value << 8) & 0xFFFFFFFF ^ _OGG_TABLE[value >> 24 ^ byte]
    return value


def _ogg_entry(value: int) -> int:
    value <<= 24
    for _ in range(8):
        value = (value << 1) & 0xFFFFFFFF ^ (0x04C11DB7 if value & 0x80000000 else 0)
    return value


_OGG_TABLE = [_ogg_entry(byte) for byte in range(256)]


def _chunk(offset: int, declared: int | None, size: int, length_field: int | None = None) -> DataChunk:
    present = max(size - offset, 0)
    return DataChunk(offset, declared, present if declared is None else min(present, declared), length_field)


def _riff(file: BinaryIO, size: int) -> DataChunk | None:
    long_length: int | None = None
    position = 12
    while len(head := _at(file, position, 8)) == 8:
        name, length = struct.unpack("<4sI", head)
        if name == b"ds64":
            long_length = struct.unpack("<8xQ", _at(file, position + 8, 16).ljust(16, b"\0"))[0]
        if name == b"data":
            start = position + 8
            if length == UNKNOWN and long_length is not None:
                return _chunk(start, long_length, size)
            # Programs that write to a pipe cannot correct the length: they leave the largest 31- or 32-bit number.
            if length >= 0xFFFFFF00 or 0x7FFFF000 <= length <= 0x80000000:
                return _chunk(start, None, size)
            if length == 0 and size > start and not _is_last_chunk(_at(file, start, 8), size - start):
                return _chunk(start, None, size, length_field=position + 4)
            return _chunk(start, length, size)
        position += 8 + length + length % 2
    return None


def _is_last_chunk(head: bytes, remaining: int) -> bool:
    """Returns True if the bytes after an empty data chunk are another chunk that fills the file, not samples."""
    if len(head) < 8:
        return False
    name, length = struct.unpack("<4sI", head)
    return name.isascii() and name.strip().isalnum() and length + 8 <= remaining <= length + 9


def _aiff(file: BinaryIO, size: int) -> DataChunk | None:
    position = 12
    while len(head := _at(file, position, 8)) == 8:
        name, length = struct.unpack(">4sI", head)
        if name == b"SSND" and length >= 8:
            (shift,) = struct.unpack(">I", _at(file, position + 8, 4).ljust(4, b"\0"))
            return _chunk(position + 16 + shift, max(length - 8 - shift, 0), size)
        position += 8 + length + length % 2
    return None


def _w64(file: BinaryIO, size: int) -> DataChunk | None:
    position = 40  # after the riff GUID, its length and the wave GUID
    while len(head := _at(file, position, 24)) == 24:
        name, length = struct.unpack("<4s12xQ", head)
        if name == b"data":
            return _chunk(position + 24, max(length - 24, 0), size)
        position += max((length + 7) // 8 * 8, 24)
    return None


def _at(file: BinaryIO, position: int, count: int) -> bytes:
    if position >= 1 << 62:  # from a damaged length; seek accepts no larger position
        return b""
    file.seek(position)
    return file.read(count)


class OpenEndedWav(io.RawIOBase):
    """A WAV whose length fields read as 'unknown', so that libsndfile reads all samples to the end of the file."""

    def __init__(self, file: BinaryIO, length_field: int) -> None:
        super().__init__()
        self._file = file
        self._fields = (4, length_field)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def readinto(self, buffer) -> int | None:  # type: ignore[no-untyped-def]  # any writable buffer
        position = self.tell()
        view = memoryview(buffer).cast("B")
        data = self._file.read(len(view))
        view[: len(data)] = data
        for field in self._fields:
            for k in range(4):
                if 0 <= field + k - position < len(data):
                    view[field + k - position] = 0xFF
        return len(data)
