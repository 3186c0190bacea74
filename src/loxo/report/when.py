"""The section of a report about time: activity by date and hour, by month, by day and night.

A figure is drawn where it shows something: a map of dates and hours from MIN_DAYS days with sound, else bars by hour
of day; months from MIN_MONTHS of them. Nothing is drawn for a label without events, or if most of the sound has no
start time.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from loxo.report import figures, page
from loxo.report.clock import are_near
from loxo.report.rates import ALL_SITES

if TYPE_CHECKING:
    import pandas as pd

    from loxo.report.figures import Draw
    from loxo.report.findings import Findings

MIN_DAYS = 3
MIN_HOURS_OF_DAY = 6  # with analysed sound, for bars by hour of day
MIN_MONTHS = 3
MIN_DATED = 0.5  # of the analysed hours that are in recordings with a start time
NAMED = "nn01a_20180126_000000.wav, S4A03895_20190522_000000.wav or 20190522_000000.WAV"


def when_figures(found: Findings) -> dict[str, tuple[Draw, str]]:
    """The function that draws each figure, and its description, by file name."""
    draws: dict[str, tuple[Draw, str]] = {}
    if not is_dated(found):
        return draws
    hourly, labels = found.hourly, found.labels
    sites = sorted(hourly["site"].unique())
    suns = list(found.sun.values())
    one_sun = suns[0] if suns and all(are_near(sun, suns[0]) for sun in suns) else []
    days = days_with_sound(found)
    for label in labels:
        column, unit = _column(found, label)
        if not hourly[label].any():
            continue
        colour, name = figures.label_colour(label, labels), figures.figure_name(label)
        if days >= MIN_DAYS:
            draw: Draw = partial(figures.activity, hourly, column, unit, colour, one_sun)
            draws[f"activity-{name}"] = (draw, f"{unit} by date and hour of day")
            if len(sites) > 1:
                draw = partial(figures.activity_by_site, hourly, sites, column, unit, colour, found.sun)
                draws[f"activity-{name}-by-site"] = (draw, f"{unit} by date and hour of day, by site")
        elif hourly.loc[hourly["analysed_h"] > 0, "hour"].dt.hour.nunique() >= MIN_HOURS_OF_DAY:
            draw = partial(figures.by_hour, hourly, column, unit, colour, one_sun)
            draws[f"hours-{name}"] = (draw, f"{unit} by hour of day")
    months = _all_sites(found.months)
    shown = [label for label in labels if (months["label"] == label).any() and hourly[label].any()]
    if months["month"].nunique() >= MIN_MONTHS and shown:
        draws["months"] = (partial(figures.by_month, months, shown), "events in 24 h of sound by month")
    return draws


def is_dated(found: Findings) -> bool:
    """Whether enough of the sound has a start time for figures by date and hour."""
    analysed = float(found.run.recordings["analysed_s"].sum()) / 3600
    return float(found.hourly["analysed_h"].sum()) > MIN_DATED * analysed


def days_with_sound(found: Findings) -> int:
    return int(found.hourly.loc[found.hourly["analysed_h"] > 0, "hour"].dt.normalize().nunique())


def _all_sites(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of all sites together."""
    total = table[table["site"] == ALL_SITES]
    return total if len(total) else table


def _column(found: Findings, label: str) -> tuple[str, str]:
    """The column of the hourly table that is shown for a label, and its unit."""
    if f"{label} estimate" in found.hourly:
        return f"{label} estimate", f"true {label}s an hour"
    return label, f"listed {label}s an hour"


def when_section(found: Findings, svg: dict[str, str]) -> list[tuple[str, str, str]]:
    """The section, in a list; an empty list if no event has a time."""
    if not len(found.run.events):
        return []
    if not is_dated(found):
        words = (
            "Most of the sound has no start time in the names of its recordings, so nothing is shown by date or hour. "
            f"Names with a start time are, for example, {NAMED}."
        )
        return [("when", "When", page.paragraph(words))]
    parts = []
    for label in found.labels:
        parts += _of_label(found, label, svg)
    if "months" in svg:
        note = " Lines: 95 % intervals." if found.months["per_day"].notna().any() else ""
        parts.append(f"<h3>By month</h3>{page.figure(svg['months'], f'Events in 24 h of analysed sound.{note}')}")
    parts.append(_daylight(found))
    if not any(parts):
        return []
    if any(name.startswith(("activity", "hours")) for name in svg):
        sun = "" if not found.sun else " Dashed lines or shading: sunrise and sunset."
        intro = page.paragraph(f"Events in an hour of analysed sound. Hatched: no analysed sound.{sun}", "note")
        parts.insert(0, intro)
    return [("when", "When", "".join(parts))]


def _of_label(found: Findings, label: str, svg: dict[str, str]) -> list[str]:
    name, parts = figures.figure_name(label), []
    sites = found.hourly["site"].nunique()
    over = " All sites together." if sites > 1 else ""
    listed = "" if f"{label} estimate" in found.hourly else " Listed events, not checked."
    if f"activity-{name}" in svg:
        caption = f"Each column is a day, each row an hour of the day.{over}{listed}"
        parts.append(page.figure(svg[f"activity-{name}"], caption))
    if f"hours-{name}" in svg:
        parts.append(page.figure(svg[f"hours-{name}"], f"By hour of the day.{over}{listed}"))
    if f"activity-{name}-by-site" in svg:
        more = sites - figures.MAX_PANELS
        left_out = f" The first {figures.MAX_PANELS} of {sites} sites; .hours.csv has all." if more > 0 else ""
        parts.append(page.figure(svg[f"activity-{name}-by-site"], f"Each site, with one colour scale.{left_out}"))
    return [f"<h3>{page.text(label)}s</h3>", *parts] if parts else []


def _daylight(found: Findings) -> str:
    """A table of day and night over all sites with sunrise and sunset."""
    table = found.daylight
    if not len(table) or not table["events"].any():
        return ""
    rows = []
    for label in found.labels:
        of_label = table[table["label"] == label]
        if not of_label["events"].any():
            continue
        by_part = of_label.groupby("part")[["analysed_h", "events"]].sum()
        estimates = of_label.groupby("part")["estimate"].sum(min_count=1)
        for part in ("day", "night"):
            hours, events, true = by_part["analysed_h"][part], int(by_part["events"][part]), estimates[part]
            worth = true if np.isfinite(true) else events
            row: tuple[Any, ...] = (label, part, page.hours(hours), f"{events:,}")
            row += ("–" if np.isnan(true) else f"{true:,.0f}", page.number(worth / hours, 2) if hours > 0 else "–")
            rows.append(row)
    columns = ["label", "part", "analysed#", "listed#", "true#", "in an hour of sound#"]
    if found.daylight["estimate"].isna().all():  # nothing was reviewed
        columns.remove("true#")
        rows = [(*row[:4], row[5]) for row in rows]
    words = "Day is from sunrise to sunset. Rates are of true events after a review, else of listed ones."
    return f"<h3>Day and night</h3>{page.table(columns, rows)}{page.paragraph(words, 'note')}"
