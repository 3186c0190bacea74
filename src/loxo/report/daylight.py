"""Events and effort by day and by night, at sites with known sunrise and sunset.

An hour of effort that contains the sunrise or the sunset counts in part as day and in part as night.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loxo.report.estimate import count
from loxo.report.reviewed import ESTIMATED

if TYPE_CHECKING:
    import pandas as pd

    from loxo.report.reviewed import Reviewed

Sun = list[tuple[date, datetime | None, datetime | None]]
PARTS = ("day", "night")
COLUMNS = ["site", "label", "part", "analysed_h", "events", "listed_per_day", "estimate", "low", "high"]


def by_daylight(
    events: pd.DataFrame, reviewed: Reviewed, labels: list[str], hourly: pd.DataFrame, sun: dict[str, Sun]
) -> pd.DataFrame:
    """One row per label, site and part (day, night). Columns: COLUMNS; the estimate is NaN without a review. Days on
    which the sun does not rise or set are left out."""
    import pandas as pd

    start = events["start_time"].to_numpy("datetime64[us]")
    group, hours = np.full(len(events), -1, np.intp), []  # two groups for each site: day, night
    for k, (site, days) in enumerate(sun.items()):
        of_site = np.flatnonzero((events["site"] == site) & events["start_time"].notna())
        light = daylight(start[of_site], 0.0, days)
        known = ~np.isnan(light)
        group[of_site[known]] = 2 * k + (light[known] == 0)
        cells = hourly[hourly["site"] == site]
        share = daylight(cells["hour"].to_numpy("datetime64[us]"), 1.0, days)
        effort = cells["analysed_h"].to_numpy(float)
        hours += [float(np.nansum(effort * share)), float(np.nansum(effort * (1 - share)))]
    rows: list[tuple[Any, ...]] = []
    for label in labels:
        listed = np.bincount(group[(events["label"] == label).to_numpy() & (group >= 0)], minlength=len(hours))
        sums = reviewed.truths(label, group, len(hours)) if reviewed.state(label) == ESTIMATED else None
        for k, (site, part) in enumerate((site, part) for site in sun for part in PARTS):
            rate = 24 * listed[k] / hours[k] if hours[k] > 0 else np.nan
            estimate = (np.nan,) * 3
            if sums is not None:
                found = count(sums[:, k])
                estimate = (found.mean, found.low, found.high)
            rows.append((site, label, part, hours[k], int(listed[k]), rate, *estimate))
    return pd.DataFrame(rows, columns=COLUMNS)


def daylight(times: NDArray[Any], length_h: float, sun: Sun) -> NDArray[np.float64]:
    """(times,): the fraction of the `length_h` hours after each time (datetime64) that is day; NaN if it is unknown.
    With length 0: whether the time itself is in the day."""
    table = {np.datetime64(day): (_hour(rise), _hour(down)) for day, rise, down in sun}
    days = times.astype("datetime64[D]")
    limits = np.array([table.get(day, (np.nan, np.nan)) for day in days]).reshape(-1, 2)
    hour = (times - days) / np.timedelta64(1, "h")
    first, last = limits.min(axis=1, initial=np.inf), limits.max(axis=1, initial=-np.inf)
    if length_h:
        between = np.clip((np.minimum(hour + length_h, last) - np.maximum(hour, first)) / length_h, 0, 1)
    else:
        between = ((hour >= first) & (hour < last)).astype(float)
    between[np.isnan(limits).any(axis=1)] = np.nan
    # On a clock far from local time, such as UTC in Australia, the sun sets before it rises.
    return np.where(limits[:, 0] <= limits[:, 1], between, 1 - between)


def _hour(time: datetime | None) -> float:
    return np.nan if time is None else time.hour + time.minute / 60 + time.second / 3600
