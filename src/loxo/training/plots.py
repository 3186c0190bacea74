"""Plots of validation windows with their events and the model's scores, to follow what the model learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from loxo.detection.decode import decode
from loxo.engine.config import Decoding, ModelConfig
from loxo.training.validation import Floats, ValidationWindows


def choose_windows(validation: ValidationWindows, count: int) -> list[int]:
    """Indices of the windows to plot, the same at every call.

    Windows with an event come first, one of each class in turn. Windows without events follow.
    """
    groups = [sorted({int(k) for k in truth.recording}) for truth in validation.truth.values()]
    chosen: list[int] = []
    for rank in range(len(validation)):
        chosen += [group[rank] for group in groups if rank < len(group)]
    return list(dict.fromkeys([*chosen, *range(len(validation))]))[:count]


def plot_validation(
    folder: Path, iteration: int, scores: Floats, validation: ValidationWindows, config: ModelConfig, count: int
) -> None:
    """Writes `count` plots, named `iteration_000250_window_003.png` and so on.

    scores: (windows, rows, steps), probabilities.
    """
    from loxo.report.plots import draw_detections

    for window in choose_windows(validation, count):
        draw_detections(
            validation.samples[window],
            config.sample_rate,
            decode(scores[window], config),
            scores[window],
            config.classes,
            config.step_samples / config.sample_rate,
            folder / f"iteration_{iteration:06d}_window_{window:03d}.png",
            truth=_events_table(validation, window, config),
            title=f"validation window {window} after {iteration} iterations",
        )


def _events_table(validation: ValidationWindows, window: int, config: ModelConfig) -> pd.DataFrame:
    """The annotated events of one window, as an events table."""
    rows = []
    for label, truth in validation.truth.items():
        decoding = config.decoding.get(label, Decoding())
        for k in np.flatnonzero(truth.recording == window):
            rows.append((truth.start[k], truth.end[k], label, np.nan, decoding.low_hz, decoding.high_hz))
    return pd.DataFrame(rows, columns=["start_s", "end_s", "label", "score", "low_hz", "high_hz"])
