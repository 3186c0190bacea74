"""The tasks of a run and their order.

A recording begins with the task of its first shard, which also determines the number of shards. If no other task is
ready meanwhile, the number is determined at once. A recording with one shard is finished with this task. For a longer
recording the other shards follow, each stored on disk when it is finished. The last task joins them and decodes the
events. Tasks are the same for this process, worker processes (processes.py) and a cluster (dask.py).

Failure policy: every failure of a recording becomes its outcome, one sentence. A fault in a shard ends the recording
there; the run does not wait for later shards.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from loxo.audio.channels import MIX, Channel
from loxo.audio.filenames import USUAL_NAMES, Names
from loxo.audio.recording import probe
from loxo.audio.urls import hide_secrets, request_url, without_secrets
from loxo.detection.decode import Threshold
from loxo.detection.detect import Analysis, Outcome, conclude
from loxo.detection.shards import Part, join, make_grid, score_shard
from loxo.errors import LoxoError

if TYPE_CHECKING:
    from loxo.engine.engine import Engine

ATTEMPTS = 3  # a task that ends its process, or hangs, this many times is abandoned
JOIN = -1  # in place of the number of a shard

Load = Callable[[], "Engine"]
Result = Outcome | Part
Advance = Callable[[float, float], None]  # seconds of audio done in this task, seconds of its recording
Count = Callable[[str], int]  # number of shards of a recording


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
class Task:
    """One shard of a recording, or the task that joins all shards."""

    index: int  # of the recording in the run
    path: str  # as given
    shard: int  # or JOIN
    shard_minutes: float
    parts: tuple[Part, ...] = ()  # to join
    source: str = field(default="", repr=False)  # the path, or its URL with secrets, which other processes need


def count_shards(path: str, config: Any, window_overlap: float, shard_minutes: float) -> int:
    """Number of shards of a recording. Raises LoxoError if it cannot be read."""
    return len(make_grid(probe(path), config, window_overlap).shards(shard_minutes))


def perform(task: Task, engine: Engine, options: Options, advance: Advance | None = None) -> Result:
    """Computes a task. Never raises: a failure is an outcome."""
    try:
        result = _perform(task, engine, options, advance)
    except LoxoError as error:
        return str(error)
    except Exception as error:  # one recording never stops a run
        return f"{task.path}: the analysis failed with {type(error).__name__}: {without_secrets(str(error))}"
    if isinstance(result, Analysis) and not options.keep_scores:
        return replace(result, scores=result.scores[:, :0])
    return result


def _perform(task: Task, engine: Engine, options: Options, advance: Advance | None) -> Result:
    hide_secrets(task.source)
    recording = probe(task.path)
    grid = make_grid(recording, engine.config, options.window_overlap)
    parts = task.parts
    if task.shard != JOIN:
        shards = grid.shards(task.shard_minutes)
        if task.shard >= len(shards):
            raise LoxoError(f"{task.path}: the recording changed while it was analysed. Run again.")

        def on(seconds: float) -> None:
            if advance is not None:
                advance(seconds, grid.samples / grid.rate)

        part = score_shard(
            engine,
            recording,
            grid,
            shards,
            task.shard,
            batch_size=options.batch_size,
            channel=options.channel,
            advance=on,
        )
        if part.of > 1:
            return part
        parts = (part,)
    joined = join(recording, grid, parts)
    return conclude(
        task.path,
        recording,
        engine.config,
        joined,
        threshold=options.threshold,
        channel=options.channel,
        names=options.names,
    )


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

    `count` raises LoxoError for a recording that cannot be read. Without it, no shards are counted ahead.
    """

    def __init__(
        self, paths: Sequence[str], store: PartStore, shard_minutes: float, count: Count | None = None
    ) -> None:
        self.paths, self.store, self.minutes, self.count = paths, store, shard_minutes, count
        self._uncounted: deque[int] = deque()  # recordings whose first shard is being computed
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
                if self._count_ahead():
                    continue
                return None
            index = self._upcoming
            self._upcoming += 1
            known = self.store.known(index)
            if not known:
                self._uncounted.append(index)
                return self._task(index, 0)
            of = next(iter(known.values())).of
            self._begin(index, _Recording(of, {n: part.fault is not None for n, part in known.items()}, {}))

    def take(self, task: Task, result: Result) -> Iterator[tuple[int, Outcome]]:
        """Stores the result of a task; yields the outcome of the recording after its last task."""
        index, shard = task.index, task.shard
        recording = self._open.get(index)
        if shard == 0 and index in self._uncounted:
            self._uncounted.remove(index)
        if isinstance(result, Analysis) or shard == JOIN:
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

    def _count_ahead(self) -> bool:
        """Makes the other shards of a recording ready while its first one is computed; False if there are none."""
        while self.count is not None and self._uncounted:
            index = self._uncounted.popleft()
            with suppress(LoxoError):  # the task of the first shard reports the fault
                of = self.count(self.paths[index])
                if of > 1:
                    self._open[index] = _Recording(of, {}, {})
                    self._ready.extend((index, shard) for shard in range(1, of))
                    return True
        return False

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
        if note and isinstance(outcome, Analysis):
            outcome = replace(outcome, notes=(*outcome.notes, note))
        return index, outcome

    def _task(self, index: int, shard: int) -> Task:
        parts: tuple[Part, ...] = ()
        if shard == JOIN:
            parts = tuple(self.store.load(index, n) for n in range(self._open[index].last + 1))
        path = self.paths[index]
        return Task(index, path, shard, self.minutes, parts, request_url(path))
