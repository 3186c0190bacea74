"""CPU time and memory of each stage of an evaluation of a million events.

    python benchmarks/bench_evaluate.py [--events 1000000] [--recordings 1000]

Truth and detections are random, in recordings of 24 h. 80 % of the events are detected, with border errors of 1 s.
There are half as many false positives as events. Both are CSV tables in the format of Loxo.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from loxo.evaluation.evaluate import criteria_of, evaluate_case
from loxo.evaluation.inputs import gather, read_detections, read_truth
from loxo.evaluation.matching import IOU30, match, pairs
from loxo.events.table import COLUMNS

DAY_S = 86_400


def write_tables(folder: Path, events: int, recordings: int) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    recording, start = rng.integers(0, recordings, events), rng.uniform(0, DAY_S - 20, events)
    end = start + rng.uniform(2, 8, events)
    detected = rng.random(events) < 0.8
    shift = rng.normal(0, 1, (2, events))
    false_start = rng.uniform(0, DAY_S - 20, events // 2)
    d_recording = np.concatenate([recording[detected], rng.integers(0, recordings, events // 2)])
    d_start = np.concatenate([np.maximum(start + shift[0], 0)[detected], false_start])
    d_end = np.maximum(np.concatenate([(end + shift[1])[detected], false_start + 4]), d_start + 0.1)
    d_score = np.concatenate([rng.beta(4, 2, int(detected.sum())), rng.beta(2, 4, events // 2)])
    paths = folder / "truth.csv", folder / "found.csv"
    for path, columns in zip(
        paths, ((recording, start, end, None), (d_recording, d_start, d_end, d_score)), strict=True
    ):
        with path.open("w") as file:
            file.write(",".join(COLUMNS) + "\n")
            for k in range(len(columns[0])):
                score = "" if columns[3] is None else f"{columns[3][k]:.6f}"
                name = f"s{columns[0][k] % 10}/r{columns[0][k]:05d}.wav"
                file.write(f"{name},{columns[1][k]:.3f},{columns[2][k]:.3f},rumble,{score},10,150,,\n")
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--recordings", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        truth_path, found_path = write_tables(Path(folder), options.events, options.recordings)
        memory_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rows: list[tuple[str, float, float]] = []

        def stage(name: str, since: float) -> float:
            now = time.process_time()
            rows.append((name, now - since, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
            return now

        since = time.process_time()
        truth, detector = read_truth([truth_path]), read_detections(found_path)
        since = stage("read both tables", since)
        case = gather(truth, [detector], hours=24.0 * options.recordings)
        since = stage("one list of recordings", since)
        count = len(detector.events)
        del truth, detector
        matching = match(case.classes[0].truth, case.classes[0].detections[0], IOU30)
        since = stage("  match once (iou30)", since)
        hits = len(pairs(matching)[0])
        since = stage("  pair once", since)
        report = evaluate_case(case, criteria_of((0.3, 0.5))).report
        stage("everything: 3 criteria, intervals, segments, recordings", since)
    figures = report["detectors"][0]["classes"]["rumble"]["criteria"]["iou30"]
    print(f"{options.events} events, {count} detections, {options.recordings} recordings of 24 h")
    print(f"hits {hits}, AP {figures['ap']:.4f}; memory before: {memory_before:.0f} MB")
    for name, seconds, memory in rows:
        print(f"{name:60s} {seconds:6.1f} s CPU   peak {memory:5.0f} MB")


if __name__ == "__main__":
    main()
