"""A user's tables of events matched to the recordings that lie somewhere, and split into training and validation.

Tables name recordings as they were called on another computer. A recording is found by its name alone, anywhere under
the given folders or URLs (`lookup.py`). Events become samples at the model's rate; from here on nothing is in seconds.

Failure policy: what is wrong with single recordings or events is left out, kept or cut as its sentence says, and listed
in `Annotations.problems` with counts and examples. Where nothing would be left to learn from, LoxoError is raised.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from loxo.audio.filenames import USUAL_NAMES, Names
from loxo.audio.finding import find_recordings
from loxo.audio.recording import Recording, RecordingError, probe
from loxo.audio.storage import basename
from loxo.errors import LoxoError
from loxo.events.table import check_events
from loxo.training.lookup import Lookup
from loxo.training.targets import Span

if TYPE_CHECKING:
    import pandas as pd

Stretch = tuple[int, int]  # first sample, sample past the last

MARGINAL = ("keep", "ignore", "drop")
SPLIT_BY = ("recording", "site", "day")
EXAMPLES = 3
PROBES = 8  # headers that are read at a time
ROUNDING_S = 0.05  # an event may reach so far past the end without a word: tables are rounded
DRAWS = 300  # splits that are tried, to find one with all classes on both sides
UNKNOWN_SITE = "?"


@dataclass(frozen=True, kw_only=True)
class AnnotatedRecording:
    """A recording and what is known of it. Times are samples at the model's rate, sorted."""

    recording: Recording
    samples: int
    site: str | None
    day: str | None  # as 2018-01-26
    events: tuple[Span, ...] = ()  # of the model's classes
    ignored: tuple[Span, ...] = ()  # marginal events that are to be learned neither as call nor as background
    avoided: tuple[Stretch, ...] = ()  # events of other labels: no call, but no background either
    hard: tuple[Stretch, ...] = ()  # hard negatives: what a detector took for a call
    searched: bool = True  # False: only hard negatives are known, and the rest is no background

    @property
    def path(self) -> str:
        """Path or URL."""
        return str(self.recording.path)


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """Recordings with their events, and what was wrong with them in one sentence each."""

    classes: tuple[str, ...]
    sample_rate: int
    recordings: tuple[AnnotatedRecording, ...]  # sorted by path
    problems: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """The number of events of each class."""
        found = Counter(label for recording in self.recordings for label, _, _ in recording.events)
        return {label: found[label] for label in self.classes}

    def hours(self) -> float:
        """The length of all recordings together."""
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
    names: Names = USUAL_NAMES,
) -> Annotations:
    """The recordings of a table of events, found under `roots` (whatever `find_recordings` takes).

    `events.attrs["without_events"]` names recordings that were searched and hold none. `labels` gives the class for
    labels that are called otherwise; capitals do not matter. `rename` gives what parts of names in the table are called
    on the disk, as {"dzan": "dz"}; it is tried where the name itself is not found. `marginal`: whether events that the
    table calls marginal are events ("keep"), stretches to learn nothing from ("ignore") or nothing ("drop").
    `hard_negatives` is a table of stretches that a detector took for calls; its labels say nothing. Sites and days come
    from the recordings' names, as `names` reads them.

    Raises LoxoError when no recording is found or can be read, a server does not answer, no event is of the classes, a
    table is none, or an option is none of its choices. Everything else is in the `problems` of the result, after those
    of the tables.
    """
    if marginal not in MARGINAL:
        raise LoxoError(f"marginal is {marginal!r}; it can be {', '.join(MARGINAL)}.")
    class_of = _class_names(classes, labels or {})
    hints: dict[str, _Hints] = {}
    for table, hard in ((events, False), (hard_negatives, True)):
        if table is not None:
            check_events(table)
            for row in table.to_dict("records"):
                hint = hints.setdefault(row["recording"], _Hints())
                (hint.hard if hard else hint.events).append(row)
                hint.searched |= not hard
    for name in events.attrs.get("without_events", ()):
        hints.setdefault(name, _Hints()).searched = True
    if not hints:
        raise LoxoError("The tables hold no events and name no recordings: there is nothing to learn from.")
    tables = [events] if hard_negatives is None else [events, hard_negatives]
    problems = _Problems([sentence for table in tables for sentence in table.attrs.get("problems", ())])
    recordings = []
    for path, recording, found in _found(hints, roots, rename or {}, problems):
        site, start = names.parse(path)
        told = next((row["site"] for hint in found for row in hint.events if isinstance(row["site"], str)), None)
        parts = _Parts(recording.samples_at(sample_rate), sample_rate, basename(path))
        for hint in found:
            for row in hint.events:
                parts.add(row, class_of, marginal, problems)
            for row in hint.hard:
                parts.add_hard(row, problems)
        recordings.append(
            AnnotatedRecording(
                recording=recording,
                samples=parts.samples,
                site=site or told,
                day=start.date().isoformat() if start else None,
                events=_in_order(parts.events),
                ignored=_in_order(parts.ignored),
                avoided=tuple(sorted(set(parts.avoided))),
                hard=tuple(sorted(set(parts.hard))),
                searched=any(hint.searched for hint in found),
            )
        )
    problems.name_labels(classes)
    annotations = Annotations(
        classes=classes, sample_rate=sample_rate, recordings=tuple(sorted(recordings, key=lambda one: one.path))
    )
    counts = annotations.counts()
    if not any(counts.values()):
        raise LoxoError(
            f"No event of the class(es) {', '.join(classes)} is left in the {len(recordings)} recording(s) that were "
            f"found. {' '.join(problems.sentences())}".rstrip()
        )
    for label in (label for label, count in counts.items() if not count):
        problems.say(
            f"No event is called {label}: these recordings only teach where there is none. If there are such calls in "
            "them, add their tables, or give `labels` if they are called otherwise."
        )
    return dataclasses.replace(annotations, problems=tuple(problems.sentences()))


