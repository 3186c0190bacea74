"""The events of many recordings, in one folder that can be resumed.

Recordings are split into shards (detection/shards.py, schedule.py). Worker processes (processes.py) or a cluster
(dask.py) compute them; this process opens no recording. Results go into the run folder (runs/folder.py), on a disk or
on object storage (runs/remote.py). Nothing in the folder depends on the processes, on the length of shards, or on the
time of day.

Failure policy: a bad recording never stops the run. It is `failed`, or `truncated` and analysed up to the fault, and
the summary lists it among its problems. A later call with the same parameters skips finished recordings whose size and
modification time are the same, and finished shards of other recordings. It analyses failed recordings again, and may
add new ones. A recording that has crashed two workers is analysed again only after its file has changed. One that has
crashed or stopped one worker has one attempt, after all others. Other parameters are refused. After Ctrl-C, SIGTERM or
a full disk the folder states what is finished.
"""

from __future__ import annotations

import dataclasses
import math
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loxo.audio.channels import MIX, Channel, parse_channel
from loxo.audio.filenames import USUAL_NAMES, Names
from loxo.audio.finding import find_recordings
from loxo.audio.roots import remember
from loxo.detection.part import SHARD_MINUTES, Part
from loxo.detection.threshold import Threshold, check_threshold
from loxo.engine.model_file import find_model
from loxo.engine.windows import WINDOW_OVERLAP, check_window_overlap
from loxo.errors import LoxoError, with_path
from loxo.events.sites import read_sites
from loxo.languages import plural, text
from loxo.runs.config import config_parameters
from loxo.runs.folder import RunFolder
from loxo.runs.journal import FAILED, Entry
from loxo.runs.remote import check_place, open_run
from loxo.runs.tables import parse_formats
from loxo.survey.processes import PATIENCE_S, Here, Pool, Processes
from loxo.survey.progress import SurveyProgress as SurveyProgress
from loxo.survey.progress import Tracker
from loxo.survey.schedule import EngineFacts, Load, LoadModel, Lost, Options, Schedule, SetAside

REPEAT_S = 5.0  # after an interruption; further signals are taken as its repetition
WORKER_BYTES = 16 << 20  # of recordings for each process; for less, its start takes longer than it saves

Found = Path | str  # a file, or a URL


@dataclass(frozen=True)
class SurveySummary:
    """The results of a call, with the recordings that earlier calls finished."""

    folder: Path | str
    recordings: int  # number that was analysed, whole or in part
    resumed: int  # number that an earlier call had finished
    hours: float  # analysed audio
    events: int
    problems: list[tuple[Found, str]]  # recordings that were not analysed, or only in part, by path
    notes: list[str] = dataclasses.field(default_factory=list)  # remarks on recordings and the folder: no problems

    def __str__(self) -> str:
        return text(
            "{recordings}, {hours:.1f} hours, {events}, {problems}",
            recordings=plural(self.recordings, "{count} recording", "{count} recordings", count=self.recordings),
            hours=self.hours,
            events=plural(self.events, "{count} event", "{count} events", count=self.events),
            problems=plural(len(self.problems), "{count} problem", "{count} problems", count=len(self.problems)),
        )


