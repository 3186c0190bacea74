"""The inputs of an evaluation: the truth, the detections, and the recordings with their analysed durations.

**Truth**: any tables of events (`loxo.events.reader`), mostly of Raven. A recording belongs to the truth if a table has
an event of it. It also belongs to the truth if a table states that it contains none. Such a statement is a DUMMY row,
or a table without rows that is named after the recording. Detections in other recordings are left out, because these
were not annotated. With `exhaustive` all other recordings belong to the truth, too, and contain no events. An event is
*marginal* if its table says so. It is a *clip-level* label if it covers its whole recording (within 10 ms). A row with
a label in IGNORE marks an ignored region. A row that is repeated in another table is the same event. If spans are given
that were searched for events, all other time is an ignored region, and the hours are those of the spans.

**Detections**: the folder of a run, or any tables. A recording that a run could not analyse is left out for all
detectors. Events after the analysed part of a recording are left out as well.

**Hours**: from run.json of the runs, else from the headers of the files below `recordings`, else a given number.

Failure policy: an input that cannot be read or assigned to a recording is a LoxoError. Everything that is left out is
counted in `notes`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from loxo.audio.filenames import parse_name
from loxo.errors import LoxoError
from loxo.evaluation.annotations import label_option, list_labels, read_annotations, with_classes
from loxo.evaluation.names import Index, label_names, path_parts, renamed
from loxo.evaluation.spans import Bools, Detections, Floats, Ints, Regions, Truth, gaps, seconds_inside
from loxo.events.channels import one_per_call
from loxo.events.reader import read_events, read_tables
from loxo.events.table import COLUMNS
from loxo.runs.record import is_run

if TYPE_CHECKING:
    import pandas as pd

IGNORE = ("ignore", "unknown", "unk", "?")  # labels of ignored regions
CLIP_TOLERANCE_S = 0.01  # max distance of a clip-level label from the start and the end of its recording
# Headers of a column of signal-to-noise ratios, as returned by loxo.events.cells.normalise_header.
SNR = ("snrdb", "snr")


@dataclass(frozen=True)
class Detector:
    """The output of one detector. `analysed_s`: for a run, the analysed seconds of each recording, by name."""

    name: str
    events: pd.DataFrame
    analysed_s: dict[str, float] | None = None
    empty: list[str] = field(default_factory=list)  # recordings for which its tables state that there are no detections
    notes: list[str] = field(default_factory=list)
    run: Path | None = None
    classes: tuple[str, ...] = ()  # of the run's model, or the labels in the tables


@dataclass(frozen=True)
class ClassData:
    """One class: the true events, their signal-to-noise ratios (events,), and the detections of each detector."""

    label: str
    truth: Truth
    snr_db: Floats
    detections: list[Detections]


@dataclass(frozen=True)
class Case:
    """All inputs of a comparison as arrays. Recordings are numbered as in `recordings`; `detectors` have no events."""

    recordings: list[str]
    duration_s: Floats  # (recordings,); NaN if unknown
    hours: float | None  # total duration; None if unknown
    site: list[str]  # (recordings,); "" if unknown
    start_s: Floats  # (recordings,), seconds of the clock; NaN if the name contains no time
    classes: list[ClassData]
    detectors: list[Detector]
    notes: list[str] = field(default_factory=list)


# -- reading


def as_paths(paths: str | Path | Sequence[str | Path]) -> list[str | Path]:
    """One path or several, as a list."""
    return [paths] if isinstance(paths, str | Path) else list(paths)


def read_truth(
    paths: Sequence[str | Path],
    label: str | None = None,
    *,
    label_column: str | None = None,
    labels: Mapping[str, str] | None = None,
    searched: Sequence[str | Path] = (),
) -> pd.DataFrame:
    """The events of all tables and folders of tables, with `marginal` (bool) and `snr_db` (NaN if unknown).

    label, label_column, labels, searched: as in `read_annotations`.
    attrs: "without_events" (recordings without events), "searched" (table of spans, or None) and "notes" (sentences).
    Raises LoxoError as `read_annotations` does, and if an event has no label and `label` is None.
    """
    truth, attrs = _with_numbers(
        read_annotations(
            _existing(paths),
            label=label,
            label_column=label_column,
            labels=labels,
            searched=_existing(searched) if searched else (),
            extra={"snr_db": SNR},
            read=read_table,
        )
    )
    if (truth["label"] == "").any():
        row = truth[truth["label"] == ""].iloc[0]
        raise LoxoError(
            f"An event of the truth has no label (the first at {row['start_s']:g} s of {row['recording']}). "
            "Give the class of such events with --label."
        )
    truth.attrs = {"without_events": attrs["without_events"], "notes": attrs["problems"], "searched": attrs["searched"]}
    return truth


def rename_recordings(truth: pd.DataFrame, known: Iterable[str], rename: Mapping[str, str] | None) -> pd.DataFrame:
    """The truth (of read_truth) with other names of recordings, where the file name is not among the `known` ones."""
    if not rename:
        return truth
    files = {path_parts(name)[0] for name in known}

    def present(name: str) -> str:
        return name if path_parts(name)[0] in files else renamed(name, rename)

    result = truth.assign(recording=truth["recording"].map(present))
    searched = truth.attrs["searched"]
    result.attrs = truth.attrs | {
        "without_events": [present(name) for name in truth.attrs["without_events"]],
        "searched": None if searched is None else searched.assign(recording=searched["recording"].map(present)),
    }
    return result


def read_detections(path: str | Path, label: str | None = None, labels: Mapping[str, str] | None = None) -> Detector:
    """Reads a run folder, a table, or a folder of tables. Raises LoxoError if the path cannot be read.

    labels: labels in tables and the class of each.
    """
    path = Path(path)
    name = path.name or str(path)
    if is_run(path):
        from loxo.runs.read import read_run

        run = read_run(path)
        rows = run.recordings
        analysed = rows[rows["status"] != "failed"]
        searched = dict(zip(analysed["recording"], analysed["analysed_s"].astype(float), strict=True))
        events = one_per_call(run.events)
        dropped = len(run.events) - len(events)
        notes = [f"{name}: {dropped:,} event(s) that another channel contains too are not counted."] if dropped else []
        return Detector(name, events.assign(table=0), searched, notes=notes, run=path, classes=tuple(run.labels))
    events, attrs = _with_numbers(with_classes(read_tables(_existing([path]), label=label, read=read_table), labels))
    notes = [f"{name}: {note}" for note in attrs["problems"]]
    return Detector(name, events, empty=attrs["without_events"], notes=notes, classes=tuple(events["label"].unique()))


def _with_numbers(events: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The columns that `gather` uses, and the attributes of the table."""
    import pandas as pd

    from loxo.events.numbers import to_number

    attrs: dict[str, Any] = {str(name): value for name, value in events.attrs.items()}
    events.attrs = {}
    for name, default in (("marginal", False), ("snr_db", np.nan)):
        if name not in events.columns:
            events[name] = default
    if not pd.api.types.is_numeric_dtype(events["snr_db"]):  # a cell is no number
        events["snr_db"] = [np.nan if value is None else value for value in map(to_number, events["snr_db"])]
    events["snr_db"] = events["snr_db"].astype(float)
    return events[[*COLUMNS[:7], "marginal", "snr_db", "table"]], attrs


