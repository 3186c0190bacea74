"""Simulate, train, detect, evaluate: the whole walk, for one preset or for rivals trained the same way.

    python benchmarks/full_walk.py --backgrounds PACK/manifest.csv                      # the default preset, all steps
    python benchmarks/full_walk.py --presets default elephants-4k ast-elephants crnn --steps 600 --work runs/rivals

Each preset is trained by `loxo train` with the same windows, batches, steps and settings, in WORK/PRESET, and goes on
there when it was interrupted. Then `loxo detect --keep-scores` searches simulated recordings that no training saw:
another seed, the backgrounds that training kept out or --survey-backgrounds, calls as dense as --rumbles-per-hour and
--gunshots-per-hour say.
`loxo evaluate` judges frames and events, all calls first and then with those fainter than --clear-db marked as
marginal (they count neither way). Training time is the sum of the steps' own seconds, without validation.
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

SEED = 880_001  # of the recordings; training draws its windows from another generator
VALIDATION_SHARE, SPLIT_SEED = 0.06, 3  # defaults of `loxo train`: what it keeps out
LABELS, KEYS = ("rumble", "gunshot"), ("frame", "event")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="*", default=["default"])
    parser.add_argument("--steps", type=int, help="of training; by default what `loxo train` takes")
    add_options(parser, Path("runs/walk"))
    options = parser.parse_args()
    truths = make_recordings(options)
    rows, results = [], {}
    for preset in options.presets:
        settings = [f"preset={preset}", f"data.backgrounds={options.backgrounds}"]
        settings += [f"steps={options.steps}"] if options.steps else []
        run = train(options.work / preset, settings)
        result = judge(preset, run, truths, options)
        results[preset] = result
        values = [result[judged][label][key] for judged in truths for label in LABELS for key in KEYS]
        figures = [None if value is None else f"{value:.3f}" for value in values]  # None: no such event
        size = f"{result['parameters'] / 1e6:.2f} M", f"{result['operations'] / 1e9:.2f} G"
        rows.append((preset, *size, result["steps"], f"{result['training_s'] / 60:.0f} min", *figures))
    columns = [f"{judged}: {label}, {key} AP" for judged in truths for label in LABELS for key in KEYS]
    print()
    reporting.print_table(["preset", "parameters", "operations a window", "steps", "training", *columns], rows)
    about = {key: str(value) for key, value in vars(options).items()}
    reporting.write_result("walk", {"options": about, "presets": results}, options.out)


def add_options(parser: argparse.ArgumentParser, work: Path) -> None:
    """What make_recordings and judge need."""
    parser.add_argument("--backgrounds", type=Path, required=True)
    parser.add_argument("--survey-backgrounds", type=Path, help="to judge in, in place of the part kept out")
    parser.add_argument("--hours", type=float, default=6.0, help="of simulated recordings to judge on")
    parser.add_argument("--rumbles-per-hour", type=float, default=40.0)
    parser.add_argument("--gunshots-per-hour", type=float, default=15.0)
    parser.add_argument("--clear-db", type=float, default=0.0, help="in-band signal-to-noise ratio of a clear call")
    parser.add_argument("--work", type=Path, default=work)
    parser.add_argument("--out", type=Path, default=reporting.RESULTS)


def make_recordings(options: argparse.Namespace) -> dict[str, Path]:
    """The recordings, made where they are not there yet; and the tables of the truth, by what counts in them."""
    folder = options.work / "recordings"
    if not (folder / "simulation.json").exists():
        if options.survey_backgrounds is not None:
            kept_out = Backgrounds(options.survey_backgrounds)
        else:
            kept_out = backgrounds_kept_out(options.backgrounds)
        rates = {"rumbles_per_hour": options.rumbles_per_hour, "gunshots_per_hour": options.gunshots_per_hour}
        simulate(folder, options.hours, SEED, backgrounds=kept_out, **rates)
    truth = pd.read_csv(folder / "truth.txt", sep="\t")
    truth["Marginal"] = ["yes" if snr < options.clear_db else "" for snr in truth["SNR (dB)"]]
    clear = options.work / "truth-clear.txt"
    truth.to_csv(clear, sep="\t", index=False)
    return {"all": folder / "truth.txt", "clear": clear}


def backgrounds_kept_out(backgrounds: Path) -> Backgrounds:
    """The part of the backgrounds that `loxo train` keeps for validation."""
    return Backgrounds(backgrounds).split(VALIDATION_SHARE, SPLIT_SEED)[1]


def train(run: Path, settings: Sequence[str]) -> Path:
    """The run folder of a training with these settings, once it is finished; it goes on where it was interrupted."""
    if not (run / "model.safetensors").exists():
        begun = (run / "run.json").exists()
        loxo("train", "--out", str(run), *(["--resume"] if begun else settings))
    return run


def judge(preset: str, run: Path, truths: dict[str, Path], options: argparse.Namespace) -> dict[str, Any]:
    model = load_model(run / "model.safetensors")
    detections = options.work / f"{preset}-run"
    loxo(
        *("detect", str(options.work / "recordings"), "--out", str(detections), "--threshold", "0", "--keep-scores"),
        *("--model", str(run / "model.safetensors")),
    )
    operations, _ = measure(model)
    with (run / "logs" / "training.csv").open(newline="") as file:
        seconds = {row["step"]: float(row["seconds"]) for row in csv.DictReader(file)}
    result: dict[str, Any] = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "operations": operations,
        "steps": len(seconds),
        "training_s": sum(seconds.values()),
    }
    for judged, truth in truths.items():
        report = options.work / f"{preset}-{judged}.json"
        loxo("evaluate", "--truth", str(truth), "--detections", str(detections), "--exhaustive", "--json", str(report))
        classes = json.loads(report.read_text())["detectors"][0]["classes"]
        result[judged] = {
            label: {
                "frame": classes[label]["frames"]["ap"],
                "event": classes[label]["criteria"]["iou30"]["ap"],
            }
            for label in LABELS
        }
    return result


def loxo(*words: str) -> None:
    subprocess.run([reporting.LOXO, *words], check=True)


if __name__ == "__main__":
    main()
