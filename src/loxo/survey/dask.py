"""Tasks on a Dask cluster: a running one, by the address of its scheduler, or one of N processes on this computer.

Tasks and results are the same as in worker processes. The run submits at most as many tasks as the cluster has threads:
a run of 100,000 recordings is never one huge graph, each worker has one task at a time, and workers that join later
are used. The model is sent to each worker once, also to later ones, and stored there by its hash. Results return to
this process, which alone writes the run folder. The workers read recordings under the same path as this computer.

Failure policy: as in processes.py. Dask detects workers that die, and begins their task again elsewhere. Such a task
computes nothing and reports that it began again: the run decides whether it is tried again, whatever the scheduler
allows. A worker reports its progress every BEAT_S through the scheduler. A worker that has begun a task and reports
nothing for `patience_s` hangs or has lost the network: its nanny restarts it, or the cluster continues without it, and
the task is computed elsewhere. A task that no worker begins has far more time, in proportion to its audio, because
workers may be busy for others. A task that has failed ATTEMPTS times is abandoned. If the scheduler is lost, the run
ends and can be resumed.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import pickle
import queue
import tempfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loxo.engine.engine import as_engine, choose_runtime, load_engine
from loxo.engine.model_file import GRAPH_SUFFIX, read_model_file
from loxo.errors import LoxoError
from loxo.installation import install_extra
from loxo.machine import use_one_thread
from loxo.survey.processes import ATTEMPTS, PATIENCE_S, Source, waiting
from loxo.survey.schedule import (
    JOIN,
    Counted,
    EngineFacts,
    Load,
    LoadModel,
    Lost,
    OnSeconds,
    Options,
    Result,
    Seconds,
    SetAside,
    Task,
)
from loxo.survey.tasks import perform

if TYPE_CHECKING:
    from loxo.engine.engine import Engine

CONNECT_S = 30
REVIVE_S = 20.0  # without a worker, before a cluster here is given new ones: their nannies have ended too
LOOK_S = 5.0  # between two looks at how many threads the cluster has
BEAT_S = 2.0  # between two signs of life of a task
PER_SHARD = 8  # so many times its audio's length, and the patience, may go by before a task is begun
LOCAL = "local:"


class Cluster:
    """Computes tasks on a cluster. `address`: a scheduler's, such as tcp://10.0.0.5:8786, or "local:N"."""

    def __init__(self, address: str, load: Load, options: Options, patience_s: float = PATIENCE_S) -> None:
        if isinstance(load, LoadModel):  # the runtime of this computer for all workers
            load = replace(load, runtime=choose_runtime(load.runtime, load.device, read_model_file(load.path)))
        self.load, self.options = load, options
        load = _portable(load)
        self.address, self.model = address, SentModel(hashlib.sha256(pickle.dumps(load)).hexdigest(), load)
        self.patience_s = patience_s

    def facts(self) -> EngineFacts:
        return EngineFacts.of(as_engine(self.load()))

    def run(self, source: Source, on_seconds: OnSeconds) -> Iterator[tuple[Task, Result]]:
        with _connected(self.address) as (client, revive):
            client.register_plugin(_plugin(self.model), name=self.model.name)
            run = _ClusterTasks(client, revive, self.model, source, self.options, self.patience_s)
            client.subscribe_topic(run.topic, run.beat)
            try:
                while run.fill() or run.running:
                    yield from run.wait()
                    on_seconds(run.seconds())
            finally:
                with suppress(Exception):  # a scheduler that has gone
                    client.unsubscribe_topic(run.topic)
                    client.cancel([job.future for job in run.running.values()], force=True)
                    client.unregister_worker_plugin(self.model.name)


@dataclass
class _Job:
    task: Task
    future: Any
    since: float  # it was handed over, or gave a sign of life
    begun: bool = False
    done_s: float = 0.0  # seconds of audio
    whole_s: float = 0.0  # of its recording


