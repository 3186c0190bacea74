"""Counts of events, and rates in 24 h of analysed sound, by site and label.

Listed events are counted. The true number is stated only for a label whose events were reviewed (reviewed.py):
`estimate` with its 95 % interval `low` to `high` is the number among the listed events. The interval contains the
uncertainty of the review's sample.

The rate `per_day` is the number of these events that is expected in 24 h on days like those of the survey. Its interval
also contains the chance of the days. Calls come in bouts, so the days vary more than by chance: the variance is
`dispersion` times the mean. The dispersion is estimated from the days, with a prior (PRIOR) that counts when there are
few of them.

No number includes calls that are not listed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loxo.languages import mark
from loxo.report.effort import HOUR_US, micros
from loxo.report.estimate import INTERVAL, count
from loxo.report.reviewed import ESTIMATED

if TYPE_CHECKING:
    import pandas as pd

    from loxo.report.reviewed import Reviewed

Floats = NDArray[np.float64]

PRIOR = (2.0, 6.0)  # of the dispersion: degrees of freedom, and highest mean. Rare calls do not come in large bouts:
# with m of them a day the mean is at most 1 + m.
ALL_SITES = mark("all sites")
MONTH_COLUMNS = [
    *("site", "label", "month", "analysed_h", "events", "listed_per_day", "estimate", "low", "high"),
    *("per_day", "per_day_low", "per_day_high"),
]


def rate_interval(counts: NDArray[Any], hours: Floats) -> tuple[float, float, float]:
    """The rate an hour and its 95 % limits, from counts (truths, days) and analysed hours (days,)."""
    rng = np.random.default_rng(0)
    total, share = counts.sum(axis=1).astype(float), hours / hours.sum()
    expected = np.maximum(np.outer(total, share), 1e-9)
    squares = np.where(total > 0, ((counts - expected) ** 2 / expected).sum(axis=1), 0.0)
    degrees, mean = PRIOR[0], 1 + np.minimum(total / len(hours), PRIOR[1] - 1)
    dispersion = (degrees * mean + squares) / rng.chisquare(degrees + len(hours) - 1, len(counts))
    drawn = rng.gamma((total + 0.5) / dispersion) * dispersion / hours.sum()
    low, high = np.quantile(drawn, INTERVAL)
    if np.quantile(total, INTERVAL[0]) == 0:
        low = 0.0  # no event may be true
    return float(total.mean() / hours.sum()), float(low), float(high)


def rates(events: pd.DataFrame, reviewed: Reviewed, labels: list[str], recordings: pd.DataFrame) -> pd.DataFrame:
    """One row per label and site, and one per label for all sites if there are several. `events` have the labels of
    the review.

    Columns: site, label, events (listed), reviewed, confirmed, not_counted (listed events with scores that were not
    reviewed), estimate, low, high, analysed_h, listed_per_day, per_day, per_day_low, per_day_high (in 24 h of analysed
    sound). NaN if unknown: estimates without a review, and rates without analysed sound.
    """
    import pandas as pd

    units = _units(recordings)
    of_recording = pd.Series(units["unit"].to_numpy(), index=recordings["recording"])
    by_unit = units.groupby("unit").agg({"analysed_s": "sum", "site": "first", "day": "first"})
    hours = by_unit["analysed_s"].to_numpy(float) / 3600
    site_of_unit, day_of_unit = by_unit["site"].to_numpy(object), by_unit["day"].to_numpy()
    unit = of_recording.reindex(events["recording"]).to_numpy(np.intp)
    sites = sorted(recordings["site"].unique())
    site = events["site"].to_numpy(object)
    present = events["label"].to_numpy(object)
    rows: list[dict[str, Any]] = []
    for label in labels:
        sums = reviewed.truths(label, unit, len(hours)) if reviewed.state(label) == ESTIMATED else None
        for place in [*sites, *([ALL_SITES] if len(sites) > 1 else [])]:
            every = place == ALL_SITES
            here = np.ones(len(events), bool) if every else site == place
            of_place = np.ones(len(hours), bool) if every else site_of_unit == place
            analysed_h = float(hours[of_place].sum())
            listed = int((here & (present == label)).sum())
            row: dict[str, Any] = {
                "site": place,
                "label": label,
                "events": listed,
                "reviewed": int((here & reviewed.decided & (reviewed.detected == label)).sum()),
                "confirmed": int((here & reviewed.confirmed & (present == label)).sum()),
                "not_counted": int((here & reviewed.not_counted(label)).sum()),
                "estimate": np.nan,
                "low": np.nan,
                "high": np.nan,
                "analysed_h": analysed_h,
                "listed_per_day": 24 * listed / analysed_h if analysed_h else np.nan,
                "per_day": np.nan,
                "per_day_low": np.nan,
                "per_day_high": np.nan,
            }
            if sums is not None:
                found = count(sums[:, of_place].sum(axis=1))
                row |= {"estimate": found.mean, "low": found.low, "high": found.high}
                if analysed_h:
                    by_day = _by_day(sums[:, of_place], hours[of_place], day_of_unit[of_place])
                    limits = rate_interval(*by_day)
                    row |= dict(zip(("per_day", "per_day_low", "per_day_high"), (24 * v for v in limits), strict=True))
            rows.append(row)
    return pd.DataFrame(rows)


def by_month(events: pd.DataFrame, reviewed: Reviewed, labels: list[str], hourly: pd.DataFrame) -> pd.DataFrame:
    """One row per label, site and month with analysed sound, and the same for all sites if there are several.

    Columns: site, label, month (2018-01), analysed_h, events (listed), listed_per_day, estimate, low, high, per_day,
    per_day_low, per_day_high; NaN if unknown.
    """
    import pandas as pd

    day_of_cell = hourly.assign(date=hourly["hour"].dt.normalize())
    days = day_of_cell.groupby(["site", "date"], as_index=False)["analysed_h"].sum()
    own = pd.MultiIndex.from_arrays([events["site"], events["start_time"].dt.normalize()])
    unit = pd.MultiIndex.from_arrays([days["site"], days["date"]]).get_indexer(own)
    hours = days["analysed_h"].to_numpy(float)
    day, month = (days["date"].dt.strftime(form).to_numpy(object) for form in ("%Y-%m-%d", "%Y-%m"))
    sites, present = sorted(days["site"].unique()), events["label"].to_numpy(object)
    rows: list[dict[str, Any]] = []
    for label in labels:
        listed = np.bincount(unit[(present == label) & (unit >= 0)], minlength=len(hours))
        sums = reviewed.truths(label, unit, len(hours)) if reviewed.state(label) == ESTIMATED else None
        for place in [*sites, *([ALL_SITES] if len(sites) > 1 else [])]:
            of_place = np.ones(len(hours), bool) if place == ALL_SITES else (days["site"] == place).to_numpy()
            for name in sorted(set(month[of_place & (hours > 0)])):
                here = of_place & (month == name)
                total, events_h = float(hours[here].sum()), int(listed[here].sum())
                row: dict[str, Any] = {
                    "site": place,
                    "label": label,
                    "month": name,
                    "analysed_h": total,
                    "events": events_h,
                    "listed_per_day": 24 * events_h / total,
                }
                row |= dict.fromkeys(("estimate", "low", "high", "per_day", "per_day_low", "per_day_high"), np.nan)
                if sums is not None:
                    found = count(sums[:, here].sum(axis=1))
                    limits = rate_interval(*_by_day(sums[:, here], hours[here], day[here]))
                    row |= {"estimate": found.mean, "low": found.low, "high": found.high}
                    row |= dict(zip(("per_day", "per_day_low", "per_day_high"), (24 * v for v in limits), strict=True))
                rows.append(row)
    return pd.DataFrame(rows, columns=MONTH_COLUMNS)


def _units(recordings: pd.DataFrame) -> pd.DataFrame:
    """For each recording: site, analysed_s, day, and the number of its unit. A unit is a day at a site, or a recording
    without a start time."""
    import pandas as pd

    day = recordings["start"].dt.strftime("%Y-%m-%d").fillna("")
    day = day.where(day != "", recordings["recording"])
    unit, _ = pd.factorize(pd.MultiIndex.from_arrays([recordings["site"], day]))
    return pd.DataFrame({"site": recordings["site"], "analysed_s": recordings["analysed_s"], "day": day, "unit": unit})


def _by_day(sums: NDArray[Any], hours: Floats, day: NDArray[Any]) -> tuple[NDArray[Any], Floats]:
    """Counts and hours of days, over the sites, without days that have no analysed sound."""
    _, index = np.unique(day.astype(str), return_inverse=True)
    total = np.bincount(index, hours).astype(np.float64)
    counts = np.zeros((len(total), len(sums)), sums.dtype)
    np.add.at(counts, index, sums.T)
    return counts.T[:, total > 0], np.asarray(total[total > 0], np.float64)


def hourly_events(events: pd.DataFrame, reviewed: Reviewed, hourly: pd.DataFrame, labels: list[str]) -> pd.DataFrame:
    """hourly_effort with the column `LABEL` for each label: listed events that start in the hour; and `LABEL estimate`
    for each label with an estimate: the number of true ones among them, the sum of their probabilities."""
    import pandas as pd

    known = events["start_time"].notna().to_numpy()
    start = micros(events.loc[known, "start_time"])
    table = pd.DataFrame(
        {
            "site": events.loc[known, "site"].to_numpy(),
            "hour": (start // HOUR_US * HOUR_US).astype("datetime64[us]"),
            "label": events.loc[known, "label"].to_numpy(),
        }
    )
    probability = reviewed.probability()
    result = hourly
    for label in labels:
        columns = {label: np.ones(len(table))}
        if reviewed.state(label) == ESTIMATED:
            columns[f"{label} estimate"] = np.where(reviewed.counted(label), probability, 0.0)[known]
        chosen = table.assign(**columns)[table["label"] == label].groupby(["site", "hour"])[list(columns)].sum()
        result = result.merge(chosen.reset_index(), on=["site", "hour"], how="left")
        result[list(columns)] = result[list(columns)].fillna(0.0)
        result[label] = result[label].astype("int64")
    return result


def diel(cells: pd.DataFrame, column: str) -> Floats:
    """(24,): rate per hour of sound by hour of day, NaN without effort."""
    hour = cells["hour"].dt.hour.to_numpy()
    counts, hours = (np.bincount(hour, cells[name].to_numpy(float), minlength=24) for name in (column, "analysed_h"))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(counts / hours)
