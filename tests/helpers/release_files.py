"""Writes the files of a release that every later version must read: tests/files/VERSION.

PYTHONPATH=src:tests/helpers python tests/helpers/release_files.py --work /survey

Run it once, when a release is made, and commit the folder; it is never written again. It needs the extra `train`.
Tables contain absolute paths, so that `--work` should be a folder whose name says nothing about this machine.

    recordings/     a recording of 24 s with two rumbles and two shots
    run/            a run of it, with kept scores, two decisions of a review, and the tables of that review
    model.safetensors, model.onnx, model.json   a tiny model, its graph, and its output for a sine
    events.csv      the events of the run at a threshold of 0.05
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile
import soxr
from fixture_sound import RATE, fixture_sound
from numpy.typing import NDArray

import loxo

FILES = Path(__file__).resolve().parents[1] / "files"
SECONDS, STORED_RATE = 24, 1000  # of the recording: a small file
LOW_THRESHOLD = 0.05
TINY = {"embed_dim": 8, "depths": (1, 1), "num_heads": (1, 2), "merges": ((2, 1),), "stem": (2, 4), "fine": 4}


def sine(config: loxo.HTSATConfig) -> NDArray[np.float32]:
    """A window of the model: a loud tone of 25 Hz in its middle, and a little of another one everywhere."""
    t = np.arange(config.window_samples) / config.sample_rate
    middle = np.abs(t - t.mean()) < t[-1] / 4
    return (0.1 * middle * np.sin(2 * np.pi * 25 * t) + 0.01 * np.sin(2 * np.pi * 130 * t)).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="new folder, removed at the end")
    args = parser.parse_args()
    out = FILES / loxo.__version__
    if out.exists():
        sys.exit(f"{out} exists: the files of a release are written once")
    args.work.mkdir()
    os.chdir(args.work)
    Path("recordings").mkdir()
    sound = soxr.resample(fixture_sound()[: SECONDS * RATE], RATE, STORED_RATE)
    soundfile.write("recordings/nn01a_20260301_180000.flac", sound, STORED_RATE, subtype="PCM_16")
    command(
        "detect recordings --out run --keep-scores --workers 1 --runtime onnxruntime --time-zone Africa/Brazzaville"
    )
    decide(Path("run"))
    command("review run --export")
    command(f"decode run --threshold {LOW_THRESHOLD} --out low")
    shutil.move("low/events.csv", "events.csv")
    shutil.rmtree("low")
    write_model(Path("model.safetensors"))
    shutil.copytree(args.work, out)
    os.chdir(out)
    shutil.rmtree(args.work)


def command(words: str) -> None:
    subprocess.run([sys.executable, "-m", "loxo", *words.split()], check=True)


def decide(run: Path) -> None:
    """The first event is right, the second one is wrong."""
    from loxo.review.decision_log import DecisionLog, decision_log_path
    from loxo.review.session import event_names
    from loxo.runs.read import read_run

    names = event_names(read_run(run))
    log = DecisionLog(decision_log_path(run, "Ana"), "Ana")
    log.add([{"event": names[0], "verdict": "yes"}])
    log.add([{"event": names[1], "verdict": "no"}])
    log.close()


def write_model(path: Path) -> None:
    import torch

    from loxo.network.graph import export_graph
    from loxo.network.loading import save_model
    from loxo.network.registry import build

    torch.manual_seed(0)
    config = loxo.HTSATConfig.preset("default", **TINY)
    save_model(build(config), path, {"written by": f"loxo {loxo.__version__}"})
    export_graph(path)
    logits, latent = loxo.load_engine(path, runtime="onnxruntime").read(sine(config)).outputs([0])
    expected = {"logits": logits[0, :, ::16].tolist(), "latent": latent[0].tolist()}
    path.with_suffix(".json").write_text(json.dumps(expected))


if __name__ == "__main__":
    main()
