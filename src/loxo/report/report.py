"""`loxo report RUN`: effort and events of a survey, as one HTML page and tables next to it.

    NAME.html           one file that needs no network
    NAME.effort.csv     site, date, recordings, failed, cut_off, recorded_h, analysed_h; date empty: start unknown
    NAME.gaps.csv       site, start, end, hours, cause
    NAME.problems.csv   recording, status, duration_s, analysed_s, reason
    NAME.rates.csv      counts and rates by site and label (rates.py)
    NAME.hours.csv      site, date, hour, recorded_h, analysed_h, and for each label its events and its estimate
    NAME.detections.csv every listed event (tidy.py)
    NAME.occasions.csv  every label, site and occasion: effort, detection, counts (tidy.py)
    NAME.history.csv    the detection histories as a matrix
    NAME.methods.txt    a paragraph for the methods section of a paper
    NAME.months.csv     counts and rates by site, label and month (rates.py)
    NAME.sun.csv        site, date, sunrise, sunset; only with coordinates
    NAME.daylight.csv   events and effort by day and by night (daylight.py); only with coordinates
    NAME.sites.csv      the sites of the table of sites, with their effort and rates; NAME.sites.geojson for maps
    NAME.clips/         a clip of each listed event (clips.py); only if asked for
    NAME.audiovisual-core.csv, NAME.aoef.json   the events in two standards (standards.py); only if asked for

Times are wall clock (clock.py). Failure policy: a run that cannot be read raises LoxoError. Missing start times and
recordings that were not found are stated on the page and in `Report.notes`; the rest of the page is complete.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING

from loxo.audio.zones import find_zone
from loxo.errors import LoxoError
from loxo.events.sites import read_sites
from loxo.files import inside, write_atomically
from loxo.languages import plural, text
from loxo.report.clips import write_clips
from loxo.report.clock import Clock, Coordinates, parse_coordinates, sun_times
from loxo.report.daylight import Sun, by_daylight
from loxo.report.effort import daily_effort, find_gaps, hourly_effort, overlap_hours
from loxo.report.examples import find_examples
from loxo.report.figures import Draw, inline_svg, render, write_figure
from loxo.report.findings import Findings
from loxo.report.methods import methods
from loxo.report.rates import by_month, hourly_events, rates
from loxo.report.reviewed import ESTIMATED, LISTED, REVIEWED, read_review
from loxo.report.sentences import NOTHING_REVIEWED
from loxo.report.sites import write_sites
from loxo.report.standards import aoef, audiovisual_core
from loxo.report.tables import write_csv
from loxo.report.tidy import check_occasion, detections, histories, occasions
from loxo.runs.read import Places, Run, check_root, read_run
from loxo.runs.sites import replace_sites, stored_sites

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Report:
    """The files that were written: page, tables, figures; notes for the terminal, and a sentence about each label."""

    page: Path
    tables: list[Path] = field(default_factory=list)
    figures: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: list[str] = field(default_factory=list)
    clips: Path | None = None  # folder


def report(
    run: str | Path,
    out: str | Path | None = None,
    *,
    coordinates: str | None = None,
    time_zone: str | None = None,
    clock_zone: str | None = None,
    sites: str | Path | None = None,
    recordings: str | Path | None = None,
    figures: str | Path | None = None,
    occasion_hours: int = 24,
    standards: bool = False,
    clips: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Writes the page (by default report.html in the run folder) and its tables.

    `coordinates` ("LAT,LON") adds sunrise and sunset at sites without coordinates. `time_zone` is the zone of all times
    on the page (clock.py); `clock_zone` is the zone of the recorders' clocks, if it is another one. `sites` is a table
    of sites, which replaces that of the run (loxo.runs.sites). `recordings` is a folder in which moved recordings are
    found by their names. Each figure is also written into the folder `figures`, as SVG and PNG. `occasion_hours` is the
    length of an occasion in the detection histories. With `standards` the events are also written in the terms of
    Audiovisual Core and as AOEF. With `clips` each listed event is also written as a clip with its spectrogram;
    on_progress receives (clips, all clips).
    Raises LoxoError when the folder is not a run, is damaged or empty, for a wrong option, and on a write error.
    """
    from loxo.report.sections import count_sentences, report_figures, report_page

    table = stored_sites(run) if sites is None else read_sites(sites)
    has_zones = table is not None and any(site.time_zone for site in table.sites.values())
    place, clock = check_options(coordinates, time_zone, clock_zone, has_zones)
    check_occasion(occasion_hours)
    out = page_path(run, out)
    check_root(recordings)
    result = Report(out)
    replaced = [] if sites is None else replace_sites(run, sites)
    found = read_run(run, clock.local)
    result.notes += found.notes
    findings = _collect(found, place, clock, recordings, result.notes)
    result.counts = [count_sentences(findings, label)[0] for label in findings.labels]
    draws = report_figures(findings)
    write_page(result, report_page(findings, draw_all(draws), result.notes))
    result.notes += replaced  # on the run folder, not on the page
    for name, rows in _tables(findings).items():
        result.tables.append(write_table(out, name, rows))
    result.tables += write_sites(out, findings)
    _write_tidy(result, findings, occasion_hours)
    if standards:
        _write_standards(result, findings, Places(found, recordings))
    write_figures(result, draws, figures)
    if clips:
        folder = out.with_suffix(".clips")
        result.notes += write_clips(folder, _events(findings), Places(found, recordings), on_progress)
        result.clips = folder
    return result


