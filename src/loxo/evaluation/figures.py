"""The figures of an evaluation page, as matplotlib figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loxo.evaluation.inputs import Case
from loxo.evaluation.matching import FALSE_POSITIVE, Matching
from loxo.evaluation.metrics import RATES
from loxo.evaluation.spans import Detections, Truth
from loxo.report.figures import plain

# Colours of Okabe and Ito: readers with colour blindness can distinguish them, also as lines on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#5B5B5B")
FOUND_COLOUR, MISSED_COLOUR, FALSE_COLOUR = "#009E73", "#D55E00", "#8a9299"
MAX_TIMELINES = 40  # recordings with a timeline

Lines = Sequence[tuple[str, dict[str, Any]]]  # name and metrics of one criterion


def curves(lines: Lines) -> Figure:
    """Precision over recall and, if the hours are known, recall over false positives per hour on a log axis."""
    known = bool(lines) and all(figures["curve"]["false_per_hour"] is not None for _, figures in lines)
    figure = Figure(figsize=(9.6, 3.6) if known else (4.8, 3.6), layout="constrained")
    axes: list[Axes] = list(figure.subplots(1, 1 + known, squeeze=False)[0])
    for k, (name, figures) in enumerate(lines):
        curve, colour = figures["curve"], COLOURS[k % len(COLOURS)]
        axes[0].plot(
            curve["recall"], curve["precision"], color=colour, label=plain(name), drawstyle="steps-pre", lw=1.4
        )
        if known and curve["recall"]:
            min_rate = RATES[0] / 2
            rates = [min_rate, *np.maximum(curve["false_per_hour"], min_rate)]
            recall = [curve["recall"][0] if curve["false_per_hour"][0] <= min_rate else 0.0, *curve["recall"]]
            axes[1].plot(rates, recall, color=colour, drawstyle="steps-post", lw=1.4)
    axes[0].set(xlim=(0, 1.02), ylim=(0, 1.02), title="Precision and recall")
    axes[0].set(xlabel="recall: fraction of the events that are found", ylabel="precision: fraction that is right")
    if len(lines) > 1:
        axes[0].legend(fontsize=8, frameon=False, loc="lower left")
    if known:
        for rate in RATES:
            axes[1].axvline(rate, color="#c9ced2", lw=0.8, zorder=0)
        axes[1].set(xscale="log", ylim=(0, 1.02), xlabel="false positives an hour", ylabel="recall")
        axes[1].set_title("Recall and false positives")
        axes[1].set_xticks(RATES, [f"{rate:g}" for rate in RATES])
        axes[1].minorticks_off()
    return figure


def reliability(lines: Sequence[tuple[str, dict[str, Any]]]) -> Figure:
    """Precision of detections over their mean score, one point per bin. Calibrated scores are on the diagonal."""
    figure = Figure(figsize=(4.2, 3.8), layout="constrained")
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color="#c9ced2", lw=1, zorder=0)
    for k, (name, values) in enumerate(lines):
        bins = values["bins"]
        score, share = [b["score"] for b in bins], [b["share_right"] for b in bins]
        axis.plot(score, share, "o-", color=COLOURS[k % len(COLOURS)], ms=4, lw=1.2, label=plain(name))
    axis.set(xlim=(0, 1.02), ylim=(-0.02, 1.02), xlabel="score", ylabel="fraction that is right")
    if lines:
        axis.legend(fontsize=8, frameon=False, loc="upper left")
    return figure


def timelines(case: Case, truth: Truth, detections: Detections, matching: Matching, threshold: float | None) -> Figure:
    """One timeline per recording with found events, missed events and false positives; most errors first."""
    min_score = -np.inf if threshold is None else threshold
    hit = matching.found_at >= max(min_score, -np.finfo(float).max)
    missed, false = truth.counted & ~hit, (matching.verdict == FALSE_POSITIVE) & (detections.score >= min_score)
    number = len(case.recordings)
    errors = np.bincount(truth.recording[missed], minlength=number) + np.bincount(
        detections.recording[false], minlength=number
    )
    shown_items = errors + np.bincount(truth.recording[truth.counted], minlength=number)
    shown = [k for k in np.argsort(-errors, kind="stable") if shown_items[k]][:MAX_TIMELINES]
    known_s = case.duration_s[np.isfinite(case.duration_s)]
    last_s = max(float(known_s.max(initial=0.0)), float(truth.end.max(initial=0.0)))
    word, unit_s = ("hours", 3600) if last_s > 2 * 3600 else ("minutes", 60)
    figure = Figure(figsize=(9.6, 0.9 + 0.26 * len(shown)), layout="constrained")
    axis = figure.subplots()
    for row, k in enumerate(shown):
        duration_s = case.duration_s[k]
        if np.isfinite(duration_s):
            axis.plot([0, duration_s / unit_s], [row, row], color="#e3e6e8", lw=9, solid_capstyle="butt", zorder=0)
        for mask, colour, low, high in (
            (truth.counted & hit, FOUND_COLOUR, -0.38, 0.0),
            (missed, MISSED_COLOUR, -0.38, 0.0),
        ):
            at = truth.start[mask & (truth.recording == k)] / unit_s
            axis.vlines(at, row + low, row + high, color=colour, lw=1.2)
        at = detections.start[false & (detections.recording == k)] / unit_s
        axis.vlines(at, row + 0.04, row + 0.38, color=FALSE_COLOUR, lw=1.0)
    axis.set_yticks(range(len(shown)), [plain(_short(case.recordings[k])) for k in shown], fontsize=7)
    axis.set(ylim=(len(shown) - 0.4, -0.6), xlabel=f"{word} from the start of the recording")
    for colour, name in ((FOUND_COLOUR, "found"), (MISSED_COLOUR, "missed"), (FALSE_COLOUR, "false positive")):
        axis.plot([], [], "|", color=colour, label=name, ms=9, mew=1.6)
    axis.legend(ncols=3, fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0, 1.0))
    return figure


def _short(name: str) -> str:
    name = name.replace("\\", "/").rpartition("/")[2]
    return name if len(name) <= 40 else f"...{name[-37:]}"
