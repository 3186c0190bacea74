"""Makes report_runs.py importable, and the servers of tests/audio."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent / "audio"):
    sys.path.insert(0, str(folder))

from servers import loopback, serve  # noqa: E402 (now it can be found)

__all__ = ["loopback", "serve"]
