"""The pages in docs/reference, from the code: `python benchmarks/docs_reference.py docs/reference` (make reference).

Commands and options are those of the command line, settings those of the config dataclasses, Python names those of
`loxo.__all__`. Files and columns are those of a small run that is made, reviewed and reported here; a file or column
without a meaning below is an error. A test compares the pages in docs/reference with new ones.
"""

from __future__ import annotations

import csv
import inspect
import json
import re
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import typer

import loxo
from loxo.cli import app
from loxo.engine.architectures import CONFIGS
from loxo.engine.config import Decoding
from loxo.engine.fields import Key, keys_of
from loxo.report.report import report
from loxo.review.output import export
from loxo.review.session import Session
from loxo.simulation.simulate import simulate
from loxo.survey.survey import survey

MADE = "<!-- Written by `make reference` from the code. Do not edit. -->\n\n"

FILES = {
    "run.json": "the run record: parameters, problems, and the status of each recording",
    "journal.jsonl": "finished recordings with their events, from which the same command resumes; with checksums",
    "events.csv": "all events",
    "events.parquet": "the same as Parquet (`--format parquet`)",
    "events.selections.txt": "all events in one Raven table, counted through all recordings",
    "events.files.txt": "the recordings of that table in their order",
    "kaleidoscope.csv": "all events for Kaleidoscope (`--format kaleidoscope`)",
    "tables/NAME.selections.txt": "a Raven table for each recording",
    "labels/NAME.labels.txt": "Audacity labels for each recording (`--format audacity`)",
    "scores/NAME.npz": "frame scores for `loxo decode` (`--keep-scores`): an array for each class, and `hop_s`",
    "sites.csv": "the table of sites, if one was given",
    "review/REVIEWER.jsonl": "decision log of a reviewer",
    "reviewed/events.csv": "true events after the review, with corrected edges and labels",
    "reviewed/decisions.csv": "each event of the run as detected, with the decision",
    "reviewed/results.json": "results of the review: fits, thresholds, estimates, recall, agreement",
    "reviewed/tables/NAME.selections.txt": "true events of a recording with at least one decision",
    "reviewed/training/tables/NAME.selections.txt": "true events of recordings without undecided events",
    "reviewed/training/incomplete/NAME.selections.txt": "true events of recordings with undecided events",
    "reviewed/training/hard_negatives.selections.txt": "rejected events",
    "reviewed/training/undecided.selections.txt": "events that are neither calls nor background",
    "reviewed/training/searched.csv": "spans in which every call is known",
    "report.html": "the report; its tables have its name",
    "report.methods.txt": "a paragraph for your methods section",
    "report.rates.csv": "counts and rates of a label at a site",
    "report.effort.csv": "hours of a site and day",
    "report.gaps.csv": "pauses without sound",
    "report.problems.csv": "recordings that could not be analysed, or only in part",
    "report.hours.csv": "events and sound in each hour of each day",
    "report.months.csv": "counts and rates of a month",
    "report.daylight.csv": "counts and rates by day and by night (with coordinates)",
    "report.sun.csv": "sunrise and sunset (with coordinates)",
    "report.sites.csv": "sites with rates (with a table of sites)",
    "report.sites.geojson": "the same for a map",
    "report.detections.csv": "each listed event with its decision",
    "report.occasions.csv": "an occasion of a label at a site, with covariates",
    "report.history.csv": "detection history: one column for each occasion",
    "report.audiovisual-core.csv": "events in the terms of Audiovisual Core (`--standards`)",
    "report.aoef.json": "events as an annotation project for whombat (`--standards`)",
}
SOMETIMES = {  # not in the run that is made here
    "report.clips/LABEL/NAME.wav": "a clip of each listed event, with a faster one and a picture (`--clips`)",
    "report.clips/clips.csv": "the clips with their events, first second and SHA-256 (`--clips`)",
    "parts/": "finished shards of unfinished recordings, while a run is in progress",
    "changed/": "tables that were edited by another program, before they were written again",
    ".lock": "while a run is in progress",
}
COLUMNS = {
    "recording": "the recording, as it was given",
    "start_s": "onset, seconds from the start of the recording",
    "end_s": "offset, seconds from the start of the recording",
    "label": "class of the event",
    "score": "calibrated score, 0-1",
    "low_hz": "lower frequency bound",
    "high_hz": "upper frequency bound",
    "site": "place of the recorder",
    "start_time": "wall clock at the onset, with its offset from UTC where the zone is known",
    "Undecided": "number of events of the recording without a decision; absent or empty: none",
    "verdict": "yes, no, unsure, other, or empty",
    "new_label": "corrected label",
    "new_start_s": "corrected onset",
    "new_end_s": "corrected offset",
    "new_low_hz": "corrected lower bound",
    "new_high_hz": "corrected upper bound",
    "reviewers": "who decided",
    "note": "note of a reviewer",
    "detected_label": "the label before the review",
    "probability": "probability that the event is right; empty if unknown",
    "date": "day",
    "hour": "hour of day, 0-23",
    "recordings": "number of recordings",
    "failed": "recordings that could not be read",
    "cut_off": "recordings that were analysed in part",
    "recorded_h": "hours of sound",
    "analysed_h": "hours of sound that were analysed",
    "start": "beginning",
    "end": "end",
    "hours": "duration in hours",
    "cause": "cause of the gap",
    "LABEL": "listed events of the class",
    "LABEL estimate": "estimated true events of the class, after a review",
    "month": "year and month",
    "part": "day or night",
    "events": "listed events",
    "listed": "listed events",
    "reviewed": "events with a decision",
    "confirmed": "events that were confirmed",
    "not_counted": "events for which the review allows no estimate",
    "estimate": "estimated number of true events",
    "low": "lower limit of its 95 % interval",
    "high": "upper limit of its 95 % interval",
    "listed_per_day": "listed events in 24 h of sound",
    "per_day": "true events in 24 h of sound",
    "per_day_low": "lower limit of its 95 % interval",
    "per_day_high": "upper limit of its 95 % interval",
    "occasion": "number of the occasion at this site",
    "OCCASION": "1: confirmed; 0: analysed, none confirmed; NA: no sound",
    "day_of_year": "day of the year, 1-366",
    "basis": "confirmed, or listed where nothing was reviewed",
    "detected": "1, 0 or NA, as in the history",
    "status": "failed or truncated",
    "duration_s": "duration in seconds",
    "analysed_s": "analysed seconds",
    "reason": "reason in words",
    "latitude": "degrees, north is positive",
    "longitude": "degrees, east is positive",
    "time_zone": "time zone of the site",
    "first": "first sound",
    "last": "last sound",
    "LABEL events": "listed events of the class",
    "LABEL listed_per_day": "listed events of the class in 24 h of sound",
    "LABEL per_day": "true events of the class in 24 h of sound",
    "sunrise": "time of sunrise",
    "sunset": "time of sunset",
    "Selection": "number of the row",
    "View": "Spectrogram 1",
    "Channel": "channel, from 1",
    "Begin Time (s)": "onset; in `events.selections.txt` counted through all recordings",
    "End Time (s)": "offset, counted in the same way",
    "Low Freq (Hz)": "lower frequency bound",
    "High Freq (Hz)": "upper frequency bound",
    "Common Name": "class of the event",
    "Species Code": "class of the event",
    "Confidence": "calibrated score",
    "Begin Path": "path of the recording",
    "File Offset (s)": "onset, seconds from the start of the recording",
    "Begin File": "file name of the recording",
    "Detected As": "the label before the review",
    "Reviewers": "who decided",
    "Notes": "notes of the reviewers",
    "INDIR": "folder of the recordings",
    "FOLDER": "subfolder",
    "IN FILE": "file name",
    "CHANNEL": "channel, from 0",
    "OFFSET": "onset in seconds",
    "DURATION": "duration in seconds",
    "DATE": "day of the event",
    "TIME": "clock at the onset",
    "HOUR": "hour of day",
    "Fmin": "lower frequency bound",
    "Fmax": "upper frequency bound",
    "TOP1MATCH": "class of the event",
    "confidence": "calibrated score",
    "MANUAL ID": "empty, for your decision",
    "dcterms:identifier": "identifier of the event, the same in each export",
    "ac:isROIOf": "the recording",
    "ac:startTime": "onset in seconds",
    "ac:endTime": "offset in seconds",
    "ac:freqLow": "lower frequency bound",
    "ac:freqHigh": "upper frequency bound",
    "ac:tag": "class of the event",
    "dwc:locationID": "site",
    "dwc:eventDate": "wall clock at the onset",
    "dwc:identifiedBy": "Loxo and its model",
    "dwc:identificationVerificationStatus": "confirmed, rejected or unverified",
    "dwc:identificationRemarks": "score, notes",
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(one_line(cell) for cell in line) + " |" for line in lines) + "\n"


