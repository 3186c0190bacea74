"""Adds Loxo's scores to the events in another detector's table.

    OUT/NAME        the table under its own name: all its rows and columns unchanged, and one more column for each
                    class, `Loxo rumble`, `Loxo gunshot`
    OUT/score.json  the model and its hash, version, parameters, and the rows without a score

The score of an event in a class is the score that `loxo detect` computes for an event with its peak in the same place,
without the penalties for other events, and calibrated if the model has a calibration. Only the windows that overlap an
event are computed, so a few events of a long recording take little time. The windows have the same positions as in
`loxo detect`.

A worker process (processes.py) reads the recordings, if the model is a name or a path.

Failure policy: a row without a time or recording, or whose recording cannot be found or read, keeps its cells and gets
no score. The summary lists each problem once. The given table is never changed.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from loxo.audio.filenames import base_name
from loxo.audio.finding import find_recordings
from loxo.audio.recording import Recording, probe, stream
from loxo.audio.roots import Roots, server
from loxo.audio.storage import is_url, join, write_bytes
from loxo.detection.decode import calibrated_score, score_within, smooth, smoothing_radius
from loxo.detection.scores import frame_scores, rounded
from loxo.engine.config import Decoding
from loxo.engine.engine import Engine, as_engine
from loxo.engine.model_file import find_model
from loxo.engine.windows import WINDOW_OVERLAP, hop_steps
from loxo.errors import LoxoError
from loxo.events.cells import (
    ParsedTable,
    detect_delimiter,
    first_line,
    original_cell,
    parse_table,
    read_text,
    safe_cell,
)
from loxo.events.rows import AMBIGUOUS, events_from_table
from loxo.files import escape, unescape
from loxo.runs.remote import check_place
from loxo.survey.processes import Here, Job, Jobs, Pool, Processes
from loxo.survey.schedule import EngineFacts, Load, LoadModel

if TYPE_CHECKING:
    from torch import nn

Span = tuple[int, int]  # first step, stop step
PREFIX = "Loxo "  # of the names of the new columns
ROW = "loxo row"  # temporary column with the row number of each event


@dataclass(frozen=True)
class Scored:
    """The result of score_table."""

    table: Path | str  # the written table
    rows: int
    scored: int
    problems: list[str]  # sentences

    def __str__(self) -> str:
        return f"{self.scored} of {self.rows} rows scored"


def score_table(
    table: str | Path,
    model: str | Path | Engine | nn.Module,
    out: str | Path,
    *,
    recordings: Iterable[str | Path] = (),
    window_overlap: float = WINDOW_OVERLAP,
    batch_size: int = 8,
    device: str = "cpu",
    runtime: str = "auto",
    on_progress: Callable[[int, int], None] | None = None,
) -> Scored:
    """Writes `table` (Raven, or CSV with a header) with the scores of its events into the folder or s3:// URL `out`.

    A recording is searched by name in `recordings` (files and folders, as in survey), then by the path in the table,
    then by this path or its file name in the table's folder. A URL in the table is opened only if its server is known
    (loxo.audio.roots) or is given in `recordings`. `model` is a name, a path or a model. `on_progress` is
    called with the number of finished recordings and their total number.
    Raises LoxoError for a table or model that cannot be read, a bad option, or a folder that cannot be written.
    """
    table = Path(table)
    check_place(out, None)
    text = read_text(table)
    delimiter = detect_delimiter(first_line(text))
    cells = parse_table(table, text, delimiter)
    target = join(out, table.name)
    if not is_url(target) and Path(target).exists() and Path(target).samefile(table):
        raise LoxoError(f"{out}: the table itself is in this folder. Give another folder, so that it is not replaced.")
    with _pool(model, device, runtime, window_overlap, batch_size) as pool:
        facts = pool.facts()
        places = _places(cells)
        results = _results(pool, places, Finder(table.parent, recordings), on_progress)
    scores: dict[int, list[float]] = {}
    problems: list[str] = list(places.problems)
    for (name, rows), values in zip(places.by_recording.items(), results, strict=True):
        if isinstance(values, str):
            problems.append(f"{values} ({len(rows)} row(s) without a score.)")
            continue
        outside = [row for (row, _), value in zip(rows, values, strict=True) if value is None]
        if outside:
            problems.append(f"{name}: {len(outside)} row(s) start after the end of the recording and have no score.")
        scores |= {row: value for (row, _), value in zip(rows, values, strict=True) if value is not None}
    write_bytes(target, _with_scores(cells, text, delimiter, facts.config.classes, scores).encode())
    record = {
        **_about(model, facts),
        "table": str(table),
        "window_overlap": window_overlap,
        "batch_size": batch_size,
        "problems": problems,
    }
    write_bytes(join(out, "score.json"), (json.dumps(record, indent=1) + "\n").encode())
    return Scored(target if is_url(target) else Path(target), len(cells.rows), len(scores), problems)


def score_events(
    recording: Recording,
    engine: Engine,
    events: Sequence[tuple[float, float]],
    window_overlap: float = WINDOW_OVERLAP,
    batch_size: int = 8,
) -> list[list[float] | None]:
    """The score in every class of events (start_s, end_s) of one recording; None for one that lies outside it."""
    config = engine.config
    total_samples = recording.samples_at(config.sample_rate)
    total = -(-total_samples // config.step_samples)
    spans = [_steps(start, end, config, total) for start, end in events]
    step_s = config.step_samples / config.sample_rate
    radius = max(smoothing_radius(_decoding(config, label).smooth_s / step_s) for label in config.classes)
    hop = hop_steps(window_overlap, config.steps, config.stride_steps)
    scores: list[list[float] | None] = [None] * len(events)
    for first, last, members in _excerpts(spans, config.steps, hop, radius, total):
        end = min(last * config.step_samples, total_samples)
        blocks = stream(recording, config.sample_rate, start=first * config.step_samples, stop=end)
        rows = frame_scores(engine, blocks, window_overlap=window_overlap, batch_size=batch_size)
        frames = rounded(rows[: len(config.classes)])
        if blocks.fault:
            raise LoxoError(blocks.fault)
        smoothed = [
            smooth(values, _decoding(config, label).smooth_s / step_s)
            for label, values in zip(config.classes, frames, strict=True)
        ]
        for k in members:
            span = spans[k]
            assert span is not None
            inside = slice(span[0] - first, span[1] - first)
            scores[k] = [
                calibrated_score(
                    score_within(raw[inside], mean[inside], _decoding(config, label)), config.calibration.get(label)
                )
                for label, raw, mean in zip(config.classes, frames, smoothed, strict=True)
            ]
    return scores


def _decoding(config: Any, label: str) -> Decoding:
    found: Decoding = config.decoding.get(label, Decoding())
    return found


def _steps(start_s: float, end_s: float, config: Any, total: int) -> Span | None:
    """The steps that an event overlaps, at least one; None for an event after the recording's end."""
    step_s = config.step_samples / config.sample_rate
    first = int(start_s / step_s + 1e-6)
    last = max(int(np.ceil(end_s / step_s - 1e-6)), first + 1)
    return (first, min(last, total)) if first < total else None


