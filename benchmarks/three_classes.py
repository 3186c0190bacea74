"""Trains rumble, gunshot and trumpet from own labels in 300 iterations, and tests them on other recordings.

    python benchmarks/three_classes.py [--iterations 300] [--seed 0] [--work runs/bench-three-classes]

Recordings and tables are made by the voices of the simulator, in synthetic noise: 24 recordings of 150 s for training
and 12 others for the test. `loxo train` starts from the bundled model, whose outputs for rumbles and gunshots are kept;
the output for trumpets starts anew. Printed: event AP of each class on the test recordings, and CPU minutes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import soundfile

import reporting
from adaptation import run
from loxo.simulation.background import synthetic_background
from loxo.simulation.mixing import events_table
from loxo.simulation.rumble import draw_trumpet
from loxo.simulation.sounds import add_at
from loxo.simulation.soundscape import compose

RATE, SECONDS, CALLS = 4000, 150, 4  # calls of each class in a recording
CLASSES = ("rumble", "gunshot", "trumpet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("runs/bench-three-classes"))
    options = parser.parse_args()
    own, test = options.work / "own", options.work / "test"
    write_recordings(own, (options.seed, 0), 24)
    write_recordings(test, (options.seed, 1), 12)
    words = {
        "data.tables": own / "calls.csv",
        "data.recordings": own,
        "data.validation_share": 0.25,
        "model.classes": f"[{','.join(CLASSES)}]",
        "init_from": "default",
        "iterations": options.iterations,
        "validation_interval": options.iterations // 3,
        "log.plots": 0,
    }
    trained, found, result = (options.work / name for name in ("trained", "found", "evaluation.json"))
    given = [f"{key}={value}" for key, value in words.items()]
    minutes = run(trained / "model.onnx", "train", *given, "--out", trained)
    model = ("--model", trained / "model.safetensors", "--threshold", 0.01)
    run(found / "run.json", "detect", test, *model, "--out", found)
    run(result, "evaluate", "--truth", test, "--detections", found, "--recordings", test, "--json", result)
    (detector,) = json.loads(result.read_text())["detectors"]
    print("| class | events in training and validation | test events | event AP (95 %) |\n|---|---|---|---|")
    for label in CLASSES:
        known = (own / "calls.csv").read_text().count(label)
        figures = detector["classes"][label]["criteria"]["hit10" if label == "gunshot" else "iou30"]
        low, high = figures["ap_95"]
        print(f"| {label} | {known} | {figures['events']} | {figures['ap']:.3f} ({low:.3f}-{high:.3f}) |")
    if minutes is not None:
        print(f"\n{options.iterations} iterations: {minutes:.1f} CPU minutes")


def write_recordings(folder: Path, seed: tuple[int, int], count: int) -> None:
    """Recordings with CALLS rumbles, shot patterns and trumpets each, and one table of all events."""
    if (folder / "calls.csv").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["recording,start_s,end_s,label"]
    for number in range(count):
        rng, size, name = np.random.default_rng((*seed, number)), SECONDS * RATE, f"{number:02d}.wav"
        scene = compose(rng, size, RATE, synthetic_background(rng, size, RATE), rumbles=CALLS, shots=CALLS)
        sound = scene.samples.astype(np.float32)
        level = float(np.sqrt(np.median(np.square(sound))) + 1e-4)
        for at in rng.choice(SECONDS // 5, CALLS, replace=False) * 5 * RATE:
            call = draw_trumpet(rng, RATE)
            add_at(sound, call.samples, int(at), level * 10 ** (rng.uniform(0, 20) / 20))
            rows.append(f"{name},{(at + call.core[0]) / RATE:.3f},{(at + call.core[1]) / RATE:.3f},trumpet")
        events = events_table(scene.events, RATE, name)
        rows += [f"{name},{one.start_s:.3f},{one.end_s:.3f},{one.label}" for one in events.itertuples()]
        soundfile.write(folder / name, sound / max(1.0, float(np.abs(sound).max())), RATE, subtype="PCM_16")
    (folder / "calls.csv").write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    with reporting.section("bench-three-classes"):
        main()
