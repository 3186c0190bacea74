"""Lengths in the headers of recordings, compared with the bytes that are there.

One rule for all containers. Decoders use the lengths in a header. If it is wrong, they therefore read the sound behind
a corrected header (`Layout.streams`):

- the stated length ends at the end of the file, or at another chunk: it is right;
- more bytes follow: they are read too;
- bytes are missing: the loss is reported, except up to one frame, and except lengths that count the header;
- an absurd length (0, -1, the largest number of a field, more than MAX_SECONDS) counts as unknown: the sound is read to
  the end of the file.

Nothing is allocated by a stated length. This module reads WAV, RF64 (also called BW64), W64, AIFF and CAF. `ogg.py`,
`flac.py` and `sizes.py` apply the rule to other formats.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import BinaryIO

from loxo.audio.spliced import Segments

RECOVERED = "recovered: "  # in the note of a recording that was read although its header is wrong
MAX_SECONDS = 366 * 86400.0  # a longer recording does not exist: its stated length is damaged
MAX_FRAMES_PER_BYTE = 8192  # of digital silence in FLAC, Vorbis or Opus
HEADER_BYTES = 256  # some recorders count the header, up to this length, in the length of the sound
MAX_FRAME_BYTES = 4096  # a longer frame in a header is damaged
SEARCH_BYTES = 1 << 20  # at the start for the sound after a damaged chunk, at the end for the chunks after the sound
MAX_CHUNKS = 1000  # in one file
MAX_CANDIDATES = 64  # for the start of the chunks after the sound
UNKNOWN = 0xFFFFFFFF
W64_RIFF = b"riff\x2e\x91\xcf\x11"
W64_GUID = b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"  # end of the identifiers of chunks


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The sound in a file, after its header was compared with the bytes that are there."""

    streams: tuple[Segments, ...] = ()  # the bytes that decoders read, for each stream; empty: the file as it is
    flaw: str | None = None  # what is wrong in the header, a clause; nothing is lost
    note: str | None = None  # a smaller flaw, a clause: decoders read the file as it is
    present: int = 0  # bytes of sound in the file
    missing: int = 0  # bytes of sound that the header states and the file does not contain
    end_missing: bool = False  # the file is cut off, and the missing length is unknown
    frames_missing: int = 0  # the same in frames, for a FLAC
    count: bool = False  # the number of frames is unknown until all of them are decoded
    codec: str | None = None  # name of a codec in a WAV, AIFF or CAF, if it is not plain PCM


def is_absurd(frames: int, rate: int, size: int) -> bool:
    """Returns True for a number of frames that a file of `size` bytes cannot contain."""
    return not 0 <= frames <= min(MAX_SECONDS * max(rate, 1), size * MAX_FRAMES_PER_BYTE)


