"""The pictures of docs/events.md and docs/htsat.md: `python benchmarks/docs_pictures.py docs`.

Those of events.md show what each decoding parameter does to made-up frame scores, computed by the decoder itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from numpy.typing import NDArray

from loxo.detection.decode import find_events, smooth
from loxo.engine.config import Decoding

Scores = NDArray[np.float64]

STEP_S = 0.08
PLAIN = Decoding(threshold=0.0, edge_ratio=0.5)  # all other parameters do nothing
MIN_DRAWN = 0.1  # lower events are not drawn
BLUE, ORANGE, GREY, DARK = "#1f6fb4", "#c65d00", "#8a8f98", "#20242a"


def bumps(seconds: float, *shapes: tuple[float, float, float], noise: float = 0.0) -> Scores:
    """Frame scores with smooth bumps (middle, duration, height) in a little noise."""
    times = np.arange(round(seconds / STEP_S)) * STEP_S
    scores = np.full(len(times), 0.02)
    for middle, duration, height in shapes:
        rise = 1 / (1 + np.exp(-(times - middle + duration / 2) / 0.12))
        fall = 1 / (1 + np.exp((times - middle - duration / 2) / 0.12))
        scores = np.maximum(scores, height * rise * fall)
    rng = np.random.default_rng(3)
    return np.clip(scores + noise * rng.normal(size=len(times)), 0.001, 0.999)


def panel(axes: Axes, title: str, scores: Scores, decoding: Decoding, overlap: Scores | None = None) -> None:
    """One diagram: frame scores, smoothed scores if they differ, events as bars with their score."""
    times = np.arange(len(scores)) * STEP_S
    axes.plot(times, scores, color=GREY if decoding.smooth_s else BLUE, lw=1.2)
    if decoding.smooth_s:
        axes.plot(times, smooth(scores, decoding.smooth_s / STEP_S), color=BLUE, lw=1.6)
    if overlap is not None:
        axes.plot(times, overlap, color=ORANGE, lw=1.2, ls="--")
    level, last = -0.12, -1.0
    for first, stop, score in find_events(scores, decoding, STEP_S, overlap):
        if score < MIN_DRAWN:
            continue
        start, end = first * STEP_S, stop * STEP_S
        listed = score >= decoding.threshold
        level = -0.30 if start < last and level == -0.12 else -0.12
        axes.plot([start, end], [level, level], color=ORANGE if listed else GREY, lw=6, solid_capstyle="butt")
        axes.text((start + end) / 2, level - 0.05, f"{score:.2f}", ha="center", va="top", fontsize=7, color=DARK)
        last = end
    axes.set(title=title, ylim=(-0.55, 1.05), xlim=(0, times[-1]), xlabel="seconds", yticks=[0, 0.5, 1])
    axes.title.set_fontsize(9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def pair(draw: Callable[[Axes, Axes], None]) -> Figure:
    """Two diagrams beside each other, with the parameter off and on."""
    figure = Figure(figsize=(8, 2.5), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    left.set_ylabel("frame score")
    draw(left, right)
    return figure


def event_pictures() -> dict[str, Figure]:
    """The pictures of events.md by name."""
    call = bumps(12, (4, 3, 0.9), (9, 2, 0.45))
    noisy = bumps(12, (4, 3, 0.8), (9, 2, 0.5), noise=0.09)
    slope = bumps(12, (4, 1.2, 0.95), (5, 3.4, 0.62), (9.2, 2, 0.45))
    two = bumps(12, (3.6, 2.4, 0.9), (6.6, 2.4, 0.8), (5.1, 1.2, 0.55))
    click = bumps(12, (3, 0.7, 0.95), (8, 3, 0.75))
    rain = bumps(36, *[(1.5 + 2.7 * k, 0.6, 0.9) for k in range(10)], (31.5, 2, 0.9))
    long = bumps(12, (6, 6, 0.9))
    both = bumps(12, (6, 1.6, 0.8))
    pause = bumps(12, (3.4, 2, 0.85), (6.4, 2, 0.8), (10, 1, 0.2))

    def show(scores: Scores, **changes: float) -> Figure:
        (name, value), *_ = changes.items()

        def draw(left: Axes, right: Axes) -> None:
            panel(left, f"{name} = {getattr(PLAIN, name):g}", scores, PLAIN)
            panel(right, f"{name} = {value:g}", scores, replace(PLAIN, **changes))

        return pair(draw)

    def thresholds(left: Axes, right: Axes) -> None:
        panel(left, "threshold = 0.3", call, replace(PLAIN, threshold=0.3))
        panel(right, "threshold = 0.7", call, replace(PLAIN, threshold=0.7))

    def edges(left: Axes, right: Axes) -> None:
        panel(left, "edge_ratio = 0.75", slope, replace(PLAIN, edge_ratio=0.75))
        panel(right, "edge_ratio = 0.5", slope, replace(PLAIN, edge_ratio=0.5))

    def overlaps(left: Axes, right: Axes) -> None:
        panel(left, "overlap_threshold = 0", long, PLAIN, both)
        panel(right, "overlap_threshold = 0.05", long, replace(PLAIN, overlap_threshold=0.05), both)

    return {
        "threshold": pair(thresholds),
        "smooth": show(noisy, smooth_s=0.96),
        "edge": pair(edges),
        "valley": show(two, valley_ratio=0.88),
        "sustain": show(click, sustain_weight=0.5),
        "density": show(rain, density_penalty=1.0),
        "overlap": pair(overlaps),
        "duration": show(bumps(12, (3, 0.3, 0.8), (8, 3, 0.8)), min_duration_s=0.6),
        "gap": show(pause, merge_gap_s=2.0),
    }


def boxes(rows: list[tuple[str, str, str]], title: str) -> Figure:
    """A column of boxes with arrows between them: (name, size, what happens there)."""
    figure = Figure(figsize=(7.2, 0.72 * len(rows) + 0.5))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 10), ylim=(-len(rows) + 0.35, 1.0))
    axes.axis("off")
    axes.text(0.2, 0.72, title, fontsize=11, weight="bold", color=DARK)
    for k, (name, size, text) in enumerate(rows):
        axes.add_patch(
            FancyBboxPatch((0.2, -k - 0.28), 4.0, 0.56, boxstyle="round,pad=0.04", fc="#e8f1f9", ec=BLUE, lw=1.2)
        )
        axes.text(0.35, -k, name, va="center", fontsize=9, weight="bold", color=DARK)
        axes.text(4.1, -k, size, va="center", ha="right", fontsize=8.5, color=DARK)
        axes.text(4.55, -k, text, va="center", fontsize=8.5, color=DARK)
        if k:
            arrow = {"arrowstyle": "-|>", "color": BLUE}
            axes.annotate("", (2.2, -k + 0.33), (2.2, -k + 0.68), arrowprops=arrow)
    return figure


def network_pictures() -> dict[str, Figure]:
    """The pictures of htsat.md by name. The sizes are those of docs/model.md."""
    paper = [
        ("waveform", "320,000", "10 s at 32 kHz"),
        ("log-mel image", "64 x 1001", "64 mel bands up to 14 kHz"),
        ("folded image", "256 x 256", "cut into 4 parts of 256 frames, stacked"),
        ("tokens", "64 x 64", "patches of 4 bands x 4 frames"),
        ("stage 0, merge", "32 x 32", "2 x 2 tokens become one, in time too"),
        ("stage 1, merge", "16 x 16", "attention in windows of 8 x 8 tokens"),
        ("stage 2, merge", "8 x 8", ""),
        ("stage 3", "8 x 8", "attention over all tokens"),
        ("unfolded, convolution", "32 steps", "steps of 0.31 s, repeated to 1024 frames"),
    ]
    loxo = [
        ("waveform", "81,920", "20.48 s at 4 kHz"),
        ("two-resolution image", "2 x 128 x 512", "fine frequency below 250 Hz, fine time above"),
        ("stem", "32 x 128", "two convolutions, each halves the image"),
        ("tokens", "16 x 64", "a token lasts 0.32 s, one strip, no folding"),
        ("stage 0, merge", "8 x 64", "merged along frequency only"),
        ("stage 1, merge", "4 x 64", "attention in windows, shifted in every second block"),
        ("stage 2", "4 x 64", ""),
        ("convolution", "256 steps", "four steps of 0.08 s for each token"),
        ("fine head", "256 steps", "onsets of shots, from the first layer of the stem"),
        ("overlap head", "256 steps", "do two calls of a class overlap here?"),
    ]
    return {
        "paper": boxes(paper, "HTS-AT as published"),
        "loxo": boxes(loxo, "The network that Loxo ships"),
    }


def main() -> None:
    folder = Path(sys.argv[1])
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "loxo", "font.family": "sans-serif"}
    pictures = {f"events-{name}": figure for name, figure in event_pictures().items()}
    pictures |= {f"htsat-{name}": figure for name, figure in network_pictures().items()}
    for name, figure in pictures.items():
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None}, facecolor="white")


if __name__ == "__main__":
    main()
