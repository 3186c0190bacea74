"""Figures of a report, drawn with matplotlib: SVG for the page, SVG and PNG for papers.

Within a map colours differ in lightness only, and labels have colours of Okabe and Ito. They are distinguishable for
colour-blind readers and in grey print. Hours without analysed sound are hatched: no effort is not the same as no event.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, PowerNorm, to_hex, to_rgb
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from numpy.typing import NDArray

from loxo.files import write_atomically
from loxo.languages import text, translated, when
from loxo.report.effort import DAY_US, HOUR_US, micros
from loxo.report.rates import ALL_SITES, diel
from loxo.report.sentences import nouns

if TYPE_CHECKING:
    import pandas as pd

WIDTH = 9.8  # inches
INK, FAINT = "#2b2f33", "#8a9299"
LABEL_INK = {"rumble": "#0072B2", "gunshot": "#B85C00"}  # darker than on spectrograms, for a white background
OTHER_INK = ("#8C4A7E", "#00785A", "#5B5B5B")
MAX_PANELS = 24  # max number of sites with a panel of their own
STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.edgecolor": FAINT,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "hatch.color": "#c9ced2",
    "hatch.linewidth": 0.5,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "svg.fonttype": "none",  # text stays text, which can be searched and edited
}
Draw = Callable[[], Figure]


def figure_name(label: str) -> str:
    """A label as part of a file name."""
    return "".join(c if c.isalnum() else "-" for c in label) or "no-label"


def label_colour(label: str, labels: Sequence[str]) -> str:
    """The colour of a label on a white background."""
    others = [name for name in labels if name not in LABEL_INK]
    return LABEL_INK.get(label) or OTHER_INK[others.index(label) % len(OTHER_INK)]


def colour_map(colour: str) -> Colormap:
    """From almost white for 0 to a dark shade of `colour`. NaN is transparent."""
    red, green, blue = (0.42 * channel for channel in to_rgb(colour))
    dark = to_hex((red, green, blue))
    steps = [(0.0, "#f3f4f1"), (0.6, colour), (1.0, dark)]
    return LinearSegmentedColormap.from_list("loxo", steps)


def render(draw: Draw, kind: str, name: str, dpi: int = 150) -> bytes:
    """The bytes of a figure. The same figure and name give the same bytes."""
    style: Any = {**STYLE, "svg.hashsalt": name}
    metadata = {"svg": {"Date": None, "Creator": "Loxo"}, "png": {"Software": "Loxo"}}[kind]
    with matplotlib.rc_context(style):
        buffer = BytesIO()
        ground = "none" if kind == "svg" else "white"
        draw().savefig(buffer, format=kind, dpi=dpi, metadata=metadata, facecolor=ground)
    return buffer.getvalue()


def inline_svg(svg: bytes, title: str) -> str:
    """An SVG file as an HTML element: no prolog, no metadata, scaled to the page, with a title for screen readers."""
    import html

    whole = svg.decode()
    whole = re.sub(r"<metadata>.*?</metadata>", "", whole[whole.index("<svg") :], flags=re.DOTALL)
    opening = re.match(r"<svg[^>]*>", whole)
    assert opening is not None
    width = re.search(r'width="([\d.]+)pt"', opening[0])
    start = re.sub(r' (?:width|height)="[^"]*"', "", opening[0])
    points = float(width[1]) if width else 0.0
    shape = f' style="max-width:{points * 4 / 3:.0f}px"' + (' class="wide"' if points > 400 else "")
    start = start.replace("<svg", f'<svg role="img" aria-label="{html.escape(title)}"{shape}', 1)
    return start + whole[opening.end() :]


def write_figure(draw: Draw, folder: Path, name: str) -> None:
    for kind in ("svg", "png"):
        write_atomically(folder / f"{name}.{kind}", render(draw, kind, name, dpi=200))


# -- maps of dates and hours


def grid(cells: pd.DataFrame, column: str, days: NDArray[np.int64]) -> NDArray[np.float64]:
    """(24, days): rates per hour of sound, NaN without sound. days: first and last day in microseconds."""
    count = int((days[-1] - days[0]) // DAY_US) + 1
    events, hours = np.zeros((24, count)), np.zeros((24, count))
    at = micros(cells["hour"])
    index = ((at % DAY_US) // HOUR_US, (at - days[0]) // DAY_US)
    np.add.at(events, index, cells[column].to_numpy(float))
    np.add.at(hours, index, cells["analysed_h"].to_numpy(float))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(hours > 0, events / hours, np.nan)


def activity(
    cells: pd.DataFrame, column: str, unit: str, colour: str, sun: list[tuple[date, datetime | None, datetime | None]]
) -> Figure:
    """Rates by date and hour of day, and next to them by hour of day over all dates."""
    days = _days(cells)
    count = int((days[-1] - days[0]) // DAY_US) + 1
    figure = Figure(figsize=(WIDTH, 3.5))
    figure.set_layout_engine("constrained", wspace=0.05)  # space between the colour bar's label and the right panel
    map_width = float(np.clip(count / 7, 1.2, 4.2))
    axes = list(figure.subplots(1, 2, sharey=True, width_ratios=(map_width, 1.0)))
    rates = grid(cells, column, days)
    image = _map(axes[0], rates, days, colour, _norm(rates))
    _sun(axes[0], sun)
    axes[0].set_ylabel(text("hour of day"))
    figure.colorbar(image, ax=axes[0], label=plain(unit), pad=0.012, aspect=30).outline.set_visible(False)
    hours = np.arange(24) + 0.5
    axes[1].plot(diel(cells, column), hours, color=colour, lw=1.6, marker="o", ms=2.2)
    axes[1].set_xlim(left=0)
    axes[1].set_xlabel(text("mean rate an hour"))
    axes[1].set_title(text("all dates"), fontsize=9)
    return figure


def by_hour(
    cells: pd.DataFrame, column: str, unit: str, colour: str, sun: list[tuple[date, datetime | None, datetime | None]]
) -> Figure:
    """Rates by hour of day. The night is shaded, and hours without analysed sound are hatched."""
    rates = diel(cells, column)
    figure = Figure(figsize=(WIDTH, 2.3), layout="constrained")
    axis = figure.subplots()
    for hour in np.flatnonzero(np.isnan(rates)).tolist():
        axis.axvspan(hour, hour + 1, facecolor="none", edgecolor="#c9ced2", hatch="////", lw=0)
    rise, set_ = (_hour(time) for time in sun[len(sun) // 2][1:]) if sun else (np.nan, np.nan)
    if rise < set_:
        for start, end in ((0, rise), (set_, 24)):
            axis.axvspan(start, end, color="#dfe4e8", lw=0, zorder=0)
    axis.bar(np.arange(24) + 0.5, np.nan_to_num(rates), 0.82, color=colour)
    axis.set(xlim=(0, 24), ylabel=plain(unit), xlabel=text("hour of day"))
    axis.set_xticks(range(0, 25, 3), [f"{hour:02d}" for hour in range(0, 25, 3)])
    return figure


def by_month(months: pd.DataFrame, labels: list[str]) -> Figure:
    """Events in 24 h of sound by month, one panel per label. `months`: the rows of all sites (rates.py)."""
    shown = list(dict.fromkeys(months["month"]))
    figure = Figure(figsize=(WIDTH, 2.3), layout="constrained")
    axes = list(figure.subplots(1, len(labels), squeeze=False)[0])
    for axis, label in zip(axes, labels, strict=True):
        rows = months[months["label"] == label]
        true = bool(rows["per_day"].notna().any())
        x, colour = np.array([shown.index(month) for month in rows["month"]]), label_colour(label, labels)
        axis.bar(x, rows["per_day" if true else "listed_per_day"], 0.72, color=colour, alpha=0.75)
        if true:
            axis.vlines(x, rows["per_day_low"], rows["per_day_high"], color=INK, lw=1.1)
        words = "true {events} in 24 h" if true else "listed {events} in 24 h"
        axis.set(xlim=(-0.6, len(shown) - 0.4), title=plain(text(words, events=nouns(label))))
        step = -(-len(shown) // (18 // len(labels)))
        at = range(0, len(shown), step)
        days = [date.fromisoformat(f"{shown[k]}-01") for k in at]
        years = [f"\n{day.year}" if k == 0 or day.year != days[k - 1].year else "" for k, day in enumerate(days)]
        axis.set_xticks(at, [when(day, "%b") + year for day, year in zip(days, years, strict=True)])
    return figure


def activity_by_site(
    cells: pd.DataFrame,
    sites: list[str],
    column: str,
    unit: str,
    colour: str,
    sun: dict[str, list[tuple[date, datetime | None, datetime | None]]],
) -> Figure:
    """A small map of each site. All maps have the same scale."""
    days = _days(cells)
    sites = sites[:MAX_PANELS]
    columns = min(3, len(sites))
    rows = -(-len(sites) // columns)
    height = 0.6 + 1.75 * rows
    figure = Figure(figsize=(WIDTH, height))  # fixed layout: the constrained layout takes seconds for 24 panels
    place = {"left": 0.04, "right": 0.9, "bottom": 0.5 / height, "top": 1 - 0.25 / height, "wspace": 0.06}
    place["hspace"] = 0.25
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False, gridspec_kw=place).ravel()
    grids = {site: grid(cells[cells["site"] == site], column, days) for site in sites}
    norm = _norm(np.concatenate([values.ravel() for values in grids.values()]))
    for axis, site in zip(axes, sites, strict=False):
        image = _map(axis, grids[site], days, colour, norm, ticks=5)
        _sun(axis, sun.get(site, []))
        axis.set_title(plain(site or text("no site in the name")), fontsize=9)
    for axis in axes[len(sites) :]:
        axis.set_visible(False)
    beside = figure.add_axes((0.915, 0.5 / height, 0.012, 1 - 0.75 / height))
    figure.colorbar(image, cax=beside, label=plain(unit)).outline.set_visible(False)
    return figure


def _days(cells: pd.DataFrame) -> NDArray[np.int64]:
    at = micros(cells["hour"]) // DAY_US * DAY_US
    return np.array([at.min(), at.max()], np.int64)


def _norm(rates: NDArray[np.float64]) -> PowerNorm:
    """A square-root scale: calls come in bouts, and single calls must be visible next to them."""
    finite = rates[np.isfinite(rates)]
    top = float(np.quantile(finite, 0.998)) if len(finite) else 0.0
    return PowerNorm(0.5, vmin=0, vmax=max(top, float(finite.max(initial=0.0)) / 3) or 1.0)


def _map(
    axis: Axes, rates: NDArray[np.float64], days: NDArray[np.int64], colour: str, norm: PowerNorm, ticks: int = 9
) -> Any:
    first = date2num(days[0].astype("datetime64[us]"))
    extent = (first, first + rates.shape[1], 0.0, 24.0)
    axis.patch.set(hatch="////", facecolor="white")
    image = axis.imshow(
        rates,
        origin="lower",
        aspect="auto",
        extent=extent,
        cmap=colour_map(colour),
        norm=norm,
        interpolation="none",
    )
    axis.set_yticks(range(0, 25, 6), [f"{hour:02d}" for hour in range(0, 25, 6)])
    _dates(axis, days[0], rates.shape[1], ticks)
    return image


def _dates(axis: Axes, first: NDArray[np.int64] | np.int64, count: int, max_dates: int = 9) -> None:
    """At most `max_dates` dates below an axis of `count` days, with the year below the first date of each year."""
    days = [date(1970, 1, 1) + timedelta(days=int(first // DAY_US) + k) for k in range(count)]
    step = next((step for step in (1, 2, 3, 7, 14) if count <= step * max_dates), None)
    if step is not None:
        shown = days[::step]
        words = [when(day, f"{day.day} %b") for day in shown]
    else:
        starts = [day for day in days if day.day == 1]
        every = next((step for step in (1, 2, 3, 6) if len(starts) <= step * max_dates), 12)
        shown = [day for day in starts if (day.month - 1) % every == 0]
        words = [when(day, "%b") for day in shown]
    years = [day.year if k == 0 or day.year != shown[k - 1].year else "" for k, day in enumerate(shown)]
    axis.set_xticks(date2num(shown), [f"{word}\n{year}" for word, year in zip(words, years, strict=True)])


def _sun(axis: Axes, sun: list[tuple[date, datetime | None, datetime | None]]) -> None:
    for which in (1, 2):
        points = [(date2num(row[0]) + side, _hour(row[which])) for row in sun for side in (0, 1)]
        if points:
            x, y = zip(*points, strict=True)
            axis.plot(x, y, color="white", lw=2.2, alpha=0.8)
            axis.plot(x, y, color="#333333", lw=0.9, ls=(0, (4, 2)))


def _hour(time: Any) -> float:
    return np.nan if time is None else time.hour + time.minute / 60 + time.second / 3600


# -- effort and rates by site


def effort(daily: pd.DataFrame) -> Figure:
    """Hours analysed by site and day. A cross marks days with a recording that failed or is cut off."""
    dated = daily[daily["date"].notna()]
    sites = sorted(dated["site"].unique())
    at = micros(dated["date"])
    first, count = at.min(), int((at.max() - at.min()) // DAY_US) + 1
    hours = np.zeros((len(sites), count))
    index = (np.searchsorted(sites, dated["site"]), (at - first) // DAY_US)
    np.add.at(hours, index, dated["analysed_h"].to_numpy(float))
    figure = Figure(figsize=(WIDTH, 0.95 + 0.24 * max(len(sites), 2)), layout="constrained")
    axis = figure.subplots()
    axis.patch.set(hatch="////", facecolor="white")
    left = date2num(first.astype("datetime64[us]"))
    extent = (left, left + count, len(sites) - 0.5, -0.5)
    shown = np.where(hours > 0, hours, np.nan)
    full = LinearSegmentedColormap.from_list("effort", ["#dfe9e4", "#5f9484", "#2f6d5e"])
    image = axis.imshow(shown, aspect="auto", extent=extent, cmap=full, vmin=0, vmax=24, interpolation="none")
    axis.hlines(np.arange(1, len(sites)) - 0.5, left, left + count, color="white", lw=1.5)
    bad = (dated["failed"] + dated["cut_off"] > 0).to_numpy()
    for colour, width in (("white", 3.4), (INK, 1.3)):  # visible on every colour
        axis.plot(left + index[1][bad] + 0.5, index[0][bad], ls="", marker="x", color=colour, ms=4.5, mew=width)
    axis.set_yticks(range(len(sites)), [plain(translated(site or "no site")) for site in sites])
    axis.set_ylim(len(sites) - 0.5, -0.5)
    _dates(axis, first, count)
    bar = figure.colorbar(image, ax=axis, label=text("hours analysed"), ticks=(0, 12, 24), pad=0.012, aspect=12)
    bar.outline.set_visible(False)
    return figure


def rates_by_site(tables: dict[str, pd.DataFrame], labels: list[str]) -> Figure:
    """Events in 24 h of sound with 95 % intervals, one panel per label. Runs (by name) are drawn next to each other."""
    sites = list(dict.fromkeys(site for table in tables.values() for site in table["site"]))
    sites = [*sorted(site for site in sites if site != ALL_SITES), *[s for s in sites if s == ALL_SITES]]
    figure = Figure(figsize=(WIDTH, 0.9 + 0.27 * max(len(sites), 2) * len(tables) ** 0.5), layout="constrained")
    axes = list(figure.subplots(1, len(labels), sharey=True, squeeze=False)[0])
    for axis, label in zip(axes, labels, strict=True):
        for k, (name, table) in enumerate(tables.items()):
            rows = table[(table["label"] == label) & table["per_day"].notna()]
            y = np.array([sites.index(site) for site in rows["site"]]) + 0.32 * (k - (len(tables) - 1) / 2)
            middle = rows["per_day"].to_numpy(float)
            low, high = rows["per_day_low"].to_numpy(float), rows["per_day_high"].to_numpy(float)
            colour = label_colour(label, labels)
            axis.hlines(y, low, high, color=colour, lw=1.6, alpha=0.55)
            face = colour if k == 0 else "white"
            axis.plot(middle, y, ls="", marker="o", ms=5, mfc=face, mec=colour, mew=1.3, label=plain(name))
        axis.set_title(plain(text("true {events} in 24 h", events=nouns(label))), fontsize=9.5)
        _rate_scale(axis)
        axis.set_ylim(len(sites) - 0.5, -0.5)
        axis.grid(axis="x", color="#e4e7e9", lw=0.6)
        axis.set_axisbelow(True)
    axes[0].set_yticks(range(len(sites)), [plain(translated(site or "no site")) for site in sites])
    if len(tables) > 1:
        axes[0].legend(frameon=False, fontsize=8, loc="best")
    return figure


def _rate_scale(axis: Axes) -> None:
    """From 0. A square-root scale if one site would leave no room for the others."""
    dots = np.concatenate([line.get_xdata() for line in axis.lines] or [np.zeros(0)])
    dots = np.asarray(dots[dots > 0], float)
    end = axis.get_xlim()[1]
    if len(dots) and end > 8 * np.median(dots):
        axis.set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square))
        steps = [step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if step <= end]
        axis.set_xticks([0, *steps[-1::-2][:4][::-1]])
        axis.set_xticks([], minor=True)
        axis.set_xlabel(text("square-root scale"))
    axis.set_xlim(0, end)


def plain(words: str) -> str:
    """The words without math markup of matplotlib and without control characters, which SVG does not allow."""
    return "".join(c if c.isprintable() else "?" for c in words).replace("$", r"\$")
