"""Analyses the same recordings with many settings: all results must be the same, byte for byte.

    python benchmarks/same_events.py [--hours 1] [--seed 5] [--model default] [--keep DIR]

The recordings are simulated at 4 kHz and have seven durations, from half a minute to 0.4 of the hours. The bundled
model analyses them with 1, 2 and 4 processes, and with local Dask clusters of 2 and 4 workers. Each uses shards of 5
minutes and of 24 h, and batches of 1, 4 and 16 in turn. The SHA-256 digests of all tables, of events.csv and of the
frame scores are compared with those of the first setting. The exit code is 1 if one differs, or if there are no events
to compare.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
import time
from contextlib import nullcontext
from itertools import cycle
from pathlib import Path

from loxo.simulation.simulate import simulate
from loxo.survey.survey import survey

SHARES = (0.4, 0.2, 0.15, 0.11, 0.08, 0.05, 0.01)  # duration of each recording, as a fraction of the hours
RATES = {"rumbles_per_hour": 60.0, "gunshots_per_hour": 30.0}
PROCESSES = (("1 process", 1, None), ("2 processes", 2, None), ("4 processes", 4, None))
CLUSTERS = (("Dask, 2 workers", 1, "local:2"), ("Dask, 4 workers", 1, "local:4"))
SHARDS = (5.0, 1440.0)  # minutes
BATCHES = (1, 4, 16)


def make_card(folder: Path, hours: float, seed: int) -> Path:
    """Simulates the recordings, in one folder for each duration. The file names are the same in all folders."""
    for k, share in enumerate(SHARES):
        simulate(folder / f"card{k}", hours * share, seed=seed + k, file_hours=hours * share, sample_rate=4000, **RATES)
    return folder


def hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 digest of each result file, by its relative path."""
    names = [*folder.glob("tables/**/*.txt"), *folder.glob("scores/**/*.npz"), *folder.glob("events*")]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in names}


def compare(folder: Path, card: Path, model: str) -> int:
    """Prints a line for each setting. Returns the number of settings that differ from the first."""
    batches, expected, differing = cycle(BATCHES), None, 0
    print(f"{'setting':16} {'shards':>8} {'batch':>5} {'s':>6} {'files':>5} {'events':>6}  events.csv")
    for name, workers, cluster in (*PROCESSES, *CLUSTERS):
        for shard_minutes in SHARDS:
            batch_size, start = next(batches), time.monotonic()
            out = folder / f"{workers}-{cluster}-{shard_minutes:g}".replace(":", "")
            options = {"workers": workers, "cluster": cluster, "batch_size": batch_size, "keep_scores": True}
            summary = survey([card], model, out, shard_minutes=shard_minutes, **options)
            elapsed_s, digests = time.monotonic() - start, hashes(out)
            expected = expected or digests
            different_files = sorted(file for file in {*digests, *expected} if digests.get(file) != expected.get(file))
            verdict = "same" if not different_files else f"DIFFERENT: {', '.join(different_files)}"
            print(
                f"{name:16} {shard_minutes:>4g} min {batch_size:>5} {elapsed_s:>6.0f} {len(digests):>5} "
                f"{summary.events:>6}  {digests['events.csv'][:12]} {verdict}",
                flush=True,
            )
            differing += bool(different_files) or not summary.events or bool(summary.problems)
    return differing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--model", default="default")
    parser.add_argument("--keep", type=Path, help="folder for recordings and runs; existing recordings are used again")
    args = parser.parse_args()
    with nullcontext(args.keep) if args.keep else tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        card = folder / "card"
        if not card.exists():
            make_card(card, args.hours, args.seed)
        differing = compare(folder, card, args.model)
    result = f"{differing} settings differ" if differing else "all settings give the same bytes"
    print(f"{os.cpu_count()} cores; {result}")
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
