"""Effort: recorded and analysed hours by site, day and hour, and the gaps between them.

All times are the naive wall clock of the report (clock.py), stored as integer microseconds. The name of an unknown site
is "". Recordings without a start time count in the totals, but not in tables by date.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from loxo.languages import mark

if TYPE_CHECKING:
    import pandas as pd

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
MIN_GAP_S = 60.0  # recorders need up to this long between two files
SCHEDULE_PAUSES = 20  # min number of pauses at a site for which their median is its scheduled pause

Micros = NDArray[np.int64]


def hourly_effort(recordings: pd.DataFrame) -> pd.DataFrame:
    """Hours recorded and analysed in every hour of the clock in which a recording runs.

    Columns: site, hour (datetime64), recorded_h, analysed_h; sorted by site and hour. If recordings of a site overlap,
    their hours add up.
    """
    import pandas as pd

    known = recordings[recordings["start"].notna() & (recordings["duration_s"] > 0)]
    start = micros(known["start"])
    recorded = start + (known["duration_s"].to_numpy() * 1e6).round().astype(np.int64)
    analysed = start + (known["analysed_s"].to_numpy() * 1e6).round().astype(np.int64)
    end = np.maximum(recorded, analysed)
    first = start // HOUR_US
    counts = np.maximum((end - 1) // HOUR_US - first + 1, 1)
    row = np.repeat(np.arange(len(known)), counts)
    cell = (np.repeat(first, counts) + _ramps(counts)) * HOUR_US
    begin = np.maximum(start[row], cell)
    table = pd.DataFrame(
        {
            "site": known["site"].to_numpy()[row],
            "hour": cell.astype("datetime64[us]"),
            "recorded_h": np.maximum(np.minimum(recorded[row], cell + HOUR_US) - begin, 0) / HOUR_US,
            "analysed_h": np.maximum(np.minimum(analysed[row], cell + HOUR_US) - begin, 0) / HOUR_US,
        }
    )
    return table.groupby(["site", "hour"], sort=True, as_index=False).sum()


def daily_effort(recordings: pd.DataFrame, hourly: pd.DataFrame) -> pd.DataFrame:
    """One row per site and day, from the first to the last day of the site, including days without a recording.

    Columns: site, date, recordings (that start on this day), failed, cut_off (of these), recorded_h, analysed_h. The
    last row of a site, with date NaT, counts its recordings without a start time, if there are any.
    """
    import pandas as pd

    day = recordings["start"].dt.normalize()
    begun = pd.DataFrame(
        {
            "site": recordings["site"],
            "date": day,
            "recordings": 1,
            "failed": (recordings["status"] == "failed").astype(int),
            "cut_off": (recordings["status"] == "truncated").astype(int),
        }
    )
    dated = begun[day.notna()].groupby(["site", "date"], as_index=False).sum()
    hours = hourly.assign(date=hourly["hour"].dt.normalize()).drop(columns="hour")
    hours = hours.groupby(["site", "date"], as_index=False).sum()
    table = dated.merge(hours, on=["site", "date"], how="outer")
    full = []
    for site, rows in table.groupby("site", sort=True):
        days = pd.date_range(rows["date"].min(), rows["date"].max(), freq="D", unit="us")
        rows = rows.set_index("date").reindex(days).rename_axis("date").reset_index()
        full.append(rows.assign(site=site))
    undated = begun[day.isna()].assign(
        recorded_h=recordings["duration_s"] / 3600, analysed_h=recordings["analysed_s"] / 3600
    )
    undated = undated.drop(columns="date").groupby("site", as_index=False).sum()
    full.append(undated.assign(date=pd.Series(pd.NaT, undated.index, "datetime64[us]")))
    result = pd.concat([part for part in full if len(part)], ignore_index=True)
    counts = ["recordings", "failed", "cut_off"]
    result[[*counts, "recorded_h", "analysed_h"]] = result[[*counts, "recorded_h", "analysed_h"]].fillna(0)
    result[counts] = result[counts].astype("int64")
    result = result.sort_values(["site", "date"], kind="stable", ignore_index=True)
    return result[["site", "date", *counts, "recorded_h", "analysed_h"]]


def usual_pause_s(start: Micros, end: Micros) -> float:
    """The pause between recordings in a site's schedule; 0 if the site records continuously.

    start, end: of its recordings, sorted by start, in microseconds.
    """
    pauses = (start[1:] - end[:-1]) / 1e6
    if len(pauses) < SCHEDULE_PAUSES:
        return 0.0
    return max(float(np.median(pauses)), 0.0)


def find_gaps(recordings: pd.DataFrame) -> pd.DataFrame:
    """Times without analysed sound between the first and last recording of a site: site, start, end, hours, cause.

    A pause is a gap if it is longer than MIN_GAP_S and longer than 1.5 times the site's usual pause. The cause is the
    failed recording that begins in the gap, the recording that is cut off there, or "nothing was recorded".
    """
    import pandas as pd

    rows = []
    dated = recordings[recordings["start"].notna()]
    for site, group in dated.groupby("site", sort=True):
        group = group.sort_values("start", kind="stable")
        whole = group[group["status"] != "failed"]
        start = micros(whole["start"])
        end = start + (whole["analysed_s"].to_numpy() * 1e6).round().astype(np.int64)
        min_gap = max(MIN_GAP_S, 1.5 * usual_pause_s(start, end)) * 1e6
        # A failed recording at the start or the end of the survey makes a gap too. Its length is unknown: the gap
        # begins, or ends, where that recording starts.
        marks = micros(group["start"])
        start, end = np.append(start, marks.max()), np.append(end, marks.max())
        covered = np.maximum.accumulate(np.concatenate(([marks.min()], end)))[:-1]
        for k in np.flatnonzero(start - covered > min_gap):
            rows.append((site, covered[k], start[k], _cause(group, marks, int(covered[k]), int(start[k]))))
    frame = pd.DataFrame(rows, columns=["site", "start", "end", "cause"])
    for name in ("start", "end"):
        frame[name] = frame[name].to_numpy(dtype=np.int64).astype("datetime64[us]")
    frame.insert(3, "hours", (micros(frame["end"]) - micros(frame["start"])) / HOUR_US)
    return frame


def _cause(group: pd.DataFrame, marks: Micros, start: int, end: int) -> str:
    """The failed recording that begins in a gap, or the recording that is cut off there."""
    from loxo.audio.filenames import base_name

    failed = group[(group["status"] == "failed").to_numpy() & (marks >= start) & (marks < end)]
    if len(failed):
        first = base_name(failed["recording"].iloc[0])
        if len(failed) > 1:
            return mark("{file} and {n} more failed").format(file=first, n=len(failed) - 1)
        return mark("{file} failed").format(file=first)
    promised = marks + (group["duration_s"].to_numpy() * 1e6).round().astype(np.int64)
    cut = group[(group["status"] == "truncated").to_numpy() & (marks <= start) & (promised > start)]
    if len(cut):
        return mark("{file} is cut off").format(file=base_name(cut["recording"].iloc[-1]))
    return mark("nothing was recorded")


def overlap_hours(recordings: pd.DataFrame) -> float:
    """Hours that are recorded more than once at a site, usually by copies. Each additional recording counts."""
    total = 0
    for _, group in recordings[recordings["start"].notna()].groupby("site"):
        start = np.sort(micros(group["start"]))
        order = np.argsort(micros(group["start"]), kind="stable")
        end = start + (group["duration_s"].to_numpy()[order] * 1e6).round().astype(np.int64)
        covered = np.maximum.accumulate(np.concatenate(([start[0]], end)))[:-1]
        total += int(np.maximum(np.minimum(covered, end) - start, 0).sum())
    return total / HOUR_US


def micros(times: pd.Series) -> Micros:
    """datetime64 as integer microseconds since 1970."""
    values: Micros = times.to_numpy().astype("datetime64[us]").astype(np.int64)
    return values


def _ramps(counts: Micros) -> Micros:
    """0, 1, ... n - 1 for each n in counts, concatenated."""
    ends = np.cumsum(counts)
    ramps: Micros = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - counts, counts)
    return ramps
