"""The sites of a report: a map with the rates of each label, a table, and both as files.

    NAME.sites.csv       site, latitude, longitude, time_zone, first, last, recordings, analysed_h, and for each label
                         LABEL events, LABEL listed_per_day and LABEL per_day (rates.py; empty without a review)
    NAME.sites.geojson   the same as points (RFC 7946), for QGIS and other maps; a site without coordinates has no point

A map is drawn if at least two sites have coordinates, at different places. Coordinates are projected onto a plane that
touches the earth at their middle; within 100 km this is as exact as the picture.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loxo.events.cells import safe_cell
from loxo.files import atomic_file, write_atomically
from loxo.languages import mark, number, text
from loxo.report import page
from loxo.report.figures import FAINT, INK, label_colour, plain
from loxo.report.sentences import nouns

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from loxo.events.sites import Site
    from loxo.report.figures import Draw
    from loxo.report.findings import Findings

INCHES, STRIP, EDGE = 4.4, 0.62, 0.1  # size of a map, of the strip below it, and of the margin around it
LARGEST = 900.0  # area of the largest circle, points^2
KM_PER_DEGREE = 111.19  # on a sphere with the mean radius of the earth
MIN_SPAN_KM = 0.2
MAX_ROWS = 40  # of the table on the page
NO_SITE = mark("no site")
Floats = NDArray[np.float64]


def site_figures(found: Findings) -> dict[str, tuple[Draw, str]]:
    """A map for each label with events, if there is one."""
    table = site_table(found)
    if table[["latitude", "longitude"]].dropna().drop_duplicates().shape[0] < 2:
        return {}
    return {
        f"map-{place}": (
            partial(draw_map, table, label, label_colour(label, found.labels)),
            text("map of {events} in 24 h of analysed sound by site", events=_shown(table, label)),
        )
        for place, label in enumerate(found.labels, 1)
        if table[f"{label} events"].any()
    }


def _kind(table: pd.DataFrame, label: str) -> str:
    """The events that the map of a label shows: true ones where a review allows an estimate, else listed ones."""
    return "true" if table[f"{label} per_day"].notna().any() else "listed"


def _shown(table: pd.DataFrame, label: str) -> str:
    """true rumbles, or listed rumbles"""
    true = text("true {events}", events=nouns(label))
    return true if _kind(table, label) == "true" else text("listed {events}", events=nouns(label))


def site_section(found: Findings, svg: dict[str, str]) -> list[tuple[str, str, str]]:
    """The section of the page, in a list; an empty list if the run has no table of sites."""
    table = site_table(found)
    if not _has_places(table):
        return []
    maps = [(label, svg.get(f"map-{place}")) for place, label in enumerate(found.labels, 1)]
    parts = [
        f"<div><h3>{page.text(_shown(table, label))}</h3>{page.figure(map)}</div>"
        for label, map in maps
        if map is not None
    ]
    body = [f'<div class="side">{"".join(parts)}</div>'] if parts else []
    if parts:
        words = text(
            "The area of a circle is proportional to the events in 24 h of analysed sound: true ones after a review, "
            "else listed ones, which nobody has checked. Ring: no event. Cross: no analysed sound. Names that have no "
            "room are in the table."
        )
        body.append(page.paragraph(words, "note"))
    rows = [
        (row["site"] or text(NO_SITE), _degrees(row["latitude"]), _degrees(row["longitude"]), row["time_zone"] or "–",
         page.span(row["first"], row["last"]) if row["first"] is not None else "–", number(row["recordings"]),
         page.hours(row["analysed_h"]))
        for row in table.astype(object).where(table.notna(), None).to_dict("records")
    ]  # fmt: skip
    columns = [text("site"), text("latitude") + "#", text("longitude") + "#", text("time zone"), text("dates")]
    columns += [text("recordings") + "#", text("analysed") + "#"]
    body.append(page.table(columns, rows[:MAX_ROWS]))
    note = text("The file .sites.geojson beside this page opens in QGIS and other maps.")
    if len(rows) > MAX_ROWS:
        note += text(" It has all {n} sites.", n=len(rows))
    body.append(page.paragraph(note, "note"))
    return [("sites", text("Sites"), "".join(body))]


def write_sites(out: Path, found: Findings) -> list[Path]:
    """Writes both files next to the page `out`, if the run has a table of sites. Returns their paths."""
    table = site_table(found)
    if not _has_places(table):
        return []
    paths = [out.with_suffix(".sites.csv"), out.with_suffix(".sites.geojson")]
    with atomic_file(paths[0]) as file:
        safe = table.assign(site=table["site"].map(safe_cell)).rename(columns=safe_cell)
        safe.to_csv(file, index=False, lineterminator="\n", date_format="%Y-%m-%dT%H:%M:%S", float_format="%.10g")
    write_atomically(paths[1], (json.dumps(geojson(table), indent=1, allow_nan=False) + "\n").encode())
    return paths


def site_table(found: Findings) -> pd.DataFrame:
    """One row per site, with the columns of NAME.sites.csv."""
    import pandas as pd

    run, rows = found.run, []
    rates = found.rates.set_index(["label", "site"])
    for name, site in sorted(run.sites.items()):
        recordings = run.recordings[run.recordings["site"] == name]
        starts = recordings["start"].dropna()
        row: dict[str, Any] = {
            "site": name,
            "latitude": site.latitude,
            "longitude": site.longitude,
            "time_zone": site.time_zone,
            "first": starts.min(),
            "last": starts.max(),
            "recordings": len(recordings),
            "analysed_h": float(recordings["analysed_s"].sum()) / 3600,
        }
        for label in found.labels:
            for column in ("events", "listed_per_day", "per_day"):
                row[f"{label} {column}"] = rates[column].get((label, name))
        rows.append(row)
    return pd.DataFrame(rows).astype({"latitude": "float64", "longitude": "float64", "time_zone": "object"})


def geojson(table: pd.DataFrame) -> dict[str, Any]:
    """The table as GeoJSON. A value that is not known is null."""
    features = []
    for row in table.assign(**{name: table[name].map(_iso) for name in ("first", "last")}).to_dict("records"):
        values = {str(name): _plain_value(value) for name, value in row.items()}
        north, east = values.pop("latitude"), values.pop("longitude")
        point = None if north is None else {"type": "Point", "coordinates": [east, north]}
        features.append({"type": "Feature", "geometry": point, "properties": values})
    return {"type": "FeatureCollection", "features": features}


def _iso(time: Any) -> str | None:
    return time.isoformat() if time == time and time is not None else None


def _plain_value(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return None if value is None or value != value else value


def _has_places(table: pd.DataFrame) -> bool:
    return bool(table[["latitude", "time_zone"]].notna().any(axis=None))


def _degrees(value: float | None) -> str:
    return "–" if value is None else number(value, ".5f")


# -- the map


def draw_map(table: pd.DataFrame, label: str, colour: str) -> Figure:
    """A circle for each site, with its name and rate; scale bar, arrow to the north, and a key to the circles."""
    table = table[table["latitude"].notna()]
    x, y = project(table["latitude"].to_numpy(float), table["longitude"].to_numpy(float))
    column = "per_day" if _kind(table, label) == "true" else "listed_per_day"
    rates = table[f"{label} {column}"].to_numpy(float)
    figure, axis, span = _ground(x, y)
    largest = nice(float(np.nanmax(rates, initial=0)), up=True)
    areas = LARGEST * rates / largest if largest else np.zeros(len(rates))
    with np.errstate(invalid="ignore"):
        some, none, silent = rates > 0, rates == 0, np.isnan(rates)
    axis.scatter(
        x[some], y[some], s=np.maximum(areas[some], 6), color=colour, alpha=0.6, lw=0.8, edgecolor=colour, zorder=3
    )
    axis.scatter(x[none], y[none], s=24, facecolor="white", edgecolor=colour, lw=1.1, zorder=3)
    axis.scatter(x[silent], y[silent], s=24, marker="x", color=FAINT, lw=1.1, zorder=3)
    radii = np.sqrt(np.where(some, np.maximum(areas, 9), 24) / math.pi)
    words = [
        (plain(site or text(NO_SITE)), "" if rate != rate else page.number(rate, 2))
        for site, rate in zip(table["site"], rates, strict=True)
    ]
    _names(axis, x, y, radii, words, rates)
    _arrow(axis)
    _key(_strip(figure, span), largest, colour, label)
    return figure


def draw_places(sites: Sequence[Site]) -> Figure:
    """A map of sites with coordinates, before anything is known about their events."""
    known = [(site.name, *site.coordinates) for site in sites if site.coordinates is not None]
    names, north, east = zip(*known, strict=True)
    x, y = project(np.array(north), np.array(east))
    figure, axis, span = _ground(x, y)
    axis.scatter(x, y, s=24, color=INK, zorder=3)
    _names(axis, x, y, np.full(len(x), 3.0), [(plain(name), "") for name in names], np.zeros(len(x)))
    _arrow(axis)
    _strip(figure, span)
    return figure


def _ground(x: Floats, y: Floats) -> tuple[Figure, Axes, float]:
    """A figure with an empty map around these places, its axis, and its length in km."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(INCHES, INCHES + STRIP))
    side = INCHES - 2 * EDGE
    axis = figure.add_axes((EDGE / INCHES, (STRIP + EDGE) / (INCHES + STRIP), side / INCHES, side / (INCHES + STRIP)))
    span = float(max(np.ptp(x), np.ptp(y), MIN_SPAN_KM)) * 1.36  # room for circles and names
    left, bottom = (x.max() + x.min() - span) / 2, (y.max() + y.min() - span) / 2
    axis.set(xlim=(left, left + span), ylim=(bottom, bottom + span), xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set(visible=True, color=FAINT)
    return figure, axis, span


def project(latitude: Floats, longitude: Floats) -> tuple[Floats, Floats]:
    """Kilometres east and north of the middle of the sites, also across the meridian of 180 degrees."""
    east = np.where(longitude < 0, longitude + 360, longitude) if np.ptp(longitude) > 180 else longitude
    middle = math.radians((latitude.min() + latitude.max()) / 2)
    x: Floats = (east - (east.min() + east.max()) / 2) * KM_PER_DEGREE * math.cos(middle)
    y: Floats = (latitude - (latitude.min() + latitude.max()) / 2) * KM_PER_DEGREE
    return x, y


def nice(value: float, up: bool = False) -> float:
    """The next number below (or, with `up`, above) of the form 1, 2 or 5 times a power of ten; 0 for 0."""
    if value <= 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(value))
    steps = [step * power for step in (1, 2, 5, 10)]
    return next(step for step in steps if step >= value * 0.999) if up else max(s for s in steps if s <= value * 1.001)


