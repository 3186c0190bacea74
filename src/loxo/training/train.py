"""The training run, from a config to a model file.

A run is one folder:

| file                           | content                                                                             |
|--------------------------------|-------------------------------------------------------------------------------------|
| `run.json`                     | all settings, versions, the split, data that could not be used, doubts at the end   |
| `logs/training.csv`            | loss, learning rate and time of each iteration                                      |
| `logs/validation.csv`          | loss, frame AP, event AP and fraction of time spent waiting, at each validation     |
| `logs/tensorboard/`            | the same curves for TensorBoard                                                     |
| `plots/`                       | some validation windows with their events and scores, at each validation            |
| `checkpoints/best.safetensors` | the weights, or their average, with the highest event AP                            |
| `checkpoints/last.ckpt`        | the state from which the run is resumed                                             |
| `model.safetensors`            | at the end: the best weights with decoding and calibration, for `loxo detect`       |
| `model_card.md`                | at the end: data and their terms, figures, thresholds and hash of the model         |

Failure policy: with `resume`, a run that was interrupted, killed or stopped by a full disk continues as if nothing had
happened.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric import Fabric

import loxo
from loxo.engine.config import ModelConfig, frontend_fields
from loxo.engine.model_file import find_model
from loxo.errors import LoxoError
from loxo.files import parse_json, sha256_of, write_atomically
from loxo.machine import keep_freed_memory, numpy_on_one_thread, usable_cores
from loxo.network.base import FrameModel
from loxo.network.fast import training as fast_training
from loxo.network.fast.inference import bfloat16_is_fast
from loxo.network.foreign.checkpoints import LoadReport, load_weights
from loxo.network.graph import write_graph
from loxo.network.loading import load_model, save_model
from loxo.network.registry import build
from loxo.training.checkpoints import load_checkpoint
from loxo.training.config import TrainingConfig
from loxo.training.config_io import config_to_dict, flatten, model_config, resumable_keys, with_present_names
from loxo.training.curves import check_wandb
from loxo.training.fit_decoding import fit_decoding, listed_figures
from loxo.training.loop import BEST, LAST, Loop, TrainingProgress
from loxo.training.model_card import write_model_card
from loxo.training.outcome import doubts, result_in_words
from loxo.training.sources import Sources, build_sources, simulated_share
from loxo.training.teachers import Teachers, load_teachers

__all__ = ["TrainingConfig", "read_run_config", "train"]

RUN_FILE = "run.json"


def train(
    config: TrainingConfig,
    out: str | Path,
    *,
    resume: bool = False,
    graph: bool = True,
    on_progress: TrainingProgress | None = None,
    on_problems: Callable[[list[str]], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Path:
    """Trains a model and returns the path of its file in the run folder `out`.

    graph: also export the graph of the model, for detection without PyTorch.

    `on_progress(iteration, iterations, figures)` is called after each iteration. `on_problems` is called with a
    sentence for each kind of data that cannot be used, and at the end for each doubt about the model. `on_note` is
    called with the report about `init_from`, and with a sentence about the weights that became the model.

    Raises LoxoError when the folder contains another run, there is no run to resume, the data are unsuitable, or the
    disk is full. KeyboardInterrupt leaves a folder from which the run can be resumed.
    """
    out = Path(out)
    network_config = model_config(config)
    simulated_share(config.data)
    if config.data.folds is not None and config.data.fold is None:
        raise LoxoError(
            "data.folds is a cross-validation of several runs: use loxo train --folds, or give data.fold for one of "
            "them."
        )
    check_wandb(config)
    if config.start_share and config.init_from is None:
        raise LoxoError("start_share needs initial weights: give them as init_from, for example init_from=default.")
    first = os.environ.get("LOCAL_RANK", "0") == "0"  # False in the processes that Lightning starts for further GPUs
    state = None
    if config.precision == "auto":
        known = read_run_config(out).get("precision") if resume else None
        config = replace(config, precision=known or _choose_precision(config.accelerator))
    teacher_hashes = {name: sha256_of(find_model(name)) for name in config.distil.teachers}
    if resume:
        check_unchanged(config, teacher_hashes, out)
        state = load_checkpoint(out)
    elif first:
        refuse_other_content(out)
    configure_threads(config.workers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on workers and strategies is not meant for our users
        for name in ("lightning.fabric", "lightning.pytorch"):
            logging.getLogger(name).setLevel(logging.ERROR)
        fabric = _launch_fabric(config)
        prepare = _start_folder if first and not resume else _prepare
        model, report, teachers, sources = prepare(config, network_config, out)
        notes, problems = on_note or _silent, on_problems or _silent
        about: dict[str, Any] = {"data": sources.about, "init_from": None, "teachers": teacher_hashes}
        if report is not None:
            about["init_from"] = _report_in_run_file(config, report)
        if fabric.is_global_zero:
            _write_run_file(config, out, about)
            if report is not None and not resume:
                notes(f"{config.init_from}: {report}")
            if sources.problems:
                problems(sources.problems)
        loop = Loop(fabric, config, model, sources, out, state, on_progress, teachers)
        loop.run()
        path = out / "model.safetensors"
        if fabric.is_global_zero:
            result = _finish(loop, path, report)
            graph_problem = write_graph(path) if graph else None
            write_model_card(path, config, about | {"result": result})
            _write_run_file(config, out, about | {"result": result})
            notes(result["model"])
            if sentences := [*result["doubts"], *([graph_problem] if graph_problem else [])]:
                problems(sentences)
        fabric.barrier()
    return path


def _silent(_: Any) -> None: ...


def read_run_config(out: str | Path) -> dict[str, Any]:
    """The config of the run in a folder, nested, with present key names. Raises LoxoError when there is no run."""
    return with_present_names(_read_run_file(out)["config"])


def _read_run_file(out: str | Path) -> dict[str, Any]:
    """The content of `run.json`, always with a `config`. Raises LoxoError when there is no readable file."""
    path = Path(out) / RUN_FILE
    try:
        content: dict[str, Any] = parse_json(path.read_text())
        content["config"].items()
    except FileNotFoundError as error:
        raise LoxoError(f"{out}: there is no training run to resume. Start one without --resume.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LoxoError(
            f"{path}: the file cannot be read ({error!r}), so that the run cannot be resumed. Start a new run in "
            "another folder."
        ) from error
    return content


def _choose_precision(accelerator: str) -> str:
    """bf16 if the device supports it in hardware. Other CPUs are about fifteen times as slow with it as in float32."""
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        on_cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.backends.mps.is_available())
        fast = on_cpu and bfloat16_is_fast()
    return "bf16-mixed" if fast else "32-true"


def _launch_fabric(config: TrainingConfig) -> Fabric:
    """Lightning's Fabric, launched: with several devices, each has its process from here on."""
    devices = "auto" if config.devices == -1 else config.devices
    try:
        fabric = Fabric(
            accelerator=config.accelerator,
            devices=devices,
            strategy=config.strategy,
            precision=config.precision,  # type: ignore[arg-type]
        )
        fabric.launch()
    except (ValueError, RuntimeError, TypeError, ImportError) as error:  # Lightning's errors for unavailable devices
        raise LoxoError(
            f"Lightning cannot train with accelerator={config.accelerator}, devices={config.devices}, "
            f"strategy={config.strategy} and precision={config.precision} here: {' '.join(str(error).split())}"
        ) from error
    return fabric


