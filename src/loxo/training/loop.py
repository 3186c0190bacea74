"""The training loop, from the start or a checkpoint to the end.

All random numbers depend only on the seed and the number of the iteration, and a checkpoint contains all other state.
An interrupted run therefore continues exactly as it would have without the interruption. After Ctrl-C or SIGTERM the
loop finishes the current iteration, writes a checkpoint and stops. A second Ctrl-C stops it at once.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader

from loxo.errors import LoxoError
from loxo.network.base import FrameModel
from loxo.network.loading import save_model
from loxo.training import augment
from loxo.training.checkpoints import save_checkpoint
from loxo.training.config import TrainingConfig
from loxo.training.curves import Curves
from loxo.training.dataset import Batch, ErrorsAsItems, ResumableSampler, collate
from loxo.training.module import FrameTraining, WeightAverage, build_optimiser, interpolated, window_loss
from loxo.training.plots import plot_validation
from loxo.training.sources import Sources
from loxo.training.teachers import Teachers
from loxo.training.validation import Floats, score_windows, validation_metrics

MAX_GRADIENT_NORM = 1.0
PREFETCHED_BATCHES = 4  # per loader process
OCCURS = 0.5  # target of a step in which a class occurs
BEST = Path("checkpoints", "best.safetensors")

TrainingProgress = Callable[[int, int, dict[str, float]], None]  # finished iterations, all iterations, latest metrics


class Loop:
    """The state of a run. `iteration` is the number of finished iterations."""

    def __init__(
        self,
        fabric: Fabric,
        config: TrainingConfig,
        model: FrameModel,
        sources: Sources,
        out: Path,
        state: dict[str, Any] | None,
        on_progress: TrainingProgress | None,
        teachers: Teachers | None = None,
    ) -> None:
        """`state`: the checkpoint from which the run continues; None for a new run."""
        self.fabric, self.config, self.sources, self.out = fabric, config, sources, out
        self.on_progress = on_progress
        self.optimiser, self.schedule = build_optimiser(model, config)
        self.average = WeightAverage(model, config.average_decay)
        self.model = model
        self.initial_weights: dict[str, Tensor] | None = None
        if config.start_share:
            self.initial_weights = {name: value.clone() for name, value in model.state_dict().items()}
        self.iteration, self.best_iteration, self.best_ap = 0, 0, -1.0
        self.start_ap: float | None = None  # event AP of the weights in init_from
        self.validations_since_best = 0  # since the last higher event AP; an equal one does not count
        self.occurred = torch.zeros(len(model.config.classes), dtype=torch.bool)  # classes in the training windows
        self.figures: dict[str, float] = {}
        if state is not None:
            self._restore(state)
        self.average.model.to(fabric.device)
        self.module, self.wrapped = fabric.setup(FrameTraining(model, config, teachers), self.optimiser)
        last = -1 if state is None else self.iteration
        self.curves = Curves(out, config, model.config.classes, last) if fabric.is_global_zero else None
        self.waited_s = self.spent_s = 0.0  # since the last validation, without the first iteration of a process

    @property
    def finished(self) -> bool:
        patience = self.config.patience
        return self.iteration >= self.config.iterations or bool(patience and self.validations_since_best >= patience)

    def candidates(self) -> dict[str, FrameModel]:
        """The models of the run so far: the average of the weights, and the weights themselves if they differ.

        Both are mixed with the initial weights by `start_share`. Before the first iteration there is only the start.
        """
        models = {"average": self.average.model}
        if self.average.updates > 1 and self.average.decay > 0:
            models["raw"] = self.model
        if self.initial_weights is not None:
            share = self.config.start_share
            models = {name: interpolated(model, self.initial_weights, share) for name, model in models.items()}
        return models

    def run(self) -> None:
        """Trains, validates and writes checkpoints to the end of the run. Raises KeyboardInterrupt when interrupted."""
        try:
            with _stop_between_iterations() as stop_requested:
                if self.iteration == 0 and self.config.init_from is not None:
                    self._validate()
                batches = self._batches()
                first = True
                while not self.finished:
                    self._train_iteration(batches, timed=not first)
                    first = False
                    config = self.config
                    validate = self.iteration % config.validation_interval == 0 or self.iteration == config.iterations
                    if validate:
                        self._validate()
                    stop = self._report_and_check_stop(stop_requested)
                    if validate or stop or self.iteration % config.checkpoint_interval == 0:
                        self._save()
                    if stop:
                        raise KeyboardInterrupt
        finally:
            if self.curves is not None:
                self.curves.close()

    # -- one iteration

    def _batches(self) -> Iterator[Batch | LoxoError]:
        config, fabric = self.config, self.fabric
        sampler = ResumableSampler(
            self.iteration * config.accumulate,
            config.iterations * config.accumulate,
            config.batch_size,
            fabric.global_rank,
            fabric.world_size,
        )
        loader: DataLoader[Any] = DataLoader(
            ErrorsAsItems(self.sources.training),
            batch_size=config.batch_size,
            sampler=sampler,
            collate_fn=collate,
            num_workers=config.workers,
            multiprocessing_context="spawn" if config.workers else None,
            prefetch_factor=PREFETCHED_BATCHES if config.workers else None,
        )
        with _ignoring_interrupts():  # a terminal sends Ctrl-C to the loader processes too
            return iter(loader)

    def _train_iteration(self, batches: Iterator[Batch | LoxoError], timed: bool) -> None:
        config, fabric = self.config, self.fabric
        started, waited, loss = time.perf_counter(), 0.0, 0.0
        for k in range(config.accumulate):
            requested = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - requested
            if isinstance(batch, LoxoError):
                raise batch
            number = (self.iteration * config.accumulate + k) * fabric.world_size + fabric.global_rank
            torch.manual_seed(config.seed * 1_000_003 + number)  # for stochastic depth, the same after a resume
            rng = augment.generator(config.seed, "batch", number)
            if not self.occurred.all():
                self.occurred |= (batch[1][:, : len(self.occurred)] >= OCCURS).any(2).any(0)
            waveform, targets = fabric.to_device(batch)
            more = k + 1 < config.accumulate and fabric.world_size > 1
            with fabric.no_backward_sync(self.module) if more else nullcontext():
                part: Tensor = self.module(waveform, targets, rng) / config.accumulate
                fabric.backward(part)
            loss += float(part.detach())
        if not math.isfinite(loss):
            raise LoxoError(
                f"The loss is not finite after {self.iteration} iterations. Start a new run with a lower "
                "learning_rate, or with precision=32-true."
            )
        fabric.clip_gradients(self.module, self.wrapped, max_norm=MAX_GRADIENT_NORM, error_if_nonfinite=False)
        learning_rate = self.schedule.get_last_lr()[0]
        self.wrapped.step()
        self.wrapped.zero_grad()
        self.schedule.step()
        self.average.update(self.model)
        self.iteration += 1
        spent = time.perf_counter() - started
        if timed:
            self.waited_s, self.spent_s = self.waited_s + waited, self.spent_s + spent
        self.figures["loss"] = loss
        if self.curves is not None:
            row = {"loss": loss, "learning_rate": learning_rate, "seconds": spent, "waited_s": waited}
            self.curves.add_training({"iteration": self.iteration, **row})

    def _report_and_check_stop(self, stop_requested: Callable[[], bool]) -> bool:
        """Reports the progress. Returns whether the run stops after this iteration, the same on all devices."""
        stop = stop_requested()
        if self.on_progress is not None and self.fabric.is_global_zero:
            try:
                self.on_progress(self.iteration, self.config.iterations, dict(self.figures))
            except KeyboardInterrupt:
                stop = True
        if self.fabric.world_size > 1:  # a device that continued alone would wait for the others forever
            stops = self.fabric.all_reduce(torch.tensor(float(stop), device=self.fabric.device), reduce_op="sum")
            stop = float(cast(Tensor, stops)) > 0
        return stop

    # -- validation

    def scores(self, model: FrameModel) -> tuple[Floats, float]:
        """(scores (windows, rows, steps), loss of the classes) on the validation windows.

        Computed in float32, as in detection.
        """

        def logits_of_batch(waveform: Tensor) -> Tensor:
            return model.logits_and_latent(waveform.to(self.fabric.device))[0]

        validation, size = self.sources.validation, self.config.batch_size
        with torch.inference_mode():
            logits = torch.from_numpy(score_windows(logits_of_batch, validation, size))
            targets = torch.from_numpy(validation.targets)
            class_logits = logits[:, : len(model.config.classes)]
            loss = float(window_loss(class_logits, targets, self.config.loss, model.config.clip_pooling))
            scores: Floats = logits.sigmoid().numpy()
        return scores, loss

    def _validate(self) -> None:
        """Validates the average of the weights and the weights themselves, and keeps the better of both.

        It replaces the best model so far unless its event AP is lower: of equal ones, the later has learnt more. Every
        device validates all windows and gets the same result; the first one writes it.
        """
        validation = self.sources.validation
        results = []
        self.model.eval()
        for name, model in self.candidates().items():
            scores, loss = self.scores(model)
            if not torch.isfinite(torch.from_numpy(scores)).all():
                raise LoxoError(
                    f"The scores are not finite after {self.iteration} iterations. Start a new run with a lower "
                    "learning_rate."
                )
            figures = {"loss": loss, **validation_metrics(scores, validation, model.config)}
            results.append((name, model, scores, figures))
        self.model.train()
        name, model, scores, figures = max(results, key=lambda result: result[3]["event_ap"])  # the first of equal ones
        if self.iteration == 0:
            self.start_ap = figures["event_ap"]
        self.validations_since_best = 0 if figures["event_ap"] > self.best_ap else self.validations_since_best + 1
        better = figures["event_ap"] >= self.best_ap
        if better:
            self.best_ap, self.best_iteration = figures["event_ap"], self.iteration
        wait_share = self.waited_s / self.spent_s if self.spent_s else None
        self.waited_s = self.spent_s = 0.0
        self.figures |= {f"validation_{name}": value for name, value in figures.items()}
        if wait_share is not None:
            self.figures["loader_wait_share"] = wait_share
        if self.curves is not None:
            if better:
                about = {"iteration": self.iteration, "weights": name, "validation": figures}
                save_model(model, self.out / BEST, about)
            row = {"iteration": self.iteration, **figures, "loader_wait_share": wait_share}
            self.curves.add_validation(row | {f"{name}_event_ap": item["event_ap"] for name, _, _, item in results})
            count = min(self.config.log.plots, len(validation))
            plot_validation(self.out / "plots", self.iteration, scores, validation, model.config, count)

    # -- checkpoints

    def _save(self) -> None:
        if self.curves is not None:
            self.curves.sync()
            state = {
                "iteration": self.iteration,
                "model": self.model.state_dict(),
                "average": self.average.model.state_dict(),
                "average_updates": self.average.updates,
                "optimiser": self.optimiser.state_dict(),
                "schedule": self.schedule.state_dict(),
                "best": {
                    "iteration": self.best_iteration,
                    "ap": self.best_ap,
                    "validations_since_best": self.validations_since_best,
                },
                "start_ap": self.start_ap,
                "occurred": self.occurred,
                "figures": self.figures,
            }
            save_checkpoint(self.out, state)

    def _restore(self, state: dict[str, Any]) -> None:
        self.iteration, self.figures = state["iteration"], state["figures"]
        self.model.load_state_dict(state["model"])
        self.average.model.load_state_dict(state["average"])
        self.average.updates = state["average_updates"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        best = state["best"]
        self.best_iteration, self.best_ap = best["iteration"], best["ap"]
        self.validations_since_best = best["validations_since_best"]
        self.start_ap = state.get("start_ap")  # checkpoints of earlier versions lack it
        self.occurred = state.get("occurred", torch.ones_like(self.occurred))


@contextmanager
def _stop_between_iterations() -> Iterator[Callable[[], bool]]:
    """Yields a function that returns whether Ctrl-C or SIGTERM was received.

    Outside the main thread, Python does not allow signal handlers, and the function always returns False.
    """
    requested = False

    def request(*_: Any) -> None:
        nonlocal requested
        if requested:
            raise KeyboardInterrupt
        requested = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    previous = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: requested
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """Processes that are started in this block ignore Ctrl-C from the beginning; their parent process stops them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
