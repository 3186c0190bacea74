"""The training run.

A run is one folder: `run.json` (every parameter, versions, the validation backgrounds), `checkpoints/last.ckpt`,
`logs/` (CSV and TensorBoard), and at the end `model.safetensors`, which `loxo detect --model` takes. A run that was
interrupted or killed goes on from its last finished epoch with `resume`; the data are the same as if it had not been.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import platform
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch.utils.data import DataLoader, TensorDataset

import loxo
from loxo.errors import LoxoError
from loxo.files import write_atomically
from loxo.models.registry import build, preset_config
from loxo.models.weights import save_model
from loxo.simulation.background import Backgrounds
from loxo.training.dataset import SimulatedWindows, StepSampler
from loxo.training.module import FrameTraining

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h
VALIDATION_SEED = 1_000_000  # added to the run's seed: no validation window is ever a training window


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """What defines a training run, apart from its folder and the number of loader workers."""

    preset: str = "default"
    model: dict[str, Any] = field(default_factory=dict)  # fields of the preset to change
    backgrounds: str | None = None  # folder, list file or manifest; None: synthetic backgrounds only
    steps: int = 4500
    batch_size: int = 16
    learning_rate: float = 1.5e-3
    warmup: int = 300  # steps
    clip_weight: float = 0.1  # share of the clip-wise loss
    average_decay: float = 0.998  # of the exponential moving average that becomes the model
    precision: str = "bf16-mixed"
    epoch_steps: int = 250  # steps between validations and checkpoints
    validation_windows: int = 256
    validation_share: float = 0.06  # of the background sites, kept out of training
    seed: int = 3


Progress = Callable[[int, int, dict[str, float]], None]


def train(
    config: TrainingConfig,
    out: str | Path,
    *,
    workers: int = 1,
    resume: bool = False,
    on_progress: Progress | None = None,
) -> Path:
    """Trains a model on simulated windows and returns the path of its file in the run folder.

    `on_progress(step, steps, metrics)` is called after each step. Raises LoxoError when the folder holds another run,
    or there is nothing to resume. KeyboardInterrupt leaves a folder that `resume` takes up.
    """
    out = Path(out)
    checkpoint = None
    if resume:
        checkpoint = _checkpoint(config, out)
    else:
        _refuse_other_content(out)
    model_config = preset_config(config.preset, **config.model)
    training, validation = _backgrounds(config, model_config.sample_rate)
    if not resume:
        _begin(config, out)
    _suit_the_machine(workers)
    lightning.seed_everything(config.seed, verbose=False)
    module = FrameTraining(
        build(model_config),
        steps=config.steps,
        learning_rate=config.learning_rate,
        warmup=min(config.warmup, max(1, config.steps // 10)),
        clip_weight=config.clip_weight,
        seed=config.seed,
    )
    per_epoch = min(config.epoch_steps, config.steps) * config.batch_size
    windows = SimulatedWindows(model_config, training, config.steps * config.batch_size, config.seed)
    loader = DataLoader(
        windows,
        batch_size=config.batch_size,
        sampler=StepSampler(per_epoch, lambda: trainer.global_step * config.batch_size),
        num_workers=workers,
        persistent_workers=workers > 0,
        multiprocessing_context="spawn" if workers else None,
        prefetch_factor=4 if workers else None,
    )
    fixed = SimulatedWindows(model_config, validation, config.validation_windows, config.seed + VALIDATION_SEED)
    waveforms, targets = (torch.stack(part) for part in zip(*(fixed[k] for k in range(len(fixed))), strict=True))
    validation_loader = DataLoader(TensorDataset(waveforms, targets), batch_size=config.batch_size)

    metrics = _Metrics(on_progress, config.steps)
    averaging = EMAWeightAveraging(decay=config.average_decay, update_every_n_steps=1)
    checkpoints = ModelCheckpoint(
        out / "checkpoints", "last", save_top_k=1, save_on_train_epoch_end=True, enable_version_counter=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on workers and logging intervals is not for our users
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        trainer = lightning.Trainer(
            accelerator="auto",
            devices=1,
            precision=config.precision,  # type: ignore[arg-type]
            max_steps=config.steps,
            gradient_clip_val=1.0,
            logger=[CSVLogger(out, "logs", "csv"), TensorBoardLogger(out, "logs", "tensorboard")],
            callbacks=[checkpoints, averaging, metrics],
            log_every_n_steps=25,
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        try:
            trainer.fit(module, loader, validation_loader, ckpt_path=checkpoint)
        except SystemExit as stopped:  # how Lightning ends after Ctrl-C
            raise KeyboardInterrupt from stopped
    path = out / "model.safetensors"
    save_model(module.model, path, _provenance(config, metrics.last))
    return path


def _suit_the_machine(workers: int) -> None:
    """Leaves a core to each loader process, and on Linux lets the C library keep the memory that a step frees.

    Threads that wait for each other on a core that is taken cost more than they bring; and by default every large
    tensor is mapped anew and cleared page by page, a tenth of a step and more.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(max(1, cores - workers))
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library than glibc does it its own way
            library = ctypes.CDLL(None)
            library.mallopt(M_MMAP_MAX, 0)
            library.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


class _Metrics(Callback):
    """Hands the latest figures to the caller's progress."""

    def __init__(self, on_progress: Progress | None, steps: int) -> None:
        self.on_progress, self.steps = on_progress, steps
        self.last: dict[str, float] = {}

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        self.last |= {name: float(value) for name, value in trainer.callback_metrics.items()}
        if self.on_progress:
            self.on_progress(trainer.global_step, self.steps, self.last)

    def on_validation_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        self.last |= {name: float(value) for name, value in trainer.callback_metrics.items()}


def _refuse_other_content(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise LoxoError(f"{out}: there is something already. Give a new folder, or --resume to go on there.")


def _begin(config: TrainingConfig, out: Path) -> None:
    """Makes the run folder, with what defines the run."""
    started = datetime.now(UTC).isoformat("T", "seconds")
    about = {"config": asdict(config), "versions": _versions(), "started": started}
    write_atomically(out / "run.json", json.dumps(about, indent=2).encode())


def _checkpoint(config: TrainingConfig, out: Path) -> Path | None:
    """The checkpoint of the run in `out`, None if it has none yet; LoxoError if it is no run, or of other settings."""
    record, checkpoint = out / "run.json", out / "checkpoints" / "last.ckpt"
    if not record.is_file():
        raise LoxoError(f"{out}: there is no training run to resume here. Start one without --resume.")
    before = json.loads(record.read_text())["config"]
    now = json.loads(json.dumps(asdict(config)))
    changed = sorted(key for key in now if before.get(key) != now[key])
    if changed:
        raise LoxoError(
            f"{out}: the run there was started with other settings ({', '.join(changed)}). "
            "Resume it with the settings in its run.json, or start a new run in another folder."
        )
    return checkpoint if checkpoint.is_file() else None


def _backgrounds(config: TrainingConfig, sample_rate: int) -> tuple[Backgrounds | None, Backgrounds | None]:
    if config.backgrounds is None:
        return None, None
    everything = Backgrounds(config.backgrounds, sample_rate)
    return everything.split(config.validation_share, config.seed)


def _provenance(config: TrainingConfig, metrics: dict[str, float]) -> dict[str, Any]:
    shown = {name: round(value, 4) for name, value in metrics.items() if name.startswith("val_")}
    return {
        "training": asdict(config),
        "validation": shown,
        "versions": _versions(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def _versions() -> dict[str, str]:
    return {"loxo": loxo.__version__, "torch": torch.__version__, "python": platform.python_version()}
