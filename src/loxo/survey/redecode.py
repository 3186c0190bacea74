"""A run decoded again from its kept frame scores, with other parameters, in seconds.

The events go into a run folder of their own; the old run stays as it is. Its scores are not copied: run.json of the new
folder says where they lie (`from_scores`), and read_scores finds them there. Each recording's sites, times, status and
faults are those of the old run. With the parameters of the old run the new folder has the same events, to the byte.

Frequencies of events that the old run has too are taken over; of others they are measured in the recording, where it
can still be read as it was, else they are the class's bounds, with a note.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from loxo.audio.filenames import Names
from loxo.audio.recording import RecordingError, probe
from loxo.detection.decode import Threshold, check_threshold, decode
from loxo.detection.detect import Analysis
from loxo.detection.frequency import measure
from loxo.errors import LoxoError
from loxo.events.table import events_frame
from loxo.runs.config import ByClass, RunConfig, changed, read_run_config, recorded
from loxo.runs.journal import FAILED, Entry, Row, read_run_journal
from loxo.runs.remote import check_place, open_run
from loxo.runs.scores import read_score_file, score_path
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
    work: str | Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> SurveySummary:
    """Decodes the kept scores of the folder `run` into the folder `out`. See this module's docstring.

    `threshold` as in loxo.detect; `changes` are other decoding parameters, see `changed`; without them they are the
    model's own, as in the old run. `names` as in analyse; None: as the old run read them. `out` and `work` as in
    survey. `on_progress` is called with the recordings done and those there are. The same call again resumes.
    Raises LoxoError when `run` is no run, has kept no scores, or is `out`; else as survey does.
    """
    from loxo.survey.survey import _summary

    check_place(out, work)
    source = Path(run).absolute()
    config, parameters = read_run_config(source)
    source = Path(parameters.get("from_scores") or source)  # of a run that was itself decoded from scores
    if source.resolve() == Path(out).resolve():
        raise LoxoError(f"{out}: this is the run itself. Give another folder for the events, so that the run stays.")
    if not parameters.get("keep_scores") and not parameters.get("from_scores"):
        raise LoxoError(f"{run}: the run has kept no scores. Run it with --keep-scores.")
    config = changed(config, changes or {})
    check_threshold(threshold, config.classes)
    if names is None:
        names = Names(**parameters["names"])
    parameters = {
        **parameters,
        **recorded(config),
        "threshold": threshold if threshold is None or isinstance(threshold, float) else dict(threshold),
        "keep_scores": False,
        "from_scores": str(source),
        "names": dataclasses.asdict(names),
        "formats": list(parse_formats(formats)),
    }
    kept = {entry.path: entry for entry, _ in read_run_journal(source)}.values()
    with open_run(out, parameters, [], work) as folder:
        entries = [dataclasses.replace(entry, files=()) for entry in kept]
        todo = {entry.path for entry in entries if not folder.finished(entry)}
        status = "interrupted"
        try:
            done = len(entries) - len(todo)
            for entry, rows in read_run_journal(source):
                if entry.path in todo:
                    outcome = _again(entry, rows, source, config, threshold, names)
                    folder.keep(dataclasses.replace(entry, files=()), outcome)
                    done += 1
                    if on_progress is not None:
                        on_progress(done, len(entries))
            status = "finished"
        finally:
            with nullcontext() if status == "finished" else suppress(LoxoError):  # what has stopped it is the message
                folder.close(status, entries)
        return _summary(folder, entries, resumed=len(entries) - len(todo), problems=[])


def _again(
    entry: Entry, rows: Sequence[Row], source: Path, config: RunConfig, threshold: Threshold, names: Names
) -> Analysis | str:
    """The outcome of one recording, with the faults of the old run."""
    if entry.status == FAILED:
        return entry.reason or f"{entry.recording}: the recording could not be read."
    try:
        kept = read_score_file(score_path(source, entry.name))
    except LoxoError as error:
        return str(error)
    if kept.labels != config.rows:
        return f"{score_path(source, entry.name)}: its classes are {', '.join(kept.labels)}, not the run's."
    samples = round(entry.analysed_s * config.sample_rate)
    found = decode(kept.scores, config, threshold=threshold, total_samples=samples)
    found, note = _with_frequencies(found, entry, rows, config, samples)
    return Analysis(
        events=events_frame(found.assign(recording=entry.recording).to_dict("records"), names),
        rows=kept.labels,
        scores=kept.scores,
        hop_s=kept.hop_s,
        duration_s=entry.duration_s,
        analysed_s=entry.analysed_s,
        fault=entry.reason,
        notes=entry.notes if note is None else (*entry.notes, note),
    )


def _with_frequencies(
    found: pd.DataFrame, entry: Entry, rows: Sequence[Row], config: RunConfig, samples: int
) -> tuple[pd.DataFrame, str | None]:
    """Measured bounds, those of the old run where it had the same event; and a note where they could not be had."""
    import pandas as pd

    old = {(round(float(row[0]) * 1e6), round(float(row[1]) * 1e6), row[2]): row[4:6] for row in rows}
    ends = zip(found["start_s"], found["end_s"], found["label"], strict=True)
    bounds = [old.get((round(start * 1e6), round(end * 1e6), label)) for start, end, label in ends]
    known = [bound is not None for bound in bounds]
    new = found[[not is_known for is_known in known]]
    note = None
    if len(new):
        try:
            new, note = measure(new, probe(entry.recording), config, samples)
        except RecordingError as error:
            note = f"{entry.recording}: the frequencies of some events could not be measured. {error}"
    taken = found[known].assign(
        **{name: [float(bound[k]) for bound in bounds if bound] for k, name in enumerate(("low_hz", "high_hz"))}
    )
    together = pd.concat([frame for frame in (taken, new) if len(frame)]) if len(found) else found
    return together.sort_index(), note
