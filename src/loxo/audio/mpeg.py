"""How long an MP3 is by its frames.

Decoders take its length from a table (Xing, Info or VBRI) in the first frame. Where that is missing or damaged, they
take the first frame's bit rate for the whole file's, and may stop in the middle without a word.
"""

from __future__ import annotations

from typing import BinaryIO

TABLES = (b"Xing", b"Info", b"VBRI")
# By version (0: MPEG 2.5, 2: MPEG 2, 3: MPEG 1). Layer III only.
RATES = {0: (11025, 12000, 8000), 2: (22050, 24000, 16000), 3: (44100, 48000, 32000)}
KBPS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
KBPS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
BLOCK = 1 << 20
TRUSTED_BYTES = 16 << 20  # a longer file is not read whole to check its table


def seconds_of_frames(file: BinaryIO, size: int) -> float | None:
    """The sum of all frames' lengths in a file of `size` bytes; None for a long file that has a table of its frames."""
    file.seek(0)
    data = file.read(BLOCK)
    if data[:3] == b"ID3" and len(data) >= 10:
        length = 0
        for byte in data[6:10]:
            length = length << 7 | byte & 0x7F
        file.seek(10 + length)
        data = file.read(BLOCK)
    if size > TRUSTED_BYTES and (first := _frame(data, 0)) and any(table in data[: first[0]] for table in TABLES):
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


def _frame(data: bytes, position: int) -> tuple[int, float] | None:
    """Bytes and seconds of the frame that begins here, if one does."""
    head = data[position : position + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, kbps, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version not in RATES or kbps in (0, 15) or rate == 3:
        return None
    rate = RATES[version][rate]
    samples = 1152 if version == 3 else 576
    bits = (KBPS_1 if version == 3 else KBPS_2)[kbps] * 1000
    return samples * bits // (8 * rate) + (head[2] >> 1 & 1), samples / rate
