"""Splits annotated recordings into training and validation."""

from __future__ import annotations

import dataclasses
from collections import defaultdict

import numpy as np

from loxo.errors import LoxoError
from loxo.training.annotations import AnnotatedRecording, Annotations
from loxo.training.config import SPLITS
from loxo.training.targets import EventSpan

RANDOM_SPLITS = 300  # random splits to choose from
UNKNOWN_GROUP = "?"  # prefix of the group of a recording whose site or day is not known


def split_annotations(
    annotations: Annotations,
    share: float,
    *,
    by: str = "recording",
    seed: int = 0,
    folds: int = 0,
    fold: int | None = None,
) -> tuple[Annotations, Annotations]:
    """The recordings for training and those for validation. The split depends only on its arguments.

    With `by` "time", validation is the end of each recording (`_split_by_time`). For all others:
    Validation has about `share` of the total time. Recordings of one site or day (`by`) stay on one side. The split is
    the best of many random ones: each class occurs on both sides if that is possible, and validation's fractions of the
    time and of each class's events are nearest to `share`. A recording whose site or day is not known is a group of its
    own. The problems of both sides are those of `annotations`. With `fold`, validation is this part of make_folds.

    Raises LoxoError when there is only one site, day or recording, or when one side would contain no event.
    """
    parts = make_folds(annotations, folds, by=by, seed=seed) if fold is not None else ()
    if fold is not None and fold > len(parts):
        raise LoxoError(f"There are {len(parts)} folds, so data.fold cannot be {fold}.")
    if by == "time":
        sides = _split_by_time(annotations, share if fold is None else 0.5)
        return _checked(*(sides[::-1] if fold == 2 else sides), by)
    groups = _groups(annotations, by)
    if fold is not None:
        return _sides(annotations, groups, set(parts[fold - 1]), by)
    names = sorted(groups)
    fractions, occurs = _fractions(annotations, groups)
    rng = np.random.default_rng(seed)
    best: tuple[float, np.ndarray] | None = None
    for _ in range(RANDOM_SPLITS):
        order = rng.permutation(len(names))
        size = 1 + int(np.abs(np.cumsum(fractions[order, 0])[:-1] - share).argmin())
        chosen = order[:size]
        validation_fractions = fractions[chosen].sum(0)
        one_sided = occurs & ((validation_fractions == 0) | (validation_fractions > 1 - 1e-9))
        cost = float(np.abs(validation_fractions - share)[occurs].sum() + 10 * one_sided[1:].sum())
        if best is None or cost < best[0]:
            best = cost, chosen
    assert best is not None
    return _sides(annotations, groups, {names[k] for k in best[1]}, by)


def make_folds(
    annotations: Annotations, folds: int, *, by: str = "recording", seed: int = 0
) -> tuple[tuple[str, ...], ...]:
    """The recordings, sites or days (`by`) of each fold of a cross-validation; with `folds` 0, each is a fold.

    The folds are the best of many random ones: each class occurs in each fold if that is possible, and the fractions of
    the time and of each class's events are nearest to each other. By time there are two folds: the ends and the
    beginnings of the recordings. Raises LoxoError for another number of folds than is possible.
    """
    if by == "time":
        if folds != 2:
            raise LoxoError(f"A cross-validation by time has 2 folds (ends and beginnings); data.folds is {folds}.")
        return ("the end of each recording",), ("the beginning of each recording",)
    groups = _groups(annotations, by)
    names = sorted(groups)
    if folds == 0:
        return tuple((name,) for name in names)
    if not 2 <= folds <= len(names):
        raise LoxoError(
            f"A cross-validation by {by} needs 2 to {len(names)} folds here, because there are {len(names)}, and 0 "
            f"stands for one fold for each; data.folds is {folds}."
        )
    fractions, occurs = _fractions(annotations, groups)
    rng = np.random.default_rng(seed)
    best: tuple[float, np.ndarray] | None = None
    for _ in range(RANDOM_SPLITS):
        number = rng.permutation(len(names)) % folds
        sums = np.stack([fractions[number == k].sum(0) for k in range(folds)])
        cost = float(np.abs(sums - 1 / folds)[:, occurs].sum() + 10 * (sums[:, occurs] == 0).sum())
        if best is None or cost < best[0]:
            best = cost, number
    assert best is not None
    return tuple(tuple(name for name, k in zip(names, best[1], strict=True) if k == fold) for fold in range(folds))


def limited_calls(annotations: Annotations, calls: int, seed: int = 0) -> Annotations:
    """The annotations with at most `calls` events of each class, chosen at random; the others are ignored spans.

    A larger number with the same seed contains all events of a smaller one.
    """
    rng = np.random.default_rng(seed)
    removed: set[tuple[str, EventSpan]] = set()
    for label in annotations.classes:
        events = [(one.path, event) for one in annotations.recordings for event in one.events if event[0] == label]
        removed |= {events[k] for k in rng.permutation(len(events))[calls:]}
    recordings = []
    for one in annotations.recordings:
        gone = [event for event in one.events if (one.path, event) in removed]
        kept = tuple(event for event in one.events if (one.path, event) not in removed)
        ignored = tuple(sorted([*one.ignored, *gone], key=lambda span: (span[1], span[2], span[0])))
        recordings.append(dataclasses.replace(one, events=kept, ignored=ignored))
    return dataclasses.replace(annotations, recordings=tuple(recordings))


