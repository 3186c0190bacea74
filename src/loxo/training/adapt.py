"""Adapts a model to a new site with a few annotated calls.

A TrainingConfig defines the training: half of the windows are simulated calls in spans without events of the user's
recordings, half are windows from these recordings. The training starts from the model. Its result is the mean of the
average weights at the end and the start weights (START_SHARE), with decoding and calibration of the start model. Both
come from far more data than a few calls. Classes that the tables do not annotate have no loss in windows from
recordings.

The annotated calls have two folds: by recording if at least MIN_RECORDINGS contain calls, else the ends and the
beginnings of the recordings. One training without each fold, with half of the iterations, gives a model that is
compared with the start model on the calls of this fold (`comparing.py`, which contains the rule of the decision). No
iteration and no parameter is chosen on these windows. The adapted model is the mean of both, so that it has learnt from
all calls.

| file                     | content                                                                        |
|--------------------------|--------------------------------------------------------------------------------|
| `model.safetensors`      | the adapted model, or the start model if it was kept, and its graph            |
| `run.json`               | settings, held-back calls, figures before and after, the decision              |
| `adapt.md`               | the same in words and one table                                                |
| `candidate.safetensors`  | the adapted model, also if the start model was kept                            |
| `fold-1/`, `fold-2/`     | the folders of the training runs (`train.py`)                                  |
| `learning_curve.csv`     | with `learning_curve`: event AP and frame loss by the number of calls          |
| `calls-N/`               | the training runs with N calls of a class                                      |
"""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

import loxo
from loxo.engine.architectures import CONFIGS, preset_config
from loxo.engine.config import ModelConfig
from loxo.engine.model_file import find_model, read_model_file, write_copy
from loxo.errors import LoxoError
from loxo.evaluation.annotations import review_tables
from loxo.files import sha256_of, write_atomically
from loxo.network.fast import training as fast_training
from loxo.network.graph import write_graph
from loxo.network.loading import load_model, save_model
from loxo.network.registry import build
from loxo.training.adaptation_card import COLUMNS, adaptation_card
from loxo.training.comparing import FOLDS, HeldBack, decide
from loxo.training.config import DataConfig, LogConfig, TrainingConfig
from loxo.training.config_io import config_to_dict, model_config, read_config
from loxo.training.loop import LAST, TrainingProgress
from loxo.training.module import FrameTraining, interpolated
from loxo.training.recording_windows import free_spans
from loxo.training.sources import read_annotations
from loxo.training.split import split_annotations
from loxo.training.train import check_unchanged, configure_threads, read_run_config, refuse_other_content, train

ITERATIONS, BATCH_SIZE = 200, 16  # of both folds together
LEARNING_RATE = 2e-4
START_SHARE = 0.2
VALIDATION_WINDOWS = 256  # half of them simulated
MIN_CALLS, MIN_TRAINING = 5, 2  # calls of a class: of all, and of a fold
MIN_RECORDINGS = 4  # with calls: with fewer, each recording is divided in time
HARD_NEGATIVE_SHARE = 0.2
MIN_ITERATIONS = 20
TRAINING_SHARE = 0.7  # of the time of an adaptation, when `minutes` are given
CANDIDATE = "candidate.safetensors"


@dataclass(frozen=True)
class Adaptation:
    """The result of `adapt`."""

    model: Path
    adapted: bool  # False: the file contains the start model
    decision: str  # one sentence
    figures: dict[str, Any]  # for each key of comparing.ROWS: events, first, second, difference (paired_bootstrap)
    problems: list[str]


