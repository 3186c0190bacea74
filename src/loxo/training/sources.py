"""The windows that a config asks for: simulated, from a user's tables and recordings, or both, for both parts of a run.

Nothing of validation is heard in training: background sites, and recordings, sites or days, are split by a seed of
their own, so that a run that goes on from another one's weights keeps out what that one kept out. What cannot be
trained on is refused here, before the first step, in one sentence.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from loxo.engine.config import ModelConfig
from loxo.errors import LoxoError
from loxo.simulation.background import Backgrounds
from loxo.training.annotations import Annotations, match_recordings, split_annotations
from loxo.training.config import DataConfig, TrainingConfig
from loxo.training.dataset import Augmented, Mixture, SimulatedWindows, Windows
from loxo.training.recording_windows import FixedWindows, RecordedWindows
from loxo.training.targets import fitting_edges, frame_targets
from loxo.training.validation import ValidationWindow, ValidationWindows, check_classes, collect

VALIDATION_SEED = 1_000_000  # added to the run's seed: no validation window is ever a training window


@dataclass
class Sources:
    """What a run learns from and is judged by."""

    training: Windows
    validation: ValidationWindows
    about: dict[str, Any]  # the split, for the record
    problems: list[str] = field(default_factory=list)  # what could not be used, one sentence each


def build_sources(config: TrainingConfig, model: ModelConfig, total: int) -> Sources:
    """The sources of `total` training windows, and the validation windows. Raises LoxoError for data not fit for it."""
    data, changes = config.data, config.augment
    edges = data.edges or fitting_edges(model)
    share = simulated_share(data)
    training_beds, validation_beds = _backgrounds(config, model.sample_rate)
    about: dict[str, Any] = {"simulated": share}
    problems: list[str] = []
    fixed: list[ValidationWindow] = []
    training: Windows | None = None
    if training_beds is not None and validation_beds is not None:
        beds = {"training": training_beds, "validation": validation_beds}
        about["backgrounds"] = {name: sorted(item.path for item in part.recordings) for name, part in beds.items()}
    if share > 0:
        count = max(1, round(share * data.validation_windows))
        training = SimulatedWindows(model, training_beds, total, config.seed, edges=edges, pause=data.pause)
        fixed += _simulated(SimulatedWindows(model, validation_beds, count, config.seed + VALIDATION_SEED, edges=edges))
    if share < 1:
        annotations, kept = _annotations(config, model)
        problems += annotations.problems
        about["recordings"] = {
            "training": sorted(item.path for item in annotations.recordings),
            "validation": sorted(item.path for item in kept.recordings),
            "events": {"training": annotations.counts(), "validation": kept.counts()},
            "problems": problems,
        }
        if share == 0:
            _refuse_missing_classes(annotations)
        recorded = RecordedWindows(
            model,
            annotations,
            total,
            config.seed,
            background_share=data.background_share,
            hard_negative_share=data.hard_negative_share,
            edges=edges,
            channel=data.channel,
            pause=data.pause,
        )
        fixed += _recorded(config, model, kept, max(data.validation_windows - len(fixed), 1), edges)
        training = recorded if training is None else Mixture(training, recorded, share, config.seed)
    assert training is not None
    validation = collect(model, fixed)
    check_classes(validation, _way_out(data))
    augmented = Augmented(training, model, changes, training_beds, config.seed)
    return Sources(augmented, validation, about, problems)


def simulated_share(data: DataConfig) -> float:
    """The share of simulated windows that a config means. Raises LoxoError where tables or recordings are missing."""
    share = data.simulated if data.simulated is not None else (0.0 if data.tables else 1.0)
    if share < 1 and not (data.tables and data.recordings):
        given = "data.tables" if data.tables else "data.recordings" if data.recordings else "neither"
        raise LoxoError(
            f"Windows of your recordings need both data.tables and data.recordings; {given} is given. "
            "For simulated windows alone, leave them out and data.simulated at 1."
        )
    if share == 1 and data.tables:
        raise LoxoError(
            "data.simulated is 1, so that the tables would not be used: give a share below 1, or no tables."
        )
    return share


def _backgrounds(config: TrainingConfig, sample_rate: int) -> tuple[Backgrounds | None, Backgrounds | None]:
    if config.data.backgrounds is None:
        return None, None
    everything = Backgrounds(config.data.backgrounds, sample_rate)
    return everything.split(config.data.validation_share, config.data.split_seed)


def _annotations(config: TrainingConfig, model: ModelConfig) -> tuple[Annotations, Annotations]:
    from loxo.events.reader import read_tables

    data = config.data
    hard = read_tables(data.hard_negatives, label="hard negative") if data.hard_negatives else None
    everything = match_recordings(
        read_tables(data.tables, data.label_column, label=data.label),
        data.recordings,
        classes=model.classes,
        sample_rate=model.sample_rate,
        labels=data.labels or None,
        rename=data.rename or None,
        marginal=data.marginal,
        hard_negatives=hard,
    )
    return split_annotations(everything, data.validation_share, by=data.split, seed=data.split_seed)


def _simulated(windows: SimulatedWindows) -> Iterator[ValidationWindow]:
    config = windows.config
    for number in range(len(windows)):
        samples, spans = windows.scene(number)
        targets = frame_targets(spans, config.classes, config.steps, config.step_samples, windows.edges)
        yield ValidationWindow(samples, targets, spans)


def _recorded(
    config: TrainingConfig, model: ModelConfig, kept: Annotations, most: int, edges: str
) -> Iterator[ValidationWindow]:
    seed, share, channel = config.seed + VALIDATION_SEED, config.data.background_share, config.data.channel
    windows = FixedWindows(model, kept, most, seed, background_share=share, edges=edges, channel=channel)
    for index, (number, start) in enumerate(windows.windows):
        waveform, targets = windows[index]
        yield ValidationWindow(waveform.numpy(), targets.numpy(), *windows.within(number, start))


def _refuse_missing_classes(annotations: Annotations) -> None:
    counts = annotations.counts()
    absent = [label for label in annotations.classes if not counts.get(label)]
    if absent:
        there = [label for label in annotations.classes if counts.get(label)]
        raise LoxoError(
            f"The tables hold no {' and no '.join(absent)} to train on. Train for {', '.join(there)} alone "
            f"(model.classes=[{', '.join(there)}]), name its label in the tables (data.labels), or mix in simulated "
            "calls (data.simulated=0.5)."
        )


def _way_out(data: DataConfig) -> str:
    if not data.tables:
        return "Take more (data.validation_windows), or train for other classes (model.classes)."
    share = math.floor(data.validation_share * 100)
    return (
        f"Keep more recordings for validation (data.validation_share, now {share} %), split by recording "
        "(data.split=recording), take more windows (data.validation_windows), or train for other classes "
        "(model.classes)."
    )
