"""Searches a folder in which recordings appear, into a run folder like any other.

The folder is looked through again and again; no message of the system is needed, so file servers work too. Hidden files
are skipped, and so is every file without the suffix of a recording: copies under a temporary name are found when they
are renamed.

A recording is quiet when its size and modification time have not changed for `settle_s`. It is complete when it is
quiet and as long as its header states, or when it has not changed for `complete_after_s`, whatever its header states.
While a WAV file grows, its finished chunks are searched (growing.py), and the run folder contains their events. When it
is complete, its tables are those of `loxo detect`.

Newer files come first: a recording that appears does not wait for a thousand that are there already.

Failure policy: as in `loxo detect`. A recording that fails while it grows is searched again when it is complete. One
that was removed before it was searched is a problem of the run until it is there again. After SIGKILL, the same call
continues from the journal and from the stored parts of unfinished recordings.
"""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from loxo.audio.channels import MIX, Channel, parse_channel
from loxo.audio.filenames import USUAL_NAMES, Names
from loxo.audio.finding import find_recordings
from loxo.audio.roots import remember
from loxo.audio.storage import is_url, size_and_version
from loxo.detection.part import Part
from loxo.detection.threshold import Threshold, check_threshold
from loxo.engine.model_file import find_model
from loxo.engine.windows import WINDOW_OVERLAP, check_window_overlap
from loxo.errors import LoxoError
from loxo.events.sites import read_sites
from loxo.files import escape
from loxo.live.messages import Answer, Request, searchable_early
from loxo.live.service import notify_service
from loxo.live.state import StateFile
from loxo.runs.folder import RunFolder
from loxo.runs.journal import FAILED, Entry
from loxo.runs.shard_store import Parts
from loxo.runs.tables import parse_formats
from loxo.survey.processes import PATIENCE_S, Job, Processes
from loxo.survey.schedule import Counted, Load, LoadModel, Lost, Options, SetAside
from loxo.survey.survey import one_interruption, run_parameters

POLL_S, SETTLE_S, COMPLETE_AFTER_S = 2.0, 10.0, 600.0
REFRESH_S = 30.0  # at least this long between two writes of events.csv and run.json, and SHARE times what one takes
SHARE = 20
TASK_MINUTES = 60.0  # of sound in one task
GROWING = "growing"  # version of a recording in the journal that was searched in part; no file has this version


class Alerter(Protocol):
    """Receives events before they are stored (loxo.live.alerts.Alerts)."""

    def events(self, recording: str, rows: Sequence[dict[str, Any]], searched_s: float | None) -> None:
        """The events of a recording, of which `searched_s` seconds were searched; None: it is complete."""
        ...

    def tick(self) -> None: ...

    def waiting(self) -> int:
        """The number of alerts in the queue."""
        ...


@dataclass
class _File:
    """A recording in the folder, and what has been done with it."""

    path: Path
    size: int
    version: str
    changed_at: float  # by this computer's wall clock
    entry: Entry | None = None  # as planned when it was searched last
    parts: dict[int, Part] | None = None  # by first chunk; None: not read yet
    compare: bool = True  # a part may be of another version
    busy: bool = False
    done: bool = False  # in this version
    asked: str = ""  # the last question about this version: quiet or final
    next_size: int = 0


@dataclass(frozen=True)
class WatchStatus:
    """The state of a watch, for callbacks."""

    found: int  # recordings in the folder
    finished: int
    growing: int  # searched in part
    busy: int
    problems: int


