"""What an evaluation is made of: the truth, the detectors' output, and which recordings, searched how long.

**Truth**: any tables of events (`loxo.events.reader`), Raven's first of all. A recording belongs to the truth when a
table has an event of it, or says that it holds none (DUMMY rows, a table without rows that is named after it).
Detections in other recordings are left out, because nobody looked there, unless the truth is said to be `exhaustive`.
An event is
*marginal* when its table says so, a *clip-level* label when it covers its whole recording (within 10 ms), and a row
with a label in IGNORE marks a region in which nothing counts. A row that another table repeats is the same event.
**Detections**: the folder of a run, or any tables. Recordings that a run could not analyse are left out for all
detectors, and so are events after the place where it stopped.
**Hours**: from the runs' run.json, else from the headers below `recordings`; or a number that is given.

Failure policy: what cannot be read or placed is a LoxoError; what is left out is counted in `notes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from loxo.audio.filenames import parse_name
from loxo.errors import LoxoError
from loxo.evaluation.names import Index, label_names
from loxo.evaluation.spans import Bools, Floats, Found, Ints, Regions, Truth
from loxo.events.table import COLUMNS
from loxo.runs.record import is_run

if TYPE_CHECKING:
    import pandas as pd

IGNORE = ("ignore", "unknown", "unk", "?")  # labels of regions in which nothing counts
WHOLE_S = 0.01  # how near its recording's ends a clip-level label must come
SUFFIXES = (".txt", ".csv", ".tsv")
SNR = ("snrdb", "snr")  # headers of a column of signal-to-noise ratios, as loxo.events.cells.plain gives them


@dataclass(frozen=True)
class Detector:
    """The output of one detector. `searched`: seconds analysed of each recording, by name, where a run tells."""

    name: str
    events: pd.DataFrame
    searched: dict[str, float] | None = None
    empty: list[str] = field(default_factory=list)  # recordings that its tables say it found nothing in
    notes: list[str] = field(default_factory=list)
    run: Path | None = None


@dataclass(frozen=True)
class OneClass:
    """One class: the truth, its signal-to-noise ratios (events,) and its rows, and what each detector found."""

    label: str
    truth: Truth
    snr_db: Floats
    found: list[Found]


@dataclass(frozen=True)
class Case:
    """Everything that is compared, in arrays. Recordings are numbered as in `recordings`; detectors keep no rows."""

    recordings: list[str]
    duration_s: Floats  # (recordings,); NaN where it is not known
    hours: float | None  # searched in all; None where it is not known
    site: list[str]  # (recordings,); "" where it is not known
    start_s: Floats  # (recordings,) of the clock; NaN where the name does not tell
    classes: list[OneClass]
    detectors: list[Detector]
    notes: list[str] = field(default_factory=list)


# -- reading


def read_truth(paths: Sequence[str | Path], label: str | None = None) -> pd.DataFrame:
    """The events of all tables and folders of tables, with `marginal` (bool) and `snr_db` (NaN where unknown).

    attrs: "without_events" (recordings that hold none) and "notes" (sentences).
    Raises LoxoError when there is no table, one cannot be read, or an event has no label and none is given.
    """
    truth, without, notes = _read_all(paths, label, with_snr=True)
    if (truth["label"] == "").any():
        row = truth[truth["label"] == ""].iloc[0]
        raise LoxoError(
            f"The truth does not say what its events are (the first at {row['start_s']:g} s of {row['recording']}). "
            "Name their class with --label."
        )
    truth.attrs = {"without_events": without, "notes": notes}
    return truth


def read_detections(path: str | Path, label: str | None = None) -> Detector:
    """A run folder, a table, or a folder of tables. Raises LoxoError when it is none of them or cannot be read."""
    path = Path(path)
    name = path.name or str(path)
    if is_run(path):
        from loxo.runs.read import read_run

        run = read_run(path)
        rows = run.recordings
        analysed = rows[rows["status"] != "failed"]
        searched = dict(zip(analysed["recording"], analysed["analysed_s"].astype(float), strict=True))
        return Detector(name, run.events.assign(table=0), searched, run=path)
    events, without, notes = _read_all([path], label)
    return Detector(name, events, empty=without, notes=[f"{name}: {note}" for note in notes])


def _read_all(
    paths: Sequence[str | Path], label: str | None, with_snr: bool = False
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """All events with the number of their `table`, the recordings without any, and what was not as it should be."""
    import pandas as pd

    tables: list[pd.DataFrame] = []
    without: dict[str, None] = {}
    notes: list[str] = []
    for path, by_name in _files(paths):
        try:
            table = _read_table(path, label, with_snr)
        except LoxoError as error:
            if by_name:
                raise
            notes.append(str(error))
            continue
        without |= dict.fromkeys(table.attrs.get("without_events", ()))
        notes += table.attrs.get("problems", ())
        table.attrs = {}
        for name, default in (("marginal", False), ("snr_db", np.nan)):
            if name not in table.columns:
                table[name] = default
        table["snr_db"] = pd.to_numeric(table["snr_db"], errors="coerce").astype(float)
        tables.append(table[[*COLUMNS[:7], "marginal", "snr_db"]].assign(table=len(tables)))
    if not tables:
        raise LoxoError(f"{', '.join(map(str, paths))}: there is no table of events. {' '.join(notes[:1])}")
    return pd.concat([t for t in tables if len(t)] or tables[:1], ignore_index=True), list(without), notes


def _files(paths: Sequence[str | Path]) -> list[tuple[Path, bool]]:
    """The tables, and whether each was given by name."""
    files: list[tuple[Path, bool]] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = [file for file in sorted(path.rglob("*")) if file.suffix.lower() in SUFFIXES and file.is_file()]
            if not inside:
                raise LoxoError(f"{path}: the folder holds no table of events ({', '.join(SUFFIXES)}).")
            files += [(file, False) for file in inside if not file.name.startswith(".")]
        elif not path.exists():
            raise LoxoError(f"{path}: there is no such table or folder.")
        else:
            files.append((path, True))
    if not files:
        raise LoxoError("No tables were given.")
    return files


def _read_table(path: Path, label: str | None, with_snr: bool) -> pd.DataFrame:
    from loxo.events.cells import delimiter_of, first_line, parse_table, plain, read_text
    from loxo.events.reader import read_events
    from loxo.events.rows import events_of

    with path.open("rb") as file:
        header = file.readline().decode("utf-8", "replace").strip()
    if header == ",".join(COLUMNS):
        from loxo.runs.read import read_events_csv

        return read_events_csv(path)  # what read_events gives, and fast
    if with_snr:
        text = read_text(path)
        line = first_line(text)
        delimiter = delimiter_of(line)
        column = next((cell for cell in line.split(delimiter) if plain(cell) in SNR), None)
        if column is not None:
            table = parse_table(path, text, delimiter)
            if table.rows:
                return events_of(table, label=label, extra={"snr_db": column}, strict=False)
    return read_events(path, label=label)


# -- putting together


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
    """Puts truth (of read_truth) and detectors onto one list of recordings. See this module's docstring.

    classes: labels to evaluate, by default those of the truth, or those of the detections if the truth has no event.
    Raises LoxoError when nothing is left to compare, or names do not tell recordings apart.
    """
    notes = [*truth.attrs.get("notes", ()), *(note for detector in detectors for note in detector.notes)]
    files = _audio_files(recordings) if recordings is not None else {}
    given = [*truth["recording"], *truth.attrs.get("without_events", ())]
    if exhaustive:
        known = Index(given)
        lists = [[*(d.searched or d.events["recording"].unique()), *d.empty] for d in detectors]
        for names in [*lists, [] if any(d.searched for d in detectors) else list(files)]:
            given += [name for name, number in known.find(names).items() if number < 0]
            known = Index(given)
    index = Index(given)
    if not len(index):
        raise LoxoError("The truth speaks of no recording at all: neither an event nor a recording without events.")
    numbers, analysed, keep = _searched(index, detectors, notes)
    duration = analysed if np.isfinite(analysed).any() else np.full(len(index), np.nan)
    if files:
        duration = _probed(index, files, duration)
    renumber = np.where(keep, np.cumsum(keep) - 1, -1)
    for detector, of in zip(detectors, numbers, strict=True):
        if not keep.any() or (of and max(of.values()) < 0):
            raise LoxoError(
                f"{detector.name}: no recording of the truth is among those of the detections: {index.names[0]!r} is "
                f"one of the truth, {next(iter(of), '(none)')!r} one of the detections."
            )
    names = [name for name, kept in zip(index.names, keep, strict=True) if kept]
    duration = duration[keep]
    parsed = [parse_name(name) for name in names]
    sites = _sites(names, [part.site for part in parsed])
    starts = np.array([np.nan if p.start is None else p.start.replace(tzinfo=UTC).timestamp() for p in parsed])

    rows = truth.assign(number=renumber[_numbers(truth["recording"], index.find(truth["recording"]))])
    rows = rows[rows["number"] >= 0]
    length = duration[rows["number"].to_numpy(int)]
    late = rows["start_s"].to_numpy(float) >= length
    if late.any():
        notes.append(f"{int(late.sum())} true events lie after the end of what was searched and are left out.")
    rows = _once(rows[~late].reset_index(drop=True), "truth", notes)
    tables = []
    for detector, of in zip(detectors, numbers, strict=True):
        number = np.append(renumber, -1)[_numbers(detector.events["recording"], of)]
        inside = detector.events.assign(number=number)[number >= 0]
        if len(inside) < len(number):
            left = len(number) - len(inside)
            notes.append(f"{detector.name}: {left} detections lie in recordings that are not evaluated.")
        tables.append(_once(inside.reset_index(drop=True), detector.name, notes))
    wanted = _classes(rows, tables, classes, ignore, notes)
    total = hours if hours is not None else float(duration.sum()) / 3600 if np.isfinite(duration).all() else None
    if total is None:
        unknown = int(np.isnan(duration).sum())
        notes.append(
            f"How long {unknown} of {len(names)} recordings are is not known, so nothing is said of false positives an "
            "hour. Give --recordings or --hours."
        )
    return Case(
        recordings=names,
        duration_s=duration,
        hours=total,
        site=sites,
        start_s=starts,
        classes=[_one_class(label, rows, tables, duration, ignore) for label in wanted],
        detectors=[replace(detector, events=detector.events.iloc[:0].copy()) for detector in detectors],
        notes=notes,
    )


def _once(rows: pd.DataFrame, name: str, notes: list[str]) -> pd.DataFrame:
    """The rows without those that a table repeats from another. Equal rows of one table are two events."""
    if not len(rows) or rows["table"].nunique() < 2:
        return rows
    keys = [rows[column] for column in ("number", "label", "start_s", "end_s")]
    times = rows.groupby([*keys, rows["table"]]).cumcount()
    again = rows.assign(times=times).duplicated(["number", "label", "start_s", "end_s", "times"])
    if again.any():
        notes.append(f"{name}: {int(again.sum())} events stand in more than one table and are counted once.")
    return rows[~again].reset_index(drop=True)


def _searched(
    index: Index, detectors: Sequence[Detector], notes: list[str]
) -> tuple[list[dict[str, int]], Floats, Bools]:
    """For each detector the numbers of its recordings' names; seconds analysed by all; what all have searched."""
    numbers, keep = [], np.ones(len(index), bool)
    analysed = np.full(len(index), np.nan)
    for detector in detectors:
        names = [*detector.events["recording"].unique(), *(detector.searched or ()), *detector.empty]
        of = index.find(names)
        numbers.append(of)
        if detector.searched is None:
            continue
        seconds = np.full(len(index), np.nan)
        for name, value in detector.searched.items():
            if of[name] >= 0:
                seconds[of[name]] = value
        missing = int((np.isnan(seconds) & keep).sum())
        if missing:
            notes.append(
                f"{detector.name}: {missing} recordings of the truth were not analysed and are left out for all."
            )
        keep &= np.isfinite(seconds)
        analysed = np.fmin(analysed, seconds)
    return numbers, analysed, keep