@dataclass(frozen=True)
class _Family:
    """Chunks of a container format."""

    head: str  # struct format of the name and the length
    align: int
    counts_head: bool  # the length of a chunk counts its own head
    known: frozenset[bytes]  # names of chunks without sound

    def read(self, file: BinaryIO, position: int) -> tuple[bytes, int, int] | None:
        """Returns name, length of the content and start of the content; None at the end of the file."""
        size = struct.calcsize(self.head)
        head = read_at(file, position, size)
        if len(head) < size:
            return None
        name, length = struct.unpack(self.head, head)
        return name, length - size if self.counts_head else length, position + size

    def after(self, file: BinaryIO, start: int, length: int) -> int:
        """Returns the position of the next chunk, also if a padding byte is missing."""
        end = start + max(length, 0)
        padded = -(-end // self.align) * self.align
        if self.align == 2 and padded != end:
            names = read_at(file, end, 5)
            if names[:4] in self._names and names[1:] not in self._names:
                return end
        return padded

    @property
    def _names(self) -> frozenset[bytes]:
        return self.known | SOUND

    def chunks(self, file: BinaryIO, position: int) -> Iterator[tuple[bytes, int, int, int]]:
        """Yields name, length, start of the content and position of the next chunk, as long as names are plausible."""
        for _ in range(MAX_CHUNKS):
            chunk = self.read(file, position)
            if chunk is None or not is_chunk_name(chunk[0]):
                return
            position = self.after(file, chunk[2], chunk[1])
            yield *chunk, position

    def reaches(self, file: BinaryIO, position: int, size: int) -> bool:
        """Returns True if chunks without sound fill the file from `position` to its end."""
        end = position
        for name, length, start, following in self.chunks(file, position):
            if name in SOUND or length < 0 or start + length > size:
                return False
            end = following
        return end > position and size - end <= 1


def _names(text: str) -> frozenset[bytes]:
    return frozenset(name.ljust(4).encode() for name in text.split())


SOUND = _names("data SSND RIFF RIFX RF64 BW64 FORM fmt COMM") | {b"riff", b"caff"}
WAVE_CHUNKS = _names(
    "LIST list id3 ID3 bext iXML guan cue fact PEAK smpl inst acid JUNK junk PAD FLLR afsp _PMX axml chna wamd elm1 "
    "DISP cart umid minf regn levl plst ds64 summ"
)
RIFF = _Family("<4sI", 2, False, WAVE_CHUNKS)
RIFX = replace(RIFF, head=">4sI")
W64 = _Family("<4s12xq", 8, True, WAVE_CHUNKS)
AIFF = _Family(">4sI", 2, False, _names("MARK INST MIDI AESD APPL COMT NAME AUTH ANNO ID3 PEAK FVER CHAN") | {b"(c) "})
CAF = _Family(
    ">4sq", 1, False, _names("info mark regn chan pakt kuki strg uuid free ovvw midi umid inst peak edct desc")
)

WAVE_CODECS = {
    0x0002: "MS ADPCM",
    0x0011: "IMA ADPCM",
    0x0022: "TrueSpeech",
    0x0031: "GSM 6.10",
    0x0040: "G.721",
    0x0045: "G.726",
    0x0050: "MPEG",
    0x0055: "MP3",
    0x0064: "G.726",
    0x00FF: "AAC",
    0x0161: "Windows Media",
    0x0162: "Windows Media",
    0x2000: "AC-3",
}
AIFF_AS_CAF = {  # codec of an AIFF: the same in a CAF, and its flags (1: float, 2: little-endian)
    b"NONE": (b"lpcm", 0),
    b"twos": (b"lpcm", 0),
    b"sowt": (b"lpcm", 2),
    b"fl32": (b"lpcm", 1),
    b"FL32": (b"lpcm", 1),
    b"fl64": (b"lpcm", 1),
    b"FL64": (b"lpcm", 1),
    b"ulaw": (b"ulaw", 0),
    b"alaw": (b"alaw", 0),
}


def read_layout(file: BinaryIO) -> Layout | None:
    """Compares the header of a file with its bytes. None for a format without lengths, or a header without sound."""
    size = file.seek(0, io.SEEK_END)
    magic = read_at(file, 0, 32)
    if magic[8:12] == b"WAVE" and magic[:4] in (b"RIFF", b"RF64", b"BW64", b"RIFX"):
        return _wave(file, size, RIFX if magic[:4] == b"RIFX" else RIFF, 12)
    if magic[:8] == W64_RIFF:
        return _wave(file, size, W64, 40)
    if magic[:4] == b"FORM" and magic[8:12] in (b"AIFF", b"AIFC"):
        return _aiff(file, size)
    if magic[:4] == b"caff":
        return _caf(file, size)
    return None


@dataclass(frozen=True)
class _Decision:
    """The length of the sound that is read, and the reason if it is not the stated one."""

    length: int
    missing: int = 0
    flaw: str | None = None
    note: str | None = None
    changed: bool = False  # the header states another length


def _decide(
    file: BinaryIO,
    family: _Family,
    start: int,
    stated: int,
    size: int,
    *,
    frame_bytes: int,
    rate: float,
    unknown: bool = False,
    wraps: bool = False,
    flaw: str | None = None,
) -> _Decision:
    """Applies the rule to the sound from `start` on. `stated`: its length in bytes in the header.

    `unknown`: the header states no length. `wraps`: the length may have lost multiples of 2^32. `flaw`: another one.
    """
    present = max(size - start, 0)
    frame_bytes = frame_bytes if 0 < frame_bytes <= MAX_FRAME_BYTES else 1

    def is_end(length: int) -> bool:
        end = start + length
        if size - end <= 1 or size - end < frame_bytes:
            return True
        following = family.after(file, start, length)
        chunk = family.read(file, following)
        return chunk is not None and (chunk[0] in family.known or family.reaches(file, following, size))

    if unknown or stated < 0 or stated > MAX_SECONDS * max(frame_bytes * min(rate, 4e6), 8):
        length = _end_of_sound(file, family, start, size) - start
        return _Decision(length, flaw="its header does not state the duration", changed=True)
    if stated > present:
        missing = stated - present
        if missing > max(frame_bytes, min(start, HEADER_BYTES)) and stated not in (size, size - 8):
            return _Decision(present, missing=missing, flaw=flaw, changed=True)
        note = f"its header states {missing} bytes more than it contains" if missing > frame_bytes else None
        return _Decision(present, flaw=flaw, note=note, changed=True)
    if is_end(stated):
        return _Decision(stated, flaw=flaw, changed=flaw is not None)
    if wraps:
        for length in range(stated + (1 << 32), present + 1, 1 << 32):
            if is_end(length):
                return _Decision(length, flaw="the length in its header has only 32 bits", changed=True)
    length = _end_of_sound(file, family, start, size) - start
    if not stated:
        return _Decision(length, flaw="its header does not state the duration", changed=True)
    return _Decision(length, flaw=f"its header states {stated} bytes of sound, but {length} are there", changed=True)


def _end_of_sound(file: BinaryIO, family: _Family, start: int, size: int) -> int:
    """Returns the start of the chunks at the end of the file, or its end if the sound is last."""
    first = max(start, size - SEARCH_BYTES)
    tail = read_at(file, first, -1)
    names = re.compile(b"|".join(re.escape(name) for name in sorted(family.known)))
    for match in islice(names.finditer(tail), MAX_CANDIDATES):
        if family.reaches(file, first + match.start(), size):
            return first + match.start()
    return size


def _layout(decision: _Decision, corrected: Callable[[int], Segments], codec: str | None) -> Layout:
    """`corrected` returns the segments of the file with a header that states a length."""
    return Layout(
        streams=(corrected(decision.length),) if decision.changed else (),
        flaw=decision.flaw,
        note=decision.note,
        present=decision.length,
        missing=decision.missing,
        codec=codec,
    )


def _wave(file: BinaryIO, size: int, family: _Family, position: int) -> Layout | None:
    long_length: int | None = None
    form, flaw = b"", None
    for name, length, start, following in family.chunks(file, position):
        if name == b"data":
            break
        if name == b"ds64":
            long_length = struct.unpack("<8xQ", read_at(file, start, 16).ljust(16, b"\0"))[0]
        elif name == b"fmt ":
            form = read_at(file, start, min(max(length, 16), 128))
        if family.align == 2 and length % 2 and following == start + length:
            flaw = "a padding byte is missing in its header"
    else:
        form = b""
    if not form:
        if (found := _search_sound(file, family)) is None:
            return None
        form, length, start = found
        flaw = "a length in its header is wrong"
    if len(form) < 16:
        return None
    order = family.head[0]
    tag, _, rate, _, block, _ = struct.unpack(order + "HHIIHH", form[:16])
    if tag == 0xFFFE and len(form) >= 26:  # libsndfile does not read this extension in a W64
        (tag,) = struct.unpack_from(order + "H", form, 24)
        form = struct.pack(order + "H", tag) + form[2:16]
    is_long = length == UNKNOWN and bool(long_length)
    decision = _decide(
        file,
        family,
        start,
        long_length if is_long and long_length else length,
        size,
        frame_bytes=block,
        rate=rate,
        unknown=family.align == 2 and not is_long and _is_placeholder(length),
        wraps=family.align == 2 and not is_long,
        flaw=flaw,
    )

    def corrected(length: int) -> Segments:
        if order == ">":
            head = struct.pack(">4sI4s4sI", b"RIFX", 28 + len(form) + length, b"WAVE", b"fmt ", len(form))
            return head + form + struct.pack(">4sI", b"data", length), (start, start + length)
        padded = form + bytes(-len(form) % 8)  # W64: its lengths have 64 bits
        head = W64_RIFF + b"\xa5\xd6\x28\xdb\x04\xc1\0\0" + struct.pack("<Q", 112 - 24 + len(padded) + length)
        head += b"wave" + W64_GUID + b"fmt " + W64_GUID + struct.pack("<Q", 24 + len(form)) + padded
        return head + b"data" + W64_GUID + struct.pack("<Q", 24 + length), (start, start + length)

    if family is W64 and start + decision.length < size:
        decision = replace(decision, changed=True)  # libsndfile reads the chunks after the sound as sound
    return _layout(decision, corrected, WAVE_CODECS.get(tag))


def _search_sound(file: BinaryIO, family: _Family) -> tuple[bytes, int, int] | None:
    """Finds the format and the sound of a WAV after a chunk with a wrong length: format, length, start of the sound."""
    head = read_at(file, 0, SEARCH_BYTES)
    end = W64_GUID if family is W64 else b""
    form = family.read(file, head.find(b"fmt " + end)) if b"fmt " + end in head else None
    sound = family.read(file, head.find(b"data" + end, form[2])) if form and b"data" + end in head[form[2] :] else None
    return (read_at(file, form[2], min(max(form[1], 16), 128)), *sound[1:]) if form and sound else None


def _aiff(file: BinaryIO, size: int) -> Layout | None:
    common, sound = b"", None
    for name, length, start, _ in AIFF.chunks(file, 12):
        if name == b"COMM":
            common = read_at(file, start, 22)
        elif name == b"SSND":
            sound = length, start
            if common:
                break
    if sound is None or len(common) < 18:
        return None
    length, start = sound
    (shift,) = struct.unpack(">I", read_at(file, start, 4).ljust(4, b"\0"))
    begin = start + 8 + (shift if shift < size else 0)
    channels, _, bits, exponent, mantissa = struct.unpack(">hIhHQ", common[:18])
    rate = mantissa * 2.0 ** max(min((exponent & 0x7FFF) - 16383 - 63, 0), -63)
    frame_bytes = max(channels, 0) * (max(bits, 0) + 7) // 8
    decision = _decide(
        file,
        AIFF,
        begin,
        length - (begin - start),
        size,
        frame_bytes=frame_bytes,
        rate=rate,
        unknown=_is_placeholder(length),
        wraps=True,
    )
    codec = common[18:22] if len(common) == 22 and read_at(file, 8, 4) == b"AIFC" else b"NONE"

    def corrected(length: int) -> Segments:
        if length < UNKNOWN - size % 2 - 65536 or codec not in AIFF_AS_CAF:
            stated = struct.pack(">I", min(length + begin - start, UNKNOWN))
            form = struct.pack(">I", min(size - 8, UNKNOWN))
            return (0, 4), form, (8, start - 4), stated, (start, size)
        # The lengths of an AIFF have 32 bits, those of a CAF 64 bits.
        name, flags = AIFF_AS_CAF[codec]
        desc = struct.pack(">d4sIIIII", rate, name, flags, frame_bytes, 1, channels, bits)
        head = b"caff\0\1\0\0" + struct.pack(">4sq", b"desc", len(desc)) + desc
        return head + struct.pack(">4sqI", b"data", length + 4, 0), (begin, begin + length)

    return _layout(decision, corrected, None if codec in AIFF_AS_CAF else codec.decode("latin-1").strip())


def _caf(file: BinaryIO, size: int) -> Layout | None:
    desc, sound = b"", None
    for name, length, start, _ in CAF.chunks(file, 8):
        if name == b"data":
            sound = length, start
            break
        if name == b"desc":
            desc = read_at(file, start, 32)
    if sound is None or len(desc) < 32:
        return None
    length, start = sound
    rate, codec, _, packet_bytes, packet_frames = struct.unpack(">d4sIII", desc[:24])
    decision = _decide(
        file,
        CAF,
        start + 4,
        length - 4,
        size,
        frame_bytes=packet_bytes,
        rate=rate / max(packet_frames, 1) if 0 < rate < 1e9 else 0.0,
    )

    def corrected(length: int) -> Segments:
        return (0, start - 8), struct.pack(">q", length + 4), (start, size)

    return _layout(decision, corrected, None if codec == b"lpcm" else codec.decode("latin-1").strip())


def _is_placeholder(length: int) -> bool:
    """Returns True for the numbers that programs write before the length of the sound is known, as into a pipe."""
    return length >= 0xFFFFFF00 or 0x7FFFF000 <= length <= 0x80000000


def is_chunk_name(name: bytes) -> bool:
    return all(32 <= byte < 127 or byte == 0xA9 for byte in name) and name != b"    "


def read_at(file: BinaryIO, position: int, count: int) -> bytes:
    if position >= 1 << 62:  # from a damaged length; seek accepts no larger position
        return b""
    file.seek(position)
    return file.read(count)