def _existing(paths: Sequence[str | Path]) -> list[str | Path]:
    """The paths. Raises LoxoError if there is none, or one does not exist."""
    for path in paths:
        if not Path(path).exists():
            raise LoxoError(f"{path}: there is no such table or folder; check the path.")
    if not paths:
        raise LoxoError("No tables were given: give a table or a folder of tables.")
    return list(paths)


def read_table(path: Path, label_column: str | None = None, **options: Any) -> pd.DataFrame:
    """As `read_events`, but faster for an events.csv, of which sites and times are not read."""
    with path.open("rb") as file:
        header = file.readline().decode("utf-8", "replace").strip()
    if header != ",".join(COLUMNS) or label_column is not None:
        return read_events(path, label_column, **options)
    from loxo.runs.read import read_events_csv

    events = read_events_csv(path)
    events.attrs = {"without_events": [], "problems": [], "rows": len(events), "incomplete": False}
    return events.assign(site=None, start_time=None)


# -- one list of recordings


def gather(
    truth: pd.DataFrame,
    detectors: Sequence[Detector],
    *,
    recordings: str | Path | None = None,
    hours: float | None = None,
    exhaustive: bool = False,
    classes: Sequence[str] | None = None,
    ignore: Sequence[str] = IGNORE,
) -> Case:
    """Assigns the truth (of read_truth) and the detections to one list of recordings. See the docstring of the module.

    classes: labels to evaluate, by default those of the truth, or those of the detections if the truth has no event.
    Raises LoxoError if nothing remains to compare, or if a name could denote several recordings.
    """
    notes = [*truth.attrs.get("notes", ()), *(note for detector in detectors for note in detector.notes)]
    files = _audio_files(recordings) if recordings is not None else {}
    searched = truth.attrs.get("searched")
    spans = [] if searched is None else list(zip(*(searched[name] for name in COLUMNS[:3]), strict=True))
    given = [*truth["recording"], *truth.attrs.get("without_events", ()), *(name for name, _, _ in spans)]
    if exhaustive:
        known = Index(given)
        lists = [[*(d.analysed_s or d.events["recording"].unique()), *d.empty] for d in detectors]
        for names in [*lists, [] if any(d.analysed_s for d in detectors) else list(files)]:
            given += [name for name, number in known.find(names).items() if number < 0]
            known = Index(given)
    index = Index(given)
    if not len(index):
        raise LoxoError(
            "The truth contains no recording: give tables with events, or tables that name recordings without events."
        )
    numbers, analysed, keep = _analysed_by_all(index, detectors, notes)
    duration = analysed if np.isfinite(analysed).any() else np.full(len(index), np.nan)
    if files:
        duration = _probed_durations(index, files, duration)
    renumber = np.where(keep, np.cumsum(keep) - 1, -1)
    for detector, by_name in zip(detectors, numbers, strict=True):
        if not keep.any() or (by_name and max(by_name.values()) < 0):
            raise LoxoError(
                f"{detector.name}: no recording of the truth occurs in the detections. The truth has for example "
                f"{index.names[0]!r}, the detections have {next(iter(by_name), '(none)')!r}; check the names."
            )
    names = [name for name, kept in zip(index.names, keep, strict=True) if kept]
    duration = duration[keep]
    parsed = [parse_name(name) for name in names]
    sites = _sites(names, [part.site for part in parsed])
    starts = np.array([np.nan if p.start is None else p.start.replace(tzinfo=UTC).timestamp() for p in parsed])

    rows = truth.assign(number=renumber[_number_column(truth["recording"], index.find(truth["recording"]))])
    rows.attrs = {}  # pandas would copy them in each step
    rows = rows[rows["number"] >= 0]
    length = duration[rows["number"].to_numpy(int)]
    late = rows["start_s"].to_numpy(float) >= length
    if late.any():
        notes.append(
            f"{int(late.sum())} true events begin after the analysed part of their recording and are left out."
        )
    rows = _without_duplicates(rows[~late].reset_index(drop=True), "truth", notes)
    unsearched = Regions()
    if searched is not None:
        place = index.find(name for name, _, _ in spans)
        unsearched = _unsearched([(int(renumber[place[name]]), *span) for name, *span in spans], duration)
        events = Regions(*_limited_spans(rows, duration))
        outside = seconds_inside(events, unsearched) > (events.end - events.start) / 2
        rows["marginal"] |= outside
        if outside.any():
            notes.append(f"{int(outside.sum())} true events lie outside the searched spans and are not counted.")
    tables = []
    for detector, by_name in zip(detectors, numbers, strict=True):
        number = np.append(renumber, -1)[_number_column(detector.events["recording"], by_name)]
        inside = detector.events.assign(number=number)[number >= 0]
        if len(inside) < len(number):
            left = len(number) - len(inside)
            notes.append(f"{detector.name}: {left} detections are in recordings that are not evaluated.")
        tables.append(_without_duplicates(inside.reset_index(drop=True), detector.name, notes))
    wanted = _evaluated_labels(rows, tables, detectors, classes, ignore, notes)
    searched_s = float(duration.sum() - (unsearched.end - unsearched.start).sum())
    total = hours if hours is not None else searched_s / 3600 if np.isfinite(duration).all() else None
    if total is None:
        unknown = int(np.isnan(duration).sum())
        notes.append(
            f"The durations of {unknown} of {len(names)} recordings are unknown, so there are no false positives per "
            "hour. Give --recordings or --hours."
        )
    return Case(
        recordings=names,
        duration_s=duration,
        hours=total,
        site=sites,
        start_s=starts,
        classes=[_class_data(label, rows, tables, duration, ignore, unsearched) for label in wanted],
        detectors=[replace(detector, events=detector.events.iloc[:0].copy()) for detector in detectors],
        notes=notes,
    )


