"""A recording to fetch."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class RequestedRecording:
    """A recording that is named in tables, with its events."""

    name: str
    url: str
    events: list[tuple[float, float]] = field(default_factory=list)  # start and end in seconds
