"""The report of an evaluation as text and tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from loxo.evaluation.metrics import RATES


def format_ratio(value: float | None, interval: list[float] | None = None) -> str:
    """0.83, or with an interval 0.83 (0.71-0.90); a dash for None."""
    if value is None:
        return "-"
    return f"{value:.2f}" + (f" ({interval[0]:.2f}-{interval[1]:.2f})" if interval else "")


def plural(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def summary(report: dict[str, Any]) -> str:
    """The result in one sentence."""
    truth, detectors, main = report["truth"], report["detectors"], report["rule"]["main"]
    where = f"in {plural(truth['recordings'], 'recording')}" + (
        f" ({_hours(truth['hours'])})" if truth["hours"] else ""
    )
    if len(detectors) == 1:
        found = []
        for label, part in detectors[0]["classes"].items():
            values = part["criteria"][main]
            rate, false = values["false_per_hour"], plural(values["false"], "false positive")
            per_hour = "" if rate is None else f" ({rate:.2g} an hour)"
            found.append(f"{values['hits']:,} of {plural(values['events'], label)}, with {false}{per_hour}")
        return f"{detectors[0]['name']} finds {_joined(found, ', and ')}, {where}."
    best = []
    for label in truth["classes"]:
        known = [(one["classes"][label]["criteria"][main]["ap"], one["name"]) for one in detectors]
        known = [(ap, name) for ap, name in known if ap is not None]
        if known:
            ap, name = max(known, key=lambda pair: pair[0])
            best.append(f"{ap:.2f} for {label}s ({name})")
    events = _joined([plural(counts["events"], label) for label, counts in truth["classes"].items()], " and ")
    sentence = f"{len(detectors)} detectors are compared {where} with {events}"
    return f"{sentence}; the highest average precision is {_joined(best, ' and ')}." if best else f"{sentence}."


def _hours(hours: float) -> str:
    return f"{hours:,.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"


def _joined(words: list[str], last: str) -> str:
    return last.join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def describe(report: dict[str, Any]) -> list[str]:
    """The compared data and the matching rule, in sentences."""
    truth, rule = report["truth"], report["rule"]
    hours = _hours(truth["hours"]) if truth["hours"] else "unknown hours"
    lines = [f"{plural(truth['recordings'], 'recording')}, {hours}"]
    for label, counts in truth["classes"].items():
        extra = [f"{counts[key]} {name}" for key, name in _EXTRA_COUNTS.items() if counts[key]]
        lines.append(f"{label}: {plural(counts['events'], 'event')}" + (f" ({', '.join(extra)})" if extra else ""))
    lines.append(f"Matching: {rule['matching']}. Ignored: {rule['ignored']}.")
    lines.append(f"False positives are {rule['false_positives']}. Intervals: {rule['intervals']}.")
    if rule["threshold"] is not None:
        lines.append(f"Precision, recall, F1 and errors: detections with a score of at least {rule['threshold']:g}.")
    return lines


_EXTRA_COUNTS = {
    "marginal": "marginal events are not counted",
    "clip_level": "of them are clip-level labels",
    "ignored_regions": "ignored regions",
}


def tables(report: dict[str, Any]) -> RenderableType:
    """All results except curves and lists of recordings. With short names the tables are 80 columns wide."""
    parts: list[RenderableType] = [Text(summary(report), style="bold"), *(Text(line) for line in describe(report))]
    parts += [Text(f"note: {note}", style="yellow") for note in report["notes"]]
    classes = report["truth"]["classes"]
    for label in (*classes, *([None] if len(classes) > 1 else [])):
        title = f"{label}, {plural(classes[label]['events'], 'event')}" if label else "all classes pooled"
        parts += ["", Text(title, style="bold"), _ranking(report, label), _listed(report, label)]
        if label:
            parts.append(_details(report, label))
    return Group(*parts)


def _criteria(report: dict[str, Any], label: str | None) -> Iterator[tuple[Text, str, dict[str, Any]]]:
    """For each row: the detector (only in its first row), the criterion and the metrics."""
    for detector in report["detectors"]:
        criteria = detector["classes"][label]["criteria"] if label else detector["overall"]
        for number, (name, metrics) in enumerate(criteria.items()):
            yield Text(detector["name"] if not number else ""), name, metrics


def _ranking(report: dict[str, Any], label: str | None) -> Table:
    rates = [f"{rate:g}" for rate in RATES] if report["truth"]["hours"] else []
    table = _table("detector", "by", "AP", *(f"recall at\n{rate} FP/h" for rate in rates))
    for detector, name, metrics in _criteria(report, label):
        cells = [
            format_ratio(at["recall"], at["recall_95"]) + ("*" if at["list_ends_before"] else "")
            for at in metrics["at"]
        ]
        table.add_row(detector, name, *_with_line_breaks(format_ratio(metrics["ap"], metrics["ap_95"]), *cells))
    if rates:
        table.caption = "* the list ends before it reaches this rate of false positives"
    return table


def _listed(report: dict[str, Any], label: str | None) -> Table:
    table = _table("as listed", "by", "hits", "false", "ignored", "precision", "recall", "F1")
    for detector, name, metrics in _criteria(report, label):
        counts = (str(metrics[key]) for key in ("hits", "false", "ignored"))
        ratios = (format_ratio(metrics[key], metrics[f"{key}_95"]) for key in ("precision", "recall", "f1"))
        table.add_row(detector, name, *counts, *_with_line_breaks(*ratios))
    return table


def _details(report: dict[str, Any], label: str) -> Table:
    scores = ("F1 of\n1 s", "\n10 s", "\nhours", "frame\nAP", "onset\nerror", "offset\nerror", "relia-\nbility")
    table = _table("as listed", *scores)
    for detector in report["detectors"]:
        part = detector["classes"][label]
        table.add_row(
            Text(detector["name"]),
            *(format_ratio(part["segments"][length]["f1"]) for length in part["segments"]),
            format_ratio(part["hourly"]["f1"]),
            format_ratio((part["frames"] or {}).get("ap")),
            *_with_line_breaks(format_error(part["borders"]["onset_s"]), format_error(part["borders"]["offset_s"])),
            format_ratio(part["reliability"]["error"]),
        )
    return table


def _table(*names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), caption_justify="left", caption_style="dim")
    for number, name in enumerate(names):
        if number == 0:  # names of detectors may be long and are folded; numbers are never cut
            table.add_column(name, overflow="fold", min_width=8)
        else:
            table.add_column(name, justify="left" if name == "by" else "right", no_wrap=True)
    return table


def _with_line_breaks(*cells: str) -> list[str]:
    """The cells with each interval in a separate line."""
    return [cell.replace(" (", "\n").replace(")", "") for cell in cells]


def format_error(spread: dict[str, Any]) -> str:
    """Median and quartiles of an error in seconds, as +0.12 s (-0.30/+0.50)."""
    if not spread["n"]:
        return "-"
    low, high = spread["quartiles"]
    return f"{spread['median']:+.2f} s ({low:+.2f}/{high:+.2f})"
