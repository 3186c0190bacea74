"""`loxo report RUN`: what a survey has recorded and found, as one HTML page and tables beside it.

    NAME.html           one file, opens without a network
    NAME.effort.csv     site, date, recordings, failed, cut_off, recorded_h, analysed_h; without a date: start unknown
    NAME.gaps.csv       site, start, end, hours, cause
    NAME.problems.csv   recording, status, duration_s, analysed_s, reason
    NAME.rates.csv      site, label, events, expected, weight, analysed_h, per_day with its 95 % limits, interval
    NAME.hours.csv      site, date, hour, recorded_h, analysed_h, and for each label its events and what is expected
    NAME.sun.csv        site, date, sunrise, sunset; with coordinates only

Times are wall clock (clock.py). Failure policy: a run that cannot be read is a LoxoError; what a run lacks (start
times, recordings that have moved) is said on the page and in `Report.notes`, and the rest of the page is made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from loxo.errors import LoxoError
from loxo.files import atomic_file, write_atomically
from loxo.report import page as html
from loxo.report.clock import Clock, Place, parse_coordinates, parse_zone, sun_times
from loxo.report.effort import daily_effort, find_gaps, hourly_effort, overlap_hours
from loxo.report.examples import find_examples
from loxo.report.figures import Draw, inline_svg, render, write_figure
from loxo.report.findings import Findings, Sun
from loxo.report.probabilities import COUNT, event_weights
from loxo.report.rates import hourly_events, rates
from loxo.runs.read import Places, Run, read_run

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Report:
    """What was written: the page, the tables beside it, the figures; and notes, a sentence each, for the terminal."""

    page: Path
    tables: list[Path] = field(default_factory=list)
    figures: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def report(
    run: str | Path,
    out: str | Path | None = None,
    *,
    coordinates: str | None = None,
    time_zone: str | None = None,
    clock_zone: str | None = None,
    recordings: str | Path | None = None,
    figures: str | Path | None = None,
) -> Report:
    """Writes the page (by default report.html in the run folder) and its tables.

    `coordinates` ("LAT,LON", or a CSV file with site, lat, lon) adds sunrise and sunset. `time_zone` is the zone of all
    times on the page; times with a zone are converted to it, naive ones are taken as in it, or in `clock_zone`, the
    recorders', where that is given. `recordings` is a folder in which those that
    were moved are found by their names. `figures` is a folder that gets
    each figure as SVG and PNG.
    Raises LoxoError when the folder is no run, is damaged or empty, for a bad option, and when nothing can be written.
    """
    from loxo.report.sections import report_figures, report_page

    places, clock = check_options(coordinates, time_zone, clock_zone)
    out = page_path(run, out)
    found = read_run(run, clock.local)
    result = Report(out)
    findings = _find(found, places, clock, recordings, result.notes)
    draws = report_figures(findings)
    write_page(result, report_page(findings, draw_all(draws), result.notes))
    for name, table in _tables(findings).items():
        result.tables.append(write_table(out, name, table))
    write_figures(result, draws, figures)
    return result


def check_options(
    coordinates: str | None, time_zone: str | None, clock_zone: str | None
) -> tuple[dict[str, Place], Clock]:
    """Places by site and the report's clock. Raises LoxoError for what does not fit together."""
    if clock_zone is not None and time_zone is None:
        raise LoxoError("The recorders' clock (--clock-zone) needs --time-zone, the zone to convert it to.")
    if coordinates is not None and time_zone is None:
        raise LoxoError(
            "Sunrise and sunset need the zone of the recorders' clock: give --time-zone, such as Africa/Brazzaville, "
            "+01:00 or UTC."
        )
    zone = None if time_zone is None else parse_zone(time_zone)
    recorder = None if clock_zone is None else parse_zone(clock_zone)
    return {} if coordinates is None else parse_coordinates(coordinates), Clock(zone, recorder)


def page_path(run: str | Path, out: str | Path | None) -> Path:
    out = Path(run) / "report.html" if out is None else Path(out)
    if out.suffix.lower() not in (".html", ".htm"):
        raise LoxoError(f"{out}: the report is a web page; end its name with .html.")
    return out


