"""Many recordings on the processor cores of one computer.

Every process runs the model with one thread, also when there is one process only, so that the outcome does not depend
on their number. Processes are spawned, not forked, and load the model once.

Failure policy: whatever goes wrong with a recording becomes its outcome, one sentence. When a process dies (killed for
want of memory, say), the recordings that were under way are done again one at a time in a process of their own; one
that kills its process again has failed.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from loxo.detection.detect import Analysis, analyse
from loxo.errors import LoxoError

if TYPE_CHECKING:
    from torch import nn

POLL_S = 0.5  # between two looks at how far the processes are

Load = Callable[[], "nn.Module"]
Outcome = Analysis | str  # or why the recording has failed
OnShare = Callable[[Sequence[float], Sequence[float]], None]


@dataclass(frozen=True)
class Options:
    """What analyse needs to know apart from the recording and the model."""

    threshold: float | None
    overlap: float
    batch_size: int
    keep_scores: bool


def analyse_all(
    paths: Sequence[str],
    load: Load,
    options: Options,
    *,
    workers: int = 1,
    on_share: OnShare | None = None,
) -> Iterator[tuple[int, Outcome]]:
    """Yields (index into paths, outcome) as recordings are finished, in any order.

    `load` gives the model; with more than one worker it must be picklable. `on_share` is called now and then with the
    share (0-1) and the seconds of every recording that are analysed. Without `options.keep_scores` the outcomes hold
    no scores.
    Raises LoxoError when no process can be started.
    """
    if workers == 1:
        yield from _analyse_here(paths, load, options, on_share)
        return
    # Every recording's share has one writer and is read without a lock: no process can die holding it.
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    shares, seconds = (context.RawArray("d", max(len(paths), 1)) for _ in range(2))
    started = context.RawArray("b", 1)
    pools = _Pools(paths, options, context, (load, shares, seconds, started), on_share)
    lost: list[int] = []
    yield from pools.run(deque(range(len(paths))), min(workers, len(paths)), lost)
    for index in lost:
        again: list[int] = []
        for _, outcome in pools.run(deque([index]), 1, again):
            if isinstance(outcome, Analysis):
                note = f"{paths[index]}: done at the second attempt; a worker process had ended during the first."
                outcome = replace(outcome, notes=(*outcome.notes, note))
            yield index, outcome
        if again:
            yield (
                index,
                f"{paths[index]}: its worker process ended twice without a word, perhaps for want of memory. "
                "Try again with fewer workers or a smaller batch size.",
            )


def _analyse_here(
    paths: Sequence[str], load: Load, options: Options, on_share: OnShare | None
) -> Iterator[tuple[int, Outcome]]:
    import torch

    shares, seconds = [0.0] * len(paths), [0.0] * len(paths)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model = load()
        for index, path in enumerate(paths):

            def progress(done: float, total: float, index: int = index) -> None:
                shares[index], seconds[index] = done / total, done
                if on_share is not None:
                    on_share(shares, seconds)

            outcome = _outcome(path, model, options, progress)
            shares[index] = 1.0
            yield index, outcome
    finally:
        torch.set_num_threads(threads)


def _outcome(path: str, model: nn.Module, options: Options, progress: Callable[[float, float], None]) -> Outcome:
    try:
        analysis = analyse(
            path,
            model,
            threshold=options.threshold,
            overlap=options.overlap,
            batch_size=options.batch_size,
            progress=progress,
        )
    except LoxoError as error:
        return str(error)
    except Exception as error:  # the policy: one recording never stops a run
        return f"{path}: the analysis failed with {type(error).__name__}: {error}"
    return analysis if options.keep_scores else replace(analysis, scores=analysis.scores[:, :0])


class _Pools:
    """Runs recordings in a pool of processes, and in a new one after a death."""

    def __init__(
        self,
        paths: Sequence[str],
        options: Options,
        context: Any,
        start: tuple[Load, Any, Any, Any],
        on_share: OnShare | None,
    ) -> None:
        self.paths, self.options, self.context, self.start, self.on_share = paths, options, context, start, on_share

    def run(self, queue: deque[int], workers: int, lost: list[int]) -> Iterator[tuple[int, Outcome]]:
        """Outcomes of the queue's recordings; those under way when a process died are added to `lost`."""
        while queue:
            pool = ProcessPoolExecutor(workers, mp_context=self.context, initializer=_start, initargs=self.start)
            running: dict[Future[Outcome], int] = {}
            finished = False
            try:
                broken = False
                while running or (queue and not broken):
                    # No more than there are processes, so that a death concerns few recordings.
                    while queue and not broken and len(running) < workers:
                        try:
                            running[pool.submit(_work, queue[0], self.paths[queue[0]], self.options)] = queue[0]
                            queue.popleft()
                        except BrokenProcessPool:
                            broken = True
                    done, _ = wait(running, timeout=POLL_S, return_when=FIRST_COMPLETED)
                    if self.on_share is not None:
                        self.on_share(self.start[1], self.start[2])
                    for future in done:
                        index = running.pop(future)
                        if isinstance(future.exception(), BrokenProcessPool):
                            broken = True
                            lost.append(index)
                        else:
                            yield index, future.result()
                finished = True
            finally:
                if not finished:  # Ctrl-C, or the caller has stopped: a day's recording is not waited for
                    for process in list((pool._processes or {}).values()):
                        process.terminate()
                pool.shutdown(wait=True, cancel_futures=True)
            if broken and not self.start[3][0]:
                raise LoxoError(
                    "The worker processes cannot be started. Use one worker, or see the messages above; a script needs "
                    "its call under `if __name__ == '__main__':`."
                )


_model: nn.Module
_shares: Any
_seconds: Any


def _start(load: Load, shares: Any, seconds: Any, started: Any) -> None:
    """In a new process: one thread, the model, no answer to Ctrl-C (the parent decides), no life after the parent."""
    global _model, _shares, _seconds
    import multiprocessing
    import signal
    import threading

    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def end_with_parent() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _model, _shares, _seconds = load(), shares, seconds
    started[0] = 1


def _work(index: int, path: str, options: Options) -> Outcome:
    def progress(done: float, total: float) -> None:
        _shares[index], _seconds[index] = done / total, done

    outcome = _outcome(path, _model, options, progress)
    _shares[index] = 1.0
    return outcome