def _numbers(names: pd.Series, of: dict[str, int]) -> Ints:
    return np.asarray([of[name] for name in names], np.int64)


def _sites(names: list[str], parsed: list[str | None]) -> list[str]:
    """The site in a recording's name; else, where recordings lie in several folders, its folder; else ""."""
    folders = [name.replace("\\", "/").rpartition("/")[0].rpartition("/")[2] for name in names]
    several = len(set(folders)) > 1
    return [site or (folder if several else "") for site, folder in zip(parsed, folders, strict=True)]


def _audio_files(root: str | Path) -> dict[str, Path]:
    from loxo.audio.finding import find_recordings

    found, problems = find_recordings([root])
    if not found:
        raise LoxoError(" ".join(sentence for _, sentence in problems))
    return {str(path): Path(path) for path in found}


def _probed(index: Index, files: dict[str, Path], duration: Floats) -> Floats:
    """Durations from headers, where they are not known yet. A file that cannot be read stays unknown."""
    from loxo.audio.recording import RecordingError, probe

    duration = duration.copy()
    below = Index(files)
    of = below.find(index.names)
    for k, name in enumerate(index.names):
        if of[name] >= 0 and np.isnan(duration[k]):
            try:
                duration[k] = probe(files[below.names[of[name]]]).duration_s
            except RecordingError:
                continue
    return duration


