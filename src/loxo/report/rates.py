"""How many events, and how many an hour of sound: by site and label, with 95 % intervals.

Every event has a weight, the probability that it is right: 1 or 0 after a review, the calibrated score where the model
has a calibration for its class, else 1. Counts are sums of weights. An interval of a rate comes from

- "days": resampling the days of the site (2,000 times), which keeps the calls of one visit together: with at least 7
  days and 10 events;
- "poisson": else, as if events came one by one, independent of each other (Garwood's exact limits; with weights, those
  of Fay and Feuer 1997). Where calls come in bouts this interval is too narrow.

Neither knows of the events that the detector missed, nor of any other season or place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loxo.report.effort import HOUR_US, micros

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

LEAST_DAYS, LEAST_EVENTS = 7, 10
RESAMPLES = 2000
SEED = 0
ALL_SITES = "all sites"


def poisson_interval(weights: Floats, level: float = 0.95) -> tuple[float, float]:
    """Limits of the expected sum of weights (0 to 1 each), of Fay and Feuer; Garwood's where all weights are 1."""
    from scipy.special import gammaincinv  # type: ignore[import-untyped]

    tail = (1 - level) / 2
    total, square = float(weights.sum()), float((weights**2).sum())
    low = float(gammaincinv(total**2 / square, tail)) * square / total if total > 0 else 0.0
    more, wide = total + 1.0, square + 1.0
    return low, float(gammaincinv(more**2 / wide, 1 - tail)) * wide / more


def days_interval(counts: Floats, hours: Floats, level: float = 0.95) -> tuple[float, float]:
    """Limits of sum(counts) / sum(hours) over (days,), by resampling the days."""
    rng = np.random.default_rng(SEED)
    drawn = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), RESAMPLES)
    rates = (drawn @ counts) / np.maximum(drawn @ hours, 1e-9)
    low, high = np.quantile(rates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def rates(
    events: pd.DataFrame, weights: Floats, labels: list[str], recordings: pd.DataFrame, hourly: pd.DataFrame
) -> pd.DataFrame:
    """One row a label and site, and one a label for all sites where there are several.

    Columns: site, label, events (in the table), expected (sum of weights), analysed_h, per_day, per_day_low,
    per_day_high (a day being 24 h of analysed sound; NaN without any), interval ("days" or "poisson").
    """
    import pandas as pd

    sites = sorted(recordings["site"].unique())

    def and_all(frame: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([frame, frame.assign(site=ALL_SITES)]) if len(sites) > 1 else frame

    totals = and_all(recordings).groupby("site")["analysed_s"].sum() / 3600
    sound = and_all(hourly[hourly["analysed_h"] > 0])
    hours = sound.assign(date=sound["hour"].dt.normalize()).groupby(["site", "date"])["analysed_h"].sum()
    undated = and_all(recordings[recordings["start"].isna() & (recordings["analysed_s"] > 0)])["site"].unique()
    table = pd.DataFrame({"site": events["site"], "label": events["label"], "weight": weights})
    table = and_all(table.assign(date=events["start_time"].dt.normalize()))
    groups = dict(iter(table.groupby(["label", "site"])))
    rows: list[dict[str, Any]] = []
    for label in labels:
        for site in [*sites, *([ALL_SITES] if len(sites) > 1 else [])]:
            found = groups.get((label, site), table.iloc[:0])
            values = found["weight"].to_numpy(float)
            row = {"site": site, "label": label, "events": len(found), "expected": float(values.sum())}
            row["analysed_h"] = float(totals[site])
            days = hours[hours.index.get_level_values("site") == site].droplevel("site")
            counts = found.groupby("date")["weight"].sum().reindex(days.index).fillna(0.0)
            rows.append(row | _rate(values, row["analysed_h"], counts, days, dated=site not in undated))
    return pd.DataFrame(rows)


def _rate(weights: Floats, total_h: float, counts: pd.Series, hours: pd.Series, dated: bool) -> dict[str, Any]:
    if total_h <= 0:
        return {"per_day": np.nan, "per_day_low": np.nan, "per_day_high": np.nan, "interval": ""}
    by_days = dated and len(hours) >= LEAST_DAYS and len(weights) >= LEAST_EVENTS
    if by_days:
        low, high = days_interval(counts.to_numpy(float), hours.to_numpy(float))
    else:
        low, high = (limit / total_h for limit in poisson_interval(weights))
    rate = float(weights.sum()) / total_h
    kind = "days" if by_days else "poisson"
    return {"per_day": 24 * rate, "per_day_low": 24 * low, "per_day_high": 24 * high, "interval": kind}


def hourly_events(events: pd.DataFrame, weights: Floats, hourly: pd.DataFrame, labels: list[str]) -> pd.DataFrame:
    """hourly_effort with a column `LABEL` (events that start in the hour) and `LABEL expected` (their weights) more."""
    import pandas as pd

    known = events["start_time"].notna().to_numpy()
    start = micros(events.loc[known, "start_time"])
    table = pd.DataFrame(
        {
            "site": events.loc[known, "site"].to_numpy(),
            "hour": (start // HOUR_US * HOUR_US).astype("datetime64[us]"),
            "label": events.loc[known, "label"].to_numpy(),
            "weight": weights[known],
        }
    )
    result = hourly
    for label in labels:
        chosen = table[table["label"] == label].groupby(["site", "hour"])["weight"]
        counts = chosen.agg(["size", "sum"]).set_axis([label, f"{label} expected"], axis=1).reset_index()
        result = result.merge(counts, on=["site", "hour"], how="left")
        result[label] = result[label].fillna(0).astype("int64")
        result[f"{label} expected"] = result[f"{label} expected"].fillna(0.0)
    return result


def diel(cells: pd.DataFrame, column: str) -> tuple[Floats, Floats, Floats]:
    """Rate an hour by hour of day, and its 95 % limits by resampling days: three times (24,); NaN without effort."""
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
    if len(days) >= LEAST_DAYS:
        for k in range(24):
            finite = resampled[np.isfinite(resampled[:, k]), k]
            if len(finite):
                low[k], high[k] = np.quantile(finite, [0.025, 0.975])
    return rate, low, high
