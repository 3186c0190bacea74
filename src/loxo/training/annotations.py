"""Matches tables of events with recordings.

Tables often contain the paths of another computer. A recording is therefore found by its name alone, anywhere under the
given folders or URLs (`lookup.py`). Event times are converted to samples at the model's rate.

Failure policy: faults of single recordings or events do not stop the run. Such a recording or event is left out, used
in part or cut, and `Annotations.problems` reports it with counts and examples. Raises LoxoError where nothing is left
to train on.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loxo.audio.filenames import USUAL_NAMES, Names
from loxo.audio.finding import find_recordings
from loxo.audio.recording import Recording, RecordingError, probe
from loxo.audio.storage import basename
from loxo.errors import LoxoError
from loxo.evaluation.annotations import labels_to_classes, list_labels
from loxo.evaluation.spans import gaps
from loxo.events.table import check_events
from loxo.training.config import MARGINAL
from loxo.training.lookup import Lookup
from loxo.training.targets import EventSpan, Span

if TYPE_CHECKING:
    import pandas as pd

MAX_EXAMPLES = 3  # in the sentence about a problem
PARALLEL_PROBES = 8  # headers that are read at the same time
ROUNDING_S = 0.05  # an event may end this much after its recording without a problem: times in tables are rounded


@dataclass(frozen=True, kw_only=True)
class AnnotatedRecording:
    """A recording with its annotations. Times are samples at the model's rate, sorted."""

    recording: Recording
    samples: int
    site: str | None
    day: str | None  # as 2018-01-26
    events: tuple[EventSpan, ...] = ()  # events of the model's classes
    ignored: tuple[EventSpan, ...] = ()  # marginal events and unsearched time: neither positive nor negative
    other_labels: tuple[Span, ...] = ()  # events of other labels: negative, but not part of a background
    hard_negatives: tuple[Span, ...] = ()  # spans without a call that a detector took for a call
    searched: bool = True  # False: only hard negatives are known, so the rest may contain calls

    @property
    def path(self) -> str:
        """Path or URL."""
        return str(self.recording.path)


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """Recordings with their events, and one sentence for each problem in them."""

    classes: tuple[str, ...]
    sample_rate: int
    recordings: tuple[AnnotatedRecording, ...]  # sorted by path
    problems: tuple[str, ...] = ()
    unknown_classes: tuple[str, ...] = ()  # classes that the tables do not annotate: neither positive nor negative

    def counts(self) -> dict[str, int]:
        """The number of events of each class."""
        found = Counter(label for recording in self.recordings for label, _, _ in recording.events)
        return {label: found[label] for label in self.classes}

    def hours(self) -> float:
        """The total length of the recordings."""
        return sum(recording.samples for recording in self.recordings) / self.sample_rate / 3600


