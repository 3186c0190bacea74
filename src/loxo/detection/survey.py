"""The events of many recordings, in one folder that can be resumed.

    run.json        model and its hash, version, every parameter, and for each recording status, seconds and reason
    events.csv      the events of all recordings, sorted
    tables/         a Raven selection table for each recording that could be read, named after it: the path below the
                    folder that was given, or the bare name of a file that was given, with .selections.txt for its
                    suffix. If two recordings would share a name, the later gets -xxxxxxxx, from its path's SHA-256.
    scores/         if asked for: the frame scores by the same names, .npz, with `hop_s` (seconds a step) and a float32
                    array for each label; step k covers [k, k + 1) x hop_s
    journal.jsonl   what a later call resumes from

Nothing in the folder depends on the number of workers or on the time of day. Tables hold absolute paths, so that Raven
finds the recordings; events.csv holds them as given.

Failure policy: a bad recording never stops the run: it is `failed`, or `truncated` and analysed up to the fault, and
among the summary's problems. A later call with the same parameters passes over finished recordings whose size and time
of change are the same, does failed ones again, and may bring new ones. Other parameters are refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loxo.audio.recording import find_recordings
from loxo.detection.journal import DONE, FAILED, TRUNCATED, Entry, Journal
from loxo.detection.workers import Load, Options, Outcome, analyse_all
from loxo.errors import LoxoError
from loxo.events.raven import write_raven
from loxo.events.table import COLUMNS
from loxo.events.writers import csv_row, write_csv_rows
from loxo.files import atomic_file, write_atomically

if TYPE_CHECKING:
    from torch import nn

TABLE_SUFFIX = ".selections.txt"
# Two calls may share a folder only if these are equal. The batch size changes no more than float noise.
MUST_AGREE = ("version", "model_sha256", "threshold", "overlap", "keep_scores")


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    finished: int  # recordings, those of earlier calls included
    recordings: int
    share: float  # of the bytes of all recordings, 0-1
    hours: float  # of audio analysed in this call


@dataclass(frozen=True)
class Summary:
    """What became of the recordings of a call, those finished by earlier calls included."""

    folder: Path
    recordings: int  # analysed, whole or in part
    resumed: int  # of these, finished by an earlier call
    hours: float  # analysed
    events: int
    problems: list[tuple[Path, str]]  # by path: what could not be analysed, or not whole

    def __str__(self) -> str:
        words = [(self.recordings, "recording"), (self.events, "event"), (len(self.problems), "problem")]
        recordings, events, problems = (f"{count} {word}{'' if count == 1 else 's'}" for count, word in words)
        return f"{recordings}, {self.hours:.1f} hours, {events}, {problems}"


def survey(
    paths: Iterable[str | Path],
    model: str | Path,
    out: str | Path,
    *,
    threshold: float | None = None,
    overlap: float = 0.5,
    batch_size: int = 8,
    workers: int = 1,
    keep_scores: bool = False,
    device: str = "cpu",
    load: Load | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Finds the events of all recordings in `paths` (files and folders) and writes them into the folder `out`.

    `model` is a bundled model's name or a path. `threshold`, `overlap` and `batch_size` as in loxo.detect; `workers`
    processes share the recordings. `load`, a picklable function that gives the model, replaces loading it by name.
    Raises LoxoError when there is nothing to analyse, for a bad option, and when the folder cannot be written, holds
    something else, or holds a run with other parameters. Ctrl-C leaves a folder that can be resumed.
    """
    threshold = None if threshold is None else float(threshold)
    options = _check(Options(threshold, float(overlap), batch_size, keep_scores), workers)
    found, problems = find_recordings([paths] if isinstance(paths, str | Path) else (paths := list(paths)))
    if not found:
        raise LoxoError(" ".join(sentence for _, sentence in problems) or "No recordings were given.")
    workers = min(workers, len(found))  # one recording is not worth the seconds that a process takes to start
    load, sha256, first = _load(model, load, device)
    parameters = {
        "version": _version(),
        "model": str(model),
        "model_sha256": sha256,
        "decoding": {label: dataclasses.asdict(value) for label, value in first.config.decoding.items()},
        **dataclasses.asdict(options),
        "device": device,
    }
    run = _Run(Path(out), parameters, problems)
    return run.go(found, _roots(paths), load if workers > 1 else lambda: first, options, workers, on_progress)


def _check(options: Options, workers: int) -> Options:
    if options.threshold is not None and not 0 <= options.threshold <= 1:
        raise LoxoError(f"The threshold must lie between 0 and 1, not at {options.threshold}.")
    if not 0 <= options.overlap < 1:
        raise LoxoError(f"The overlap of windows must be at least 0 and less than 1, not {options.overlap}.")
    if options.batch_size < 1 or workers < 1:
        raise LoxoError("The batch size and the number of workers must be at least 1.")
    return options


