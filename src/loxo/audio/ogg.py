"""The streams of an OGG file and their lengths, compared with its pages.

An OGG file has no length in its header: the last page of a stream states the end time ("granule"), and is marked as the
last one. Files of several streams, one after the other, are legal ("chained"). Decoders read the first stream only, and
use the last page without a check.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from loxo.audio.crc import crc
from loxo.audio.headers import MAX_SECONDS, Layout, read_at
from loxo.audio.spliced import Segments

MAX_PAGE_BYTES = 65307
PACKET_FRAMES = {b"\x01vorbis": 8192, b"OpusHead": 5760, b"\x7fFLAC": 65535, b"Speex   ": 6400}  # longest packet
START, END = 2, 4  # flags of the first and last page of a stream


@dataclass(frozen=True)
class _Page:
    position: int
    flags: int
    granule: int  # end time in frames; -1: no packet ends on this page
    serial: int
    packets: int  # at most
    end: int  # position after the page


@dataclass
class _Stream:
    start: int
    end: int = 0
    serial: int = -1  # of the sound
    packet_frames: int = 0  # of the longest packet
    rate: int = 0
    skipped: int = 0  # frames at the start that are not played
    first: _Page | None = None  # first page with sound
    last: _Page | None = None
    before: int = 0  # end time of the pages before the last one


def read_ogg(file: BinaryIO, size: int, whole: bool) -> tuple[Layout, float | None]:
    """Compares the last pages with the other ones; also returns the end time in them, in seconds, if it is known.

    Decoders skip damaged pages without an error. Their output is then shorter than this duration. `whole`: all pages
    are read, not only the first and last ones; several streams with the same serial number are found only then.
    """
    streams = _streams(file, size, whole)
    sounding = [stream for stream in streams if stream.last is not None]
    if not sounding:
        return Layout(end_missing=True), None
    parts: list[Segments] = []
    flaws, seconds = [], []
    end_missing = False
    for stream in sounding:
        segments, is_right, is_whole = _check_end(file, stream)
        parts.append(segments)
        end_missing |= not is_whole
        if not is_right:
            flaws.append("the length in its last page is wrong")
        seconds.append(_seconds(stream) if is_right else None)
    end_missing |= _next_page(file, sounding[-1].end, size) < size
    if len(parts) > 1:
        flaws.append(f"it contains {len(parts)} recordings one after the other")
    layout = Layout(
        streams=tuple(parts) if flaws else (),
        flaw=" and ".join(dict.fromkeys(flaws)) or None,
        end_missing=end_missing,
        count=None in seconds and bool(flaws),
    )
    known = [value for value in seconds if value is not None]
    return layout, sum(known) if len(known) == len(seconds) else None


def _check_end(file: BinaryIO, stream: _Stream) -> tuple[Segments, bool, bool]:
    """Returns the bytes to read, whether the end time is possible, and whether the stream is whole."""
    page = stream.last
    assert page is not None
    data = read_at(file, page.position, page.end - page.position)
    is_sound = checksum(data[:22] + bytes(4) + data[26:]) == struct.unpack_from("<I", data, 22)[0]
    longest = page.packets * stream.packet_frames
    is_right = stream.before <= page.granule <= stream.before + longest and page.granule >= 0
    if page is stream.first:  # a stream may begin at any time
        is_right = 0 <= page.granule <= MAX_SECONDS * max(stream.rate, 1)
    is_whole = is_sound and bool(page.flags & END)
    if is_right:
        return ((stream.start, stream.end),), True, is_whole
    if not is_sound:
        return ((stream.start, page.position),), False, False
    head = data[:6] + struct.pack("<q", stream.before + longest) + data[14:22]
    check = struct.pack("<I", checksum(head + bytes(4) + data[26:]))
    return ((stream.start, page.position), head + check + data[26:], (page.end, stream.end)), False, is_whole


def _seconds(stream: _Stream) -> float | None:
    assert stream.first is not None and stream.last is not None
    if stream.first.granule > stream.first.packets * stream.packet_frames or not stream.rate:
        return None  # a part of a longer stream: its first page is missing
    return max(stream.last.granule - stream.skipped, 0) / stream.rate


def _streams(file: BinaryIO, size: int, whole: bool) -> list[_Stream]:
    streams: list[_Stream] = []
    position, starting = 0, False
    while position < size:
        page = _page(file, position, size)
        if page is None:
            position = _next_page(file, position + 1, size)
            continue
        if page.flags & START:
            if not starting:
                streams.append(_Stream(page.position))
            _read_start(file, page, streams[-1])
        elif streams and page.serial == streams[-1].serial:
            stream = streams[-1]
            if stream.last is not None and 0 <= stream.last.granule <= MAX_SECONDS * max(stream.rate, 1):
                stream.before = max(stream.before, stream.last.granule)
            if page.granule > 0 or stream.last is not None:
                stream.first = stream.first or page
                stream.last = page
        elif not whole:
            return _streams(file, size, whole=True)
        starting = bool(page.flags & START)
        if streams:
            streams[-1].end = page.end
        position = page.end
        if not whole and streams and streams[-1].first is not None and position < size - 2 * MAX_PAGE_BYTES:
            position = _next_page(file, size - 2 * MAX_PAGE_BYTES, size)
    return streams


def _read_start(file: BinaryIO, page: _Page, stream: _Stream) -> None:
    """Reads the first packet of a stream, if it is one of sound."""
    packet = read_at(file, page.position + 28, 64)
    for name, longest in PACKET_FRAMES.items():
        if packet.startswith(name):
            stream.serial, stream.packet_frames = page.serial, longest
            if name == b"OpusHead":  # counted at 48 kHz for every sample rate
                stream.rate, stream.skipped = 48000, struct.unpack_from("<H", packet.ljust(64, b"\0"), 10)[0]
            elif name == b"\x01vorbis":
                (stream.rate,) = struct.unpack_from("<I", packet.ljust(64, b"\0"), 12)


def _page(file: BinaryIO, position: int, size: int) -> _Page | None:
    """Returns the page at `position`; None if there is none, or if it is incomplete."""
    head = read_at(file, position, 282)
    if len(head) < 27 or head[:5] != b"OggS\0" or len(head) < 27 + head[26]:
        return None
    flags, granule, serial = struct.unpack_from("<BqI", head, 5)
    end = position + 27 + head[26] + sum(head[27 : 27 + head[26]])
    return None if end > size else _Page(position, flags, granule, serial, head[26], end)


def _next_page(file: BinaryIO, position: int, size: int) -> int:
    while position < size:
        block = read_at(file, position, 1 << 16)
        place = block.find(b"OggS")
        if place >= 0:
            return position + place
        position += max(len(block) - 3, 1)
    return size


def checksum(page: bytes) -> int:
    """Returns the CRC-32 of an OGG page. Decoders skip pages whose checksum is wrong. Used for one page per stream."""
    return crc(page, 32, 0x04C11DB7)