def _without_duplicates(rows: pd.DataFrame, name: str, notes: list[str]) -> pd.DataFrame:
    """The rows without those that repeat a row of another table. Equal rows of one table are two events."""
    if not len(rows) or rows["table"].nunique() < 2:
        return rows
    keys = [rows[column] for column in ("number", "label", "start_s", "end_s")]
    occurrence = rows.groupby([*keys, rows["table"]]).cumcount()
    duplicate = rows.assign(occurrence=occurrence).duplicated(["number", "label", "start_s", "end_s", "occurrence"])
    if duplicate.any():
        notes.append(f"{name}: {int(duplicate.sum())} events occur in more than one table and are counted once.")
    return rows[~duplicate].reset_index(drop=True)


def _analysed_by_all(
    index: Index, detectors: Sequence[Detector], notes: list[str]
) -> tuple[list[dict[str, int]], Floats, Bools]:
    """For each detector the number of each recording name; the seconds analysed by all; a mask of these."""
    numbers_of_names, keep = [], np.ones(len(index), bool)
    analysed = np.full(len(index), np.nan)
    for detector in detectors:
        names = [*detector.events["recording"].unique(), *(detector.analysed_s or ()), *detector.empty]
        numbers = index.find(names)
        numbers_of_names.append(numbers)
        if detector.analysed_s is None:
            continue
        seconds = np.full(len(index), np.nan)
        for name, value in detector.analysed_s.items():
            if numbers[name] >= 0:
                seconds[numbers[name]] = value
        missing = int((np.isnan(seconds) & keep).sum())
        if missing:
            notes.append(
                f"{detector.name}: {missing} recordings of the truth were not analysed and are left out for all."
            )
        keep &= np.isfinite(seconds)
        analysed = np.fmin(analysed, seconds)
    return numbers_of_names, analysed, keep


