"""Duration of an MP3 file, as the sum of its frames.

Decoders read the duration from a table (Xing, Info or VBRI) in the first frame. If this table is missing or damaged,
they assume the bit rate of the first frame for the whole file. They may then stop early without an error.
"""

from __future__ import annotations

import re
from typing import BinaryIO

LENGTH_TABLES = (b"Xing", b"Info", b"VBRI")
TABLE = re.compile(b"|".join(LENGTH_TABLES))
# Layer III only. Keys: version (0: MPEG 2.5, 2: MPEG 2, 3: MPEG 1).
SAMPLE_RATES = {0: (11025, 12000, 8000), 2: (22050, 24000, 16000), 3: (44100, 48000, 32000)}
BITRATES_MPEG1_KBPS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
BITRATES_MPEG2_KBPS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
BLOCK = 1 << 20
MAX_SCAN_BYTES = 16 << 20  # a longer file with a table is not read to check the table


def mp3_duration_s(file: BinaryIO, size: int) -> float | None:
    """Returns the duration of all frames of a file of `size` bytes; None for a long file that has a length table."""
    file.seek(0)
    data = file.read(BLOCK)
    if data[:3] == b"ID3" and len(data) >= 10:
        length = 0
        for byte in data[6:10]:
            length = length << 7 | byte & 0x7F
        file.seek(10 + length)
        data = file.read(BLOCK)
    if (
        size > MAX_SCAN_BYTES
        and (first := _frame(data, 0))
        and any(table in data[: first[0]] for table in LENGTH_TABLES)
    ):
        return None
    seconds, position, end = 0.0, 0, False
    while True:
        if position + 4 > len(data) and not end:
            more = file.read(BLOCK)
            data, position, end = data[position:] + more, 0, not more
        frame = _frame(data, position)
        if frame is not None:
            position += frame[0]
            seconds += frame[1]
        elif position + 4 > len(data) and end:
            return seconds
        else:
            position += 1
            sync = data.find(b"\xff", position)
            position = len(data) if sync < 0 else sync
        if position > len(data) and not end:
            file.seek(position - len(data), 1)
            data, position = b"", 0


def mp3_streams(file: BinaryIO) -> tuple[tuple[tuple[int, int]], ...]:
    """Start and end of each stream, if a file of up to MAX_SCAN_BYTES contains several with a length table."""
    file.seek(0)
    data = file.read(MAX_SCAN_BYTES)
    starts = {0}
    for match in TABLE.finditer(data):
        place = match.start()
        for start in range(max(place - 64, 0), place):
            frame = _frame(data, start)
            if frame is not None and start + frame[0] > place:
                starts.add(start if start > frame[0] else 0)
                break
    ordered = sorted(starts)
    size = file.seek(0, 2)
    return tuple(((start, end),) for start, end in zip(ordered, [*ordered[1:], size], strict=True))


def _frame(data: bytes, position: int) -> tuple[int, float] | None:
    """Returns the size in bytes and the duration in seconds of the frame at `position`; None if there is none."""
    head = data[position : position + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, kbps, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version not in SAMPLE_RATES or kbps in (0, 15) or rate == 3:
        return None
    rate = SAMPLE_RATES[version][rate]
    samples = 1152 if version == 3 else 576
    bits = (BITRATES_MPEG1_KBPS if version == 3 else BITRATES_MPEG2_KBPS)[kbps] * 1000
    return samples * bits // (8 * rate) + (head[2] >> 1 & 1), samples / rate
