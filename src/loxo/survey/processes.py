"""Tasks on the CPU cores of one computer: in this process, or in worker processes.

Every process computes with one thread, also a single one, so that the result does not depend on their number. Workers
are never forks of the calling process. On Linux they are forks of a clean server process that has finished the
imports, so a worker that has died is replaced quickly. Each worker loads the model once and receives one task at a
time, so the task of a dead worker is known.

Failure policy: a worker that dies (for lack of memory, for example), or shows no progress for a long time, is replaced,
and another worker computes its task again. The last attempt runs when no other task runs. A task that has ended
ATTEMPTS workers has failed, with a sentence that names its recording.
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, Protocol

from loxo.engine.engine import as_engine
from loxo.errors import LoxoError
from loxo.machine import one_thread, use_one_thread
from loxo.survey.tasks import ATTEMPTS, Load, Options, Result, Task, perform

if TYPE_CHECKING:
    pass

POLL_S = 0.5  # between two checks of the progress of the processes
PATIENCE_S = 600.0  # without a finished group of windows or a loaded model, after which a process counts as hanging.
# The slowest computers need seconds for a group; only a lost file server takes longer.
STARTS = 3  # consecutive processes that may end before they have loaded the model
KILLED_STARTS = 20  # the same for processes that were killed from outside

Seconds = dict[int, tuple[float, float]]  # recording -> finished seconds of its running tasks, its duration
OnSeconds = Callable[[Seconds], None]


class Source(Protocol):
    """The source of tasks: loxo.survey.tasks.Schedule."""

    def next(self) -> Task | None: ...

    def note(self, index: int, sentence: str) -> None: ...


class Pool(Protocol):
    """Computes tasks."""

    def run(self, source: Source, options: Options, on_seconds: OnSeconds) -> Iterator[tuple[Task, Result]]:
        """Computes tasks until the source has none and none is running. `on_seconds` receives the progress of running
        tasks from time to time.

        The caller may add tasks to the source after each result. Raises LoxoError when the run cannot continue.
        """
        ...


class Here:
    """Computes tasks in this process, one after the other."""

    def __init__(self, load: Load) -> None:
        self.load = load

    def run(self, source: Source, options: Options, on_seconds: OnSeconds) -> Iterator[tuple[Task, Result]]:
        engine = as_engine(self.load())
        while (task := source.next()) is not None:

            def advance(done: float, total: float, index: int = task.index) -> None:
                on_seconds({index: (done, total)})

            with one_thread():
                result = perform(task, engine, options, advance)
            yield task, result


class Processes:
    """Computes tasks in `workers` processes; `load` must be picklable. The processes end with the run in all cases. A
    process that shows no progress for `patience_s` is replaced."""

    def __init__(self, load: Load, workers: int, patience_s: float = PATIENCE_S) -> None:
        self.load, self.workers, self.patience_s = load, workers, patience_s

    def run(self, source: Source, options: Options, on_seconds: OnSeconds) -> Iterator[tuple[Task, Result]]:
        run = _ProcessTasks(self, source, options)
        try:
            while run.busy or run.fill():
                wait([end for worker in run.busy for end in (worker.pipe, worker.process.sentinel)], timeout=POLL_S)
                on_seconds(run.seconds())
                for worker in list(run.busy):
                    yield from run.look_at(worker)
                run.fill()
        finally:
            run.end()


def process_context() -> Any:
    """The way in which worker processes start; see the docstring of this module."""
    import multiprocessing
    import sys

    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["loxo.survey.preload"])
    return context


def start_server() -> None:
    """Starts the server process of which workers are forks, so that it is ready when workers are needed."""
    if process_context().get_start_method() == "forkserver":
        from multiprocessing.forkserver import ensure_running

        ensure_running()


class _ProcessTasks:
    """The worker processes of one run and their tasks."""

    def __init__(self, pool: Processes, source: Source, options: Options) -> None:
        self.context = process_context()
        self.pool, self.source, self.options = pool, source, options
        self.busy: list[_Worker] = []
        self.idle: list[_Worker] = []
        self.again: deque[Task] = deque()
        self.alone: deque[Task] = deque()  # for their last attempt
        self.attempts: dict[tuple[int, int], int] = {}  # failed attempts, by recording and shard
        self.lost_starts = 0  # in a row

    def fill(self) -> bool:
        """Sends tasks to idle and new workers; True if a worker is busy afterwards."""
        while len(self.busy) < self.pool.workers:
            task = self.again.popleft() if self.again else self.source.next()
            if task is None and self.alone and not self.busy:
                self._give(self.alone.popleft())
            if task is None:
                break
            self._give(task)
        return bool(self.busy)

    def _give(self, task: Task) -> None:
        worker = self.idle.pop() if self.idle else None
        if worker is not None and not worker.process.is_alive():
            worker.end()
            worker = None
        worker = worker or _Worker(self.context, self.pool.load, self.options)
        self.busy.append(worker)
        worker.give(task)

    def look_at(self, worker: _Worker) -> Iterator[tuple[Task, Result]]:
        task, message = worker.task, worker.receive()
        assert task is not None
        if message is not None:
            self.lost_starts = 0
            self.busy.remove(worker)
            worker.task = None
            self.idle.append(worker)
            attempts = self.attempts.pop((task.index, task.shard), 0)
            if attempts:
                again = "the second" if attempts == 1 else "the third"
                self.source.note(
                    task.index, f"{task.path}: done at {again} attempt; a worker process had ended or hung."
                )
            if isinstance(message, _NoModel):
                raise LoxoError(f"A worker process cannot load the model: {message.reason}")
            yield task, message
        elif worker.dead or worker.silent_s() > self.pool.patience_s:
            how = "ended without a message, perhaps for lack of memory" if worker.dead else "showed no progress"
            self.busy.remove(worker)
            ready, code = worker.ready, worker.end()
            if ready:
                yield from self._failed(task, how)
                return
            self.again.appendleft(task)
            self.lost_starts += 1
            if self.lost_starts >= (STARTS if code == 1 else KILLED_STARTS):
                raise LoxoError(
                    "The worker processes cannot be started. Use one worker, or see the messages above; a script "
                    "needs its call under `if __name__ == '__main__':`."
                )

    def _failed(self, task: Task, how: str) -> Iterator[tuple[Task, Result]]:
        key = (task.index, task.shard)
        attempts = self.attempts[key] = self.attempts.get(key, 0) + 1
        if attempts >= ATTEMPTS:
            del self.attempts[key]
            yield (
                task,
                f"{task.path}: set aside, because its worker process {how} {ATTEMPTS} times. Run again with fewer "
                "workers if there is little memory, or leave the recording out.",
            )
        else:
            (self.alone if attempts == ATTEMPTS - 1 else self.again).append(task)

    def seconds(self) -> Seconds:
        seconds: Seconds = {}
        for worker in self.busy:
            assert worker.task is not None
            done, total = worker.beat[1:]
            seconds[worker.task.index] = (seconds.get(worker.task.index, (0.0, 0.0))[0] + done, total)
        return seconds

    def end(self) -> None:
        """Ends all processes at once; the run does not wait for a shard of an hour."""
        for worker in [*self.busy, *self.idle]:
            worker.process.kill()
        for worker in [*self.busy, *self.idle]:
            worker.end()
        self.busy, self.idle = [], []


class _NoModel:
    """The message of a process that cannot load the model."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class _Worker:
    """A process, its pipe, and three numbers that it writes and this process reads without a lock: finished groups
    since its start, finished seconds of its task, duration of the recording."""

    def __init__(self, context: Any, load: Load, options: Options) -> None:
        self.pipe, theirs = context.Pipe()
        self.beat = context.RawArray("d", 3)
        self.task: Task | None = None
        self.dead = False
        self._seen, self._seen_at = -1.0, time.monotonic()
        for attempt in range(KILLED_STARTS):
            self.process = context.Process(target=_serve, args=(theirs, load, options, self.beat), daemon=True)
            try:
                self.process.start()
                break
            except (OSError, EOFError) as error:  # the server process has died; the next attempt starts a new one
                if attempt == KILLED_STARTS - 1:
                    raise LoxoError(f"No worker process can be started ({error}). Use fewer workers.") from error
                time.sleep(POLL_S)  # until it has ended
        theirs.close()

    @property
    def ready(self) -> bool:
        """Whether the process has loaded the model."""
        return bool(self.beat[0] > 0)

    def give(self, task: Task) -> None:
        self.task = task
        self.beat[1] = self.beat[2] = 0.0
        self._seen_at = time.monotonic()
        with suppress(OSError):  # the process is dead; receive detects it
            self.pipe.send(task)

    def receive(self) -> Result | _NoModel | None:
        """The message of the process; None if there is none, and then `dead` is True if none can follow."""
        alive = self.process.is_alive()
        try:
            if self.pipe.poll():
                message: Result | _NoModel = self.pipe.recv()
                return message
        except (EOFError, OSError):
            alive = False
        except Exception:  # the process ended within the message
            alive = False
        self.dead = not alive
        return None

    def silent_s(self) -> float:
        if self.beat[0] != self._seen:
            self._seen, self._seen_at = self.beat[0], time.monotonic()
        return time.monotonic() - self._seen_at

    def end(self) -> int | None:
        """Ends the process if it is alive; returns its exit code."""
        self.process.kill()
        self.process.join()
        code: int | None = self.process.exitcode
        self.process.close()
        self.pipe.close()
        return code


def _serve(pipe: Connection, load: Load, options: Options, beat: Any) -> None:
    """Runs in a new process: one thread, one model, ignores Ctrl-C (the parent decides), ends with the parent."""
    import multiprocessing
    import threading

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def end_with_parent() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    use_one_thread()
    try:
        engine = as_engine(load())
        use_one_thread()  # libraries that the engine has imported too
    except Exception as error:
        pipe.recv()
        pipe.send(_NoModel(str(error) if isinstance(error, LoxoError) else f"{type(error).__name__}: {error}"))
        return
    beat[0] += 1

    def advance(done: float, total: float) -> None:
        beat[0] += 1
        beat[1], beat[2] = done, total

    with suppress(EOFError, OSError):  # the parent has ended, or needs no more results
        while True:
            task = pipe.recv()
            result = perform(task, engine, options, advance)
            beat[0] += 1
            pipe.send(result)