def _find(run: Run, places: dict[str, Place], clock: Clock, root: str | Path | None, notes: list[str]) -> Findings:
    weights = event_weights(run)
    events = run.events.assign(label=weights.labels)
    labels = list(weights.sources)
    hourly = hourly_effort(run.recordings)
    cells = hourly_events(events, weights.weights, hourly, labels)
    unknown = int(run.recordings["start"].isna().sum())
    if unknown:
        notes.append(
            f"{unknown} of {html.count(len(run.recordings), 'recording')} have no start time in their names: their "
            "events are counted, but are not in anything by date or hour."
        )
    if run.status != "finished":
        notes.append(f"The run is {run.status}: what it has not done yet is not in this report.")
    calibrated = {label: source != COUNT for label, source in weights.sources.items()}
    examples = find_examples(events.assign(weight=weights.weights), labels, calibrated, Places(run, root))
    if examples.missing:
        notes.append(
            f"{html.count(len(examples.missing), 'recording')} with events to look at could not be found or read. Say "
            "where they are now with `--recordings FOLDER`."
        )
    return Findings(
        run,
        labels,
        weights,
        cells,
        daily_effort(run.recordings, hourly),
        find_gaps(run.recordings),
        rates(events, weights.weights, labels, run.recordings, hourly),
        _sun(run, places, clock, notes),
        examples,
        overlap_hours(run.recordings),
    )


def _sun(run: Run, places: dict[str, Place], clock: Clock, notes: list[str]) -> dict[str, Sun]:
    dated = run.recordings[run.recordings["start"].notna()]
    if not places or clock.zone is None or not len(dated):
        return {}
    import pandas as pd

    days = pd.date_range(dated["start"].min().normalize(), dated["start"].max().normalize(), freq="D")
    computed = {place: sun_times(place, clock.zone, [day.date() for day in days]) for place in set(places.values())}
    found, lacking = {}, []
    for site in sorted(run.recordings["site"].unique()):
        place = places.get(site, places.get(""))
        if place is None:
            lacking.append(site or "recordings without a site")
        else:
            found[site] = computed[place]
    if lacking:
        notes.append(f"No coordinates are given for {', '.join(lacking[:5])}{' and more' if len(lacking) > 5 else ''}.")
    return found


# -- what both reports write


def draw_all(draws: dict[str, tuple[Draw, str]]) -> dict[str, str]:
    """The figures as elements of a page, by name; `draws` holds how to draw each, and what it shows in words."""
    return {name: inline_svg(render(draw, "svg", name), words) for name, (draw, words) in draws.items()}


def write_page(result: Report, content: str) -> None:
    write_atomically(result.page, content.encode())


def write_table(out: Path, name: str, table: pd.DataFrame) -> Path:
    path = out.with_suffix(f".{name}.csv")
    with atomic_file(path) as file:
        table.to_csv(file, index=False, lineterminator="\n", date_format="%Y-%m-%dT%H:%M:%S", float_format="%.6g")
    return path


def write_figures(result: Report, draws: dict[str, tuple[Draw, str]], folder: str | Path | None) -> None:
    if folder is not None:
        for name, (draw, _) in draws.items():
            write_figure(draw, Path(folder), name)
            result.figures += [Path(folder) / f"{name}.{kind}" for kind in ("svg", "png")]


def _tables(findings: Findings) -> dict[str, pd.DataFrame]:
    import pandas as pd

    recordings = findings.run.recordings
    problems = recordings.loc[recordings["reason"] != "", ["recording", "status", "duration_s", "analysed_s", "reason"]]
    never = pd.DataFrame(findings.run.problems, columns=["recording", "reason"])
    hours = findings.hourly.assign(date=findings.hourly["hour"].dt.strftime("%Y-%m-%d"))
    hours["hour"] = hours["hour"].dt.hour
    table = findings.rates.assign(weight=findings.rates["label"].map(findings.weights.sources))
    named = ["site", "label", "events", "expected", "weight", "analysed_h"]
    result = {
        "effort": findings.daily.assign(date=findings.daily["date"].dt.strftime("%Y-%m-%d")),
        "gaps": findings.gaps,
        "problems": pd.concat([problems, never.assign(status="failed")]) if len(never) else problems,
        "rates": table[[*named, "per_day", "per_day_low", "per_day_high", "interval"]],
        "hours": hours[["site", "date", *[name for name in hours if name not in ("site", "date")]]],
    }
    if findings.sun:
        rows = [(site, *row) for site, days in findings.sun.items() for row in days]
        sun = pd.DataFrame(rows, columns=["site", "date", "sunrise", "sunset"])
        for name in ("sunrise", "sunset"):
            sun[name] = pd.to_datetime(sun[name]).dt.strftime("%H:%M:%S")
        result["sun"] = sun
    return result
