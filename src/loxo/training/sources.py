"""The training and validation windows that a config describes: simulated, from tables and recordings, or both.

Training and validation never share a background site, a recording, a site or a day (`data.split`). The split has its
own seed, so that a run that continues from the weights of another run can keep the same validation data. Data that
cannot be used for training are an error here, before the first iteration.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from loxo.engine.config import ModelConfig
from loxo.errors import LoxoError
from loxo.evaluation.annotations import read_annotations as tables_of_events
from loxo.evaluation.annotations import review_tables
from loxo.events.reader import read_tables
from loxo.simulation.background import Backgrounds
from loxo.training.annotations import Annotations, match_recordings
from loxo.training.backgrounds import own_backgrounds
from loxo.training.config import DataConfig, TrainingConfig
from loxo.training.dataset import AugmentedWindows, MixedWindows, SimulatedWindows, Windows
from loxo.training.recording_windows import FixedWindows, RecordingWindows, is_clip_level
from loxo.training.split import limited_calls, split_annotations
from loxo.training.targets import default_edges, frame_targets
from loxo.training.validation import ValidationWindow, ValidationWindows, check_classes, stack_windows

VALIDATION_SEED = 1_000_000  # added to the run's seed, so that no validation window is a training window


@dataclass
class Sources:
    """The data of a run."""

    training: Windows
    validation: ValidationWindows
    about: dict[str, Any]  # the split, for run.json
    problems: list[str] = field(default_factory=list)  # one sentence for each kind of data that cannot be used
    simulated: int = 0  # number of simulated windows at the beginning of `validation`


def build_sources(config: TrainingConfig, model: ModelConfig, total: int) -> Sources:
    """The source of `total` training windows, and the validation windows. Raises LoxoError for unsuitable data."""
    data, changes = config.data, config.augment
    edges = data.edges or default_edges(model)
    share = simulated_share(data)
    if data.fold is not None and (data.folds is None or share == 1):
        raise LoxoError("data.fold is one part of a cross-validation: it needs data.folds, data.tables and recordings.")
    sides = read_sides(config, model) if share < 1 else None
    training_backgrounds, validation_backgrounds = _backgrounds(config, model.sample_rate, sides)
    about: dict[str, Any] = {"simulated": share}
    problems: list[str] = []
    fixed: list[ValidationWindow] = []
    training: Windows | None = None
    if training_backgrounds is not None and validation_backgrounds is not None:
        both = {"training": training_backgrounds, "validation": validation_backgrounds}
        about["backgrounds"] = {name: sorted({item.path for item in side.recordings}) for name, side in both.items()}
    if share > 0:
        count = max(1, round(share * data.validation_windows))
        training = SimulatedWindows(model, training_backgrounds, total, config.seed, edges=edges, pause=data.pause)
        simulated = SimulatedWindows(model, validation_backgrounds, count, config.seed + VALIDATION_SEED, edges=edges)
        if data.fold is None or data.own_backgrounds:  # else a fold is judged on its recordings alone
            fixed += _simulated_validation(simulated)
    simulated_windows = len(fixed)
    if sides is not None:
        annotations, held_out = sides
        problems += annotations.problems
        if data.clip_level == "clip" and (sentence := clip_level_labels(sides, model)):
            problems.append(sentence)
        about["recordings"] = {
            "training": sorted(item.path for item in annotations.recordings),
            "validation": sorted(item.path for item in held_out.recordings),
            "events": {"training": annotations.counts(), "validation": held_out.counts()},
            "problems": problems,
        }
        if share == 0:
            _refuse_missing_classes(annotations)
        windows = RecordingWindows(
            model,
            annotations,
            total,
            config.seed,
            background_share=data.background_share,
            hard_negative_share=data.hard_negative_share,
            edges=edges,
            channel=data.channel,
            pause=data.pause,
            clip_level=data.clip_level,
        )
        fixed += _recorded_validation(config, model, held_out, max(data.validation_windows - len(fixed), 1), edges)
        training = windows if training is None else MixedWindows(training, windows, share, config.seed)
    assert training is not None
    validation = stack_windows(model, fixed)
    check_classes(validation, _remedy(data))
    augmented = AugmentedWindows(training, model, changes, training_backgrounds, config.seed)
    return Sources(augmented, validation, about, problems, simulated_windows)


def simulated_share(data: DataConfig) -> float:
    """The fraction of simulated windows. Raises LoxoError when tables or recordings are missing or not used."""
    share = data.simulated if data.simulated is not None else (0.0 if data.tables else 1.0)
    if share < 1 and not (data.tables and data.recordings):
        given = "only data.tables is" if data.tables else "only data.recordings is" if data.recordings else "neither is"
        raise LoxoError(
            f"Windows from your recordings need both data.tables and data.recordings; {given} given. "
            "To train on simulated windows only, give neither, and leave data.simulated at 1."
        )
    if share == 1 and data.tables:
        raise LoxoError(
            "data.simulated is 1, so that the tables would not be used: set it below 1, or remove data.tables."
        )
    return share


def _backgrounds(
    config: TrainingConfig, sample_rate: int, sides: tuple[Annotations, Annotations] | None
) -> tuple[Backgrounds | None, Backgrounds | None]:
    """The backgrounds for training and those for validation; None without background recordings."""
    data = config.data
    if data.own_backgrounds:
        if sides is None or data.backgrounds is not None:
            raise LoxoError(
                "data.own_backgrounds takes the backgrounds from your recordings, so that it needs data.tables and no "
                "data.backgrounds."
            )
        training, validation = (own_backgrounds(side, data.channel, data.split_seed) for side in sides)
        return training, validation
    if data.backgrounds is None:
        return None, None
    everything = Backgrounds(data.backgrounds, sample_rate)
    return everything.split(data.validation_share, data.split_seed)


def read_annotations(config: TrainingConfig, model: ModelConfig) -> Annotations:
    """The annotated recordings of a config. Raises LoxoError for unsuitable data."""
    data = config.data
    tables, hard_negatives, searched = review_tables(data.tables, data.searched)
    hard_negatives = (*data.hard_negatives, *hard_negatives)
    events = tables_of_events(tables, label=data.label, label_column=data.label_column, searched=searched)
    return match_recordings(
        events,
        data.recordings,
        classes=model.classes,
        sample_rate=model.sample_rate,
        labels=data.labels or None,
        rename=data.rename or None,
        marginal=data.marginal,
        hard_negatives=read_tables(hard_negatives, label="hard negative") if hard_negatives else None,
        searched=events.attrs["searched"],
        annotated=data.annotated,
    )


def read_sides(config: TrainingConfig, model: ModelConfig) -> tuple[Annotations, Annotations]:
    """The annotated recordings for training and those for validation."""
    data = config.data
    training, validation = split_annotations(
        read_annotations(config, model),
        data.validation_share,
        by=data.split,
        seed=data.split_seed,
        folds=data.folds or 0,
        fold=data.fold,
    )
    if data.calls is not None:
        training = limited_calls(training, data.calls, data.split_seed)
    return training, validation


def _simulated_validation(windows: SimulatedWindows) -> Iterator[ValidationWindow]:
    config = windows.config
    for number in range(len(windows)):
        samples, events = windows.scene(number)
        targets = frame_targets(events, config.classes, config.steps, config.step_samples, windows.edges)
        yield ValidationWindow(samples, targets, events)


def _recorded_validation(
    config: TrainingConfig, model: ModelConfig, annotations: Annotations, max_count: int, edges: str
) -> Iterator[ValidationWindow]:
    seed, share, channel = config.seed + VALIDATION_SEED, config.data.background_share, config.data.channel
    windows = FixedWindows(
        model,
        annotations,
        max_count,
        seed,
        background_share=share,
        edges=edges,
        channel=channel,
        clip_level=config.data.clip_level,
    )
    for index, (number, start) in enumerate(windows.windows):
        waveform, targets = windows[index]
        yield ValidationWindow(waveform.numpy(), targets.numpy(), *windows.events_in_window(number, start))


def _refuse_missing_classes(annotations: Annotations) -> None:
    counts = annotations.counts()
    absent = [label for label in annotations.classes if not counts.get(label)]
    absent = [label for label in absent if label not in annotations.unknown_classes]
    if absent:
        present = [label for label in annotations.classes if counts.get(label)]
        raise LoxoError(
            f"The tables contain no {' and no '.join(absent)} to train on. Train for {', '.join(present)} only "
            f"(model.classes=[{', '.join(present)}]), give its label in the tables (data.labels), or add simulated "
            "calls (data.simulated=0.5)."
        )


def clip_level_labels(sides: tuple[Annotations, Annotations], model: ModelConfig) -> str | None:
    """How many events cover their whole recording, and how that is used, in one sentence; None if there are none."""
    count = sum(
        is_clip_level(one, start, stop, model)
        for side in sides
        for one in side.recordings
        for _, start, stop in one.events
    )
    if not count:
        return None
    return (
        f"{count} event(s) cover their whole recording: an event is somewhere in it (clip-level label). If these "
        "recordings were cut to the events, set data.clip_level=event."
    )


def _remedy(data: DataConfig) -> str:
    """What the user can change when validation has no event of a class."""
    if not data.tables:
        return "Use more windows (data.validation_windows), or train for other classes (model.classes)."
    percent = math.floor(data.validation_share * 100)
    return (
        f"Use more recordings for validation (data.validation_share, now {percent} %), split by recording "
        "(data.split=recording), use more windows (data.validation_windows), or train for other classes "
        "(model.classes)."
    )
