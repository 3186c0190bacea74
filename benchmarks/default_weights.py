"""The bundled model made again: two trainings, then calibrated on simulated hours and checked on others.

    python benchmarks/default_weights.py --backgrounds PACK/manifest.csv [--steps 25000] [--taught 11000] [--model FILE]

The first training is `loxo train` with the default preset, from nothing, in WORK/training. The second one, in
WORK/taught, goes on from its model, taught by this and by the bundled weights. Both go on where they were interrupted.
The model gets the preset's smoothing, edges and splits, and calibration and operating curves by `loxo calibrate` from
96 simulated hours: half in the backgrounds that training kept out, half in made-up noise, since few of those are there.
48 more hours of other seeds tell how far the scores are off. Hours that are there already are not made again.
`--model` calibrates these weights and trains none. `--thresholds` sets the default thresholds by hand.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path

from full_walk import LABELS, backgrounds_kept_out, loxo, train
from loxo.engine.architectures import preset_config
from loxo.engine.model_file import read_model_file, write_copy
from loxo.simulation.simulate import simulate

RATES = {"rumbles_per_hour": 15.0, "gunshots_per_hour": 6.0}
# Seeds and hours of the surveys; even seeds in backgrounds, odd ones in noise.
CALIBRATING = {178: 12, 378: 12, 578: 24, 179: 12, 379: 12, 579: 24}
CHECKING = {478: 24, 479: 24}
TAUGHT = ("learning_rate=0.001", "muon_rate=2", "seed=15")  # how the second training differs from the first
DATA = "{} simulated hours, half in backgrounds kept for validation, half in made-up noise"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backgrounds", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=25_000, help="of the first training: 80 minutes on two fast cores")
    parser.add_argument("--taught", type=int, default=11_000, help="steps of the second one, an hour; 0: without it")
    parser.add_argument("--workers", type=int, default=1, help="processes that make windows; on a GPU as many as cores")
    parser.add_argument("--model", type=Path, help="these weights in place of a training")
    parser.add_argument("--thresholds", type=float, nargs=len(LABELS), metavar=LABELS, help="in place of 1 / h")
    parser.add_argument("--work", type=Path, default=Path("runs/default-weights"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    weights = options.model
    if weights is None:
        both = (f"data.backgrounds={options.backgrounds}", f"workers={options.workers}")
        settings = (*both, f"iterations={options.steps}", "validation_interval=2500")
        weights = train(options.work / "training", settings) / "model.safetensors"
        if options.taught:
            from_it = (f"init_from={weights}", f"distil.teachers=[default,{weights}]", *TAUGHT)
            settings = (*both, f"iterations={options.taught}", "validation_interval=2000", *from_it)
            weights = train(options.work / "taught", settings) / "model.safetensors"
    model = read_model_file(weights)
    config = replace(model.config, decoding=preset_config("default").decoding, calibration={}, curves={})
    raw, calibrated = options.work / "raw.safetensors", options.work / "calibrated.safetensors"
    options.work.mkdir(parents=True, exist_ok=True)
    write_copy(model, raw, config, {key: value for key, value in model.provenance.items() if key != "decoding"})
    surveys = _surveys(CALIBRATING, options)
    truths = [word for folder in surveys for word in ("--truth", folder)]
    said = DATA.format(sum(CALIBRATING.values()))
    loxo(
        *("calibrate", *surveys, *truths, "--model", str(raw), "--out", str(calibrated)),
        *("--max-fp-per-hour", "1", "--data", said),
    )
    model = read_model_file(calibrated)
    config, about = model.config, dict(model.provenance)
    if options.thresholds:
        by_hand = dict(zip(LABELS, options.thresholds, strict=True))
        decoding = {label: replace(config.decoding[label], threshold=by_hand[label]) for label in LABELS}
        config = replace(config, decoding=decoding)
        about["thresholds"] = "set by hand"
    write_copy(model, options.out, config, about)
    _check(options)


def _surveys(seeds: dict[int, int], options: argparse.Namespace) -> list[str]:
    """The folders of the surveys, made where they are not there yet."""
    folders = {seed: options.work / "calibration" / str(seed) for seed in seeds}
    missing = [seed for seed, folder in folders.items() if not (folder / "simulation.json").exists()]
    kept_out = backgrounds_kept_out(options.backgrounds) if missing else None
    for seed in missing:
        backgrounds = None if seed % 2 else kept_out
        simulate(folders[seed], seeds[seed], seed, backgrounds=backgrounds, site=f"s{seed}", **RATES)
    return [str(folder) for folder in folders.values()]


def _check(options: argparse.Namespace) -> None:
    """Prints how far the scores of the new model are off in the other hours."""
    surveys = _surveys(CHECKING, options)
    truths = [word for folder in surveys for word in ("--truth", folder)]
    run, report = options.work / "check", options.work / "check.json"
    shutil.rmtree(run, ignore_errors=True)  # that of another model would be refused
    loxo("detect", *surveys, "--out", str(run), "--model", str(options.out), "--threshold", "0.01")
    loxo("evaluate", *truths, "--detections", str(run), "--exhaustive", "--json", str(report))
    classes = json.loads(report.read_text())["detectors"][0]["classes"]
    for label in LABELS:
        error = classes[label]["reliability"]["error"]
        print(f"{label}: scores are off by {error:.3f} in {sum(CHECKING.values())} other hours")


if __name__ == "__main__":
    main()
