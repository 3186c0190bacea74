"""The decisions of a review on the events of a run, and what they show about the number of true events.

A review writes decisions.csv into the folder reviewed/ of a run. A class has one of three states:

    LISTED      no event was reviewed: the true number is unknown, and nothing about it is stated
    FEW         reviewed, but with fewer decisions than an estimate needs
    ESTIMATED   every event is decided, or the true number is estimated from the decisions (estimate.py)

Failure policy: a decisions.csv that is damaged or does not match the run raises LoxoError: counts must not change
silently.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loxo.errors import LoxoError
from loxo.events.cells import original_cell
from loxo.files import inside, parse_json
from loxo.report.estimate import DRAWS, MIN_DECISIONS, Fit, fit
from loxo.runs.read import Run

if TYPE_CHECKING:
    import pandas as pd

LISTED, FEW, ESTIMATED = "listed", "few", "estimated"
REVIEWED = "reviewed"
KEYS = ["recording", "start_s", "end_s", "label"]
TRUE, FALSE = ("yes", "other"), ("no",)  # events with the verdicts unsure and disputed stay undecided

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Reviewed:
    """The events of a run with their decisions; all arrays are (events,). A review may have changed labels."""

    labels: NDArray[np.object_]
    detected: NDArray[np.object_]  # labels as detected
    scores: NDArray[np.float64]
    sites: NDArray[np.object_]
    verdicts: NDArray[np.object_]  # "" without a decision
    drawn: int = 0  # number of events that only reviewers found
    fits: dict[str, Fit] = field(default_factory=dict)  # by detected label
    recall: dict[str, dict[str, Any]] = field(
        default_factory=dict
    )  # by label, from random stretches that were searched

    @property
    def decided(self) -> Flags:
        return np.isin(self.verdicts.astype(str), (*TRUE, *FALSE))

    @property
    def confirmed(self) -> Flags:
        """Whether an event is a true event of its label in `labels`."""
        return np.isin(self.verdicts.astype(str), TRUE)

    def reviewed(self, label: str) -> int:
        """Number of decided events that were detected as this label."""
        return int((self.decided & (self.detected == label)).sum())

    def state(self, label: str) -> str:
        of_label = self.detected == label
        if label in self.fits or (self.decided[of_label].all() and (self.labels == label).any()):
            return ESTIMATED
        return FEW if self.reviewed(label) else LISTED

    def needed(self, label: str) -> int:
        """How many more decisions an estimate needs, at least 1."""
        return max(MIN_DECISIONS - self.reviewed(label), 1)

    def counted(self, label: str) -> Flags:
        """The events that count for a label: confirmed ones, and undecided ones with a score that the review covers."""
        confirmed = self.confirmed & (self.labels == label)
        if label not in self.fits:
            return confirmed
        return confirmed | (~self.decided & (self.detected == label) & self.fits[label].counted(self.scores))

    def not_counted(self, label: str) -> Flags:
        """Undecided events whose scores were not reviewed."""
        return ~self.decided & (self.detected == label) & ~self.counted(label)

    def probability(self) -> NDArray[np.float64]:
        """The probability that an event is true: 1 or 0 with a decision, else estimated, or NaN if it is unknown."""
        found = np.full(len(self.labels), np.nan)
        for label, curve in self.fits.items():
            rows = self.counted(label) & ~self.decided
            found[rows] = curve.probability(self.scores[rows])
        found[self.decided] = self.confirmed[self.decided]
        return found

    def truths(self, label: str, groups: NDArray[np.intp], size: int) -> NDArray[np.int32]:
        """(DRAWS, size): the number of true events of a label in each group, in each possible truth (estimate.py).

        `groups` is the group of each event; -1: in no group.
        """
        groups = np.where(self.counted(label), groups, -1)
        own = self.detected == label
        other = groups[~own & (groups >= 0)]  # confirmed events that were detected as another label
        fixed = np.bincount(other, minlength=size).astype(np.int32)
        if label in self.fits:
            right = self.confirmed & (self.labels == label)
            values = (self.scores[own], self.sites[own], self.decided[own], right[own], groups[own])
            return fixed + self.fits[label].truths(*values, size)
        return np.tile(fixed + np.bincount(groups[own & (groups >= 0)], minlength=size).astype(np.int32), (DRAWS, 1))


def read_review(run: Run) -> Reviewed:
    """The decisions on a run's events. Raises LoxoError when the files of its review cannot be read."""
    labels = run.events["label"].to_numpy(dtype=object, copy=True)
    scores = run.events["score"].to_numpy(float)
    sites = run.events["site"].fillna("").to_numpy(object)
    none = np.full(len(labels), "", object)
    path = inside(run.folder, f"{REVIEWED}/decisions.csv")
    if not path.is_file():
        return Reviewed(labels, labels, scores, sites, none)
    verdicts, new_labels, drawn = _decisions(run)
    moved = (verdicts == "other") & (new_labels != "")
    found = Reviewed(np.where(moved, new_labels, labels), labels, scores, sites, verdicts, drawn)
    found.recall.update(_recall(run))
    for label in run.labels:
        rows = labels == label
        decided = rows & found.decided
        if decided.sum() < rows.sum():
            curve = fit(scores[decided], (verdicts == "yes")[decided], scores[rows])
            if curve is not None:
                found.fits[label] = curve
    return found


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


def _recall(run: Run) -> dict[str, dict[str, Any]]:
    """The recall of each class in results.json, where a reviewer searched random stretches."""
    path = inside(run.folder, f"{REVIEWED}/results.json")
    try:
        classes = parse_json(path.read_text(encoding="utf-8"))["classes"]
        return {str(row["label"]): dict(row["recall"]) for row in classes if row.get("recall")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LoxoError(
            f"{path}: the results of the review cannot be read ({error!r}). Export them again with `loxo review`."
        ) from error


def _keys(recording: pd.Series, start: pd.Series, end: pd.Series, label: pd.Series) -> list[tuple[Any, ...]]:
    times = [series.astype(float).round(5) for series in (start, end)]
    return list(zip(recording, *times, label, strict=True))


def threshold_of(run: Run, label: str) -> float | None:
    """The lowest score of a listed event of this label, if run.json states it."""
    given = run.parameters.get("threshold")
    if isinstance(given, dict):
        given = given.get(label)
    own = (run.parameters.get("decoding") or {}).get(label, {}).get("threshold")
    value = own if given is None else given
    return float(value) if isinstance(value, int | float) else None
