"""Embeddings: the latent output of a model for windows or events of a recording, for search and transfer learning."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loxo.audio.recording import Recording, RecordingError, probe, stream
from loxo.audio.urls import public_url
from loxo.detection.arrays import ARRAY, as_file
from loxo.detection.shards import make_grid
from loxo.engine.engine import Engine, LongInput, as_engine
from loxo.errors import LoxoError
from loxo.files import escape
from loxo.machine import one_thread

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

KEYS = ("recording", "start_s", "end_s")  # the columns before the features
MARGIN_STRIDES = 2  # strides that are read before and after the window of an event, for its frames at the borders

Floats = NDArray[np.float32]
Spans = Sequence[tuple[float, float]]  # start and end of events in seconds
Advance = Callable[[float, float], None]  # receives the finished seconds and the duration


def embed(
    recording: str | Path | NDArray[Any],
    model: str | Path | Engine | nn.Module = "default",
    *,
    sample_rate: int | None = None,
    events: Spans | None = None,
    window_overlap: float = 0.0,
    progress: Advance | None = None,
) -> pd.DataFrame:
    """One row for each window of a recording: recording, start_s, end_s (seconds), and the features e000, e001, ...

    `recording`, `sample_rate` and `model` as in loxo.detect. Windows begin at multiples of a hop; they overlap by the
    fraction `window_overlap` (at least 0, below 1). Silence follows the end of the recording in the last window. With
    `events` (start and end of each, in seconds), there is one row for each event instead: the features of the window
    whose centre is the centre of the event, as far as the recording allows this. Memory does not grow with the
    recording, apart from the result. `progress` receives the seconds that are done and the duration.
    Raises RecordingError when the recording cannot be read to its end, LoxoError for a bad option, an event outside the
    recording or a model without a latent output, TypeError as loxo.detect does.
    """
    import pandas as pd

    engine = as_engine(model)
    with as_file(recording, sample_rate) as path, one_thread():
        source = probe(path)
        if events is None:
            blocks = list(embed_windows(source, engine, window_overlap, progress))
            start, end = (np.concatenate([block[k] for block in blocks]) for k in (0, 1))
            features = np.concatenate([block[2] for block in blocks])
        else:
            start, end = np.array(events, float).reshape(-1, 2).T
            features = embed_events(source, engine, events)
    table = pd.DataFrame(features, columns=feature_names(features.shape[1]))
    name = ARRAY if isinstance(recording, np.ndarray) else escape(public_url(str(recording)))
    table.insert(0, "recording", pd.Series([name] * len(table), dtype="object"))
    table.insert(1, "start_s", start)
    table.insert(2, "end_s", end)
    return table


def feature_names(count: int) -> list[str]:
    """The columns of the features."""
    return [f"e{k:03}" for k in range(count)]


def embed_windows(
    recording: Recording, engine: Engine, window_overlap: float = 0.0, progress: Advance | None = None
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64], Floats]]:
    """Start and end in seconds (windows,) and features (windows, features) of one group of windows after another.

    Raises as embed does, perhaps after some groups.
    """
    if recording.fault is not None:
        raise RecordingError(recording.fault)
    grid = make_grid(recording, engine.config, window_overlap)
    window, hop, samples = grid.window, grid.hop * grid.step_samples, grid.samples
    done = 0
    for number in range(grid.chunks):
        first, stop = grid.chunk(number)
        waveform = _read(recording, grid.rate, first, stop)
        last = number == grid.chunks - 1
        count = -(-max(len(waveform) - window, 0) // hop) + 1 if last else (stop - first - window) // hop + 1
        padded = np.pad(waveform, (0, max((count - 1) * hop + window - len(waveform), 0)))
        source_input = engine.read(padded)  # once: windows share their front end
        size = engine.group or count
        for k in range(0, count, size):
            numbers = np.arange(k, min(k + size, count))
            features = _latent(source_input, [int(n) * hop for n in numbers])
            start = (done + numbers) * hop / grid.rate
            yield start, np.minimum(start + window / grid.rate, samples / grid.rate), features
        done += count
        if progress is not None:
            progress(min(stop, samples) / grid.rate, samples / grid.rate)


def embed_events(recording: Recording, engine: Engine, events: Spans) -> Floats:
    """Features (events, features) of the windows around events. Raises as embed does."""
    config = engine.config
    window, rate = config.window_samples, config.sample_rate
    samples, stride = recording.samples_at(rate), config.step_samples * config.stride_steps
    features = []
    for start_s, end_s in events:
        if not 0 <= start_s <= end_s or start_s * rate >= samples:
            raise LoxoError(
                f"{recording.path}: the event at {start_s:g} to {end_s:g} s is not in this recording, which is "
                f"{recording.duration_s:.1f} s long. Correct the table."
            )
        middle = (start_s + min(end_s, samples / rate)) / 2 * rate
        first = round((middle - window / 2) / stride) * stride  # on the grid of the windows of the recording
        first = min(max(first, 0), max(-(-(samples - window) // stride), 0) * stride)
        begin = max(first - MARGIN_STRIDES * stride, 0)
        waveform = _read(recording, rate, begin, min(first + window + MARGIN_STRIDES * stride, samples))
        missing = max(first - begin + window - len(waveform), 0)
        features.append(_latent(engine.read(np.pad(waveform, (0, missing))), [first - begin]))
    return np.concatenate(features) if features else np.zeros((0, config.features), np.float32)


def _read(recording: Recording, rate: int, first: int, stop: int) -> Floats:
    blocks = stream(recording, rate, start=first, stop=stop)
    waveform = np.concatenate([np.zeros(0, np.float32), *blocks])
    if blocks.fault is not None or not len(waveform):
        raise RecordingError(blocks.fault or f"{recording.path}: the recording holds no samples.")
    return waveform


def _latent(source: LongInput, firsts: list[int]) -> Floats:
    latent = source.outputs(firsts)[1]
    if latent is None:
        raise LoxoError("This model has no latent output, so it gives no embeddings.")
    return latent
