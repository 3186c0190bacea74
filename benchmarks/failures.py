"""The errors of a detector on the real recordings of a pack, as figures.

    python benchmarks/failures.py --work runs/bench-accuracy --pack PACK [--runs default "tonal line, flux"] [--out DIR]

The input is the result of `bench_accuracy.py --pack PACK` in --work: its part of the pack, and a run of each detector.
For each class two files are written. DIR/real-CLASS-curves.png has precision and recall of all --runs.
DIR/real-CLASS-failures.png has the errors of the first run at --rate false positives per hour: the missed events, then
the false positives with the highest scores. Dashed boxes are true events. Solid boxes are the detections in question
with their scores. Dotted boxes are other detections nearby.

With --open only recordings are drawn whose `use` in manifest.csv allows training. Those for local evaluation are only
listed by name.
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
from loxo.evaluation.inputs import ClassData
from loxo.evaluation.matching import FALSE_POSITIVE, HIT10, IOU30, match
from loxo.report.plots import WINDOW_S, band_top_hz, draw_box, draw_spectrogram
from pack import Row, background_hours, part_rows

COLUMNS = 4
MAX_FALSE = 8
MIN_SCORE = 0.01  # of drawn detections
Failure = tuple[str, int, float, float]  # "missed" or "false", number of the recording, start and end in s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--part", default="measure")
    parser.add_argument("--runs", nargs="+", default=["default"])
    parser.add_argument("--rate", type=float, default=5.7, choices=(1.0, 5.7, 20.0))
    parser.add_argument("--open", action="store_true", help="draw only recordings whose licence allows it")
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
    hidden = measurement_only(rows) if options.open else set()
    for one in found.case.classes:
        criterion = HIT10 if one.label == "gunshot" else IOU30  # the criteria of bench_accuracy.py
        lines = [
            (name, part["classes"][one.label]["criteria"][criterion.name])
            for name, part in zip(options.runs, found.report["detectors"], strict=True)
        ]
        figures.curves(lines).savefig(options.out / f"real-{one.label}-curves.png", dpi=90)
        failures = failures_of(one, lines[0][1], criterion, options.rate)
        print(f"\n{one.label}: {len(failures)} failures at {options.rate:g} false positives per hour")
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


def measurement_only(rows: list[Row]) -> set[str]:
    """Names, as in bench_accuracy.py, of recordings whose licence allows only measurement."""
    return {row["file"].replace("/", "-") for row in rows if not row["use"].startswith("train")}


def failures_of(one: ClassData, quoted: dict[str, Any], criterion: Any, rate: float) -> list[Failure]:
    """Missed events in the order of the recordings, then false positives by falling score."""
    threshold = next(at["threshold"] for at in quoted["at"] if at["rate"] == rate)
    threshold = np.inf if threshold is None else threshold
    truth, found = one.truth, one.detections[0]
    matching = match(truth, found, criterion)
    missed = np.flatnonzero(truth.counted & ~(matching.found_at >= threshold))
    false = np.flatnonzero((matching.verdict == FALSE_POSITIVE) & (found.score >= threshold))
    false = false[np.argsort(-found.score[false], kind="stable")][:MAX_FALSE]
    return [
        *(("missed", int(truth.recording[k]), float(truth.start[k]), float(truth.end[k])) for k in missed),
        *(("false", int(found.recording[k]), float(found.start[k]), float(found.end[k])) for k in false),
    ]


def sheet(found: Evaluation, one: ClassData, folder: Path, failures: list[Failure]) -> Figure:
    """The spectrograms of all failures, side by side."""
    rows = -(-len(failures) // COLUMNS)
    figure = Figure(figsize=(4.2 * COLUMNS, 2.5 * rows), layout="constrained")
    axes: list[Axes] = list(figure.subplots(rows, COLUMNS, squeeze=False).flat)
    for axis, failure in zip(axes, failures, strict=False):
        draw(axis, one, found.case.recordings, folder, failure)
    for axis in axes[len(failures) :]:
        axis.axis("off")
    return figure


def draw(axis: Axes, one: ClassData, recordings: list[str], folder: Path, failure: Failure) -> None:
    """Draws the spectrogram of a failure with the true events and the detections."""
    what, number, start, end = failure
    name = Path(recordings[number]).name
    first, last, top = draw_around(axis, folder / name, one.label, start, end)
    unknown = {"label": one.label, "low_hz": np.nan, "high_hz": np.nan, "score": np.nan}
    truth, listed = one.truth, one.detections[0].above(MIN_SCORE)
    for k in np.flatnonzero((truth.recording == number) & (truth.end > first) & (truth.start < last)):
        event = {"start_s": truth.start[k], "end_s": truth.end[k]}
        draw_box(axis, {**unknown, **event}, 0.9 * top, ls="--", lw=1.6)
    for k in np.flatnonzero((listed.recording == number) & (listed.end > first) & (listed.start < last)):
        event = {"start_s": listed.start[k], "end_s": listed.end[k], "score": listed.score[k]}
        meant = listed.end[k] > start and listed.start[k] < end
        draw_box(axis, {**unknown, **event}, 0.9 * top, ls="-" if meant else ":", lw=1.0)
    axis.set_title(f"{what}: {Path(name).stem[:48]}", fontsize=8, loc="left")


def draw_around(axis: Axes, path: Path, label: str, start: float, end: float) -> tuple[float, float, float]:
    """Draws the spectrogram around a span of a recording in the band of the class.

    Returns the limits of the drawing: start and end in s, and the highest frequency in Hz.
    """
    band = "low" if label == "rumble" else "full"
    rate, context_s = figures.READ_RATE_HZ[band], figures.CONTEXT_S[band]
    first = max(0.0, start - context_s)
    samples = read(probe(path), rate, first, end - first + context_s)
    last, top = first + len(samples) / rate, band_top_hz(band, rate)
    draw_spectrogram(axis, samples, rate, round(WINDOW_S[band] * rate), top, first)
    axis.set_xlim(first, last)
    axis.set_ylabel("")
    axis.tick_params(labelsize=7)
    return first, last, top


if __name__ == "__main__":
    main()
