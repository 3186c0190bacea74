"""The sentence at the top of a report: what was listed in which recordings, and whether a review says what is true."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loxo.report import page
from loxo.report.rates import ALL_SITES
from loxo.report.reviewed import ESTIMATED, FEW
from loxo.report.sentences import plural

if TYPE_CHECKING:
    import pandas as pd

    from loxo.report.findings import Findings


def summary(found: Findings) -> str:
    rows = totals(found.rates)
    listed = {label: int(rows[label]["events"]) for label in found.labels}
    named = [plural(count, label or "event") for label, count in listed.items() if count]
    named += [f"no {label or 'event'}" for label, count in listed.items() if not count]
    what = page.joined(named) if any(listed.values()) else "no event"
    sentence = f"Loxo lists {what} in {_where(found)}"
    if not any(listed.values()):
        return f"{sentence}."
    return f"{sentence}; {_checked(found, rows, listed)}."


def totals(rates: pd.DataFrame) -> dict[str, dict[Any, Any]]:
    """The rows of all sites together, by label."""
    every = rates[rates["site"] == ALL_SITES]
    return {row["label"]: row for row in (every if len(every) else rates).to_dict("records")}


def _where(found: Findings) -> str:
    """7 recordings (168 h of sound) of 2 sites on 5 days, 26 Jan – 1 Feb 2018"""
    recordings = found.run.recordings
    hours = page.hours(float(recordings["analysed_s"].sum()) / 3600)
    words = f"{plural(len(recordings), 'recording')} ({hours} of sound)"
    sites = sum(bool(site) for site in recordings["site"].unique())
    if sites:
        words += f" of {plural(sites, 'site')}"
    dated = recordings[recordings["start"].notna()]
    days = found.hourly.loc[found.hourly["analysed_h"] > 0, "hour"].dt.normalize().nunique()
    if days and len(dated) == len(recordings):
        span = page.span(dated["start"].min(), dated["start"].max())
        words += f", {span}" if days == 1 else f" on {plural(days, 'day')}, {span}"
    return words


def _checked(found: Findings, rows: dict[str, dict[Any, Any]], listed: dict[str, int]) -> str:
    reviewed = found.reviewed
    decided = {label: reviewed.reviewed(label) for label, count in listed.items() if count}
    if not any(decided.values()):
        one = sum(listed.values()) == 1
        return f"nobody has checked {'it' if one else 'them'}, so the true number is not known"
    known, open_ = [], []
    for label, count in decided.items():
        word = label or "event"
        row = rows[label]
        if reviewed.state(label) == ESTIMATED:
            limits = "" if row["low"] == row["high"] else f" ({row['low']:,.0f} to {row['high']:,.0f})"
            known.append(f"{'about ' if limits else ''}{plural(round(row['estimate']), f'true {word}')}{limits}")
        else:
            few = "too few were reviewed" if reviewed.state(label) == FEW and count else "none was reviewed"
            open_.append(f"how many {word}s are true is not known, because {few}")
    words = f"reviewers decided on {sum(decided.values()):,} of them"
    if known:
        words += f", which gives {page.joined(known)}"
    return "; ".join([words, *open_])
