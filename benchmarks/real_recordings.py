"""The bundled model, or another one, on the real recordings of a pack; prints the measured curve.

    python benchmarks/real_recordings.py [--pack DIR] [--scorer FILE] [--model NAME_OR_PATH] [--out RUN]

Runs `loxo detect` over the pack's folders with a threshold of 0, then scores events.csv and the frame scores with the
independent scorer that comes with the pack. Only files marked `part` = measure count there.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDERS = ("rumble", "gunshot", "background")
ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, default=ROOT / "shared" / "data" / "recordings")
    parser.add_argument("--scorer", type=Path, default=ROOT / "shared" / "tools" / "score_events.py")
    parser.add_argument("--model", default="default")
    parser.add_argument("--out", type=Path, help="keep the run folder and scores.json here")
    args = parser.parse_args()
    if not args.pack.is_dir() or not args.scorer.is_file():
        parser.error(f"the pack {args.pack} or the scorer {args.scorer} is not there")
    with tempfile.TemporaryDirectory() as folder:
        run = args.out or Path(folder) / "run"
        if run.exists():
            shutil.rmtree(run)
        loxo = Path(sys.executable).parent / "loxo"
        detect = [loxo, "detect", *(args.pack / name for name in FOLDERS), "--out", run, "--model", args.model]
        subprocess.run([*map(str, detect), "--threshold", "0"], check=True)
        score = [sys.executable, args.scorer, args.pack, run / "events.csv", "--json", run / "scores.json", "--lenient"]
        return subprocess.run([*map(str, score)]).returncode


if __name__ == "__main__":
    sys.exit(main())