def one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("|", "\\|")).strip()


def sentence(text: str) -> str:
    """The text with the angle brackets of placeholders as code."""
    return re.sub(r"<(\w+)>", r"`<\1>`", text)


def commands() -> str:
    """Every command with its arguments and options."""
    group: Any = typer.main.get_command(app)
    names = group.list_commands(click.Context(group))
    parts = ["# Commands\n", "`loxo COMMAND --help` prints the same.\n"]
    rows = [[f"[{name}](#{name})", first_line(group, name)] for name in names]
    parts.append(table(["command", "what it does"], rows))
    for name in names:
        command = group.commands[name]
        parts += [f"## {name}\n", paragraphs(command.help or "")]
        arguments = [one for one in command.params if isinstance(one, click.Argument) or is_argument(one)]
        options = [one for one in command.params if one not in arguments and not getattr(one, "hidden", False)]
        if arguments:
            rows = [[f"`{(one.metavar or one.name).strip('{}.')}`", one.help or ""] for one in arguments]
            parts.append(table(["argument", "meaning"], rows))
        if options:
            parts.append(table(["option", "default", "meaning"], [option_row(one) for one in options]))
    return MADE + "\n".join(parts)


def is_argument(one: Any) -> bool:
    return one.param_type_name == "argument"


def first_line(group: Any, name: str) -> str:
    return paragraphs(group.commands[name].help or "").split("\n\n")[0]


