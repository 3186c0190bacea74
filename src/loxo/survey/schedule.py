"""The tasks of a run, their order, and the messages between the run and its workers.

A recording begins with the task of its first shard, which also determines the number of shards. A recording with one
shard is finished with this task. For a longer recording the worker reports the number of shards before it computes the
first one, and the other shards follow at once, each stored on disk when it is finished. The last task joins them and
decodes the events. Tasks are the same for worker processes (processes.py) and a cluster (dask.py).

This module imports no numerical packages and no decoder: the process that distributes tasks needs neither.

Failure policy: every failure of a recording becomes its outcome, one sentence. A fault in a shard ends the recording
there; the run does not wait for later shards.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from loxo.audio.channels import MIX, Channel
from loxo.audio.filenames import USUAL_NAMES, Names
from loxo.audio.urls import WithSecrets
from loxo.detection.part import Part
from loxo.detection.threshold import Threshold
from loxo.runs.result import Outcome, RecordingResult

if TYPE_CHECKING:
    from loxo.engine.engine import Engine

JOIN = -1  # in place of the number of a shard

Load = Callable[[], "Engine"]
Seconds = dict[int, tuple[float, float]]  # recording -> finished seconds of its running tasks, its duration
OnSeconds = Callable[[Seconds], None]


@dataclass(frozen=True)
class LoadModel:
    """Loads the engine of a model file. Picklable, and without an import of the engine before it is called."""

    path: Path
    device: str
    runtime: str

    def __call__(self) -> Engine:
        from loxo.engine.engine import load_engine

        return load_engine(self.path, device=self.device, runtime=self.runtime)


@dataclass(frozen=True)
class Options:
    """Parameters of detection, apart from the recording and the model."""

    threshold: Threshold
    window_overlap: float
    batch_size: int
    keep_scores: bool
    names: Names = USUAL_NAMES
    channel: Channel = MIX


@dataclass(frozen=True)
class Task(WithSecrets):
    """One shard of a recording, or the task that joins all shards."""

    index: int  # of the recording in the run
    path: str  # as given
    shard: int  # or JOIN
    shard_minutes: float
    parts: tuple[Part, ...] = ()  # to join
    crashes: int = 0  # of workers that analysed this recording, in earlier calls

    def light(self) -> Task:
        """The task without its parts, which take 35 MB for a recording of a day."""
        return replace(self, parts=()) if self.parts else self


@dataclass(frozen=True)
class EngineFacts:
    """What the run record states about the engine of a run."""

    config: Any
    sha256: str
    description: Mapping[str, str]

    @classmethod
    def of(cls, engine: Engine) -> EngineFacts:
        return cls(engine.config, engine.sha256, engine.describe())


@dataclass(frozen=True)
class Counted:
    """The message of a worker that has opened a recording and computes its first shard."""

    shards: int


@dataclass(frozen=True)
class Lost:
    """A worker ended or hung in a task, which is computed again. `crashed`: the worker ended by itself, not by a signal
    from outside. `hung`: it showed no progress."""

    crashed: bool = False
    hung: bool = False


class SetAside(str):
    """Why a task is abandoned that has lost too many workers, one sentence."""


Result = RecordingResult | Part | str | Counted | Lost


class PartStore(Protocol):
    """Stores the parts of unfinished recordings."""

    def known(self, index: int) -> dict[int, Part]: ...

    def keep(self, index: int, part: Part) -> None: ...

    def load(self, index: int, shard: int) -> Part: ...


@dataclass
class _Recording:
    """A recording of several shards that is being analysed."""

    of: int
    faulty: dict[int, bool]  # finished shards -> whether the recording ends there
    failed: dict[int, str]  # shards that failed -> why
    joining: bool = False

    @property
    def last(self) -> int:
        """The last shard that is needed, as far as is known."""
        return min([shard for shard, faulty in self.faulty.items() if faulty] + [*self.failed, self.of - 1])

    @property
    def complete(self) -> bool:
        return all(shard in self.faulty or shard in self.failed for shard in range(self.last + 1))


class Schedule:
    """Chooses the next task and combines the results of tasks. Recordings begin in order.

    `crashes` are the workers that each recording has crashed in earlier calls, by index; 0 for all others.
    """

    def __init__(
        self,
        paths: Sequence[str],
        store: PartStore,
        shard_minutes: float,
        crashes: Mapping[int, int] | None = None,
    ) -> None:
        self.paths, self.store, self.minutes, self.crashes = paths, store, shard_minutes, crashes or {}
        self._upcoming = 0
        self._ready: deque[tuple[int, int]] = deque()  # recording, shard or JOIN
        self._open: dict[int, _Recording] = {}
        self._notes: dict[int, str] = {}

    def next(self) -> Task | None:
        """The next task; None if no task is ready before a result arrives, or if all are finished."""
        while True:
            while self._ready:
                index, shard = self._ready.popleft()
                recording = self._open.get(index)
                if recording is not None and shard <= recording.last:
                    return self._task(index, shard)
            if self._upcoming == len(self.paths):
                return None
            index = self._upcoming
            self._upcoming += 1
            known = self.store.known(index)
            if not known:
                return self._task(index, 0)
            of = next(iter(known.values())).of
            self._begin(index, _Recording(of, {n: part.fault is not None for n, part in known.items()}, {}))

    def reload(self, task: Task) -> Task:
        """The task with its parts, to compute it once more."""
        return self._task(task.index, task.shard)

    def take(self, task: Task, result: Result) -> Iterator[tuple[int, Outcome]]:
        """Stores the result of a task; yields the outcome of the recording after its last task."""
        index, shard = task.index, task.shard
        recording = self._open.get(index)
        if isinstance(result, Lost):
            return
        if isinstance(result, Counted):
            if recording is None and result.shards > 1:
                self._open[index] = _Recording(result.shards, {}, {})
                self._ready.extend((index, other) for other in range(1, result.shards))
        elif isinstance(result, RecordingResult) or shard == JOIN:
            assert not isinstance(result, Part)
            yield self._finish(index, result)
        elif recording is None and shard > 0:
            return  # after the fault that ended the recording
        elif isinstance(result, Part):
            self.store.keep(index, result)
            if recording is None:
                self._begin(index, _Recording(result.of, {shard: result.fault is not None}, {}))
                return
            recording.faulty[shard] = result.fault is not None
            yield from self._close(index, recording)
        elif recording is None:
            yield self._finish(index, result)
        else:
            recording.failed[shard] = result
            yield from self._close(index, recording)

    def note(self, index: int, sentence: str) -> None:
        """Adds a note to the recording when it is finished."""
        self._notes[index] = sentence

    def _begin(self, index: int, recording: _Recording) -> None:
        self._open[index] = recording
        self._ready.extend((index, shard) for shard in range(recording.last + 1) if shard not in recording.faulty)
        for _ in self._close(index, recording):  # all shards are finished: they are joined
            pass

    def _close(self, index: int, recording: _Recording) -> Iterator[tuple[int, Outcome]]:
        if recording.joining or not recording.complete:
            return
        if recording.last in recording.failed:
            yield self._finish(index, recording.failed[recording.last])
        else:
            recording.joining = True
            self._ready.appendleft((index, JOIN))

    def _finish(self, index: int, outcome: Outcome) -> tuple[int, Outcome]:
        self._open.pop(index, None)
        note = self._notes.pop(index, None)
        if note and isinstance(outcome, RecordingResult):
            outcome = replace(outcome, notes=(*outcome.notes, note))
        return index, outcome

    def _task(self, index: int, shard: int) -> Task:
        parts: tuple[Part, ...] = ()
        if shard == JOIN:
            parts = tuple(self.store.load(index, n) for n in range(self._open[index].last + 1))
        return Task(index, self.paths[index], shard, self.minutes, parts, self.crashes.get(index, 0))