def check_options(
    coordinates: str | None, time_zone: str | None, clock_zone: str | None, has_zones: bool = False
) -> tuple[Coordinates | None, Clock]:
    """The coordinates and the report's clock. `has_zones`: the table of sites has time zones. Raises LoxoError for a
    wrong combination of options."""
    if clock_zone is not None and time_zone is None and not has_zones:
        raise LoxoError(
            "--clock-zone needs --time-zone: give the zone to which times of the recorders' clocks are converted."
        )
    if coordinates is not None and time_zone is None and not has_zones:
        raise LoxoError(
            "Sunrise and sunset need the zone of the times on the page: give --time-zone, such as "
            "Africa/Brazzaville, +01:00 or UTC."
        )
    zone = None if time_zone is None else find_zone(time_zone)
    recorder = None if clock_zone is None else find_zone(clock_zone)
    return None if coordinates is None else parse_coordinates(coordinates), Clock(zone, recorder)


def page_path(run: str | Path, out: str | Path | None) -> Path:
    out = Path(run) / "report.html" if out is None else Path(out)
    if out.suffix.lower() not in (".html", ".htm"):
        raise LoxoError(f"{out}: the report is a web page. Give a name that ends with .html.")
    return out


def _collect(
    run: Run, coordinates: Coordinates | None, clock: Clock, root: str | Path | None, notes: list[str]
) -> Findings:
    reviewed = read_review(run)
    events = run.events.assign(label=reviewed.labels)
    labels = list(dict.fromkeys([*run.labels, *sorted(set(reviewed.labels[reviewed.confirmed]))]))
    hourly = hourly_effort(run.recordings)
    sun = _sun(run, coordinates, clock, notes)
    if _newer_decisions(run):
        notes.append(
            text(
                "The review has decisions that were not exported, so they do not count here. Run `loxo review "
                "{run} --export`, and write this report again.",
                run=run.folder,
            )
        )
    elif len(events) and all(reviewed.state(label) == LISTED for label in labels):
        notes.append(text(NOTHING_REVIEWED, run=run.folder))
    unknown = int(run.recordings["start"].isna().sum())
    if unknown:
        notes.append(
            text(
                "Recordings without a start time in their names: {unknown:,} of {n:,}. Their events count in the "
                "totals, but not in tables and figures by date or hour.",
                unknown=unknown,
                n=len(run.recordings),
            )
        )
    if run.status != "finished":
        words = "The run is {status}: this report contains only the recordings that it has finished."
        notes.append(text(words, status=text(run.status)))
    estimated = {label: reviewed.state(label) == ESTIMATED for label in labels}
    examples = find_examples(events.assign(probability=reviewed.probability()), labels, estimated, Places(run, root))
    if examples.missing:
        one = (
            "{n} recording with example events could not be found or read. Give their folder with `--recordings "
            "FOLDER`."
        )
        other = (
            "{n} recordings with example events could not be found or read. Give their folder with `--recordings "
            "FOLDER`."
        )
        notes.append(plural(len(examples.missing), one, other))
    return Findings(
        run,
        labels,
        reviewed,
        hourly_events(events, reviewed, hourly, labels),
        daily_effort(run.recordings, hourly),
        find_gaps(run.recordings),
        rates(events, reviewed, labels, run.recordings),
        by_month(events, reviewed, labels, hourly),
        by_daylight(events, reviewed, labels, hourly, sun),
        sun,
        examples,
        overlap_hours(run.recordings),
    )


