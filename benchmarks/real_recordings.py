"""The bundled model, or another one, on the real recordings of a pack; prints the scores of the pack's own scorer.

    python benchmarks/real_recordings.py [--pack DIR] [--scorer FILE] [--model NAME] [--out DIR] [--gains -30 20]

`loxo detect` analyses the folders of the pack with a threshold of 0. The independent scorer of the pack then scores
events.csv and the frame scores; it uses only files with `part` = measure. Afterwards all detections that reach the
default thresholds of the model in the backgrounds of that part are listed. Each of these is a false positive. With
--gains everything is repeated with all recordings at these gains in dB, as 32-bit float without clipping.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile

import reporting
from loxo import load_model
from pack import is_background, part_rows

FOLDERS = ("rumble", "gunshot", "background")
ROOT = Path(__file__).resolve().parents[2]
ROWS = (  # name, class, subset and criterion of the pack's scorer
    ("rumbles, sure, IoU >= 0.3", "rumble", "sure", "iou30"),
    ("gunshots, all, 10 % overlap", "gunshot", "all", "hit10"),
    ("gunshots in forests, 10 % overlap", "gunshot", "forest", "hit10"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, default=ROOT / "shared" / "data" / "recordings")
    parser.add_argument("--scorer", type=Path, default=ROOT / "shared" / "tools" / "score_events.py")
    parser.add_argument("--model", default="default")
    parser.add_argument("--out", type=Path, help="folder in which run folders and scores.json are kept")
    parser.add_argument(
        "--gains", type=float, nargs="*", default=[], metavar="DB", help="repeat everything at these gains"
    )
    parser.add_argument("--section", default="bench-real", help="section of docs/benchmarks.md for these figures")
    args = parser.parse_args()
    if not args.pack.is_dir() or not args.scorer.is_file():
        parser.error(f"the pack {args.pack} or the scorer {args.scorer} does not exist")
    with tempfile.TemporaryDirectory() as folder:
        exit_codes = []
        for gain in (0.0, *args.gains):
            print(f"\n## gain {gain:+g} dB\n", flush=True)
            pack = args.pack if gain == 0 else with_gain(args.pack, Path(folder) / f"pack{gain:+g}", gain)
            run = (args.out or Path(folder)) / f"run{gain:+g}"
            exit_codes.append(measure(pack, args.scorer, args.model, run))
            false = false_events(pack, run / "events.csv", args.model)
            with reporting.section(args.section) if gain == 0 else nullcontext():
                print_scores(json.loads((run / "scores.json").read_text()), false)
            print("\nfalse positives at the default thresholds:", *chain(*false.values()), sep="\n", flush=True)
    return max(exit_codes)


def measure(pack: Path, scorer: Path, model: str, run: Path) -> int:
    """Runs `loxo detect` and the scorer. Returns the exit code of the scorer."""
    if run.exists():
        shutil.rmtree(run)
    detect = [
        reporting.LOXO,
        "detect",
        *(pack / name for name in FOLDERS),
        "--out",
        run,
        "--model",
        model,
        "--threshold",
        "0",
    ]
    subprocess.run([*map(str, detect)], check=True)
    score = [sys.executable, scorer, pack, run / "events.csv", "--json", run / "scores.json", "--lenient"]
    return subprocess.run([*map(str, score)]).returncode


def with_gain(pack: Path, copy: Path, gain_db: float) -> Path:
    """A copy of the pack with the same file names at another level.

    The copies are WAV files with the suffix of the originals. libsndfile recognises a format by its content.
    """
    for path in sorted(pack.rglob("*.flac")):
        samples, rate = soundfile.read(path, dtype="float32")
        target = copy / path.relative_to(pack)
        target.parent.mkdir(parents=True, exist_ok=True)
        scaled = samples * np.float32(10 ** (gain_db / 20))
        soundfile.write(target, scaled, rate, format="WAV", subtype="FLOAT")
    shutil.copy(pack / "manifest.csv", copy)
    return copy


def false_events(pack: Path, events_csv: Path, model: str) -> dict[str, list[str]]:
    """For each class, the detections at the default thresholds in the backgrounds for measurement, one per line."""
    descriptions = {row["file"]: row["what"] for row in part_rows(pack, "measure") if is_background(row)}
    decoding = load_model(model).config.decoding
    events = pd.read_csv(events_csv)
    lines: dict[str, list[str]] = {label: [] for label in decoding}
    for event in events.itertuples():
        label = str(event.label)
        name = next((file for file in descriptions if str(event.recording).endswith(file)), None)
        if name is not None and event.score >= decoding[label].threshold:
            lines[label].append(f"{label} {event.score:.2f} at {event.start_s:.1f} s of {name} ({descriptions[name]})")
    return lines


def print_scores(scores: dict[str, Any], false: dict[str, list[str]]) -> None:
    """Prints the recall at each rate of false positives, and the rate at the default thresholds."""
    rows, rates = [], []
    for name, label, subset, criterion in ROWS:
        part = scores[label][subset]
        rates = part[criterion]["at"]
        recalls = [f"{at['recall']:.2f} ({at['recall_95'][0]:.2f}-{at['recall_95'][1]:.2f})" for at in rates]
        per_hour = len(false[label]) / part["hours"]["background"]
        rows.append((name, part["events"], *recalls, f"{per_hour:.1f}"))
    columns = ["", "events", *(f"recall at {at['rate']:g} / h" for at in rates)]
    reporting.print_table([*columns, "false positives per hour at the default threshold"], rows)


if __name__ == "__main__":
    sys.exit(main())