@dataclass
class _Hints:
    """What the tables say of one name."""

    events: list[dict[Any, Any]] = field(default_factory=list)
    hard: list[dict[Any, Any]] = field(default_factory=list)
    searched: bool = False


class _Problems:
    """Sentences, and counted kinds of flaws with examples."""

    def __init__(self, first: list[str]) -> None:
        self.said = first
        self.counted: dict[str, list[str]] = defaultdict(list)
        self.other_labels: Counter[str] = Counter()

    def say(self, sentence: str) -> None:
        self.said.append(sentence)

    def count(self, what: str, example: str) -> None:
        self.counted[what].append(example)

    def name_labels(self, classes: tuple[str, ...]) -> None:
        blank = self.other_labels.pop("", 0)
        if blank:
            self.say(f"{blank} event(s) have no label and are used as no class: give `label` if all are of one class.")
        if self.other_labels:
            common = ", ".join(f"{label!r} ({count})" for label, count in self.other_labels.most_common(EXAMPLES))
            self.say(
                f"{self.other_labels.total()} event(s) have labels that are no class ({', '.join(classes)}): "
                f"{common}{', ...' if len(self.other_labels) > EXAMPLES else ''}. They count as no call, and no "
                "background is drawn there. Give `labels` if they are calls."
            )

    def sentences(self) -> list[str]:
        counted = [f"{len(examples)} {what}: {shorten(examples)}." for what, examples in self.counted.items()]
        return [*self.said, *counted]


def shorten(examples: Sequence[str]) -> str:
    return "; ".join(examples[:EXAMPLES]) + ("; ..." if len(examples) > EXAMPLES else "")


def _in_order(spans: Iterable[Span]) -> tuple[Span, ...]:
    """By time, each once."""
    return tuple(sorted(set(spans), key=lambda span: (span[1], span[2], span[0])))


