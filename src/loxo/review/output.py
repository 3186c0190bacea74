"""The export of a review to `RUN/reviewed/`, rewritten by each export:

    tables/NAME.selections.txt   the true events of each recording with at least one decision: confirmed, relabelled
                                 and drawn events, with moved edges. The column Undecided is the number of events in
                                 the recording that may be calls, but are not decided. Complete tables lack it
    events.csv                   the same events of all recordings, with the columns of every events.csv
    decisions.csv                every event of the run: as detected, decision, reviewers, notes
    results.json                 counts, P(correct | score), thresholds, estimates with intervals, agreement
    training/tables/             for `loxo train`: true events of recordings in which every event is decided; the
                                 rest of these recordings is background
    training/incomplete/         true events of the other recordings, whose undecided events may be calls
    training/hard_negatives.selections.txt   rejected events: similar to calls, but not calls
    training/searched.csv                    for `loxo adapt`: the spans in which every call is known: these recordings
                                             completely; of the others, the confirmed and rejected events and the
                                             stretches that were searched for all labels
    training/undecided.selections.txt        unsure, disputed and unreviewed events of recordings with a decision:
                                             neither calls nor background

Each file is written whole or not at all. Tables of an earlier export that no longer apply are removed. The tables
contain the present paths of the recordings.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from loxo.audio.filenames import base_name
from loxo.events.raven import write_raven
from loxo.events.table import CHANNEL, COLUMNS, empty_events, events_frame
from loxo.events.table import UNDECIDED as UNDECIDED_HEADER
from loxo.events.writers import csv_row, write_csv_rows
from loxo.files import atomic_file, escape, inside, write_atomically
from loxo.languages import ENGLISH, speaking
from loxo.review.decision_log import decision_logs, read_decision_logs
from loxo.review.decisions import Decision, Decisions
from loxo.review.merge import BOUNDS, Final, bounds_fault, by_reviewer, finals, without_repeats
from loxo.review.results import results, searched
from loxo.review.session import open_run
from loxo.runs.read import Places, Run
from loxo.runs.tables import FOLDERS, TABLE_SUFFIX

FOLDER = "reviewed"
EXTRA = {"detected_label": "Detected As", "reviewers": "Reviewers", "note": "Notes", "undecided": UNDECIDED_HEADER}
UNDECIDED = "undecided"
SEARCHED = "training/searched.csv"
KNOWN = ("yes", "other", "drawn", "no")  # verdicts of events that are certainly calls, or certainly not
HARD_NEGATIVE = "none"  # label of a rejected event
DECISION_COLUMNS = (
    "verdict",
    "new_label",
    "new_start_s",
    "new_end_s",
    "new_low_hz",
    "new_high_hz",
    "reviewers",
    "note",
)


@dataclass(frozen=True)
class Export:
    """The files and results of an export."""

    folder: Path
    files: list[str]  # relative to the folder
    events: int  # number of true events
    decided: int  # number of events with a verdict, including drawn events
    results: dict[str, Any]
    warnings: list[str]  # decision logs and events that could not be used


def export(run_folder: str | Path, recordings: str | Path | None = None) -> Export:
    """Writes the results of all decision logs of a run. `recordings` as in serve.

    A decision log that cannot be read does not count and becomes one of the `warnings`. Raises LoxoError when the
    folder is not a run, or a file cannot be written.
    """
    run, names = open_run(run_folder)
    logs = [found for _, found in read_decision_logs(decision_logs(run.folder)).values()]
    people = by_reviewer(found for found in logs if isinstance(found, Decisions))
    return write_export(
        run, names, people, Places(run, recordings), [found for found in logs if isinstance(found, str)]
    )


def write_export(
    run: Run,
    names: list[str],
    people: Mapping[str, Mapping[str, Decision]],
    places: Places,
    warnings: Sequence[str] = (),
) -> Export:
    """export, for a run that is already open; `warnings` are those of its decision logs."""
    folder = inside(run.folder, FOLDER)
    answers, impossible = _possible(run, names, finals(people))
    warnings = [*warnings, *impossible]
    table = _answered(run, names, answers)
    true = table[table["verdict"].isin(("yes", "other", "drawn"))]
    empty = true[:0]
    with speaking(ENGLISH):  # for other programs
        found = results(run, names, people) | {"warnings": warnings}
    paths = {name: str(places.find(name) or name) for name in run.recordings["recording"]}
    paths = {name: path if "://" in path else escape(str(Path(path).absolute())) for name, path in paths.items()}
    files: list[str] = []

    def raven(events: pd.DataFrame, name: str, durations: dict[str, float] | None = None) -> None:
        columns = {key: value for key, value in EXTRA.items() if key in events.columns}
        events = _as_events(events)
        write_raven(
            events.assign(recording=events["recording"].map(paths)),
            inside(folder, name),
            extra=columns,
            durations=durations,
        )
        files.append(name)

    touched = set(table[table["verdict"] != ""]["recording"])
    of_touched = table[table["recording"].isin(touched)]
    open_events = of_touched[of_touched["verdict"].isin(("", "unsure", "disputed"))]
    left = open_events["recording"].value_counts().to_dict()  # events that may be calls, but are in no table
    complete = touched - set(left)
    by_recording = dict(list(true.groupby("recording", sort=False)))
    for recording, listed in _tables(run).items():
        if recording in touched:
            events = by_recording.get(recording, empty)
            if recording in left:
                by_recording[recording] = events = events.assign(undecided=left[recording])
            raven(events, f"tables/{listed}")
    header = (*COLUMNS, CHANNEL) if CHANNEL in table.columns else COLUMNS
    with atomic_file(folder / "events.csv") as file:
        rows = _as_events(true).to_dict("records")
        cells = [[*csv_row(row), *([str(left.get(row["recording"], 0))] if left else [])] for row in rows]
        write_csv_rows(file, [(*header, UNDECIDED_HEADER) if left else header, *cells])
    with atomic_file(folder / "decisions.csv") as file:
        write_csv_rows(file, [(*header, *DECISION_COLUMNS), *_decision_rows(run, names, answers, table)])
    write_atomically(folder / "results.json", (json.dumps(found, indent=1) + "\n").encode())
    files += ["events.csv", "decisions.csv", "results.json"]

    for recording, listed in _tables(run).items():
        if recording in complete:
            raven(by_recording.get(recording, empty), f"training/tables/{listed}")
        elif len(by_recording.get(recording, empty)):
            raven(by_recording[recording], f"training/incomplete/{listed}")
    seconds = zip(run.recordings["recording"], run.recordings["duration_s"], strict=True)
    durations = {paths[name]: float(duration) for name, duration in seconds}
    rejected = of_touched[of_touched["verdict"] == "no"].assign(label=HARD_NEGATIVE)
    raven(rejected, f"training/hard_negatives{TABLE_SUFFIX}", durations)
    raven(open_events.assign(label=UNDECIDED), f"training/undecided{TABLE_SUFFIX}", durations)
    with atomic_file(folder / SEARCHED) as file:
        write_csv_rows(
            file,
            [
                ("recording", "start_s", "end_s"),
                *_searched_rows(of_touched, complete, durations, paths, _stretches(run, answers, table)),
            ],
        )
    files.append(SEARCHED)
    for old in folder.rglob("*" + TABLE_SUFFIX):
        if old.relative_to(folder).as_posix() not in files:
            old.unlink()
    return Export(folder, files, len(true), int((table["verdict"] != "").sum()), found, warnings)


def _searched_rows(
    events: pd.DataFrame,
    complete: set[str],
    durations: Mapping[str, float],
    paths: Mapping[str, str],
    stretches: list[tuple[str, float, float]],
) -> list[list[str]]:
    """The rows of SEARCHED, from the events of the recordings with a decision and the searched stretches."""
    decided = events[events["verdict"].isin(KNOWN) & ~events["recording"].isin(complete)]
    spans = [(name, 0.0, durations[paths[name]]) for name in sorted(complete)]
    spans += zip(decided["recording"], decided["start_s"], decided["end_s"], strict=True)
    spans += [stretch for stretch in stretches if stretch[0] not in complete]
    return [[paths[name], f"{start:.6f}", f"{end:.6f}"] for name, start, end in spans]


def _stretches(run: Run, answers: Mapping[str, Final], table: pd.DataFrame) -> list[tuple[str, float, float]]:
    """The stretches that were searched for every label and contain no undecided event."""
    by_label = [searched(answers, label=label) for label in run.labels]
    unknown = table[~table["verdict"].isin(KNOWN)]
    found = []
    for name in run.recordings["recording"]:
        spans = set.intersection(*(set(stretches.get(name, ())) for stretches in by_label)) if by_label else set()
        left = unknown[unknown["recording"] == name] if spans else unknown
        found += [
            (name, start, end)
            for start, end in sorted(spans)
            if not ((left["start_s"] < end) & (left["end_s"] > start)).any()
        ]
    return found


def _possible(run: Run, names: list[str], answers: Mapping[str, Final]) -> tuple[dict[str, Final], list[str]]:
    """The answers without impossible bounds, and a sentence for each change. Two reviewers may have moved the edges of
    one event past each other: it keeps its detected bounds. An impossible drawn event is left out."""
    kept, warnings = dict(answers), []
    durations = dict(zip(run.recordings["recording"], run.recordings["duration_s"], strict=True))
    rows = dict(zip(names, range(len(names)), strict=True))
    for name, answer in answers.items():
        row = rows.get(name)
        if row is not None and answer.bounds:
            recording = str(run.events["recording"].iloc[row])
            bounds = {bound: float(run.events[bound].iloc[row]) for bound in BOUNDS} | answer.bounds
            if bounds_fault(bounds, durations[recording]) is not None:
                kept[name] = dataclasses.replace(answer, bounds={})
                warnings.append(
                    f"{base_name(recording)}: the moved edges of an event ({answer.reviewers}) contradict each other. "
                    "The event keeps its detected bounds."
                )
        elif row is None and answer.recording and answer.is_event:
            duration_s = durations.get(answer.recording)
            if duration_s is None or not answer.label or bounds_fault(answer.bounds, duration_s) is not None:
                del kept[name]
                warnings.append(
                    f"{base_name(answer.recording)}: a drawn event ({answer.reviewers}) has no label, impossible "
                    "bounds, or a recording that this run does not contain. It is left out."
                )
    return kept, warnings


def _tables(run: Run) -> dict[str, str]:
    """The file name of each recording's table, relative to a folder of tables."""
    pairs = zip(run.recordings["recording"], run.recordings["table"], strict=True)
    return {recording: table.removeprefix(FOLDERS["raven"] + "/") for recording, table in pairs if table}


