"""Flips single bits in the journal, run.json, the shards and the scores of interrupted runs, and resumes each run.

    python benchmarks/flip_bits.py [--flips 200] [--seed 0]

The tables and scores of a resumed run must be equal, byte for byte, to those of an undisturbed run, or the run must be
refused with one sentence. A flipped score file must also be refused by `loxo decode`, which must decode the others.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

from kill_detection import SHARD_MINUTES, results
from loxo.errors import LoxoError
from loxo.runs.record import read_record
from loxo.survey.redecode import redecode
from loxo.survey.survey import survey
from toy import ToyModel, write_recording

KINDS = {
    "journal": "journal.jsonl",
    "run.json": "run.json",
    "shards": "parts/*/*.npz",
    "scores": "scores/**/*.npz",
    "tables": "tables/**/*.txt",
}


class Stopping(ToyModel):
    """Stops the run in its long recording."""

    def __init__(self, parts: Path) -> None:
        super().__init__()
        self.parts = parts

    def read(self, samples):  # type: ignore[no-untyped-def]
        if len(list(self.parts.rglob("*.npz"))) >= 2:
            raise KeyboardInterrupt
        return super().read(samples)


def run(card: Path, out: Path, load=ToyModel):  # type: ignore[no-untyped-def]
    return survey([card], "toy", out, load=load, keep_scores=True, shard_minutes=SHARD_MINUTES)


def make_runs(folder: Path) -> tuple[Path, Path, Path]:
    """Recordings, a whole run of them, and one that was interrupted in the last recording."""
    card, whole, stopped = folder / "card", folder / "whole", folder / "stopped"
    for name, seconds, seed in (("a", 8, 1), ("b", 10, 2), ("c", 60, 3)):
        write_recording(card / f"{name}_20200101_000000.wav", seconds, seed=seed)
    run(card, whole)
    try:
        run(card, stopped, lambda: Stopping(stopped / "parts"))
    except KeyboardInterrupt:
        return card, whole, stopped
    raise SystemExit("the run was not interrupted")


def flip(path: Path, rng: random.Random) -> str:
    """Flips one bit of a file. Returns its place."""
    content = bytearray(path.read_bytes())
    place, bit = rng.randrange(len(content)), rng.randrange(8)
    content[place] ^= 1 << bit
    path.write_bytes(content)
    return f"{path.name}, byte {place}, bit {bit}"


def flip_and_resume(folder: Path, flips: int, seed: int) -> Counter[str]:
    """How often each kind was resumed to the same files, and how often refused. SystemExit on any fault."""
    card, whole, stopped = make_runs(folder)
    expected, rng, found = results(whole), random.Random(seed), Counter[str]()
    kinds = list(KINDS.items())
    for number in range(flips):
        kind, pattern = kinds[number % len(kinds)]
        out = folder / "flipped"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(stopped, out)
        where = flip(rng.choice(sorted(out.glob(pattern))), rng)
        if kind == "scores":
            _decode(out, folder / "decoded", where)
        try:
            run(card, out)
        except LoxoError:
            found[f"{kind}: refused"] += 1
            continue
        if results(out) != expected:
            raise SystemExit(f"{kind}: {where}: the results differ from those of the undisturbed run")
        if read_record(out).recordings != read_record(whole).recordings:
            raise SystemExit(f"{kind}: {where}: run.json differs from that of the undisturbed run")
        found[f"{kind}: resumed to the same bytes"] += 1
    return found


def _decode(run: Path, out: Path, where: str) -> None:
    """Decodes the scores of two recordings, of which one is damaged."""
    shutil.rmtree(out, ignore_errors=True)
    summary = redecode(run, out)
    if summary.recordings != 1 or len(summary.problems) != 1 or "damaged" not in summary.problems[0][1]:
        raise SystemExit(f"{where}: the damaged score file was used, or the other one was not: {summary.problems}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = flip_and_resume(Path(folder), args.flips, args.seed)
    for line in sorted(found.items()):
        print("{}: {}".format(*line))
    print(f"{args.flips} flipped bits in {time.monotonic() - start:.0f} s: none became a result")


if __name__ == "__main__":
    main()
