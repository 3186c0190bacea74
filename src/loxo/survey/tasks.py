"""The pieces of work a run is made of, small enough to be sent anywhere, and in which order they come.

A recording begins with the task of its first shard, which also finds out how many shards there are; when there is
nothing else to do meanwhile, they are counted at once. A recording of one shard is finished with it. Of a longer one
the other shards follow, each kept on disk when it is done, and at last the task that joins them and finds the events.
The same pieces are done whatever does them: this process, worker processes (workers.py) or a cluster (cluster.py).

Failure policy: whatever goes wrong with a recording becomes its outcome, one sentence. A fault in a shard ends the
recording there; shards behind it are not waited for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from loxo.audio.filenames import USUAL_NAMES, Names
from loxo.audio.recording import probe
from loxo.detection.decode import Threshold
from loxo.detection.detect import Analysis, Outcome, conclude
from loxo.detection.shards import Part, join, make_grid, score_shard
from loxo.errors import LoxoError

if TYPE_CHECKING:
    from loxo.engine.engine import Engine

ATTEMPTS = 3  # a piece of work that ends its process, or hangs, so many times is given up
JOIN = -1  # in place of a shard's number

Load = Callable[[], "Engine"]
Result = Outcome | Part
Advance = Callable[[float, float], None]  # seconds of audio done in this task, seconds of its recording
Count = Callable[[str], int]  # into how many shards a recording is cut


@dataclass(frozen=True)
class Options:
    """What finding events needs to know apart from the recording and the model."""

    threshold: Threshold
    window_overlap: float
    batch_size: int
    keep_scores: bool
    names: Names = USUAL_NAMES


@dataclass(frozen=True)
class Task:
    """One shard of a recording, or the joining of all."""

    index: int  # of the recording in the run
    path: str  # as given
    shard: int  # or JOIN
    shard_minutes: float
    parts: tuple[Part, ...] = ()  # to join


def count_shards(path: str, config: Any, window_overlap: float, shard_minutes: float) -> int:
    """Into how many shards a recording is cut. Raises LoxoError where it cannot be read."""
    return len(make_grid(probe(path), config, window_overlap).shards(shard_minutes))


def perform(task: Task, engine: Engine, options: Options, advance: Advance | None = None) -> Result:
    """Does a task. Never raises: a failure is an outcome."""
    try:
        result = _perform(task, engine, options, advance)
    except LoxoError as error:
        return str(error)
    except Exception as error:  # the policy: one recording never stops a run
        return f"{task.path}: the analysis failed with {type(error).__name__}: {error}"
    if isinstance(result, Analysis) and not options.keep_scores:
        return replace(result, scores=result.scores[:, :0])
    return result


def _perform(task: Task, engine: Engine, options: Options, advance: Advance | None) -> Result:
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

        part = score_shard(engine, recording, grid, shards, task.shard, batch_size=options.batch_size, advance=on)
        if part.of > 1:
            return part
        parts = (part,)
    joined = join(recording, grid, parts)
    return conclude(task.path, recording, engine.config, joined, threshold=options.threshold, names=options.names)


class PartStore(Protocol):
    """Where the parts of unfinished recordings are kept."""

    def known(self, index: int) -> dict[int, Part]: ...

    def keep(self, index: int, part: Part) -> None: ...

    def load(self, index: int, shard: int) -> Part: ...


@dataclass
class _Recording:
    """A recording of several shards that is under way."""

    of: int
    faulty: dict[int, bool]  # shards that are done -> whether the recording ends there
    failed: dict[int, str]  # shards that could not be done -> why
    joining: bool = False

    @property
    def last(self) -> int:
        """The last shard that counts, as far as is known."""
        return min([shard for shard, faulty in self.faulty.items() if faulty] + [*self.failed, self.of - 1])

    @property
    def complete(self) -> bool:
        return all(shard in self.faulty or shard in self.failed for shard in range(self.last + 1))


class Schedule:
    """Which task is next, and what the results of tasks add up to. Recordings are begun in order.

    `count` raises LoxoError for a recording that cannot be read; without it nothing is counted ahead.
    """

    def __init__(
        self, paths: Sequence[str], store: PartStore, shard_minutes: float, count: Count | None = None
    ) -> None:
        self.paths, self.store, self.minutes, self.count = paths, store, shard_minutes, count
        self._uncounted: deque[int] = deque()  # recordings whose first shard is under way
        self._upcoming = 0
        self._ready: deque[tuple[int, int]] = deque()  # recording, shard or JOIN
        self._open: dict[int, _Recording] = {}
        self._notes: dict[int, str] = {}

    def next(self) -> Task | None:
        """None when there is nothing to do until a result has come, or nothing at all any more."""
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
        """Takes in what a task gave; yields the recording's outcome when that was the last piece."""
        index, shard = task.index, task.shard
        recording = self._open.get(index)
        if shard == 0 and index in self._uncounted:
            self._uncounted.remove(index)
        if isinstance(result, Analysis) or shard == JOIN:
            assert not isinstance(result, Part)
            yield self._finish(index, result)
        elif recording is None and shard > 0:
            return  # behind the fault that ended the recording
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
        """Something to be said of the recording when it is finished."""
        self._notes[index] = sentence

    def _count_ahead(self) -> bool:
        """Makes the other shards of a recording ready whose first one is under way; False if there is none such."""
        while self.count is not None and self._uncounted:
            index = self._uncounted.popleft()
            with suppress(LoxoError):  # the task of the first shard will say what is wrong
                of = self.count(self.paths[index])
                if of > 1:
                    self._open[index] = _Recording(of, {}, {})
                    self._ready.extend((index, shard) for shard in range(1, of))
                    return True
        return False

    def _begin(self, index: int, recording: _Recording) -> None:
        self._open[index] = recording
        self._ready.extend((index, shard) for shard in range(recording.last + 1) if shard not in recording.faulty)
        for _ in self._close(index, recording):  # all there already: to be joined; nothing has failed yet
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
        return Task(index, self.paths[index], shard, self.minutes, parts)
