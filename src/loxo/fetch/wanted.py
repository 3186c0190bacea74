"""What a fetch looks for."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Wanted:
    """A recording that tables name."""

    name: str
    url: str
    events: list[tuple[float, float]] = field(default_factory=list)  # start and end in seconds
