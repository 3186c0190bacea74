"""Figures of an evaluation, as matplotlib figures; drawn once, written into the page as SVG or PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loxo.audio.recording import RecordingError, probe, read
from loxo.evaluation.inputs import Case
from loxo.evaluation.matching import FALSE, Matching
from loxo.evaluation.metrics import RATES
from loxo.evaluation.spans import Found, Truth
from loxo.report.plots import RUMBLE_BAND_HZ, WINDOW_S, band_top_hz, draw_box, draw_spectrogram

# Okabe and Ito's, dark enough for lines on white, told apart by colour-blind people
INKS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#5B5B5B")
FOUND, MISSED, WRONG = "#009E73", "#D55E00", "#8a9299"
MOST_STRIPS = 40  # recordings drawn one by one
READ_RATE = {"low": 1000, "full": 4000}  # Hz
AROUND_S = {"low": 15.0, "full": 4.0}  # shown before and after an event

Lines = Sequence[tuple[str, dict[str, Any]]]  # name and figures of one criterion


def curves(lines: Lines) -> Figure:
    """Precision over recall; beside it, where hours are known, recall over false positives an hour on a log axis."""
    known = bool(lines) and all(figures["curve"]["false_per_hour"] is not None for _, figures in lines)
    figure = Figure(figsize=(9.6, 3.6) if known else (4.8, 3.6), layout="constrained")
    axes: list[Axes] = list(figure.subplots(1, 1 + known, squeeze=False)[0])
    for k, (name, figures) in enumerate(lines):
        curve, ink = figures["curve"], INKS[k % len(INKS)]
        text = f"{name} (AP {figures['ap']:.2f})" if figures["ap"] is not None else name
        axes[0].plot(curve["recall"], curve["precision"], color=ink, label=text, drawstyle="steps-pre", lw=1.4)
        if known and curve["recall"]:
            lowest = RATES[0] / 2
            rates = [lowest, *np.maximum(curve["false_per_hour"], lowest)]
            recall = [curve["recall"][0] if curve["false_per_hour"][0] <= lowest else 0.0, *curve["recall"]]
            axes[1].plot(rates, recall, color=ink, drawstyle="steps-post", lw=1.4)
    axes[0].set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02), title="Precision and recall")
    if lines:
        axes[0].legend(fontsize=8, frameon=False, loc="lower left")
    if known:
        for rate in RATES:
            axes[1].axvline(rate, color="#c9ced2", lw=0.8, zorder=0)
        axes[1].set(xscale="log", ylim=(0, 1.02), xlabel="false positives an hour", ylabel="recall")
        axes[1].set_title("Recall against false positives an hour")
        axes[1].set_xticks(RATES, [f"{rate:g}" for rate in RATES])
        axes[1].minorticks_off()
    return figure


def reliability(lines: Sequence[tuple[str, dict[str, Any]]]) -> Figure:
    """Share of right detections over their mean score; points as large as their bins. On the diagonal: calibrated."""
    figure = Figure(figsize=(4.2, 3.8), layout="constrained")
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color="#c9ced2", lw=1, zorder=0)
    for k, (name, values) in enumerate(lines):
        bins = values["bins"]
        score, share = [b["score"] for b in bins], [b["share_right"] for b in bins]
        text = name if values["error"] is None else f"{name} (error {values['error']:.2f})"
        axis.plot(score, share, "o-", color=INKS[k % len(INKS)], ms=4, lw=1.2, label=text)
    axis.set(xlim=(0, 1.02), ylim=(-0.02, 1.02), xlabel="score", ylabel="share that is right", title="Reliability")
    if lines:
        axis.legend(fontsize=8, frameon=False, loc="upper left")
    return figure


def strips(case: Case, truth: Truth, found: Found, matching: Matching, threshold: float | None) -> Figure:
    """A line of time for each recording: events found and missed, false positives under them. Most errors first."""
    cut = -np.inf if threshold is None else threshold
    hit = matching.found_at >= max(cut, -np.finfo(float).max)
    missed, false = truth.counted & ~hit, (matching.verdict == FALSE) & (found.score >= cut)
    number = len(case.recordings)
    errors = np.bincount(truth.recording[missed], minlength=number) + np.bincount(
        found.recording[false], minlength=number
    )
    anything = errors + np.bincount(truth.recording[truth.counted], minlength=number)
    shown = [k for k in np.argsort(-errors, kind="stable") if anything[k]][:MOST_STRIPS]
    figure = Figure(figsize=(9.6, 0.9 + 0.26 * max(len(shown), 1)), layout="constrained")
    axis = figure.subplots()
    for row, k in enumerate(shown):
        whole = case.duration_s[k]
        if np.isfinite(whole):
            axis.plot([0, whole / 3600], [row, row], color="#e3e6e8", lw=9, solid_capstyle="butt", zorder=0)
        for mask, colour, low, high in ((truth.counted & hit, FOUND, -0.38, 0.0), (missed, MISSED, -0.38, 0.0)):
            at = truth.start[mask & (truth.recording == k)] / 3600
            axis.vlines(at, row + low, row + high, color=colour, lw=1.2)
        at = found.start[false & (found.recording == k)] / 3600
        axis.vlines(at, row + 0.04, row + 0.38, color=WRONG, lw=1.0)
    axis.set_yticks(range(len(shown)), [_short(case.recordings[k]) for k in shown], fontsize=7)
    axis.set(ylim=(max(len(shown), 1) - 0.4, -0.6), xlabel="hours from the start of the recording")
    for colour, name in ((FOUND, "found"), (MISSED, "missed"), (WRONG, "false positive")):
        axis.plot([], [], "|", color=colour, label=name, ms=9, mew=1.6)
    axis.legend(ncols=3, fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0, 1.0))
    return figure


def _short(name: str) -> str:
    name = name.replace("\\", "/").rpartition("/")[2]
    return name if len(name) <= 40 else f"...{name[-37:]}"


def example(path: Path, row: dict[str, Any], label: str, truth: list[dict[str, Any]]) -> Figure | None:
    """A spectrogram around an event: a detection as a solid box, true events dashed. None where it cannot be read."""
    band = "low" if label == "rumble" else "full"
    rate, around = READ_RATE[band], AROUND_S[band]
    start = max(0.0, row["start_s"] - around)
    try:
        samples = read(probe(path), rate, start, min(row["end_s"] - start + around, 60.0))
    except RecordingError:
        return None
    if len(samples) < rate // 2:
        return None
    figure = Figure(figsize=(4.6, 2.3), layout="constrained")
    axis = figure.subplots()
    top = min(band_top_hz(band, rate), RUMBLE_BAND_HZ if band == "low" else rate / 2)
    draw_spectrogram(axis, samples, rate, round(WINDOW_S[band] * rate), top, start)
    unknown = {"label": label, "low_hz": np.nan, "high_hz": np.nan, "score": np.nan}
    for event in truth:
        draw_box(axis, {**unknown, **event}, top, ls="--", lw=1.2)
    if "score" in row:
        draw_box(axis, {**unknown, **row}, top, ls="-", lw=1.4)
    axis.set_xlim(start, start + len(samples) / rate)
    axis.set_xlabel("s", fontsize=7)
    axis.tick_params(labelsize=7)
    return figure
