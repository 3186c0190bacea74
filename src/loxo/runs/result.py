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

    events = analysis.events
    if events["start_time"].dtype != object:  # pandas' own times need pandas to be read
        times = [time.to_pydatetime() if time == time else None for time in events["start_time"]]
        events = events.assign(start_time=None).astype({"start_time": object})
        events["start_time"] = times
    return RecordingResult(
        events=[{str(name): value for name, value in row.items()} for row in events.to_dict("records")],
        score_file=score_file(analysis.rows, analysis.scores, analysis.hop_s) if keep_scores else None,
        duration_s=analysis.duration_s,
        analysed_s=analysis.analysed_s,
        fault=analysis.fault,
        notes=analysis.notes,
    )
