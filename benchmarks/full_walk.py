"""Simulates, trains, detects and evaluates, for one preset or for several presets that are trained in the same way.

    python benchmarks/full_walk.py --backgrounds PACK/manifest.csv                      # the default preset
    python benchmarks/full_walk.py --presets default elephants-4k ast-elephants crnn --steps 600 --work runs/rivals

`loxo train` trains each preset in WORK/PRESET with the same windows, batches, iterations and settings. It continues
after an interruption. `loxo detect --keep-scores` then analyses simulated recordings that no training used. These have
another seed, and use the backgrounds that training held out or --survey-backgrounds. Their densities of calls are
--rumbles-per-hour and --gunshots-per-hour. `loxo evaluate` evaluates frames and events twice. The first evaluation has
all calls. In the second one, calls fainter than --clear-db are marginal events. The training time is the sum of the
times of the iterations, without validation.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import reporting
from loxo.network.info import measure
from loxo.network.loading import load_model
from loxo.simulation.background import Backgrounds
from loxo.simulation.simulate import simulate
from surveys import has_survey

SEED = 880_001  # of the recordings; training windows are drawn from another generator
VALIDATION_SHARE, SPLIT_SEED = 0.06, 3  # defaults of `loxo train` for the held-out backgrounds
LABELS, KEYS = ("rumble", "gunshot"), ("frame", "event")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="*", default=["default"])
    parser.add_argument("--steps", type=int, help="training iterations; by default those of `loxo train`")
    add_options(parser, Path("runs/walk"))
    options = parser.parse_args()
    truths = make_recordings(options)
    rows, results = [], {}
    for preset in options.presets:
        settings = [f"preset={preset}", f"data.backgrounds={options.backgrounds}"]
        settings += [f"iterations={options.steps}"] if options.steps else []
        run = train(options.work / preset, settings)
        result = evaluate_run(preset, run, truths, options)
        results[preset] = result
        values = [result[truth_name][label][key] for truth_name in truths for label in LABELS for key in KEYS]
        figures = [None if value is None else f"{value:.3f}" for value in values]  # None: there is no such event
        size = f"{result['parameters'] / 1e6:.2f} M", f"{result['operations'] / 1e9:.2f} G"
        rows.append((preset, *size, result["steps"], f"{result['training_s'] / 60:.0f} min", *figures))
    columns = [f"{truth_name}: {label}, {key} AP" for truth_name in truths for label in LABELS for key in KEYS]
    print()
    with reporting.section("bench-walk"):
        reporting.print_table(
            ["preset", "parameters", "operations per window", "iterations", "training", *columns], rows
        )
    about = {key: str(value) for key, value in vars(options).items()}
    reporting.write_result("walk", {"options": about, "presets": results}, options.out)


def add_options(parser: argparse.ArgumentParser, work: Path) -> None:
    """Adds the options of make_recordings and evaluate_run."""
    parser.add_argument("--backgrounds", type=Path, required=True)
    parser.add_argument(
        "--survey-backgrounds", type=Path, help="backgrounds of the evaluation, instead of the held-out part"
    )
    parser.add_argument("--hours", type=float, default=6.0, help="hours of simulated recordings for the evaluation")
    parser.add_argument("--rumbles-per-hour", type=float, default=40.0)
    parser.add_argument("--gunshots-per-hour", type=float, default=15.0)
    parser.add_argument("--clear-db", type=float, default=0.0, help="min in-band signal-to-noise ratio of a clear call")
    parser.add_argument("--work", type=Path, default=work)
    parser.add_argument("--out", type=Path, default=reporting.RESULTS)


def make_recordings(options: argparse.Namespace) -> dict[str, Path]:
    """Makes the recordings if they are missing. Returns the tables of true events: all calls, and only clear calls."""
    folder = options.work / "recordings"
    if not has_survey(folder):
        if options.survey_backgrounds is not None:
            held_out = Backgrounds(options.survey_backgrounds)
        else:
            held_out = backgrounds_held_out(options.backgrounds)
        rates = {"rumbles_per_hour": options.rumbles_per_hour, "gunshots_per_hour": options.gunshots_per_hour}
        simulate(folder, options.hours, SEED, backgrounds=held_out, **rates)
    truth = pd.read_csv(folder / "truth.txt", sep="\t")
    truth["Marginal"] = ["yes" if snr < options.clear_db else "" for snr in truth["SNR (dB)"]]
    clear = options.work / "truth-clear.txt"
    truth.to_csv(clear, sep="\t", index=False)
    return {"all": folder / "truth.txt", "clear": clear}


def backgrounds_held_out(backgrounds: Path) -> Backgrounds:
    """The part of the backgrounds that `loxo train` holds out for validation."""
    return Backgrounds(backgrounds).split(VALIDATION_SHARE, SPLIT_SEED)[1]


def train(run: Path, settings: Sequence[str]) -> Path:
    """The run folder of a finished training with these settings. An interrupted training is continued."""
    if not (run / "model.safetensors").exists():
        started = (run / "run.json").exists()
        loxo("train", "--out", str(run), *(["--resume"] if started else settings))
    return run


def evaluate_run(preset: str, run: Path, truths: dict[str, Path], options: argparse.Namespace) -> dict[str, Any]:
    """Detects with the model of a training run, and evaluates it with each table of true events."""
    model = load_model(run / "model.safetensors")
    detections = options.work / f"{preset}-run"
    loxo(
        *("detect", str(options.work / "recordings"), "--out", str(detections), "--threshold", "0", "--keep-scores"),
        *("--model", str(run / "model.safetensors")),
    )
    operations, _ = measure(model)
    with (run / "logs" / "training.csv").open(newline="") as file:
        seconds = {row["iteration"]: float(row["seconds"]) for row in csv.DictReader(file)}
    result: dict[str, Any] = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "operations": operations,
        "steps": len(seconds),
        "training_s": sum(seconds.values()),
    }
    for truth_name, truth in truths.items():
        report = options.work / f"{preset}-{truth_name}.json"
        loxo("evaluate", "--truth", str(truth), "--detections", str(detections), "--exhaustive", "--json", str(report))
        classes = json.loads(report.read_text())["detectors"][0]["classes"]
        result[truth_name] = {
            label: {
                "frame": classes[label]["frames"]["ap"],
                "event": classes[label]["criteria"]["iou30"]["ap"],
            }
            for label in LABELS
        }
    return result


def loxo(*arguments: str) -> None:
    """Runs the command `loxo` in a process of its own."""
    subprocess.run([reporting.LOXO, *arguments], check=True)


if __name__ == "__main__":
    main()
