"""Questions about the model settled by training: every variant with several seeds, from nothing, a few hundred steps.

    python benchmarks/variants.py --backgrounds PACK/manifest.csv [--seeds 11 12 13] [--steps 300] [--variants mel]

All variants see as many hours of sound in a step. They learn in one part of the backgrounds and are judged, as in
full_walk.py, on simulated recordings of another seed in the other part, which is the same for every seed. Trainings go
on where they were interrupted; what is finished is not done again. Printed are means over the seeds and, in brackets,
the lowest and the highest. Few steps tell who learns first, not who ends highest.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import reporting
from full_walk import KEYS, LABELS, SPLIT_SEED, VALIDATION_SHARE, add_options, judge, make_recordings, train
from loxo.simulation.background import Backgrounds

MEL = (
    *("model.in_chans=1", "model.n_fft=1024", "model.low_bands=0", "model.long_every=1"),
    *("model.fmin=8", "model.fmax=1900"),
)
NO_FINE_HEAD = ("model.fine=0", "model.call_overlap=false")  # which stands on it
VARIANTS = {
    "default": (),
    "mel": ("model.frontend=mel", *MEL),  # as many bands, evenly over mels, without a noise floor
    "pcen": ("model.frontend=pcen", *MEL),  # the same bands over what was heard in each before
    "median floor": ("model.floor_quantile=0.5",),
    "window 0.51 s": ("model.n_fft=2048",),  # 4 Hz apart below 250 Hz, not 2
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
    "AdamW": ("optimiser=adamw",),  # for the matrices too
    "taught": ("distil.teachers=default",),  # half of the loss asks for the bundled weights' answer
    "made-up noise": ("data.backgrounds=null",),  # in place of recorded backgrounds
}
AVERAGE = "average_decay=0.98"  # the usual mean over 500 steps would still hold the first weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--seeds", type=int, nargs="*", default=[11, 12, 13])
    parser.add_argument("--steps", type=int, default=300)
    add_options(parser, Path("runs/variants"))
    options = parser.parse_args()
    truths = {"all": make_recordings(options)["all"]}
    learnt, _ = Backgrounds(options.backgrounds).split(VALIDATION_SHARE, SPLIT_SEED)
    listed = options.work / "backgrounds.txt"
    listed.write_text("".join(f"{Path(one.path).absolute()}\n" for one in learnt.recordings))
    common = (f"data.backgrounds={listed}", f"steps={options.steps}", f"epoch_steps={options.steps}", AVERAGE)
    columns = {f"{label}, {key} AP": (label, key) for label in LABELS for key in KEYS}
    results: dict[str, list[dict[str, float]]] = {name: [] for name in options.variants}
    for seed in options.seeds:
        for name in options.variants:
            folder = options.work / f"{name.replace(' ', '-')}-{seed}"
            run = train(folder, (*common, f"seed={seed}", *VARIANTS[name]))
            judged = judge(run.name, run, truths, options)["all"]
            results[name].append({column: judged[label][key] for column, (label, key) in columns.items()})
    print()
    reporting.print_table(
        ["variant", *columns],
        [(name, *(_spread([one[column] for one in each]) for column in columns)) for name, each in results.items()],
    )
    about = {key: str(value) for key, value in vars(options).items()}
    reporting.write_result("variants", {"options": about, "variants": results}, options.out)


def _spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.2f} ({min(values):.2f}-{max(values):.2f})"


if __name__ == "__main__":
    main()
