"""The state of a live station (`loxo listen`, `loxo watch`) for the page of its run, from RUN/live.json.

The station writes this file every ten seconds. The page computes how old it is, and how long ago the last sound was.
"""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Any

from loxo.errors import LoxoError
from loxo.files import escape, inside, parse_json
from loxo.live.state import STATE

MAX_BYTES = 1 << 20
NUMBERS = {  # by kind of station
    "listen": ("announced", "gaps", "gap_s", "drift_s", "recordings_mb", "free_mb", "waiting_alerts"),
    "watch": ("events", "complete", "growing", "waiting", "free_mb", "waiting_alerts"),
}


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
    kind = values.get("kind", "listen")
    numbers = {name: float(values.get(name) or 0) for name in NUMBERS[kind]}
    if not all(map(math.isfinite, numbers.values())):
        raise ValueError("a number is not finite")
    return {
        "kind": kind,
        **numbers,
        "name": escape(str(values["site" if kind == "listen" else "folder"])),
        **{name: _seconds(values.get(name)) for name in ("started", "written", "heard")},
        "corrections": len(values.get("corrections_s") or ()),
    }


def _seconds(moment: str | None) -> float | None:
    return None if moment is None else datetime.fromisoformat(moment).timestamp()
