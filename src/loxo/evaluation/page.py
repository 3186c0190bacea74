"""The page of an evaluation: one HTML file that needs nothing else, curves as SVG, spectrograms as PNG within it.

Failure policy: a recording that cannot be found or read only costs its pictures, and the page says how many.
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
from loxo.evaluation.inputs import OneClass
from loxo.evaluation.metrics import RATES
from loxo.evaluation.names import Index
from loxo.evaluation.terminal import border, describe, share
from loxo.files import write_atomically
from loxo.report.figures import inline_svg, render

EXAMPLES = 6  # misses, and as many false alarms, of each class and detector
MOST_ROWS = 500  # recordings listed
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #2b2f33; max-width: 1060px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { margin-top: 2.4rem; border-bottom: 1px solid #d5d9dc } h3 { margin: 1.6rem 0 .3rem }
table { border-collapse: collapse; font-size: 13px; margin: .6rem 0 } svg { height: auto }
th, td { padding: .22rem .7rem; text-align: right; border-bottom: 1px solid #e6e9eb; font-variant-numeric:
tabular-nums } th:first-child, td:first-child { text-align: left } .note { color: #9a4a00 } .wide { overflow-x: auto }
figure { display: inline-block; margin: .3rem; vertical-align: top } figcaption { font-size: 12px; max-width: 340px }
details { margin: .6rem 0 } summary { cursor: pointer }
"""


def write_page(evaluation: Evaluation, path: str | Path, recordings: str | Path | None = None) -> None:
    """Writes the page. `recordings`: a folder below which recordings lie, for spectrograms of the worst errors.

    Raises LoxoError when the file cannot be written.
    """
    report = evaluation.report
    body = ["<h1>Evaluation of detections</h1>"]
    body += [f"<p>{html.escape(line)}</p>" for line in describe(report)]
    criteria = "".join(f"<li>{key}: {html.escape(text)}</li>" for key, text in report["rule"]["criteria"].items())
    body.append(f"<ul>{criteria}</ul>")
    body += [f'<p class="note">{html.escape(note)}</p>' for note in report["notes"]]
    places = _Places(evaluation, recordings)
    for number, one in enumerate(evaluation.case.classes):
        body += _class(evaluation, one, number, places)
    if len(evaluation.case.classes) > 1:
        body += ["<h2>All classes pooled</h2>", _accuracy([(d["name"], d["overall"]) for d in report["detectors"]])]
    if places.missing:
        body.append(f'<p class="note">No pictures of {places.missing} errors: their recordings were not found.</p>')
    text = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Evaluation of detections</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>\n'
    )
    write_atomically(path, (text + "\n".join(body) + "\n</body></html>\n").encode())


class _Places:
    """Where recordings lie: as the truth names them, or below a folder."""

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


def _class(evaluation: Evaluation, one: OneClass, number: int, places: _Places) -> list[str]:
    report, label = evaluation.report, one.label
    main = report["rule"]["main"]
    parts = [(detector["name"], detector["classes"][label]) for detector in report["detectors"]]
    body = [f"<h2>{html.escape(label)}</h2>"]
    body.append(_accuracy([(name, part["criteria"]) for name, part in parts]))
    if len(parts) == 1:
        lines = list(parts[0][1]["criteria"].items())
    else:
        lines = [(name, part["criteria"][main]) for name, part in parts]
    body.append(_svg(figures.curves(lines), f"curves-{number}", f"{label}: precision, recall, false positives an hour"))
    kept = [(name, part["reliability"]) for name, part in parts]
    body.append(_svg(figures.reliability(kept), f"reliability-{number}", f"{label}: reliability"))
    body.append(_others(parts))
    body += _snr(parts)
    for k, (name, part) in enumerate(parts):
        title = f"{html.escape(name)}: " if len(parts) > 1 else ""
        matching, found = evaluation.matchings[k][label], one.found[k]
        drawn = figures.strips(evaluation.case, one.truth, found, matching, report["rule"]["threshold"])
        body += [
            f"<h3>{title}recording by recording</h3>",
            _svg(drawn, f"strips-{number}-{k}", f"{label}: errors in time"),
        ]
        body.append(_groups("Sites", "site", part["by_site"]))
        body.append(_groups("Recordings", "recording", part["by_recording"]))
        for rows, what in ((part["worst_misses"], "misses"), (part["worst_false"], "false alarms")):
            body += [f"<h3>{title}worst {what}</h3>", *_examples(rows, one, evaluation, places)]
    return body


def _svg(figure: Any, name: str, title: str) -> str:
    return f"<div>{inline_svg(render(lambda: figure, 'svg', name), title)}</div>"


def _table(header: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    lines = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows)
    return (
        f'<div class="wide"><table><tr>{head}</tr>' + "".join(f"<tr>{line}</tr>" for line in lines) + "</table></div>"
    )


