"""The streams of a FLAC file and their lengths, compared with its last frames.

The header states the number of samples, which may be 0 for "unknown". Decoders do not read more samples than it states.
Each frame of a FLAC contains its own position. The last one therefore shows the length of the file.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import BinaryIO

from loxo.audio.crc import crc
from loxo.audio.headers import Layout, is_absurd, read_at
from loxo.audio.spliced import Segments

SEARCH_BYTES = 64 << 20  # a longer file is searched for further streams only if its lengths do not agree
TAIL_BYTES = (1 << 16, 1 << 21)  # the second one is more than the longest frame
START = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
FRAME = re.compile(rb"\xff[\xf8\xf9]")
CRC8, CRC16 = (8, 0x07), (16, 0x8005)  # of a frame's header and of a whole frame: bits, polynomial
UNKNOWN_TOTALS = (0, (1 << 36) - 1)
RATES = {
    4: 8000,
    5: 16000,
    6: 22050,
    7: 24000,
    8: 32000,
    9: 44100,
    10: 48000,
    11: 96000,
    1: 88200,
    2: 176400,
    3: 192000,
}
BITS = {1: 8, 2: 12, 4: 16, 5: 20, 6: 24, 7: 32}


@dataclass(frozen=True)
class _Info:
    block: int  # frames of a block
    rate: int
    channels: int
    bits: int
    total: int


@dataclass(frozen=True)
class _Frame:
    position: int  # in the tail
    first: int  # number of its first sample
    end: int


def read_flac(file: BinaryIO, size: int, whole: bool) -> Layout | None:
    """Compares the stated number of samples with the last frames; None for another format.

    `whole`: the file may be searched for further streams.
    """
    head = read_at(file, 0, 10)
    begin = 0
    if head[:3] == b"ID3" and len(head) == 10:
        begin = 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])
    if read_at(file, begin, 4) != b"fLaC":
        return None
    layout = _read_stream(file, begin, size)
    if not whole or (size > SEARCH_BYTES and not (layout and (layout.flaw or layout.frames_missing))):
        return layout
    starts = _starts(file, begin, size)
    if len(starts) < 2:
        return layout
    layouts = [_read_stream(file, a, b) or Layout() for a, b in zip(starts, [*starts[1:], size], strict=True)]
    flaws = [f"it contains {len(layouts)} recordings one after the other", *(part.flaw for part in layouts)]
    return Layout(
        streams=tuple(
            segments
            for part, a, b in zip(layouts, starts, [*starts[1:], size], strict=True)
            for segments in part.streams or [((a, b),)]
        ),
        flaw=" and ".join(dict.fromkeys(flaw for flaw in flaws if flaw)),
        frames_missing=sum(part.frames_missing for part in layouts),
        count=any(part.count for part in layouts),
    )


def _read_stream(file: BinaryIO, start: int, end: int) -> Layout | None:
    info = _read_info(read_at(file, start, 42))
    if info is None:
        return None
    unknown = info.total in UNKNOWN_TOTALS or is_absurd(info.total, info.rate, end - start)
    last, complete = _last_frame(file, start, end, info)
    if last is None:
        return Layout(flaw="its header does not state the duration", count=True) if unknown else Layout()

    def corrected() -> tuple[Segments, ...]:
        fields = struct.unpack(">Q", read_at(file, start + 18, 8))[0] >> 36 << 36 | last.end
        return (((start, start + 18), struct.pack(">Q", fields), (start + 26, end)),)

    if unknown:
        return Layout(streams=corrected(), flaw="its header does not state the duration", count=not complete)
    if info.total < last.end:
        flaw = f"its header states {info.total} samples, but {last.end} are there"
        return Layout(streams=corrected(), flaw=flaw, count=not complete)
    if complete and info.total > last.end:
        return Layout(streams=corrected(), frames_missing=info.total - last.end)
    return Layout()


def _read_info(head: bytes) -> _Info | None:
    if len(head) < 42 or head[4] & 0x7F:
        return None
    _, block, fields = struct.unpack(">HH6xQ", head[8:26])
    rate, channels, bits = fields >> 44, (fields >> 41 & 7) + 1, (fields >> 36 & 31) + 1
    return _Info(block, rate, channels, bits, fields & (1 << 36) - 1)


def _last_frame(file: BinaryIO, start: int, end: int, info: _Info) -> tuple[_Frame | None, bool]:
    """Returns the last frame of a stream, and whether it is complete and not damaged."""
    for count in TAIL_BYTES:
        first = max(start + 42, end - count)
        tail = read_at(file, first, end - first)
        if len(tail) > 128 and tail[-128:-125] == b"TAG":  # ID3v1
            tail = tail[:-128]
        last = None
        ends = set()
        for match in FRAME.finditer(tail):
            frame = _frame(tail, match.start(), info)
            if frame is not None and (frame.first == 0 or frame.first in ends):
                last = frame
            if frame is not None:
                ends.add(frame.end)
        if last is not None:
            return last, crc(tail[last.position :], *CRC16) == 0
        if first == start + 42:
            break
    return None, False


def _frame(data: bytes, position: int, info: _Info) -> _Frame | None:
    """Reads the header of a frame; None if there is none that belongs to this stream."""
    head = data[position : position + 16].ljust(16, b"\0")  # the last frame of silence is shorter
    if head[3] & 1:
        return None
    block_code, rate_code, channel_code, bits_code = head[2] >> 4, head[2] & 15, head[3] >> 4, head[3] >> 1 & 7
    channels = channel_code + 1 if channel_code < 8 else 2
    if not block_code or rate_code == 15 or channel_code > 10 or channels != info.channels:
        return None
    if RATES.get(rate_code, info.rate) != info.rate or BITS.get(bits_code, info.bits) != info.bits:
        return None
    extra = 8 - (head[4] ^ 0xFF).bit_length()  # ones at the start of a number that is stored as in UTF-8
    if extra == 1 or extra > 7:
        return None
    count = max(extra, 1)
    number = head[4] & (0x7F if not extra else (1 << max(7 - extra, 0)) - 1)
    for byte in head[5 : 4 + count]:
        if byte >> 6 != 2:
            return None
        number = number << 6 | byte & 63
    at = 4 + count
    if block_code == 1:
        block = 192
    elif block_code < 6:
        block = 576 << block_code - 2
    elif block_code < 8:
        wide = block_code - 5
        block = int.from_bytes(head[at : at + wide], "big") + 1
        at += wide
    else:
        block = 256 << block_code - 8
    at += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if crc(head[:at], *CRC8) != head[at]:
        return None
    first = number if head[1] & 1 else number * info.block
    return _Frame(position, first, first + block)


def _starts(file: BinaryIO, begin: int, size: int) -> list[int]:
    """Positions of the headers of all streams. A header is followed by a plausible sample rate."""
    starts, position = [], begin
    while position < size:
        block = read_at(file, position, (1 << 20) + 42)
        for match in START.finditer(block[: (1 << 20) + 7]):
            info = _read_info(block[match.start() :])
            if info is not None and info.rate and info.block >= 16:
                starts.append(position + match.start())
        position += 1 << 20
    return starts
