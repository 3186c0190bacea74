"""A file put together from parts of another file and from bytes in memory, as decoders read it.

A decoder uses the lengths in a header. If they are wrong, it reads the same sound behind a corrected header.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import BinaryIO

from loxo.audio.raw_file import RawFile

Segment = bytes | tuple[int, int]  # bytes in memory, or start and end (exclusive) in the file
Segments = tuple[Segment, ...]


def segments_length(segments: Segments) -> int:
    return sum(_length(segment) for segment in segments)


def _length(segment: Segment) -> int:
    return len(segment) if isinstance(segment, bytes) else segment[1] - segment[0]


class SplicedFile(RawFile):
    """`segments` of `file`, one after the other, as a file for reading at any position."""

    def __init__(self, file: BinaryIO, segments: Sequence[Segment]) -> None:
        super().__init__()
        self._file, self._segments = file, segments
        self._starts = [0, *accumulate(map(_length, segments))]

    @property
    def _size(self) -> int:
        return self._starts[-1]

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]  # any writable buffer
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view) and self._position < self._starts[-1]:
            k = bisect_right(self._starts, self._position) - 1
            part, inside = self._segments[k], self._position - self._starts[k]
            count = min(len(view) - done, self._starts[k + 1] - self._position)
            if isinstance(part, bytes):
                data = part[inside : inside + count]
            else:
                self._file.seek(part[0] + inside)
                data = self._file.read(count)
            if not data:
                break
            view[done : done + len(data)] = data
            done += len(data)
            self._position += len(data)
        return done
