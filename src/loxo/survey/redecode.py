"""Decodes the kept frame scores of a run again, with other parameters, in seconds.

The events are written into a new run folder; the old run is not changed. The new run has the same score files, as hard
links where the disk has them; on object storage it has none. `from_scores` in the new run.json names the old run, but
is never followed: a run folder may come from another person. Sites, times, status and faults of each recording are
copied from the old run. With the parameters of the old run, the new tables and
events.csv are identical to the old ones, byte for byte.

Frequency bounds of an event that the old run also has are copied. Bounds of other events are measured in the
recording, by a worker process (processes.py).
Failure policy: if the recording cannot be read any more, or ends its worker, these events get the bounds of their
class, and run.json gets a note.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loxo.audio.channels import MIX, Channel, channel_rows
from loxo.audio.filenames import Names
from loxo.audio.roots import Roots
from loxo.detection.threshold import Threshold, check_threshold
from loxo.errors import LoxoError
from loxo.events.sites import read_sites
from loxo.events.table import CHANNEL, COLUMNS, event_rows
from loxo.files import escape, inside
from loxo.runs.config import ByClass, RunConfig, config_parameters, read_run_config, with_changes
from loxo.runs.journal import FAILED, JOURNAL, Entry, Row, read_parameters, read_run_journal
from loxo.runs.record import read_record
from loxo.runs.remote import check_place, open_run
from loxo.runs.result import Outcome, RecordingResult
from loxo.runs.scores import FOLDER as SCORES
from loxo.runs.scores import read_score_file, score_path, share_scores
from loxo.runs.sites import find_origins, stored_sites
from loxo.runs.tables import parse_formats
from loxo.survey.processes import Job, Processes
from loxo.survey.schedule import Counted, Lost, SetAside

if TYPE_CHECKING:
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
    config: RunConfig | None = None,
    formats: Sequence[str] | str = ("raven",),
    names: Names | None = None,
    sites: str | Path | None = None,
    recordings: str | Path | None = None,
    work: str | Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> SurveySummary:
    """Decodes the kept scores of the run folder `run` into the run folder `out`; see the module's docstring.

    `threshold` is as in loxo.detect. `changes` are decoding parameters that differ from those of the old run, see
    `with_changes`. `config` is used in place of the run's own. If only its calibration and thresholds differ, the run
    needs no kept scores: its listed events are listed again. `names` is as in analyse; None uses the patterns of the
    old run.
    `sites` is a table of sites; None uses that of the old run.
    `recordings` is a folder or a server whose recordings may be opened, beside the known ones (loxo.audio.roots).
    `out` and `work` are as in survey.
    `on_progress` is called with the number of finished recordings and their total number. The same call resumes.
    Raises LoxoError if `run` is not a run, has no kept scores, or is `out`; otherwise as survey does.
    """
    from loxo.survey.survey import _summary, one_interruption

    check_place(out, work)
    source = Path(run).absolute()
    own, parameters = read_run_config(source)
    config = config or own
    if source.resolve() == Path(out).resolve():
        raise LoxoError(f"{out}: this is the run itself. Give another folder, so that the run is not replaced.")
    has_scores = bool(parameters.get("keep_scores") or parameters.get("from_scores"))
    if not has_scores and (config == own or changes):
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
        "from_scores": str(source) if has_scores else None,
        "names": dataclasses.asdict(names),
        "formats": list(parse_formats(formats)),
    }
    table = stored_sites(source) if sites is None else read_sites(sites)
    roots = Roots([source.parent, *([] if recordings is None else [recordings])])
    kept = {entry.path: entry for entry, _ in read_run_journal(source)}
    find_origins([escape(entry.recording) for entry in kept.values()], names, table)  # a fault is found before the work
    problems = _damaged_lines(source, kept)
    arguments = (source, config, threshold, names, roots, parameters.get("channel", MIX), None if has_scores else own)
    pool = Processes("loxo.survey.redecode:Redecoder", arguments)
    with one_interruption(), pool, open_run(out, parameters, problems, work, table) as folder:
        entries = [_to_decode(entry) for entry in kept.values()]
        todo = {entry.path for entry in entries if not folder.finished(entry)}
        jobs = _Jobs((entry, rows) for entry, rows in read_run_journal(source) if entry.path in todo)
        status = "interrupted"
        try:
            done = len(entries) - len(todo)
            for job, outcome in pool.run(jobs):
                if isinstance(outcome, SetAside) and job.content.lost is None:
                    jobs.again.append(dataclasses.replace(job, content=dataclasses.replace(job.content, lost=outcome)))
                elif not isinstance(outcome, Counted | Lost):
                    if has_scores and isinstance(outcome, RecordingResult) and folder.place == folder.folder:
                        share_scores(source, folder.folder, job.content.entry.name)
                    folder.keep(_to_decode(job.content.entry), outcome)
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


@dataclass(frozen=True)
class _Kept:
    """A recording of the old run, and its events there."""

    entry: Entry
    rows: Sequence[Row]
    lost: str | None = None  # why the recording is not opened: it has ended workers


class _Jobs:
    """The source of the tasks of a worker: recordings, read from the journal one after the other."""

    def __init__(self, kept: Iterator[tuple[Entry, list[Row]]]) -> None:
        self.kept = enumerate(kept)
        self.again: list[Job] = []

    def next(self) -> Job | None:
        if self.again:
            return self.again.pop()
        for index, (entry, rows) in self.kept:
            return Job(index, entry.recording, _Kept(entry, rows))
        return None

    def reload(self, job: Job) -> Job:
        return job

    def note(self, index: int, sentence: str) -> None:
        """An attempt that was repeated changes nothing here."""


class Redecoder:
    """Decodes the kept scores of single recordings, in a worker process."""

    facts = None

    def __init__(
        self,
        source: Path,
        config: RunConfig,
        threshold: Threshold,
        names: Names,
        roots: Roots,
        channel: Channel = MIX,
        listed_by: RunConfig | None = None,
    ) -> None:
        """`listed_by`: the config of a run without kept scores, whose listed events are listed again."""
        self.source, self.config, self.threshold, self.names = source, config, threshold, names
        self.channel, self.roots, self.listed_by = channel, roots, listed_by

    def __call__(self, job: Job, report: object) -> Outcome:
        kept: _Kept = job.content
        try:
            return self._decode(kept)
        except LoxoError as error:
            return str(error)
        except Exception as error:  # one recording never stops a run
            return f"{kept.entry.recording}: decoding failed with {type(error).__name__}: {error}"

    def _decode(self, kept: _Kept) -> Outcome:
        """The new outcome of one recording, with the faults of the old run."""
        import numpy as np

        from loxo.detection.decode import decode_rows

        entry, config = kept.entry, self.config
        if entry.status == FAILED:
            return entry.reason or f"{entry.recording}: the recording could not be read."
        if self.listed_by is not None:
            return self._result(entry, self._listed_again(kept, self.listed_by), entry.notes)
        path = score_path(self.source, entry.name)
        scores = read_score_file(path)
        count = max(len(scores.labels) // len(config.rows), 1)
        if scores.labels != channel_rows(config.rows, count):
            return f"{path}: its rows are {', '.join(scores.labels)}, not those of the run."
        samples = round(entry.analysed_s * config.sample_rate)
        events, notes = [], list(entry.notes)
        first = self.channel if isinstance(self.channel, int) else 1
        for number, values in enumerate(np.split(scores.scores, count), first):
            channel = None if self.channel == MIX else number
            found = decode_rows(values, config, threshold=self.threshold, total_samples=samples)
            note = _set_frequencies(found, kept, config, samples, channel, self.roots)
            of_channel = {} if channel is None else {CHANNEL: channel}
            events += [{"recording": escape(entry.recording), **event, **of_channel} for event in found]
            notes += [note] if note else []
        return self._result(entry, events, notes)

    def _listed_again(self, kept: _Kept, before: RunConfig) -> list[dict[str, Any]]:
        """The listed events with their new scores, where these reach the thresholds."""
        from loxo.detection.decode import calibrated_score, lowest_score, raw_score

        events: list[dict[str, Any]] = []
        for row in kept.rows:
            cells = dict(zip((*COLUMNS[1:], CHANNEL), row, strict=False))
            label = cells["label"]
            raw = raw_score(float(cells["score"]), before.calibration.get(label))
            score = calibrated_score(raw, self.config.calibration.get(label))
            if score >= lowest_score(label, self.config, self.threshold):
                numbers = {name: float(cells[name]) for name in ("start_s", "end_s", "low_hz", "high_hz")}
                channel = {CHANNEL: int(cells[CHANNEL])} if CHANNEL in cells else {}
                events.append(
                    {"recording": escape(kept.entry.recording), "label": label, "score": score, **numbers, **channel}
                )
        return events

    def _result(self, entry: Entry, events: list[dict[str, Any]], notes: Sequence[str]) -> RecordingResult:
        return RecordingResult(
            events=event_rows(events, self.names),
            score_file=None,
            duration_s=entry.duration_s,
            analysed_s=entry.analysed_s,
            fault=entry.reason,
            notes=tuple(dict.fromkeys(notes)),
        )


def _set_frequencies(
    found: list[dict[str, Any]], kept: _Kept, config: RunConfig, samples: int, channel: int | None, roots: Roots
) -> str | None:
    """Sets the frequency bounds of the events, copied where the old run has the same event; returns a note on events
    that could not be measured. `channel` counts from 1; None is the mean of all channels."""
    from loxo.audio.recording import RecordingError, probe
    from loxo.detection.frequency import measure

    recording = kept.entry.recording
    rows = [row for row in kept.rows if channel is None or row[-1] == str(channel)]
    old = {(round(float(row[0]) * 1e6), round(float(row[1]) * 1e6), row[2]): row[4:6] for row in rows}
    new = []
    for event in found:
        bounds = old.get((round(event["start_s"] * 1e6), round(event["end_s"] * 1e6), event["label"]))
        if bounds is None:
            new.append(event)
        else:
            event["low_hz"], event["high_hz"] = map(float, bounds)
    if not new:
        return None
    unmeasured = f"{recording}: the frequencies of some events could not be measured."
    if kept.lost is not None:
        return f"{unmeasured} {kept.lost}"
    if recording not in roots:
        return f"{unmeasured} It lies outside the known folders of recordings. Give --recordings."
    try:
        measured, note = measure(new, probe(recording), config, samples, None if channel is None else channel - 1)
    except RecordingError as error:
        return f"{unmeasured} {error}"
    for event, with_bounds in zip(new, measured, strict=True):
        event.update(with_bounds)
    return note
