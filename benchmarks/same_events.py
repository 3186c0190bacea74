"""The same recordings searched by the bundled model in many ways: all results have to be the same, byte for byte.

    python benchmarks/same_events.py [--hours 1] [--seed 5] [--model default] [--keep DIR]

Simulated recordings at 4 kHz of seven lengths, from half a minute to 0.4 of the hours, are searched by 1, 2 and 4
processes and by local Dask clusters of 2 and 4, each in shards of 5 minutes and of 24 h, with batches of 1, 4 and 16 in
turn. The SHA-256 of every table, of events.csv and of the frame scores is compared with that of the first search. The
exit code is 1 where one differs, and where there were no events to compare.
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

SHARES = (0.4, 0.2, 0.15, 0.11, 0.08, 0.05, 0.01)  # of the hours, for each recording
RATES = {"rumbles_per_hour": 60.0, "gunshots_per_hour": 30.0}
WAYS = (("1 process", 1, None), ("2 processes", 2, None), ("4 processes", 4, None))
CLUSTERS = (("Dask, 2 workers", 1, "local:2"), ("Dask, 4 workers", 1, "local:4"))
SHARDS = (5.0, 1440.0)  # minutes
BATCHES = (1, 4, 16)


def make_card(folder: Path, hours: float, seed: int) -> Path:
    """A folder for each length; names are the same in all of them."""
    for k, share in enumerate(SHARES):
        simulate(folder / f"card{k}", hours * share, seed=seed + k, file_hours=hours * share, sample_rate=4000, **RATES)
    return folder


def hashes(folder: Path) -> dict[str, str]:
    names = [*folder.glob("tables/**/*.txt"), *folder.glob("scores/**/*.npz"), *folder.glob("events*")]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in names}


def compare(folder: Path, card: Path, model: str) -> int:
    """Prints a line for each way; how many differ from the first."""
    batches, expected, different = cycle(BATCHES), None, 0
    print(f"{'way':16} {'shards':>8} {'batch':>5} {'s':>6} {'files':>5} {'events':>6}  events.csv")
    for name, workers, cluster in (*WAYS, *CLUSTERS):
        for shard_minutes in SHARDS:
            batch_size, began = next(batches), time.monotonic()
            out = folder / f"{workers}-{cluster}-{shard_minutes:g}".replace(":", "")
            options = {"workers": workers, "cluster": cluster, "batch_size": batch_size, "keep_scores": True}
            summary = survey([card], model, out, shard_minutes=shard_minutes, **options)
            spent, found = time.monotonic() - began, hashes(out)
            expected = expected or found
            unlike = sorted(file for file in {*found, *expected} if found.get(file) != expected.get(file))
            verdict = "same" if not unlike else f"DIFFERENT: {', '.join(unlike)}"
            print(
                f"{name:16} {shard_minutes:>4g} min {batch_size:>5} {spent:>6.0f} {len(found):>5} {summary.events:>6}  "
                f"{found['events.csv'][:12]} {verdict}",
                flush=True,
            )
            different += bool(unlike) or not summary.events or bool(summary.problems)
    return different


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--model", default="default")
    parser.add_argument("--keep", type=Path, help="make recordings and runs here, and use the recordings that are here")
    args = parser.parse_args()
    with nullcontext(args.keep) if args.keep else tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        card = folder / "card"
        if not card.exists():
            make_card(card, args.hours, args.seed)
        different = compare(folder, card, args.model)
    print(f"{os.cpu_count()} cores; " + (f"{different} ways differ" if different else "all ways give the same bytes"))
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
