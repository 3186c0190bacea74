"""Decodes the kept frame scores of a run again, with other parameters, in seconds.

The events are written into a new run folder; the old run is not changed. The new run has the same score files, as hard
links where the disk has them; on object storage it has none. `from_scores` in the new run.json names the old run, but
is never followed: a run folder may come from another person. Sites, times, status and faults of each recording are
copied from the old run. With the parameters of the old run, the new tables and
events.csv are identical to the old ones, byte for byte.

Frequency bounds of an event that the old run also has are copied. Bounds of other events are measured in the recording.
Failure policy: if the recording cannot be read any more, these events get the bounds of their class, and run.json gets
a note.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from loxo.audio.channels import MIX, Channel, channel_rows
from loxo.audio.filenames import Names
from loxo.audio.recording import RecordingError, probe
from loxo.audio.roots import Roots
from loxo.detection.decode import Threshold, check_threshold, decode
from loxo.detection.detect import Analysis
from loxo.detection.frequency import measure
from loxo.errors import LoxoError
from loxo.events.table import CHANNEL, events_frame
from loxo.files import escape, inside
from loxo.runs.config import ByClass, RunConfig, config_parameters, read_run_config, with_changes
from loxo.runs.journal import FAILED, JOURNAL, Entry, Row, read_parameters, read_run_journal
from loxo.runs.record import read_record
from loxo.runs.remote import check_place, open_run
from loxo.runs.scores import FOLDER as SCORES
from loxo.runs.scores import read_score_file, score_path, share_scores
from loxo.runs.tables import parse_formats

if TYPE_CHECKING:
    import pandas as pd

    from loxo.survey.survey import SurveySummary


def analysed_hours(run: str | Path) -> float:
    """Hours analysed in a run."""
    seconds = {entry.path: entry.analysed_s for entry, _ in read_run_journal(run)}  # each recording once
    return sum(seconds.values()) / 3600


def redecode(
    run: str | Path,
    out: str | Path,
    *,
    threshold: Threshold = None,
    changes: Mapping[str, ByClass] | None = None,
    formats: Sequence[str] | str = ("raven",),
    names: Names | None = None,
    recordings: str | Path | None = None,
    work: str | Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> SurveySummary:
    """Decodes the kept scores of the run folder `run` into the run folder `out`; see the module's docstring.

    `threshold` is as in loxo.detect. `changes` are decoding parameters that differ from those of the old run, see
    `with_changes`. `names` is as in analyse; None uses the patterns of the old run.
    `recordings` is a folder or a server whose recordings may be opened, beside the known ones (loxo.audio.roots).
    `out` and `work` are as in survey.
    `on_progress` is called with the number of finished recordings and their total number. The same call resumes.
    Raises LoxoError if `run` is not a run, has no kept scores, or is `out`; otherwise as survey does.
    """
    from loxo.survey.survey import _summary, one_interruption

    check_place(out, work)
    source = Path(run).absolute()
    config, parameters = read_run_config(source)
    if source.resolve() == Path(out).resolve():
        raise LoxoError(f"{out}: this is the run itself. Give another folder, so that the run is not replaced.")
    if not parameters.get("keep_scores") and not parameters.get("from_scores"):
        raise LoxoError(f"{run}: this run has no kept scores. Run `loxo detect` with --keep-scores.")
    if parameters.get("from_scores") and not inside(source, SCORES).is_dir():
        raise LoxoError(
            f"{run}: this run was decoded from the scores of {parameters['from_scores']} and has none itself. Give "
            "that run, if you trust it."
        )
    config = with_changes(config, changes or {})
    check_threshold(threshold, config.classes)
    if names is None:
        names = Names(**parameters["names"])
    parameters = {
        **parameters,
        **config_parameters(config),
        "threshold": threshold if threshold is None or isinstance(threshold, float) else dict(threshold),
        "keep_scores": False,
        "from_scores": str(source),
        "names": dataclasses.asdict(names),
        "formats": list(parse_formats(formats)),
    }
    roots = Roots([source.parent, *([] if recordings is None else [recordings])])
    kept = {entry.path: entry for entry, _ in read_run_journal(source)}
    problems = _damaged_lines(source, kept)
    with one_interruption(), open_run(out, parameters, problems, work) as folder:
        entries = [_to_decode(entry) for entry in kept.values()]
        todo = {entry.path for entry in entries if not folder.finished(entry)}
        status = "interrupted"
        try:
            done = len(entries) - len(todo)
            for entry, rows in read_run_journal(source):
                if entry.path in todo:
                    channel = parameters.get("channel", MIX)
                    outcome = _again(entry, rows, source, config, threshold, names, channel, roots)
                    if isinstance(outcome, Analysis) and folder.place == folder.folder:
                        share_scores(source, folder.folder, entry.name)
                    folder.keep(_to_decode(entry), outcome)
                    done += 1
                    if on_progress is not None:
                        on_progress(done, len(entries))
            status = "finished"
        finally:
            with nullcontext() if status == "finished" else suppress(LoxoError):  # the first error is the message
                folder.close(status, entries)
        return _summary(folder, entries, resumed=len(entries) - len(todo), problems=problems)


def _to_decode(entry: Entry) -> Entry:
    """The entry in the new run before its scores are decoded."""
    return Entry(
        path=entry.path,
        recording=entry.recording,
        name=entry.name,
        size=entry.size,
        version=entry.version,
        status=FAILED,
    )


def _damaged_lines(source: Path, kept: Mapping[str, Entry]) -> list[tuple[Path | str, str]]:
    """A problem for each recording of the run whose line in the journal is damaged.

    Raises LoxoError when run.json and the journal have different parameters: one of them is damaged.
    """
    record, stored = read_record(source), read_parameters(inside(source, JOURNAL))
    if stored is not None and stored != record.parameters:
        raise LoxoError(
            f"{source}: run.json and {JOURNAL} contain different parameters, so one of them is damaged. Give the same "
            "`loxo detect` command again, then decode again."
        )
    whole = {entry.recording for entry in kept.values()}
    return [
        (
            file.recording,
            f"{file.recording}: its line in {source / JOURNAL} is damaged. Give the same `loxo detect` command again, "
            "then decode again.",
        )
        for file in record.recordings
        if file.recording not in whole
    ]


def _again(
    entry: Entry,
    rows: Sequence[Row],
    source: Path,
    config: RunConfig,
    threshold: Threshold,
    names: Names,
    channel: Channel,
    roots: Roots,
) -> Analysis | str:
    """The new outcome of one recording, with the faults of the old run."""
    if entry.status == FAILED:
        return entry.reason or f"{entry.recording}: the recording could not be read."
    try:
        kept = read_score_file(score_path(source, entry.name))
    except LoxoError as error:
        return str(error)
    count = max(len(kept.labels) // len(config.rows), 1)
    if kept.labels != channel_rows(config.rows, count):
        return f"{score_path(source, entry.name)}: its rows are {', '.join(kept.labels)}, not those of the run."
    samples = round(entry.analysed_s * config.sample_rate)
    events, notes = [], list(entry.notes)
    for number, scores in enumerate(np.split(kept.scores, count), channel if isinstance(channel, int) else 1):
        found = decode(scores, config, threshold=threshold, total_samples=samples)
        if channel == MIX:
            found, note = _with_frequencies(found, entry, rows, config, samples, roots)
        else:
            of_channel = [row for row in rows if row[-1] == str(number)]
            found, note = _with_frequencies(found, entry, of_channel, config, samples, roots, number - 1)
            found = found.assign(**{CHANNEL: number})
        events += found.assign(recording=escape(entry.recording)).to_dict("records")
        notes += [note] if note else []
    return Analysis(
        events=events_frame(events, names),
        rows=kept.labels,
        scores=kept.scores,
        hop_s=kept.hop_s,
        duration_s=entry.duration_s,
        analysed_s=entry.analysed_s,
        fault=entry.reason,
        notes=tuple(dict.fromkeys(notes)),
    )


def _with_frequencies(
    found: pd.DataFrame,
    entry: Entry,
    rows: Sequence[Row],
    config: RunConfig,
    samples: int,
    roots: Roots,
    channel: int | None = None,
) -> tuple[pd.DataFrame, str | None]:
    """The events with frequency bounds, copied where the old run has the same event; and a note on unmeasured ones."""
    import pandas as pd

    old = {(round(float(row[0]) * 1e6), round(float(row[1]) * 1e6), row[2]): row[4:6] for row in rows}
    ends = zip(found["start_s"], found["end_s"], found["label"], strict=True)
    bounds = [old.get((round(start * 1e6), round(end * 1e6), label)) for start, end, label in ends]
    is_known = [bound is not None for bound in bounds]
    new = found[[not known for known in is_known]]
    note = None
    if len(new):
        try:
            if entry.recording not in roots:
                raise RecordingError("It lies outside the known folders of recordings. Give --recordings.")
            new, note = measure(new, probe(entry.recording), config, samples, channel)
        except RecordingError as error:
            note = f"{entry.recording}: the frequencies of some events could not be measured. {error}"
    copied = found[is_known].assign(
        **{name: [float(bound[k]) for bound in bounds if bound] for k, name in enumerate(("low_hz", "high_hz"))}
    )
    together = pd.concat([frame for frame in (copied, new) if len(frame)]) if len(found) else found
    return together.sort_index(), note