class _ClusterTasks:
    """The running tasks of a cluster."""

    def __init__(
        self,
        client: Any,
        revive: Callable[[], None] | None,
        model: SentModel,
        source: Source,
        options: Options,
        patience_s: float,
    ) -> None:
        self.client, self.revive, self.model, self.source, self.options = client, revive, model, source, options
        self.patience_s, self.topic = patience_s, f"loxo-{uuid.uuid4()}"
        self.running: dict[str, _Job] = {}  # by Dask's key
        self.numbers = itertools.count()
        self.news: queue.Queue[tuple[str, Counted | None]] = queue.Queue()  # None: it has ended
        self.again: deque[Task] = deque()
        self.alone: deque[Task] = deque()  # for their last attempt
        self.attempts: dict[tuple[int, int], int] = {}
        self.threads, self.counted_at, self.none_since = 1, 0.0, 0.0

    def fill(self) -> bool:
        """Submits as many tasks as there are threads; True if any is running."""
        self._count_threads()
        while len(self.running) < self.threads:
            task = self.again.popleft() if self.again else self.source.next()
            if task is None and self.alone and not self.running:
                self._submit(self.alone.popleft())
            if task is None:
                break
            self._submit(task)
        return bool(self.running)

    def _submit(self, task: Task) -> None:
        key = f"{self.topic}-{next(self.numbers)}"
        future = self.client.submit(
            _work, self.model.sha256, task, self.options, self.topic, key, key=key, pure=False, retries=0
        )
        self.running[key] = _Job(task, future, time.monotonic())
        future.add_done_callback(lambda future: self.news.put((future.key, None)))

    def beat(self, event: tuple[float, tuple[str, float, float, int]]) -> None:
        """Takes in a task's sign of life: its key, seconds done, seconds of its recording, number of shards. In a
        thread of Dask's."""
        key, done_s, whole_s, shards = event[1]
        job = self.running.get(key)
        if job is None:
            return
        job.since, job.begun, job.done_s, job.whole_s = time.monotonic(), True, done_s, whole_s
        if shards > 1 and done_s == 0:
            self.news.put((key, Counted(shards)))

    def seconds(self) -> Seconds:
        seconds: Seconds = {}
        for job in list(self.running.values()):
            done_s, whole_s = seconds.get(job.task.index, (0.0, 0.0))
            seconds[job.task.index] = done_s + job.done_s, max(whole_s, job.whole_s)
        return seconds

    def wait(self) -> Iterator[tuple[Task, Result]]:
        """The results that come within POLL_S."""
        for key, news in waiting(self.news):
            job = self.running.get(key)  # None: given up before, as hung
            if job is not None and news is not None:
                yield job.task, news
            elif job is not None:
                del self.running[key]
                yield from self._result(job)
        yield from self._late()

    def _result(self, job: _Job) -> Iterator[tuple[Task, Result]]:
        task = job.task
        try:
            result = job.future.result()
        except Exception as error:
            self._check_scheduler(error)
            yield from self._failed(task, f"ended or was lost ({type(error).__name__})")
            return
        if isinstance(result, _Died):
            yield from self._failed(task, "ended or was lost")
            return
        if isinstance(result, _NoModel):
            raise LoxoError(f"A worker of the cluster cannot load the model: {result.reason}")
        if self.attempts.pop((task.index, task.shard), 0):
            self.source.note(task.index, f"{task.path}: done at the second attempt; a worker of the cluster had ended.")
        yield task, result

    def _failed(self, task: Task, how: str) -> Iterator[tuple[Task, Result]]:
        key = (task.index, task.shard)
        attempts = self.attempts[key] = self.attempts.get(key, task.crashes) + 1
        yield task, Lost(hung=True)  # Dask does not report why a worker has died
        if attempts >= ATTEMPTS:
            del self.attempts[key]
            yield (
                task,
                SetAside(
                    f"{task.path}: set aside, because its worker of the cluster {how} {ATTEMPTS} times. Convert it to "
                    "WAV or FLAC, give the workers more memory, or leave the recording out."
                ),
            )
        else:
            (self.alone if attempts == ATTEMPTS - 1 else self.again).append(task)

    def _check_scheduler(self, error: BaseException | None = None) -> None:
        if self.client.status != "running":
            raise LoxoError(
                "The cluster's scheduler cannot be reached any more. What is finished is kept: the same command goes "
                "on where it was."
            ) from error

    def _count_threads(self) -> None:
        if time.monotonic() - self.counted_at < LOOK_S:
            return
        self.counted_at = time.monotonic()
        self._check_scheduler()
        try:
            threads = sum(self.client.nthreads().values())
            self.none_since = 0.0 if threads else self.none_since or time.monotonic()
            if self.revive is not None and self.none_since and time.monotonic() - self.none_since > REVIVE_S:
                self.none_since = 0.0
                self.revive()
            self.threads = max(threads, 1)
        except Exception as error:
            self._check_scheduler(error)  # else it is being connected again

    def _late(self) -> Iterator[tuple[Task, Result]]:
        """Abandons tasks without progress reports, and restarts their workers."""
        now = time.monotonic()
        late = [key for key, job in self.running.items() if now - job.since > self._limit_s(job)]
        if not late:
            return
        try:
            holders = self.client.processing()
        except Exception as error:
            self._check_scheduler(error)
            return
        for key in late:
            worker = next((worker for worker, keys in holders.items() if key in keys), None)
            if worker is None:  # it waits for a worker, or is just ready
                self.running[key].since = now
                continue
            job = self.running.pop(key)
            try:
                self.client.cancel([job.future], force=True)
                # Not client.restart_workers, which refuses workers without a nanny; these are removed.
                self.client.sync(
                    self.client.scheduler.restart_workers,
                    workers=[worker],
                    timeout=CONNECT_S,
                    wait_for_workers=False,
                    on_error="return",
                    stimulus_id=self.topic,
                )
            except Exception as error:  # what cannot be restarted may hang once more, and is then set aside
                self._check_scheduler(error)
            yield from self._failed(job.task, "showed no progress")

    def _limit_s(self, job: _Job) -> float:
        waiting = not job.begun and job.task.shard != JOIN
        return self.patience_s + (PER_SHARD * 60 * job.task.shard_minutes if waiting else 0.0)