def paragraphs(text: str) -> str:
    """The help text with one line for each paragraph."""
    return "\n\n".join(one_line(part) for part in text.split("\n\n")) + "\n"


def option_row(one: Any) -> list[str]:
    names = ", ".join(f"`{name}`" for name in [*one.opts, *one.secondary_opts])
    default = one.default() if callable(one.default) else one.default
    if one.required:
        shown = "required"
    elif default in (None, "", (), []) or (one.is_flag and default is False):
        shown = ""
    else:
        shown = f"`{default}`"
    return [names, shown, sentence(one.help or "")]


def key_rows(keys: dict[str, Key], prefix: str = "", defaults: Any = None) -> list[list[str]]:
    """Rows for config keys; `defaults`: a config with the values of a preset."""
    rows = []
    for name, one in keys.items():
        value = one.default if defaults is None else getattr(defaults, name)
        default = "" if repr(value).startswith("<") else f"`{json.dumps(value, default=str)}`"
        rows.append([f"`{prefix}{name}`", default if len(default) < 60 else "", f"{one.doc}{one.limits}"])
    return rows


def settings() -> str:
    """Every key of the config of training and of models."""
    from loxo.training.config_io import KEYS

    head = ["key", "default", "meaning"]
    parts = [
        "# Settings\n",
        "Keys of `loxo train`, in a YAML file or as `key=value`. `loxo train --show-config` prints them as YAML. "
        "[Training](../training.md#settings) explains their use.\n",
    ]
    sections: dict[str, dict[str, Key]] = {}
    for name, one in KEYS.items():
        sections.setdefault(name.rpartition(".")[0], {})[name] = one
    for section, keys in sections.items():
        parts += [f"## {section or 'Run'}\n", table(head, key_rows(keys))]
    parts.append("## Fields of a model\n\nSet as `model.KEY=VALUE`.\n")
    for name, kind in CONFIGS.items():
        preset = "default" if "default" in kind.presets else next(iter(kind.presets))
        parts += [
            f"## {name}\n",
            f"Values of the preset `{preset}`.\n",
            table(head, key_rows(keys_of(kind), "", kind.preset(preset))),
        ]
    parts.append("## Decoding of a class\n\n[From scores to events](../events.md) has a picture of each.\n")
    parts.append(table(head, key_rows(keys_of(Decoding))))
    return MADE + "\n".join(parts)


def python() -> str:
    """Every public name with its signature and docstring."""
    parts = [
        "# Python names\n",
        "These names are public; everything else may change. Networks (`AST`, `CRNN`, `HTSAT`), `load_model`, "
        "`save_model`, `load_weights`, `train` and `adapt` need the extra `train`.\n",
    ]
    for name in sorted(loxo.__all__, key=str.lower):
        value = getattr(loxo, name)
        if not callable(value):
            continue
        doc = inspect.cleandoc(value.__doc__ or "")
        parts += [f"## {name}\n", f"```text\n{call(name, value)}\n```\n", f"```text\n{doc}\n```\n" if doc else ""]
        if name.endswith("Config"):
            parts.append(f"Its fields are [settings](settings.md#{name.removesuffix('Config').lower()}).\n")
    return MADE + "\n".join(parts)


