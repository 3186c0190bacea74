"""The sections and figures of the page about one run."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from loxo.languages import number, plural, text, translated
from loxo.report import cards, figures, page, sentences
from loxo.report.estimate import Count
from loxo.report.examples import KINDS
from loxo.report.figures import figure_name
from loxo.report.methods import methods
from loxo.report.rates import ALL_SITES
from loxo.report.reviewed import ESTIMATED, threshold_of
from loxo.report.run_sections import effort_section, model_section, parameters
from loxo.report.sentences import noun, nouns
from loxo.report.sites import site_figures, site_section
from loxo.report.summary import summary, totals
from loxo.report.when import MIN_DAYS, days_with_sound, when_figures, when_section
from loxo.runs.record import RECORD

if TYPE_CHECKING:
    import pandas as pd

    from loxo.report.figures import Draw
    from loxo.report.findings import Findings

MAX_REASONS = 5  # reasons shown why recordings could not be drawn
MIN_HOURS = 24.0  # of analysed sound, for a rate in 24 h

Draws = dict[str, "tuple[Draw, str]"]


def report_figures(found: Findings) -> Draws:
    """The function that draws each figure, and its description, by file name. Nothing is drawn that shows nothing."""
    draws = when_figures(found)
    if days_with_sound(found) >= MIN_DAYS and _varies(found.daily):
        draws["effort"] = (partial(figures.effort, found.daily), text("hours analysed by site and date"))
    draws |= site_figures(found)
    estimated = estimated_labels(found.rates)
    if estimated and found.rates["site"].eq(ALL_SITES).any():
        draws["rates"] = (partial(figures.rates_by_site, {"": found.rates}, estimated), text("rates by site"))
    for label, examples in found.examples.shown.items():
        if examples:
            words = text("spectrograms of the strongest, typical and doubtful {events}", events=nouns(label))
            draws[f"examples-{figure_name(label)}"] = (partial(cards.sheet, examples), words)
    return draws


def _varies(daily: pd.DataFrame) -> bool:
    """Whether sites or days differ in their effort."""
    dated = daily[daily["date"].notna()]
    troubled = bool((dated["failed"] + dated["cut_off"]).any())
    return troubled or dated["site"].nunique() > 1 or float(np.ptp(dated["analysed_h"])) > 0.5


def estimated_labels(*rates: pd.DataFrame) -> list[str]:
    """Labels with an estimated rate in one of the tables of rates."""
    return list(dict.fromkeys(label for table in rates for label in table.loc[table["per_day"].notna(), "label"]))


def report_page(found: Findings, svg: dict[str, str], notes: list[str]) -> str:
    """The page as HTML."""
    run = found.run
    sections = [
        ("rates", text("Counts and rates"), _rates(found, svg)),
        *site_section(found, svg),
        *when_section(found, svg),
        *([("events", text("Example events"), _examples(found))] if len(run.events) else []),
        ("effort", text("Effort"), effort_section(found, svg)),
        ("method", text("Methods"), _method(found)),
        ("cite", text("How to describe Loxo in your methods"), page.paragraph(" ".join(methods(found)))),
        ("run", text("Model and parameters"), parameters([run]) + model_section(found)),
    ]
    title = text("Survey report: {name}", name=run.folder.resolve().name)
    warnings = "".join(page.paragraph(translated(note), "warn") for note in notes)
    lead = page.text(summary(found))
    footer = page.text(text("Made by Loxo {version} from {file}.", version=_version(), file=run.folder / RECORD))
    return page.page(title, lead, page.fact_list(_facts(found)) + warnings, sections, footer)


def _version() -> str:
    import loxo

    return loxo.__version__


def _facts(found: Findings) -> list[tuple[str, str, str]]:
    recordings = found.run.recordings
    recorded, analysed = (float(recordings[name].sum()) / 3600 for name in ("duration_s", "analysed_s"))
    facts = [(text("analysed"), page.hours(analysed), text("of {hours} recorded", hours=page.hours(recorded)))]
    for row in totals(found.rates).values():
        if found.reviewed.state(row["label"]) == ESTIMATED:
            small = text("true, of {n:,} listed", n=row["events"])
            if row["low"] != row["high"]:
                small += text("; 95 %: {low:,.0f} to {high:,.0f}", low=row["low"], high=row["high"])
            shown = round(row["estimate"])
        else:
            shown = row["events"]
            small = text("listed")
            if shown:
                reviewed = text("listed, {n:,} reviewed", n=row["reviewed"])
                small = reviewed if row["reviewed"] else text("listed, not checked")
        facts.append((nouns(row["label"]), number(shown), small))
    failed, cut = (int((recordings["status"] == status).sum()) for status in ("failed", "truncated"))
    failed += len(found.run.problems)
    small = text("{failed} failed, {cut} cut off", failed=failed, cut=cut) if failed + cut else text("none")
    facts.append((text("problems"), number(failed + cut), small))
    recovered, noted = found.run.counts["recovered"], found.run.counts["noted"]
    if recovered + noted:
        small = text("{recovered} recovered, {noted} noted", recovered=recovered, noted=noted)
        facts.append((text("notes"), number(recovered + noted), small))
    return facts


def _rates(found: Findings, svg: dict[str, str]) -> str:
    parts = []
    for label in found.labels:
        parts.append(f"<h3>{page.text(nouns(label))}</h3>")
        parts += [page.paragraph(sentence) for sentence in count_sentences(found, label)]
    drawn = found.reviewed.drawn
    if drawn:
        one = "{n} event found only by reviewers is not counted, because reviewers did not search all recordings."
        other = "{n} events found only by reviewers are not counted, because reviewers did not search all recordings."
        parts.append(page.paragraph(plural(drawn, one, other)))
    if "rates" in svg:
        caption = text("True events in 24 h of analysed sound, with 95 % intervals for days like those of the survey.")
        parts.append(page.figure(svg["rates"], caption))
    columns = [text("site"), text("label"), text("analysed") + "#", text("listed") + "#"]
    columns += [text("reviewed") + "#", text("confirmed") + "#"]
    estimated = bool(estimated_labels(found.rates)) or found.rates["estimate"].notna().any()
    rows = []
    for row in found.rates.to_dict("records"):
        cells = [page.site(row["site"]), noun(row["label"]), page.hours(row["analysed_h"])]
        cells += [number(row[name]) for name in ("events", "reviewed", "confirmed")]
        if estimated:
            cells.append(page.whole_interval(row["estimate"], row["low"], row["high"]))
            enough = row["analysed_h"] >= MIN_HOURS
            cells.append(page.interval(row["per_day"], row["per_day_low"], row["per_day_high"]) if enough else "–")
        rows.append(cells)
    if estimated:
        columns += [text("true events (95 %)") + "#", text("true in 24 h (95 %)") + "#"]
    parts.append(page.cut_table(columns, rows, "rates", total=text(ALL_SITES)))
    if estimated and (found.rates["analysed_h"] < MIN_HOURS).any():
        parts.append(
            page.paragraph(text("A rate in 24 h needs {hours:g} h of analysed sound.", hours=MIN_HOURS), "note")
        )
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


def _examples(found: Findings) -> str:
    lowest, middle = text("with the lowest scores"), text("nearest to a probability of {p:g}", p=0.5)
    words = text(
        "The strongest events have the highest scores, the typical ones are near the median, and the doubtful ones "
        "are {doubtful}. Each row shows different recordings if possible. The box is the event; the number is its "
        "score. Rumbles are played eight times as fast. Levels are relative to the median of each frequency.",
        doubtful=middle if found.reviewed.fits else lowest,
    )
    parts = [page.paragraph(words, "note")]
    for label in found.labels:
        shown = found.examples.shown.get(label, [])
        if shown:
            parts.append(f"<h3>{page.text(nouns(label))}</h3>")
            for kind in KINDS:
                of_kind = [example for example in shown if example.kind == kind]
                if of_kind:
                    parts.append(f"<h4>{text(kind)}</h4>{cards.cards(of_kind, f'{figure_name(label)}-{kind}')}")
        elif (found.reviewed.labels == label).any():
            words = text("No recording with {events} was found that could be drawn.", events=nouns(label))
            parts.append(page.paragraph(words, "warn"))
    if found.examples.missing:
        words = text("Recordings that could not be shown; the next event was used instead:")
        parts.append(page.paragraph(words, "note"))
        reasons = list(map(translated, found.examples.missing.values()))
        parts.append(page.table([text("recording and reason") + "*"], [(reason,) for reason in reasons[:MAX_REASONS]]))
        if len(reasons) > MAX_REASONS:
            parts.append(page.paragraph(text("and {n} more.", n=len(reasons) - MAX_REASONS), "note"))
    return "".join(parts)


def _method(found: Findings) -> str:
    sentences = [
        text(
            "One hour of effort is one hour of analysed sound. Times are the wall clock in the names of the "
            "recordings, converted to the time zone of the report, or else of each site, if one was given."
        ),
        text("Events are listed at the thresholds of the run. Events that the detector missed are in no count."),
        text(
            "The number of true events is stated only after a review. Its 95 % interval contains the uncertainty of "
            "the sample: the true number among the listed events lies in 95 of 100 such intervals. The interval of a "
            "rate also contains the chance of the days: it holds for days like those of the survey, and calls of one "
            "day may come together."
        ),
        text(
            "A gap is a pause in analysed sound that is longer than one minute and longer than 1.5 times the usual "
            "pause of a site with a recording schedule."
        ),
        text("Dates and hours without analysed sound are hatched, not empty: no effort is not the same as no events."),
    ]
    return "".join(page.paragraph(sentence, "note") for sentence in sentences)