def match_recordings(
    events: pd.DataFrame,
    roots: str | Path | Iterable[str | Path],
    *,
    classes: tuple[str, ...],
    sample_rate: int,
    labels: Mapping[str, str] | None = None,
    rename: Mapping[str, str] | None = None,
    marginal: str = "keep",
    hard_negatives: pd.DataFrame | None = None,
    searched: pd.DataFrame | None = None,
    annotated: Sequence[str] = (),
    names: Names = USUAL_NAMES,
) -> Annotations:
    """The recordings that a table of events names, found under `roots` (as for `find_recordings`).

    events: events table; `events.attrs["without_events"]` names recordings that were searched and contain no events.
    labels: the class of labels that are not class names; upper and lower case do not matter.
    rename: parts of names in the table and their names on disk, as {"dzan": "dz"}; applies where a name is not found.
    marginal: use of events that the table marks as marginal. "keep": as other events; "ignore": excluded from loss and
    metrics; "drop": removed, so that their time is background.
    hard_negatives: table of spans that a detector took for calls; its labels are not used.
    searched: table of the spans that were searched for events; its labels are not used. The time outside them becomes
    ignored spans of every class. None: all recordings in `events` were searched completely.
    annotated: the classes that the tables annotate; empty for all. Events of other classes are used as other labels.
    names: pattern of the file names, from which sites and days are read.

    Raises LoxoError when no recording is found or readable, or no event has one of the classes. Also when a server does
    not answer, a table is invalid, or an argument has an unknown value. All other faults are in `problems` of the
    result, after those of the tables.
    """
    if marginal not in MARGINAL:
        raise LoxoError(f"marginal is {marginal!r}, but it must be one of {', '.join(MARGINAL)}.")
    class_of_label = labels_to_classes(labels or {}, classes)
    if absent := [label for label in annotated if label not in classes]:
        raise LoxoError(f"{', '.join(absent)}: this is no class of the model, which has {', '.join(classes)}.")
    unknown = tuple(label for label in classes if annotated and label not in annotated)
    entries: dict[str, _TableEntries] = {}
    for table, kind in ((events, "events"), (hard_negatives, "hard_negatives"), (searched, "searched_spans")):
        if table is not None:
            check_events(table)
            for row in table.to_dict("records"):
                entry = entries.setdefault(row["recording"], _TableEntries())
                getattr(entry, kind).append(row)
                entry.searched |= kind != "hard_negatives"
    for name in events.attrs.get("without_events", ()):
        entries.setdefault(name, _TableEntries()).searched = True
    if not entries:
        raise LoxoError("The tables contain no events and name no recordings: there is nothing to train on.")
    tables = [table for table in (events, hard_negatives, searched) if table is not None]
    problems = _Problems([sentence for table in tables for sentence in table.attrs.get("problems", ())])
    recordings = []
    for path, recording, found in _find_and_probe(entries, roots, rename or {}, problems):
        site, start = names.parse(path)
        table_site = next(
            (row["site"] for entry in found for row in entry.events if isinstance(row["site"], str)), None
        )
        spans = _RecordingSpans(recording.samples_at(sample_rate), sample_rate, basename(path))
        for entry in found:
            for row in entry.events:
                spans.add_event(row, class_of_label, marginal, problems, unknown)
            for row in entry.hard_negatives:
                spans.add_hard_negative(row, problems)
        if searched is not None:
            spans.ignore_outside([row for entry in found for row in entry.searched_spans], classes)
        recordings.append(
            AnnotatedRecording(
                recording=recording,
                samples=spans.samples,
                site=site or table_site,
                day=start.date().isoformat() if start else None,
                events=_unique_by_time(spans.events),
                ignored=_unique_by_time(spans.ignored),
                other_labels=tuple(sorted(set(spans.other_labels))),
                hard_negatives=tuple(sorted(set(spans.hard_negatives))),
                searched=any(entry.searched for entry in found),
            )
        )
    problems.report_labels(classes)
    annotations = Annotations(
        classes=classes,
        sample_rate=sample_rate,
        recordings=tuple(sorted(recordings, key=lambda one: one.path)),
        unknown_classes=unknown,
    )
    counts = annotations.counts()
    if not any(counts.values()):
        raise LoxoError(
            f"The {len(recordings)} recording(s) that were found contain no event of the class(es) "
            f"{', '.join(classes)}. {' '.join(problems.sentences())}".rstrip()
        )
    for label in (label for label, count in counts.items() if not count and label not in unknown):
        problems.report(
            f"No event has the label {label}: these recordings contain only negatives for this class. If they contain "
            "such calls, add the tables of these calls, or give `labels` if the tables use another label."
        )
    return dataclasses.replace(annotations, problems=tuple(problems.sentences()))


@dataclass
class _TableEntries:
    """The rows of all tables that name one recording."""

    events: list[dict[Any, Any]] = field(default_factory=list)
    hard_negatives: list[dict[Any, Any]] = field(default_factory=list)
    searched_spans: list[dict[Any, Any]] = field(default_factory=list)
    searched: bool = False


class _Problems:
    """Sentences about problems. Equal problems are counted and reported in one sentence with examples."""

    def __init__(self, sentences: list[str]) -> None:
        self.reported = sentences
        self.counted: dict[str, list[str]] = defaultdict(list)
        self.other_labels: Counter[str] = Counter()

    def report(self, sentence: str) -> None:
        self.reported.append(sentence)

    def count(self, what: str, example: str) -> None:
        self.counted[what].append(example)

    def report_labels(self, classes: tuple[str, ...]) -> None:
        blank = self.other_labels.pop("", 0)
        if blank:
            self.report(
                f"{blank} event(s) have no label and are not used as calls: give `label` if all events have one class."
            )
        if self.other_labels:
            self.report(
                f"{self.other_labels.total()} event(s) have labels that are not a class ({', '.join(classes)}): "
                f"{list_labels(self.other_labels, classes)}. They are not used as calls, and no background contains "
                "them. Give `labels` if they are calls."
            )

    def sentences(self) -> list[str]:
        counted = [f"{len(examples)} {what}: {join_examples(examples)}." for what, examples in self.counted.items()]
        return [*self.reported, *counted]


def join_examples(examples: Sequence[str]) -> str:
    """The first examples, followed by dots if there are more."""
    return "; ".join(examples[:MAX_EXAMPLES]) + ("; ..." if len(examples) > MAX_EXAMPLES else "")


def _unique_by_time(events: Iterable[EventSpan]) -> tuple[EventSpan, ...]:
    """The events sorted by time, without duplicates."""
    return tuple(sorted(set(events), key=lambda event: (event[1], event[2], event[0])))