def survey(
    paths: Iterable[str | Path],
    model: str | Path,
    out: str | Path,
    *,
    threshold: Threshold = None,
    window_overlap: float = WINDOW_OVERLAP,
    batch_size: int = 8,
    channel: Channel = MIX,
    workers: int = 1,
    cluster: str | None = None,
    shard_minutes: float = SHARD_MINUTES,
    patience_minutes: float = PATIENCE_S / 60,
    keep_scores: bool = False,
    formats: str | Iterable[str] = ("raven",),
    names: Names = USUAL_NAMES,
    sites: str | Path | None = None,
    device: str = "cpu",
    runtime: str = "auto",
    load: Load | None = None,
    work: str | Path | None = None,
    on_progress: Callable[[SurveyProgress], None] | None = None,
) -> SurveySummary:
    """Finds the events of all recordings in `paths` (files and folders) and writes them into the folder `out`, which
    may be an s3:// address: then `work` is the working folder on this computer (remotefolder.py).

    `model` is a bundled model's name or a path. `threshold`, `window_overlap`, `batch_size` and
    `channel` as in loxo.detect.
    `workers` processes share the work, or, in their place, a Dask `cluster`: its scheduler's address, or "local:N" for
    N processes here. They take shards of `shard_minutes` of a recording, in whole chunks of windows; results do not
    depend on it. A worker that tells nothing for `patience_minutes` is given up, and its shard done elsewhere.
    `formats` are the tables to write (outputs.py); `names` says how site and start are read out of the paths. `sites`
    is a table of sites (loxo.events.sites), which is stored in the folder and replaces that of an earlier call. `load`,
    a picklable function that returns an engine or a model, replaces loading it by name, on `device` and with `runtime`
    (loxo.engine.engine.load_engine).
    Raises LoxoError when there is nothing to analyse, for a bad option, when the folder cannot be written, holds
    something else or a run with other parameters, or another run is writing into it, and when a cluster cannot be
    reached. Ctrl-C and SIGTERM raise KeyboardInterrupt and leave a folder that can be resumed, as does every failure.
    """
    check_place(out, work)
    threshold = float(threshold) if isinstance(threshold, int) else threshold
    options = Options(threshold, float(window_overlap), batch_size, keep_scores, names, parse_channel(channel))
    formats = parse_formats(formats)
    table = None if sites is None else read_sites(sites)
    _check(options, workers, shard_minutes, patience_minutes)
    found, problems = find_recordings([paths] if isinstance(paths, str | Path) else (paths := list(paths)))
    if not found:
        raise LoxoError(" ".join(sentence for _, sentence in problems) or "No recordings were given.")
    remember(found)
    load = load or LoadModel(find_model(model), device, runtime)
    with one_interruption(), _pool(load, options, cluster, 60 * patience_minutes) as pool:
        if isinstance(pool, Processes):
            pool.start(_worth(workers, len(found), _size(found[0])))
        facts = pool.facts()
        check_threshold(threshold, facts.config.classes)
        parameters = run_parameters(model, facts, options, formats, device)
        roots = [str(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
        with open_run(out, parameters, problems, work, table) as folder:
            entries = folder.plan(found, roots)
            todo = sorted((entry for entry in entries if not folder.finished(entry)), key=lambda entry: entry.crashes)
            _go(folder, entries, todo, pool, shard_minutes, on_progress)
            return _summary(folder, entries, resumed=len(entries) - len(todo), problems=problems)


def run_parameters(
    model: str | Path, facts: EngineFacts, options: Options, formats: Sequence[str], device: str
) -> dict[str, Any]:
    """The parameters of a run, as its record states them."""
    return {
        "version": _version(),
        "model": str(model),
        "model_sha256": facts.sha256,
        **config_parameters(facts.config),
        **dataclasses.asdict(options),
        "formats": list(formats),
        "device": device,
        **facts.description,
    }


def _check(options: Options, workers: int, shard_minutes: float, patience_minutes: float) -> None:
    if isinstance(options.threshold, float) and not 0 <= options.threshold <= 1:
        raise LoxoError(f"The threshold must lie between 0 and 1, not at {options.threshold}.")
    check_window_overlap(options.window_overlap)
    if options.batch_size < 1 or workers < 1:
        raise LoxoError("The batch size and the number of workers must be at least 1.")
    if not shard_minutes > 0:
        raise LoxoError(f"A shard must have a length in minutes above 0, not {shard_minutes}.")
    if not patience_minutes > 0:
        raise LoxoError(f"The patience with workers must be minutes above 0, not {patience_minutes}.")


def _version() -> str:
    import loxo

    return loxo.__version__


def _size(path: Found) -> int:
    """The size of a local file; 0 for a URL, or for a file that is gone, which is reported later."""
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def _worth(workers: int, recordings: int, size: int) -> int:
    """Number of processes whose start takes less time than they save."""
    return min(workers, max(recordings, size // WORKER_BYTES))


@contextmanager
def _pool(load: Load, options: Options, cluster: str | None, patience_s: float) -> Iterator[Pool]:
    if cluster is not None:
        from loxo.survey.dask import Cluster

        yield Cluster(cluster, load, options, patience_s=patience_s)
        return
    try:
        processes = Processes("loxo.survey.tasks:Detector", (load, options), patience_s=patience_s)
    except (pickle.PicklingError, AttributeError, TypeError):  # a local function: no other process can load its model
        yield Here(lambda: _detector(load, options))
        return
    with processes:
        yield processes


def _detector(load: Load, options: Options) -> Any:
    from loxo.survey.tasks import Detector

    return Detector(load, options)


def _go(
    folder: RunFolder,
    entries: Sequence[Entry],
    todo: list[Entry],
    pool: Pool,
    shard_minutes: float,
    on_progress: Callable[[SurveyProgress], None] | None,
) -> None:
    """Analyses the recordings in `todo`, stores the results, and closes the folder in all cases."""
    doing = {entry.path for entry in todo}
    earlier = [entry for entry in entries if entry.path not in doing]
    tracker = Tracker(
        [entry.size for entry in todo], len(earlier), sum(max(entry.size, 1) for entry in earlier), on_progress
    )
    status = "interrupted"
    try:
        parts = folder.parts(todo, shard_minutes)
        crashes = {index: entry.crashes for index, entry in enumerate(todo) if entry.crashes}
        schedule = Schedule([entry.recording for entry in todo], parts, shard_minutes, crashes)
        for task, result in pool.run(schedule, tracker.live):
            if isinstance(result, Lost):
                todo[task.index] = folder.lose_worker(todo[task.index], result.crashed, result.hung)
            if isinstance(result, Part):
                tracker.part(task.index, result)
            for index, outcome in schedule.take(task, result):
                crashes_kept = todo[index].crashes if isinstance(outcome, SetAside) else 0
                folder.keep(dataclasses.replace(todo[index], crashes=crashes_kept), outcome)
                parts.drop(index)
                tracker.finish(index, outcome)
        parts.drop_all()
        status = "finished"
    finally:
        if status == "finished":
            folder.close(status, entries)
        else:
            with suppress(LoxoError):  # a full disk: the error that stopped the run is the better message
                folder.close(status, entries)


@contextmanager
def one_interruption() -> Iterator[None]:
    """Ctrl-C and SIGTERM, with which queues and service managers end a process, raise one KeyboardInterrupt. Repeated
    signals are ignored for REPEAT_S, so that the run folder can be closed. Only the main thread may handle signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    last = -math.inf

    def interrupt(*_: Any) -> None:
        nonlocal last
        if time.monotonic() - last >= REPEAT_S:
            last = time.monotonic()
            raise KeyboardInterrupt

    signals = [signal.SIGTERM]
    if hasattr(signal, "SIGBREAK"):  # on Windows, other programs cannot send SIGTERM
        signals.append(signal.SIGBREAK)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where Ctrl-C is ignored
        signals.append(signal.SIGINT)
    before = {number: signal.signal(number, interrupt) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _summary(
    folder: RunFolder, asked: Sequence[Entry], resumed: int, problems: Sequence[tuple[Found, str]]
) -> SurveySummary:
    entries = [folder.journal.entries[entry.path] for entry in asked]
    faults: list[tuple[Found, str]] = [
        (entry.recording if "://" in entry.recording else Path(entry.recording), entry.reason)
        for entry in entries
        if entry.reason is not None
    ]
    return SurveySummary(
        folder=folder.place,
        recordings=sum(entry.status != FAILED for entry in entries),
        resumed=resumed,
        hours=sum(entry.analysed_s for entry in entries) / 3600,
        events=sum(entry.events for entry in entries),
        notes=[*folder.notes, *(with_path(entry.recording, note) for entry in entries for note in entry.notes)],
        problems=sorted([*problems, *faults], key=lambda problem: (str(problem[0]), problem[1])),
    )
