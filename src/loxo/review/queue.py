"""The list of events under review: filters, order, and a sample spread evenly over the scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loxo.errors import LoxoError

STATUSES = ("open", "all", "decided", "yes", "no", "unsure", "other", "drawn", "noted", "second", "disputed")
ORDERS = ("score", "time", "uncertainty", "site", "hour", "label")
SCORE_BINS = 10  # of equal width from 0 to 1, for samples

Rows = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Filter:
    """The filter of the list. None: no limit. Raises LoxoError for an unknown order or status, or a wrong bound."""

    label: str | None = None
    site: str | None = None
    hour_from: int | None = None  # 0-23, wall clock; if after hour_to, the range includes midnight
    hour_to: int | None = None  # the last hour of the range
    score_min: float | None = None
    score_max: float | None = None
    status: str = "open"  # one of STATUSES; "second": decided by another reviewer but not by this one
    sort: str = "score"  # one of ORDERS
    falling: bool = True
    sample: int | None = None  # number of events of each class, spread evenly over SCORE_BINS

    def __post_init__(self) -> None:
        if self.status not in STATUSES or self.sort not in ORDERS:
            raise LoxoError(f"There is no filter {self.status!r} or no order {self.sort!r}. Reload the page.")
        if any(hour is not None and not 0 <= hour <= 23 for hour in (self.hour_from, self.hour_to)):
            raise LoxoError("An hour of day must be between 0 and 23.")
        if self.score_min is not None and self.score_max is not None and self.score_min > self.score_max:
            raise LoxoError("The lowest score is above the highest score, so no event can pass. Change one of them.")
        if self.sample is not None and self.sample < 1:
            raise LoxoError("A sample must have at least one event.")


@dataclass(frozen=True)
class Columns:
    """The detected events as arrays (events,), in the order of the events table."""

    label: NDArray[np.object_]
    site: NDArray[np.object_]  # "" if unknown
    hour: NDArray[np.int8]  # of the start, wall clock; -1 if unknown
    score: NDArray[np.float64]  # NaN if none
    lot: NDArray[np.uint64]  # pseudo-random numbers from the events' names, by which samples are drawn


def kept(filter: Filter, columns: Columns) -> NDArray[np.bool_]:
    """(events,): whether an event passes the filter, without its status."""
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
    """(events,): a sample of `size` events of each class, with equal numbers from each score bin where possible.

    All reviewers get the same sample, and a larger sample contains the smaller one.
    """
    chosen = np.zeros(len(among), bool)
    bins = np.clip(np.nan_to_num(columns.score) * SCORE_BINS, 0, SCORE_BINS - 1).astype(int)
    for label in sorted(set(columns.label[among])):
        rows = np.flatnonzero(among & (columns.label == label))
        rows = rows[np.lexsort((columns.lot[rows], bins[rows]))]
        bin_of_row = bins[rows]
        # Rank within the bin, by lot; the sample takes all first ranks, then all second ranks, until it is full.
        turn = np.arange(len(rows)) - np.searchsorted(bin_of_row, bin_of_row)
        chosen[rows[np.lexsort((bin_of_row, turn))[:size]]] = True
    return chosen


def ordered(rows: Rows, filter: Filter, columns: Columns, uncertainty: Callable[[], NDArray[np.float64]]) -> Rows:
    """The rows in the filter's order, equal values by time. `uncertainty` returns the uncertainty of all events."""
    if filter.sort == "time":
        return rows[::-1] if filter.falling else rows
    values = (uncertainty() if filter.sort == "uncertainty" else getattr(columns, filter.sort))[rows]
    if values.dtype == object:
        values = np.unique(values.astype(str), return_inverse=True)[1]
    known = np.nan_to_num(np.asarray(values, np.float64), nan=-1.0)
    return rows[np.argsort(known * (-1 if filter.falling else 1), kind="stable")]
