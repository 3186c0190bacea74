"""Kills a training at random times and resumes it until it is finished, and compares it with an undisturbed training.

    python benchmarks/kill_training.py [--kills 10] [--steps 60] [--seed 0] [--workers 1]

Each kill is a SIGKILL of the `loxo train` process, after a random number of further iterations and a random fraction of
one. The kills therefore occur in iterations, validations, checkpoints and the start of the loader. At the end the loss
curves, the validations and the parameters of both trainings are compared. Every iteration must occur once, and all
differences must be within float noise.
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


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def steps_done(out: Path) -> int:
    path = out / "logs/training.csv"
    return path.read_text().count("\n") - 1 if path.is_file() else 0


def start_training(config: Path, out: Path, settings: list[str]) -> subprocess.Popen[bytes]:
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
        config, undisturbed, killed = (Path(folder, name) for name in ("config.yaml", "undisturbed", "killed"))
        config.write_text(CONFIG)
        assert start_training(config, undisturbed, settings).wait() == 0
        for kill in range(options.kills):
            fraction = (kill + rng.random()) / options.kills
            target_steps = max(round(fraction * (options.steps - 2)), 1)
            process = start_training(config, killed, settings)
            while process.poll() is None and steps_done(killed) < target_steps:
                time.sleep(0.005)
            time.sleep(rng.uniform(0, 0.5))
            process.send_signal(signal.SIGKILL)
            process.wait()
            print(f"kill {kill + 1}: after {steps_done(killed)} iterations", flush=True)
        assert start_training(config, killed, settings).wait() == 0
        compare(undisturbed, killed)


def compare(undisturbed: Path, killed: Path) -> None:
    for name in ("training", "validation"):
        expected, actual = (read_rows(out / f"logs/{name}.csv") for out in (undisturbed, killed))
        assert [row["iteration"] for row in expected] == [row["iteration"] for row in actual], (
            f"{name}.csv: the iterations differ"
        )
        differences = [abs(float(a["loss"]) - float(b["loss"])) for a, b in zip(expected, actual, strict=True)]
        print(f"{name}.csv: {len(expected)} rows, each once; the losses differ by at most {max(differences):.2g}")
        assert max(differences) < 1e-4
    models = [load_model(out / "model.safetensors") for out in (undisturbed, killed)]
    parameters = zip(*(model.parameters() for model in models), strict=True)
    print(f"parameters: they differ by at most {max(float((a - b).detach().abs().max()) for a, b in parameters):.2g}")
    assert models[0].config == models[1].config, "decoding or calibration differ"
    print("decoding and calibration: the same")


if __name__ == "__main__":
    main()
