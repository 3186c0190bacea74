"""Tasks on a Dask cluster: one that runs already, by the address of its scheduler, or one of N processes here.

The tasks are the same as in worker processes, and so are their results. No more are handed over than the cluster has
threads, so that a run of 100,000 recordings is never one huge graph, each worker has one task at a time, and workers
that come later are used. The model is sent to each worker once, those that come later included, and kept there by its
hash. What is found comes back to this process, which alone writes the run folder; recordings are read by the workers,
under the same path as here.

Failure policy: as in workers.py. Dask notices workers that die or lose the network, and does their task again
elsewhere a few times before it gives up; a task that takes far longer than its audio counts as hung, and its worker is
restarted if it has a nanny. What has failed ATTEMPTS times is set aside. When the scheduler is lost, the run ends; the
folder can be resumed.
"""

from __future__ import annotations

import hashlib
import logging
import pickle
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loxo.detection.tasks import ATTEMPTS, JOIN, Load, Options, Result, Task, perform
from loxo.detection.workers import POLL_S, SILENCE_S, OnSeconds, Source
from loxo.errors import LoxoError

if TYPE_CHECKING:
    from torch import nn

CONNECT_S = 30
REVIVE_S = 20.0  # without a worker, before a cluster here is given new ones: their nannies have ended too
LOOK_S = 5.0  # between two looks at how many threads the cluster has, and whether a task hangs
PER_SHARD = 8  # a task may take so many times its audio's length, and SILENCE_S, before it counts as hung
LOCAL = "local:"


class Cluster:
    """Does tasks on a cluster. `address`: a scheduler's, such as tcp://10.0.0.5:8786, or "local:N"."""

    def __init__(self, address: str, load: Load) -> None:
        load = _portable(load)
        self.address, self.model = address, SentModel(hashlib.sha256(pickle.dumps(load)).hexdigest(), load)

    def run(self, source: Source, options: Options, on_seconds: OnSeconds) -> Iterator[tuple[Task, Result]]:
        with _connected(self.address) as (client, revive):
            client.register_plugin(_plugin(self.model), name=self.model.name)
            run = _Run(client, revive, self.model, source, options)
            try:
                while run.fill() or run.running:
                    yield from run.wait()
                    on_seconds({})
            finally:
                with suppress(Exception):  # a scheduler that has gone
                    client.cancel([job.future for job in run.running.values()], force=True)
                    client.unregister_worker_plugin(self.model.name)


@dataclass
class _Job:
    task: Task
    future: Any
    since: float


class _Run:
    """The tasks under way on a cluster."""

    def __init__(
        self, client: Any, revive: Callable[[], None] | None, model: SentModel, source: Source, options: Options
    ) -> None:
        self.client, self.revive, self.model, self.source, self.options = client, revive, model, source, options
        self.running: dict[str, _Job] = {}  # by Dask's key
        self.done: queue.Queue[str] = queue.Queue()
        self.again: deque[Task] = deque()
        self.alone: deque[Task] = deque()  # for their last attempt
        self.attempts: dict[tuple[int, int], int] = {}
        self.threads, self.counted_at, self.none_since = 1, 0.0, 0.0

    def fill(self) -> bool:
        """Hands over as many tasks as there are threads; whether any is under way."""
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
        future = self.client.submit(_work, self.model.sha256, task, self.options, pure=False, retries=0)
        self.running[future.key] = _Job(task, future, time.monotonic())
        future.add_done_callback(lambda future: self.done.put(future.key))

    def wait(self) -> Iterator[tuple[Task, Result]]:
        """The results that come within POLL_S."""
        with suppress(queue.Empty):
            keys = [self.done.get(timeout=POLL_S)]
            while not self.done.empty():
                keys.append(self.done.get())
            for key in keys:
                job = self.running.pop(key, None)  # None: given up before, as hung
                if job is not None:
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
        if isinstance(result, _NoModel):
            raise LoxoError(f"A worker of the cluster cannot load the model: {result.reason}")
        attempts = self.attempts.pop((task.index, task.shard), 0)
        if attempts:
            again = "the second" if attempts == 1 else "the third"
            self.source.note(task.index, f"{task.path}: done at {again} attempt; a worker of the cluster had ended.")
        yield task, result

    def _failed(self, task: Task, how: str) -> Iterator[tuple[Task, Result]]:
        key = (task.index, task.shard)
        attempts = self.attempts[key] = self.attempts.get(key, 0) + 1
        if attempts >= ATTEMPTS:
            del self.attempts[key]
            yield task, f"{task.path}: set aside, because its worker of the cluster {how} {ATTEMPTS} times."
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
        """Gives up tasks that take too long, and restarts their workers."""
        now = time.monotonic()
        late = [key for key, job in self.running.items() if now - job.since > _limit_s(job.task)]
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
            with suppress(Exception):  # without a nanny a worker cannot be restarted
                self.client.cancel([job.future], force=True)
                self.client.restart_workers([worker], timeout=CONNECT_S, raise_for_error=False)
            yield from self._failed(job.task, "gave no sign of life")


def _limit_s(task: Task) -> float:
    return SILENCE_S + (0 if task.shard == JOIN else PER_SHARD * 60 * task.shard_minutes)


@contextmanager
def _connected(address: str) -> Iterator[tuple[Any, Callable[[], None] | None]]:
    """A client of the cluster, which is closed at the end, and with it a cluster of processes here; for such a one
    also how to give it new workers when all are lost."""
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise LoxoError('A cluster needs Dask, which is not installed. Run: pip install "loxo[cluster]"') from error
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
    """A model as it travels: a picklable function that makes it, and the hash of that."""

    sha256: str
    load: Load

    @property
    def name(self) -> str:
        return f"loxo-{self.sha256[:16]}"


def _portable(load: Load) -> Load:
    """A model that is loaded from a file here travels as that file's content."""
    from loxo.models.weights import load_model

    if isinstance(load, partial) and load.func is load_model:
        return partial(_load_content, Path(load.args[0]).read_bytes(), **load.keywords)
    return load


def _load_content(content: bytes, device: str) -> nn.Module:
    import tempfile

    from loxo.models.weights import load_model

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        path.write_bytes(content)
        return load_model(path, device=device)


# What follows runs in the workers.

_loads: dict[str, Load] = {}
_models: dict[str, Any] = {}
_lock = threading.Lock()


def _plugin(model: SentModel) -> Any:
    """What Dask sets up in every worker, whenever it comes."""
    from distributed import WorkerPlugin

    class LoxoModel(WorkerPlugin):
        def setup(self, worker: Any) -> None:
            from loxo.detection import cluster

            cluster._loads[model.sha256] = model.load

    return LoxoModel()


class _NoModel:
    """What a worker gives instead of a result when it has no model."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def _work(sha256: str, task: Task, options: Options) -> Result | _NoModel:
    import torch

    torch.set_num_threads(1)
    with _lock:
        if sha256 not in _models:
            try:
                _models.clear()  # of an earlier run
                _models[sha256] = _loads[sha256]()
            except KeyError:
                raise RuntimeError("the model has not been sent to this worker") from None
            except Exception as error:
                return _NoModel(f"{type(error).__name__}: {error}")
        model = _models[sha256]
    return perform(task, model, options)
