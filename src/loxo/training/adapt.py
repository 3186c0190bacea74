"""Adapts a model to a new site with a few annotated calls.

A TrainingConfig defines the training: half of the windows are simulated calls in spans without events of the user's
recordings, half are windows from these recordings. The training starts from the model. Its result is the mean of the
average weights at the end and the start weights (START_SHARE), with decoding and calibration of the start model. Both
come from far more data than a few calls. Classes that the tables do not annotate have no loss in windows from
recordings.

Some annotated calls are held back: by recording if at least MIN_RECORDINGS contain calls, else the last ones of each
recording. Both models are compared on the same held-back windows: windows from recordings, and simulated calls in
held-back backgrounds. No iteration and no parameter is chosen on these windows.

**Rule.** The adapted model is used if all three hold; otherwise the start model is kept:

1. The 95 % bootstrap interval of the difference of event AP is above 0. The AP is the mean of two: that on the windows
   from recordings and that on the simulated windows. Windows are drawn, the same for both models.
2. Event AP on the windows from recordings alone is not lower.
3. For classes without annotations, that interval on the simulated windows is not below 0.

| file                | content                                                                  |
|---------------------|--------------------------------------------------------------------------|
| `model.safetensors` | the adapted model, or the start model if it was kept, and its graph      |
| `run.json`          | settings, held-back calls, figures before and after, the decision        |
| `adapt.md`          | the same in words and one table                                          |
| `training/`         | the folder of the training run (`train.py`)                              |
"""

from __future__ import annotations

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
from loxo.detection.decode import class_rows
from loxo.engine.architectures import CONFIGS, preset_config
from loxo.engine.config import Decoding, ModelConfig
from loxo.engine.model_file import find_model, hash_model, read_model_file, write_copy
from loxo.errors import LoxoError
from loxo.evaluation.annotations import review_tables
from loxo.evaluation.intervals import paired_bootstrap
from loxo.evaluation.matching import Matching
from loxo.files import write_atomically
from loxo.network.fast import training as fast_training
from loxo.network.graph import write_graph
from loxo.network.loading import load_model, save_model
from loxo.network.registry import build
from loxo.training.config import DataConfig, LogConfig, TrainingConfig
from loxo.training.config_io import config_to_dict, model_config, read_config
from loxo.training.loop import LAST, TrainingProgress
from loxo.training.module import FrameTraining, interpolated
from loxo.training.recording_windows import free_spans
from loxo.training.sources import build_sources, read_annotations
from loxo.training.split import split_annotations
from loxo.training.train import configure_threads, read_run_config, refuse_other_content, train
from loxo.training.validation import Floats, ValidationWindows, match_class, score_windows

ITERATIONS, BATCH_SIZE = 400, 16
LEARNING_RATE = 2e-4
START_SHARE = 0.2
VALIDATION_WINDOWS = 256  # half of them simulated
MIN_TRAINING, MIN_HELD_BACK = 2, 3  # calls of a class
HELD_BACK_SHARE = 0.4
MIN_RECORDINGS = 4  # with calls: with fewer, each recording is divided in time
HARD_NEGATIVE_SHARE = 0.2
MIN_ITERATIONS = 20
TRAINING_SHARE = 0.7  # of the time of an adaptation, when `minutes` are given
CANDIDATE = Path("checkpoints", "candidate.safetensors")

ROWS = {  # data of a comparison, in the order of the table
    "annotations": "held-back annotations",
    "simulated": "simulated calls in held-back backgrounds",
    "both": "both, with equal weights",
    "other_classes": "other classes, simulated",
}