def _class_names(classes: tuple[str, ...], labels: Mapping[str, str]) -> dict[str, str]:
    """Class by label in small letters."""
    known = {label.casefold(): label for label in classes}
    for label, target in labels.items():
        if target.casefold() not in {name.casefold() for name in classes}:
            raise LoxoError(f"labels gives {label!r} the class {target!r}, but the model's are {', '.join(classes)}.")
        known[label.casefold()] = next(name for name in classes if name.casefold() == target.casefold())
    return known


@dataclass
class _Parts:
    """The stretches of one recording, as they are sorted in."""

    samples: int
    rate: int
    name: str
    events: list[Span] = field(default_factory=list)
    ignored: list[Span] = field(default_factory=list)
    avoided: list[Stretch] = field(default_factory=list)
    hard: list[Stretch] = field(default_factory=list)

    def add(self, row: dict[Any, Any], class_of: Mapping[str, str], marginal: str, problems: _Problems) -> None:
        label = class_of.get(row["label"].strip().casefold())
        if label is None:
            problems.other_labels[row["label"].strip()] += 1
        stretch = self.stretch(row, problems)
        if stretch is None:
            return
        if label is None:
            self.avoided.append(stretch)
        elif marginal == "keep" or row.get("marginal") is not True:
            self.events.append((label, *stretch))
        elif marginal == "ignore":
            self.ignored.append((label, *stretch))

    def add_hard(self, row: dict[Any, Any], problems: _Problems) -> None:
        if (stretch := self.stretch(row, problems)) is not None:
            self.hard.append(stretch)

    def stretch(self, row: dict[Any, Any], problems: _Problems) -> Stretch | None:
        """The samples of a row, cut at the recording's end; None where there are none."""
        start, end = row["start_s"], row["end_s"]
        first, past = round(start * self.rate), round(end * self.rate)
        length = f"{self.name}, {self.samples / self.rate:.1f} s long"
        if first >= self.samples:
            problems.count(
                "event(s) lie beyond the end of their recording and are left out", f"{start:g} s of {length}"
            )
            return None
        if past <= first:
            problems.count("event(s) are of no length and are left out", f"{start:g} s of {self.name}")
            return None
        if past > self.samples + ROUNDING_S * self.rate:
            what = "event(s) reach beyond the end of their recording and are cut there"
            problems.count(what, f"{start:g} to {end:g} s of {length}")
        return first, min(past, self.samples)


def _found(
    hints: Mapping[str, _Hints],
    roots: str | Path | Iterable[str | Path],
    rename: Mapping[str, str],
    problems: _Problems,
) -> Iterable[tuple[str, Recording, list[_Hints]]]:
    """Path, probed recording and all that is said of it, for each recording that is found and can be read."""
    roots = [roots] if isinstance(roots, str | Path) else list(roots)
    where = ", ".join(map(str, roots))
    paths, faults = find_recordings(roots)
    for _, sentence in faults:
        problems.say(sentence)
    lookup = Lookup(map(str, paths), rename)
    missing: list[str] = []
    ambiguous: list[str] = []
    matched: dict[str, list[_Hints]] = defaultdict(list)
    for name, hint in hints.items():
        candidates = lookup.find(name)
        if len(candidates) == 1:
            matched[candidates[0]].append(hint)
        elif candidates:
            ambiguous.append(f"{basename(name)} ({shorten(candidates)})")
        else:
            missing.append(name)
    if missing:
        lost = sum(len(hints[name].events) for name in missing)
        problems.say(
            f"{len(missing)} of {len(hints)} recording(s) that the tables name are not under {where}, and with them "
            f"{lost} event(s) are left out: {shorten([basename(name) for name in missing])}. Give the folder they are "
            "in, or `rename` where their names differ."
        )
    if ambiguous:
        problems.say(
            f"{len(ambiguous)} recording(s) that the tables name are there more than once and are left out: "
            f"{shorten(ambiguous)}. Give only one of the folders."
        )
    if unnamed := len(paths) - len(matched):
        problems.say(f"{unnamed} of {len(paths)} recording(s) under {where} are in no table and are not used.")
    order = sorted(matched)
    with ThreadPoolExecutor(PROBES) as pool:
        probed = list(pool.map(_probe, order))
    for path, recording in zip(order, probed, strict=True):
        if isinstance(recording, str):
            problems.count("recording(s) cannot be read and are left out", recording.rstrip("."))
            continue
        if recording.fault:
            problems.count("recording(s) are used as far as they go", recording.fault.rstrip("."))
        yield path, recording, matched[path]
    if not any(isinstance(recording, Recording) for recording in probed):
        raise LoxoError(f"No recording of the tables can be used. {' '.join(problems.sentences())}")


