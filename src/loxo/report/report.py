"""`loxo report RUN`: effort and events of a survey, as one HTML page and tables next to it.

    NAME.html           one file that needs no network
    NAME.effort.csv     site, date, recordings, failed, cut_off, recorded_h, analysed_h; date empty: start unknown
    NAME.gaps.csv       site, start, end, hours, cause
    NAME.problems.csv   recording, status, duration_s, analysed_s, reason
    NAME.rates.csv      site, label, events, expected, source (of the probabilities), analysed_h, per_day with its 95 %
                        limits, interval
    NAME.hours.csv      site, date, hour, recorded_h, analysed_h, and for each label its events and its expected events
    NAME.sun.csv        site, date, sunrise, sunset; only with coordinates

Times are wall clock (clock.py). Failure policy: a run that cannot be read raises LoxoError. Missing start times and
recordings that were not found are stated on the page and in `Report.notes`; the rest of the page is complete.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from loxo.audio.zones import find_zone
from loxo.errors import LoxoError
from loxo.events.cells import safe_cell
from loxo.files import atomic_file, write_atomically
from loxo.report import page as html
from loxo.report.clock import Clock, Coordinates, parse_coordinates, sun_times
from loxo.report.effort import daily_effort, find_gaps, hourly_effort, overlap_hours
from loxo.report.examples import find_examples
from loxo.report.figures import Draw, inline_svg, render, write_figure
from loxo.report.findings import Findings, Sun
from loxo.report.probabilities import COUNT, event_probabilities
from loxo.report.rates import hourly_events, rates
from loxo.runs.read import Places, Run, read_run

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Report:
    """The files that were written: page, tables, figures; and notes for the terminal, one sentence each."""

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
    times on the page (clock.py); `clock_zone` is the zone of the recorders' clocks, if it is another one. `recordings`
    is a folder in which moved recordings are found by their names. Each figure is also written into the folder
    `figures`, as SVG and PNG.
    Raises LoxoError when the folder is not a run, is damaged or empty, for a wrong option, and on a write error.
    """
    from loxo.report.sections import report_figures, report_page

    sites, clock = check_options(coordinates, time_zone, clock_zone)
    out = page_path(run, out)
    found = read_run(run, clock.local)
    result = Report(out)
    findings = _collect(found, sites, clock, recordings, result.notes)
    draws = report_figures(findings)
    write_page(result, report_page(findings, draw_all(draws), result.notes))
    for name, table in _tables(findings).items():
        result.tables.append(write_table(out, name, table))
    write_figures(result, draws, figures)
    return result


def check_options(
    coordinates: str | None, time_zone: str | None, clock_zone: str | None
) -> tuple[dict[str, Coordinates], Clock]:
    """Coordinates by site, and the report's clock. Raises LoxoError for a wrong combination of options."""
    if clock_zone is not None and time_zone is None:
        raise LoxoError(
            "--clock-zone needs --time-zone: give the zone to which times of the recorders' clocks are converted."
        )
    if coordinates is not None and time_zone is None:
        raise LoxoError(
            "Sunrise and sunset need the zone of the times on the page: give --time-zone, such as "
            "Africa/Brazzaville, +01:00 or UTC."
        )
    zone = None if time_zone is None else find_zone(time_zone)
    recorder = None if clock_zone is None else find_zone(clock_zone)
    return {} if coordinates is None else parse_coordinates(coordinates), Clock(zone, recorder)


def page_path(run: str | Path, out: str | Path | None) -> Path:
    out = Path(run) / "report.html" if out is None else Path(out)
    if out.suffix.lower() not in (".html", ".htm"):
        raise LoxoError(f"{out}: the report is a web page. Give a name that ends with .html.")
    return out


def _collect(
    run: Run, sites: dict[str, Coordinates], clock: Clock, root: str | Path | None, notes: list[str]
) -> Findings:
    probabilities = event_probabilities(run)
    events = run.events.assign(label=probabilities.labels)
    labels = list(probabilities.sources)
    hourly = hourly_effort(run.recordings)
    cells = hourly_events(events, probabilities.probabilities, hourly, labels)
    unknown = int(run.recordings["start"].isna().sum())
    if unknown:
        notes.append(
            f"{unknown} of {html.count(len(run.recordings), 'recording')} have no start time in their names. Their "
            "events count in the totals, but not in tables and figures by date or hour."
        )
    if run.status != "finished":
        notes.append(f"The run is {run.status}: this report contains only the recordings that it has finished.")
    calibrated = {label: source != COUNT for label, source in probabilities.sources.items()}
    examples = find_examples(
        events.assign(probability=probabilities.probabilities), labels, calibrated, Places(run, root)
    )
    if examples.missing:
        notes.append(
            f"{html.count(len(examples.missing), 'recording')} with example events could not be found or read. Give "
            "their folder with `--recordings FOLDER`."
        )
    return Findings(
        run,
        labels,
        probabilities,
        cells,
        daily_effort(run.recordings, hourly),
        find_gaps(run.recordings),
        rates(events, probabilities.probabilities, labels, run.recordings, hourly),
        _sun(run, sites, clock, notes),
        examples,
        overlap_hours(run.recordings),
    )


def _sun(run: Run, sites: dict[str, Coordinates], clock: Clock, notes: list[str]) -> dict[str, Sun]:
    dated = run.recordings[run.recordings["start"].notna()]
    if not sites or clock.zone is None or not len(dated):
        return {}
    import pandas as pd

    days = pd.date_range(dated["start"].min().normalize(), dated["start"].max().normalize(), freq="D")
    computed = {place: sun_times(place, clock.zone, [day.date() for day in days]) for place in set(sites.values())}
    found, lacking = {}, []
    for site in sorted(run.recordings["site"].unique()):
        place = sites.get(site, sites.get(""))
        if place is None:
            lacking.append(site or "recordings without a site")
        else:
            found[site] = computed[place]
    if lacking:
        notes.append(
            f"No coordinates were given for {', '.join(lacking[:5])}{' and more' if len(lacking) > 5 else ''}."
        )
    return found


# -- used by reports and comparisons


def draw_all(draws: dict[str, tuple[Draw, str]]) -> dict[str, str]:
    """The figures as HTML elements, by name. `draws` contains the function that draws each one, and its description."""
    return {name: inline_svg(render(draw, "svg", name), words) for name, (draw, words) in draws.items()}


def write_page(result: Report, content: str) -> None:
    write_atomically(result.page, content.encode())


def write_table(out: Path, name: str, table: pd.DataFrame) -> Path:
    path = out.with_suffix(f".{name}.csv")
    with atomic_file(path) as file:
        text = table.select_dtypes(["object", "string"]).columns
        safe = {name: table[name].map(lambda cell: safe_cell(cell) if isinstance(cell, str) else cell) for name in text}
        table = table.assign(**safe).rename(columns=safe_cell)  # some columns have the name of a label
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
    table = findings.rates.assign(source=findings.rates["label"].map(findings.probabilities.sources))
    named = ["site", "label", "events", "expected", "source", "analysed_h"]
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
