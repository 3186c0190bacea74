"""The state of a live run in RUN/live.json, for `loxo app`: `loxo listen` and `loxo watch` write it every STATE_S.

All times are in ISO 8601 with a zone: the file may be read in a synchronised copy of the run folder, in another zone.
`written` is the time of the last write, so that a reader knows how old the state is.
"""

from __future__ import annotations

import json
import shutil
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from loxo.files import inside, write_atomically

STATE = "live.json"
STATE_S = 10.0  # between two writes


class StateFile:
    """The state of one process. `kind` is the command that writes it: listen or watch."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.kind = folder, kind
        self.started = _iso(time.time())
        self._due_at = 0.0

    def is_due(self) -> bool:
        return time.monotonic() >= self._due_at

    def write(self, heard: float | None, waiting_alerts: int, values: dict[str, Any]) -> None:
        """`heard`: seconds since 1970 of the last sound. Raises LoxoError if the file cannot be written."""
        self._due_at = time.monotonic() + STATE_S
        content = {
            "kind": self.kind,
            "started": self.started,
            "written": _iso(time.time()),
            "heard": None if heard is None else _iso(heard),
            **values,
            "waiting_alerts": waiting_alerts,
            "free_mb": round(shutil.disk_usage(self.folder).free / 1e6, 1),
        }
        write_atomically(inside(self.folder, STATE), (json.dumps(content, indent=1) + "\n").encode())


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment).astimezone().isoformat(timespec="seconds")
