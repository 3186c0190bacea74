"""Which events a reviewer sees, and in what order: filters, sorting, and a sample spread evenly over the scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loxo.errors import LoxoError

STATUSES = ("open", "all", "decided", "yes", "no", "unsure", "other", "drawn", "noted", "second", "disputed")
ORDERS = ("score", "time", "uncertainty", "site", "hour", "label")
SCORE_BINS = 10  # of a sample, equally wide from 0 to 1

Rows = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What is shown. None: no limit. Raises LoxoError for an order, status or bound that does not exist."""

    label: str | None = None
    site: str | None = None
    hour_from: int | None = None  # 0-23, wall clock; may lie after hour_to: then over midnight
    hour_to: int | None = None  # the last hour that is shown
    score_min: float | None = None
    score_max: float | None = None
    status: str = "open"  # one of STATUSES; "second": decided by somebody else and not by this reviewer
    sort: str = "score"  # one of ORDERS
    falling: bool = True
    sample: int | None = None  # so many events of each class, spread evenly over SCORE_BINS

    def __post_init__(self) -> None:
        if self.status not in STATUSES or self.sort not in ORDERS:
            raise LoxoError(f"There is no filter {self.status!r} or order {self.sort!r}.")
        if any(hour is not None and not 0 <= hour <= 23 for hour in (self.hour_from, self.hour_to)):
            raise LoxoError("An hour of day lies between 0 and 23.")
        if self.sample is not None and self.sample < 1:
            raise LoxoError("A sample has at least one event.")


@dataclass(frozen=True)
class Columns:
    """The detected events as arrays (events,), in the order of the events table."""

    label: NDArray[np.object_]
    site: NDArray[np.object_]  # "" where unknown
    hour: NDArray[np.int8]  # of the start, wall clock; -1 where unknown
    score: NDArray[np.float64]  # NaN where none
    lot: NDArray[np.uint64]  # a number for each event that its name decides: what a sample draws by


def kept(filter: Filter, columns: Columns) -> NDArray[np.bool_]:
    """(events,): which pass the filter, whatever their status."""
    mask = np.ones(len(columns.score), bool)
    if filter.label is not None:
        mask &= columns.label == filter.label
    if filter.site is not None:
        mask &= columns.site == filter.site
    if filter.hour_from is not None or filter.hour_to is not None:
        first, last = filter.hour_from or 0, 23 if filter.hour_to is None else filter.hour_to
        inside = (columns.hour >= first, columns.hour <= last)
        mask &= (inside[0] & inside[1]) if first <= last else (inside[0] | inside[1])
        mask &= columns.hour >= 0
    if filter.score_min is not None:
        mask &= columns.score >= filter.score_min
    if filter.score_max is not None:
        mask &= columns.score <= filter.score_max
    if filter.sample is not None:
        mask &= sampled(columns, mask, filter.sample)
    return mask


def sampled(columns: Columns, among: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """(events,): `size` events of each class, as equally many from each score bin as there are.

    The same events whoever asks, and a larger sample holds the smaller one's: a second reviewer gets the same.
    """
    chosen = np.zeros(len(among), bool)
    bins = np.clip(np.nan_to_num(columns.score) * SCORE_BINS, 0, SCORE_BINS - 1).astype(int)
    for label in sorted(set(columns.label[among])):
        rows = np.flatnonzero(among & (columns.label == label))
        rows = rows[np.lexsort((columns.lot[rows], bins[rows]))]
        of = bins[rows]
        # The n-th of its bin, by lot; then all firsts, all seconds and so on until the sample is full.
        turn = np.arange(len(rows)) - np.searchsorted(of, of)
        chosen[rows[np.lexsort((of, turn))[:size]]] = True
    return chosen


def ordered(rows: Rows, filter: Filter, columns: Columns, uncertainty: Callable[[], NDArray[np.float64]]) -> Rows:
    """The rows in the filter's order; equal ones by time. `uncertainty` gives that of all events (events,)."""
    if filter.sort == "time":
        return rows[::-1] if filter.falling else rows
    values = (uncertainty() if filter.sort == "uncertainty" else getattr(columns, filter.sort))[rows]
    if values.dtype == object:
        values = np.unique(values.astype(str), return_inverse=True)[1]
    known = np.nan_to_num(np.asarray(values, np.float64), nan=-1.0)
    return rows[np.argsort(known * (-1 if filter.falling else 1), kind="stable")]
