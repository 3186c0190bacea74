"""The results of one recording as plain values. They come from a worker process and are written into the run folder.

The process that writes the folder needs no numerical packages, so it starts quickly and needs little memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loxo.detection.detect import Analysis


@dataclass(frozen=True)
class RecordingResult:
    """The results of one recording. Times are in seconds."""

    events: list[dict[str, Any]]  # rows of the events table, in its order
    score_file: bytes | None  # content of the file of frame scores, if scores are kept
    duration_s: float  # by the header, missing audio included
    analysed_s: float
    fault: str | None  # why the recording was not analysed whole, one sentence
    notes: tuple[str, ...]  # flaws that lose nothing, a sentence each


Outcome = RecordingResult | str  # or why the recording has failed


def recording_result(analysis: Analysis, keep_scores: bool = False) -> RecordingResult:
    """The results to write. Raises LoxoError when the frame scores cannot be stored."""
    from loxo.runs.scores import score_file

    return RecordingResult(
        events=analysis.event_rows,
        score_file=score_file(analysis.rows, analysis.scores, analysis.hop_s) if keep_scores else None,
        duration_s=analysis.duration_s,
        analysed_s=analysis.analysed_s,
        fault=analysis.fault,
        notes=analysis.notes,
    )
