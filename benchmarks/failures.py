"""What a detector gets wrong on the real recordings of a pack, as pictures.

    python benchmarks/failures.py --work runs/bench-accuracy --pack PACK [--runs default "tonal line, flux"] [--out DIR]

Takes what `bench_accuracy.py --pack PACK` left in --work: its part of the pack, and a run of each detector over it.
Writes for each class DIR/real-CLASS-curves.png, precision and recall of all --runs, and DIR/real-CLASS-failures.png:
the events that the first of them misses at --rate false positives an hour, and its false positives there, the highest
scores first. Dashed: what is true; solid: what the detector lists there, with its score; dotted: and near by.

With --open only recordings are drawn whose `use` in the pack's manifest.csv allows training; those marked for local
evaluation are named only.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loxo.audio.recording import probe, read
from loxo.evaluation import figures
from loxo.evaluation.evaluate import Evaluation, evaluate
from loxo.evaluation.inputs import OneClass
from loxo.evaluation.matching import FALSE, HIT10, IOU30, match
from loxo.report.plots import WINDOW_S, band_top_hz, draw_box, draw_spectrogram
from pack import Row, background_hours, part_rows

COLUMNS = 4
MOST_FALSE = 8
LISTED = 0.01  # lower scores are not drawn
Failure = tuple[str, int, float, float]  # what it is, number of the recording, start and end in s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--part", default="measure")
    parser.add_argument("--runs", nargs="+", default=["default"])
    parser.add_argument("--rate", type=float, default=5.7, choices=(1.0, 5.7, 20.0))
    parser.add_argument("--open", action="store_true", help="draw only what has a licence for it")
    parser.add_argument("--out", type=Path, default=Path("runs/failures"))
    options = parser.parse_args()
    folder = options.work / f"real-{options.part}"
    runs = [options.work / "real-runs" / name for name in options.runs]
    rows = part_rows(options.pack, options.part)
    found = evaluate(
        [folder / "truth.csv"],
        runs,
        recordings=folder / "files",
        hours=background_hours(rows),
        exhaustive=True,
        classes=["rumble", "gunshot"],
    )
    options.out.mkdir(parents=True, exist_ok=True)
    hidden = closed(rows) if options.open else set()
    for one in found.case.classes:
        criterion = HIT10 if one.label == "gunshot" else IOU30  # as bench_accuracy.py quotes them
        lines = [
            (name, part["classes"][one.label]["criteria"][criterion.name])
            for name, part in zip(options.runs, found.report["detectors"], strict=True)
        ]
        figures.curves(lines).savefig(options.out / f"real-{one.label}-curves.png", dpi=90)
        failures = failures_of(one, lines[0][1], criterion, options.rate)
        print(f"\n{one.label}: {len(failures)} failures at {options.rate:g} false positives an hour")
        drawn = []
        for failure in failures:
            what, number, start, end = failure
            name = found.case.recordings[number]
            shown = Path(name).name not in hidden
            print(f"  {what}: {Path(name).name}, {start:.1f}-{end:.1f} s{'' if shown else ' (not drawn)'}")
            if shown:
                drawn.append(failure)
        if drawn:
            sheet(found, one, folder / "files", drawn).savefig(options.out / f"real-{one.label}-failures.png", dpi=70)


def closed(rows: list[Row]) -> set[str]:
    """Names, as bench_accuracy.py links them, of recordings without a licence that allows more than measuring."""
    return {row["file"].replace("/", "-") for row in rows if not row["use"].startswith("train")}


def failures_of(one: OneClass, quoted: dict[str, Any], criterion: Any, rate: float) -> list[Failure]:
    """Missed events in the order of the recordings, then false positives from the highest score down."""
    threshold = next(at["threshold"] for at in quoted["at"] if at["rate"] == rate)
    threshold = np.inf if threshold is None else threshold
    truth, found = one.truth, one.found[0]
    matching = match(truth, found, criterion)
    missed = np.flatnonzero(truth.counted & ~(matching.found_at >= threshold))
    false = np.flatnonzero((matching.verdict == FALSE) & (found.score >= threshold))
    false = false[np.argsort(-found.score[false], kind="stable")][:MOST_FALSE]
    return [
        *(("missed", int(truth.recording[k]), float(truth.start[k]), float(truth.end[k])) for k in missed),
        *(("false", int(found.recording[k]), float(found.start[k]), float(found.end[k])) for k in false),
    ]


def sheet(found: Evaluation, one: OneClass, folder: Path, failures: list[Failure]) -> Figure:
    """A spectrogram of each failure, side by side."""
    rows = -(-len(failures) // COLUMNS)
    figure = Figure(figsize=(4.2 * COLUMNS, 2.5 * rows), layout="constrained")
    axes: list[Axes] = list(figure.subplots(rows, COLUMNS, squeeze=False).flat)
    for axis, failure in zip(axes, failures, strict=False):
        draw(axis, one, found.case.recordings, folder, failure)
    for axis in axes[len(failures) :]:
        axis.axis("off")
    return figure


def draw(axis: Axes, one: OneClass, recordings: list[str], folder: Path, failure: Failure) -> None:
    what, number, start, end = failure
    name = Path(recordings[number]).name
    first, last, top = draw_around(axis, folder / name, one.label, start, end)
    unknown = {"label": one.label, "low_hz": np.nan, "high_hz": np.nan, "score": np.nan}
    truth, listed = one.truth, one.found[0].above(LISTED)
    for k in np.flatnonzero((truth.recording == number) & (truth.end > first) & (truth.start < last)):
        event = {"start_s": truth.start[k], "end_s": truth.end[k]}
        draw_box(axis, {**unknown, **event}, 0.9 * top, ls="--", lw=1.6)
    for k in np.flatnonzero((listed.recording == number) & (listed.end > first) & (listed.start < last)):
        event = {"start_s": listed.start[k], "end_s": listed.end[k], "score": listed.score[k]}
        meant = listed.end[k] > start and listed.start[k] < end
        draw_box(axis, {**unknown, **event}, 0.9 * top, ls="-" if meant else ":", lw=1.0)
    axis.set_title(f"{what}: {Path(name).stem[:48]}", fontsize=8, loc="left")


def draw_around(axis: Axes, path: Path, label: str, start: float, end: float) -> tuple[float, float, float]:
    """The spectrogram around a stretch of a recording, in the class's band; from when to when and how high it goes."""
    band = "low" if label == "rumble" else "full"
    rate, around = figures.READ_RATE[band], figures.AROUND_S[band]
    first = max(0.0, start - around)
    samples = read(probe(path), rate, first, end - first + around)
    last, top = first + len(samples) / rate, band_top_hz(band, rate)
    draw_spectrogram(axis, samples, rate, round(WINDOW_S[band] * rate), top, first)
    axis.set_xlim(first, last)
    axis.set_ylabel("")
    axis.tick_params(labelsize=7)
    return first, last, top


if __name__ == "__main__":
    main()
