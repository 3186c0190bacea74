"""Tidy tables for other programs and papers: one row is one event, or one site and occasion.

An occasion is a period with the same clock times at all sites, by default a day. The first one begins at midnight
before the first recording. Only recordings with a start time count. A detection history has for each site and occasion

    1    an event was confirmed by a review (`basis` "confirmed"), or is listed where nothing was reviewed ("listed")
    0    sound was analysed, and there is no such event
    NA   no sound was analysed
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from loxo.errors import LoxoError
from loxo.events.table import CHANNEL, COLUMNS
from loxo.report.effort import DAY_US, HOUR_US, micros
from loxo.report.estimate import count
from loxo.report.reviewed import ESTIMATED, LISTED

if TYPE_CHECKING:
    import pandas as pd

    from loxo.report.reviewed import Reviewed

CONFIRMED = "confirmed"
BATCH = 4000  # max number of cells that are estimated at once


def check_occasion(hours: int) -> int:
    """Raises LoxoError unless occasions of this length begin at the same hours of every day."""
    if hours < 1 or (24 % hours and hours % 24):
        raise LoxoError(
            f"--occasion-hours {hours}: an occasion is a part of a day (1, 2, 3, 4, 6, 8 or 12 hours) or whole days "
            "(24, 48, 168 and so on)."
        )
    return hours


def detections(events: pd.DataFrame, reviewed: Reviewed) -> pd.DataFrame:
    """The events table with detected_label, verdict ("" if undecided) and probability (NaN if unknown)."""
    names = [*COLUMNS, *([CHANNEL] if CHANNEL in events else [])]
    return events[names].assign(
        detected_label=reviewed.detected, verdict=reviewed.verdicts, probability=reviewed.probability()
    )


def occasions(
    events: pd.DataFrame, reviewed: Reviewed, labels: list[str], hourly: pd.DataFrame, hours: int
) -> pd.DataFrame:
    """One row per label, site and occasion.

    Columns: label, site, occasion (from 1), start, day_of_year, hour (of the start), analysed_h, basis, detected (the
    detection history; NA without effort), listed, reviewed, confirmed, and where estimated the number of true events
    `estimate` with its 95 % limits `low` and `high`.
    """
    import pandas as pd

    if not len(hourly):
        return pd.DataFrame(columns=_COLUMNS)
    at = micros(hourly["hour"])
    first, length = int(at.min() // DAY_US * DAY_US), hours * HOUR_US
    size = int((at.max() - first) // length) + 1
    sites = sorted(hourly["site"].unique())
    place = {site: row for row, site in enumerate(sites)}
    cell = np.array([place[site] for site in hourly["site"]]) * size + (at - first) // length
    effort = np.bincount(cell, hourly["analysed_h"].to_numpy(float), minlength=len(sites) * size)
    known = events["start_time"].notna().to_numpy()
    start = micros(events["start_time"].where(known, pd.Timestamp(first, unit="us")))
    row = np.array([place.get(site, 0) for site in events["site"]], np.int64)
    of_event = np.where(known, row * size + (start - first) // length, -1).astype(np.intp)
    begin = (first + np.arange(size) * length).astype("datetime64[us]")
    parts = []
    for label in labels:
        present = reviewed.labels == label
        state = reviewed.state(label)
        masks = {
            "listed": present,
            "reviewed": reviewed.decided & (reviewed.detected == label),
            CONFIRMED: reviewed.confirmed & present,
        }
        counts = {name: np.bincount(of_event[mask & known], minlength=len(effort)) for name, mask in masks.items()}
        basis = "listed" if state == LISTED else CONFIRMED
        part = pd.DataFrame(
            {
                "label": label,
                "site": np.repeat(np.array(sites, object), size),
                "occasion": np.tile(np.arange(1, size + 1), len(sites)),
                "start": np.tile(begin, len(sites)),
                "analysed_h": effort,
                "basis": basis,
                "detected": np.where(effort > 0, counts[basis] > 0, np.nan),
                **counts,
            }
        )
        limits = np.full((3, len(effort)), np.nan)
        if state == ESTIMATED:
            for offset in range(0, len(effort), BATCH):
                width = min(BATCH, len(effort) - offset)
                inside = (of_event >= offset) & (of_event < offset + width)
                sums = reviewed.truths(label, np.where(inside, of_event - offset, -1), width)
                found = (count(sums[:, k]) for k in range(width))
                limits[:, offset : offset + width] = np.array([(one.mean, one.low, one.high) for one in found]).T
            limits[:, effort == 0] = np.nan
        parts.append(part.assign(estimate=limits[0], low=limits[1], high=limits[2]))
    table = pd.concat(parts, ignore_index=True)
    return table.assign(day_of_year=table["start"].dt.day_of_year, hour=table["start"].dt.hour)[_COLUMNS]


_COLUMNS = ["label", "site", "occasion", "start", "day_of_year", "hour", "analysed_h", "basis", "detected", "listed"]
_COLUMNS += ["reviewed", CONFIRMED, "estimate", "low", "high"]


def histories(table: pd.DataFrame) -> pd.DataFrame:
    """The detection histories as a matrix: label, site, and a column for each occasion, named by its start."""
    names = table["start"].dt.strftime("%Y-%m-%dT%H:%M") if len(table) else table["start"]
    wide = table.assign(start=names).pivot(index=["label", "site"], columns="start", values="detected")
    return wide.reset_index().rename_axis(columns=None)