def _probe(path: str) -> Recording | str:
    try:
        return probe(path)
    except RecordingError as error:
        if error.transient:  # then it is no fault of the recording, which another run would use
            raise
        return str(error)


def split_annotations(
    annotations: Annotations, share: float, *, by: str = "recording", seed: int = 0
) -> tuple[Annotations, Annotations]:
    """The recordings for training and those for validation, of which about `share` of the time; fixed by `seed`.

    What is of one recording, site or day (`by`) stays on one side. Of many draws the one is taken that has each class
    on both sides, if that can be, and its share of time and of each class's events nearest to `share`. A recording
    whose name tells no site or day is one of its own. The problems are those of `annotations`.
    Raises LoxoError when there is only one site, day or recording, or validation would hold no event of any class.
    """
    if by not in SPLIT_BY:
        raise LoxoError(f"A split can be by {', '.join(SPLIT_BY)}, not by {by!r}.")
    groups: dict[str, list[AnnotatedRecording]] = defaultdict(list)
    for one in annotations.recordings:
        key = {"recording": one.path, "site": one.site, "day": one.day}[by]
        groups[key if key is not None else f"{UNKNOWN_SITE} {one.path}"].append(one)
    if len(groups) < 2:
        raise LoxoError(
            f"All {len(annotations.recordings)} recording(s) are of one {by}: none can be kept apart for validation. "
            + ("Add recordings." if by == "recording" else "Split by recording instead, or add others.")
        )
    names = sorted(groups)
    weights = np.array(  # (groups, 1 + classes): samples, and events of each class
        [
            [
                sum(one.samples for one in groups[name]),
                *(sum(label == k for one in groups[name] for label, _, _ in one.events) for k in annotations.classes),
            ]
            for name in names
        ],
        dtype=float,
    )
    shares = weights / np.maximum(weights.sum(0), 1)
    occurs = weights.sum(0) > 0
    rng = np.random.default_rng(seed)
    best: tuple[float, np.ndarray] | None = None
    for _ in range(DRAWS):
        order = rng.permutation(len(names))
        size = 1 + int(np.abs(np.cumsum(shares[order, 0])[:-1] - share).argmin())
        chosen = order[:size]
        there = shares[chosen].sum(0)
        one_sided = occurs & ((there == 0) | (there > 1 - 1e-9))
        cost = float(np.abs(there - share)[occurs].sum() + 10 * one_sided[1:].sum())
        if best is None or cost < best[0]:
            best = cost, chosen
    assert best is not None
    held_out = {names[k] for k in best[1]}
    sides = [
        dataclasses.replace(
            annotations,
            recordings=tuple(
                sorted(
                    (one for name in names if (name in held_out) == validation for one in groups[name]),
                    key=lambda one: one.path,
                )
            ),
        )
        for validation in (False, True)
    ]
    for side, purpose in zip(sides, ("training", "validation"), strict=True):
        if not any(side.counts().values()):
            raise LoxoError(
                f"The {len(side.recordings)} recording(s) for {purpose} hold no event of {', '.join(side.classes)}. "
                f"All events are of one {by}; " + ("add recordings." if by == "recording" else "split by recording.")
            )
    return sides[0], sides[1]
