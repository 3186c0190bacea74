"""Which events were found before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

SAME = 0.5  # of the shorter of two events

Row = dict[str, Any]  # an event, by field


def unmatched(rows: Sequence[Row], known: Iterable[tuple[str, float, float]]) -> list[Row]:
    """The events that are none of the known ones, which are label, start and end.

    Two are the same if they overlap by more than half of the shorter. Each known event is the same as one at most: of
    two calls at once, one may be known.
    """
    left = list(rows)
    for label, start_s, end_s in known:
        shares = [(_overlap(row, start_s, end_s) if row["label"] == label else 0.0, -k) for k, row in enumerate(left)]
        if shares and max(shares)[0] > 0:
            del left[-max(shares)[1]]
    return left


def _overlap(row: Row, start_s: float, end_s: float) -> float:
    """Intersection over union; 0 for events that are not the same."""
    common = min(row["end_s"], end_s) - max(row["start_s"], start_s)
    lengths = row["end_s"] - row["start_s"], end_s - start_s
    return common / (sum(lengths) - common) if common > SAME * min(lengths) else 0.0