@dataclass
class _RecordingSpans:
    """Collects the spans of one recording, in samples."""

    samples: int
    rate: int
    name: str
    events: list[EventSpan] = field(default_factory=list)
    ignored: list[EventSpan] = field(default_factory=list)
    other_labels: list[Span] = field(default_factory=list)
    hard_negatives: list[Span] = field(default_factory=list)

    def add_event(
        self,
        row: dict[Any, Any],
        class_of_label: Mapping[str, str],
        marginal: str,
        problems: _Problems,
        unknown: Sequence[str],
    ) -> None:
        label = class_of_label.get(row["label"].strip().casefold())
        if label is None:
            problems.other_labels[row["label"].strip()] += 1
        span = self._span(row, problems)
        if span is None:
            return
        if label is None or label in unknown:
            self.other_labels.append(span)
        elif marginal == "keep" or row.get("marginal") is not True:
            self.events.append((label, *span))
        elif marginal == "ignore":
            self.ignored.append((label, *span))

    def add_hard_negative(self, row: dict[Any, Any], problems: _Problems) -> None:
        if (span := self._span(row, problems)) is not None:
            self.hard_negatives.append(span)

    def ignore_outside(self, rows: Iterable[dict[Any, Any]], classes: Iterable[str]) -> None:
        """Ignores the time outside the searched spans, for every class."""
        inside = [(round(row["start_s"] * self.rate), round(row["end_s"] * self.rate)) for row in rows]
        self.ignored += [(label, *span) for label in classes for span in gaps(inside, self.samples)]

    def _span(self, row: dict[Any, Any], problems: _Problems) -> Span | None:
        """The span of a row in samples, cut at the end of the recording; None if nothing of it is left."""
        start_s, end_s = row["start_s"], row["end_s"]
        start, stop = round(start_s * self.rate), round(end_s * self.rate)
        length = f"{self.name}, which is {self.samples / self.rate:.1f} s long"
        if start >= self.samples:
            problems.count(
                "event(s) start after the end of their recording and are left out", f"{start_s:g} s of {length}"
            )
            return None
        if stop <= start:
            problems.count("event(s) have no length and are left out", f"{start_s:g} s of {self.name}")
            return None
        if stop > self.samples + ROUNDING_S * self.rate:
            what = "event(s) end after the end of their recording and are cut there"
            problems.count(what, f"{start_s:g} to {end_s:g} s of {length}")
        return start, min(stop, self.samples)


def _find_and_probe(
    entries: Mapping[str, _TableEntries],
    roots: str | Path | Iterable[str | Path],
    rename: Mapping[str, str],
    problems: _Problems,
) -> Iterable[tuple[str, Recording, list[_TableEntries]]]:
    """Path, probed recording and table entries of each recording that is found and can be read."""
    roots = [roots] if isinstance(roots, str | Path) else list(roots)
    where = ", ".join(map(str, roots))
    paths, faults = find_recordings(roots)
    for _, sentence in faults:
        problems.report(sentence)
    lookup = Lookup(map(str, paths), rename)
    missing: list[str] = []
    ambiguous: list[str] = []
    matched: dict[str, list[_TableEntries]] = defaultdict(list)
    for name, entry in entries.items():
        candidates = lookup.find(name)
        if len(candidates) == 1:
            matched[candidates[0]].append(entry)
        elif candidates:
            ambiguous.append(f"{basename(name)} ({join_examples(candidates)})")
        else:
            missing.append(name)
    if missing:
        lost = sum(len(entries[name].events) for name in missing)
        problems.report(
            f"{len(missing)} of {len(entries)} recording(s) that the tables name are not under {where}; they and their "
            f"{lost} event(s) are left out: {join_examples([basename(name) for name in missing])}. Give the folder "
            "that contains them, or `rename` if their names are different there."
        )
    if ambiguous:
        problems.report(
            f"{len(ambiguous)} recording(s) that the tables name exist more than once and are left out: "
            f"{join_examples(ambiguous)}. Give only one of the folders."
        )
    if unnamed := len(paths) - len(matched):
        problems.report(f"{unnamed} of {len(paths)} recording(s) under {where} are in no table and are not used.")
    order = sorted(matched)
    with ThreadPoolExecutor(PARALLEL_PROBES) as pool:
        probed = list(pool.map(_probe, order))
    for path, recording in zip(order, probed, strict=True):
        if isinstance(recording, str):
            problems.count("recording(s) cannot be read and are left out", recording.rstrip("."))
            continue
        if recording.fault:
            problems.count("recording(s) are used up to a fault", recording.fault.rstrip("."))
        yield path, recording, matched[path]
    if not any(isinstance(recording, Recording) for recording in probed):
        raise LoxoError(f"None of the recordings in the tables can be used. {' '.join(problems.sentences())}")


def _probe(path: str) -> Recording | str:
    """The probed recording, or the sentence why it cannot be read."""
    try:
        return probe(path)
    except RecordingError as error:
        if error.transient:  # not a fault of the recording: without this error, a later run would have other data
            raise
        return str(error)
