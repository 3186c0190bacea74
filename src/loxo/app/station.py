"""The state of a station (`loxo listen`) for the page of its run, from RUN/live.json.

The station writes this file every ten seconds. The page computes how long ago the last sound was.
"""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Any

from loxo.errors import LoxoError
from loxo.files import escape, inside, parse_json

STATE = "live.json"
MAX_BYTES = 1 << 20
NUMBERS = ("announced", "gaps", "gap_s", "drift_s", "recordings_mb", "free_mb", "waiting_alerts")


class Station:
    """Reads the state again when its file has changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state: dict[str, Any] | None = None  # None: the run is none of a station
        self._stamp: tuple[int, int] | None = None

    def read(self) -> bool:
        """Returns whether the state has changed."""
        before = self.state
        try:
            path = inside(self.folder, STATE)
            stat = path.stat()
            if (stat.st_mtime_ns, stat.st_size) == self._stamp:
                return False
            self._stamp = stat.st_mtime_ns, stat.st_size
            self.state = _state(path.read_bytes()) if stat.st_size <= MAX_BYTES else None
        except (OSError, LoxoError, ValueError, TypeError, KeyError, AttributeError):
            self.state = None
        return self.state != before


def _state(content: bytes) -> dict[str, Any]:
    """The values that the page shows. Raises any exception for a file that a station cannot have written."""
    values = parse_json(content)
    state: dict[str, Any] = {name: float(values.get(name) or 0) for name in NUMBERS}
    if not all(map(math.isfinite, state.values())):
        raise ValueError("a number is not finite")
    heard = values.get("heard")
    return {
        **state,
        "site": escape(str(values["site"])),
        "heard": None if heard is None else datetime.fromisoformat(heard).timestamp(),
        "corrections": len(values.get("corrections_s") or ()),
    }
