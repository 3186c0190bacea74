"""Accuracy of models and classical detectors on a simulated survey, and on the real recordings of a pack.

    python benchmarks/bench_accuracy.py --models default runs/mine/model.safetensors --backgrounds PACK/manifest.csv
    python benchmarks/bench_accuracy.py --hours 168 --file-hours 24          # the full survey: 7 x 24 h
    python benchmarks/bench_accuracy.py --only real --pack PACK --part measure

The simulated survey has the densities of a forest, weak calls and hard negatives, as made by `loxo simulate`. Its seeds
are not used in training. Its backgrounds are the part of --backgrounds that training holds out (with the same split),
or those of --survey-backgrounds. Without backgrounds it uses synthetic noise. The recordings are kept in --work and
used again.

Decoding and calibration of every detector are fitted with the same grid (loxo.training.fit_decoding.fit_class) on the
same validation recordings. These are simulated with another seed in backgrounds of the training side. With --as-shipped
models use their own decoding and calibration. All detectors then process the survey and are scored by loxo.evaluation:
one-to-one at IoU >= 0.3, with bootstrap intervals over recordings.

The real pack consists of the files of --part in manifest.csv, each with its events. Faint events are marginal: they
count neither as hits nor as misses. Gunshots use the criterion of 10 % coverage, because many are annotated only by a
clip or a peak. False positives are counted in the backgrounds of the part, and rates use the hours of these
backgrounds. A clip of gunshots may contain further, unlabelled shots.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import reporting
from classical import detectors as classical_detectors
from loxo.audio.recording import read
from loxo.detection.decode import class_rows
from loxo.detection.scores import frame_scores
from loxo.engine.config import Decoding
from loxo.engine.engine import as_engine, load_engine
from loxo.errors import LoxoError
from loxo.evaluation.evaluate import Evaluation, evaluate
from loxo.evaluation.matching import FALSE_POSITIVE, HIT10, IOU30, match
from loxo.evaluation.metrics import border_errors, recall_by_snr
from loxo.evaluation.spans import Bools, Detections, Regions, Truth
from loxo.events.reader import read_events
from loxo.machine import usable_cores
from loxo.simulation.background import Backgrounds
from loxo.simulation.simulate import simulate
from loxo.survey.survey import survey
from loxo.training.fit_decoding import fit_class
from pack import background_hours, is_background, part_rows
from surveys import has_survey

SURVEY_SEED, VALIDATION_SEED = 770_001, 770_002  # training windows are drawn from another generator
VALIDATION_RATES = {"rumbles_per_hour": 40.0, "gunshots_per_hour": 25.0, "negatives_per_hour": 40.0}
VALIDATION_FILE_H = 0.1
AT_RATE = 1.0  # false positives per hour, for border errors and for recall by SNR
MIN_SCORE = 0.01  # of listed detections; lower scores give a hundred or more false positives per hour
Row = tuple[str, Callable[[], Any]]  # a name, and a function that returns the detector


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--models", nargs="*", default=["default"], help="names or model files; NAME=FILE sets the name of the row"
    )
    parser.add_argument(
        "--runtimes",
        nargs="*",
        default=["auto"],
        help="each model runs with each of these runtimes",
    )
    parser.add_argument("--no-classical", action="store_true")
    parser.add_argument("--as-shipped", action="store_true", help="models keep their own decoding and calibration")
    parser.add_argument("--only", choices=("simulated", "real"))
    parser.add_argument("--hours", type=float, default=12.0)
    parser.add_argument("--file-hours", type=float, default=1.0)
    parser.add_argument("--validation-hours", type=float, default=2.0)
    parser.add_argument("--rumbles-per-hour", type=float, help="by default as in a forest")
    parser.add_argument("--gunshots-per-hour", type=float, help="by default as in a forest")
    parser.add_argument("--backgrounds", type=Path, help="the backgrounds of the training; its split is used")
    parser.add_argument(
        "--survey-backgrounds", type=Path, help="backgrounds of the survey, instead of the held-out part"
    )
    parser.add_argument("--validation-share", type=float, default=0.06, help="fraction that training held out")
    parser.add_argument("--split-seed", type=int, default=3, help="seed of the split of the backgrounds")
    parser.add_argument("--pack", type=Path)
    parser.add_argument("--part", default="measure")
    parser.add_argument("--workers", type=int, default=usable_cores())
    parser.add_argument("--work", type=Path, default=Path("runs/bench-accuracy"))
    parser.add_argument("--out", type=Path, default=reporting.RESULTS)
    options = parser.parse_args()
    if options.only == "real" and options.pack is None:
        parser.error("--only real needs --pack")
    torch.set_num_threads(1)
    folders = make_data(options)
    rows = [tuned(row, options, folders["validation"]) for row in all_rows(options)]
    result: dict[str, Any] = {"options": {key: str(value) for key, value in vars(options).items()}}
    if options.only != "real":
        survey, truth = folders["survey"], folders["survey"] / "truth.txt"
        result["simulated"] = measure("simulated", rows, survey, truth, None, options)
    if options.pack is not None and options.only != "simulated":
        result["real"] = measure("real", rows, *real_part(options), options)
    reporting.write_result("accuracy", result, options.out)


# -- data


def make_data(options: argparse.Namespace) -> dict[str, Path]:
    """The folders of the survey and of the validation recordings. Missing recordings are made."""
    train = held_out = None
    if options.backgrounds is not None:
        everything = Backgrounds(options.backgrounds)
        train, held_out = everything.split(options.validation_share, options.split_seed)
    if options.survey_backgrounds is not None:
        held_out = Backgrounds(options.survey_backgrounds)
    rates = {f"{name}_per_hour": getattr(options, f"{name}_per_hour") for name in ("rumbles", "gunshots")}
    rates = {name: rate for name, rate in rates.items() if rate is not None}
    folders = {"validation": options.work / "validation", "survey": options.work / "survey"}
    if not has_survey(folders["validation"]):
        print(f"making {options.validation_hours:g} h for validation")
        sizes = {"file_hours": VALIDATION_FILE_H, **VALIDATION_RATES}
        simulate(folders["validation"], options.validation_hours, VALIDATION_SEED, backgrounds=train, **sizes)
    if options.only != "real" and not has_survey(folders["survey"]):
        print(f"making a survey of {options.hours:g} h")
        size = {"file_hours": options.file_hours, **rates}
        simulate(folders["survey"], options.hours, SURVEY_SEED, backgrounds=held_out, **size)
    return folders


def real_part(options: argparse.Namespace) -> tuple[Path, Path, float]:
    """A folder with links to the files of the part, their true events as a table, and the hours of its backgrounds.

    In all other files every detection that is not a hit is ignored.
    """
    folder = options.work / f"real-{options.part}"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "files").mkdir(parents=True)
    rows = part_rows(options.pack, options.part)
    if not rows:
        raise LoxoError(f"{options.pack}/manifest.csv: no file is of part {options.part!r}.")
    names = {row["file"]: row["file"].replace("/", "-") for row in rows}
    for file, name in names.items():
        (folder / "files" / name).symlink_to((options.pack / file).resolve())
    with (folder / "truth.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("recording", "start_s", "end_s", "label", "marginal"))
        for row in rows:
            if row["label"] in ("rumble", "gunshot") and row["start_s"]:
                marginal = "yes" if row["confidence"].startswith("faint") else ""
                writer.writerow((names[row["file"]], row["start_s"], row["end_s"], row["label"], marginal))
        others = {row["file"]: row["duration_s"] for row in rows if not is_background(row)}
        for name, length in others.items():
            writer.writerow((names[name], 0, length, "ignore", ""))
    return folder / "files", folder / "truth.csv", background_hours(rows)


# -- detectors


def all_rows(options: argparse.Namespace) -> list[Row]:
    """The rows of the comparison: each model with each runtime, and the classical detectors."""
    rows: list[Row] = []
    for given in options.models:
        name, _, path = given.rpartition("=")
        for runtime in options.runtimes:
            suffix = f" with {runtime}" if len(options.runtimes) > 1 else ""
            rows.append(((name or Path(path).stem) + suffix, partial(load_engine, path, runtime=runtime)))
    if not options.no_classical:
        rows += [(name, partial(_same, detector)) for name, detector in classical_detectors().items()]
    return rows


def _same(detector: Any) -> Any:
    return detector


def tuned(row: Row, options: argparse.Namespace, validation: Path) -> Row:
    """The detector with decoding and calibration fitted on the validation recordings."""
    name, load = row
    detector = as_engine(load())
    if options.as_shipped and detector.config.architecture != "classical":
        return name, load
    config = detector.config
    files = sorted(path for path in validation.iterdir() if path.suffix in (".flac", ".wav"))
    scores = [frame_scores(detector, [read(path, config.sample_rate)]) for path in files]
    steps = min(part.shape[1] for part in scores)  # all files except the last one have the same length
    whole = [k for k, part in enumerate(scores) if part.shape[1] - steps <= 1]
    stacked = np.stack([scores[k][:, :steps] for k in whole])
    decoding, calibration = {}, {}
    for label in config.classes:
        truth = validation_truth([files[k] for k in whole], label)
        own = stacked[:, class_rows(label, config.rows)]
        fit = fit_class(own, truth, config.decoding.get(label, Decoding()), config)
        decoding[label], calibration[label] = fit.decoding, fit.calibration
        print(f"{name}: {label}: event AP {fit.figures['event_ap']:.3f} on validation, {fit.decoding}")
    config = dataclasses.replace(config, decoding=decoding, calibration=calibration, curves={})
    return name, partial(_with_config, load, config)


def _with_config(load: Callable[[], Any], config: Any) -> Any:
    detector = as_engine(load())
    detector.config = config
    return detector


def validation_truth(files: list[Path], label: str) -> Truth:
    """The true events of a class; recordings are numbered as in `files`."""
    parts = [read_events(path.with_suffix(".selections.txt")) for path in files]
    chosen = [table[table["label"] == label] for table in parts]
    recording = np.repeat(np.arange(len(files)), [len(table) for table in chosen])
    start, end = (np.concatenate([table[name].to_numpy(float) for table in chosen]) for name in ("start_s", "end_s"))
    none = np.zeros(len(start), bool)
    nowhere = Regions(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
    return Truth(recording, start, end, ~none, none, nowhere)


# -- measuring


def measure(
    kind: str, rows: list[Row], recordings: Path, truth: Path, hours: float | None, options: argparse.Namespace
) -> dict[str, Any]:
    """Runs every detector on the recordings, prints a table, and returns the results.

    hours: the denominator of false positives per hour; by default the duration of all recordings.
    """
    runs = []
    for name, load in rows:
        run = options.work / f"{kind}-runs" / name.replace("/", "-")
        search = partial(survey, [recordings], name, run, load=load, threshold=MIN_SCORE, keep_scores=True)
        try:  # continues an earlier run of this benchmark
            done = search(workers=options.workers)
        except LoxoError:  # the run of another detector or of other parameters
            shutil.rmtree(run, ignore_errors=True)
            done = search(workers=options.workers)
        print(f"{kind}: {name}: {done}", flush=True)
        runs.append(run)
    found = evaluate([truth], runs, recordings=recordings, hours=hours, exhaustive=True, classes=["rumble", "gunshot"])
    report = found.report
    events = {label: count["events"] for label, count in report["truth"]["classes"].items()}
    names = [name for name, _ in rows]
    negatives_file = recordings / "negatives.jsonl"  # only in a simulated survey
    negatives = pd.read_json(negatives_file, lines=True) if negatives_file.exists() else None
    result = {}
    survey_name = "bench-accuracy" + (": measuring part" if options.survey_backgrounds is not None else "")
    with reporting.section(survey_name) if kind == "simulated" else nullcontext():
        truths = report["truth"]
        print(f"\n{kind}: {truths['recordings']} recordings, {truths['hours']:.2f} h, events {events}\n")
        for label in events:
            criterion = HIT10.name if kind == "real" and label == "gunshot" else IOU30.name
            parts = [
                detector["classes"][label] | at_rate(found, k, label, negatives)
                for k, detector in enumerate(report["detectors"])
            ]
            print_class(label, criterion, names, parts)
            result[label] = {
                "criterion": criterion,
                "detectors": dict(zip(names, map(_without_figure_data, parts), strict=True)),
            }
    return {"truth": report["truth"], "rule": report["rule"], "notes": report["notes"], "classes": result}


def at_rate(found: Evaluation, number: int, label: str, negatives: pd.DataFrame | None) -> dict[str, Any]:
    """Border errors, recall by SNR and kinds of false positives at the threshold for AT_RATE."""
    one = next(one for one in found.case.classes if one.label == label)
    matching = found.matchings[number][label]
    rates = found.report["detectors"][number]["classes"][label]["criteria"][IOU30.name]["at"]
    threshold = next(at["threshold"] for at in rates if at["rate"] == AT_RATE)
    threshold = np.inf if threshold is None else threshold
    listed = one.detections[number].above(threshold)
    borders = border_errors(match(one.truth, listed, IOU30), one.truth, listed)
    result = {"borders": borders, "snr": recall_by_snr(matching, one.snr_db, threshold)}
    if negatives is not None:
        false = (matching.verdict == FALSE_POSITIVE) & (matching.score >= threshold)
        result["false_kinds"] = _false_positive_kinds(found, one.detections[number], false, matching.loose, negatives)
    return result


def _false_positive_kinds(
    found: Evaluation, detections: Detections, false: Bools, loose: Bools, negatives: pd.DataFrame
) -> dict[str, int]:
    """How many false positives occur at each kind of negative, sorted by frequency.

    A false positive is assigned to the negative with the largest overlap. The others overlap a true event, but with
    inexact borders, or overlap neither and are called "background".
    """
    counts: Counter[str] = Counter()
    for k in np.flatnonzero(false):
        if loose[k]:
            counts["bad borders"] += 1
            continue
        in_recording = negatives[negatives["recording"] == Path(found.case.recordings[detections.recording[k]]).name]
        shared = np.minimum(in_recording["end_s"], detections.end[k]) - np.maximum(
            in_recording["start_s"], detections.start[k]
        )
        counts[str(in_recording["kind"][shared.idxmax()]) if (shared > 0).any() else "background"] += 1
    return dict(counts.most_common())


def _without_figure_data(part: dict[str, Any]) -> dict[str, Any]:
    """The results without the parts that only figures need."""
    criteria = {
        name: {key: value for key, value in figures.items() if key != "curve"}
        for name, figures in part["criteria"].items()
    }
    left_out = ("by_recording", "worst_misses", "worst_false", "criteria")
    return {**{key: value for key, value in part.items() if key not in left_out}, "criteria": criteria}


def print_class(label: str, criterion: str, names: list[str], parts: list[dict[str, Any]]) -> None:
    """Prints the tables of one class."""
    rates = [f"recall at {at['rate']:g} / h" for at in parts[0]["criteria"][criterion]["at"]]
    bins = sorted({(row["from_db"], row["to_db"]) for part in parts for row in part["snr"]})
    columns = [f"{label} ({criterion})", *rates, "AP", "frame AP", "onset, s", "offset, s", "calibration error"]
    lines = []
    for name, part in zip(names, parts, strict=True):
        figures = part["criteria"][criterion]
        recalls = [_with_interval(at["recall"], at["recall_95"]) for at in figures["at"]]
        borders = [_signed(part["borders"][side]) for side in ("onset_s", "offset_s")]
        frames = (part["frames"] or {}).get("ap")
        ap = _with_interval(figures["ap"], figures["ap_95"])
        lines.append(
            [name, *recalls, ap, _two_decimals(frames), *borders, _two_decimals(part["reliability"].get("error"))]
        )
    reporting.print_table(columns, lines)
    if bins:
        print()
        lines = []
        for name, part in zip(names, parts, strict=True):
            by_bin = {(row["from_db"], row["to_db"]): row for row in part["snr"]}
            lines.append(
                [name, *(f"{by_bin[b]['recall']:.2f} ({by_bin[b]['events']})" if b in by_bin else None for b in bins)]
            )
        reporting.print_table(
            [f"{label}: recall at {AT_RATE:g} / h by SNR in dB", *(f"{a:g} to {b:g}" for a, b in bins)], lines
        )
    if "false_kinds" in parts[0]:
        print()
        kinds = [
            [name, ", ".join(f"{k} {n}" for k, n in part["false_kinds"].items())]
            for name, part in zip(names, parts, strict=True)
        ]
        reporting.print_table([f"{label}: false positives at {AT_RATE:g} / h", "kind"], kinds)
    print()


def _two_decimals(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}"


def _with_interval(value: float | None, interval: Any) -> str | None:
    if value is None:
        return None
    return f"{value:.2f}" if interval is None else f"{value:.2f} ({interval[0]:.2f}-{interval[1]:.2f})"


def _signed(spread: dict[str, Any]) -> str | None:
    return None if spread.get("median") is None else f"{spread['median']:+.2f}"


if __name__ == "__main__":
    main()
