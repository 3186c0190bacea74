"""`loxo show`: one stretch of a recording as a picture, with what the model hears in it.

Scores are the same as those of `loxo detect`, which looks at windows in steps of a fixed grid: the stretch is read with
a window more on either side, from a point of that grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from loxo.audio.filenames import base_name
from loxo.audio.recording import Recording, probe, read, stream
from loxo.errors import LoxoError
from loxo.files import escape
from loxo.report.plots import BANDS, draw_detections, picture_format

if TYPE_CHECKING:
    import pandas as pd

    from loxo.detection.scores import Scores

SHOWN_S = 120.0  # of a longer recording, unless a duration is given
MOST_S = 3600.0  # on one picture
FULL_RATE = 4000  # Hz, the highest that is drawn
NONE = "none"


@dataclass(frozen=True)
class Shown:
    picture: Path
    start_s: float
    end_s: float
    duration_s: float  # of the recording
    events: int  # on the picture


def show(
    recording: str | Path,
    out: str | Path | None = None,
    *,
    start: float = 0.0,
    duration: float | None = None,
    events: str | Path | None = None,
    model: str | Path | Any = "default",
    band: str | None = None,
) -> Shown:
    """Draws `duration` seconds (to the end, but 120 at most, unless given) of a recording from `start` on into `out`.

    `out` is PNG, SVG or PDF by its suffix, by default the recording's name with .png in the current folder. `model` is
    a bundled model's name, a path, a loaded model, or "none" for no scores. `events` is a Raven table or an events.csv
    to draw; without it those that the model finds. `band` is "low" (0-250 Hz) or "full"; by default both are drawn.
    Raises LoxoError when recording, table or model cannot be read, for a bad option, or when `out` cannot be written.
    """
    source = probe(recording)
    out = Path(f"{Path(recording).stem}.png") if out is None else Path(out)
    picture_format(out)
    if band is not None and band not in BANDS:
        raise LoxoError(f"There is no band {band!r}: give one of {', '.join(BANDS)}.")
    start, end = _stretch(source, start, duration)
    rate = min(source.sample_rate, FULL_RATE)
    samples = read(source, rate, start, end - start)
    table = None if events is None else _events_of(events, recording)
    scores, scores_start, classes, step_s = None, start, (), 1.0
    if model != NONE:
        network: Any = _load(model)
        config = network.config
        scores, first = stretch_scores(source, network, start, end)
        classes, step_s = config.classes, config.step_samples / config.sample_rate
        scores_start = first * step_s
        if table is None:
            table = _decoded(scores, config, first, source)
    shown = _within(table, start, end)
    draw_detections(
        samples,
        rate,
        shown,
        scores,
        classes,
        step_s,
        out,
        title=f"{base_name(str(recording))}, {start:g}-{end:g} s",
        bands=BANDS if band is None else (band,),
        start_s=start,
        scores_start_s=scores_start,
    )
    return Shown(out, start, end, source.duration_s, len(shown))


def _stretch(source: Recording, start: float, duration: float | None) -> tuple[float, float]:
    if not 0 <= start < source.duration_s:
        raise LoxoError(f"{source.path}: {start:g} s does not lie within its {source.duration_s:g} s.")
    if duration is not None and not 0 < duration <= MOST_S:
        raise LoxoError(f"One picture shows more than 0 and at most {MOST_S:g} s, not {duration:g} s.")
    return start, min(start + (SHOWN_S if duration is None else duration), source.duration_s)


def _load(model: Any) -> Any:
    if not isinstance(model, str | Path):
        return model
    from loxo.engine.engine import load_engine

    return load_engine(model)


def stretch_scores(source: Recording, model: Any, start: float, end: float) -> tuple[Scores, int]:
    """Frame scores (rows, steps) around start to end in seconds, and the step that the first of them is."""
    from loxo.detection.scores import frame_scores
    from loxo.engine.windows import WINDOW_OVERLAP, hop_steps

    config = model.config
    hop = hop_steps(WINDOW_OVERLAP, config.steps, config.stride_steps)
    step_s = config.step_samples / config.sample_rate
    margin = config.steps  # as far as a window reaches
    first = max(int(start / step_s) - margin, 0) // hop * hop
    # To where a window of the grid ends: one that is aligned with the end of a stretch would be off the grid.
    last = first + config.steps + -(-(int(np.ceil(end / step_s)) + margin - first) // hop) * hop
    blocks = stream(source, config.sample_rate, start=first * config.step_samples, stop=last * config.step_samples)
    return frame_scores(model, blocks, window_overlap=WINDOW_OVERLAP), first


def _decoded(scores: Scores, config: Any, first: int, source: Recording) -> pd.DataFrame:
    from loxo.detection.decode import decode

    found = decode(scores, config, first_step=first, total_samples=source.samples_at(config.sample_rate))
    return found.assign(recording=escape(str(source.path)))


def _events_of(table: str | Path, recording: str | Path) -> pd.DataFrame:
    """The rows of a table about a recording: by its path, or else by its name."""
    from loxo.events.reader import read_events

    path = Path(table)
    events = read_events(path)
    exact = events["recording"] == str(recording)
    named = events["recording"].map(base_name) == base_name(str(recording))
    chosen = exact if exact.any() else named
    if len(events) and not chosen.any():
        raise LoxoError(
            f"{path}: no event in it is of {base_name(str(recording))}, but of {base_name(events['recording'].iloc[0])}"
            " and perhaps others. Give the table of this recording."
        )
    return events[chosen].reset_index(drop=True)


def _within(events: pd.DataFrame | None, start: float, end: float) -> pd.DataFrame:
    from loxo.events.table import empty_events

    if events is None:
        return empty_events()
    return events[(events["end_s"] > start) & (events["start_s"] < end)].reset_index(drop=True)
