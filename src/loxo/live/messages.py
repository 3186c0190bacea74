"""Messages between `loxo watch` and its workers. No numerical package is imported here (see survey/processes.py)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from loxo.audio.finding import WAVE_SUFFIXES
from loxo.detection.part import Part
from loxo.runs.result import RecordingResult


@dataclass(frozen=True)
class Request:
    """What is asked about a recording. `parts` are those of its first chunks, in order."""

    parts: tuple[Part, ...]
    quiet: bool  # the file has not changed for a time: complete, if it is as long as its header states
    final: bool  # complete, even if its header is wrong
    compare: bool  # the file has changed since a part was computed
    minutes: float  # of sound that one task may search


@dataclass(frozen=True)
class Answer:
    """`result` contains the events of the chunks so far, None where nothing is new or more follows at once."""

    complete: bool  # the recording
    part: Part | None = None
    result: RecordingResult | None = None
    more: bool = False  # more can be searched at once
    again: bool = False  # the earlier parts are of another recording
    next_size: int = 0  # bytes of the file at which the next chunk is there


def searchable_early(path: str | Path) -> bool:
    """Whether a recording of this name is searched before it is complete."""
    return str(path).lower().endswith(WAVE_SUFFIXES)
