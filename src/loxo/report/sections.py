"""The sections and figures of the page about one run."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from loxo.audio.filenames import base_name
from loxo.report import figures, page, sentences
from loxo.report.clock import are_near
from loxo.report.estimate import Count
from loxo.report.methods import methods
from loxo.report.rates import ALL_SITES
from loxo.report.reviewed import ESTIMATED, threshold_of
from loxo.report.sites import site_figures, site_section
from loxo.runs.record import RECORD

if TYPE_CHECKING:
    import pandas as pd

    from loxo.report.figures import Draw
    from loxo.report.findings import Findings
    from loxo.runs.read import Run

MAX_REASONS = 5  # reasons shown why recordings could not be drawn
BY_CLASS = ("decoding", "calibration", "curves")  # parameters with values by class
MAX_ROWS = 40  # max number of rows of a table on the page; the CSV files contain all rows

Draws = dict[str, "tuple[Draw, str]"]


def report_figures(found: Findings) -> Draws:
    """The function that draws each figure, and its description, by file name."""
    draws: Draws = {}
    sites = sorted(found.hourly["site"].unique())
    labels = found.labels
    if len(found.hourly):
        suns = list(found.sun.values())
        one_sun = suns[0] if suns and all(are_near(sun, suns[0]) for sun in suns) else []
        for label in labels:
            colour = figures.label_colour(label, labels)
            column = f"{label} estimate"
            unit = f"true {label}s an hour"
            if column not in found.hourly:
                column, unit = label, f"listed {label}s an hour"
            draw: Draw = partial(figures.activity, found.hourly, column, unit, colour, one_sun)
            name = figure_name(label)
            draws[f"activity-{name}"] = (draw, f"{unit} by date and hour of day")
            if len(sites) > 1:
                draw = partial(figures.activity_by_site, found.hourly, sites, column, unit, colour, found.sun)
                draws[f"activity-{name}-by-site"] = (draw, f"{unit} by date and hour of day, by site")
        draws["effort"] = (partial(figures.effort, found.daily), "hours analysed by site and date")
    draws |= site_figures(found)
    estimated = estimated_labels(found.rates)
    if estimated:
        draws["rates"] = (partial(figures.rates_by_site, {"": found.rates}, estimated), "rates by site")
    for label, examples in found.examples.shown.items():
        if examples:
            words = f"spectrograms of the strongest, typical and doubtful {label}s"
            draws[f"examples-{figure_name(label)}"] = (partial(figures.example_sheet, examples), words)
    return draws


def estimated_labels(*rates: pd.DataFrame) -> list[str]:
    """Labels with an estimated rate in one of the tables of rates."""
    return list(dict.fromkeys(label for table in rates for label in table.loc[table["per_day"].notna(), "label"]))


def figure_name(label: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in label) or "no-label"


def report_page(found: Findings, svg: dict[str, str], notes: list[str]) -> str:
    """The page as HTML."""
    run = found.run
    sections = [
        ("rates", "Counts and rates", _rates(found, svg)),
        *site_section(found, svg),
        ("activity", "Activity by date and hour", _activity(found, svg)),
        ("events", "Example events", _examples(found, svg)),
        ("effort", "Effort", _effort(found, svg)),
        ("run", "Model and parameters", parameters([run]) + _model(found)),
        ("method", "Methods", _method(found)),
        ("cite", "How to describe Loxo in your methods", page.paragraph(" ".join(methods(found)))),
    ]
    title = f"Survey report: {run.folder.resolve().name}"
    warnings = "".join(page.paragraph(note, "warn") for note in notes)
    lead = page.text(_lead(found))
    footer = f"Made by Loxo {page.text(_version())} from {page.text(run.folder / RECORD)}."
    return page.page(title, lead, page.fact_list(_facts(found)) + warnings, sections, footer)


def _version() -> str:
    import loxo

    return loxo.__version__


def _lead(found: Findings) -> str:
    recordings = found.run.recordings
    dated = recordings[recordings["start"].notna()]
    words = [page.count(len(recordings), "recording")]
    sites = [site for site in recordings["site"].unique() if site]
    if sites:
        words.append(page.count(len(sites), "site"))
    if len(dated):
        words.append(page.span(dated["start"].min(), dated["start"].max()))
    return " · ".join(words)


def _facts(found: Findings) -> list[tuple[str, str, str]]:
    recordings = found.run.recordings
    recorded, analysed = (float(recordings[name].sum()) / 3600 for name in ("duration_s", "analysed_s"))
    facts = [("analysed", page.hours(analysed), f"of {page.hours(recorded)} recorded")]
    total = found.rates["site"].eq(ALL_SITES)
    table = found.rates[total] if total.any() else found.rates
    for row in table.to_dict("records"):
        label = row["label"] or "event"
        if found.reviewed.state(row["label"]) == ESTIMATED:
            small = f"true of {row['events']:,} listed; 95 %: {row['low']:,.0f} to {row['high']:,.0f}"
            number = f"{round(row['estimate']):,}"
        else:
            number = f"{row['events']:,}"
            small = f"listed, {row['reviewed']:,} reviewed" if row["reviewed"] else "listed, not checked"
        facts.append((f"{label}s", number, small))
    failed, cut = (int((recordings["status"] == status).sum()) for status in ("failed", "truncated"))
    failed += len(found.run.problems)
    facts.append(("problems", f"{failed + cut:,}", f"{failed} failed, {cut} cut off" if failed + cut else "none"))
    recovered, noted = found.run.counts["recovered"], found.run.counts["noted"]
    if recovered + noted:
        facts.append(("notes", f"{recovered + noted:,}", f"{recovered} recovered, {noted} noted"))
    return facts


def _rates(found: Findings, svg: dict[str, str]) -> str:
    parts = []
    for label in found.labels:
        parts.append(f"<h3>{page.text(label)}s</h3>")
        parts += [page.paragraph(sentence) for sentence in count_sentences(found, label)]
    drawn = found.reviewed.drawn
    if drawn:
        parts.append(
            page.paragraph(
                f"{page.count(drawn, 'event')} found only by reviewers {'is' if drawn == 1 else 'are'} not counted, "
                "because reviewers did not search all recordings."
            )
        )
    if "rates" in svg:
        caption = "True events in 24 h of analysed sound, with 95 % intervals for days like those of the survey."
        parts.append(page.figure(svg["rates"], caption))
    columns = ["site", "label", "analysed#", "listed#", "reviewed#", "confirmed#"]
    estimated = bool(estimated_labels(found.rates)) or found.rates["estimate"].notna().any()
    rows = []
    for row in found.rates.to_dict("records"):
        site = row["site"] if row["site"] == ALL_SITES else row["site"] or "no site in the name"
        cells = [site, row["label"], page.hours(row["analysed_h"])]
        cells += [f"{row[name]:,}" for name in ("events", "reviewed", "confirmed")]
        if estimated:
            cells.append(page.whole_interval(row["estimate"], row["low"], row["high"]))
            cells.append(page.interval(row["per_day"], row["per_day_low"], row["per_day_high"]))
        rows.append(cells)
    if estimated:
        columns += ["true events (95 %)#", "true in 24 h (95 %)#"]
    parts.append(_cut(columns, rows, "rates", total=ALL_SITES))
    return "".join(parts)


def count_sentences(found: Findings, label: str) -> list[str]:
    """What is known about the number of true events of a label, and what is not counted."""
    reviewed = found.reviewed
    table = found.rates[found.rates["label"] == label]
    row: dict[Any, Any] = table.to_dict("records")[-1]  # of all sites, if there are several
    if reviewed.state(label) != ESTIMATED:
        return [sentences.not_an_estimate(label, row["events"], row["reviewed"], reviewed.needed(label))]
    total, curve = Count(row["estimate"], row["low"], row["high"]), reviewed.fits.get(label)
    said = [
        sentences.number_of_true_events(label, row["events"], row["reviewed"], row["confirmed"], total, curve),
    ]
    if curve is not None:
        said.append(sentences.not_counted(curve, reviewed.scores[reviewed.not_counted(label)]))
        said += sentences.keep(curve, reviewed.scores[reviewed.detected == label])
    calls = sentences.all_calls(label, total, reviewed.recall.get(label, {}))
    said.append(calls or sentences.not_listed(label, threshold_of(found.run, label)))
    return [sentence for sentence in said if sentence]


def _activity(found: Findings, svg: dict[str, str]) -> str:
    if not len(found.hourly):
        return page.paragraph(
            "No recording has a start time in its name, so there is no figure by date or hour. Names with a start time "
            "are, for example, nn01a_20180126_000000.wav, S4A03895_20190522_000000.wav or 20190522_000000.WAV."
        )
    what = "Events per hour of analysed sound. Hatched: no analysed sound."
    sun = " Dashed lines: sunrise and sunset." if found.sun else ""
    parts = [page.paragraph(what + sun, "note")]
    sites = sorted(found.hourly["site"].unique())
    for label in found.labels:
        parts.append(f"<h3>{page.text(label)}s</h3>")
        name = f"activity-{figure_name(label)}"
        over = " All sites combined." if len(sites) > 1 else ""
        listed = "" if f"{label} estimate" in found.hourly else " Listed events, not checked."
        caption = f"Each column is a day, each row an hour of the wall clock.{over}{listed}"
        parts.append(page.figure(svg[name], caption))
        if f"{name}-by-site" in svg:
            left_out = len(sites) - figures.MAX_PANELS
            more = (
                f" The first {figures.MAX_PANELS} of {len(sites)} sites; the CSV contains all." if left_out > 0 else ""
            )
            parts.append(page.figure(svg[f"{name}-by-site"], f"Each site, with the same scale.{more}"))
    return "".join(parts)


def _examples(found: Findings, svg: dict[str, str]) -> str:
    parts = [
        page.paragraph(
            "Strongest: the highest scores. Typical: scores nearest the median. Doubtful: after a review the events "
            "nearest a probability of 0.5, else the lowest scores. Each kind shows different recordings if possible. "
            "The title of a picture is its score and recording. Times are from the start of the recording; levels are "
            "in dB relative to the median of each frequency.",
            "note",
        )
    ]
    for label in found.labels:
        name = f"examples-{figure_name(label)}"
        if name in svg:
            parts.append(f"<h3>{page.text(label)}s</h3>{page.figure(svg[name])}")
        elif (found.reviewed.labels == label).any():
            parts.append(page.paragraph(f"No recording with {label}s was found that could be drawn.", "warn"))
        else:
            parts.append(page.paragraph(f"No {label}s are listed."))
    if found.examples.missing:
        parts.append(page.paragraph("Recordings that could not be shown; the next event was used instead:", "note"))
        reasons = list(found.examples.missing.values())
        parts.append(page.table(["recording and reason*"], [(reason,) for reason in reasons[:MAX_REASONS]]))
        if len(reasons) > MAX_REASONS:
            parts.append(page.paragraph(f"and {len(reasons) - MAX_REASONS} more.", "note"))
    return "".join(parts)


def _effort(found: Findings, svg: dict[str, str]) -> str:
    run, parts = found.run, []
    if "effort" in svg:
        caption = "Hours analysed by site and day. Hatched: no analysed sound. Cross: a recording failed or is cut off."
        parts.append(page.figure(svg["effort"], caption))
    rows = []
    for site, days in found.daily.groupby("site"):
        dated = days[days["date"].notna()]
        gaps = found.gaps[found.gaps["site"] == site]
        of_site = run.recordings[run.recordings["site"] == site]
        seconds = [float(of_site[name].sum()) / 3600 for name in ("duration_s", "analysed_s")]
        used = int((dated["analysed_h"] > 0).sum())
        when = page.span(dated["date"].iloc[0], dated["date"].iloc[-1]) if len(dated) else "not known"
        rows.append((site or "no site in the name", when, len(of_site), int(days["failed"].sum()),
                     int(days["cut_off"].sum()), *map(page.hours, seconds), f"{used} of {len(dated)}",
                     f"{len(gaps)}: {page.hours(float(gaps['hours'].sum()))}" if len(gaps) else "none"))  # fmt: skip
    columns = ["site", "dates", "recordings#", "failed#", "cut off#", "recorded#", "analysed#", "days with sound#"]
    parts.append(_cut([*columns, "gaps#"], rows, "effort"))
    if found.overlap_h > 0.02:
        parts.append(
            page.paragraph(
                f"{page.hours(found.overlap_h)} were recorded more than once at a site (copies, or two recorders with "
                "the same name). Each recording counts.",
                "warn",
            )
        )
    if len(found.gaps):
        parts.append("<h3>Gaps, longest first</h3>")
        longest = found.gaps.sort_values("hours", ascending=False, kind="stable")
        gap_rows = [
            (gap["site"] or "no site in the name", f"{gap['start']:%Y-%m-%d %H:%M}", f"{gap['end']:%Y-%m-%d %H:%M}",
             page.hours(gap["hours"]), gap["cause"])
            for gap in longest.head(MAX_ROWS + 1).to_dict("records")
        ]  # fmt: skip
        parts.append(_cut(["site", "from", "to", "length#", "cause*"], gap_rows, "gaps", len(longest)))
    troubles = run.recordings[run.recordings["reason"] != ""]
    if len(troubles) or run.problems:
        parts.append("<h3>Recordings that failed or are cut off</h3>")
        names = troubles[["recording", "status", "reason"]].to_numpy().tolist()
        words = {"truncated": "cut off"}
        problems = [(base_name(name), words.get(status, status), reason) for name, status, reason in names]
        problems += [(name, "failed", sentence) for name, sentence in run.problems]
        parts.append(_cut(["recording*", "status", "reason*"], problems, "problems"))
    noted = run.recordings[(run.recordings["status"] == "done") & (run.recordings["notes"].str.len() > 0)]
    if len(noted):
        parts.append("<h3>Recordings that were read whole, with a note</h3>")
        notes = [(base_name(name), " ".join(words)) for name, words in noted[["recording", "notes"]].to_numpy()]
        parts.append(_cut(["recording*", "note*"], notes))
    return "".join(parts)


def _cut(columns: list[str], rows: list[Any], csv: str = "", whole: int | None = None, total: str | None = None) -> str:
    """A table of the first MAX_ROWS rows, and a note about the file that contains the others."""
    whole = len(rows) if whole is None else whole
    made = page.table(columns, rows[:MAX_ROWS], total)
    if whole > MAX_ROWS:
        where = f". All rows are in the file .{csv}.csv next to this page" if csv else ""
        made += page.paragraph(f"{MAX_ROWS} of {whole:,} rows{where}.", "note")
    return made


def parameters(runs: list[Run]) -> str:
    """The parameters of the runs, one column per run. Of several runs, the parameters that differ come first."""
    names = list(dict.fromkeys(name for run in runs for name in run.parameters if name not in BY_CLASS))
    rows: list[tuple[Any, ...]] = [("status", *[run.status for run in runs])]
    rows += [(name, *[_word(run.parameters.get(name)) for run in runs]) for name in names]
    labels = dict.fromkeys(label for run in runs for label in run.parameters.get("decoding") or {})
    for label in labels:
        fields = dict.fromkeys(f for run in runs for f in (run.parameters.get("decoding") or {}).get(label, {}))
        rows += [
            (f"{label}: {f}", *[_word((run.parameters.get("decoding") or {}).get(label, {}).get(f)) for run in runs])
            for f in fields
        ]
    columns = ["parameter", *[f"{run.folder.resolve().name}*" for run in runs]]
    if len(runs) == 1:
        return page.table(columns, rows)
    other = [row for row in rows if len(set(row[1:])) > 1]
    differing = page.table(columns, other) if other else page.paragraph("All parameters are the same.")
    return f"{differing}<h3>The same in both</h3>{page.table(columns, [row for row in rows if row not in other])}"


def _word(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items() if part is not None) or "default"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "from the model" if value is None else f"{value}"


def _model(found: Findings) -> str:
    """The data on which the model's operating curves were measured."""
    curves = found.run.parameters.get("curves") or {}
    sentences = [f"False positives of {label}s were measured on: {curve['data']}" for label, curve in curves.items()]
    return "".join(page.paragraph(sentence, "note") for sentence in sentences)


def _method(found: Findings) -> str:
    sentences = [
        "One hour of effort is one hour of analysed sound. Times are the wall clock in the names of the recordings, "
        "converted to the time zone of the report, or else of each site, if one was given.",
        "Events are listed at the thresholds of the run. Events that the detector missed are in no count.",
        "The number of true events is stated only after a review. Its 95 % interval contains the uncertainty of the "
        "sample: the true number among the listed events lies in 95 of 100 such intervals. The interval of a rate also "
        "contains the chance of the days: it holds for days like those of the survey, and calls of one day may come "
        "together.",
        "A gap is a pause in analysed sound that is longer than one minute and longer than 1.5 times the usual pause "
        "of a site with a recording schedule.",
        "Dates and hours without analysed sound are hatched, not empty: no effort is not the same as no events.",
    ]
    return "".join(page.paragraph(sentence, "note") for sentence in sentences)
