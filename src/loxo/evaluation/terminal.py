"""The report of an evaluation as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from loxo.evaluation.metrics import RATES


def share(value: float | None, interval: list[float] | None = None) -> str:
    """0.83, or 0.83 (0.71-0.90); a dash where there is none."""
    if value is None:
        return "-"
    return f"{value:.2f}" + (f" ({interval[0]:.2f}-{interval[1]:.2f})" if interval else "")


def describe(report: dict[str, Any]) -> list[str]:
    """What was compared and by which rule, in sentences."""
    truth, rule = report["truth"], report["rule"]
    hours = f"{truth['hours']:.4g} h" if truth["hours"] else "hours not known"
    lines = [f"{truth['recordings']} recordings, {hours}"]
    for label, counts in truth["classes"].items():
        extra = [f"{counts[key]} {name}" for key, name in _ASIDE.items() if counts[key]]
        lines.append(f"{label}: {counts['events']} events" + (f" ({', '.join(extra)})" if extra else ""))
    lines.append(f"Matching: {rule['matching']}. Ignored: {rule['ignored']}.")
    lines.append(f"False positives are {rule['false_positives']}. Intervals: {rule['intervals']}.")
    if rule["threshold"] is not None:
        lines.append(f"Precision, recall, F1 and errors: detections that score at least {rule['threshold']:g}.")
    return lines


_ASIDE = {
    "marginal": "marginal ones are not counted",
    "clip_level": "of them label a whole clip",
    "ignored_regions": "ignored regions",
}


def tables(report: dict[str, Any]) -> RenderableType:
    """Everything but curves and lists of recordings, 80 columns wide for short names."""
    parts: list[RenderableType] = [Text(line) for line in describe(report)]
    parts += [Text(f"note: {note}", style="yellow") for note in report["notes"]]
    classes = report["truth"]["classes"]
    for label in (*classes, *([None] if len(classes) > 1 else [])):
        title = f"{label}, {classes[label]['events']} events" if label else "all classes pooled"
        parts += ["", Text(title, style="bold"), _ranking(report, label), _listed(report, label)]
        if label:
            parts.append(_details(report, label))
    return Group(*parts)


def _criteria(report: dict[str, Any], label: str | None) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Detector (once), criterion and figures of each row."""
    for detector in report["detectors"]:
        criteria = detector["classes"][label]["criteria"] if label else detector["overall"]
        for number, (name, figures) in enumerate(criteria.items()):
            yield escape(detector["name"]) if not number else "", name, figures


def _ranking(report: dict[str, Any], label: str | None) -> Table:
    rates = [f"{rate:g}" for rate in RATES] if report["truth"]["hours"] else []
    table = _table("detector", "by", "AP", *(f"recall at\n{rate} FP/h" for rate in rates))
    for detector, name, figures in _criteria(report, label):
        cells = [share(at["recall"], at["recall_95"]) + ("*" if at["list_ends_before"] else "") for at in figures["at"]]
        table.add_row(detector, name, *_broken(share(figures["ap"], figures["ap_95"]), *cells))
    if rates:
        table.caption = "* the list ends before it has so many false positives"
    return table


def _listed(report: dict[str, Any], label: str | None) -> Table:
    table = _table("as listed", "by", "hits", "false", "ignored", "precision", "recall", "F1")
    for detector, name, figures in _criteria(report, label):
        counts = (str(figures[key]) for key in ("hits", "false", "ignored"))
        ratios = (share(figures[key], figures[f"{key}_95"]) for key in ("precision", "recall", "f1"))
        table.add_row(detector, name, *counts, *_broken(*ratios))
    return table


def _details(report: dict[str, Any], label: str) -> Table:
    scores = ("F1 of\n1 s", "\n10 s", "\nhours", "frame\nAP", "onset\nerror", "offset\nerror", "relia-\nbility")
    table = _table("as listed", *scores)
    for detector in report["detectors"]:
        part = detector["classes"][label]
        table.add_row(
            escape(detector["name"]),
            *(share(part["segments"][length]["f1"]) for length in part["segments"]),
            share(part["hourly"]["f1"]),
            share((part["frames"] or {}).get("ap")),
            *_broken(border(part["borders"]["onset_s"]), border(part["borders"]["offset_s"])),
            share(part["reliability"]["error"]),
        )
    return table


def _table(*names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), caption_justify="left", caption_style="dim")
    for number, name in enumerate(names):
        if number == 0:  # names of detectors may be long, figures are never cut
            table.add_column(name, overflow="fold", min_width=8)
        else:
            table.add_column(name, justify="left" if name == "by" else "right", no_wrap=True)
    return table


def _broken(*cells: str) -> list[str]:
    """Intervals on a line of their own."""
    return [cell.replace(" (", "\n").replace(")", "") for cell in cells]


def border(spread: dict[str, Any]) -> str:
    """Median and quartiles of an error in seconds."""
    if not spread["n"]:
        return "-"
    low, high = spread["quartiles"]
    return f"{spread['median']:+.2f} s ({low:+.2f}/{high:+.2f})"
