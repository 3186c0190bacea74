"""The training run.

A run is one folder:

| file                           | what it is                                                                          |
|--------------------------------|-------------------------------------------------------------------------------------|
| `run.json`                     | every setting, versions, the split, what could not be used                          |
| `logs/training.csv`            | loss, learning rate and time of each step                                           |
| `logs/validation.csv`          | loss, frame AP, event AP and the share of time spent waiting, at each validation    |
| `logs/tensorboard/`            | the same for TensorBoard                                                            |
| `pictures/`                    | a few validation windows with their events and scores, at each validation           |
| `checkpoints/best.safetensors` | the averaged weights of the highest event AP                                        |
| `checkpoints/last.ckpt`        | all that `resume` needs                                                             |
| `model.safetensors`            | at the end: the best, with decoding and calibration; `loxo detect --model` takes it |

A run that was interrupted, killed, or stopped by a full disk goes on with `resume` as if it had not been.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric import Fabric

import loxo
from loxo.engine.config import ModelConfig
from loxo.engine.model_file import find_model, hash_model, load_model, save_model
from loxo.errors import LoxoError
from loxo.files import write_atomically
from loxo.machine import keep_freed_memory, usable_cores
from loxo.network.base import FrameModel
from loxo.network.fast.inference import bfloat16_is_fast
from loxo.network.foreign.checkpoints import load_weights
from loxo.network.registry import build
from loxo.training.config import TrainingConfig
from loxo.training.fit_decoding import fit_decoding
from loxo.training.loop import BEST, Loop, TrainingProgress
from loxo.training.record import check_wandb, load_checkpoint
from loxo.training.schema import config_to_dict, flatten, free_keys, model_config
from loxo.training.sources import Sources, build_sources, simulated_share
from loxo.training.teachers import Teachers, load_teachers

__all__ = ["TrainingConfig", "recorded_config", "train"]

RECORD = "run.json"


def train(
    config: TrainingConfig,
    out: str | Path,
    *,
    resume: bool = False,
    on_progress: TrainingProgress | None = None,
    on_problems: Callable[[list[str]], None] | None = None,
) -> Path:
    """Trains a model and returns the path of its file in the run folder.

    `on_progress(step, steps, figures)` is called after each step, `on_problems` once with a sentence for everything in
    the tables that could not be used, if there is such. Raises LoxoError when the folder holds another run,
    there is nothing to resume, the data are not fit for it, or the disk is full. KeyboardInterrupt leaves a folder that
    `resume` takes up.
    """
    out = Path(out)
    of_model = model_config(config)
    simulated_share(config.data)
    check_wandb(config)
    if config.start_share and config.init_from is None:
        raise LoxoError(
            "start_share is a share of the weights that training starts from: name them (init_from=default)."
        )
    first = os.environ.get("LOCAL_RANK", "0") == "0"  # the processes of further GPUs find the run already begun
    state = None
    if config.precision == "auto":
        known = recorded_config(out).get("precision") if resume else None
        config = replace(config, precision=known or _precision(config.accelerator))
    taught_by = {name: hash_model(find_model(name)) for name in config.distil.teachers}
    if resume:
        _check_same(config, taught_by, out)
        state = load_checkpoint(out)
    elif first:
        _refuse_other_content(out)
    _suit_the_machine(config.workers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on workers and strategies is not for our users
        for name in ("lightning.fabric", "lightning.pytorch"):
            logging.getLogger(name).setLevel(logging.ERROR)
        fabric = _fabric(config)
        prepare = _begin if first and not resume else _prepare
        model, about_weights, teachers, sources = prepare(config, of_model, out)
        if fabric.is_global_zero:
            about = {"data": sources.about, "init_from": about_weights, "teachers": taught_by}
            _write_record(config, out, about)
            if on_problems is not None and sources.problems:
                on_problems(sources.problems)
        loop = Loop(fabric, config, model, sources, out, state, on_progress, teachers)
        loop.run()
        path = out / "model.safetensors"
        if fabric.is_global_zero:
            _finish(loop, path)
        fabric.barrier()
    return path


def recorded_config(out: str | Path) -> dict[str, Any]:
    """The settings of the run in a folder, nested. Raises LoxoError when there is none."""
    settings: dict[str, Any] = _record(out)["config"]
    return settings


def _record(out: str | Path) -> dict[str, Any]:
    """What RECORD in a run's folder says, `config` at least. Raises LoxoError when there is none."""
    path = Path(out) / RECORD
    try:
        record: dict[str, Any] = json.loads(path.read_text())
        record["config"]
    except FileNotFoundError as error:
        raise LoxoError(f"{out}: there is no training run to resume here. Start one without --resume.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LoxoError(f"{path}: the record of the run cannot be read ({error!r}). Start the run anew.") from error
    return record


def _precision(accelerator: str) -> str:
    """bf16 where the device computes it in hardware; a processor without it takes fifteen times as long as in fp32."""
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        on_processor = accelerator == "cpu" or (accelerator == "auto" and not torch.backends.mps.is_available())
        fast = on_processor and bfloat16_is_fast()
    return "bf16-mixed" if fast else "32-true"


def _fabric(config: TrainingConfig) -> Fabric:
    """Started: where there are several devices, each has its process now."""
    devices = "auto" if config.devices == -1 else config.devices
    try:
        fabric = Fabric(
            accelerator=config.accelerator,
            devices=devices,
            strategy=config.strategy,
            precision=config.precision,  # type: ignore[arg-type]
        )
        fabric.launch()
    except (ValueError, RuntimeError, TypeError, ImportError) as error:  # what Lightning says of devices it cannot have
        raise LoxoError(
            f"Lightning cannot train with accelerator={config.accelerator}, devices={config.devices}, "
            f"strategy={config.strategy} and precision={config.precision} here: {' '.join(str(error).split())}"
        ) from error
    return fabric


def _suit_the_machine(workers: int) -> None:
    """Leaves a core to each loader process, and keeps the memory that a step frees.

    Threads that wait for each other on a core that is taken cost more than they bring; whoever has set OMP_NUM_THREADS
    has decided.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    torch.set_num_threads(int(wanted) if wanted.isdigit() and int(wanted) else max(1, usable_cores() - workers))
    keep_freed_memory()


# ---------------------------------------------------------------- the beginning


def _refuse_other_content(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(not path.name.startswith(".") for path in out.iterdir())):
        raise LoxoError(f"{out}: there is something already. Give a new folder, or --resume to go on there.")


# The model, where its weights come from, what teaches it, data
Prepared = tuple[FrameModel, dict[str, Any] | None, Teachers | None, Sources]


def _begin(config: TrainingConfig, model: ModelConfig, out: Path) -> Prepared:
    """Makes the run folder, to know at once whether that is possible; gone again when there is nothing to train on."""
    _write_record(config, out, {})
    try:
        return _prepare(config, model, out)
    except BaseException:
        (out / RECORD).unlink(missing_ok=True)
        with suppress(OSError):
            out.rmdir()
        raise


def _prepare(config: TrainingConfig, of_model: ModelConfig, out: Path) -> Prepared:
    torch.manual_seed(config.seed)
    model, about = build(of_model), None
    if config.init_from is not None:
        report = load_weights(model, find_model(config.init_from))
        about = {"file": config.init_from, "layout": report.layout, "found": len(report.found)}
        about |= {"unfound": report.unfound, "notes": report.notes}
        if config.start_share and any(name.startswith(f"{model.head_name}.") for name in report.unfound):
            raise LoxoError(
                f"{config.init_from}: its classes are not this model's, so that its head is not used and there is no "
                "mean to take with it. Leave start_share out."
            )
    teachers = load_teachers(config.distil, model)
    windows = config.steps * config.accumulate * config.batch_size * max(config.devices, 1)
    return model, about, teachers, build_sources(config, of_model, windows)


def _write_record(config: TrainingConfig, out: Path, more: dict[str, Any]) -> None:
    """Writes `run.json`; the time of the beginning stays that of the first one."""
    started = datetime.now(UTC).isoformat("T", "seconds")
    with suppress(OSError, ValueError, KeyError):
        started = json.loads((out / RECORD).read_text())["started"]
    about = {"config": config_to_dict(config), "versions": _versions(), "started": started, **more}
    write_atomically(out / RECORD, json.dumps(about, indent=2, ensure_ascii=False).encode())


def _check_same(config: TrainingConfig, taught_by: dict[str, str], out: Path) -> None:
    """LoxoError if the run in `out` was begun with other settings, those apart that change nothing, or taught by other
    files than these, by their hashes."""
    record = _record(out)
    before, now = flatten(record["config"]), flatten(config_to_dict(config))
    names = (before.keys() | now.keys()) - free_keys()
    changed = sorted(name for name in names if before.get(name) != now.get(name))
    if changed:
        raise LoxoError(
            f"{out}: the run there was started with other settings ({', '.join(changed)}). "
            f"Resume it with the settings in its {RECORD}, or start a new run in another folder."
        )
    hashes = record.get("teachers", {})
    others = [name for name, digest in taught_by.items() if hashes.get(name, digest) != digest]
    if others:
        raise LoxoError(
            f"{', '.join(others)}: this is another model than the one that taught the run in {out} so far. Put that "
            "one back, or start a new run in another folder."
        )


# ---------------------------------------------------------------- the end


def _finish(loop: Loop, path: Path) -> None:
    """Fits decoding and calibration to the best checkpoint and writes it as the run's model."""
    out, config, validation = loop.out, loop.config, loop.sources.validation
    save_model(loop.average.model, out / "checkpoints" / "last.safetensors", {"step": loop.step})
    model = load_model(out / BEST, loop.fabric.device)
    scores, _ = loop.scores(model)
    model.config, fitted = fit_decoding(scores, validation, model.config)
    events = {label: truth.events for label, truth in validation.truth.items()}
    hours = len(validation) * model.config.window_samples / model.config.sample_rate / 3600
    provenance = {
        "training": _without_folders(config_to_dict(config)),
        "step": loop.best_step,
        "validation": {k: round(v, 4) for k, v in model.provenance["validation"].items()},
        "decoding": {
            "data": f"smoothing, edge, split, threshold and calibration fitted on the {len(validation)} validation "
            f"windows ({hours:.2f} h, {', '.join(f'{n} {label}s' for label, n in events.items())}) that chose the step",
            "reached": fitted,
        },
        "versions": _versions(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    save_model(model, path, provenance)


def _without_folders(training: dict[str, Any]) -> dict[str, Any]:
    """The settings with files by name only: a model travels further than the folders it was trained in."""
    data = dict(training["data"])
    for key in ("tables", "recordings", "hard_negatives"):
        data[key] = [Path(path).name for path in data[key]]
    data["backgrounds"] = data["backgrounds"] and Path(data["backgrounds"]).name
    distil = {**training["distil"], "teachers": [Path(path).name for path in training["distil"]["teachers"]]}
    start = training["init_from"] and Path(training["init_from"]).name
    return {**training, "data": data, "distil": distil, "init_from": start}


def _versions() -> dict[str, str]:
    return {
        "loxo": loxo.__version__,
        "torch": torch.__version__,
        "lightning": lightning.__version__,
        "python": platform.python_version(),
    }
