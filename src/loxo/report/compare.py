"""`loxo report A B`: two runs of the same recordings, compared by events and rates.

    NAME.html            one file that needs no network
    NAME.recordings.csv  recording, label, same, moved, gained, lost: for recordings analysed in both runs
    NAME.changes.csv     every event that was moved, gained (only in B) or lost (only in A), with times and scores
    NAME.rates.csv       the rates of both runs; the first column is `run`

Two recordings are the same if their paths are equal, or if their names are equal and unique in each run. Events of one
recording and label are paired one to one if their spans overlap, the longest overlap first. An event has moved if its
onset or offset differs by more than MOVED_S.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from loxo.audio.filenames import base_name
from loxo.errors import LoxoError
from loxo.languages import mark, number, plural, text
from loxo.report import cards, figures, page
from loxo.report.clock import Clock
from loxo.report.examples import Examples, take
from loxo.report.figures import figure_name
from loxo.report.rates import ALL_SITES, rates
from loxo.report.report import Report, check_options, draw_all, page_path, write_figures, write_page, write_table
from loxo.report.reviewed import read_review
from loxo.report.run_sections import parameters
from loxo.report.sections import Draws, estimated_labels
from loxo.report.sentences import noun, nouns
from loxo.runs.read import Places, Run, read_run

MOVED_S = 0.05
SHOWN = 8  # example events of a label, gained and lost together
MAX_ROWS = 40
KINDS = (mark("same"), mark("moved"), mark("gained"), mark("lost"))


def compare(
    one: str | Path,
    other: str | Path,
    out: str | Path | None = None,
    *,
    time_zone: str | None = None,
    clock_zone: str | None = None,
    recordings: str | Path | None = None,
    figures: str | Path | None = None,
) -> Report:
    """Writes the page (by default comparison.html in the second run's folder) and its tables.

    The other parameters are those of report. Raises LoxoError as report does, and when the runs share no recording.
    """
    _, clock = check_options(None, time_zone, clock_zone)
    out = page_path(other, Path(other) / "comparison.html" if out is None else out)
    runs = _runs(one, other, clock)
    a, b = runs.values()
    shared = shared_recordings(a, b)
    if not len(shared):
        raise LoxoError(
            f"{one} and {other} have no analysed recording in common. Give two runs of the same recordings."
        )
    changes = event_changes(a, b, shared)
    result = Report(out, notes=list(dict.fromkeys(note for run in runs.values() for note in run.notes)))
    tables = {name: _rates(run) for name, run in runs.items()}
    examples = _examples(runs, changes, recordings)
    draws = _figures(tables, examples)
    write_page(result, _page(runs, shared, changes, tables, draw_all(draws), examples))
    kinds = {"recordings": by_recording(changes), "changes": changes, "rates": _stacked(tables)}
    for name, table in kinds.items():
        kept = table[table["change"] != "same"] if name == "changes" else table
        result.tables.append(write_table(out, name, kept))
    write_figures(result, draws, figures)
    return result


def _runs(one: str | Path, other: str | Path, clock: Clock) -> dict[str, Run]:
    """The two runs, by their names on the page."""
    read = [read_run(folder, clock.local) for folder in (one, other)]
    names = [run.folder.resolve().name for run in read]
    if names[0] == names[1]:
        names = [f"{name} ({letter})" for name, letter in zip(names, "AB", strict=True)]
    return dict(zip(names, read, strict=True))


def _rates(run: Run) -> pd.DataFrame:
    reviewed = read_review(run)
    labels = list(dict.fromkeys([*run.labels, *sorted(set(reviewed.labels[reviewed.confirmed]))]))
    return rates(run.events.assign(label=reviewed.labels), reviewed, labels, run.recordings)


def _stacked(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([table.assign(run=name)[["run", *table]] for name, table in tables.items()])


def shared_recordings(one: Run, other: Run) -> pd.DataFrame:
    """Recordings analysed in both runs: their names in the first (`a`) and in the second run (`b`)."""
    names = [list(run.recordings.loc[run.recordings["status"] != "failed", "recording"]) for run in (one, other)]
    both = set(names[0]) & set(names[1])
    pairs = [(name, name) for name in names[0] if name in both]
    ends: list[dict[str, list[str]]] = [{}, {}]
    for known, run_names in zip(ends, names, strict=True):
        for name in run_names:
            if name not in both:
                known.setdefault(base_name(name), []).append(name)
    pairs += [
        (found[0], ends[1][end][0])
        for end, found in ends[0].items()
        if len(found) == 1 and len(ends[1].get(end, [])) == 1
    ]
    return pd.DataFrame(sorted(pairs), columns=["a", "b"])


def event_changes(one: Run, other: Run, shared: pd.DataFrame) -> pd.DataFrame:
    """Every event of the shared recordings; an event that is in both runs is one row.

    Columns: recording (its name in the second run), label, change, start_a, end_a, score_a, start_b, end_b, score_b;
    NaN if a run does not contain the event.
    """
    to_b = dict(zip(shared["a"], shared["b"], strict=True))
    a = one.events[one.events["recording"].isin(to_b)].reset_index(drop=True)
    a["recording"] = a["recording"].map(to_b)
    b = other.events[other.events["recording"].isin(set(to_b.values()))].reset_index(drop=True)
    pairs = pair_events(a, b)
    at_a, at_b = pairs[:, 0], pairs[:, 1]
    lost, gained = np.setdiff1d(np.arange(len(a)), at_a), np.setdiff1d(np.arange(len(b)), at_b)
    columns = ["start_s", "end_s", "score"]
    parts = []
    for left, right in ((at_a, at_b), (lost, None), (None, gained)):
        known = a.iloc[left] if left is not None else b.iloc[gained]
        part = known[["recording", "label"]].reset_index(drop=True)
        for side, frame, rows in (("a", a, left), ("b", b, right)):
            for name in columns:
                values = frame[name].to_numpy(float)[rows] if rows is not None else np.full(len(part), np.nan)
                part[f"{name.removesuffix('_s')}_{side}"] = values
        moved = ((part["start_a"] - part["start_b"]).abs() > MOVED_S) | (
            (part["end_a"] - part["end_b"]).abs() > MOVED_S
        )
        if left is not None and right is not None:
            part["change"] = np.where(moved, "moved", "same")
        else:
            part["change"] = "lost" if right is None else "gained"
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    table["at"] = table["start_b"].fillna(table["start_a"])
    table = table.sort_values(["recording", "at", "label"], kind="stable", ignore_index=True).drop(columns="at")
    return table[["recording", "label", "change", *[n for n in table.columns if n.endswith(("_a", "_b"))]]]


def pair_events(a: pd.DataFrame, b: pd.DataFrame) -> np.ndarray:
    """(pairs, 2): rows of a and b that are the same event. Events of one recording and label are paired one to one if
    their spans overlap, the longest overlap first."""
    keys: dict[Any, int] = {}
    groups = [
        np.array([keys.setdefault(key, len(keys)) for key in zip(t["recording"], t["label"], strict=True)], np.int64)
        for t in (a, b)
    ]
    # All recordings are put on one time axis; each label of each recording gets its own span of it.
    longest = max([float(t["end_s"].max()) for t in (a, b) if len(t)], default=0.0) + 1.0
    starts, ends = (
        [group * longest + t[name].to_numpy(float) for group, t in zip(groups, (a, b), strict=True)]
        for name in ("start_s", "end_s")
    )
    order = np.argsort(starts[1], kind="stable")
    sorted_starts, sorted_ends = starts[1][order], np.maximum.accumulate(ends[1][order]) if len(b) else ends[1]
    first = np.searchsorted(sorted_ends, starts[0], side="right")
    last = np.searchsorted(sorted_starts, ends[0], side="left")
    counts = np.maximum(last - first, 0)
    left = np.repeat(np.arange(len(a)), counts)
    ramp = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    right = order[np.repeat(first, counts) + ramp]
    shared = np.minimum(ends[0][left], ends[1][right]) - np.maximum(starts[0][left], starts[1][right])
    taken_a, taken_b = np.zeros(len(a), bool), np.zeros(len(b), bool)
    pairs = []
    for k in np.argsort(-shared, kind="stable"):
        if shared[k] > 0 and not taken_a[left[k]] and not taken_b[right[k]]:
            taken_a[left[k]] = taken_b[right[k]] = True
            pairs.append((left[k], right[k]))
    return np.array(pairs, np.int64).reshape(-1, 2)


def by_recording(changes: pd.DataFrame) -> pd.DataFrame:
    counts = changes.groupby(["recording", "label", "change"]).size().unstack("change", fill_value=0)
    return counts.reindex(columns=list(KINDS), fill_value=0).reset_index().rename_axis(columns=None)


def _examples(runs: dict[str, Run], changes: pd.DataFrame, root: str | Path | None) -> Examples:
    """The strongest gained and lost events."""
    result = Examples()
    one, other = runs.values()
    places = Places(other, root)
    bounds = {
        label: run.events.loc[run.events["label"] == label, ["low_hz", "high_hz"]].iloc[0]
        for run in (one, other)
        for label in run.events["label"].unique()
    }
    for label in dict.fromkeys(changes["label"]):
        for kind, side in (("gained", "b"), ("lost", "a")):
            rows = changes[(changes["label"] == label) & (changes["change"] == kind)]
            rows = rows.sort_values(f"score_{side}", ascending=False, kind="stable").head(5 * SHOWN)
            events = rows.rename(columns={f"{n}_{side}": m for n, m in _FIELDS.items()})
            events = events.assign(low_hz=bounds[label]["low_hz"], high_hz=bounds[label]["high_hz"])
            take(kind, events, list(range(len(events))), places, result, label, max_count=SHOWN // 2)
    return result


_FIELDS = {"start": "start_s", "end": "end_s", "score": "score"}


def _figures(tables: dict[str, pd.DataFrame], examples: Examples) -> Draws:
    draws: Draws = {}
    estimated = estimated_labels(*tables.values())
    if estimated:
        draws["rates"] = (partial(figures.rates_by_site, tables, estimated), text("rates by site in both runs"))
    for label, shown in examples.shown.items():
        if shown:
            words = text("spectrograms of {events} gained and lost", events=nouns(label))
            draws[f"changes-{figure_name(label)}"] = (partial(cards.sheet, shown), words)
    return draws


def _page(
    runs: dict[str, Run],
    shared: pd.DataFrame,
    changes: pd.DataFrame,
    tables: dict[str, pd.DataFrame],
    svg: dict[str, str],
    examples: Examples,
) -> str:
    a, b = runs
    totals = changes["change"].value_counts()
    words = {
        "same": text("in both, same times"),
        "moved": text("in both, other times"),
        "gained": text("only in {run}", run=b),
        "lost": text("only in {run}", run=a),
    }
    facts = [(text(kind), number(int(totals.get(kind, 0))), words[kind]) for kind in KINDS]
    left_out = [len(run.recordings) - len(shared) for run in runs.values()]
    one = "{n} recording of {run} failed or are not in the other run, and are not compared."
    other = "{n} recordings of {run} failed or are not in the other run, and are not compared."
    notes = [plural(count, one, other, run=name) for name, count in zip(runs, left_out, strict=True) if count]
    sections = [
        ("events", text("Events"), _events(changes, examples)),
        ("rates", text("Rates side by side"), _rate_section(tables, svg)),
        ("run", text("Models and parameters"), parameters(list(runs.values()))),
    ]
    one, other = "{n} recording analysed in both runs", "{n} recordings analysed in both runs"
    lead = page.text(plural(len(shared), one, other))
    warnings = "".join(page.paragraph(note, "warn") for note in notes)
    folders = text(" and ").join(str(run.folder) for run in runs.values())
    footer = page.text(text("Made by Loxo from {folders}.", folders=folders))
    return page.page(text("{a} and {b} compared", a=a, b=b), lead, page.fact_list(facts) + warnings, sections, footer)


def _events(changes: pd.DataFrame, examples: Examples) -> str:
    parts = []
    counts = changes.groupby(["label", "change"]).size().unstack("change", fill_value=0)
    counts = counts.reindex(columns=list(KINDS), fill_value=0)
    rows = [(noun(str(label)), *[number(int(row[kind])) for kind in KINDS]) for label, row in counts.iterrows()]
    kinds = [f"{text(kind)}#" for kind in KINDS]
    parts.append(page.table([text("label"), *kinds], rows))
    for label in counts.index:
        shown = examples.shown.get(str(label), [])
        for kind in dict.fromkeys(example.kind for example in shown):
            of_kind = [example for example in shown if example.kind == kind]
            words = "The strongest {events} gained" if kind == "gained" else "The strongest {events} lost"
            parts.append(f"<h3>{page.text(text(words, events=nouns(str(label))))}</h3>")
            parts.append(cards.cards(of_kind, f"{figure_name(str(label))}-{kind}"))
    if examples.missing:
        one = "{n} recording with changes could not be found or read. Give their folder with `--recordings FOLDER`."
        other = "{n} recordings with changes could not be found or read. Give their folder with `--recordings FOLDER`."
        parts.append(page.paragraph(plural(len(examples.missing), one, other), "note"))
    table = by_recording(changes)
    table = table.assign(total=table["gained"] + table["lost"]).sort_values("total", ascending=False, kind="stable")
    table = table[table["total"] + table["moved"] > 0]
    if len(table):
        parts.append(f"<h3>{text('Recordings with the most events gained or lost')}</h3>")
        rows = [
            (row["recording"], noun(row["label"]), *[number(row[kind]) for kind in KINDS])
            for row in table.head(MAX_ROWS).to_dict("records")
        ]
        parts.append(page.table([text("recording") + "*", text("label"), *kinds], rows))
        if len(table) > MAX_ROWS:
            words = "{shown} of {n:,} rows. All rows are in the file .{csv}.csv next to this page."
            parts.append(page.paragraph(text(words, shown=MAX_ROWS, n=len(table), csv="recordings"), "note"))
    else:
        parts.append(page.paragraph(text("Both runs contain the same events.")))
    return "".join(parts)


def _rate_section(tables: dict[str, pd.DataFrame], svg: dict[str, str]) -> str:
    names = list(tables)
    cells: dict[tuple[str, str], list[str]] = {}
    for k, table in enumerate(tables.values()):
        for row in table.to_dict("records"):
            both = cells.setdefault((row["label"], row["site"]), ["–"] * 2 * len(names))
            both[2 * k] = number(row["events"])
            both[2 * k + 1] = page.interval(row["per_day"], row["per_day_low"], row["per_day_high"])
    columns = [c for name in names for c in (f"{name}: {text('listed')}#", text("true in 24 h (95 %)") + "#")]
    rows = [(page.site(site), noun(label), *values) for (label, site), values in cells.items()]
    shown = page.table([text("site"), text("label"), *columns], rows[:MAX_ROWS], total=text(ALL_SITES))
    if "rates" not in svg:
        return page.paragraph(text("No event was reviewed, so the numbers of true events are not known.")) + shown
    caption = text(
        "True events in 24 h of analysed sound, with 95 % intervals. All recordings of each run are included."
    )
    return page.figure(svg["rates"], caption) + shown
