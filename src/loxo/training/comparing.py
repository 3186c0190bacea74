"""Compares an adapted model with its start on held-back windows, and decides which of both is used.

The annotated recordings have two folds. Each is held back from one training and used in the other, so that every
annotated call is held back once. The model of a fold is compared with the start model on the windows that were held
back from it: windows from recordings, and simulated calls in held-back backgrounds. The windows of both folds are one
set.

**Frame loss.** The cross-entropy between the scores of the steps and the annotations, in nats per window. First the
logits are mapped by the line a x + b, a >= 0, with the lowest loss on these windows, for each model and class. The loss
thus measures how well a model separates calls from all else, and not the level of its scores. All steps count, so that
it still falls when event AP is near 1.

**Rule.** The adapted model is used if all four hold; otherwise the start model is kept:

1. Frame loss on the held-back windows from recordings falls by more than MIN_GAIN: the whole 95 % interval of the
   difference is below that.
2. Event AP on the same windows is not lower.
3. Event AP on the simulated windows is not lower by more than TOLERANCE.
4. The same holds for the classes without annotations.

Intervals are from windows that are drawn with replacement, the same for both models.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from loxo.detection.decode import class_rows
from loxo.engine.config import Decoding
from loxo.evaluation.intervals import paired_bootstrap
from loxo.evaluation.matching import Matching
from loxo.network.loading import load_model
from loxo.training.config import TrainingConfig
from loxo.training.config_io import model_config
from loxo.training.sources import build_sources
from loxo.training.targets import judged
from loxo.training.validation import Floats, ValidationWindows, join_windows, match_class, score_windows

FOLDS = 2
MIN_HELD_BACK = 3  # calls
DRAWS = 2000
MIN_GAIN = 0.01  # of the frame loss of the start model
TOLERANCE = 0.03  # event AP on simulated windows that an adapted model may lose

ROWS = {  # figures of a comparison, in the order of the table
    "annotations": "event AP, held-back annotations",
    "frame_loss": "frame loss, held-back annotations",
    "simulated": "event AP, simulated calls in held-back backgrounds",
    "other_classes": "event AP, other classes, simulated",
}
HEADER = ("held-back windows (95 % interval)", "events", "before", "after", "difference")


class HeldBack:
    """The held-back windows of all folds, and the logits of the start model on them."""

    def __init__(self, config: TrainingConfig) -> None:
        """`config`: with `data.folds` and without `data.fold`."""
        self.classes, self.batch_size = config.data.annotated, config.batch_size
        network = model_config(config)
        self.parts: list[ValidationWindows] = []
        recorded: list[np.ndarray] = []
        self.calls: dict[str, dict[str, int]] = {}  # annotated events, and held-back ones of each fold
        for fold in range(1, FOLDS + 1):
            sources = build_sources(replace(config, data=replace(config.data, fold=fold)), network, 1)
            about = sources.about["recordings"]
            recorded.append(np.arange(len(sources.validation)) >= sources.simulated)
            self.parts.append(sources.validation)
            self.calls[f"fold {fold}"] = about["events"]["validation"]
            self.problems: list[str] = list(about["problems"])
        self.windows = join_windows(self.parts)
        is_recorded = np.concatenate(recorded)
        self.recorded, self.simulated = np.flatnonzero(is_recorded), np.flatnonzero(~is_recorded)
        start = load_model(config.init_from or "")
        self.config = start.config
        self.start = np.concatenate([self._logits(start, part) for part in self.parts])

    def compare(self, models: Sequence[Path]) -> dict[str, Any]:
        """The figures of the start model and of the models of the folds. All are decoded as the start model."""
        second = np.concatenate(
            [self._logits(load_model(path), part) for path, part in zip(models, self.parts, strict=True)]
        )
        both = self.start, second

        def pairs(labels: Iterable[str]) -> list[tuple[Matching, ...]]:
            return [tuple(self._match(logits, label) for logits in both) for label in labels]

        adapted: Any = pairs(self.classes)
        others: Any = pairs(label for label in self.config.classes if label not in self.classes)
        return {
            "annotations": paired_bootstrap(adapted, [self.recorded]),
            "frame_loss": self._frame_loss(*both),
            "simulated": paired_bootstrap(adapted, [self.simulated]),
            "other_classes": paired_bootstrap(others, [self.simulated]) if others else None,
        }

    def _logits(self, model: Any, windows: ValidationWindows) -> Floats:
        with torch.inference_mode():
            return score_windows(lambda waveform: model.logits_and_latent(waveform)[0], windows, self.batch_size)

    def _match(self, logits: Floats, label: str) -> Matching:
        own = self.config
        scores = torch.from_numpy(logits[:, class_rows(label, own.rows)]).sigmoid().numpy()
        return match_class(scores, own.decoding.get(label, Decoding()), self.windows.truth[label], own)

    def _frame_loss(self, *both: Floats) -> dict[str, Any]:
        """Frame loss of both models on the windows from recordings, in the form of `paired_bootstrap`."""
        losses = np.zeros((2, len(self.recorded)))
        for label in self.classes:
            k = self.config.classes.index(label)
            targets = self.windows.targets[self.recorded, k]
            for row, logits in zip(losses, both, strict=True):
                row += frame_losses(logits[self.recorded, k], targets)
        rng, count = np.random.default_rng(0), len(self.recorded)
        drawn = rng.integers(0, count, (DRAWS, count))
        named = {"first": losses[0], "second": losses[1], "difference": losses[1] - losses[0]}
        return {"events": sum(self._counted(label) for label in self.classes)} | {
            name: [float(values.mean()), *np.percentile(values[drawn].mean(1), [2.5, 97.5]).tolist()]
            for name, values in named.items()
        }

    def _counted(self, label: str) -> int:
        truth = self.windows.truth[label]
        return int(np.isin(truth.recording[truth.counted], self.recorded).sum())


def frame_losses(logits: Floats, targets: Floats) -> np.ndarray:
    """(windows,): the sum of the cross-entropy of all steps, after the line with the lowest loss.

    logits and targets: (windows, steps). Steps that are not `judged` have no loss.
    """
    from scipy.optimize import minimize  # type: ignore[import-untyped]

    counted = judged(targets)
    count = max(int(counted.sum()), 1)
    x, y = logits[counted].astype(float), (targets[counted] >= 0.5).astype(float)

    def mean_loss(line: np.ndarray) -> tuple[float, list[float]]:
        z = line[0] * x + line[1]
        error = 1 / (1 + np.exp(-np.clip(z, -500, 500))) - y
        loss, slopes = (np.logaddexp(0, z) - y * z).sum(), ((error * x).sum(), error.sum())
        return float(loss / count), [float(slope / count) for slope in slopes]

    line = minimize(mean_loss, [1.0, 0.0], jac=True, method="L-BFGS-B", bounds=[(0, None), (None, None)]).x
    z = line[0] * logits.astype(float) + line[1]
    losses: np.ndarray = np.where(counted, np.logaddexp(0, z) - (targets >= 0.5) * z, 0.0).sum(1)
    return losses


def decide(figures: Mapping[str, Any], classes: Sequence[str]) -> tuple[bool, str]:
    """Whether the adapted model is used, and why, in one sentence. The rule is in the docstring of this module."""
    loss, annotations = figures["frame_loss"], figures["annotations"]
    kept, more = "The start model is kept", "More annotated calls may help."
    if annotations["events"] < MIN_HELD_BACK:
        missing = MIN_HELD_BACK - annotations["events"]
        return False, f"{kept}: {missing} more held-back call(s) are needed for a decision."
    first, second = annotations["first"][0], annotations["second"][0]
    gain = (
        f"frame loss of {' and '.join(classes)} on the held-back annotations changed from {loss['first'][0]:.2f} to "
        f"{loss['second'][0]:.2f} (difference {interval(loss['difference'], '+.2f')}), and event AP from {first:.3f} "
        f"to {second:.3f}"
    )
    if loss["difference"][2] >= -MIN_GAIN * loss["first"][0]:
        return False, f"{kept}, because no gain is certain: {gain}. {more}"
    if second < first:
        return False, f"{kept}, because the held-back annotations lost event AP ({first:.3f} to {second:.3f}). {more}"
    for key, name in (("simulated", "simulated calls"), ("other_classes", "other classes")):
        one = figures[key]
        if one is not None and one["events"] and one["difference"][0] < -TOLERANCE:
            return False, f"{kept}, because {name} lost event AP ({interval(one['difference'], '+.3f')}). {more}"
    return True, f"The adapted model is used: {gain}."


def interval(values: Sequence[float], form: str = ".3f") -> str:
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
            interval(figures[key]["first"]),
            interval(figures[key]["second"]),
            interval(figures[key]["difference"], "+.3f"),
        )
        for key, name in ROWS.items()
        if figures[key] is not None and figures[key]["events"]
    ]
