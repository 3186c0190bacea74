"""The events of one recording.

Samples become frame scores (shards.py), frame scores become events (decode.py). Events get frequency bounds
(frequency.py), site and start time (audio/filenames.py).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loxo.audio.channels import MIX, Channel, channel_note, channel_rows, parse_channel, searched_channels
from loxo.audio.filenames import USUAL_NAMES, Names
from loxo.audio.recording import Recording, probe
from loxo.audio.urls import public_url
from loxo.detection.arrays import ARRAY, as_file
from loxo.detection.decode import decode_rows
from loxo.detection.frequency import measure
from loxo.detection.scores import Scores, rounded
from loxo.detection.shards import Joined, make_grid, score_recording
from loxo.detection.threshold import Threshold, check_threshold
from loxo.engine.engine import Engine, as_engine
from loxo.engine.windows import WINDOW_OVERLAP
from loxo.events.table import CHANNEL, event_rows, events_frame
from loxo.files import escape
from loxo.machine import one_thread

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn


class RecordingWarning(UserWarning):
    """A recording was analysed only in part, or has a flaw that loses nothing."""


@dataclass(frozen=True)
class Analysis:
    """The result of one recording. Times are in seconds."""

    event_rows: list[dict[str, Any]]  # of the events table, in its order; numbers and times as in plain Python
    rows: tuple[str, ...]  # outputs of the model (config.rows): its classes, then overlap outputs; of each channel
    scores: Scores  # (rows, steps), as they are stored
    hop_s: float  # length of a step
    duration_s: float  # by the header, missing audio included
    analysed_s: float
    fault: str | None  # why the recording was not analysed whole, one sentence
    notes: tuple[str, ...]  # flaws that lose nothing, a sentence each

    @property
    def events(self) -> pd.DataFrame:
        return events_frame(self.event_rows)


def analyse(
    path: str | Path,
    model: str | Path | Engine | nn.Module = "default",
    *,
    threshold: Threshold = None,
    window_overlap: float = WINDOW_OVERLAP,
    batch_size: int = 8,
    channel: Channel = MIX,
    names: Names = USUAL_NAMES,
    progress: Callable[[float, float], None] | None = None,
) -> Analysis:
    """Frame scores and events of one recording of any length, in constant memory.

    `window_overlap` (at least 0, below 1) is the overlap of consecutive windows as a fraction, `batch_size` the
    number of windows that a GPU computes at once. For `threshold` see decode. `channel` is "mix" (the mean of all
    channels), a number from 1, or "each"; except with "mix", events have a further column `channel`. `names` defines
    how site and start are read from the path. `progress` receives the finished seconds and the duration.
    The readable part of a damaged recording is analysed; `fault` states what is missing.
    Raises RecordingError when nothing can be read, LoxoError for an invalid option.
    """
    engine = as_engine(model)
    config: Any = engine.config
    check_threshold(threshold, config.classes)
    channel = parse_channel(channel)
    recording = probe(path)
    grid = make_grid(recording, config, window_overlap)
    advance = None
    if progress is not None:
        total = recording.duration_s

        def advance(seconds: float) -> None:
            progress(min(seconds, total), total)

    with one_thread():
        joined = score_recording(engine, recording, grid, batch_size=batch_size, channel=channel, advance=advance)
    return conclude(path, recording, config, joined, threshold=threshold, channel=channel, names=names)


def conclude(
    path: str | Path,
    recording: Recording,
    config: Any,
    joined: Joined,
    *,
    threshold: Threshold = None,
    channel: Channel = MIX,
    names: Names = USUAL_NAMES,
) -> Analysis:
    """The events of a recording from the frame scores of its channels. `path` is its name; a URL loses its secrets.

    The scores are rounded as they are stored, so that decoding kept scores again gives the same events.
    """
    path = public_url(os.fspath(path))
    scores = rounded(joined.scores)
    channels = searched_channels(path, recording.channels, channel)
    events: list[dict[str, Any]] = []
    notes = [recording.note, channel_note(path, joined.channels)]
    for index, of_channel in zip(channels, np.split(scores, len(channels)), strict=True):
        found = decode_rows(of_channel, config, threshold=threshold, total_samples=joined.samples)
        found, unmeasured = measure(found, recording, config, joined.samples, index)
        number = {} if index is None else {CHANNEL: index + 1}
        events += [{"recording": escape(path), **event, **number} for event in found]
        notes.append(unmeasured)
    if joined.zeroed:
        notes.append(f"{path}: samples that were not finite, or far beyond the level of all others, became silence.")
    return Analysis(
        event_rows=event_rows(events, names),
        rows=channel_rows(config.rows, len(channels)),
        scores=scores,
        hop_s=config.step_samples / config.sample_rate,
        duration_s=(recording.frames + recording.missing_frames) / recording.sample_rate,
        analysed_s=joined.samples / config.sample_rate,
        fault=joined.fault or recording.fault,
        notes=tuple(dict.fromkeys(filter(None, notes))),
    )


def detect(
    recording: str | Path | NDArray[Any],
    model: str | Path | Engine | nn.Module = "default",
    *,
    sample_rate: int | None = None,
    threshold: Threshold = None,
    window_overlap: float = WINDOW_OVERLAP,
    batch_size: int = 8,
    channel: Channel = MIX,
    names: Names = USUAL_NAMES,
    progress: Callable[[float, float], None] | None = None,
) -> pd.DataFrame:
    """The events of one recording as an events table (see loxo.events.table).

    `recording` is a path, a URL, or an array with its `sample_rate` (Hz): samples of shape (n,), or (n, channels) which
    are mixed; floats within -1 to 1, or int16 or int32. The table names a path as given, and an array "array". `model`
    is a bundled model's name, the path of a model file, an engine (loxo.engine.engine), or a PyTorch module.
    `threshold` (0 to 1; one for all classes, or by class) lists only events that score at least as much; without it
    each class has its own, which comes with the model. It never moves an event's edges. See analyse for the other
    parameters.
    Raises RecordingError when the recording cannot be read at all; when it can be read in part, that part is analysed
    and a RecordingWarning says what is missing. Raises LoxoError for a folder, several recordings or a bad option, and
    TypeError for an array or a model of another kind.
    """
    options: dict[str, Any] = {
        "threshold": threshold,
        "window_overlap": window_overlap,
        "batch_size": batch_size,
        "channel": channel,
        "progress": progress,
    }
    with as_file(recording, sample_rate) as path:
        analysis = analyse(path, model, names=names, **options)
    events, sentences = analysis.events, [analysis.fault, *analysis.notes]
    if isinstance(recording, np.ndarray):
        events = events.assign(recording=ARRAY)
        sentences = [sentence and sentence.replace(str(path), "The array") for sentence in sentences]
    for sentence in filter(None, sentences):
        warnings.warn(sentence, RecordingWarning, stacklevel=2)
    return events
