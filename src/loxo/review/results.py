"""The results of a review: P(correct | score) of each class, and the number of true events in the run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loxo.report import sentences
from loxo.report.estimate import MIN_DECISIONS, PRECISIONS, Count, Fit, count, fit
from loxo.review.agreement import agreements
from loxo.review.decisions import RANDOM, SEARCHED, Decision
from loxo.review.merge import Final, finals, without_repeats
from loxo.review.recall import recall, wilson
from loxo.runs.read import Run

CURVE_SCORES = np.arange(1, 50) / 50  # at which the curve is evaluated
BINS = 10  # of scores, for the observed fractions of correct events


def results(run: Run, names: list[str], people: Mapping[str, Mapping[str, Decision]]) -> dict[str, Any]:
    """All results as values for JSON: `classes`, `agreement`, `reviewers`, `drawn`, `disputed`, `unmatched`.

    `names` are the names of the events by row, `people` the decisions of all reviewers. NaN becomes None. `unmatched`
    counts decisions on events that the run no longer contains.
    """
    answers = finals(people)
    known = set(names)
    drawn = [answer for answer in answers.values() if answer.recording and answer.is_event]
    return {
        "classes": [_class(run, names, answers, label) for label in run.labels],
        "searched_s": sum(b - a for spans in searched(answers).values() for a, b in spans),
        "agreement": [_plain(asdict(pair)) for pair in agreements(people)],
        "reviewers": {name: sum(bool(d.verdict) for d in said.values()) for name, said in sorted(people.items())},
        "drawn": len(drawn),
        "disputed": sum(answer.verdict == "disputed" for answer in answers.values()),
        "unmatched": sum(name not in known and not answer.recording for name, answer in answers.items()),
    }


def _class(run: Run, names: list[str], answers: Mapping[str, Final], label: str) -> dict[str, Any]:
    rows = np.flatnonzero(run.events["label"].to_numpy() == label)
    scores = run.events["score"].to_numpy()[rows]
    verdicts = [answers[names[row]].verdict if names[row] in answers else None for row in rows]
    verdict = np.array([value or "" for value in verdicts], object)
    right, wrong = verdict == "yes", (verdict == "no") | (verdict == "other")
    decided = right | wrong
    left = ~decided  # unsure and disputed events count as undecided
    curve = fit(scores[decided], right[decided], scores)
    counts = {name: int((verdict == name).sum()) for name in ("yes", "no", "other", "unsure", "disputed")}
    found: dict[str, Any] = {
        "label": label,
        "events": len(rows),
        **counts,
        "open": int((verdict == "").sum()),
        "missed": sum(bool(a.recording and a.is_event and a.label == label) for a in answers.values()),
        "needed": max(MIN_DECISIONS - int(decided.sum()), 0),
        "observed": _observed(scores[decided], right[decided]),
        "recall": _recall(run, rows, verdict, answers, label),
    }
    if curve is None:
        text = sentences.not_an_estimate(label, len(rows), int(decided.sum()), max(found["needed"], 1))
        return found | {"sentences": [text]}
    places, site = np.unique(run.events["site"].fillna("").to_numpy(str)[rows], return_inverse=True)
    used = left & curve.counted(scores)
    groups = np.where(used | right, site, -1)
    sums = curve.truths(scores, places[site], decided, right, groups, len(places))
    total = count(sums.sum(axis=1))
    words = [
        sentences.number_of_true_events(
            label, len(rows), int(decided.sum()), counts["yes"], total, curve if left.any() else None
        ),
        sentences.not_counted(curve, scores[left & ~used]),
        *sentences.keep(curve, scores),
    ]
    found["recall"]["sentence"] = sentences.all_calls(label, total, found["recall"])
    return (
        found
        | _fitted(curve, scores)
        | {
            "estimate": _estimate(total, used, right),
            "sites": {
                place: _estimate(count(sums[:, k]), used[site == k], right[site == k]) for k, place in enumerate(places)
            },
            "sentences": [sentence for sentence in words if sentence],
        }
    )


def _recall(
    run: Run, rows: NDArray[np.intp], verdict: NDArray[np.object_], answers: Mapping[str, Final], label: str
) -> dict[str, Any]:
    """The recall of a class from the random stretches that were searched for it, and the number of stretches that do
    not count because a listed event of the class in them is not decided (`open`). `sentence`: what
    it means for the number of all calls. `rows` and `verdict`: its events."""
    recordings = run.events["recording"].to_numpy()[rows]
    middles = (run.events["start_s"].to_numpy() + run.events["end_s"].to_numpy())[rows] / 2
    drawn = without_repeats(
        [
            {"recording": answer.recording, "label": answer.label, **answer.bounds}
            for answer in answers.values()
            if answer.is_event and answer.recording and answer.label == label and len(answer.bounds) == 4
        ]
    )
    seconds, found, missed, waiting = 0.0, [], [], 0
    for recording, spans in searched(answers, RANDOM, label).items():
        of_recording = recordings == recording
        for start, end in spans:
            inside = verdict[of_recording & (middles >= start) & (middles < end)]
            if not np.isin(inside, ("yes", "no", "other")).all():
                waiting += 1
                continue
            seconds += end - start
            found.append(int((inside == "yes").sum()))
            missed.append(
                sum(
                    event["recording"] == recording and start <= (event["start_s"] + event["end_s"]) / 2 < end
                    for event in drawn
                )
            )
    measured = asdict(recall(seconds, np.array(found, np.int64), np.array(missed, np.int64)))
    return measured | {"open": waiting, "sentence": ""}


def searched(
    answers: Mapping[str, Final], prefix: str = SEARCHED, label: str | None = None
) -> dict[str, list[tuple[float, float]]]:
    """The stretches of each recording that were searched, each of them once. `label`: only those for this label."""
    found: dict[str, dict[tuple[float, float], None]] = {}
    for name, answer in answers.items():
        start, end = answer.bounds.get("start_s", math.inf), answer.bounds.get("end_s", -math.inf)
        if name.startswith(prefix) and answer.recording and label in (None, answer.label) and start < end:
            found.setdefault(answer.recording, {})[(start, end)] = None
    return {recording: sorted(spans) for recording, spans in found.items()}


def _fitted(curve: Fit, scores: NDArray[np.float64]) -> dict[str, Any]:
    known = scores[np.isfinite(scores)]
    low, high = curve.band(CURVE_SCORES)
    mean = curve.probability(CURVE_SCORES)
    return {
        "curve": [
            [round(float(value), 4) for value in point] for point in zip(CURVE_SCORES, mean, low, high, strict=True)
        ],
        "thresholds": [
            {
                "precision": precision,
                "score": _rounded(curve.score_for(precision)),
                "threshold": _rounded(curve.threshold_for(precision, known)),
            }
            for precision in PRECISIONS
        ],
    }


def _estimate(total: Count, unreviewed: NDArray[np.bool_], right: NDArray[np.bool_]) -> dict[str, Any]:
    """True events: the confirmed events, and those among the undecided ones with scores that were reviewed."""
    confirmed = int(right.sum())
    return {
        "confirmed": confirmed,
        "unreviewed": int(unreviewed.sum()),
        "expected": round(total.mean - confirmed, 1),
        "low": round(total.low) - confirmed,
        "high": round(total.high) - confirmed,
    }


def _observed(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """The fraction of correct events by score, with Wilson's 95 % interval."""
    known = np.isfinite(scores)
    bins = np.clip(scores[known] * BINS, 0, BINS - 1).astype(int)
    found = []
    for place in range(BINS):
        inside = bins == place
        events, yes = int(inside.sum()), int(right[known][inside].sum())
        if events:
            low, high = wilson(yes, events)
            score = float(scores[known][inside].mean())
            found.append({"score": round(score, 4), "events": events, "right": yes, "low": low, "high": high})
    return found


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()}
