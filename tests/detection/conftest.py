"""Makes fakes.py and the benchmarks importable for tests and for the processes they start, which inherit sys.path."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "benchmarks")]
