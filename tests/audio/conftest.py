"""The servers of servers.py as fixtures."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from servers import _moto, credentials, loopback, s3, serve

__all__ = ["_moto", "credentials", "loopback", "s3", "serve"]
