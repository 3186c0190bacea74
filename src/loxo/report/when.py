"""The section of a report about time: activity by date and hour, by month, by day and night.

A figure is drawn where it shows something: a map of dates and hours from MIN_DAYS days with sound, else bars by hour
of day; months from MIN_MONTHS of them. Nothing is drawn for a label without events, or if most of the sound has no
start time.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from loxo.languages import mark, number, text
from loxo.report import figures, page
from loxo.report.clock import are_near
from loxo.report.rates import ALL_SITES
from loxo.report.sentences import noun, nouns

if TYPE_CHECKING:
    import pandas as pd

    from loxo.report.figures import Draw
    from loxo.report.findings import Findings

PARTS = (mark("day"), mark("night"))
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
            draws[f"activity-{name}"] = (draw, text("{unit} by date and hour of day", unit=unit))
            if len(sites) > 1:
                draw = partial(figures.activity_by_site, hourly, sites, column, unit, colour, found.sun)
                draws[f"activity-{name}-by-site"] = (draw, text("{unit} by date and hour of day, by site", unit=unit))
        elif hourly.loc[hourly["analysed_h"] > 0, "hour"].dt.hour.nunique() >= MIN_HOURS_OF_DAY:
            draw = partial(figures.by_hour, hourly, column, unit, colour, one_sun)
            draws[f"hours-{name}"] = (draw, text("{unit} by hour of day", unit=unit))
    months = _all_sites(found.months)
    shown = [label for label in labels if (months["label"] == label).any() and hourly[label].any()]
    if months["month"].nunique() >= MIN_MONTHS and shown:
        draws["months"] = (partial(figures.by_month, months, shown), text("events in 24 h of sound by month"))
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
        return f"{label} estimate", text("true {events} an hour", events=nouns(label))
    return label, text("listed {events} an hour", events=nouns(label))


def when_section(found: Findings, svg: dict[str, str]) -> list[tuple[str, str, str]]:
    """The section, in a list; an empty list if no event has a time."""
    if not len(found.run.events):
        return []
    if not is_dated(found):
        words = text(
            "Most of the sound has no start time in the names of its recordings, so nothing is shown by date or hour. "
            "Names with a start time are, for example, {names}.",
            names=NAMED,
        )
        return [("when", text("When"), page.paragraph(words))]
    parts = []
    for label in found.labels:
        parts += _of_label(found, label, svg)
    if "months" in svg:
        note = text("Events in 24 h of analysed sound.")
        if found.months["per_day"].notna().any():
            note += text(" Lines: 95 % intervals.")
        parts.append(f"<h3>{text('By month')}</h3>{page.figure(svg['months'], note)}")
    parts.append(_daylight(found))
    if not any(parts):
        return []
    if any(name.startswith(("activity", "hours")) for name in svg):
        intro = text("Events in an hour of analysed sound. Hatched: no analysed sound.")
        if found.sun:
            intro += text(" Dashed lines or shading: sunrise and sunset.")
        parts.insert(0, page.paragraph(intro, "note"))
    return [("when", text("When"), "".join(parts))]


def _of_label(found: Findings, label: str, svg: dict[str, str]) -> list[str]:
    name, parts = figures.figure_name(label), []
    sites = found.hourly["site"].nunique()
    over = text(" All sites together.") if sites > 1 else ""
    listed = "" if f"{label} estimate" in found.hourly else text(" Listed events, not checked.")
    if f"activity-{name}" in svg:
        caption = text("Each column is a day, each row an hour of the day.")
        parts.append(page.figure(svg[f"activity-{name}"], caption + over + listed))
    if f"hours-{name}" in svg:
        parts.append(page.figure(svg[f"hours-{name}"], text("By hour of the day.") + over + listed))
    if f"activity-{name}-by-site" in svg:
        more = sites - figures.MAX_PANELS
        caption = text("Each site, with one colour scale.")
        if more > 0:
            caption += text(" The first {n} of {sites} sites; .hours.csv has all.", n=figures.MAX_PANELS, sites=sites)
        parts.append(page.figure(svg[f"activity-{name}-by-site"], caption))
    return [f"<h3>{page.text(nouns(label))}</h3>", *parts] if parts else []


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
        for part in PARTS:
            hours, events, true = by_part["analysed_h"][part], int(by_part["events"][part]), estimates[part]
            worth = true if np.isfinite(true) else events
            row: tuple[Any, ...] = (noun(label), text(part), page.hours(hours), number(events))
            row += ("–" if np.isnan(true) else page.whole(true), page.number(worth / hours, 2) if hours > 0 else "–")
            rows.append(row)
    columns = [text("label"), text("part"), text("analysed") + "#", text("listed") + "#"]
    columns += [text("true") + "#", text("in an hour of sound") + "#"]
    if found.daylight["estimate"].isna().all():  # nothing was reviewed
        del columns[4]
        rows = [(*row[:4], row[5]) for row in rows]
    words = text("Day is from sunrise to sunset. Rates are of true events after a review, else of listed ones.")
    return f"<h3>{text('Day and night')}</h3>{page.table(columns, rows)}{page.paragraph(words, 'note')}"