def _accuracy(parts: Sequence[tuple[str, dict[str, Any]]]) -> str:
    rows = []
    known = False
    for name, criteria in parts:
        for key, values in criteria.items():
            row = [name, key, *(str(values[count]) for count in ("hits", "false", "loose", "ignored"))]
            row += [share(values[k], values[f"{k}_95"]) for k in ("ap", "precision", "recall", "f1")]
            row += [
                share(at["recall"], at["recall_95"]) + ("*" if at["list_ends_before"] else "") for at in values["at"]
            ]
            known = known or bool(values["at"])
            rows.append(row)
    header = [
        "detector",
        "matched by",
        "hits",
        "false",
        "of them touching",
        "ignored",
        "AP",
        "precision",
        "recall",
        "F1",
    ]
    if known:
        header += [f"recall at {rate:g} FP/h" for rate in RATES]
    ends = "<p>* The list ends before it has so many false positives.</p>" if known else ""
    return _table(header, rows) + ends


def _others(parts: Sequence[tuple[str, dict[str, Any]]]) -> str:
    rows = []
    for name, part in parts:
        row = [name]
        for scores in (*part["segments"].values(), part["hourly"]):
            row.append(f"{share(scores['f1'])} / {share(scores['ap'])}")
        frames = part["frames"]
        row += [share(frames["ap"]) if frames else "-"]
        row += [border(part["borders"][key]) for key in ("onset_s", "offset_s")]
        rows.append([*row, share(part["reliability"]["error"])])
    header = ["detector", "1 s: F1 / AP", "10 s: F1 / AP", "hours: F1 / AP", "frame AP", "onset error", "offset error"]
    return _table([*header, "reliability error"], rows)


def _snr(parts: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    steps = sorted({(row["from_db"], row["to_db"]) for _, part in parts for row in part["snr"]})
    if not steps:
        return []
    rows = []
    for name, part in parts:
        of = {row["from_db"]: row for row in part["snr"]}
        cells = (f"{of[low]['found']}/{of[low]['events']}" if low in of else "-" for low, _ in steps)
        rows.append([name, *cells])
    header = ["found / events", *(f"{low:g} to {high:g} dB" for low, high in steps)]
    return ["<h3>Recall by signal-to-noise ratio</h3>", _table(header, rows)]


def _groups(title: str, what: str, groups: list[dict[str, Any]]) -> str:
    worst = sorted(groups, key=lambda row: (-(row["false"] + row["events"] - row["hits"]), str(row[what])))
    rows = []
    for row in worst[:MOST_ROWS]:
        per_hour = "-" if row["false_per_hour"] is None else f"{row['false_per_hour']:.2f}"
        hours = "-" if row["hours"] is None else f"{row['hours']:.2f}"
        counts = [str(row[key]) for key in ("events", "hits", "false", "loose")]
        ratios = [share(row[key]) for key in ("precision", "recall", "f1", "ap")]
        rows.append([str(row[what]) or "(not known)", hours, *counts, per_hour, *ratios])
    header = [what, "hours", "events", "hits", "false", "of them touching", "FP/h", "precision", "recall", "F1", "AP"]
    more = f"<p>{len(groups) - MOST_ROWS} more are in the JSON.</p>" if len(groups) > MOST_ROWS else ""
    return f"<details><summary>{title} ({len(groups)})</summary>{_table(header, rows)}{more}</details>"


def _examples(rows: list[dict[str, Any]], one: OneClass, evaluation: Evaluation, places: _Places) -> list[str]:
    if not rows:
        return ["<p>None.</p>"]
    parts = []
    for row in rows[:EXAMPLES]:
        path = places.find(row["recording"])
        number = evaluation.case.recordings.index(row["recording"])
        near = one.truth.recording == number
        events = [
            {"start_s": float(a), "end_s": float(b)}
            for a, b in zip(one.truth.start[near], one.truth.end[near], strict=True)
            if a < row["end_s"] + 60 and b > row["start_s"] - 60
        ]
        figure = figures.example(path, row, one.label, events) if path else None
        known = {"score": row.get("score"), "SNR": row.get("snr_db")}
        text = f"{row['recording']}, {row['start_s']:.1f}-{row['end_s']:.1f} s"
        text += "".join(f", {key} {value:.2f}" for key, value in known.items() if value is not None)
        if figure is None:
            places.missing += 1
            parts.append(f"<p>{html.escape(text)}</p>")
            continue
        data = base64.b64encode(render(lambda drawn=figure: drawn, "png", "example", dpi=80)).decode()  # type: ignore[misc]
        image = f'<img alt="spectrogram" src="data:image/png;base64,{data}">'
        parts.append(f"<figure>{image}<figcaption>{html.escape(text)}</figcaption></figure>")
    return parts
