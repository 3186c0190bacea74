"""The page of an evaluation: one self-contained HTML file with the design of a report (report/page.py).

A summary comes first; then for each class accuracy, curves, errors in time and the worst errors as spectrograms with
sound; then further measures and how they were computed.

Failure policy: a recording that cannot be found or read has no spectrograms, and the page states their number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from loxo.audio.finding import find_recordings
from loxo.errors import LoxoError
from loxo.evaluation import figures
from loxo.evaluation.evaluate import Evaluation
from loxo.evaluation.inputs import ClassData
from loxo.evaluation.metrics import RATES
from loxo.evaluation.names import Index
from loxo.evaluation.terminal import describe, format_error, format_ratio, plural, summary
from loxo.files import write_atomically
from loxo.report import page
from loxo.report.cards import cards
from loxo.report.examples import Example, read_example
from loxo.report.figures import Draw, figure_name, inline_svg, render

MAX_EXAMPLES = 8  # misses, and the same number of false positives, for each class and detector
MAX_ROWS = 500  # listed sites or recordings
Parts = Sequence[tuple[str, dict[str, Any]]]  # name of a detector, and its results


def write_page(evaluation: Evaluation, path: str | Path, recordings: str | Path | None = None) -> None:
    """Writes the page. `recordings`: a folder of the recordings, for spectrograms of the worst errors.

    Raises LoxoError if the file cannot be written.
    """
    report = evaluation.report
    paths = _RecordingPaths(evaluation, recordings)
    sections = [
        (f"class-{number}", f"{data.label}s", _class_section(evaluation, data, paths))
        for number, data in enumerate(evaluation.case.classes)
    ]
    sections.append(("more", "Further measures", _further(evaluation)))
    sections.append(("method", "How this was evaluated", _method(report)))
    notes = list(report["notes"])
    if paths.missing:
        notes.append(
            f"No spectrograms of {plural(paths.missing, 'error')}: the recordings were not found. Give their folder "
            "with `--recordings FOLDER`."
        )
    warnings = "".join(page.paragraph(note, "warn") for note in notes)
    title = "Evaluation of detections"
    text = page.page(title, page.text(summary(report)), warnings, sections, "Made by Loxo with `loxo evaluate`.")
    write_atomically(path, text.encode())


class _RecordingPaths:
    """The paths of the recordings: their names in the truth, or files below a folder."""

    def __init__(self, evaluation: Evaluation, root: str | Path | None) -> None:
        self.missing = 0
        self._names = {name: Path(name) for name in evaluation.case.recordings}
        if root is not None:
            below = {str(path): Path(path) for path in find_recordings([root])[0]}
            index = Index(below)
            for name, number in index.find(evaluation.case.recordings).items():
                if number >= 0:
                    self._names[name] = below[index.names[number]]

    def find(self, name: str) -> Path | None:
        return path if (path := self._names[name]).is_file() else None


def _class_section(evaluation: Evaluation, data: ClassData, paths: _RecordingPaths) -> str:
    report, label = evaluation.report, data.label
    main, hours = report["rule"]["main"], report["truth"]["hours"]
    parts = [(detector["name"], detector["classes"][label]) for detector in report["detectors"]]
    accuracy = [(name, part["criteria"][main]) for name, part in parts]
    body = [_accuracy_table(accuracy, hours)]
    if data.truth.events and any(part["detections"] for _, part in parts):
        draw = partial(figures.curves, accuracy)
        body.append(_chart(draw, f"curves-{label}", f"{label}: precision, recall, false positives"))
        if hours:
            body.append(_rate_table(accuracy))
    body.append(_snr_table(parts))
    for k, (name, part) in enumerate(parts):
        of = f" of {name}" if len(parts) > 1 else ""
        values = accuracy[k][1]
        if values["events"] + values["false"]:
            matching, threshold = evaluation.matchings[k][label], report["rule"]["threshold"]
            draw = partial(figures.timelines, evaluation.case, data.truth, data.detections[k], matching, threshold)
            body.append(f"<h3>{page.text('errors in time' + of)}</h3>")
            body.append(_chart(draw, f"timelines-{label}-{k}", f"{label}: errors in time"))
        body.append(_group_table("Sites", "site", part["by_site"], hours))
        body.append(_group_table("Recordings", "recording", part["by_recording"], hours))
        known = any(row["snr_db"] is not None for row in part["worst_misses"])
        titles = (
            f"missed events{of}, {'those with the highest signal-to-noise ratio' if known else 'the longest'} first",
            f"false positives{of}, the highest scores first",
        )
        for rows, title in zip((part["worst_misses"], part["worst_false"]), titles, strict=True):
            if rows:
                name = f"{figure_name(label)}-{k}-{'score' in rows[0]}"
                body.append(f"<h3>{page.text(title)}</h3>{_examples(rows, data, evaluation, paths, name)}")
    return "".join(body)


def _chart(draw: Draw, name: str, title: str) -> str:
    return page.figure(inline_svg(render(draw, "svg", figure_name(name)), title))


def _accuracy_table(parts: Parts, hours: float | None) -> str:
    columns = ["detector", "found#", "missed#", "false positives#", *(["false an hour#"] if hours else [])]
    rows = []
    for name, values in parts:
        row = [name, f"{values['hits']:,}", f"{values['events'] - values['hits']:,}", f"{values['false']:,}"]
        row += [page.number(values["false_per_hour"], 2)] if hours else []
        row += [format_ratio(values[k], values[f"{k}_95"]) for k in ("recall", "precision", "ap")]
        rows.append(row)
    return page.table([*columns, "recall#", "precision#", "average precision#"], rows)


def _rate_table(parts: Parts) -> str:
    rows = [
        [name, *(format_ratio(at["recall"], at["recall_95"]) + "*" * at["list_ends_before"] for at in values["at"])]
        for name, values in parts
    ]
    made = page.table(["recall at", *(f"{rate:g} false an hour#" for rate in RATES)], rows)
    if any(at["list_ends_before"] for _, values in parts for at in values["at"]):
        made += page.paragraph("* The list ends before it reaches this rate of false positives.", "note")
    return made


def _snr_table(parts: Parts) -> str:
    bins = sorted({(row["from_db"], row["to_db"]) for _, part in parts for row in part["snr"]})
    if not bins:
        return ""
    rows = []
    for name, part in parts:
        by_bin = {row["from_db"]: row for row in part["snr"]}
        cells = (f"{by_bin[low]['found']} of {by_bin[low]['events']}" if low in by_bin else "–" for low, _ in bins)
        rows.append([name, *cells])
    columns = ["found", *(f"{low:g} to {high:g} dB#" for low, high in bins)]
    return f"<h3>By signal-to-noise ratio</h3>{page.table(columns, rows)}"


def _group_table(title: str, key: str, groups: list[dict[str, Any]], hours: float | None) -> str:
    if len(groups) < 2:
        return ""
    worst = sorted(groups, key=lambda row: (-(row["false"] + row["events"] - row["hits"]), str(row[key])))
    rows = []
    for row in worst[:MAX_ROWS]:
        cells = [str(row[key]) or "not known"]
        if hours:
            known = [row[name] for name in ("hours", "false_per_hour")]
            cells += ["–" if known[0] is None else page.hours(known[0])]
            cells += ["–" if known[1] is None else page.number(known[1], 2)]
        cells += [f"{row['hits']:,}", f"{row['events'] - row['hits']:,}", f"{row['false']:,}"]
        rows.append([*cells, *(format_ratio(row[name]) for name in ("recall", "precision", "ap"))])
    columns = [f"{key}*", *(["analysed#", "false an hour#"] if hours else []), "found#", "missed#", "false positives#"]
    more = f"{len(groups) - MAX_ROWS:,} more are in the JSON file." if len(groups) > MAX_ROWS else ""
    made = page.table([*columns, "recall#", "precision#", "average precision#"], rows)
    return page.details(f"{title} ({len(groups):,}), most errors first", made + (page.paragraph(more) if more else ""))


def _examples(
    rows: list[dict[str, Any]], data: ClassData, evaluation: Evaluation, paths: _RecordingPaths, name: str
) -> str:
    """Cards of errors. The true events are dashed; a false positive has a solid box."""
    shown: list[Example] = []
    nothing = {"label": data.label, "low_hz": math.nan, "high_hz": math.nan}
    for row in rows[:MAX_EXAMPLES]:
        path = paths.find(row["recording"])
        near = data.truth.recording == evaluation.case.recordings.index(row["recording"])
        spans = zip(data.truth.start[near], data.truth.end[near], strict=True)
        truth = [
            {**nothing, "start_s": float(a), "end_s": float(b)}
            for a, b in spans
            if a < row["end_s"] + 60 and b > row["start_s"] - 60
        ]
        snr = row.get("snr_db")
        note = "" if snr is None else f"signal-to-noise ratio {snr:.0f} dB"
        note = "touches a true event" if row.get("touches_an_event") else note
        band = "low" if data.label == "rumble" else "full"
        try:
            if path is None:
                raise LoxoError(f"{row['recording']}: not found.")
            more = {"truth": truth, "boxed": "score" in row, "note": note}
            shown.append(read_example("error", {**nothing, **row}, path, band, **more))
        except LoxoError:
            paths.missing += 1
    if not shown:
        places = [[f"{page.offset(row['start_s'])} into {row['recording']}"] for row in rows[:MAX_EXAMPLES]]
        return page.table(["recording*"], places)
    return cards(shown, name)


def _further(evaluation: Evaluation) -> str:
    report, body = evaluation.report, []
    classes = evaluation.case.classes
    pooled = [("all classes", None)] if len(classes) > 1 else []
    rows, segments, lines = [], [], []
    for label, key in [*((data.label, data.label) for data in classes), *pooled]:
        for detector in report["detectors"]:
            criteria = detector["overall"] if key is None else detector["classes"][key]["criteria"]
            for name, values in criteria.items():
                row = [
                    label,
                    detector["name"],
                    name,
                    *(f"{values[k]:,}" for k in ("hits", "false", "loose", "ignored")),
                ]
                rows.append([*row, *(format_ratio(values[k]) for k in ("recall", "precision", "f1", "ap"))])
    columns = ["class", "detector", "matched by", "found#", "false#", "of them touching#", "ignored#"]
    body.append("<h3>Other rules of matching</h3>")
    body.append(page.table([*columns, "recall#", "precision#", "F1#", "average precision#"], rows))
    for data in classes:
        for detector in report["detectors"]:
            part = detector["classes"][data.label]
            row = [data.label, detector["name"]]
            for scores in (*part["segments"].values(), part["hourly"]):
                row.append(f"{format_ratio(scores['f1'])} / {format_ratio(scores['ap'])}")
            row.append(format_ratio(part["frames"]["ap"]) if part["frames"] else "–")
            row += [format_error(part["borders"][key]) for key in ("onset_s", "offset_s")]
            segments.append([*row, format_ratio(part["reliability"]["error"])])
            if part["reliability"]["bins"]:
                name = detector["name"] if len(report["detectors"]) > 1 else ""
                lines.append((f"{data.label} {name}".strip(), part["reliability"]))
    columns = ["class", "detector", "1 s: F1 / AP#", "10 s: F1 / AP#", "hours: F1 / AP#", "frame AP#"]
    body.append("<h3>Segments of time, onsets and offsets</h3>")
    body.append(page.table([*columns, "onset error#", "offset error#", "reliability error#"], segments))
    if lines:
        chart = _chart(partial(figures.reliability, lines), "reliability", "reliability of the scores")
        body.append(f"<h3>Reliability of the scores</h3>{chart}")
    return "".join(body)


def _method(report: dict[str, Any]) -> str:
    body = [page.paragraph(line) for line in describe(report)]
    rules = "".join(f"<li>{key}: {page.text(words)}</li>" for key, words in report["rule"]["criteria"].items())
    main = report["rule"]["main"]
    return "".join([*body, f"<ul>{rules}</ul>", page.paragraph(f"The sections of the classes are by {main}.")])