def adapt(
    tables: str | Path | Iterable[str | Path],
    recordings: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    model: str | Path = "default",
    searched: str | Path | Iterable[str | Path] = (),
    classes: Sequence[str] = (),
    label: str | None = None,
    label_column: str | None = None,
    labels: Mapping[str, str] | None = None,
    rename: Mapping[str, str] | None = None,
    channel: int | None = None,
    iterations: int = ITERATIONS,
    minutes: float | None = None,
    seed: int = 3,
    workers: int = 1,
    validation_windows: int = VALIDATION_WINDOWS,
    learning_curve: bool = False,
    resume: bool = False,
    on_progress: TrainingProgress | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Adaptation:
    """Adapts a model to the recordings that the tables annotate, and writes it to the folder `out`.

    tables: tables of events, folders of them, or the folder that `loxo review --export` wrote.
    searched: tables of the spans that were searched for events (recording, start_s, end_s). The time outside them is
    neither call nor background. Without them, the recordings in the tables were searched completely.
    classes: the classes that the tables annotate; by default those with enough calls in the tables.
    label, label_column, labels, rename, channel: as the keys `data.*` of a TrainingConfig.
    iterations: of both trainings together. minutes: time on this machine, about; it replaces `iterations`.
    learning_curve: also train with a quarter and with half of the calls, and compare all on the same held-back windows
    (learning_curve.csv). This takes twice the time of an adaptation more.
    resume: continues an interrupted adaptation in `out`. Without tables, its settings are used.

    Raises LoxoError when there are too few calls, and as `train` does.
    """
    started, out = time.perf_counter(), Path(out)
    notes = on_note or _silent
    given, roots = _paths(tables), _paths(recordings)
    stored = _stored_config(out) if resume else None
    if not resume:
        refuse_other_content(out)
    if given or stored is None:
        events, hard_negatives, spans = review_tables(given, _paths(searched))
        settings = DataConfig(
            tables=events,
            hard_negatives=hard_negatives,
            searched=spans,
            recordings=roots,
            simulated=0.5,
            label=label,
            label_column=label_column,
            labels=dict(labels or {}),
            rename=dict(rename or {}),
            channel=channel,
            clip_level="event",  # a few calls are often clips that were cut to them
            own_backgrounds=True,
            validation_windows=validation_windows,
        )
        start = TrainingConfig(
            **_preset(read_model_file(model).config),
            init_from=str(model),
            data=settings,
            batch_size=BATCH_SIZE,
            learning_rate=LEARNING_RATE,
            seed=seed,
            workers=workers,
            log=LogConfig(plots=0, tensorboard=False),
        )
        config, sentences = _with_annotations(start, classes)
        for sentence in sentences:
            notes(sentence)
        if stored is not None and minutes is not None:
            iterations = FOLDS * stored.iterations
        elif minutes is not None:
            iterations = _iterations_in(minutes, config)
        share = -(-iterations // FOLDS)
        precision = config.precision if stored is None else stored.precision
        config = replace(
            config, iterations=share, validation_interval=share, checkpoint_interval=25, precision=precision
        )
    else:
        config = stored
    model_path = find_model(config.init_from or model)
    candidates = train_folds(config, out, resume=resume, on_progress=on_progress)
    held_back = HeldBack(config)
    figures = held_back.compare(candidates)
    problems = list(held_back.problems)
    curve = _learning_curve(config, out, held_back, figures, resume, on_progress, notes) if learning_curve else []
    adapted, decision = decide(figures, config.data.annotated)
    path = out / "model.safetensors"
    about = {
        "start": {"model": model_path.stem, "sha256": sha256_of(model_path)},
        "classes": list(config.data.annotated),
        "calls": held_back.calls,
        "held_back_by": config.data.split,
        "figures": figures,
        "adapted": adapted,
        "decision": decision,
        "learning_curve": curve,
    }
    mean = out / CANDIDATE
    write_mean(model_path, [fold / LAST for fold in fold_folders(out)], mean)
    source = read_model_file(mean if adapted else model_path)
    write_copy(source, path, source.config, source.provenance | {"adaptation": about})
    if not source.graph_path.is_file() and (problem := write_graph(path)):
        problems.append(problem)
    write_atomically(out / "adapt.md", adaptation_card(about, config, START_SHARE, problems).encode())
    record = {
        "config": config_to_dict(config),
        "result": about | {"problems": problems},
        "seconds": round(time.perf_counter() - started, 1),
        "versions": {"loxo": loxo.__version__, "torch": torch.__version__},
        "finished": datetime.now(UTC).isoformat("T", "seconds"),
    }
    write_atomically(out / "run.json", json.dumps(record, indent=2, ensure_ascii=False).encode())
    return Adaptation(path, adapted, decision, figures, problems)


def _stored_config(out: Path) -> TrainingConfig:
    """The config of the interrupted adaptation in a folder, without its fold."""
    config = read_config(base=read_run_config(fold_folders(out)[0]))
    return replace(config, data=replace(config.data, fold=None))


def fold_folders(out: Path) -> list[Path]:
    """The folders of the training runs, one for each fold."""
    return [out / f"fold-{number}" for number in range(1, FOLDS + 1)]


def train_folds(
    config: TrainingConfig, out: Path, *, resume: bool = False, on_progress: TrainingProgress | None = None
) -> list[Path]:
    """Trains one model for each fold, and returns the files of the models to compare. Finished folds are kept."""
    models = []
    for number, run in enumerate(fold_folders(out), 1):
        own = replace(config, data=replace(config.data, fold=number))

        def progress(iteration: int, total: int, figures: dict[str, float], before: int = number - 1) -> None:
            if on_progress is not None:
                on_progress(before * total + iteration, FOLDS * total, figures)

        started = resume and (run / "run.json").is_file()
        if started and (run / LAST).is_file():
            check_unchanged(own, {}, run)
        else:
            train(own, run, resume=started, graph=False, on_progress=progress)
        write_mean(find_model(config.init_from or ""), [run / LAST], run / CANDIDATE)
        models.append(run / CANDIDATE)
    return models


def _learning_curve(
    config: TrainingConfig,
    out: Path,
    held_back: HeldBack,
    all_calls: dict[str, Any],
    resume: bool,
    on_progress: TrainingProgress | None,
    on_note: Callable[[str], None],
) -> list[dict[str, float]]:
    """Event AP and frame loss on the held-back annotations by the number of calls of a class in each training.

    Writes learning_curve.csv. The parts are nested, and each has the folds and the iterations of the adaptation.
    """
    most = max(min(counts[label] for counts in held_back.calls.values()) for label in config.data.annotated)
    compared = {0: {key: all_calls[key] | {"second": all_calls[key]["first"]} for key in COLUMNS}}
    for calls in sorted({-(-most // 4), -(-most // 2)} - {most}):
        on_note(f"Learning curve: {calls} call(s) of a class in each training.")
        part = replace(config, data=replace(config.data, calls=calls))
        models = train_folds(part, out / f"calls-{calls}", resume=resume, on_progress=on_progress)
        compared[calls] = held_back.compare(models)
    compared[most] = all_calls
    rows = [
        {"calls": calls}
        | {
            name + end: round(value, 4)
            for key, name in COLUMNS.items()
            for end, value in zip(("", "_low", "_high"), figures[key]["second"], strict=False)
        }
        for calls, figures in compared.items()
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[-1]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(out / "learning_curve.csv", text.getvalue().encode())
    return rows


def write_mean(start: Path, trained: Sequence[Path], path: Path) -> None:
    """Writes the mean of the start weights and the mean of the trained weights, with the config of the start model.

    Its curves are left out: the false positives per hour in them were counted with the start weights.
    """
    own = load_model(start)
    mean = load_model(trained[0])
    for count, other in enumerate(trained[1:], 2):
        mean = interpolated(mean, load_model(other).state_dict(), 1 / count)
    mean = interpolated(mean, own.state_dict(), START_SHARE)
    mean.config = replace(own.config, curves={})
    save_model(mean, path, own.provenance)


def _silent(_: str) -> None: ...


def _paths(given: str | Path | Iterable[str | Path]) -> tuple[str, ...]:
    return (str(given),) if isinstance(given, str | Path) else tuple(map(str, given))


# ---------------------------------------------------------------- the config


def _preset(start: ModelConfig) -> dict[str, Any]:
    """Keys of a TrainingConfig for a model like `start`: a preset of its architecture, and the fields that differ.

    Decoding, calibration and curves are not fields of an architecture: training takes those of the start.
    """
    choices = []
    for preset in CONFIGS[start.architecture].presets:
        own = preset_config(preset).to_dict()
        changes = {name: value for name, value in start.to_dict().items() if value != own[name]}
        choices.append((preset, {k: v for k, v in changes.items() if k not in ("decoding", "calibration", "curves")}))
    preset, changes = min(choices, key=lambda choice: len(choice[1]))
    return {"preset": preset, "model": json.loads(json.dumps(changes))}


def _with_annotations(config: TrainingConfig, classes: Sequence[str]) -> tuple[TrainingConfig, list[str]]:
    """The config with the annotated classes and the split. Also sentences about both.

    Raises LoxoError with the number of calls that are missing.
    """
    network, needed = model_config(config), MIN_CALLS
    config = replace(config, data=replace(config.data, annotated=tuple(classes)))
    annotations = read_annotations(config, network)
    counts = {label: count for label, count in annotations.counts().items() if not classes or label in classes}
    few = {label: count for label, count in counts.items() if count < needed}
    if few and (classes or len(few) == len(counts)):
        missing = " and ".join(f"{needed - count} more {label}(s)" for label, count in few.items())
        raise LoxoError(
            f"The tables annotate {', '.join(f'{count} {label}(s)' for label, count in counts.items())}. An adaptation "
            f"needs {needed} calls of a class. "
            f"Annotate {missing}{'.' if classes else ', or only one of them.' if len(few) > 1 else '.'}"
        )
    adapted = tuple(label for label in counts if label not in few)
    sentences = [
        f"{label}: {count} annotated call(s), {needed - count} too few. The model is not adapted to this class."
        for label, count in few.items()
        if count
    ]
    config = replace(config, data=replace(config.data, annotated=adapted, folds=FOLDS))
    annotations = read_annotations(config, network)
    with_calls = sum(any(label in adapted for label, _, _ in one.events) for one in annotations.recordings)
    for split in ("recording", "time"):
        if split == "recording" and with_calls < MIN_RECORDINGS:
            continue
        share, seed = 1 / FOLDS, config.data.split_seed  # fold 2 has the same sides, exchanged
        sides = split_annotations(annotations, share, by=split, seed=seed, folds=FOLDS, fold=1)
        numbers = [sum(side.counts().values()) for side in sides]
        if min(numbers) >= MIN_TRAINING:
            break
    else:
        raise LoxoError(
            f"Of the annotated calls, {sum(numbers)} can be divided into two parts for training and comparison, and "
            f"one part has {min(numbers)}. Calls overlap in time or lie in the same short recordings. "
            f"Annotate {MIN_TRAINING - min(numbers)} more at other times."
        )
    sentences.append(
        f"{sum(numbers)} annotated call(s) are used, in two parts of {numbers[1]} and {numbers[0]}: "
        + ("by recording." if split == "recording" else "the ends and the beginnings of the recordings.")
        + " Each part is held back once."
    )
    free = [len(free_spans(side.recordings, network.window_samples)) for side in sides]
    hard = all(any(one.hard_negatives for one in side.recordings) for side in sides)
    data = replace(
        config.data,
        split=split,
        background_share=0.5 if all(free) else 0.0,
        hard_negative_share=HARD_NEGATIVE_SHARE if hard else 0.0,
    )
    return replace(config, data=data), sentences


def _iterations_in(minutes: float, config: TrainingConfig) -> int:
    """The number of iterations in TRAINING_SHARE of this time, from the time of two iterations on this machine."""
    configure_threads(config.workers)
    network = model_config(config)
    model = build(network)
    fast_training.apply(model)
    module = FrameTraining(model.train(), config)
    waveform = 0.1 * torch.randn(config.batch_size, network.window_samples)
    targets = torch.zeros(config.batch_size, len(network.rows), network.steps)
    for repetition in range(3):
        if repetition == 1:  # the first one allocates memory
            begun = time.perf_counter()
        module(waveform, targets, np.random.default_rng(0)).backward()
    seconds = (time.perf_counter() - begun) / 2
    return max(MIN_ITERATIONS, int(60 * minutes * TRAINING_SHARE / seconds))
