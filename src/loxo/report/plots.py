"""Pictures of an excerpt of a recording: spectrograms with events, and the heat map of the frame scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps, mlab
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from loxo.errors import LoxoError
from loxo.files import write_atomically
from loxo.languages import number, text
from loxo.report.sentences import noun

RUMBLE_BAND_HZ = 250.0
WINDOW_S = {"low": 1.0, "full": 0.064}  # of the spectrogram: fine frequencies for rumbles, fine times for gunshots
BANDS = tuple(WINDOW_S)
COLOURS = {"rumble": "#56B4E9", "gunshot": "#E69F00"}  # of Okabe and Ito, distinguishable for colour-blind people
OTHER_COLOUR = "#CC79A7"
LEVEL_DB = (-5.0, 30.0)  # range shown, relative to the median of each frequency
FORMATS = ("png", "svg", "pdf")


def draw_detections(
    samples: np.ndarray,
    sample_rate: int,
    events: pd.DataFrame,
    scores: np.ndarray | None,
    classes: tuple[str, ...],
    step_s: float,
    path: str | Path,
    *,
    truth: pd.DataFrame | None = None,
    title: str = "",
    bands: Sequence[str] = BANDS,
    start_s: float = 0.0,
    scores_start_s: float | None = None,
) -> Path:
    """Draws panels with one time axis into a file (PNG, SVG or PDF, from its suffix) and returns its path.

    samples: mono, (samples,), the first one at start_s of the recording. events: the events table of this recording.
    scores: (outputs, steps) probabilities, or None; the outputs of the classes come first, and only these are drawn. A
    step is step_s long; the first one begins at scores_start_s (default: start_s). truth: known events, drawn as dashed
    boxes, with the texts of its column `note`, if it has one. The panels are a spectrogram for each of `bands` ("low":
    0-250 Hz, windows of 1 s; "full": windows of 64 ms), and the scores as a heat map. An event above 250 Hz is drawn
    on the full band, if that is shown.
    Raises LoxoError for another suffix, and when the file cannot be written.
    """
    path = Path(path)
    kind = picture_format(path)
    duration = len(samples) / sample_rate
    heights = [3.0] * len(bands) + [1.1] * (scores is not None)
    figure = Figure(figsize=(12, 0.4 + sum(heights)), layout="constrained", dpi=110)
    axes: list[Axes] = list(figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0])
    tops = [band_top_hz(band, sample_rate) for band in bands]
    for axis, band, top in zip(axes, bands, tops, strict=False):
        draw_spectrogram(axis, samples, sample_rate, round(WINDOW_S[band] * sample_rate), top, start_s)
    known: dict[str, Any] = {"ls": "--", "lw": 0.9, "alpha": 0.9}
    for table, style in ((truth, known), (events, {"ls": "-", "lw": 1.6})):
        if table is not None:
            for event in table.to_dict("records"):
                panel = 0 if not event["high_hz"] > tops[0] else len(bands) - 1
                draw_box(axes[panel], event, tops[panel], **style)
    if scores is not None:
        first = start_s if scores_start_s is None else scores_start_s
        extent = (first, first + scores.shape[1] * step_s, len(classes) - 0.5, -0.5)
        steps = np.clip(scores[: len(classes)], 0, 1)
        image = axes[-1].imshow(
            steps, aspect="auto", cmap="viridis", vmin=0, vmax=1, extent=extent, interpolation="nearest"
        )
        axes[-1].set_yticks(range(len(classes)), classes)
        figure.colorbar(image, ax=axes[-1], label=text("score"), pad=0.01)
    axes[-1].set_xlabel(text("time (s)"))
    axes[-1].set_xlim(start_s, start_s + duration)
    if title:
        axes[0].set_title(title, loc="left", fontsize=11)
    buffer = BytesIO()
    figure.savefig(buffer, format=kind)
    write_atomically(path, buffer.getvalue())
    return path


def picture_format(path: Path) -> str:
    """The format of a picture: "png", "svg" or "pdf". Raises LoxoError for another suffix."""
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise LoxoError(f"{path}: a picture can be {', '.join(FORMATS)}. Give a name with one of these suffixes.")
    return kind


def band_top_hz(band: str, sample_rate: float) -> float:
    """The upper frequency limit of a band in Hz."""
    return min(RUMBLE_BAND_HZ, sample_rate / 2) if band == "low" else sample_rate / 2


def draw_spectrogram(
    axis: Axes,
    samples: np.ndarray,
    sample_rate: int,
    window: int,
    high_hz: float,
    start_s: float = 0.0,
    interpolation: str | None = None,
) -> None:
    """Draws the power of mono samples (samples,) from start_s, 0 to high_hz, in dB relative to each frequency's median.

    `interpolation` is that of matplotlib; "none" keeps an SVG small.
    """
    window = max(2, min(window, len(samples) // 2))  # at least two frames
    spectrum = mlab.specgram(samples, NFFT=window, Fs=sample_rate, noverlap=window * 7 // 8)
    power, hertz, seconds = (np.asarray(part, np.float64) for part in spectrum)
    keep = hertz <= high_hz
    level = 10 * np.log10(power[keep] + 1e-20)
    # Relative to the median, because hum and the decrease towards high frequencies would hide the calls.
    level = level - np.median(level, axis=1, keepdims=True)
    # The first and the last frame are shown from end to end: their middles are half a window inside.
    step = (seconds[1] - seconds[0]) if len(seconds) > 1 else 1.0
    beyond = math.ceil(window / 2 / sample_rate / step)
    level = np.pad(level, ((0, 0), (beyond, beyond)), mode="edge")
    reach = (beyond + 0.5) * step
    extent = (start_s + float(seconds[0] - reach), start_s + float(seconds[-1] + reach), 0.0, high_hz)
    # Few colours keep the picture in an SVG small.
    cmap = colormaps["magma"].resampled(24) if interpolation == "none" else "magma"
    colours: Any = {"cmap": cmap, "vmin": LEVEL_DB[0], "vmax": LEVEL_DB[1]}
    axis.imshow(level, origin="lower", aspect="auto", extent=extent, interpolation=interpolation, **colours)
    axis.set_ylabel(text("frequency (Hz)"))
    axis.set_ylim(0, high_hz)


def draw_box(axis: Axes, event: Mapping[Any, Any], top_hz: float, *, named: bool = True, **style: Any) -> None:
    """Draws the outline of an event; solid outlines with its score if `named`. Unknown frequencies: over the whole
    height."""
    colour = COLOURS.get(event["label"], OTHER_COLOUR)
    low = event["low_hz"] if event["low_hz"] == event["low_hz"] else 0.0
    high = min(event["high_hz"], top_hz) if event["high_hz"] == event["high_hz"] else top_hz
    width = event["end_s"] - event["start_s"]
    edge = [withStroke(linewidth=style["lw"] + 1.6, foreground="black", alpha=0.55)]  # visible on light and dark sounds
    place = (event["start_s"], low)
    axis.add_patch(Rectangle(place, width, high - low, fill=False, ec=colour, path_effects=edge, **style))
    if style["ls"] == "-" and named:
        score = f" {number(event['score'], '.2f')}" if event["score"] == event["score"] else ""
        _label(axis, f"{noun(event['label'])}{score}", event, high, colour)
    elif note := event.get("note"):
        _label(axis, note, event, high, "white")


def _label(axis: Axes, text: str, event: Mapping[Any, Any], high: float, colour: str) -> None:
    """Writes above a box: from its left edge, or up to its right edge where the text would leave the picture."""
    left, right = axis.get_xlim()
    is_late = event["start_s"] > left + 0.6 * (right - left)
    axis.annotate(
        text,
        (event["end_s"] if is_late else event["start_s"], high),
        ha="right" if is_late else "left",
        va="bottom",
        color=colour,
        fontsize=8,
        path_effects=[withStroke(linewidth=2, foreground="black", alpha=0.7)],
        annotation_clip=True,
    ).set_in_layout(False)