def call(name: str, value: Any) -> str:
    """A call with all parameters, each on a line of its own if they are many."""
    if isinstance(value, type) and issubclass(value, Exception):
        return f"{name}(message)"
    if name.endswith("Config"):
        return f"{name}(**fields)   {name}.preset(name, **fields)"
    signature = inspect.signature(value)
    parameters, shown = list(signature.parameters.values()), []
    for before, one in zip([None, *parameters], parameters, strict=False):
        if one.kind is one.KEYWORD_ONLY and (before is None or before.kind is not one.KEYWORD_ONLY):
            shown.append("*")
        default = "" if one.default is one.empty else f" = {one.default!r}"
        shown.append(f"{one.name}: {one.annotation}{default}")
    result = "" if isinstance(value, type) else f" -> {signature.return_annotation}"
    line = f"{name}({', '.join(shown)}){result}"
    return line if len(line) <= 100 else f"{name}(\n    " + ",\n    ".join(shown) + f",\n){result}"


def made_run(folder: Path) -> Path:
    """A run with every file: tables in all formats, scores, sites, a review with one undecided event, a report."""
    recordings, run, sites = folder / "recordings", folder / "run", folder / "sites.csv"
    simulate(recordings, 0.03, 1, file_hours=0.015, rumbles_per_hour=200, gunshots_per_hour=100)
    sites.write_text("site,latitude,longitude,time_zone\nsim01a,2.2,16.5,Africa/Brazzaville\n")
    formats = ("raven", "audacity", "kaleidoscope", "parquet")
    survey([recordings], "default", run, keep_scores=True, formats=formats, sites=sites, threshold=0.1)
    session = Session(run, "Reviewer")
    rows = range(len(session.names))
    undecided = max(rows)
    assert session.recording[0] != session.recording[undecided]
    session.act([{"row": row, "verdict": "yes" if row else "no"} for row in rows if row != undecided])
    session.close()
    export(run)
    report(run, standards=True)
    return run


def general(path: str) -> str:
    """The path of a file of the run, with NAME for the recording."""
    return re.sub(r"sim01a_\d+_\d+", "NAME", path).replace("review/reviewer", "review/REVIEWER")


def columns_of(file: Path) -> list[str]:
    if file.name.endswith((".csv", ".selections.txt")):
        with file.open(newline="") as lines:
            names = next(csv.reader(lines, delimiter="\t" if file.suffix == ".txt" else ","))
        names = [re.sub(r"^\d{4}-\d\d-\d\dT.*", "OCCASION", name) for name in names]
        return list(dict.fromkeys(re.sub(r"^(rumble|gunshot)\b", "LABEL", name) for name in names))
    return []


def run_folder() -> str:
    """Every file of a run folder with its columns."""
    with tempfile.TemporaryDirectory() as folder:
        run = made_run(Path(folder))
        found = {general(path.relative_to(run).as_posix()): path for path in sorted(run.rglob("*")) if path.is_file()}
        columns = {name: columns_of(path) for name, path in found.items()}
        record = json.loads(found["run.json"].read_text())
    used = [column for names in columns.values() for column in names]
    for what, real, described in (("file", found, FILES), ("column", used, COLUMNS)):
        if set(real) ^ set(described):
            raise SystemExit(f"Each {what} needs a meaning, and no other: {sorted(set(real) ^ set(described))}")
    parts = [
        "# Files of a run folder\n",
        "`NAME` is the name of a recording. `loxo detect` writes the first files, `loxo review --export` those in "
        "`reviewed/`, `loxo report` those that begin with `report`.\n",
        table(["file", "content"], [[f"`{name}`", text] for name, text in (FILES | SOMETIMES).items()]),
        "## Columns of each table\n",
        table(
            ["table", "columns"],
            [[f"`{name}`", ", ".join(f"`{one}`" for one in columns[name])] for name in FILES if columns[name]],
        ),
        "## Columns\n",
        "`LABEL` stands for a class and `OCCASION` for the beginning of an occasion.\n",
        table(["column", "meaning"], [[f"`{name}`", COLUMNS[name]] for name in dict.fromkeys(used)]),
        "## run.json\n",
        table(
            ["key", "content"],
            [
                ["`status`", "running, finished or interrupted"],
                ["`parameters`", ", ".join(f"`{name}`" for name in record["parameters"])],
                ["`problems`", "one sentence for each recording that was not analysed whole"],
                ["`counts`", "number of recordings by flaw: " + ", ".join(f"`{name}`" for name in record["counts"])],
                ["`recordings`", "for each one: " + ", ".join(f"`{name}`" for name in record["recordings"][0])],
            ],
        ),
    ]
    return MADE + "\n".join(parts)


def write(folder: Path) -> None:
    """Writes the four pages."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {"commands": commands, "settings": settings, "python": python, "run_folder": run_folder}
    for name, page in pages.items():
        (folder / f"{name}.md").write_text(re.sub(r"\n{3,}", "\n\n", page()).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
