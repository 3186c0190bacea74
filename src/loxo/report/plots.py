"""Pictures: spectrograms with the heat map of a detector's scores and the events on them."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import mlab
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from loxo.files import write_atomically

RUMBLE_BAND_HZ = 250.0
COLOURS = {"rumble": "#56B4E9", "gunshot": "#E69F00"}  # Okabe and Ito's, told apart by colour-blind people
OTHER_COLOUR = "#CC79A7"
LEVEL_DB = (-5.0, 30.0)  # shown, over the median of each frequency


def draw_detections(
    samples: np.ndarray,
    sample_rate: int,
    events: pd.DataFrame,
    scores: np.ndarray,
    classes: tuple[str, ...],
    step_s: float,
    path: str | Path,
    *,
    truth: pd.DataFrame | None = None,
    title: str = "",
) -> Path:
    """Writes a PNG of three panels over one time axis and returns its path.

    samples: mono, (samples,); events: the events table of this recording; scores: (classes, steps) probabilities, a
    step being step_s long; truth: known events, drawn as dashed boxes. The panels are the spectrogram of the rumble
    band (0-250 Hz, windows of 1 s), of the full band (windows of 64 ms), and the scores as a heat map.
    """
    path = Path(path)
    duration = len(samples) / sample_rate
    figure = Figure(figsize=(12, 7.5), layout="constrained", dpi=110)
    axes: list[Axes] = list(figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 1.1)))
    top = min(RUMBLE_BAND_HZ, sample_rate / 2)
    _spectrogram(axes[0], samples, sample_rate, window=sample_rate, high_hz=top)
    _spectrogram(axes[1], samples, sample_rate, window=round(0.064 * sample_rate), high_hz=sample_rate / 2)
    known: dict[str, Any] = {"ls": "--", "lw": 0.9, "alpha": 0.9}
    for table, style in ((truth, known), (events, {"ls": "-", "lw": 1.6})):
        if table is not None:
            for event in table.to_dict("records"):
                panel = 0 if event["high_hz"] <= top else 1
                _box(axes[panel], event, (top, sample_rate / 2)[panel], **style)
    steps = np.clip(scores, 0, 1)
    extent = (0.0, steps.shape[1] * step_s, len(classes) - 0.5, -0.5)
    image = axes[2].imshow(steps, aspect="auto", cmap="viridis", vmin=0, vmax=1, extent=extent, interpolation="nearest")
    axes[2].set_yticks(range(len(classes)), classes)
    axes[2].set_xlabel("time (s)")
    axes[2].set_xlim(0, duration)
    figure.colorbar(image, ax=axes[2], label="score", pad=0.01)
    if title:
        axes[0].set_title(title, loc="left", fontsize=11)
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    write_atomically(path, buffer.getvalue())
    return path


def _spectrogram(axis: Axes, samples: np.ndarray, sample_rate: int, window: int, high_hz: float) -> None:
    window = max(2, min(window, len(samples) // 2))  # at least two frames
    spectrum = mlab.specgram(samples, NFFT=window, Fs=sample_rate, noverlap=window * 7 // 8)
    power, hertz, seconds = (np.asarray(part, np.float64) for part in spectrum)
    keep = hertz <= high_hz
    level = 10 * np.log10(power[keep] + 1e-20)
    # Each band against its own median: hum and the fall towards high frequencies would hide the calls otherwise.
    level = level - np.median(level, axis=1, keepdims=True)
    half = (seconds[1] - seconds[0]) / 2 if len(seconds) > 1 else 0.5
    extent = (float(seconds[0] - half), float(seconds[-1] + half), 0.0, high_hz)
    axis.imshow(level, origin="lower", aspect="auto", cmap="magma", extent=extent, vmin=LEVEL_DB[0], vmax=LEVEL_DB[1])
    axis.set_ylabel("frequency (Hz)")
    axis.set_ylim(0, high_hz)


def _box(axis: Axes, event: Mapping[Any, Any], top_hz: float, **style: Any) -> None:
    colour = COLOURS.get(event["label"], OTHER_COLOUR)
    low, high = event["low_hz"], min(event["high_hz"], top_hz)
    width = event["end_s"] - event["start_s"]
    axis.add_patch(Rectangle((event["start_s"], low), width, high - low, fill=False, ec=colour, **style))
    if style["ls"] == "-":
        text = f"{event['label']} {event['score']:.2f}"
        axis.annotate(text, (event["start_s"], high), color=colour, fontsize=8, va="bottom", annotation_clip=True)
