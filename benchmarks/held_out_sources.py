"""What training on some sources does on the others: each source of the pack's training part is held out in turn.

    python benchmarks/held_out_sources.py --pack PACK --work runs/held-out [--start FILE] [--iterations 3000]

Each run of RUNS trains without the recordings of its sources: from random weights, or from --start, which must not have
learnt them either. The bundled weights have; the ones before them, at commit a282964, had not. The start, if any, and
the trained model then analyse the recordings held out, and a simulated survey in their backgrounds. The
score that finds 0.8 (0.9) of the survey's events is the threshold for real recordings. The table has the false events
per hour at these thresholds, and the average precision in the survey. For Belize the runs are five folds by clip. The
recall of clear gunshots and the fraction of the negative clips with a detection are added up over the folds. Finished
parts are used again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

import reporting
from full_walk import LABELS, loxo, train
from loxo.events.reader import read_tables
from loxo.simulation.background import Backgrounds
from loxo.simulation.simulate import simulate
from pack import Row, clip_fold, group, is_background, part_rows, training_settings
from surveys import has_survey

FOLDS = 5
RUNS: dict[str, Callable[[Row], bool]] = {
    "engines": lambda row: group(row) in ("dagua", "qutaa", "rfcxwa", "tfk"),
    **{
        f"belize-{k}": lambda row, k=k: group(row) == "belize" and clip_fold(row, FOLDS) == k
        for k in range(1, FOLDS + 1)
    },
}
SETTINGS = ("validation_interval=1000", "log.plots=0")
SETTINGS_FROM_START = ("start_share=0.2", "learning_rate=0.001", "muon_rate=2")
SURVEY = {"hours": 8, "rumbles_per_hour": 20.0, "gunshots_per_hour": 20.0, "file_hours": 2.0}
RECALLS = (0.8, 0.9)
FLAGS = (0.004, 0.01, 0.02)  # of the negative clips
MIN_IOU = {"rumble": 0.3, "gunshot": 0.1}  # the part of the shorter span for gunshots


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--start", help="model file from which training starts; default: random weights")
    parser.add_argument("--iterations", type=int, default=3000)
    parser.add_argument("--runs", nargs="*", default=list(RUNS), choices=list(RUNS))
    parser.add_argument("--seed", type=int, default=31)
    parser.add_argument("--work", type=Path, default=Path("runs/held-out"))
    parser.add_argument("--out", type=Path, default=reporting.RESULTS)
    options = parser.parse_args()
    rows, clips, results = [], [], []
    for name in options.runs:
        folder = options.work / name
        held_out = [row for row in part_rows(options.pack, "train") if RUNS[name](row)]
        settings = training_settings(options.pack, folder / "data", RUNS[name])
        settings += [f"iterations={options.iterations}", f"seed={options.seed}", *SETTINGS]
        if options.start is not None:
            settings += [f"init_from={options.start}", *SETTINGS_FROM_START]
        trained = train(folder / "training", settings) / "model.safetensors"
        survey = make_survey(folder / "survey", options.pack, held_out)
        models = {"start": options.start, "trained": str(trained)}
        for model_name, model in ((key, value) for key, value in models.items() if value is not None):
            found = detect(held_out, options.pack, model, folder / f"{model_name}-recordings")
            simulated = detect_survey(survey, model, folder / f"{model_name}-survey")
            if name.startswith("belize"):
                clips.append((model_name, *clip_scores(held_out, found)))
            for label in LABELS:
                rows.append((name, model_name, label, *compare(held_out, found, survey, simulated, label)))
    print()
    columns = [f"false per hour at a recall of {recall:g}" for recall in RECALLS]
    reporting.print_table(["held out", "model", "class", "survey: AP", *columns], rows)
    for model_name in ("start", "trained"):
        own = [scores for one, *scores in clips if one == model_name]
        if own:
            shots, negatives = (np.concatenate([scores[k] for scores in own]) for k in (0, 1))
            figures = [(flag, recall_at(shots, negatives, flag)) for flag in FLAGS]
            print(f"\n{model_name}: {len(shots)} clear gunshots, {len(negatives)} clips without, {len(own)} folds")
            print(", ".join(f"recall {recall:.3f} with {100 * flag:g} % of the clips" for flag, recall in figures))
            results.append({"model": model_name, "shots": len(shots), "clips": len(negatives), "recall": figures})
    about = {key: str(value) for key, value in vars(options).items()}
    reporting.write_result("held-out", {"options": about, "sources": rows, "belize": results}, options.out)


def make_survey(folder: Path, pack: Path, held_out: Sequence[Row]) -> Path:
    """The folder of a simulated survey in the backgrounds held out. It is made if it is missing."""
    if not has_survey(folder):
        paths = sorted({str(pack / row["file"]) for row in held_out if is_background(row)})
        simulate(folder, seed=771_001, backgrounds=Backgrounds(paths), **SURVEY)
    return folder


def detect(held_out: Sequence[Row], pack: Path, model: str, run: Path) -> pd.DataFrame:
    """The events with a score of 0.02 and more in the recordings held out."""
    if not (run / "events.csv").exists():
        names = run.with_suffix(".txt")
        names.write_text("\n".join(sorted({str((pack / row["file"]).resolve()) for row in held_out})) + "\n")
        loxo("detect", str(names), "--threshold", "0.02", "--model", model, "--out", str(run), "--format", "csv")
    return pd.read_csv(run / "events.csv")


def detect_survey(survey: Path, model: str, run: Path) -> Path:
    if not (run / "report.json").exists():
        loxo("detect", str(survey), "--threshold", "0.01", "--model", model, "--out", str(run), "--format", "csv")
        truth = ("--truth", str(survey), "--detections", str(run), "--exhaustive")
        loxo("evaluate", *truth, "--json", str(run / "report.json"))
    return run


def compare(held_out: Sequence[Row], found: pd.DataFrame, survey: Path, simulated: Path, label: str) -> tuple[str, ...]:
    """Average precision in the survey, and false events per hour of real backgrounds at each of RECALLS."""
    criteria = json.loads((simulated / "report.json").read_text())["detectors"][0]["classes"][label]["criteria"]
    best = best_scores(survey, pd.read_csv(simulated / "events.csv"), label)
    backgrounds = {row["file"]: float(row["duration_s"]) / 3600 for row in held_out if is_background(row)}
    is_false = found["recording"].str.contains("/background/") & (found["label"] == label)
    scores = found.loc[is_false, "score"].to_numpy()
    rates = [(scores >= np.quantile(best, 1 - recall)).sum() / sum(backgrounds.values()) for recall in RECALLS]
    return f"{criteria['iou30']['ap']:.3f}", *(f"{rate:.1f}" for rate in rates)


def best_scores(survey: Path, events: pd.DataFrame, label: str) -> np.ndarray:
    """For each true event of the survey, the highest score of a detection that matches it, else 0."""
    truth = read_tables([survey / "truth.txt"])
    out = []
    for row in truth[truth["label"] == label].itertuples():
        same = events[(events["label"] == label) & events["recording"].str.endswith(Path(row.recording).name)]
        start, end = same["start_s"].to_numpy(), same["end_s"].to_numpy()
        shared = np.minimum(end, row.end_s) - np.maximum(start, row.start_s)
        whole = np.maximum(end, row.end_s) - np.minimum(start, row.start_s)
        if label == "gunshot":
            whole = np.minimum(end - start, row.end_s - row.start_s)
        out.append(same["score"].to_numpy()[shared >= MIN_IOU[label] * whole].max(initial=0.0))
    return np.array(out)


def clip_scores(held_out: Sequence[Row], found: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The highest score of a gunshot in each clip of a clear gunshot, and in each negative clip.

    The score counts wherever it is in the clip, as the authors of the data count. A clip of 4 s has one gunshot, and
    its automatic time is wrong in one of twenty (pack.MISTIMED).
    """
    events = found[found["label"] == "gunshot"]
    best = events.groupby(events["recording"].map(lambda path: Path(path).name))["score"].max()
    shots, negatives = [], []
    for row in held_out:
        score = best.get(Path(row["file"]).name, 0.0)
        if is_background(row):
            negatives.append(score)
        elif not row["confidence"].startswith("clip-level"):
            shots.append(score)
    return np.array(shots), np.array(negatives)


def recall_at(shots: np.ndarray, negatives: np.ndarray, flagged: float) -> float:
    """Recall at the lowest threshold that flags at most this fraction of the negative clips."""
    limit = np.sort(negatives)[::-1][int(flagged * len(negatives))]
    return float((shots > limit).mean())


if __name__ == "__main__":
    main()
