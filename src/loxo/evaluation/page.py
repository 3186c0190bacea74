"""The page of an evaluation: one self-contained HTML file with curves as SVG and spectrograms as PNG.

Failure policy: a recording that cannot be found or read has no spectrograms, and the page states their number.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from loxo.audio.finding import find_recordings
from loxo.evaluation import figures
from loxo.evaluation.evaluate import Evaluation
from loxo.evaluation.inputs import ClassData
from loxo.evaluation.metrics import RATES
from loxo.evaluation.names import Index
from loxo.evaluation.terminal import describe, format_error, format_ratio
from loxo.files import write_atomically
from loxo.report.figures import inline_svg, render

MAX_EXAMPLES = 6  # misses, and the same number of false positives, for each class and detector
MAX_ROWS = 500  # listed sites or recordings
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #2b2f33; max-width: 1060px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { margin-top: 2.4rem; format_error-bottom: 1px solid #d5d9dc } h3 { margin: 1.6rem 0 .3rem }
table { format_error-collapse: collapse; font-size: 13px; margin: .6rem 0 } svg { height: auto }
th, td { padding: .22rem .7rem; text-align: right; format_error-bottom: 1px solid #e6e9eb; font-variant-numeric:
tabular-nums } th:first-child, td:first-child { text-align: left } .note { color: #9a4a00 } .wide { overflow-x: auto }
figure { display: inline-block; margin: .3rem; vertical-align: top } figcaption { font-size: 12px; max-width: 340px }
details { margin: .6rem 0 } summary { cursor: pointer }
"""


def write_page(evaluation: Evaluation, path: str | Path, recordings: str | Path | None = None) -> None:
    """Writes the page. `recordings`: a folder of the recordings, for spectrograms of the worst errors.

    Raises LoxoError if the file cannot be written.
    """
    report = evaluation.report
    body = ["<h1>Evaluation of detections</h1>"]
    body += [f"<p>{html.escape(line)}</p>" for line in describe(report)]
    criteria = "".join(f"<li>{key}: {html.escape(text)}</li>" for key, text in report["rule"]["criteria"].items())
    body.append(f"<ul>{criteria}</ul>")
    body += [f'<p class="note">{html.escape(note)}</p>' for note in report["notes"]]
    paths = _RecordingPaths(evaluation, recordings)
    for number, data in enumerate(evaluation.case.classes):
        body += _class_section(evaluation, data, number, paths)
    if len(evaluation.case.classes) > 1:
        body += [
            "<h2>All classes pooled</h2>",
            _accuracy_table([(d["name"], d["overall"]) for d in report["detectors"]]),
        ]
    if paths.missing:
        body.append(f'<p class="note">No spectrograms of {paths.missing} errors: their recordings were not found.</p>')
    text = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Evaluation of detections</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>\n'
    )
    write_atomically(path, (text + "\n".join(body) + "\n</body></html>\n").encode())


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


def _class_section(evaluation: Evaluation, data: ClassData, number: int, paths: _RecordingPaths) -> list[str]:
    report, label = evaluation.report, data.label
    main = report["rule"]["main"]
    parts = [(detector["name"], detector["classes"][label]) for detector in report["detectors"]]
    body = [f"<h2>{html.escape(label)}</h2>"]
    body.append(_accuracy_table([(name, part["criteria"]) for name, part in parts]))
    if len(parts) == 1:
        lines = list(parts[0][1]["criteria"].items())
    else:
        lines = [(name, part["criteria"][main]) for name, part in parts]
    body.append(
        _svg(figures.curves(lines), f"curves-{number}", f"{label}: precision, recall, false positives per hour")
    )
    kept = [(name, part["reliability"]) for name, part in parts]
    body.append(_svg(figures.reliability(kept), f"reliability-{number}", f"{label}: reliability"))
    body.append(_segment_table(parts))
    body += _snr_section(parts)
    for k, (name, part) in enumerate(parts):
        title = f"{html.escape(name)}: " if len(parts) > 1 else ""
        matching, detections = evaluation.matchings[k][label], data.detections[k]
        drawn = figures.timelines(evaluation.case, data.truth, detections, matching, report["rule"]["threshold"])
        body += [
            f"<h3>{title}recording by recording</h3>",
            _svg(drawn, f"timelines-{number}-{k}", f"{label}: errors in time"),
        ]
        body.append(_group_table("Sites", "site", part["by_site"]))
        body.append(_group_table("Recordings", "recording", part["by_recording"]))
        for rows, what in ((part["worst_misses"], "misses"), (part["worst_false"], "false positives")):
            body += [f"<h3>{title}worst {what}</h3>", *_examples(rows, data, evaluation, paths)]
    return body


def _svg(figure: Any, name: str, title: str) -> str:
    return f"<div>{inline_svg(render(lambda: figure, 'svg', name), title)}</div>"


def _table(header: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    lines = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows)
    return (
        f'<div class="wide"><table><tr>{head}</tr>' + "".join(f"<tr>{line}</tr>" for line in lines) + "</table></div>"
    )


