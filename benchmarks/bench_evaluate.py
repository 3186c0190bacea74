"""Evaluation of a million events: time of the processor by stage, and memory.

    python benchmarks/bench_evaluate.py [--events 1000000] [--recordings 1000]

Truth and detections are drawn by chance: recordings of 24 h, 80 % of the events called with borders 1 s off, and half
as many false positives as there are events; two CSV tables as Loxo writes them.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from loxo.evaluation.evaluate import _criteria, judge
from loxo.evaluation.inputs import gather, read_detections, read_truth
from loxo.evaluation.matching import IOU30, match, pairs
from loxo.events.table import COLUMNS

DAY_S = 86_400


def write_tables(folder: Path, events: int, recordings: int) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    where, start = rng.integers(0, recordings, events), rng.uniform(0, DAY_S - 20, events)
    end = start + rng.uniform(2, 8, events)
    called = rng.random(events) < 0.8
    shift = rng.normal(0, 1, (2, events))
    others = rng.uniform(0, DAY_S - 20, events // 2)
    d_where = np.concatenate([where[called], rng.integers(0, recordings, events // 2)])
    d_start = np.concatenate([np.maximum(start + shift[0], 0)[called], others])
    d_end = np.maximum(np.concatenate([(end + shift[1])[called], others + 4]), d_start + 0.1)
    d_score = np.concatenate([rng.beta(4, 2, int(called.sum())), rng.beta(2, 4, events // 2)])
    paths = folder / "truth.csv", folder / "found.csv"
    for path, columns in zip(paths, ((where, start, end, None), (d_where, d_start, d_end, d_score)), strict=True):
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
        began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rows: list[tuple[str, float, float]] = []

        def stage(name: str, since: float) -> float:
            now = time.process_time()
            rows.append((name, now - since, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
            return now

        at = time.process_time()
        truth, detector = read_truth([truth_path]), read_detections(found_path)
        at = stage("read both tables", at)
        case = gather(truth, [detector], hours=24.0 * options.recordings)
        at = stage("put together", at)
        count = len(detector.events)
        del truth, detector
        matching = match(case.classes[0].truth, case.classes[0].found[0], IOU30)
        at = stage("  match once (iou30)", at)
        hits = len(pairs(matching)[0])
        at = stage("  pair once", at)
        report = judge(case, _criteria((0.3, 0.5))).report
        stage("everything: 3 criteria, intervals, segments, recordings", at)
    figures = report["detectors"][0]["classes"]["rumble"]["criteria"]["iou30"]
    print(f"{options.events} events, {count} detections, {options.recordings} recordings of 24 h")
    print(f"hits {hits}, AP {figures['ap']:.4f}; memory before: {began:.0f} MB")
    for name, seconds, memory in rows:
        print(f"{name:60s} {seconds:6.1f} s CPU   peak {memory:5.0f} MB")


if __name__ == "__main__":
    main()