@dataclass(frozen=True)
class Adaptation:
    """The result of `adapt`."""

    model: Path
    adapted: bool  # False: the file contains the start model
    decision: str  # one sentence
    figures: dict[str, Any]  # for each key of ROWS: events, first, second, difference; see paired_bootstrap
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
    minutes: time of the adaptation on this machine, about; it replaces `iterations`.
    resume: continues an interrupted adaptation in `out`. Without tables, its settings are used.

    Raises LoxoError when there are too few calls, and as `train` does.
    """
    started, out = time.perf_counter(), Path(out)
    run, notes = out / "training", on_note or _silent
    given, roots = _paths(tables), _paths(recordings)
    stored = read_config(base=read_run_config(run)) if resume else None
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
            iterations = stored.iterations
        elif minutes is not None:
            iterations = _iterations_in(minutes, config)
        config = replace(config, iterations=iterations, validation_interval=iterations, checkpoint_interval=25)
    else:
        config = stored
    model_path = find_model(config.init_from or model)
    train(config, run, resume=resume, on_progress=on_progress)
    candidate = run / CANDIDATE
    write_candidate(model_path, run / LAST, candidate)
    figures, data = compare(config, candidate)
    counts, problems = data["events"], list(data["problems"])
    adapted, decision = decide(figures, config.data.annotated)
    source = read_model_file(candidate if adapted else model_path)
    about = {
        "start": {"model": model_path.stem, "sha256": hash_model(model_path)},
        "classes": list(config.data.annotated),
        "calls": counts,
        "held_back_by": config.data.split,
        "figures": figures,
        "adapted": adapted,
        "decision": decision,
    }
    path = out / "model.safetensors"
    write_copy(source, path, source.config, source.provenance | {"adaptation": about})
    if not source.graph_path.is_file() and (problem := write_graph(path)):
        problems.append(problem)
    write_atomically(out / "adapt.md", _card(about, config, problems).encode())
    record = {
        "config": config_to_dict(config),
        "result": about | {"problems": problems},
        "seconds": round(time.perf_counter() - started, 1),
        "versions": {"loxo": loxo.__version__, "torch": torch.__version__},
        "finished": datetime.now(UTC).isoformat("T", "seconds"),
    }
    write_atomically(out / "run.json", json.dumps(record, indent=2, ensure_ascii=False).encode())
    return Adaptation(path, adapted, decision, figures, problems)


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
    network, needed = model_config(config), MIN_TRAINING + MIN_HELD_BACK
    config = replace(config, data=replace(config.data, annotated=tuple(classes)))
    annotations = read_annotations(config, network)
    counts = {label: count for label, count in annotations.counts().items() if not classes or label in classes}
    few = {label: count for label, count in counts.items() if count < needed}
    if few and (classes or len(few) == len(counts)):
        missing = " and ".join(f"{needed - count} more {label}(s)" for label, count in few.items())
        raise LoxoError(
            f"The tables annotate {', '.join(f'{count} {label}(s)' for label, count in counts.items())}. An adaptation "
            f"needs {needed} calls of a class: {MIN_TRAINING} to train and {MIN_HELD_BACK} to hold back. "
            f"Annotate {missing}{'.' if classes else ', or only one of them.' if len(few) > 1 else '.'}"
        )
    adapted = tuple(label for label in counts if label not in few)
    sentences = [
        f"{label}: {count} annotated call(s), {needed - count} too few. The model is not adapted to this class."
        for label, count in few.items()
        if count
    ]
    share = max(HELD_BACK_SHARE, MIN_HELD_BACK / min(counts[label] for label in adapted))
    data = replace(config.data, annotated=adapted, validation_share=round(share, 4))
    annotations = read_annotations(replace(config, data=data), network)
    with_calls = sum(any(label in adapted for label, _, _ in one.events) for one in annotations.recordings)
    for split in ("recording", "time"):
        if split == "recording" and with_calls < MIN_RECORDINGS:
            continue
        sides = split_annotations(annotations, data.validation_share, by=split, seed=data.split_seed)
        training, held_back = (sum(side.counts().values()) for side in sides)
        if training >= MIN_TRAINING and held_back >= MIN_HELD_BACK:
            break
    else:
        raise LoxoError(
            f"Only {held_back} of the annotated calls can be held back, because the others overlap them in time or "
            f"lie in the same short recordings. {max(MIN_HELD_BACK - held_back, MIN_TRAINING - training)} more are "
            "needed: annotate calls at other times."
        )
    sentences.append(
        f"{training} annotated call(s) are used for training, and {held_back} are held back "
        + ("in other recordings." if split == "recording" else "at the end of each recording.")
    )
    free = free_spans(sides[0].recordings, network.window_samples)
    hard = any(one.hard_negatives for one in sides[0].recordings)
    data = replace(
        data,
        split=split,
        background_share=0.5 if len(free) else 0.0,
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


# ---------------------------------------------------------------- before and after


def write_candidate(start: Path, last: Path, path: Path) -> None:
    """Writes the mean of the start weights and the last weights of the training, with the config of the start model.

    Its curves are left out: the false positives per hour in them were counted with the start weights.
    """
    own = load_model(start)
    mean = interpolated(load_model(last), own.state_dict(), START_SHARE)
    mean.config = replace(own.config, curves={})
    save_model(mean, path, own.provenance)


def compare(config: TrainingConfig, candidate: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The event AP of the start model and of the candidate on the held-back windows. Also what `build_sources` reports
    about the recordings: numbers of events, problems.

    Both models are decoded with the parameters of the start model.
    """
    network = model_config(config)
    sources = build_sources(config, network, 1)
    validation, count = sources.validation, len(sources.validation)
    start, trained = load_model(config.init_from or ""), load_model(candidate)
    before, after = (_scores(model, validation, config.batch_size) for model in (start, trained))

    def pairs(labels: Iterable[str]) -> list[tuple[Matching, Matching]]:
        return [(_match(before, label, start.config), _match(after, label, start.config)) for label in labels]

    def _match(scores: Floats, label: str, own: ModelConfig) -> Matching:
        decoding = own.decoding.get(label, Decoding())
        return match_class(scores[:, class_rows(label, own.rows)], decoding, validation.truth[label], own)

    adapted = pairs(config.data.annotated)
    others = pairs(label for label in network.classes if label not in config.data.annotated)
    simulated, recorded = np.arange(sources.simulated), np.arange(sources.simulated, count)
    figures = {
        "annotations": paired_bootstrap(adapted, [recorded]),
        "simulated": paired_bootstrap(adapted, [simulated]),
        "both": paired_bootstrap(adapted, [recorded, simulated]),
        "other_classes": paired_bootstrap(others, [simulated]) if others else None,
    }
    return figures, sources.about["recordings"]


