"""The steps of a training run, from wherever it stands to its end.

Everything random is a function of the seed and the number of the step, and every checkpoint holds all of the rest, so
that a run goes on after an interruption as it would have gone on without. Ctrl-C and SIGTERM are heeded between two
steps, after a checkpoint; pressed twice, Ctrl-C stops at once.
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

from loxo.engine.model_file import save_model
from loxo.errors import LoxoError
from loxo.network.base import FrameModel
from loxo.training import augment
from loxo.training.config import TrainingConfig
from loxo.training.dataset import Batch, Numbers, Told, collate
from loxo.training.module import FrameTraining, WeightAverage, build_optimiser, mean_with, window_loss
from loxo.training.pictures import draw_validation
from loxo.training.record import Curves, save_checkpoint
from loxo.training.sources import Sources
from loxo.training.teachers import Teachers
from loxo.training.validation import Floats, judge, score_windows

GRADIENT_CLIP = 1.0  # norm
PREFETCHED = 4  # batches that each process of the loader has ready
BEST = Path("checkpoints", "best.safetensors")

TrainingProgress = Callable[[int, int, dict[str, float]], None]  # steps done, steps in all, latest figures


class Loop:
    """A run in memory. `step` counts the steps that are done."""

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
        """`state`: of the checkpoint to go on from; None: from the beginning."""
        self.fabric, self.config, self.sources, self.out = fabric, config, sources, out
        self.on_progress = on_progress
        self.optimiser, self.schedule = build_optimiser(model, config)
        self.average = WeightAverage(model, config.average_decay)
        self.model = model
        self.start = {name: value.clone() for name, value in model.state_dict().items()} if config.start_share else None
        self.step, self.best_step, self.best_ap, self.without_better = 0, 0, -1.0, 0
        self.figures: dict[str, float] = {}
        if state is not None:
            self._restore(state)
        self.average.model.to(fabric.device)
        self.module, self.wrapped = fabric.setup(FrameTraining(model, config, teachers), self.optimiser)
        self.curves = Curves(out, config, model.config.classes, self.step) if fabric.is_global_zero else None
        self.waited_s = self.spent_s = 0.0  # since the last validation, the first step of a process left out

    @property
    def finished(self) -> bool:
        patience = self.config.patience
        return self.step >= self.config.steps or bool(patience and self.without_better >= patience)

    @property
    def outcome(self) -> FrameModel:
        """What the run would end with now: the averaged weights, or their mean with those it started from."""
        average = self.average.model
        return average if self.start is None else mean_with(average, self.start, self.config.start_share)

    def run(self) -> None:
        """Steps, validations and checkpoints until the run is finished. Raises KeyboardInterrupt when it is stopped."""
        try:
            with _stop_between_steps() as stopped:
                batches = self._batches()
                first = True
                while not self.finished:
                    self._one_step(batches, timed=not first)
                    first = False
                    judged = self.step % self.config.epoch_steps == 0 or self.step == self.config.steps
                    if judged:
                        self._validate()
                    stop = self._told_to_stop(stopped)
                    if judged or stop or self.step % self.config.checkpoint_steps == 0:
                        self._save()
                    if stop:
                        raise KeyboardInterrupt
        finally:
            if self.curves is not None:
                self.curves.close()

    # -- one step

    def _batches(self) -> Iterator[Batch | LoxoError]:
        config, fabric = self.config, self.fabric
        numbers = Numbers(
            self.step * config.accumulate,
            config.steps * config.accumulate,
            config.batch_size,
            fabric.global_rank,
            fabric.world_size,
        )
        loader: DataLoader[Any] = DataLoader(
            Told(self.sources.training),
            batch_size=config.batch_size,
            sampler=numbers,
            collate_fn=collate,
            num_workers=config.workers,
            multiprocessing_context="spawn" if config.workers else None,
            prefetch_factor=PREFETCHED if config.workers else None,
        )
        with _ignoring_interrupts():  # which a terminal sends to the loader's processes too
            return iter(loader)

    def _one_step(self, batches: Iterator[Batch | LoxoError], timed: bool) -> None:
        config, fabric = self.config, self.fabric
        started, waited, loss = time.perf_counter(), 0.0, 0.0
        for k in range(config.accumulate):
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            if isinstance(batch, LoxoError):
                raise batch
            number = (self.step * config.accumulate + k) * fabric.world_size + fabric.global_rank
            torch.manual_seed(config.seed * 1_000_003 + number)  # stochastic depth draws the same after a resume
            rng = augment.generator(config.seed, "batch", number)
            waveform, targets = fabric.to_device(batch)
            more = k + 1 < config.accumulate and fabric.world_size > 1
            with fabric.no_backward_sync(self.module) if more else nullcontext():
                part: Tensor = self.module(waveform, targets, rng) / config.accumulate
                fabric.backward(part)
            loss += float(part.detach())
        if not math.isfinite(loss):
            raise LoxoError(
                f"The loss is no finite number any more after {self.step} steps. Take a lower learning_rate, or "
                "precision=32-true, in a new run."
            )
        fabric.clip_gradients(self.module, self.wrapped, max_norm=GRADIENT_CLIP, error_if_nonfinite=False)
        learning_rate = self.schedule.get_last_lr()[0]
        self.wrapped.step()
        self.wrapped.zero_grad()
        self.schedule.step()
        self.average.update(self.model)
        self.step += 1
        spent = time.perf_counter() - started
        if timed:
            self.waited_s, self.spent_s = self.waited_s + waited, self.spent_s + spent
        self.figures["loss"] = loss
        if self.curves is not None:
            row = {"loss": loss, "learning_rate": learning_rate, "seconds": spent, "waited_s": waited}
            self.curves.step({"step": self.step, **row})

    def _told_to_stop(self, stopped: Callable[[], bool]) -> bool:
        stop = stopped()
        if self.on_progress is not None and self.fabric.is_global_zero:
            try:
                self.on_progress(self.step, self.config.steps, dict(self.figures))
            except KeyboardInterrupt:
                stop = True
        if self.fabric.world_size > 1:  # all of them stop after the same step, or one would wait for ever
            told = self.fabric.all_reduce(torch.tensor(float(stop), device=self.fabric.device), reduce_op="sum")
            stop = float(cast(Tensor, told)) > 0
        return stop

    # -- validation

    def scores(self, model: FrameModel) -> tuple[Floats, float]:
        """(scores (windows, rows, steps) of the validation windows, the classes' loss), in float32 as in detection."""

        def logits_of(waveform: Tensor) -> Tensor:
            return model.logits_and_latent(waveform.to(self.fabric.device))[0]

        validation, size = self.sources.validation, self.config.batch_size
        with torch.inference_mode():
            logits = torch.from_numpy(score_windows(logits_of, validation, size))
            targets = torch.from_numpy(validation.targets)
            of_classes = logits[:, : len(model.config.classes)]
            loss = float(window_loss(of_classes, targets, self.config.loss, model.config.clip_pooling))
            scores: Floats = logits.sigmoid().numpy()
        return scores, loss

    def _validate(self) -> None:
        """Every device judges all windows, so that all come to the same end; the first one writes."""
        model, validation = self.outcome, self.sources.validation
        scores, loss = self.scores(model)
        if not torch.isfinite(torch.from_numpy(scores)).all():
            raise LoxoError(f"The scores are no finite numbers after {self.step} steps. Take a lower learning_rate.")
        figures = {"loss": loss, **judge(scores, validation, model.config)}
        better = figures["event_ap"] > self.best_ap
        if better:
            self.best_ap, self.best_step = figures["event_ap"], self.step
        self.without_better = 0 if better else self.without_better + 1
        waited = self.waited_s / self.spent_s if self.spent_s else None
        self.waited_s = self.spent_s = 0.0
        self.figures |= {f"validation_{name}": value for name, value in figures.items()}
        if waited is not None:
            self.figures["loader_wait_share"] = waited
        if self.curves is not None:
            if better:
                save_model(model, self.out / BEST, {"step": self.step, "validation": figures})
            self.curves.validated({"step": self.step, **figures, "loader_wait_share": waited})
            count = min(self.config.log.pictures, len(validation))
            draw_validation(self.out / "pictures", self.step, scores, validation, model.config, count)

    # -- checkpoints

    def _save(self) -> None:
        if self.curves is not None:
            self.curves.keep()
            state = {
                "step": self.step,
                "model": self.model.state_dict(),
                "average": self.average.model.state_dict(),
                "averaged": self.average.updates,
                "optimiser": self.optimiser.state_dict(),
                "schedule": self.schedule.state_dict(),
                "best": {"step": self.best_step, "ap": self.best_ap, "without_better": self.without_better},
                "figures": self.figures,
            }
            save_checkpoint(self.out, state)

    def _restore(self, state: dict[str, Any]) -> None:
        self.step, self.figures = state["step"], state["figures"]
        self.model.load_state_dict(state["model"])
        self.average.model.load_state_dict(state["average"])
        self.average.updates = state["averaged"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        best = state["best"]
        self.best_step, self.best_ap, self.without_better = best["step"], best["ap"], best["without_better"]


@contextmanager
def _stop_between_steps() -> Iterator[Callable[[], bool]]:
    """Gives a function that tells whether somebody asked to stop. Outside the main thread nobody can."""
    asked = False

    def ask(*_: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """Processes started within ignore Ctrl-C from their first moment; their parent stops them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