@contextmanager
def _connected(address: str) -> Iterator[tuple[Any, Callable[[], None] | None]]:
    """A client of the cluster, which is closed at the end, and with it a cluster of processes here; for such a one
    also how to give it new workers when all are lost."""
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise LoxoError(f"A cluster needs Dask, which is not installed. Run: {install_extra('cluster')}") from error
    settings: dict[str, Any] = {"distributed.admin.large-graph-warning-threshold": "1GB"}
    if address.startswith(LOCAL):
        count = address.removeprefix(LOCAL)
        if not count.isdecimal() or int(count) < 1:
            raise LoxoError(f"The cluster {address!r} is not understood. Give a scheduler's address, or local:4.")
        # A death is counted here, by the task that the worker had.
        settings["distributed.scheduler.allowed-failures"] = 0
        with dask.config.set(settings):
            try:
                cluster = LocalCluster(
                    n_workers=int(count),
                    threads_per_worker=1,
                    dashboard_address=":0",  # any port: the usual one may be taken
                    memory_limit=0,
                    silence_logs=logging.CRITICAL,
                )
            except (OSError, RuntimeError, TimeoutError) as error:
                raise LoxoError(f"The cluster {address!r} cannot be started ({error}). Try fewer processes.") from error

            def revive() -> None:
                cluster.scale(0)
                cluster.scale(int(count))

            with cluster, Client(cluster) as client:
                yield client, revive
        return
    with dask.config.set(settings):
        try:
            client = Client(address, timeout=CONNECT_S)
        except (OSError, ValueError, TimeoutError) as error:
            raise LoxoError(
                f"{address}: no Dask scheduler can be reached there. Start one with `dask scheduler`, or see "
                "docs/cluster.md."
            ) from error
        with client:
            yield client, None


@dataclass(frozen=True)
class SentModel:
    """A model as it is sent: a picklable function that loads it, and the hash of that function."""

    sha256: str
    load: Load

    @property
    def name(self) -> str:
        return f"loxo-{self.sha256[:16]}"


def _portable(load: Load) -> Load:
    """A model that is loaded from a file is sent as the content of that file and of its graph."""
    if isinstance(load, LoadModel):
        graph = load.path.with_suffix(GRAPH_SUFFIX)
        content = load.path.read_bytes(), graph.read_bytes() if graph.is_file() else None
        return partial(_load_content, *content, device=load.device, runtime=load.runtime)
    return load


def _load_content(model: bytes, graph: bytes | None, **how: Any) -> Engine:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        path.write_bytes(model)
        if graph is not None:
            path.with_suffix(GRAPH_SUFFIX).write_bytes(graph)
        return load_engine(path, **how)


# The code below runs in the workers.

_loads: dict[str, Load] = {}
_models: dict[str, Any] = {}
_lock = threading.Lock()


def _plugin(model: SentModel) -> Any:
    """The plugin that Dask sets up in every worker, also in later ones."""
    from distributed import WorkerPlugin

    class LoxoModel(WorkerPlugin):
        def setup(self, worker: Any) -> None:
            from loxo.survey import dask

            dask._loads[model.sha256] = model.load

    return LoxoModel()


class _NoModel:
    """The result of a worker that cannot load the model."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class _Died:
    """The result of a task in which a worker has died before."""


def _has_died(key: str) -> bool:
    """Whether a worker has died in a task, as the scheduler has counted."""
    from distributed import get_client

    def deaths(dask_scheduler: Any) -> int:
        return int(dask_scheduler.tasks[key].suspicious)

    try:
        return bool(get_client().run_on_scheduler(deaths))
    except Exception:  # the scheduler runs no functions: it gives up by its own rule
        return False


def _work(sha256: str, task: Task, options: Options, topic: str, key: str) -> Result | _NoModel | _Died:
    from distributed import get_worker

    worker, told_at = get_worker(), 0.0

    def advance(done_s: float, whole_s: float, shards: int) -> None:
        nonlocal told_at
        if done_s == 0 or time.monotonic() - told_at >= BEAT_S:
            told_at = time.monotonic()
            worker.log_event(topic, (key, done_s, whole_s, shards))

    if _has_died(key):
        return _Died()
    advance(0.0, 0.0, 0)
    use_one_thread()
    with _lock:
        if sha256 not in _models:
            try:
                _models.clear()  # of an earlier run
                _models[sha256] = as_engine(_loads[sha256]())
                use_one_thread()  # libraries that the engine has imported too
            except KeyError:
                raise RuntimeError("the model has not been sent to this worker") from None
            except Exception as error:
                return _NoModel(f"{type(error).__name__}: {error}")
        engine = _models[sha256]
    return perform(task, engine, options, advance)
