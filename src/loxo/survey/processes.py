"""Tasks in worker processes on one computer.

The process that runs a survey decodes nothing: a decoder that crashes, a file that never answers, or a kill for lack of
memory ends a worker, not the run. This is also so with one worker. Workers are fresh interpreters (worker.py), not
forks, and are connected by pipes. They can therefore be started in every process, also in one with threads and in a
daemonic one. Each worker loads the model once, computes with one thread, and receives one task at a time, so the task
of a dead worker is known. This module imports no numerical packages.

Failure policy: a worker that ends by itself (a crash) or shows no progress for a long time is replaced, and its task is
computed once more. A worker that was killed from outside, for lack of memory for example, may have been killed by
chance: its task has one attempt more. The last attempt runs when no other task runs. If it fails, the task is set
aside, with a sentence that names its recording.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from loxo.audio.urls import WithSecrets
from loxo.errors import LoxoError
from loxo.survey.schedule import Counted, EngineFacts, Lost, OnSeconds, Seconds, SetAside
from loxo.survey.worker import START, Beat, NotReady, Ready, Setup

POLL_S = 0.5  # between two checks of the progress of the processes
PATIENCE_S = 600.0  # without a finished group of windows or a loaded model, after which a process counts as hanging.
# The slowest computers need seconds for a group; only a lost file server takes longer.
END_S = 5.0  # for a killed process to end; one that waits in the kernel for a file server may not end
STARTS = 3  # consecutive processes that may end before they have loaded the model
KILLED_STARTS = 20  # the same for processes that were killed from outside
ATTEMPTS, KILLED_ATTEMPTS = 2, 3  # of a task whose workers crash or hang, and of one whose workers are killed
KILLED = (-9, -15) if os.name == "posix" else (1,)  # exit codes of a process that was ended from outside
AGAIN = {1: "the second", 2: "the third"}


Message = TypeVar("Message")


class AnyTask(Protocol):
    """A task of any kind of work: of detection (schedule.Task), or a Job."""

    @property
    def index(self) -> int: ...

    @property
    def path(self) -> str: ...

    @property
    def shard(self) -> int: ...

    @property
    def crashes(self) -> int: ...

    def light(self) -> AnyTask: ...


@dataclass(frozen=True)
class Job(WithSecrets):
    """A task that is one recording and its parameters."""

    index: int
    path: str
    content: Any = None
    shard: int = 0
    crashes: int = 0

    def light(self) -> Job:
        return self


class Source(Protocol):
    """The source of tasks: loxo.survey.schedule.Schedule."""

    def next(self) -> Any: ...

    def reload(self, task: Any) -> Any: ...

    def note(self, index: int, sentence: str) -> None: ...


class Jobs:
    """A source of tasks that are known in advance. `notes` are the notes on recordings, by index."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.waiting = deque(jobs)
        self.notes: dict[int, str] = {}

    def next(self) -> Job | None:
        return self.waiting.popleft() if self.waiting else None

    def reload(self, job: Job) -> Job:
        return job

    def note(self, index: int, sentence: str) -> None:
        self.notes[index] = sentence


class Pool(Protocol):
    """Computes tasks."""

    def facts(self) -> EngineFacts:
        """The facts about the engine. Raises LoxoError when the model cannot be loaded."""
        ...

    def run(self, source: Any, on_seconds: OnSeconds) -> Iterator[tuple[Any, Any]]:
        """Computes tasks until the source has none and none is running; yields tasks with their results, with Counted
        and with Lost. `on_seconds` receives the progress of running tasks from time to time.

        The caller may add tasks to the source after each result. Raises LoxoError when the run cannot continue.
        """
        ...


