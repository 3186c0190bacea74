"""Compares variants of the model by short trainings, each with several seeds and from random parameters.

    python benchmarks/variants.py --backgrounds PACK/manifest.csv [--seeds 11 12 13] [--steps 300] [--variants mel]

All variants process the same duration of audio per iteration. They are trained in one part of the backgrounds. As in
full_walk.py they are evaluated on simulated recordings with another seed in the other part. This part is the same for
all seeds. Interrupted trainings are continued, and finished ones are not repeated. The table has means over the seeds,
with min and max in brackets. A short training shows which variant learns faster, not which one is best at the end.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import reporting
from full_walk import KEYS, LABELS, SPLIT_SEED, VALIDATION_SHARE, add_options, evaluate_run, make_recordings, train
from loxo.simulation.background import Backgrounds

MEL = (
    *("model.in_chans=1", "model.n_fft=1024", "model.low_bands=0", "model.long_every=1"),
    *("model.fmin=8", "model.fmax=1900"),
)
NO_FINE_HEAD = ("model.fine=0", "model.call_overlap=false")  # the output for call overlap needs the fine head
VARIANTS = {
    "default": (),
    "mel": ("model.frontend=mel", *MEL),  # the same number of bands, on the mel scale, without a noise floor
    "pcen": ("model.frontend=pcen", *MEL),  # the same bands with per-channel energy normalisation
    "median floor": ("model.floor_quantile=0.5",),
    "window 0.51 s": ("model.n_fft=2048",),  # a resolution of 4 Hz below 250 Hz, not 2 Hz
    "no fine head": NO_FINE_HEAD,
    "no layers in the fine head": ("model.fine_depth=0",),
    "no stem": (*NO_FINE_HEAD, "model.stem=[]"),
    "steps 0.32 s": (*NO_FINE_HEAD, "model.substeps=1"),
    "no pauses": ("data.pause=0",),
    "10 s": ("model.window_samples=40960", "model.image_frames=256", "batch_size=32"),
    "40 s": ("model.window_samples=163840", "model.image_frames=1024", "batch_size=8"),
    "half as wide": ("model.embed_dim=16", "model.num_heads=[1,1,2]"),
    "wider": ("model.embed_dim=48", "model.num_heads=[1,3,6]"),
    "shallower": ("model.depths=[1,1,1]",),
    "deeper": ("model.depths=[2,2,4]",),
    "dropped branches": ("model.drop_path=0.1",),
    "AdamW": ("optimiser=adamw",),  # also for the weight matrices
    "taught": ("distil.teachers=default",),  # half of the loss is the distance to the outputs of the bundled model
    "made-up noise": ("data.backgrounds=null",),  # synthetic noise instead of real backgrounds
}
AVERAGE = "average_decay=0.98"  # chosen before the average had a warm-up, and kept so that figures can be compared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--seeds", type=int, nargs="*", default=[11, 12, 13])
    parser.add_argument("--steps", type=int, default=300, help="training iterations")
    add_options(parser, Path("runs/variants"))
    options = parser.parse_args()
    truths = {"all": make_recordings(options)["all"]}
    training_backgrounds, _ = Backgrounds(options.backgrounds).split(VALIDATION_SHARE, SPLIT_SEED)
    list_file = options.work / "backgrounds.txt"
    list_file.write_text(
        "".join(f"{Path(background.path).absolute()}\n" for background in training_backgrounds.recordings)
    )
    common = (
        f"data.backgrounds={list_file}",
        f"iterations={options.steps}",
        f"validation_interval={options.steps}",
        AVERAGE,
    )
    columns = {f"{label}, {key} AP": (label, key) for label in LABELS for key in KEYS}
    results: dict[str, list[dict[str, float]]] = {name: [] for name in options.variants}
    for seed in options.seeds:
        for name in options.variants:
            folder = options.work / f"{name.replace(' ', '-')}-{seed}"
            run = train(folder, (*common, f"seed={seed}", *VARIANTS[name]))
            metrics = evaluate_run(run.name, run, truths, options)["all"]
            results[name].append({column: metrics[label][key] for column, (label, key) in columns.items()})
    print()
    reporting.print_table(
        ["variant", *columns],
        [
            (name, *(_spread([metrics[column] for metrics in runs]) for column in columns))
            for name, runs in results.items()
        ],
    )
    arguments = {key: str(value) for key, value in vars(options).items()}
    reporting.write_result("variants", {"options": arguments, "variants": results}, options.out)


def _spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.2f} ({min(values):.2f}-{max(values):.2f})"


if __name__ == "__main__":
    main()
