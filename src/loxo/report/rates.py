"""Counts of events and rates per day of analysed sound, by site and label, with 95 % intervals.

Every event has a probability of being correct (probabilities.py). Counts are sums of these probabilities. The interval
of a rate is one of

- "days": bootstrap over the days of the site (2,000 resamples), which keeps the calls of one visit together. It needs
  at least 7 days and 10 events;
- "poisson": otherwise. Events are assumed to be independent (Garwood's exact limits; with probabilities below 1, those
  of Fay and Feuer 1997). If calls come in bouts, this interval is too narrow.

Neither interval includes missed events, or differences to other seasons and places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loxo.report.effort import HOUR_US, micros

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

MIN_DAYS, MIN_EVENTS = 7, 10
RESAMPLES = 2000
SEED = 0
ALL_SITES = "all sites"


def poisson_interval(probabilities: Floats, level: float = 0.95) -> tuple[float, float]:
    """Limits of the expected sum of probabilities: Fay and Feuer's, equal to Garwood's if all probabilities are 1."""
    from scipy.special import gammaincinv  # type: ignore[import-untyped]

    tail = (1 - level) / 2
    total, square = float(probabilities.sum()), float((probabilities**2).sum())
    low = float(gammaincinv(total**2 / square, tail)) * square / total if total > 0 else 0.0
    more, wide = total + 1.0, square + 1.0
    return low, float(gammaincinv(more**2 / wide, 1 - tail)) * wide / more


def days_interval(counts: Floats, hours: Floats, level: float = 0.95) -> tuple[float, float]:
    """Limits of sum(counts) / sum(hours), both (days,), by bootstrap over the days."""
    rng = np.random.default_rng(SEED)
    drawn = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), RESAMPLES)
    rates = (drawn @ counts) / np.maximum(drawn @ hours, 1e-9)
    low, high = np.quantile(rates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def rates(
    events: pd.DataFrame, probabilities: Floats, labels: list[str], recordings: pd.DataFrame, hourly: pd.DataFrame
) -> pd.DataFrame:
    """One row per label and site, and one per label for all sites if there are several.

    Columns: site, label, events (in the table), expected (sum of probabilities), analysed_h, per_day, per_day_low,
    per_day_high (per 24 h of analysed sound; NaN without any), interval ("days" or "poisson").
    """
    import pandas as pd

    sites = sorted(recordings["site"].unique())

    def and_all(frame: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([frame, frame.assign(site=ALL_SITES)]) if len(sites) > 1 else frame

    totals = and_all(recordings).groupby("site")["analysed_s"].sum() / 3600
    sound = and_all(hourly[hourly["analysed_h"] > 0])
    hours = sound.assign(date=sound["hour"].dt.normalize()).groupby(["site", "date"])["analysed_h"].sum()
    undated = and_all(recordings[recordings["start"].isna() & (recordings["analysed_s"] > 0)])["site"].unique()
    table = pd.DataFrame({"site": events["site"], "label": events["label"], "probability": probabilities})
    table = and_all(table.assign(date=events["start_time"].dt.normalize()))
    groups = dict(iter(table.groupby(["label", "site"])))
    rows: list[dict[str, Any]] = []
    for label in labels:
        for site in [*sites, *([ALL_SITES] if len(sites) > 1 else [])]:
            found = groups.get((label, site), table.iloc[:0])
            values = found["probability"].to_numpy(float)
            row = {"site": site, "label": label, "events": len(found), "expected": float(values.sum())}
            row["analysed_h"] = float(totals[site])
            days = hours[hours.index.get_level_values("site") == site].droplevel("site")
            counts = found.groupby("date")["probability"].sum().reindex(days.index).fillna(0.0)
            rows.append(row | _rate(values, row["analysed_h"], counts, days, dated=site not in undated))
    return pd.DataFrame(rows)


def _rate(probabilities: Floats, total_h: float, counts: pd.Series, hours: pd.Series, dated: bool) -> dict[str, Any]:
    if total_h <= 0:
        return {"per_day": np.nan, "per_day_low": np.nan, "per_day_high": np.nan, "interval": ""}
    by_days = dated and len(hours) >= MIN_DAYS and len(probabilities) >= MIN_EVENTS
    if by_days:
        low, high = days_interval(counts.to_numpy(float), hours.to_numpy(float))
    else:
        low, high = (limit / total_h for limit in poisson_interval(probabilities))
    rate = float(probabilities.sum()) / total_h
    kind = "days" if by_days else "poisson"
    return {"per_day": 24 * rate, "per_day_low": 24 * low, "per_day_high": 24 * high, "interval": kind}


def hourly_events(events: pd.DataFrame, probabilities: Floats, hourly: pd.DataFrame, labels: list[str]) -> pd.DataFrame:
    """hourly_effort with two columns for each label: `LABEL` (events that start in the hour) and `LABEL expected` (the
    sum of their probabilities)."""
    import pandas as pd

    known = events["start_time"].notna().to_numpy()
    start = micros(events.loc[known, "start_time"])
    table = pd.DataFrame(
        {
            "site": events.loc[known, "site"].to_numpy(),
            "hour": (start // HOUR_US * HOUR_US).astype("datetime64[us]"),
            "label": events.loc[known, "label"].to_numpy(),
            "probability": probabilities[known],
        }
    )
    result = hourly
    for label in labels:
        chosen = table[table["label"] == label].groupby(["site", "hour"])["probability"]
        counts = chosen.agg(["size", "sum"]).set_axis([label, f"{label} expected"], axis=1).reset_index()
        result = result.merge(counts, on=["site", "hour"], how="left")
        result[label] = result[label].fillna(0).astype("int64")
        result[f"{label} expected"] = result[f"{label} expected"].fillna(0.0)
    return result


def diel(cells: pd.DataFrame, column: str) -> tuple[Floats, Floats, Floats]:
    """Rate per hour of sound by hour of day, with its lower and upper 95 % limit by bootstrap over days.

    Three arrays (24,), NaN without effort.
    """
    day = cells["hour"].dt.normalize()
    days, index = np.unique(day.to_numpy(), return_inverse=True)
    hour = cells["hour"].dt.hour.to_numpy()
    counts, hours = np.zeros((len(days), 24)), np.zeros((len(days), 24))
    np.add.at(counts, (index, hour), cells[column].to_numpy(float))
    np.add.at(hours, (index, hour), cells["analysed_h"].to_numpy(float))
    rng = np.random.default_rng(SEED)
    drawn = rng.multinomial(len(days), np.full(len(days), 1 / max(len(days), 1)), RESAMPLES // 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = counts.sum(0) / hours.sum(0)
        resampled = (drawn @ counts) / (drawn @ hours)
    low, high = np.full(24, np.nan), np.full(24, np.nan)
    if len(days) >= MIN_DAYS:
        for k in range(24):
            finite = resampled[np.isfinite(resampled[:, k]), k]
            if len(finite):
                low[k], high[k] = np.quantile(finite, [0.025, 0.975])
    return rate, low, high