class Watch:
    """The source of tasks for the workers, and the receiver of their answers."""

    def __init__(
        self,
        given: Path,
        folder: RunFolder,
        alerter: Alerter | None,
        settle_s: float,
        complete_after_s: float,
        poll_s: float,
        on_note: Callable[[str], None],
    ) -> None:
        self.given, self.folder, self.alerter, self.on_note = given, folder, alerter, on_note
        self.settle_s, self.complete_after_s, self.poll_s = settle_s, complete_after_s, poll_s
        self.files: dict[str, _File] = {}
        self.jobs: dict[int, _File] = {}  # running tasks, by index
        self.waiting: deque[tuple[_File, bool, bool]] = deque()
        self.number = 0
        self.scan_at = self.refresh_at = 0.0
        self.changed = False  # since the last refresh
        self.seen_problems: set[tuple[str, str]] = set()
        self.state = StateFile(folder.folder, "watch")
        self.heard: float | None = None  # seconds since 1970 of the end of the newest sound that was searched
        self._hear(list(folder.journal.entries.values()))

    # ------------------------------------------------------------ the folder

    def scan(self) -> None:
        began = time.monotonic()
        found, problems = find_recordings([self.given])
        known = dict(self.files)
        new: list[_File] = []
        for path in map(Path, found):
            try:
                size, version = size_and_version(path)
            except LoxoError:  # removed since
                continue
            now, file = time.time(), known.pop(str(path), None)
            if file is None:
                file = _File(path, size, version, min(int(version) / 1e9, now))
                self.files[str(path)] = file
                new.append(file)
            elif (file.size, file.version) != (size, version):
                file.compare |= bool(file.parts)
                file.size, file.version, file.changed_at = size, version, now
                file.done, file.asked = False, ""
                self._remove_problem(file)
        self._plan(new)
        for name, file in known.items():
            if not file.busy:
                del self.files[name]
                self._removed(file)
        self._note_problems(problems)
        self._choose()
        self.scan_at = time.monotonic() + max(self.poll_s, SHARE * (time.monotonic() - began))

    def _plan(self, new: list[_File]) -> None:
        if not new:
            return
        remember([file.path for file in new])
        for file, entry in zip(new, self.folder.plan([file.path for file in new], [str(self.given)]), strict=True):
            file.entry = entry
            file.done = self.folder.finished(entry)
            self._remove_problem(file)

    def _removed(self, file: _File) -> None:
        assert file.entry is not None
        if file.done:
            return
        self._parts(file).drop(0)
        sentence = f"{file.path}: the recording was removed before all of it was searched. Copy it again."
        self.folder.problems.append((file.path, sentence))
        self.on_note(sentence)
        self.changed = True

    def _remove_problem(self, file: _File) -> None:
        self.folder.problems = [problem for problem in self.folder.problems if str(problem[0]) != str(file.path)]

    def _note_problems(self, problems: Sequence[tuple[Path | str, str]]) -> None:
        """Faults of folders and links, each once. An empty folder is none."""
        for path, sentence in problems:
            if (str(path), sentence) not in self.seen_problems and "contains no recordings" not in sentence:
                self.seen_problems.add((str(path), sentence))
                self.folder.problems.append((path, sentence))
                self.on_note(sentence)

    def _choose(self) -> None:
        """The recordings with something to do, the newest first, as (file, quiet, final)."""
        now = time.time()
        todo = []
        for file in self.files.values():
            if file.done or file.busy:
                continue
            idle = now - file.changed_at
            quiet, final = idle >= self.settle_s, idle >= self.complete_after_s
            asked = "final" if final else "quiet" if quiet else ""
            grown = searchable_early(file.path) and file.size >= file.next_size
            if (asked and asked != file.asked and file.asked != "final") or (grown and not asked):
                todo.append((file, quiet, final))
        self.waiting = deque(sorted(todo, key=lambda item: -item[0].changed_at))

    # ------------------------------------------------------------ tasks

    def next(self) -> Job | None:
        if time.monotonic() >= self.scan_at:
            self.scan()
        while self.waiting:
            file, quiet, final = self.waiting.popleft()
            if not file.busy and not file.done and str(file.path) in self.files:
                return self._job(file, quiet, final)
        return None

    def _job(self, file: _File, quiet: bool, final: bool) -> Job:
        if file.parts is None:
            file.parts = _in_order(self._parts(file).known(0))
            file.compare = bool(file.parts)
        file.busy, file.asked = True, "final" if final else "quiet" if quiet else ""
        assert file.entry is not None
        file.entry = dataclasses.replace(file.entry, size=file.size, version=file.version)
        self.number += 1
        self.jobs[self.number] = file
        request = Request(tuple(file.parts.values()), quiet, final, file.compare, TASK_MINUTES)
        return Job(self.number, str(file.path), request, crashes=file.entry.crashes)

    def reload(self, job: Job) -> Job:
        return job

    def note(self, index: int, sentence: str) -> None:
        self.on_note(sentence)

    def take(self, job: Job, result: Any) -> None:
        """Stores the answer of a worker."""
        file = self.jobs[job.index]
        assert file.entry is not None
        if isinstance(result, Lost):
            file.entry = self.folder.lose_worker(file.entry, result.crashed, result.hung)
        if isinstance(result, Lost | Counted):
            return
        del self.jobs[job.index]
        file.busy = False
        same = _is_same(file)
        if isinstance(result, str):
            self._failed(file, result, same)
        else:
            self._answered(file, job.content, result, same)

    def _failed(self, file: _File, reason: str, same: bool) -> None:
        if isinstance(reason, SetAside) or (same and file.asked == "final"):
            assert file.entry is not None
            self._finish(file, reason)
        # Else the file is gone, still being written, or asked about again when it has not changed for longer.
        file.next_size = file.size + 1

    def _answered(self, file: _File, request: Request, answer: Answer, same: bool) -> None:
        assert file.entry is not None and file.parts is not None
        if answer.again:
            self._parts(file).drop(0)
            file.parts = {}
            self.on_note(f"{file.path}: the recording has changed since it was searched, and is searched again.")
        file.next_size = answer.next_size
        finished = answer.complete and answer.result is not None
        if finished and same:
            self._finish(file, answer.result)
            return
        if answer.part is not None and not finished:
            file.parts[answer.part.shard] = answer.part
            self._parts(file).keep(0, answer.part)
            file.compare |= not same
        if answer.result is not None and not finished and file.parts:
            self._tell(file, answer.result.events, answer.result.analysed_s)
            self._keep(dataclasses.replace(file.entry, size=0, version=GROWING), answer.result)
            self.changed = True
        if answer.more:
            file.asked = ""
            self.waiting.appendleft((file, request.quiet, request.final))
        if not same:
            file.compare, file.asked = True, ""

    def _finish(self, file: _File, outcome: Any) -> None:
        """Stores a complete recording, or why it failed."""
        assert file.entry is not None
        if not isinstance(outcome, str):
            self._tell(file, outcome.events, None)
        crashes = file.entry.crashes if isinstance(outcome, SetAside) else 0
        self._keep(dataclasses.replace(file.entry, crashes=crashes), outcome)
        self._parts(file).drop(0)
        file.parts, file.done, self.changed = {}, True, True
        if isinstance(outcome, str) or outcome.fault is not None:
            self.on_note(outcome if isinstance(outcome, str) else outcome.fault)

    def _keep(self, entry: Entry, outcome: Any) -> None:
        self.folder.keep(entry, outcome)
        self._hear([self.folder.journal.entries[entry.path]])

    def _hear(self, entries: Sequence[Entry]) -> None:
        """Notes when the sound of these recordings ended: by their names, else by the last change of the file."""
        origins, now = self.folder.origins([entry.recording for entry in entries]).by_recording, time.time()
        for entry in entries:
            start = origins[escape(entry.recording)].time()
            end = None if start is None else start.timestamp() + entry.analysed_s
            if (end is None or end > now) and entry.version.isdecimal():  # no clock, or a wrong one
                end = int(entry.version) / 1e9
            if entry.analysed_s > 0 and end is not None:
                self.heard = max(min(end, now), self.heard or 0.0)

    def _tell(self, file: _File, rows: Sequence[dict[str, Any]], searched_s: float | None) -> None:
        if self.alerter is not None:
            self.alerter.events(str(file.path), rows, searched_s)

    def _parts(self, file: _File) -> Parts:
        assert file.entry is not None
        return self.folder.parts([dataclasses.replace(file.entry, size=0, version=GROWING)], TASK_MINUTES)

    # ------------------------------------------------------------ the run folder

    def tick(self) -> None:
        """Writes the tables of the run if they are old; called from time to time."""
        notify_service("WATCHDOG=1")
        if self.alerter is not None:
            self.alerter.tick()
        began = time.monotonic()
        if self.changed and began >= self.refresh_at:
            self.folder.refresh()
            self.changed = False
            self.refresh_at = time.monotonic() + max(REFRESH_S, SHARE * (time.monotonic() - began))
        if self.state.is_due():
            self.write_state()

    def write_state(self) -> None:
        status = self.status()
        values = {
            "folder": escape(str(self.given)),
            "complete": status.finished,
            "growing": status.growing,
            "waiting": status.found - status.finished - status.growing,
            "events": sum(entry.events for entry in self.folder.journal.entries.values()),
            "problems": status.problems,
        }
        self.state.write(self.heard, self.alerter.waiting() if self.alerter else 0, values)

    def status(self) -> WatchStatus:
        files = self.files.values()
        return WatchStatus(
            found=len(files),
            finished=sum(file.done for file in files),
            growing=sum(not file.done and bool(file.parts) for file in files),
            busy=len(self.jobs),
            problems=len(self.folder.problems)
            + sum(entry.status == FAILED for entry in self.folder.journal.entries.values()),
        )


