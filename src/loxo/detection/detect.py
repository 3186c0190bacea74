"""The events of one recording."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loxo.audio.recording import RecordingError, probe, stream
from loxo.detection.decode import decode
from loxo.detection.scores import Scores, frame_scores
from loxo.events.table import events_frame

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn


class RecordingWarning(UserWarning):
    """A recording was analysed in part only."""


@dataclass(frozen=True)
class Analysis:
    """What came out of one recording. Times in seconds."""

    events: pd.DataFrame
    labels: tuple[str, ...]
    scores: Scores  # (labels, steps)
    hop_s: float  # length of a step
    duration_s: float  # promised by the header: what is missing included
    analysed_s: float
    fault: str | None  # why not all of it was analysed, one sentence
    notes: tuple[str, ...]  # odd, but nothing is lost


def analyse(
    path: str | Path,
    model: nn.Module,
    *,
    threshold: float | None = None,
    overlap: float = 0.5,
    batch_size: int = 8,
    progress: Callable[[float, float], None] | None = None,
) -> Analysis:
    """Frame scores and events of one recording of any length, in constant memory.

    See frame_scores for `overlap` and `batch_size`, decode for `threshold`. `progress` is called with the seconds
    read and the seconds there are. Whatever can be read of a damaged recording is analysed; `fault` tells the rest.
    Raises RecordingError when nothing can be read, LoxoError for a bad option.
    """
    recording = probe(path)
    config: Any = model.config
    blocks = stream(recording, config.sample_rate)
    on_samples = None
    if progress is not None:
        total = recording.duration_s

        def on_samples(samples: int) -> None:
            progress(min(samples / config.sample_rate, total), total)

    scores = frame_scores(model, blocks, overlap=overlap, batch_size=batch_size, progress=on_samples)
    if not blocks.samples:
        raise RecordingError(
            blocks.fault or f"{path}: the recording is shorter than one sample of the model. Leave it out."
        )
    found = decode(scores, config, threshold=threshold, total_samples=blocks.samples)
    notes = [recording.note] if recording.note else []
    if blocks.zeroed:
        notes.append(f"{path}: {blocks.zeroed} samples were infinite or no number and were taken as silence.")
    return Analysis(
        events=events_frame(found.assign(recording=os.fspath(path)).to_dict("records")),
        labels=tuple(config.classes),
        scores=scores,
        hop_s=config.step_samples / config.sample_rate,
        duration_s=(recording.frames + recording.missing_frames) / recording.sample_rate,
        analysed_s=blocks.samples / config.sample_rate,
        fault=blocks.fault or recording.fault,
        notes=tuple(notes),
    )


def detect(
    path: str | Path,
    model: nn.Module,
    *,
    threshold: float | None = None,
    overlap: float = 0.5,
    batch_size: int = 8,
    progress: Callable[[float, float], None] | None = None,
) -> pd.DataFrame:
    """The events of one recording as an events table (see loxo.events.table), with the path as given.

    `threshold` (0 to 1) lists only events that score at least as much; without it each class has its own, which comes
    with the model. It never moves an event's edges. See analyse for the other parameters.
    Raises RecordingError when the recording cannot be read at all; when it can be read in part, that part is analysed
    and a RecordingWarning says what is missing.
    """
    analysis = analyse(path, model, threshold=threshold, overlap=overlap, batch_size=batch_size, progress=progress)
    for sentence in filter(None, (analysis.fault, *analysis.notes)):
        warnings.warn(sentence, RecordingWarning, stacklevel=2)
    return analysis.events