def _groups(annotations: Annotations, by: str) -> dict[str, list[AnnotatedRecording]]:
    if by not in SPLITS:
        raise LoxoError(f"The split is by {by!r}, but it must be by one of {', '.join(SPLITS)}.")
    groups: dict[str, list[AnnotatedRecording]] = defaultdict(list)
    for one in annotations.recordings:
        key = {"recording": one.path, "site": one.site, "day": one.day}[by]
        groups[key if key is not None else f"{UNKNOWN_GROUP} {one.path}"].append(one)
    if len(groups) < 2:
        raise LoxoError(
            f"All {len(annotations.recordings)} recording(s) are of one {by}, so that none can be used for validation. "
            + ("Add recordings." if by == "recording" else "Split by recording instead, or add others.")
        )
    return groups


def _fractions(annotations: Annotations, groups: dict[str, list[AnnotatedRecording]]) -> tuple[np.ndarray, np.ndarray]:
    """(groups, 1 + classes): the fractions of the time and of each class's events; whether each of them occurs."""
    amounts = np.array(  # (groups, 1 + classes): samples, and number of events of each class
        [
            [
                sum(one.samples for one in groups[name]),
                *(sum(label == k for one in groups[name] for label, _, _ in one.events) for k in annotations.classes),
            ]
            for name in sorted(groups)
        ],
        dtype=float,
    )
    return amounts / np.maximum(amounts.sum(0), 1), amounts.sum(0) > 0


def _sides(
    annotations: Annotations, groups: dict[str, list[AnnotatedRecording]], held_out: set[str], by: str
) -> tuple[Annotations, Annotations]:
    """Training and validation, which has the groups in `held_out`."""
    sides = [
        dataclasses.replace(
            annotations,
            recordings=tuple(
                sorted(
                    (one for name in groups if (name in held_out) == validation for one in groups[name]),
                    key=lambda one: one.path,
                )
            ),
        )
        for validation in (False, True)
    ]
    return _checked(sides[0], sides[1], by)


def _checked(training: Annotations, validation: Annotations, by: str) -> tuple[Annotations, Annotations]:
    for side, purpose in ((training, "training"), (validation, "validation")):
        if not any(side.counts().values()):
            raise LoxoError(
                f"The {len(side.recordings)} recording(s) for {purpose} contain no event of {', '.join(side.classes)}. "
                + ("Annotate more events." if by == "time" else f"All events are of one {by}; ")
                + {"recording": "add recordings.", "time": ""}.get(by, "split by recording.")
            )
    return training, validation


def _split_by_time(annotations: Annotations, share: float) -> tuple[Annotations, Annotations]:
    """Divides each recording: validation has the end of it, with about `share` of the events of all recordings.

    The other part is ignored on each side, and so is an event that lasts from one part into the other. A recording
    without events is divided by its length.
    """
    sides: tuple[list[AnnotatedRecording], list[AnnotatedRecording]] = ([], [])
    seen = held_out = 0
    for one in annotations.recordings:
        seen += len(one.events)
        cut = _cut(one, min(max(int(share * seen + 0.5) - held_out, 0), len(one.events)), share)
        held_out += sum(start >= cut for _, start, _ in one.events)
        across = [event for event in one.events if event[1] < cut < event[2]]
        for side, first, stop in ((0, 0, cut), (1, cut, one.samples)):
            other_part = (cut, one.samples) if side == 0 else (0, cut)
            ignored = [(label, *other_part) for label in annotations.classes if other_part[0] < other_part[1]]
            part = dataclasses.replace(
                one,
                events=tuple(event for event in one.events if first <= event[1] and event[2] <= stop),
                ignored=tuple(sorted([*one.ignored, *ignored, *across], key=lambda span: (span[1], span[2], span[0]))),
                hard_negatives=tuple(span for span in one.hard_negatives if first <= span[0] and span[1] <= stop),
            )
            if first < stop:
                sides[side].append(part)
    return (
        dataclasses.replace(annotations, recordings=tuple(sides[0])),
        dataclasses.replace(annotations, recordings=tuple(sides[1])),
    )


def _cut(one: AnnotatedRecording, held_out: int, share: float) -> int:
    """The sample before the last `held_out` events of a recording, if possible half way between two events."""
    events = sorted((start, stop) for _, start, stop in one.events)
    if not events:
        return round((1 - share) * one.samples)
    if held_out in (0, len(events)):
        return 0 if held_out else one.samples
    last_stop, next_start = max(stop for _, stop in events[:-held_out]), events[-held_out][0]
    return max(last_stop, (last_stop + next_start) // 2)