def _number_column(names: pd.Series, numbers: dict[str, int]) -> Ints:
    return np.asarray([numbers[name] for name in names], np.int64)


def _sites(names: list[str], parsed: list[str | None]) -> list[str]:
    """The site in the name of a recording; else its folder, if the recordings are in several folders; else ""."""
    folders = [name.replace("\\", "/").rpartition("/")[0].rpartition("/")[2] for name in names]
    several = len(set(folders)) > 1
    return [site or (folder if several else "") for site, folder in zip(parsed, folders, strict=True)]


def _audio_files(root: str | Path) -> dict[str, Path]:
    from loxo.audio.finding import find_recordings

    found, problems = find_recordings([root])
    if not found:
        raise LoxoError(" ".join(sentence for _, sentence in problems))
    return {str(path): Path(path) for path in found}


def _probed_durations(index: Index, files: dict[str, Path], duration: Floats) -> Floats:
    """The durations; unknown ones are read from the headers of the files. An unreadable file stays unknown."""
    from loxo.audio.recording import RecordingError, probe

    duration = duration.copy()
    below = Index(files)
    numbers = below.find(index.names)
    for k, name in enumerate(index.names):
        if numbers[name] >= 0 and np.isnan(duration[k]):
            try:
                duration[k] = probe(files[below.names[numbers[name]]]).duration_s
            except RecordingError:
                continue
    return duration