def _load(model: str | Path, load: Load | None, device: str) -> tuple[Load, str, Any]:
    """How processes get the model, the hash of its file (of its weights if it has none), and the model."""
    if load is not None:
        loaded: nn.Module = load()
        digest = hashlib.sha256(repr(loaded.config).encode())
        for name, tensor in sorted(loaded.state_dict().items()):
            digest.update(name.encode() + tensor.cpu().numpy().tobytes())
        return load, digest.hexdigest(), loaded
    from loxo.models.weights import find_model, hash_model, load_model

    path = find_model(model)
    load = partial(load_model, path, device=device)
    return load, hash_model(path), load()


def _version() -> str:
    import loxo

    return loxo.__version__


def _roots(paths: Iterable[str | Path]) -> list[Path]:
    paths = [paths] if isinstance(paths, str | Path) else paths
    return [_absolute(path) for path in paths if Path(path).is_dir()]


def _absolute(path: str | Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 (links are not followed)


class _Run:
    """A run folder."""

    def __init__(self, folder: Path, parameters: dict[str, Any], problems: Sequence[tuple[Path, str]]) -> None:
        self.folder, self.parameters, self.problems = folder, parameters, list(problems)
        self._claim()
        self.journal = Journal(folder / "journal.jsonl")

    def _claim(self) -> None:
        """Makes the folder a run with these parameters, or raises LoxoError."""
        record = self.folder / "run.json"
        try:
            if record.is_file():
                self._compare(json.loads(record.read_text(encoding="utf-8"))["parameters"])
            elif self.folder.is_dir() and any(not path.name.startswith(".") for path in self.folder.iterdir()):
                raise LoxoError(f"{self.folder}: the folder is not empty and holds no run of Loxo. Give another name.")
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LoxoError(
                f"{self.folder}: this cannot be the folder of a run ({error.strerror}). Give one you may write to."
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise LoxoError(f"{record}: this is no run of Loxo, or it is damaged. Give another folder.") from error
        self._record("running", [])

    def _compare(self, before: dict[str, Any]) -> None:
        differences = [
            f"{name} {before.get(name)!r} is now {self.parameters[name]!r}"
            for name in MUST_AGREE
            if before.get(name) != self.parameters[name]
        ]
        if differences:
            raise LoxoError(
                f"{self.folder}: the folder holds a run with other parameters ({'; '.join(differences)}). "
                "Give another folder, or the same parameters to resume."
            )

    def go(
        self,
        found: Sequence[Path],
        roots: Sequence[Path],
        load: Load,
        options: Options,
        workers: int,
        on_progress: Callable[[Progress], None] | None,
    ) -> Summary:
        entries = self._plan(found, roots)
        todo = [entry for entry in entries if not self._finished(entry)]
        sizes = [max(entry.size, 1) for entry in todo]
        whole = sum(max(entry.size, 1) for entry in entries)
        finished = [len(entries) - len(todo)]

        def on_share(shares: Sequence[float], seconds: Sequence[float]) -> None:
            if on_progress is not None:
                left = sum(size * (1 - share) for size, share in zip(sizes, shares, strict=False))
                on_progress(Progress(finished[0], len(entries), 1 - left / whole, sum(seconds) / 3600))

        status = "interrupted"
        try:
            recordings = [entry.recording for entry in todo]
            outcomes = analyse_all(recordings, load, options, workers=workers, on_share=on_share)
            for index, outcome in outcomes:
                self._keep(todo[index], outcome, options.keep_scores)
                finished[0] += 1
            status = "finished"
        finally:
            if status == "finished":
                self._close(status, entries)
            else:
                with suppress(LoxoError):  # a full disk: what has stopped the run is the better message
                    self._close(status, entries)
            self.journal.close()
        if on_progress is not None:
            hours = sum(self.journal.entries[entry.path].analysed_s for entry in todo) / 3600
            on_progress(Progress(len(entries), len(entries), 1.0, hours))
        return self._summary(entries, resumed=len(entries) - len(todo))

    def _plan(self, found: Sequence[Path], roots: Sequence[Path]) -> list[Entry]:
        """An entry for each recording, with a name of its own; names of earlier calls stay."""
        names = {entry.name.casefold(): entry.path for entry in self.journal.entries.values()}
        entries = []
        for given in found:
            path = _absolute(given)
            root = next((root for root in roots if path.is_relative_to(root)), path.parent)
            name = path.relative_to(root).with_suffix("").as_posix()
            before = self.journal.entries.get(str(path))
            if before is not None:
                name = before.name
            elif names.setdefault(name.casefold(), str(path)) != str(path):
                name += "-" + hashlib.sha256(str(path).encode(errors="surrogateescape")).hexdigest()[:8]
                names[name.casefold()] = str(path)
            try:
                stat = path.stat()
                size, mtime_ns = stat.st_size, stat.st_mtime_ns
            except OSError:  # the analysis will say why
                size, mtime_ns = 0, 0
            entries.append(
                Entry(path=str(path), recording=str(given), name=name, size=size, mtime_ns=mtime_ns, status=FAILED)
            )
        return entries

    def _finished(self, entry: Entry) -> bool:
        before = self.journal.entries.get(entry.path)
        if before is None or before.status == FAILED or (before.size, before.mtime_ns) != (entry.size, entry.mtime_ns):
            return False
        return self._table(entry).is_file() and (not self.parameters["keep_scores"] or self._scores(entry).is_file())

    def _table(self, entry: Entry) -> Path:
        return self.folder / "tables" / (entry.name + TABLE_SUFFIX)

    def _scores(self, entry: Entry) -> Path:
        return self.folder / "scores" / (entry.name + ".npz")

    def _keep(self, entry: Entry, outcome: Outcome, keep_scores: bool) -> None:
        """Writes a recording's files and then, as the sign that they are complete, its line of the journal."""
        try:
            if isinstance(outcome, str):
                for path in (self._table(entry), self._scores(entry)):
                    path.unlink(missing_ok=True)  # of an earlier state of the recording
                self.journal.add(dataclasses.replace(entry, reason=outcome), [])
                return
            for path in (self._table(entry), self._scores(entry))[: 1 + keep_scores]:
                path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LoxoError(f"{self.folder}: the run cannot write there any more ({error.strerror}).") from error
        write_raven(outcome.events.assign(recording=entry.path), self._table(entry))
        if keep_scores:
            self._write_scores(entry, outcome)
        entry = dataclasses.replace(
            entry,
            status=TRUNCATED if outcome.fault else DONE,
            duration_s=outcome.duration_s,
            analysed_s=outcome.analysed_s,
            events=len(outcome.events),
            reason=outcome.fault,
            notes=outcome.notes,
        )
        self.journal.add(entry, [csv_row(event)[1:] for event in outcome.events.to_dict("records")])

    def _write_scores(self, entry: Entry, outcome: Any) -> None:
        import io

        import numpy as np

        buffer = io.BytesIO()
        arrays = dict(zip(outcome.labels, outcome.scores, strict=True))
        np.savez_compressed(buffer, hop_s=np.float64(outcome.hop_s), **arrays)
        write_atomically(self._scores(entry), buffer.getvalue())

    def _close(self, status: str, asked: Sequence[Entry]) -> None:
        """events.csv, run.json and the journal of all recordings in the folder, by the names they were last given."""
        given = {entry.path: entry.recording for entry in asked}
        entries = {
            path: dataclasses.replace(entry, recording=given.get(path, entry.recording))
            for path, entry in self.journal.entries.items()
        }
        self.journal.entries = entries
        ordered = sorted(entries.values(), key=lambda entry: (entry.recording, entry.path))
        with atomic_file(self.folder / "events.csv") as file:
            write_csv_rows(file, [COLUMNS])
            for entry in ordered:
                write_csv_rows(file, ([entry.recording, *row] for row in self.journal.rows(entry.path)))
        self._record(status, ordered)
        self.journal.close_compact()

    def _record(self, status: str, entries: Sequence[Entry]) -> None:
        record = {
            "status": status,
            "parameters": self.parameters,
            "problems": [[str(path), sentence] for path, sentence in self.problems],
            "recordings": [
                {
                    "recording": entry.recording,
                    "status": entry.status,
                    "duration_s": round(entry.duration_s, 6),
                    "analysed_s": round(entry.analysed_s, 6),
                    "events": entry.events,
                    "reason": entry.reason,
                    "notes": list(entry.notes),
                    "table": None if entry.status == FAILED else f"tables/{entry.name}{TABLE_SUFFIX}",
                }
                for entry in entries
            ],
        }
        write_atomically(self.folder / "run.json", (json.dumps(record, indent=1) + "\n").encode())

    def _summary(self, asked: Sequence[Entry], resumed: int) -> Summary:
        entries = [self.journal.entries[entry.path] for entry in asked]
        problems = [(Path(entry.recording), entry.reason) for entry in entries if entry.reason is not None]
        return Summary(
            folder=self.folder,
            recordings=sum(entry.status != FAILED for entry in entries),
            resumed=resumed,
            hours=sum(entry.analysed_s for entry in entries) / 3600,
            events=sum(entry.events for entry in entries),
            problems=sorted([*self.problems, *problems]),
        )
