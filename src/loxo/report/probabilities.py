"""The probability that an event is correct: from a review, from the model's calibration, or unknown.

A review writes decisions.csv and results.json into the folder reviewed/ of a run. An event with a decision has the
probability 1 or 0; an event that got another label counts in that class. An event without a decision has P(correct |
score), fitted to the decisions. If there are too few decisions for a fit, the score of a calibrated class is the
probability. Without a calibration every event has the probability 1.

Failure policy: review files that are damaged or do not match the run raise LoxoError: counts must not change silently.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loxo.errors import LoxoError
from loxo.events.cells import original_cell
from loxo.files import inside, parse_json
from loxo.runs.read import Run

if TYPE_CHECKING:
    import pandas as pd

REVIEW, CALIBRATION, COUNT = "review", "calibration", "count"
REVIEWED = "reviewed"
KEYS = ["recording", "start_s", "end_s", "label"]
VERDICTS = {"yes": 1.0, "no": 0.0, "other": 1.0}  # events with the verdicts unsure and disputed stay undecided


@dataclass
class EventProbabilities:
    """Labels and probabilities of a run's events. A review may have changed labels."""

    labels: NDArray[np.object_]  # (events,)
    probabilities: NDArray[np.float64]  # (events,), 0 to 1
    sources: dict[str, str]  # source of the probabilities of each label: REVIEW, CALIBRATION or COUNT
    decisions: dict[str, int] = field(default_factory=dict)  # number of events that a review has decided, by label
    drawn: int = 0  # events that only reviewers found


def event_probabilities(run: Run) -> EventProbabilities:
    """The probabilities of a run's events. Raises LoxoError when the files of its review cannot be read."""
    found = EventProbabilities(
        run.events["label"].to_numpy(dtype=object, copy=True),
        np.ones(len(run.events)),
        dict.fromkeys(run.labels, COUNT),
    )
    scores = run.events["score"].to_numpy(float)
    for label in run.parameters.get("calibration") or {}:
        rows = (found.labels == label) & np.isfinite(scores)
        found.probabilities[rows] = scores[rows]
        if label in found.sources:
            found.sources[label] = CALIBRATION
    if inside(run.folder, f"{REVIEWED}/decisions.csv").is_file():
        _apply_review(run, found, scores)
    return found


def _apply_review(run: Run, found: EventProbabilities, scores: NDArray[np.float64]) -> None:
    verdicts, new_labels, found.drawn = _decisions(run)
    curves = _curves(run)
    decided = np.array([verdict in VERDICTS for verdict in verdicts], bool)
    detected = found.labels.copy()
    for label in run.labels:
        rows = detected == label
        found.decisions[label] = int((rows & decided).sum())
        left = rows & ~decided & np.isfinite(scores)
        if label in curves:
            score, probability = curves[label]
            found.probabilities[left] = np.interp(scores[left], score, probability)
        if label in curves or (rows.any() and not left.any()):
            found.sources[label] = REVIEW
    found.probabilities[decided] = [VERDICTS[verdict] for verdict in verdicts[decided]]
    moved = (verdicts == "other") & (new_labels != "")
    found.labels[moved] = new_labels[moved]
    for label in sorted(set(found.labels[moved])):
        found.sources.setdefault(label, REVIEW)


def _decisions(run: Run) -> tuple[NDArray[np.object_], NDArray[np.object_], int]:
    """Verdict and new label of each event ("" if there is none), and the number of events that reviewers drew."""
    import pandas as pd

    path = inside(run.folder, f"{REVIEWED}/decisions.csv")
    try:
        table = pd.read_csv(path, keep_default_na=False, dtype=str).map(original_cell)
        drawn = int((table["verdict"] == "drawn").sum())
        table = table[~table["verdict"].isin(("", "drawn"))]
        keys = _keys(table["recording"], table["start_s"], table["end_s"], table["label"])
        values = dict(zip(keys, zip(table["verdict"], table["new_label"], strict=True), strict=True))
        own = _keys(*(run.events[name] for name in KEYS))
    except (OSError, ValueError, KeyError, pd.errors.ParserError) as error:
        raise LoxoError(
            f"{path}: the decisions of the review cannot be read ({error}). Export them again with `loxo review`."
        ) from error
    unknown = set(values) - set(own)
    if unknown:
        raise LoxoError(
            f"{path}: {len(unknown)} decision(s) belong to events that this run does not contain. Export the "
            "decisions again with `loxo review`."
        )
    pairs = [values.get(key, ("", "")) for key in own]
    columns = [np.array([pair[k] for pair in pairs], object) for k in (0, 1)]
    return columns[0], columns[1], drawn


def _keys(recording: pd.Series, start: pd.Series, end: pd.Series, label: pd.Series) -> list[tuple[Any, ...]]:
    times = [series.astype(float).round(5) for series in (start, end)]
    return list(zip(recording, *times, label, strict=True))


def _curves(run: Run) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """P(correct | score) of each class: scores and probabilities."""
    path = inside(run.folder, f"{REVIEWED}/results.json")
    try:
        classes = parse_json(path.read_text(encoding="utf-8"))["classes"]
        points = {row["label"]: np.array(row["curve"], float) for row in classes if row.get("curve")}
        return {label: (values[:, 0], values[:, 1]) for label, values in points.items()}
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise LoxoError(
            f"{path}: the results of the review cannot be read ({error!r}). Export them again with `loxo review`."
        ) from error
