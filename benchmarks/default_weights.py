"""Makes the bundled model again: two trainings, calibration on simulated hours, and a check on other hours.

    python benchmarks/default_weights.py --pack PACK [--steps 25000] [--taught 11000] [--training RUN]

The first training is `loxo train` with the default preset and random initial parameters, in WORK/training. The second
one, in WORK/taught, starts from the model of the first. Its teachers are that model and the bundled model. Both use
all recordings of the pack's training part, and continue after an interruption. `--training` takes a finished run
folder of `loxo train` instead. The model gets the decoding parameters of the preset.

`loxo calibrate` adds calibration and operating curves from 96 simulated hours and from the real recordings that
training held out for validation. Half of the hours use the backgrounds held out, and half use synthetic noise, because
there are few such backgrounds. 48 further hours with other seeds measure the calibration error. Existing recordings
are used again. `--thresholds` sets the default thresholds: those of `held_out_sources.py`.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

from full_walk import LABELS, backgrounds_held_out, loxo, train
from loxo.engine.architectures import preset_config
from loxo.engine.model_file import read_model_file, write_copy
from loxo.simulation.simulate import simulate
from pack import TABLE_COLUMNS, training_settings
from surveys import has_survey

RATES = {"rumbles_per_hour": 15.0, "gunshots_per_hour": 6.0}
# Seeds and hours of the surveys. Surveys with even seeds use real backgrounds, those with odd seeds synthetic noise.
CALIBRATION_SURVEYS = {178: 12, 378: 12, 578: 24, 179: 12, 379: 12, 579: 24}
CHECK_SURVEYS = {478: 24, 479: 24}
# Settings of the second training that differ from the first.
SECOND_TRAINING = ("learning_rate=0.001", "muon_rate=2", "seed=15")
DATA = (
    "{} simulated hours, half in backgrounds held out for validation, half in synthetic noise, and {} real recordings "
    "held out for validation"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument(
        "--steps", type=int, default=25_000, help="iterations of the first training: 80 minutes on two fast cores"
    )
    parser.add_argument(
        "--taught", type=int, default=11_000, help="iterations of the second training, one hour; 0: none"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that make windows; with a GPU one per core")
    parser.add_argument("--training", type=Path, help="a finished run of `loxo train` instead of the two trainings")
    parser.add_argument(
        "--thresholds",
        type=float,
        nargs=len(LABELS),
        metavar=LABELS,
        help="default thresholds, instead of those for 1 false positive per hour",
    )
    parser.add_argument("--work", type=Path, default=Path("runs/default-weights"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    run = options.training
    common = (*training_settings(options.pack, options.work / "data"), f"workers={options.workers}")
    if run is None:
        settings = (*common, f"iterations={options.steps}", "validation_interval=2500")
        run = train(options.work / "training", settings)
        if options.taught:
            weights = run / "model.safetensors"
            from_it = (f"init_from={weights}", f"distil.teachers=[default,{weights}]", *SECOND_TRAINING)
            settings = (*common, f"iterations={options.taught}", "validation_interval=2000", *from_it)
            run = train(options.work / "taught", settings)
    model = read_model_file(run / "model.safetensors")
    config = replace(model.config, decoding=preset_config("default").decoding, calibration={}, curves={})
    raw, calibrated = options.work / "raw.safetensors", options.work / "calibrated.safetensors"
    options.work.mkdir(parents=True, exist_ok=True)
    for path in (raw, calibrated):
        path.with_suffix(".onnx").unlink(missing_ok=True)  # the graph of other weights
    write_copy(model, raw, config, {key: value for key, value in model.provenance.items() if key != "decoding"})
    surveys = _surveys(CALIBRATION_SURVEYS, options)
    truths = [argument for folder in surveys for argument in ("--truth", folder)]
    real, table, count = _held_out_recordings(run, options.work)
    description = DATA.format(sum(CALIBRATION_SURVEYS.values()), count)
    models = ("--model", str(raw), "--out", str(calibrated))
    loxo(
        *("calibrate", *surveys, str(real), *truths, "--truth", str(table), *models),
        *("--max-fp-per-hour", "1", "--data", description),
    )
    model = read_model_file(calibrated)
    config, about = model.config, dict(model.provenance)
    if options.thresholds:
        by_hand = dict(zip(LABELS, options.thresholds, strict=True))
        decoding = {label: replace(config.decoding[label], threshold=by_hand[label]) for label in LABELS}
        config = replace(config, decoding=decoding)
        about["thresholds"] = "of held-out sources (benchmarks/held_out_sources.py)"
    write_copy(model, options.out, config, about)
    _check(options)


def _held_out_recordings(run: Path, work: Path) -> tuple[Path, Path, int]:
    """A list of the recordings that a training held out, their table of events, and how many they are."""
    held_out = json.loads((run / "run.json").read_text())["data"]["recordings"]["validation"]
    names = {Path(path).name for path in held_out}
    with (work / "data" / "annotations.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["recording"] in names]
    paths, table = work / "held-out.txt", work / "held-out.csv"
    paths.write_text("\n".join(str(work.resolve() / "data" / "recordings" / name) for name in sorted(names)) + "\n")
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, TABLE_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return paths, table, len(names)


def _surveys(seeds: dict[int, int], options: argparse.Namespace) -> list[str]:
    """The folders of the surveys. Missing surveys are made."""
    folders = {seed: options.work / "calibration" / str(seed) for seed in seeds}
    missing = [seed for seed, folder in folders.items() if not has_survey(folder)]
    held_out = backgrounds_held_out(options.work / "data" / "manifest.csv") if missing else None
    for seed in missing:
        backgrounds = None if seed % 2 else held_out
        simulate(folders[seed], seeds[seed], seed, backgrounds=backgrounds, site=f"s{seed}", **RATES)
    return [str(folder) for folder in folders.values()]


def _check(options: argparse.Namespace) -> None:
    """Prints the calibration error of the new model in the other hours."""
    surveys = _surveys(CHECK_SURVEYS, options)
    truths = [argument for folder in surveys for argument in ("--truth", folder)]
    run, report = options.work / "check", options.work / "check.json"
    shutil.rmtree(run, ignore_errors=True)  # a run of another model would be refused
    loxo("detect", *surveys, "--out", str(run), "--model", str(options.out), "--threshold", "0.01")
    loxo("evaluate", *truths, "--detections", str(run), "--exhaustive", "--json", str(report))
    classes = json.loads(report.read_text())["detectors"][0]["classes"]
    for label in LABELS:
        error = classes[label]["reliability"]["error"]
        print(f"{label}: calibration error {error:.3f} in {sum(CHECK_SURVEYS.values())} other hours")


if __name__ == "__main__":
    main()