def _evaluated_labels(
    rows: pd.DataFrame,
    tables: list[pd.DataFrame],
    detectors: Sequence[Detector],
    classes: Sequence[str] | None,
    ignore: Sequence[str],
    notes: list[str],
) -> list[str]:
    """The labels to evaluate. In place, labels that differ only in case or spaces are made equal in all tables.

    Labels of the truth that no detector has become a note with the most similar class. Raises LoxoError if this is true
    of all of them, unless `classes` are given.
    """
    spellings = label_names(
        [classes or (), sorted(rows["label"].unique()), *(sorted(t["label"].unique()) for t in tables)]
    )
    for table in (rows, *tables):
        table["label"] = table["label"].map(spellings).astype("object")
    skip = {label.casefold() for label in ignore}
    truth_labels = [label for label in sorted(rows["label"].unique()) if label.casefold() not in skip]
    detected_labels = sorted({label for table in tables for label in table["label"].unique()})
    wanted = [spellings[label] for label in classes] if classes else truth_labels or detected_labels
    known = {label.strip().casefold(): label.strip() for one in detectors for label in one.classes}
    unknown = {label: int((rows["label"] == label).sum()) for label in truth_labels if label.casefold() not in known}
    if unknown and known:
        listed = list(known.values())
        several = len(detectors) > 1
        sentence = (
            f"The truth has labels that {'no detector has' if several else 'the detector does not have'}: "
            f"{list_labels(unknown, listed)}. The classes of the detections are {', '.join(listed)}. If a label is one "
            f"of them, give {label_option(unknown, listed)}."
        )
        if len(unknown) == len(truth_labels) and not classes:
            raise LoxoError(f"{sentence} To evaluate these labels all the same, give --classes {','.join(unknown)}.")
        notes.append(sentence)
    for label in truth_labels:
        if label not in wanted:
            notes.append(f"The events of the truth with the label {label!r} are not evaluated.")
    left = {label: sum(int((table["label"] == label).sum()) for table in tables) for label in detected_labels}
    for label, count in left.items():
        if label not in wanted:
            notes.append(
                f"{count} detections with the label {label!r} are left out: the truth has no events of this class."
            )
    return wanted


def _unsearched(spans: Sequence[tuple[int, float, float]], duration: Floats) -> Regions:
    """The time outside the searched spans (recording, start, end), up to the durations of all recordings."""
    inside: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for number, start, end in spans:
        inside[number].append((start, end))
    ends = [math.inf if np.isnan(length) else float(length) for length in duration]
    found = [(number, *span) for number, end in enumerate(ends) for span in gaps(inside[number], end)]
    numbers, starts, stops = np.array(found, float).reshape(-1, 3).T
    return Regions(numbers.astype(np.int64), starts, stops)


def _class_data(
    label: str,
    rows: pd.DataFrame,
    tables: list[pd.DataFrame],
    duration: Floats,
    ignore: Sequence[str],
    unsearched: Regions,
) -> ClassData:
    class_rows = rows[rows["label"] == label]
    ignored_rows = rows[rows["label"].str.casefold().isin([name.casefold() for name in ignore])]
    number, start, end = _limited_spans(class_rows, duration)
    length = duration[number]
    clip = (start <= CLIP_TOLERANCE_S) & (end >= length - CLIP_TOLERANCE_S)  # False if the duration is unknown
    regions = zip(_limited_spans(ignored_rows, duration), vars(unsearched).values(), strict=True)
    counted, ignored = ~class_rows["marginal"].to_numpy(bool), Regions(*map(np.concatenate, regions))
    truth = Truth(number, start, end, counted, clip, ignored)
    detections = []
    for table in tables:
        selected = table[table["label"] == label]
        number, start, end = _limited_spans(selected, duration)
        score = selected["score"].to_numpy(float)
        detections.append(Detections(number, start, end, np.where(np.isnan(score), 1.0, score)))
    return ClassData(label, truth, class_rows["snr_db"].to_numpy(float), detections)


def _limited_spans(rows: pd.DataFrame, duration: Floats) -> tuple[Any, Any, Any]:
    """Number of the recording, start and end, limited to the duration of the recording if it is known."""
    number = rows["number"].to_numpy(np.int64)
    start, end = rows["start_s"].to_numpy(float), rows["end_s"].to_numpy(float)
    max_end = np.where(np.isnan(duration[number]), np.inf, duration[number])
    return number, np.minimum(start, max_end), np.minimum(end, max_end)
