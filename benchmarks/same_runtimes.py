"""Do the runtimes give the same events? ONNX Runtime against PyTorch, and OpenVINO against ONNX Runtime.

    python benchmarks/same_runtimes.py [--hours 0.5] [--week-hours 168] [--recordings FOLDER] [--seed 77]

First part: `--hours` of a simulated recording, all events at threshold 0, with PyTorch and with ONNX Runtime. It prints
how many events have the same times and label, the largest difference of the frame scores in float16 units, as they are
stored, and the largest difference of the event scores.

Second part: `--week-hours` of simulated recordings (or those in `--recordings`) at the model's thresholds, with ONNX
Runtime in float32 and with OpenVINO in its fastest precision. It prints the fraction of float32's listed events that
OpenVINO lists too, one-to-one with the same label at IoU >= 0.8.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import reporting
from loxo.detection.detect import analyse
from loxo.engine.engine import load_engine

MIN_IOU = 0.8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=0.5)
    parser.add_argument("--week-hours", type=float, default=168.0)
    parser.add_argument("--recordings", type=Path)
    parser.add_argument("--seed", type=int, default=77)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        short = simulate(Path(folder, "short"), options.hours, options.seed)
        same_events(sorted(short.glob("*.wav"))[0])
        week = options.recordings or simulate(Path(folder, "week"), options.week_hours, options.seed)
        runs = [detect(week, Path(folder, runtime), runtime) for runtime in ("onnxruntime", "openvino")]
    for label in sorted(set(runs[0]["label"])):
        kept, listed, other = kept_events(runs, label)
        share = f"{100 * kept / listed:.2f} %" if listed else "-"
        print(f"- {label}: float32 lists {listed}, OpenVINO {other}; {kept} of float32's are kept ({share})")


def simulate(out: Path, hours: float, seed: int) -> Path:
    size = ["--hours", str(hours), "--file-hours", str(min(hours, 24)), "--seed", str(seed), "--format", "wav"]
    subprocess.run([sys.executable, "-m", "loxo", "simulate", *size, "--out", str(out)], check=True)
    return out


def detect(recordings: Path, out: Path, runtime: str) -> pd.DataFrame:
    command = [sys.executable, "-m", "loxo", "detect", str(recordings), "--out", str(out), "--runtime", runtime]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return pd.read_csv(out / "events.csv")


def same_events(recording: Path) -> None:
    one, other = (analyse(recording, load_engine(runtime=name), threshold=0.0) for name in ("torch", "onnxruntime"))
    columns = ["start_s", "end_s", "label"]
    shared = one.events.merge(other.events, on=columns, suffixes=("", "_other"))
    units = [np.asarray(a.scores, np.float16).view(np.int16).astype(int) for a in (one, other)]
    print(
        f"- {len(one.events)} events by PyTorch, {len(other.events)} by ONNX Runtime, {len(shared)} the same; frame "
        f"scores differ by at most {np.abs(units[0] - units[1]).max()} float16 unit(s), event scores by at most "
        f"{np.abs(shared['score'] - shared['score_other']).max():.2g}"
    )


def kept_events(runs: list[pd.DataFrame], label: str) -> tuple[int, int, int]:
    """Events of the first run that the second run has too, events of the first, events of the second."""
    one, other = (run[run["label"] == label] for run in runs)
    kept = 0
    for recording, events in one.groupby("recording"):
        rest = other[other["recording"] == recording][["start_s", "end_s"]].to_numpy()
        free = np.ones(len(rest), bool)
        for start, end in events[["start_s", "end_s"]].to_numpy():
            inside = np.minimum(rest[:, 1], end) - np.maximum(rest[:, 0], start)
            iou = np.where(free, inside / (np.maximum(rest[:, 1], end) - np.minimum(rest[:, 0], start)), 0.0)
            if len(iou) and iou.max() >= MIN_IOU:
                free[iou.argmax()] = False
                kept += 1
    return kept, len(one), len(other)


if __name__ == "__main__":
    with reporting.section("bench-runtimes"):
        main()