def _names(axis: Axes, x_km: Floats, y_km: Floats, radii: Floats, words: list[tuple[str, str]], rates: Floats) -> None:
    """Writes name and rate next to each circle, the largest rates first, where the text covers no other one.

    Lengths are in points, except x_km and y_km. A name without room is left out; the table has all names.
    """
    height, side = 19.0, (INCHES - 2 * EDGE) * 72
    (left, right), (bottom, _) = axis.get_xlim(), axis.get_ylim()
    x, y = ((km - first) * side / (right - left) for km, first in ((x_km, left), (y_km, bottom)))
    taken = [(a - r, b - r, a + r, b + r) for a, b, r in zip(x, y, radii, strict=True)]
    taken.append((side - 22, side - 40, side, side))  # the arrow
    for k in np.argsort(-np.nan_to_num(rates, nan=-1), kind="stable"):
        name = words[k][0] if len(words[k][0]) <= 18 else f"{words[k][0][:17]}…"
        width, gap = 5.5 * max(len(name), len(words[k][1])) + 4, radii[k] + 3
        above = gap + height / 2
        for dx, dy, align in ((gap, 0, "left"), (-gap, 0, "right"), (0, above, "center"), (0, -above, "center")):
            start = x[k] + dx - {"left": 0.0, "right": width, "center": width / 2}[align]
            box = (start, y[k] + dy - height / 2, start + width, y[k] + dy + height / 2)
            is_inside = min(box[:2]) >= 0 and max(box[2:]) <= side
            if is_inside and not any(_overlap(box, other) for j, other in enumerate(taken) if j != k):
                taken.append(box)
                at = {"xycoords": "axes points", "ha": align, "va": "center", "fontsize": 8.5, "linespacing": 1.05}
                shown = f"{name}\n{words[k][1]}" if words[k][1] else name
                axis.annotate(shown, (x[k] + dx, y[k] + dy), color=INK, zorder=4, **at)  # type: ignore[arg-type]
                break


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _arrow(axis: Axes) -> None:
    style = {"arrowstyle": "-|>", "color": INK, "lw": 1.0, "shrinkA": 0, "shrinkB": 0}
    axis.annotate("", (0.962, 0.972), (0.962, 0.915), xycoords="axes fraction", arrowprops=style)
    axis.annotate("N", (0.962, 0.905), xycoords="axes fraction", ha="center", va="top", fontsize=8, color=INK)