def _in_order(known: dict[int, Part]) -> dict[int, Part]:
    """The parts from the first chunk on, without a gap."""
    parts: dict[int, Part] = {}
    at = 0
    while at in known and len(known[at].checks):
        parts[at] = known[at]
        at = known[at].of
    return parts


def _is_same(file: _File) -> bool:
    """Whether the file is as it was when the task was made."""
    assert file.entry is not None
    try:
        return size_and_version(file.path) == (file.entry.size, file.entry.version)
    except LoxoError:
        return False


def watch(
    folder: str | Path,
    model: str | Path,
    out: str | Path,
    *,
    threshold: Threshold = None,
    window_overlap: float = WINDOW_OVERLAP,
    channel: Channel = MIX,
    workers: int = 1,
    keep_scores: bool = False,
    formats: str | Sequence[str] = ("raven",),
    names: Names = USUAL_NAMES,
    sites: str | Path | None = None,
    runtime: str = "auto",
    settle_s: float = SETTLE_S,
    complete_after_s: float = COMPLETE_AFTER_S,
    poll_s: float = POLL_S,
    load: Load | None = None,
    alerter: Callable[[RunFolder], Alerter] | None = None,
    on_note: Callable[[str], None] = lambda sentence: None,
    stop: Callable[[WatchStatus], bool] = lambda status: False,
) -> None:
    """Searches the recordings that appear in `folder`, into the run folder `out`, until it is interrupted.

    The options of the search are those of loxo.survey. See this module's docstring for `settle_s` and
    `complete_after_s`. `alerter` makes the receiver of events. `on_note` receives sentences for a log. `stop` is called
    after each look at the folder and ends the call.
    Raises LoxoError as loxo.survey does, and when there is no such folder. Ctrl-C and SIGTERM raise KeyboardInterrupt
    and leave a folder that can be resumed, as does every failure.
    """
    given = Path(folder)
    if is_url(str(folder)) or not given.is_dir():
        raise LoxoError(f"{folder}: there is no such folder on this computer. Give the folder where recordings arrive.")
    if is_url(str(out)):
        raise LoxoError(f"{out}: loxo watch writes its run on a disk of this computer. Give a folder there.")
    if workers < 1 or min(settle_s, complete_after_s, poll_s) <= 0:
        raise LoxoError("The number of workers and all times must be above 0.")
    check_window_overlap(window_overlap)
    threshold = float(threshold) if isinstance(threshold, int) else threshold
    options = Options(threshold, float(window_overlap), 8, keep_scores, names, parse_channel(channel))
    formats = parse_formats(formats)
    table = None if sites is None else read_sites(sites)
    load = load or LoadModel(find_model(model), "cpu", runtime)
    pool = Processes("loxo.live.growing:Searcher", (load, options), patience_s=PATIENCE_S)
    with one_interruption(), pool:
        pool.start(workers)
        facts = pool.facts()
        check_threshold(threshold, facts.config.classes)
        parameters = run_parameters(model, facts, options, formats, "cpu")
        with RunFolder(Path(out), parameters, [], table) as run:
            state = Watch(given, run, alerter(run) if alerter else None, settle_s, complete_after_s, poll_s, on_note)
            try:
                _loop(state, pool, poll_s, stop)
            except BaseException:
                with suppress(LoxoError):  # a full disk: the error that stopped the run is the better message
                    run.close("interrupted", [])
                    state.write_state()
                raise
            run.close("interrupted", [])
            state.write_state()


def _loop(state: Watch, pool: Processes, poll_s: float, stop: Callable[[WatchStatus], bool]) -> None:
    notify_service("READY=1")
    while True:
        for job, result in pool.run(state, lambda seconds: state.tick()):
            state.take(job, result)
        state.tick()
        if stop(state.status()):
            return
        time.sleep(min(poll_s, max(state.scan_at - time.monotonic(), 0.01)))
