"""How long a user waits for the first answer.

    python benchmarks/bench_startup.py [--rounds 7] [--model default]

Each is a process of its own: `loxo --help`, `python -c "import loxo"`, and `loxo detect` of a simulated file of one
minute until its first event is in events.csv (until the end of the command, so). `python -c pass` and `import torch`
show what of it is not Loxo's. Rounds are interleaved; the first, which fills the page cache, is not counted.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import reporting
from loxo.simulation.simulate import simulate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--model", default="default")
    parser.add_argument("--out", type=Path, default=reporting.RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sound, run = Path(folder) / "sound", Path(folder) / "run"
        simulate(sound, 1 / 60, 4, rumbles_per_hour=300.0, format="wav")
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "import torch": [sys.executable, "-c", "import torch"],
            "import loxo": [sys.executable, "-c", "import loxo"],
            "loxo --help": [reporting.LOXO, "--help"],
            "first event of a 1 min file": [
                reporting.LOXO,
                "detect",
                str(sound),
                "--out",
                str(run),
                "--model",
                options.model,
            ],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        cpu_times: dict[str, list[float]] = {name: [] for name in commands}
        order = list(commands)
        for turn in range(options.rounds + 1):
            random.Random(turn).shuffle(order)
            for name in order:
                shutil.rmtree(run, ignore_errors=True)
                before, began = reporting.children_cpu_s(), time.perf_counter()
                subprocess.run(commands[name], check=True, capture_output=True)
                if turn:
                    times[name].append(time.perf_counter() - began)
                    cpu_times[name].append(reporting.children_cpu_s() - before)
    spreads, cpu_spreads = (
        {name: reporting.spread(values) for name, values in of.items()} for of in (times, cpu_times)
    )
    rows = [
        (name, *(reporting.format_spread(of[name], "{:.2f}") for of in (cpu_spreads, spreads))) for name in commands
    ]
    with reporting.section("bench-startup"):
        reporting.print_table(["", "CPU seconds", "seconds by the clock"], rows)
    reporting.write_result(
        "startup", {"rounds": options.rounds, "seconds": spreads, "cpu_seconds": cpu_spreads}, options.out
    )


if __name__ == "__main__":
    main()
