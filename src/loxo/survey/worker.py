"""A worker process: receives tasks on its standard input, and answers on its standard output, in pickles.

The first pickle is the search path for modules, so that this module is found; the second is a Setup. Each answer ends
with one result; messages about its progress come before. The worker computes with one thread, ignores Ctrl-C (the
parent decides), and ends with the parent. Output of other libraries goes to the standard error.
"""

from __future__ import annotations

import os
import pickle
import queue
import threading
import time
from dataclasses import dataclass
from importlib import import_module
from typing import Any, BinaryIO

from loxo.errors import LoxoError
from loxo.survey.schedule import Counted

# Tasks are read from a file of their own, not from sys.stdin. A library may fork, and its child closes sys.stdin: it
# would wait for ever for the lock that the reading thread held.
START = """
import os, pickle, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
tasks = os.fdopen(os.dup(0), "rb")
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
try:
    sys.path[:] = pickle.load(tasks)
except EOFError:  # the parent has ended
    os._exit(1)
from loxo.survey.worker import main
main(tasks)
"""
BEAT_S = 0.2  # between two reports of progress


@dataclass(frozen=True)
class Setup:
    """The work of a process: a class by module and name, and its pickled arguments. `script` is where the caller's
    main module is found, if the arguments need it."""

    module: str
    name: str
    arguments: bytes
    script: dict[str, Any] | None = None


@dataclass(frozen=True)
class Ready:
    """The worker has loaded its model."""

    facts: Any


@dataclass(frozen=True)
class NotReady:
    """The worker cannot load its model."""

    reason: str


@dataclass(frozen=True)
class Beat:
    """The progress of a task: seconds done in it, seconds of its recording."""

    done_s: float
    whole_s: float


def main(tasks: BinaryIO) -> None:
    from loxo.machine import gc_paused, use_one_thread

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    received: queue.Queue[Any] = queue.Queue()

    def receive() -> None:
        try:
            while True:
                received.put(pickle.load(tasks))
        except BaseException:  # the parent has ended
            os._exit(1)

    def send(message: Any) -> None:
        content = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        try:
            answers.write(content)
            answers.flush()
        except OSError:  # the parent has ended
            os._exit(1)

    threading.Thread(target=receive, daemon=True).start()
    setup: Setup = received.get()
    try:
        with gc_paused():
            work = _make(setup)
        use_one_thread()
    except Exception as error:
        send(NotReady(str(error) if isinstance(error, LoxoError) else f"{type(error).__name__}: {error}"))
        os._exit(1)
    send(Ready(work.facts))
    while True:
        task, sent_at, is_counted = received.get(), 0.0, False

        def report(done_s: float, whole_s: float, shards: int) -> None:
            nonlocal sent_at, is_counted
            if shards > 1 and not is_counted:
                is_counted = True
                send(Counted(shards))
            if time.monotonic() - sent_at >= BEAT_S:
                sent_at = time.monotonic()
                send(Beat(done_s, whole_s))

        send(work(task, report))


def _make(setup: Setup) -> Any:
    if setup.script is not None:
        from multiprocessing import spawn

        spawn.prepare(setup.script)
    work = getattr(import_module(setup.module), setup.name)
    return work(*pickle.loads(setup.arguments))