def _accuracy_table(parts: Sequence[tuple[str, dict[str, Any]]]) -> str:
    rows = []
    known = False
    for name, criteria in parts:
        for key, values in criteria.items():
            row = [name, key, *(str(values[count]) for count in ("hits", "false", "loose", "ignored"))]
            row += [format_ratio(values[k], values[f"{k}_95"]) for k in ("ap", "precision", "recall", "f1")]
            row += [
                format_ratio(at["recall"], at["recall_95"]) + ("*" if at["list_ends_before"] else "")
                for at in values["at"]
            ]
            known = known or bool(values["at"])
            rows.append(row)
    header = [
        "detector",
        "matched by",
        "hits",
        "false",
        "of them overlapping",
        "ignored",
        "AP",
        "precision",
        "recall",
        "F1",
    ]
    if known:
        header += [f"recall at {rate:g} FP/h" for rate in RATES]
    footnote = "<p>* The list ends before it reaches this rate of false positives.</p>" if known else ""
    return _table(header, rows) + footnote


def _segment_table(parts: Sequence[tuple[str, dict[str, Any]]]) -> str:
    rows = []
    for name, part in parts:
        row = [name]
        for scores in (*part["segments"].values(), part["hourly"]):
            row.append(f"{format_ratio(scores['f1'])} / {format_ratio(scores['ap'])}")
        frames = part["frames"]
        row += [format_ratio(frames["ap"]) if frames else "-"]
        row += [format_error(part["borders"][key]) for key in ("onset_s", "offset_s")]
        rows.append([*row, format_ratio(part["reliability"]["error"])])
    header = ["detector", "1 s: F1 / AP", "10 s: F1 / AP", "hours: F1 / AP", "frame AP", "onset error", "offset error"]
    return _table([*header, "reliability error"], rows)


def _snr_section(parts: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    bins = sorted({(row["from_db"], row["to_db"]) for _, part in parts for row in part["snr"]})
    if not bins:
        return []
    rows = []
    for name, part in parts:
        by_bin = {row["from_db"]: row for row in part["snr"]}
        cells = (f"{by_bin[low]['found']}/{by_bin[low]['events']}" if low in by_bin else "-" for low, _ in bins)
        rows.append([name, *cells])
    header = ["found / events", *(f"{low:g} to {high:g} dB" for low, high in bins)]
    return ["<h3>Recall by signal-to-noise ratio</h3>", _table(header, rows)]


def _group_table(title: str, key: str, groups: list[dict[str, Any]]) -> str:
    worst = sorted(groups, key=lambda row: (-(row["false"] + row["events"] - row["hits"]), str(row[key])))
    rows = []
    for row in worst[:MAX_ROWS]:
        per_hour = "-" if row["false_per_hour"] is None else f"{row['false_per_hour']:.2f}"
        hours = "-" if row["hours"] is None else f"{row['hours']:.2f}"
        counts = [str(row[name]) for name in ("events", "hits", "false", "loose")]
        ratios = [format_ratio(row[name]) for name in ("precision", "recall", "f1", "ap")]
        rows.append([str(row[key]) or "(unknown)", hours, *counts, per_hour, *ratios])
    header = [key, "hours", "events", "hits", "false", "of them overlapping", "FP/h", "precision", "recall", "F1", "AP"]
    more = f"<p>{len(groups) - MAX_ROWS} more are in the JSON file.</p>" if len(groups) > MAX_ROWS else ""
    return f"<details><summary>{title} ({len(groups)})</summary>{_table(header, rows)}{more}</details>"


def _examples(rows: list[dict[str, Any]], data: ClassData, evaluation: Evaluation, paths: _RecordingPaths) -> list[str]:
    if not rows:
        return ["<p>None.</p>"]
    parts = []
    for row in rows[:MAX_EXAMPLES]:
        path = paths.find(row["recording"])
        number = evaluation.case.recordings.index(row["recording"])
        near = data.truth.recording == number
        events = [
            {"start_s": float(a), "end_s": float(b)}
            for a, b in zip(data.truth.start[near], data.truth.end[near], strict=True)
            if a < row["end_s"] + 60 and b > row["start_s"] - 60
        ]
        figure = figures.example(path, row, data.label, events) if path else None
        known = {"score": row.get("score"), "SNR": row.get("snr_db")}
        text = f"{row['recording']}, {row['start_s']:.1f}-{row['end_s']:.1f} s"
        text += "".join(f", {key} {value:.2f}" for key, value in known.items() if value is not None)
        if figure is None:
            paths.missing += 1
            parts.append(f"<p>{html.escape(text)}</p>")
            continue
        png = base64.b64encode(render(lambda drawn=figure: drawn, "png", "example", dpi=80)).decode()  # type: ignore[misc]
        image = f'<img alt="spectrogram" src="data:image/png;base64,{png}">'
        parts.append(f"<figure>{image}<figcaption>{html.escape(text)}</figcaption></figure>")
    return parts
