"""Makes fakes.py importable for the tests and for the worker processes they start (which inherit sys.path)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
