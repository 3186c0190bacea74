"""The end of a training run in sentences: which weights became the model, and what the user should not trust.

Each sentence states the fault and the way out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loxo.training.config import TrainingConfig

LOW_EVENT_AP = 0.05  # below it, a class counts as not learnt
FEW_EVENTS = 20  # with fewer, an event AP is uncertain by 0.1 and more


def result_in_words(iteration: int, weights: str, best_ap: float, start_ap: float | None, init_from: str | None) -> str:
    """A sentence about the weights of the model. `weights`: "average" or "raw"; `start_ap`: event AP of `init_from`."""
    if iteration == 0:
        return (
            f"No iteration had a higher event AP on the validation windows than the weights of {init_from} "
            f"({best_ap:.3f}), so the model has these weights. More annotated calls or a lower learning_rate may help."
        )
    kind = "the average of the weights" if weights == "average" else "the weights themselves, not their average"
    before = "" if start_ap is None else f"; {init_from} had {start_ap:.3f}"
    return f"The model is {kind} after iteration {iteration}, with event AP {best_ap:.3f}{before}."


def doubts(
    config: TrainingConfig, figures: Mapping[str, Any], events: Mapping[str, int], absent: Sequence[str]
) -> list[str]:
    """Sentences about a model that was not learnt, or cannot be judged.

    figures: of the validation of the model; events: number of each class's events in the validation windows; absent:
    classes that did not occur in a training window.
    """
    sentences = []
    more = "more recordings for validation (data.validation_share), " if config.data.tables else ""
    if absent:
        sentences.append(
            f"No training window contained a {' or a '.join(absent)}, so that this run did not train it. Use more "
            "iterations, annotate more calls, or add simulated ones (data.simulated=0.5)."
        )
    for label, count in events.items():
        ap = figures[f"event_ap_{label}"]
        if ap < LOW_EVENT_AP and label not in absent:
            start = "" if config.init_from else "start from trained weights (init_from=default), "
            sentences.append(
                f"The model does not find {label}s: its event AP on the validation windows is {ap:.3f}. Train for more "
                f"iterations ({config.iterations} now), {start}or annotate more calls."
            )
        if count < FEW_EVENTS:
            sentences.append(
                f"The validation windows contain {count} {label}{'s' * (count != 1)}, which is too few to choose the "
                f"best weights and thresholds ({FEW_EVENTS} or more are needed). Use {more}more windows "
                f"(data.validation_windows, now {config.data.validation_windows}), or annotate more calls."
            )
    return sentences