def configure_threads(workers: int) -> None:
    """Leaves one core for each loader process, and keeps freed memory in the process.

    More threads than free cores are slower, because threads wait for each other. OMP_NUM_THREADS overrides the number.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    torch.set_num_threads(int(wanted) if wanted.isdigit() and int(wanted) else max(1, usable_cores() - workers))
    numpy_on_one_thread()
    keep_freed_memory()


# ---------------------------------------------------------------- the beginning


def refuse_other_content(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(not path.name.startswith(".") for path in out.iterdir())):
        raise LoxoError(f"{out}: this already exists. Give a new folder, or --resume to continue the run in it.")


# The model, the report about its initial weights, the teachers, the data
Prepared = tuple[FrameModel, LoadReport | None, Teachers | None, Sources]


def _start_folder(config: TrainingConfig, network_config: ModelConfig, out: Path) -> Prepared:
    """Creates the run folder first, to find out early whether it is writable. Removes it if the data are unsuitable."""
    _write_run_file(config, out, {})
    try:
        return _prepare(config, network_config, out)
    except BaseException:
        (out / RUN_FILE).unlink(missing_ok=True)
        with suppress(OSError):
            out.rmdir()
        raise


def _prepare(config: TrainingConfig, network_config: ModelConfig, out: Path) -> Prepared:
    torch.manual_seed(config.seed)
    model, report = build(network_config), None
    fast_training.apply(model)
    if config.init_from is not None:
        report = load_weights(model, find_model(config.init_from))
        if config.start_share and report.new_classes:
            raise LoxoError(
                f"{config.init_from}: this file has no outputs for {', '.join(report.new_classes)}, so that a mean "
                "with its weights is not possible. Remove start_share."
            )
        if report.config is not None and "decoding" not in config.model:  # a validation judges the events of the file
            known = set(model.config.classes) - set(report.new_classes)
            model.config = _with_parts_of_start(model.config, report.config, known, "decoding")
    teachers = load_teachers(config.distil, model)
    windows = config.iterations * config.accumulate * config.batch_size * max(config.devices, 1)
    return model, report, teachers, build_sources(config, network_config, windows)


def _with_parts_of_start(config: ModelConfig, start: ModelConfig, labels: Iterable[str], *parts: str) -> ModelConfig:
    """The config with parts of the config of the file in `init_from` ("decoding", ...), for some classes."""
    own = {part: {label: one for label, one in getattr(start, part).items() if label in labels} for part in parts}
    return replace(config, **{part: getattr(config, part) | values for part, values in own.items()})


def _report_in_run_file(config: TrainingConfig, report: LoadReport) -> dict[str, Any]:
    about = {"file": config.init_from, "layout": report.layout, "found": len(report.found)}
    return about | {"unfound": report.unfound, "unused": report.unused, "notes": report.notes}


def _write_run_file(config: TrainingConfig, out: Path, more: dict[str, Any]) -> None:
    """Writes `run.json`. `started` stays the time at which the run was first started."""
    started = datetime.now(UTC).isoformat("T", "seconds")
    with suppress(OSError, ValueError, KeyError):
        started = parse_json((out / RUN_FILE).read_text())["started"]
    about = {"config": config_to_dict(config), "versions": _versions(), "started": started, **more}
    write_atomically(out / RUN_FILE, json.dumps(about, indent=2, ensure_ascii=False).encode())


def check_unchanged(config: TrainingConfig, teacher_hashes: dict[str, str], out: Path) -> None:
    """Raises LoxoError if the run in `out` was started with other settings or other teachers (compared by hash).

    Settings that do not affect the result may differ.
    """
    before, now = flatten(read_run_config(out)), flatten(config_to_dict(config))
    names = (before.keys() | now.keys()) - resumable_keys()
    changed = sorted(name for name in names if before.get(name) != now.get(name))
    if changed:
        raise LoxoError(
            f"{out}: this run was started with other settings ({', '.join(changed)}). "
            f"Resume it with the settings in its {RUN_FILE}, or start a new run in another folder."
        )
    hashes = _read_run_file(out).get("teachers", {})
    others = [name for name, digest in teacher_hashes.items() if hashes.get(name, digest) != digest]
    if others:
        raise LoxoError(
            f"{', '.join(others)}: this is not the model that the run in {out} has used as a teacher so far. Restore "
            "that model, or start a new run in another folder."
        )


# ---------------------------------------------------------------- the end


def _finish(loop: Loop, path: Path, report: LoadReport | None) -> dict[str, Any]:
    """Fits decoding and calibration of the best checkpoint and writes it as the model of the run.

    Returns for `run.json` which weights these are, and doubts about them. The weights of `init_from`, if none were
    better, keep the decoding and calibration of their file: those may come from far more data.
    """
    out, config, validation = loop.out, loop.config, loop.sources.validation
    save_model(loop.average.model, out / LAST, {"iteration": loop.iteration})
    model = load_model(out / BEST, loop.fabric.device)
    scores, _ = loop.scores(model)
    model.config, metrics = fit_decoding(scores, validation, model.config)
    kept: list[str] = []
    start = None if report is None or loop.best_iteration else report.config
    if start is not None and frontend_fields(start) == frontend_fields(model.config):
        kept = [label for label in model.config.classes if label in start.calibration]
        parts = ("calibration", "curves") if "decoding" in config.model else ("decoding", "calibration", "curves")
        model.config = _with_parts_of_start(model.config, start, kept, *parts)
        metrics = {label: figures for label, figures in metrics.items() if label not in kept}
    validated = model.provenance["validation"]
    events = ", ".join(f"{truth.events} {label}s" for label, truth in validation.truth.items())
    hours = len(validation) * model.config.window_samples / model.config.sample_rate / 3600
    provenance = {
        "training": _with_file_names(config_to_dict(config)),
        "iteration": loop.best_iteration,
        "weights": model.provenance.get("weights", "average"),
        "validation": {k: round(v, 4) for k, v in validated.items()},
        "decoding": {
            "data": "smooth_s, edge_ratio, valley_ratio, threshold and calibration fitted on the "
            f"{len(validation)} validation windows ({hours:.2f} h, {events}) that also selected the iteration",
            "reached": metrics,
        },
        "versions": _versions(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    if kept:
        provenance["decoding"]["kept"] = f"those of {', '.join(kept)} are those of the initial weights"
    save_model(model, path, provenance)
    absent = [label for label, here in zip(model.config.classes, loop.occurred.tolist(), strict=True) if not here]
    numbers = {label: int(truth.events) for label, truth in validation.truth.items()}
    return {
        "model": result_in_words(
            loop.best_iteration, provenance["weights"], loop.best_ap, loop.start_ap, config.init_from
        ),
        "doubts": doubts(config, validated, numbers, absent),
        "figures": listed_figures(scores, validation, model.config),
    }


def _with_file_names(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with file names in place of paths: model files are used on other computers."""
    data = dict(settings["data"])
    for key in ("tables", "recordings", "hard_negatives", "searched"):
        data[key] = [Path(path).name for path in data[key]]
    data["backgrounds"] = data["backgrounds"] and Path(data["backgrounds"]).name
    distil = {**settings["distil"], "teachers": [Path(path).name for path in settings["distil"]["teachers"]]}
    init_from = settings["init_from"] and Path(settings["init_from"]).name
    return {**settings, "data": data, "distil": distil, "init_from": init_from}


def _versions() -> dict[str, str]:
    return {
        "loxo": loxo.__version__,
        "torch": str(torch.__version__),
        "lightning": lightning.__version__,
        "python": platform.python_version(),
    }
