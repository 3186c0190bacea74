"""Sizes of Matroska, MP4, Windows Media, WavPack and AAC files in their headers, to detect files that are cut off.

Decoders of these formats read the packets that exist and do not report missing ones.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from loxo.audio.headers import Layout, is_chunk_name, read_at

ASF_FILE = b"\xa1\xdc\xab\x8c\x47\xa9\xcf\x11\x8e\xe4\x00\xc0\x0c\x20\x53\x65"  # identifier of the file properties
MAX_TAG_BYTES = 1 << 16  # after the end of a file
ADTS_TAIL_BYTES = 1 << 15  # more than three frames
UNKNOWN_SAMPLES = (1 << 32) - 1  # in a WavPack file that was written into a pipe
MAX_SIZE = 1 << 47  # bytes; a larger size in a header is damaged


def check_size(file: BinaryIO, size: int) -> Layout:
    """Compares the size in the header of a file with its `size` in bytes."""
    stated = stated_size(file)
    if stated is None and read_at(file, 0, 4) == b"wvpk":
        return Layout(end_missing=not _is_whole_wavpack(file, size))
    if stated is None:
        return Layout(end_missing=_ends_in_adts_frame(file, size))
    if size < stated < MAX_SIZE:
        return Layout(end_missing=True)
    if size - stated > MAX_TAG_BYTES:
        return Layout(note=f"{size - stated} bytes follow after its end and cannot be read")
    return Layout()


def _ends_in_adts_frame(file: BinaryIO, size: int) -> bool:
    """Returns True if the last frame of an AAC file without a container is incomplete."""
    if not read_at(file, 0, 2).startswith((b"\xff\xf1", b"\xff\xf9")):
        return False
    tail = read_at(file, max(size - ADTS_TAIL_BYTES, 0), -1)
    for first in range(len(tail) - 7):
        position, frames = first, 0
        while position + 7 <= len(tail) and tail[position] == 0xFF and tail[position + 1] & 0xF6 == 0xF0:
            length = int.from_bytes(tail[position + 3 : position + 6], "big") >> 5 & 0x1FFF
            position, frames = position + max(length, 7), frames + 1
        if frames >= 3:
            return position != len(tail) and tail[position : position + 3] != b"TAG"
    return False


def _is_whole_wavpack(file: BinaryIO, size: int) -> bool:
    """Returns True if the blocks of a WavPack file follow each other to its end, and contain the stated samples."""
    position = total = done = 0
    while (head := read_at(file, position, 24))[:4] == b"wvpk" and len(head) == 24:
        length, stated, number, count = struct.unpack("<I4xIII", head[4:])
        total, done = total or stated, max(done, number + count)
        position += length + 8
    end = read_at(file, position, 8)
    return (position == size or end == b"APETAGEX" or end[:3] == b"TAG") and total in (done, UNKNOWN_SAMPLES)


def stated_size(file: BinaryIO) -> int | None:
    """Returns the size of a Matroska, MP4 or Windows Media file in its header; None if there is none."""
    magic = read_at(file, 0, 16)
    if magic[:4] == b"\x1aE\xdf\xa3":
        first = _ebml_length(file, 4)
        second = _ebml_length(file, first[0] + (first[1] or 0) + 4) if first else None
        return second[0] + second[1] if second and second[1] is not None else None
    if magic[4:8] in (b"ftyp", b"moov", b"mdat"):
        position = 0
        while len(head := read_at(file, position, 16)) >= 8:
            length, name = struct.unpack(">I4s", head[:8])
            if position and name == b"ftyp":
                return position  # another file follows
            if length == 1 and len(head) == 16:
                (length,) = struct.unpack(">Q", head[8:])
            if length < 8 or not is_chunk_name(name):
                return None
            position += length
        return position
    if magic[:4] == b"\x30\x26\xb2\x75":
        head = read_at(file, 0, 65536)
        place = head.find(ASF_FILE)
        if place >= 0 and len(head) >= place + 92 and not head[place + 88] & 1:  # 1: a broadcast, without a length
            return int(struct.unpack_from("<Q", head, place + 40)[0])
    return None


def _ebml_length(file: BinaryIO, position: int) -> tuple[int, int | None] | None:
    """Returns the start of the content of an EBML element, and its length or None if it is not stated."""
    head = read_at(file, position, 8)
    if not head or not head[0]:
        return None
    count = 9 - head[0].bit_length()
    if len(head) < count:
        return None
    length = int.from_bytes(head[:count], "big") - (1 << 7 * count)
    return position + count, None if length == (1 << 7 * count) - 1 else length