def _answered(run: Run, names: list[str], answers: Mapping[str, Final]) -> pd.DataFrame:
    """The run's events with the decisions applied, then the drawn events: an events table with the columns verdict (""
    if undecided), detected_label, reviewers and note."""
    table = run.events.assign(verdict="", detected_label=run.events["label"], reviewers="", note="")
    columns = {name: table[name].to_list() for name in table.columns}
    for row, name in enumerate(names):
        answer = answers.get(name)
        if answer is None:
            continue
        columns["verdict"][row] = answer.verdict or ""
        columns["reviewers"][row], columns["note"][row] = answer.reviewers, _one_line(answer.note)
        columns["label"][row] = answer.label or columns["label"][row]
        for bound, value in answer.bounds.items():
            if columns["start_time"][row] is not None and bound == "start_s":
                columns["start_time"][row] += pd.Timedelta(seconds=value - columns["start_s"][row])
            columns[bound][row] = value
    table = pd.DataFrame(columns).astype(run.events.dtypes)
    drawn = [
        {
            "recording": answer.recording,
            "label": answer.label,
            **{bound: answer.bounds.get(bound, math.nan) for bound in ("start_s", "end_s", "low_hz", "high_hz")},
            CHANNEL: answer.channel or 1,
            "verdict": "drawn",
            "detected_label": "",
            "reviewers": answer.reviewers,
            "note": _one_line(answer.note),
        }
        for answer in answers.values()
        if answer.recording and answer.is_event
    ]
    recordings = run.recordings.set_index("recording")
    drawn = [event for event in without_repeats(drawn) if event["recording"] in recordings.index]
    if not drawn:
        return table
    more = events_frame(drawn)
    offset = (more["start_s"].to_numpy() * 1e6).round().astype("timedelta64[us]")
    more["start_time"] = recordings["start"].loc[more["recording"]].to_numpy() + offset
    more["site"] = recordings["site"].loc[more["recording"]].to_numpy(object)
    return (
        more[list(table.columns)] if table.empty else pd.concat((table, more[list(table.columns)]), ignore_index=True)
    )


def _as_events(table: pd.DataFrame) -> pd.DataFrame:
    """The rows as a checked and sorted events table."""
    return events_frame(table.to_dict("records")) if len(table) else empty_events()


def _decision_rows(run: Run, names: list[str], answers: Mapping[str, Final], table: pd.DataFrame) -> list[list[str]]:
    rows = []
    for name, event in zip(names, run.events.to_dict("records"), strict=True):
        answer = answers.get(name)
        extra = [""] * len(DECISION_COLUMNS)
        if answer is not None:
            bounds = [answer.bounds.get(bound) for bound in ("start_s", "end_s", "low_hz", "high_hz")]
            numbers = ["" if value is None else f"{value:g}" for value in bounds]
            extra = [answer.verdict or "", answer.label or "", *numbers, answer.reviewers, _one_line(answer.note)]
        rows.append([*csv_row(event), *extra])
    for event in table[len(names) :].to_dict("records"):
        rows.append([*csv_row(event), "drawn", "", "", "", "", "", str(event["reviewers"]), str(event["note"])])
    return rows


def _one_line(text: str) -> str:
    """The text without line breaks, which selection tables cannot contain."""
    return " ".join(text.split())