def _excerpts(
    spans: Sequence[Span | None], steps: int, hop: int, radius: int, total: int
) -> list[tuple[int, int, list[int]]]:
    """Excerpts of the recording that contain all windows that overlap an event or `radius` steps around it.

    An excerpt is (first step, stop step, indices of its events). Its windows lie on the same grid as those of a whole
    recording.
    """
    wanted = []
    for k, span in enumerate(spans):
        if span is not None:
            low, high = max(span[0] - radius, 0), min(span[1] + radius, total) - 1
            first = max(-(-(low - steps + 1) // hop), 0) * hop
            last = total if high >= total - steps else high // hop * hop + steps
            if last == total:  # the last window is moved back so that it ends with the recording
                first = min(first, max(total - steps, 0) // hop * hop)
            wanted.append((first, min(last, total), k))
    excerpts: list[tuple[int, int, list[int]]] = []
    for first, last, k in sorted(wanted):
        if excerpts and first <= excerpts[-1][1]:
            before, end, members = excerpts.pop()
            excerpts.append((before, max(end, last), [*members, k]))
        else:
            excerpts.append((first, last, [k]))
    return excerpts


@dataclass
class _Places:
    by_recording: dict[str, list[tuple[int, tuple[float, float]]]]  # recording -> (row, (start_s, end_s))
    problems: list[str]


def _places(cells: ParsedTable) -> _Places:
    """The recording and the times of every row. Unlike read_raven, this does not merge the views of one selection."""
    columns = {field: found for field, found in cells.columns.items() if field not in ("view", "channel")}
    numbered = [(line, [*row[: len(cells.header)], str(k)]) for k, (line, row) in enumerate(cells.rows)]
    table = dataclasses.replace(cells, header=[*cells.header, ROW], rows=numbered, columns=columns)
    events = events_from_table(table, label="", extra={"row": ROW}, strict=False)
    by_recording: dict[str, list[tuple[int, tuple[float, float]]]] = {}
    for event in events.to_dict("records"):
        place = (event["start_s"], event["end_s"])
        by_recording.setdefault(event["recording"], []).append((int(event["row"]), place))
    told = [one for one in events.attrs["problems"] if "left out" in one or AMBIGUOUS in one]
    return _Places(by_recording, told)


class Finder:
    """Finds the recording that a table names."""

    def __init__(self, folder: Path, recordings: Iterable[str | Path]) -> None:
        self.folder, recordings = folder, list(recordings)
        self.named: dict[str, list[str]] = {}
        self.roots = Roots(recordings)
        for path in find_recordings(recordings)[0]:
            self.named.setdefault(base_name(escape(str(path))).casefold(), []).append(str(path))

    def __call__(self, name: str) -> str:
        """The path. Raises LoxoError if there are several recordings of this name."""
        named = self.named.get(base_name(name).casefold(), [])
        if len(named) > 1:  # several files have this name: the one whose folders agree best
            fits = {path: _common_tail(path, name) for path in named}
            named = [path for path in named if fits[path] == max(fits.values())]
        if len(named) > 1:
            raise LoxoError(
                f"{name}: several recordings have this name, among them {named[0]} and {named[1]}. Give only one."
            )
        if named:
            return named[0]
        name = unescape(name)
        local = Path(name.replace("\\", "/"))
        beside = [path for path in (self.folder / local, self.folder / local.name) if path.is_file()]
        if beside and not local.is_file():
            return str(beside[0])
        if is_url(name) and name not in self.roots:
            raise LoxoError(
                f"{name}: the table names this address, and no request was sent to it. If you trust the table, give "
                f"the address {server(name)}/ with the recordings."
            )
        return name


def _common_tail(one: str, other: str) -> int:
    """Number of equal components at the end of two paths."""
    parts = [path.replace("\\", "/").casefold().split("/")[::-1] for path in (one, other)]
    return next((k for k, (a, b) in enumerate(zip(*parts, strict=False)) if a != b), min(map(len, parts)))


class Scorer:
    """Scores the events of single recordings: the work of `loxo score`."""

    def __init__(self, load: Load, window_overlap: float, batch_size: int) -> None:
        self.engine, self.options = as_engine(load()), (window_overlap, batch_size)
        self.facts = EngineFacts.of(self.engine)

    def __call__(self, job: Job, report: object) -> list[list[float] | None] | str:
        try:
            return score_events(probe(job.path), self.engine, job.content, *self.options)
        except LoxoError as error:
            return str(error)


@contextmanager
def _pool(
    model: str | Path | Engine | Any, device: str, runtime: str, window_overlap: float, batch_size: int
) -> Iterator[Pool]:
    if not isinstance(model, str | Path):
        yield Here(lambda: Scorer(lambda: model, window_overlap, batch_size))
        return
    load = LoadModel(find_model(model), device, runtime)
    with Processes("loxo.survey.score_table:Scorer", (load, window_overlap, batch_size)) as pool:
        yield pool


def _results(
    pool: Pool, places: _Places, find: Finder, on_progress: Callable[[int, int], None] | None
) -> list[list[list[float] | None] | str]:
    """The scores of each recording, or why it has none."""
    results: dict[int, Any] = {}
    jobs, total = [], len(places.by_recording)
    for index, (name, rows) in enumerate(places.by_recording.items()):
        try:
            jobs.append(Job(index, find(name), [span for _, span in rows]))
        except LoxoError as error:
            results[index] = str(error)
    if on_progress is not None:
        on_progress(len(results), total)
    for job, result in pool.run(Jobs(jobs), lambda seconds: None):
        if isinstance(result, list | str):
            results[job.index] = result
            if on_progress is not None:
                on_progress(len(results), total)
    return [results[index] for index in range(total)]


def _about(model: str | Path | Engine | Any, facts: EngineFacts) -> dict[str, Any]:
    """What the record states about the model."""
    from loxo import __version__

    about: dict[str, Any] = {"version": __version__}
    if not isinstance(model, str | Path):
        return about | {"model": type(model).__name__}
    return about | {"model": str(model), "model_sha256": facts.sha256, **facts.description}


def _with_scores(
    cells: ParsedTable, text: str, delimiter: str, classes: Sequence[str], scores: dict[int, list[float]]
) -> str:
    """The text of the table with the new columns."""
    rows = [(1, cells.header, [PREFIX + label for label in classes])]
    for k, (line, row) in enumerate(cells.rows):
        rows.append((line, row, [f"{score:.6f}" for score in scores[k]] if k in scores else [""] * len(classes)))
    if delimiter == "\t":  # the lines stay as they are, except for formulas: quotes have no meaning in Raven tables
        lines = ["\t".join(safe_cell(original_cell(cell)) for cell in line.split("\t")) for line in text.split("\n")]
        lines[0] = next(line for line in lines if line.strip())
        width = len(cells.header)
        return "".join(
            "\t".join([lines[line - 1] + "\t" * max(width - 1 - lines[line - 1].count("\t"), 0), *more]) + "\n"
            for line, _, more in rows
        )
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter, lineterminator="\n").writerows(
        [*map(safe_cell, row), *more] for _, row, more in rows
    )
    return buffer.getvalue()