class Here:
    """Computes tasks in this process, one after the other: for a model that no other process can load."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.work = make()

    def facts(self) -> EngineFacts:
        facts: EngineFacts = self.work.facts
        return facts

    def run(self, source: Source, on_seconds: OnSeconds) -> Iterator[tuple[Any, Any]]:
        from loxo.machine import one_thread

        while (task := source.next()) is not None:

            def report(done: float, total: float, shards: int, index: int = task.index) -> None:
                on_seconds({index: (done, total)})

            with one_thread():
                result = self.work(task, report)
            yield task, result


class Processes:
    """Computes tasks in worker processes, as a context manager: they end with the block in all cases.

    `work` names a class as MODULE:NAME and `arguments` are its arguments, which must be picklable. An instance has
    `facts` and is called with a task and a function that reports progress. A process that shows no progress for
    `patience_s` is replaced. Raises an exception at once when the arguments cannot be pickled.
    """

    def __init__(self, work: str, arguments: tuple[Any, ...], workers: int = 1, patience_s: float = PATIENCE_S) -> None:
        self.setup = _setup(work, arguments)
        self.size, self.patience_s = workers, patience_s
        self.workers: list[_Worker] = []
        self.messages: queue.Queue[tuple[_Worker, Any]] = queue.Queue()
        self.again: deque[Any] = deque()
        self.alone: deque[Any] = deque()  # for their last attempt
        self.attempts: dict[tuple[int, int], int] = {}  # failed attempts, by recording and shard
        self.killed: dict[tuple[int, int], bool] = {}  # whether all of them were kills from outside
        self.lost_starts = 0  # in a row
        self.source: Any = None
        self._ready: Ready | None = None

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def start(self, workers: int) -> None:
        """Uses this number of processes from now on, and starts them: they load the model at the same time."""
        self.size = workers
        while len(self.workers) < self.size:
            self._add()

    def facts(self) -> Any:
        """The facts about the work, from the first process that is ready. Raises LoxoError when none can be."""
        while self._ready is None:
            self.start(self.size)
            for _ in self._listen():
                pass
        return self._ready.facts

    def run(self, source: Source, on_seconds: OnSeconds | None = None) -> Iterator[tuple[Any, Any]]:
        self.source = source
        while self._fill():
            yield from self._listen()
            if on_seconds is not None:
                on_seconds(self._seconds())

    def _fill(self) -> bool:
        """Gives tasks to idle and new workers; True if a worker is busy afterwards."""
        while sum(worker.task is not None for worker in self.workers) < self.size:
            task = self.source.reload(self.again.popleft()) if self.again else self.source.next()
            if task is None and self.alone and not self._is_busy():
                self._give(self.source.reload(self.alone.popleft()))
            if task is None:
                break
            self._give(task)
        return self._is_busy()

    def _is_busy(self) -> bool:
        return any(worker.task is not None for worker in self.workers)

    def _give(self, task: AnyTask) -> None:
        for worker in [worker for worker in self.workers if worker.task is None and worker.has_ended()]:
            self._end(worker)
        idle = [worker for worker in self.workers if worker.task is None]
        worker = next((worker for worker in idle if worker.ready), None) or (idle[0] if idle else self._add())
        worker.give(task)

    def _add(self) -> _Worker:
        worker = _Worker(self.setup, self.messages)
        self.workers.append(worker)
        return worker

    def _end(self, worker: _Worker) -> int | None:
        self.workers.remove(worker)
        return worker.end()

    def _listen(self) -> Iterator[tuple[Any, Any]]:
        """The results that come within POLL_S."""
        for worker, message in waiting(self.messages):
            if worker in self.workers:  # else it was replaced
                yield from self._take(worker, message)
        for worker in list(self.workers):
            if (worker.task is not None or not worker.ready) and worker.silent_s() > self.patience_s:
                yield from self._lose(worker, hung=True)

    def _take(self, worker: _Worker, message: Any) -> Iterator[tuple[Any, Any]]:
        worker.heard_at = time.monotonic()
        task = worker.task
        if message is _ENDED:
            yield from self._lose(worker, hung=False)
        elif isinstance(message, NotReady):
            raise LoxoError(message.reason)
        elif isinstance(message, Ready):
            worker.ready, self._ready, self.lost_starts = True, message, 0
        elif isinstance(message, Beat):
            worker.beat = message
        elif isinstance(message, Counted):
            yield task, message
        else:
            assert task is not None
            worker.task = None
            self._fill()  # before the caller stores the result: the worker does not wait for the disk
            key = (task.index, task.shard)
            self.killed.pop(key, None)
            attempts = self.attempts.pop(key, 0)
            if attempts:
                self.source.note(
                    task.index, f"{task.path}: done at {AGAIN[attempts]} attempt; a worker process had ended or hung."
                )
            yield task, message

    def _lose(self, worker: _Worker, hung: bool) -> Iterator[tuple[Any, Any]]:
        task, ready = worker.task, worker.ready
        code = self._end(worker)
        if not ready:
            if task is not None:
                self.again.appendleft(task)
            self.lost_starts += 1
            if self.lost_starts >= (KILLED_STARTS if code in KILLED else STARTS):
                raise LoxoError(
                    "The worker processes cannot be started: they end before the model is loaded. See the messages "
                    "above; with little memory, use fewer workers."
                )
        elif task is not None:
            crashed = not hung and code not in KILLED
            yield task, Lost(crashed, hung)
            yield from self._failed(task, hung, crashed, code)

    def _failed(self, task: AnyTask, hung: bool, crashed: bool, code: int | None) -> Iterator[tuple[Any, Any]]:
        key = (task.index, task.shard)
        attempts = self.attempts[key] = self.attempts.get(key, task.crashes) + 1
        killed = self.killed[key] = self.killed.get(key, not task.crashes) and not hung and not crashed
        allowed = KILLED_ATTEMPTS if killed else ATTEMPTS
        if attempts < allowed:
            (self.alone if attempts == allowed - 1 else self.again).append(task)
            return
        del self.attempts[key], self.killed[key]
        if hung:
            why = f"showed no progress for {self.patience_s / 60:.3g} minutes"
            advice = "Check that its disk or server answers, then run again, or leave the recording out."
        elif crashed:
            why = f"crashed ({_exit_reason(code)})"
            advice = "Convert it to WAV or FLAC, or leave it out. This run tries it again only after the file changes."
        else:
            why = "ended without a message, perhaps for lack of memory"
            advice = "Run again with fewer workers if there is little memory, or leave the recording out."
        yield task, SetAside(f"{task.path}: set aside, because its worker process {why}, {attempts} times. {advice}")

    def _seconds(self) -> Seconds:
        seconds: Seconds = {}
        for worker in self.workers:
            if worker.task is not None:
                done = seconds.get(worker.task.index, (0.0, 0.0))[0] + worker.beat.done_s
                seconds[worker.task.index] = (done, worker.beat.whole_s)
        return seconds

    def end(self) -> None:
        """Ends all processes at once; the run does not wait for a shard of an hour."""
        for worker in self.workers:
            worker.process.kill()
        for worker in list(self.workers):
            self._end(worker)


def waiting(messages: queue.Queue[Message]) -> list[Message]:
    """The messages that are there, or the first one that comes within POLL_S; none otherwise."""
    received = []
    with suppress(queue.Empty):
        received.append(messages.get(timeout=POLL_S))
        while True:
            received.append(messages.get_nowait())
    return received


_ENDED = object()


class _Worker:
    """A process, and a thread of this process that gives it one task after the other and passes its answers on."""

    def __init__(self, setup: Setup, messages: queue.Queue[tuple[_Worker, Any]]) -> None:
        self.messages = messages
        self.task: Any = None
        self.ready = False  # whether the process has loaded the model
        self.beat = Beat(0.0, 0.0)
        self.heard_at = time.monotonic()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-c", START],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # saves the start of threads that are never used
            )
        except OSError as error:
            raise LoxoError(f"No worker process can be started ({error}). Use fewer workers.") from error
        self._given: queue.Queue[Any] = queue.Queue()
        self._given.put(setup)
        threading.Thread(target=self._talk, daemon=True).start()

    def _talk(self) -> None:
        to, of = self.process.stdin, self.process.stdout
        assert to is not None and of is not None
        try:
            with to, of:
                pickle.dump(sys.path, to)
                while (given := self._given.get()) is not None:
                    pickle.dump(given, to, protocol=pickle.HIGHEST_PROTOCOL)
                    to.flush()
                    given = None  # its memory is free while the worker computes
                    answered = False
                    while not answered:
                        message = pickle.load(of)
                        answered = not isinstance(message, Beat | Counted)
                        self.messages.put((self, message))
        except Exception:  # the process has ended, perhaps within a message
            self.messages.put((self, _ENDED))

    def give(self, task: AnyTask) -> None:
        self.task, self.beat, self.heard_at = task.light(), Beat(0.0, 0.0), time.monotonic()
        self._given.put(task)

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def silent_s(self) -> float:
        return time.monotonic() - self.heard_at

    def end(self) -> int | None:
        """Ends the process if it is alive; returns its exit code."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(0.1)  # one that has closed its pipe is about to end by itself
        self.process.kill()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(END_S)
        self._given.put(None)
        return self.process.returncode


def _setup(work: str, arguments: tuple[Any, ...]) -> Setup:
    content = pickle.dumps(arguments, protocol=pickle.HIGHEST_PROTOCOL)
    module, _, name = work.partition(":")
    script = None
    if b"__main__" in content:
        from multiprocessing import spawn

        script = spawn.get_preparation_data("loxo worker")
        script.pop("authkey", None)  # cannot be pickled, and no worker needs it
    return Setup(module, name, content, script)


def _exit_reason(code: int | None) -> str:
    with suppress(ValueError, TypeError):
        return signal.Signals(-code).name  # type: ignore[operator]
    return f"exit code {code}"
