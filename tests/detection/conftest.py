"""Makes fakes.py and the benchmarks importable for tests and for the processes they start, which inherit sys.path; and
the servers of tests/audio."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parent / "audio", HERE.parents[1] / "benchmarks"):
    sys.path.insert(0, str(folder))

from servers import _moto, credentials, loopback, s3  # noqa: E402 (now it can be found)

__all__ = ["_moto", "credentials", "loopback", "s3"]