def _strip(figure: Figure, span: float) -> Axes:
    """The strip below the map, with the scale bar."""
    strip = figure.add_axes((EDGE / INCHES, 0.0, 1 - 2 * EDGE / INCHES, STRIP / (INCHES + STRIP)))
    side = (INCHES - 2 * EDGE) * 72  # points
    strip.set(xlim=(0, side), ylim=(0, STRIP * 72))
    strip.axis("off")
    length = nice(span / 4)
    words = f"{number(length, 'g')} km" if length >= 1 else f"{number(1000 * length, 'g')} m"
    end = length / span * side
    strip.plot([2, 2, 2 + end, 2 + end], [19, 16, 16, 19], color=INK, lw=1.0, clip_on=False)
    strip.annotate(words, (2 + end / 2, 12), ha="center", va="top", fontsize=8, color=INK)
    return strip


def _key(strip: Axes, largest: float, colour: str, label: str) -> None:
    """Two circles with their rates."""
    side = strip.get_xlim()[1]
    if largest <= 0:
        strip.annotate(
            plain(text("no {events}", events=nouns(label))), (side, 18), ha="right", va="center", fontsize=8, color=INK
        )
        return
    at = side
    for rate, unit in ((largest, text(" in 24 h")), (nice(largest / 4), "")):
        words, area = f"{number(rate, 'g')}{unit}", LARGEST * rate / largest
        strip.annotate(words, (at, 22), ha="right", va="center", fontsize=8, color=INK)
        at -= 4.4 * len(words) + 4
        radius = math.sqrt(area / math.pi)
        strip.scatter([at - radius], [22], s=area, color=colour, alpha=0.6, edgecolor=colour, lw=0.8)
        at -= 2 * radius + 12