def _scores(model: Any, validation: ValidationWindows, batch_size: int) -> Floats:
    with torch.inference_mode():
        logits = score_windows(lambda waveform: model.logits_and_latent(waveform)[0], validation, batch_size)
        scores: Floats = torch.from_numpy(logits).sigmoid().numpy()
    return scores


def decide(figures: Mapping[str, Any], classes: Sequence[str]) -> tuple[bool, str]:
    """Whether the adapted model is used, and why, in one sentence. The rule is in the docstring of this module."""
    both, annotations, others = figures["both"], figures["annotations"], figures["other_classes"]
    name = " and ".join(classes)
    gain = (
        f"event AP of {name} changed from {both['first'][0]:.3f} to {both['second'][0]:.3f} on the "
        f"held-back windows (difference {_interval(both['difference'], '+.3f')})"
    )
    kept, more = "The start model is kept", "More annotated calls may help."
    if annotations["events"] < MIN_HELD_BACK:
        missing = MIN_HELD_BACK - annotations["events"]
        return False, f"{kept}: {missing} more held-back call(s) are needed for a decision."
    if both["difference"][1] <= 0:
        return False, f"{kept}, because no gain is certain: {gain}. {more}"
    if annotations["difference"][0] < 0:
        first, second = annotations["first"][0], annotations["second"][0]
        return False, f"{kept}, because the held-back annotations lost event AP ({first:.3f} to {second:.3f}). {more}"
    if others is not None and others["events"] and others["difference"][2] < 0:
        return False, f"{kept}, because other classes lost event AP ({_interval(others['difference'], '+.3f')}). {more}"
    return True, f"The adapted model is used: {gain}."


def _interval(values: Sequence[float], form: str = ".3f") -> str:
    """A value with its interval, as 0.812 (0.701 to 0.880)."""
    return (
        f"{values[0]:{form}} ({values[1]:{form}} to {values[2]:{form}})" if len(values) == 3 else f"{values[0]:{form}}"
    )


def table(figures: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The comparison as rows of text: data, events, before, after, difference."""
    return [
        (
            name,
            str(figures[key]["events"]),
            _interval(figures[key]["first"]),
            _interval(figures[key]["second"]),
            _interval(figures[key]["difference"], "+.3f"),
        )
        for key, name in ROWS.items()
        if figures[key] is not None and figures[key]["events"]
    ]


HEADER = ("event AP (95 % interval)", "events", "before", "after", "difference")


def _card(about: Mapping[str, Any], config: TrainingConfig, problems: Sequence[str]) -> str:
    calls = about["calls"]
    numbers = ", ".join(
        f"{calls['training'][label]} to train and {calls['validation'][label]} held back ({label})"
        for label in about["classes"]
    )
    lines = [
        f"# {about['start']['model']}, adapted to {', '.join(about['classes'])} of a site",
        "",
        about["decision"],
        "",
        "| " + " | ".join(HEADER) + " |",
        "|---" * len(HEADER) + "|",
        *("| " + " | ".join(row) + " |" for row in table(about["figures"])),
        "",
        f"- Start model: {about['start']['model']} (SHA-256 {about['start']['sha256']}).",
        f"- Annotated calls: {numbers}. Split by {about['held_back_by']}.",
        f"- Training: {config.iterations} iterations of {config.batch_size} windows, half of them simulated calls in "
        f"the backgrounds of the site. The weights contain {100 * START_SHARE:.0f} % of the start weights. Decoding "
        "and calibration are those of the start model.",
        "- Intervals: bootstrap over windows. The held-back windows contain more calls than a survey. Choose "
        "thresholds on a survey (`loxo calibrate`, `loxo evaluate`).",
        *(f"- {sentence}" for sentence in problems),
    ]
    return "\n".join(lines) + "\n"
