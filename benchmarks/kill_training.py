"""A training run whose process is killed at random moments and resumed until it is done, beside one left in peace.

    python benchmarks/kill_training.py [--kills 10] [--steps 60] [--seed 0] [--workers 1]

Each kill is a SIGKILL of the `loxo train` process, after a random number of further steps and a random part of one: it
hits steps, validations, checkpoints and the starting of the loader alike. At the end the loss curves, the validations
and the weights are compared: every step once, all within float noise.
"""

from __future__ import annotations

import argparse
import csv
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from loxo import load_model

CONFIG = """
model: {embed_dim: 8, num_heads: [1, 2, 4], depths: [1, 1, 1], window_samples: 20480, image_frames: 128}
data: {validation_windows: 16}
augment: {gain_db: 6, shift: 0.2, filter_db: 6, background: 0.5, mixup: 0.5, time_masks: 1, band_masks: 1}
batch_size: 4
accumulate: 2
validation_interval: 10
checkpoint_interval: 3
log: {plots: 1}
"""


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def steps_done(out: Path) -> int:
    path = out / "logs/training.csv"
    return path.read_text().count("\n") - 1 if path.is_file() else 0


def start(config: Path, out: Path, settings: list[str]) -> subprocess.Popen[bytes]:
    again = ["--resume"] if (out / "run.json").is_file() else []
    command = [sys.executable, "-c", "from loxo.cli import main; main()", "train", str(config), *settings, *again]
    return subprocess.Popen([*command, "--out", str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("kills", 10), ("steps", 60), ("seed", 0), ("workers", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    settings = [f"iterations={options.steps}", f"workers={options.workers}"]
    with tempfile.TemporaryDirectory() as folder:
        config, whole, killed = (Path(folder, name) for name in ("config.yaml", "whole", "killed"))
        config.write_text(CONFIG)
        assert start(config, whole, settings).wait() == 0
        for kill in range(options.kills):
            share = (kill + rng.random()) / options.kills
            wanted = max(round(share * (options.steps - 2)), 1)
            process = start(config, killed, settings)
            while process.poll() is None and steps_done(killed) < wanted:
                time.sleep(0.005)
            time.sleep(rng.uniform(0, 0.5))
            process.send_signal(signal.SIGKILL)
            process.wait()
            print(f"kill {kill + 1}: after {steps_done(killed)} steps", flush=True)
        assert start(config, killed, settings).wait() == 0
        compare(whole, killed)


def compare(whole: Path, killed: Path) -> None:
    for name in ("training", "validation"):
        one, other = (rows(out / f"logs/{name}.csv") for out in (whole, killed))
        assert [row["iteration"] for row in one] == [row["iteration"] for row in other], f"{name}.csv: other steps"
        differences = [abs(float(a["loss"]) - float(b["loss"])) for a, b in zip(one, other, strict=True)]
        print(f"{name}.csv: {len(one)} rows, each once; the losses differ by at most {max(differences):.2g}")
        assert max(differences) < 1e-4
    models = [load_model(out / "model.safetensors") for out in (whole, killed)]
    parameters = zip(*(model.parameters() for model in models), strict=True)
    print(f"weights: they differ by at most {max(float((a - b).detach().abs().max()) for a, b in parameters):.2g}")
    assert models[0].config == models[1].config, "decoding or calibration differ"
    print("decoding and calibration: the same")


if __name__ == "__main__":
    main()
