"""The sentence at the top of a report: what was listed in which recordings, and whether a review says what is true."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loxo.languages import plural, text
from loxo.report import page
from loxo.report.rates import ALL_SITES
from loxo.report.reviewed import ESTIMATED, FEW
from loxo.report.sentences import counted, counted_true, joined, noun, nouns

if TYPE_CHECKING:
    import pandas as pd

    from loxo.report.findings import Findings


def summary(found: Findings) -> str:
    rows = totals(found.rates)
    listed = {label: int(rows[label]["events"]) for label in found.labels}
    if not any(listed.values()):
        return text("Loxo lists no event in {recordings}.", recordings=_where(found))
    named = [counted(count, label) for label, count in listed.items() if count]
    named += [text("no {event}", event=noun(label)) for label, count in listed.items() if not count]
    return text(
        "Loxo lists {events} in {recordings}; {review}.",
        events=joined(named),
        recordings=_where(found),
        review=_checked(found, rows, listed),
    )


def totals(rates: pd.DataFrame) -> dict[str, dict[Any, Any]]:
    """The rows of all sites together, by label."""
    every = rates[rates["site"] == ALL_SITES]
    return {row["label"]: row for row in (every if len(every) else rates).to_dict("records")}


def _where(found: Findings) -> str:
    """7 recordings (168 h of sound) of 2 sites on 5 days, 26 Jan – 1 Feb 2018"""
    recordings = found.run.recordings
    hours = page.hours(float(recordings["analysed_s"].sum()) / 3600)
    one, other = "{n} recording ({hours} of sound)", "{n} recordings ({hours} of sound)"
    words = plural(len(recordings), one, other, hours=hours)
    sites = sum(bool(site) for site in recordings["site"].unique())
    if sites:
        words += plural(sites, " of {n} site", " of {n} sites")
    dated = recordings[recordings["start"].notna()]
    days = found.hourly.loc[found.hourly["analysed_h"] > 0, "hour"].dt.normalize().nunique()
    if days and len(dated) == len(recordings):
        span = page.span(dated["start"].min(), dated["start"].max())
        words += f", {span}" if days == 1 else plural(days, " on {n} day, {span}", " on {n} days, {span}", span=span)
    return words


def _checked(found: Findings, rows: dict[str, dict[Any, Any]], listed: dict[str, int]) -> str:
    reviewed = found.reviewed
    decided = {label: reviewed.reviewed(label) for label, count in listed.items() if count}
    if not any(decided.values()):
        one = sum(listed.values()) == 1
        them = "nobody has checked them, so the true number is not known"
        return text("nobody has checked it, so the true number is not known") if one else text(them)
    known, open_ = [], []
    for label, count in decided.items():
        row = rows[label]
        if reviewed.state(label) == ESTIMATED:
            true = counted_true(round(row["estimate"]), label)
            if row["low"] != row["high"]:
                true = text("about {true} ({low:,.0f} to {high:,.0f})", true=true, low=row["low"], high=row["high"])
            known.append(true)
        elif reviewed.state(label) == FEW and count:
            words = "how many {events} are true is not known, because too few were reviewed"
            open_.append(text(words, events=nouns(label)))
        else:
            words = "how many {events} are true is not known, because none was reviewed"
            open_.append(text(words, events=nouns(label)))
    said = text("reviewers decided on {n:,} of them", n=sum(decided.values()))
    if known:
        said += text(", which gives {events}", events=joined(known))
    return "; ".join([said, *open_])