def _newer_decisions(run: Run) -> bool:
    """Whether a decision log was written after the last export of the review."""
    export = inside(run.folder, f"{REVIEWED}/decisions.csv")
    logs = [path.stat().st_mtime for path in inside(run.folder, "review").glob("*.jsonl")]
    return bool(logs) and (not export.is_file() or max(logs) > export.stat().st_mtime)


def _sun(run: Run, coordinates: Coordinates | None, clock: Clock, notes: list[str]) -> dict[str, Sun]:
    dated = run.recordings[run.recordings["start"].notna()]
    places = {name: site.coordinates or coordinates for name, site in run.sites.items()}
    if not any(places.values()) or not len(dated):
        return {}
    import pandas as pd

    span = pd.date_range(dated["start"].min().normalize(), dated["start"].max().normalize(), freq="D")
    days = [day.date() for day in span]
    computed: dict[tuple[Coordinates, tzinfo], Sun] = {}
    found, lacking = {}, []
    for name, site in sorted(run.sites.items()):
        place, zone = places[name], clock.zone or site.zone
        if place is None or zone is None:
            lacking.append(name or text("recordings without a site"))
            continue
        if (place, zone) not in computed:
            computed[place, zone] = sun_times(place, zone, days)
        found[name] = computed[place, zone]
    if lacking:
        words = ", ".join(lacking[:5])
        notes.append(
            text(
                "Sunrise and sunset are not shown for {sites}: coordinates or the time zone are missing in the table "
                "of sites.",
                sites=text("{sites} and more", sites=words) if len(lacking) > 5 else words,
            )
        )
    return found


def _write_tidy(result: Report, findings: Findings, occasion_hours: int) -> None:
    out, reviewed = result.page, findings.reviewed
    table = occasions(_events(findings), reviewed, findings.labels, findings.hourly, occasion_hours)
    result.tables.append(write_table(out, "detections", detections(_events(findings), reviewed)))
    result.tables.append(write_table(out, "occasions", table, unknown="NA"))
    result.tables.append(write_table(out, "history", histories(table), unknown="NA"))
    path = out.with_suffix(".methods.txt")
    write_atomically(path, ("\n".join(methods(findings)) + "\n").encode())
    result.tables.append(path)


def _write_standards(result: Report, findings: Findings, places: Places) -> None:
    table = detections(_events(findings), findings.reviewed)
    result.tables.append(write_table(result.page, "audiovisual-core", audiovisual_core(findings.run, table)))
    path = result.page.with_suffix(".aoef.json")
    write_atomically(path, json.dumps(aoef(findings.run, table, places, result.notes)).encode())
    result.tables.append(path)


def _events(findings: Findings) -> pd.DataFrame:
    return findings.run.events.assign(label=findings.reviewed.labels)


# -- used by reports and comparisons


def draw_all(draws: dict[str, tuple[Draw, str]]) -> dict[str, str]:
    """The figures as HTML elements, by name. `draws` contains the function that draws each one, and its description."""
    return {name: inline_svg(render(draw, "svg", name), words) for name, (draw, words) in draws.items()}


def write_page(result: Report, content: str) -> None:
    write_atomically(result.page, content.encode())


def write_table(out: Path, name: str, table: pd.DataFrame, unknown: str = "") -> Path:
    path = out.with_suffix(f".{name}.csv")
    write_csv(path, table, unknown)
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
    result = {
        "effort": findings.daily.assign(date=findings.daily["date"].dt.strftime("%Y-%m-%d")),
        "gaps": findings.gaps,
        "problems": pd.concat([problems, never.assign(status="failed")]) if len(never) else problems,
        "rates": findings.rates,
        "months": findings.months,
        "hours": hours[["site", "date", *[name for name in hours if name not in ("site", "date")]]],
    }
    if findings.sun:
        rows = [(site, *row) for site, days in findings.sun.items() for row in days]
        sun = pd.DataFrame(rows, columns=["site", "date", "sunrise", "sunset"])
        for name in ("sunrise", "sunset"):
            sun[name] = pd.to_datetime(sun[name]).dt.strftime("%H:%M:%S")
        result["sun"] = sun
        result["daylight"] = findings.daylight
    return result