def _classes(
    rows: pd.DataFrame,
    tables: list[pd.DataFrame],
    classes: Sequence[str] | None,
    ignore: Sequence[str],
    notes: list[str],
) -> list[str]:
    """The labels to evaluate; labels are made alike in all tables, in place."""
    unlike = label_names(
        [classes or (), sorted(rows["label"].unique()), *(sorted(t["label"].unique()) for t in tables)]
    )
    for table in (rows, *tables):
        table["label"] = table["label"].map(unlike).astype("object")
    skip = {label.casefold() for label in ignore}
    of_truth = [label for label in sorted(rows["label"].unique()) if label.casefold() not in skip]
    of_others = sorted({label for table in tables for label in table["label"].unique()})
    wanted = [unlike[label] for label in classes] if classes else of_truth or of_others
    for label in of_truth:
        if label not in wanted:
            notes.append(f"The truth's events called {label!r} are not evaluated.")
    left = {label: sum(int((table["label"] == label).sum()) for table in tables) for label in of_others}
    for label, count in left.items():
        if label not in wanted:
            notes.append(f"{count} detections called {label!r} are left out: the truth says nothing of that class.")
    return wanted


def _one_class(
    label: str, rows: pd.DataFrame, tables: list[pd.DataFrame], duration: Floats, ignore: Sequence[str]
) -> OneClass:
    own = rows[rows["label"] == label]
    aside = rows[rows["label"].str.casefold().isin([name.casefold() for name in ignore])]
    number, start, end = _spans(own, duration)
    length = duration[number]
    clip = (start <= WHOLE_S) & (end >= length - WHOLE_S)  # False where the length is not known
    truth = Truth(number, start, end, ~own["marginal"].to_numpy(bool), clip, Regions(*_spans(aside, duration)))
    found = []
    for table in tables:
        mine = table[table["label"] == label]
        number, start, end = _spans(mine, duration)
        score = mine["score"].to_numpy(float)
        found.append(Found(number, start, end, np.where(np.isnan(score), 1.0, score)))
    return OneClass(label, truth, own["snr_db"].to_numpy(float), found)


def _spans(rows: pd.DataFrame, duration: Floats) -> tuple[Any, Any, Any]:
    """Number of the recording, start and end, cut to the recording where its length is known."""
    number = rows["number"].to_numpy(np.int64)
    start, end = rows["start_s"].to_numpy(float), rows["end_s"].to_numpy(float)
    most = np.where(np.isnan(duration[number]), np.inf, duration[number])
    return number, np.minimum(start, most), np.minimum(end, most)
