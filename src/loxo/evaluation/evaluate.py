"""Evaluation of one or more detectors against true events: all metrics of a comparison, as values for JSON.

    evaluate(...)  ->  Evaluation(report, case, matchings)
    report = {"rule": {...}, "truth": {...}, "notes": [...], "detectors": [{"name", "classes": {label: ...},
    "overall"}]}

Each class has the numbers of events and of ignored regions. For each criterion it has precision, recall and F1 of the
complete list (or of the scores from `threshold` on). It also has the average precision, the recall at rates of false
positives, a curve, and 95 % intervals by recording. Further results use the main criterion, which is the first of
`iou`: sites, recordings, border errors, recall by signal-to-noise ratio, reliability, and the worst errors. `overall`
pools the classes at equal scores. `mean_ap` is the mean of the APs of the classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loxo.errors import LoxoError
from loxo.evaluation.calibration import reliability, scores_and_verdicts
from loxo.evaluation.inputs import (
    IGNORE,
    Case,
    ClassData,
    Detector,
    as_paths,
    gather,
    read_detections,
    read_truth,
    rename_recordings,
)
from loxo.evaluation.intervals import bootstrap
from loxo.evaluation.matching import (
    FALSE_POSITIVE,
    HIT,
    HIT10,
    IGNORED,
    IGNORED_FRACTION,
    Criterion,
    Matching,
    iou_criterion,
    match,
    match_all,
)
from loxo.evaluation.metrics import (
    RATES,
    Curve,
    at_rate,
    average_precision,
    average_precision_by,
    best_f1,
    border_errors,
    matching_curve,
    ratios,
    recall_by_snr,
)
from loxo.evaluation.segments import LENGTHS_S, Frames, frame_truth, positive_frames, presence, segment_scores
from loxo.evaluation.spans import Bools, Detections, Ints, Regions, Truth, excluded_regions

IOUS = (0.3, 0.5)
MAX_CURVE_POINTS = 400  # stored points of each curve
MAX_WORST = 12  # listed misses, and listed false positives


@dataclass(frozen=True)
class Evaluation:
    """The result: `report` for JSON, tables and pages; `case` and `matchings` (by detector, then label) for figures."""

    report: dict[str, Any]
    case: Case
    matchings: list[dict[str, Matching]]  # by the main criterion


def evaluate(
    truth: str | Path | Sequence[str | Path],
    detections: str | Path | Sequence[str | Path],
    *,
    recordings: str | Path | None = None,
    hours: float | None = None,
    exhaustive: bool = False,
    threshold: float | None = None,
    iou: Sequence[float] = IOUS,
    label: str | None = None,
    label_column: str | None = None,
    labels: Mapping[str, str] | None = None,
    rename: Mapping[str, str] | None = None,
    searched: str | Path | Sequence[str | Path] = (),
    classes: Sequence[str] | None = None,
    ignore: Sequence[str] = IGNORE,
) -> Evaluation:
    """Evaluates detections (run folders, tables, folders of tables) against tables of true events.

    recordings: folder of the recordings, for their durations.
    hours: total duration, if the durations are unknown.
    exhaustive: recordings that the truth does not name contain no events.
    threshold: min score of a detection in all ratios and errors; by default all detections.
    iou: min intersections over union for one-to-one matching; the first is the main criterion.
    label: class of the events in tables without labels.
    label_column: column of the truth with the labels, if it has an unusual name.
    labels: labels in the tables and the class of each, as {"RUM": "rumble"}.
    rename: parts of file names in the truth and their names in the detections, as {"dzan": "dz"}.
    searched: tables of the spans that were searched for events; the time outside them is ignored. By default the
    recordings of the truth were searched completely.
    classes: classes to evaluate; by default those of the truth.
    ignore: labels of ignored regions.

    Raises LoxoError for tables that cannot be read or compared, and for invalid numbers.
    """
    if not detections:
        raise LoxoError("There is nothing to evaluate: give the run folder or the tables of at least one detector.")
    if hours is not None and not (math.isfinite(hours) and hours > 0):
        raise LoxoError(f"The total duration in hours must be more than 0, not {hours:g}.")
    truth, detections = as_paths(truth), as_paths(detections)
    criteria = criteria_of(iou)
    detectors = _with_unique_names([read_detections(path, label, labels) for path in detections])
    known = [name for one in detectors for name in (*one.events["recording"], *(one.analysed_s or ()), *one.empty)]
    events = read_truth(truth, label, label_column=label_column, labels=labels, searched=as_paths(searched))
    case = gather(
        rename_recordings(events, known, rename),
        detectors,
        recordings=recordings,
        hours=hours,
        exhaustive=exhaustive,
        classes=classes,
        ignore=ignore,
    )
    return evaluate_case(case, criteria, threshold, [str(path) for path in truth])


def criteria_of(ious: Sequence[float]) -> list[Criterion]:
    """The criteria of min intersections over union, and HIT10."""
    if not ious:
        raise LoxoError("No intersection over union was given: give at least one, such as 0.3.")
    return [*(iou_criterion(min_iou) for min_iou in dict.fromkeys(ious)), HIT10]


def _with_unique_names(detectors: list[Detector]) -> list[Detector]:
    """Detectors with unique names: two runs called `events.csv` become `events.csv` and `events.csv (2)`."""
    counts: dict[str, int] = {}
    named = []
    for detector in detectors:
        counts[detector.name] = counts.get(detector.name, 0) + 1
        suffix = f" ({counts[detector.name]})" if counts[detector.name] > 1 else ""
        named.append(Detector(**{**vars(detector), "name": detector.name + suffix}))
    return named


def evaluate_case(
    case: Case, criteria: Sequence[Criterion], threshold: float | None = None, truth: Sequence[str] = ()
) -> Evaluation:
    """All metrics of a case. `criteria[0]` is the main criterion; `truth` names the tables in the report."""
    reports, matchings = [], []
    for number, detector in enumerate(case.detectors):
        classes, main = {}, {}
        pooled: dict[str, list[Matching]] = {criterion.name: [] for criterion in criteria}
        for data in case.classes:
            detections = data.detections[number]
            matched = match_all(data.truth, detections, criteria)
            for matching in matched:
                pooled[matching.criterion.name].append(matching)
            main[data.label] = matched[0]
            classes[data.label] = _class_report(case, data, detections, matched, threshold)
            classes[data.label]["frames"] = _frame_report(case, data, detector)
        aps = [report["criteria"][criteria[0].name]["ap"] for report in classes.values()]
        aps = [ap for ap in aps if ap is not None]
        overall = {name: _matching_report(case, _pool(each), threshold) for name, each in pooled.items()}
        mean_ap = sum(aps) / len(aps) if aps else None
        reports.append({"name": detector.name, "classes": classes, "overall": overall, "mean_ap": mean_ap})
        matchings.append(main)
    return Evaluation(_report(case, criteria, threshold, truth, reports), case, matchings)


def _report(
    case: Case, criteria: Sequence[Criterion], threshold: float | None, truth: Sequence[str], reports: list[Any]
) -> dict[str, Any]:
    return {
        "rule": {
            "matching": "one-to-one within a recording and class, as many pairs as possible at every threshold",
            "criteria": {criterion.name: str(criterion) for criterion in criteria},
            "main": criteria[0].name,
            "threshold": threshold,
            "ignored": "detections that match only marginal events, or lie by "
            f"{100 * IGNORED_FRACTION:g} % or more in marginal events, ignored regions or clip-level labels",
            "false_positives": "all other detections without a match, fragments of a call among them",
            "intervals": "95 %, bootstrap by recording",
        },
        "truth": {
            "tables": list(truth),
            "recordings": len(case.recordings),
            "hours": case.hours,
            "classes": {
                data.label: {
                    "events": data.truth.events,
                    "marginal": int((~data.truth.counted).sum()),
                    "clip_level": int((data.truth.clip & data.truth.counted).sum()),
                    "ignored_regions": len(data.truth.ignored),
                }
                for data in case.classes
            },
        },
        "notes": case.notes,
        "detectors": reports,
    }


def _pool(matchings: list[Matching]) -> Matching:
    """The matchings of several classes as one matching."""
    names = ("score", "recording", "verdict", "loose", "found_at", "counted", "event_recording", "matched_by")
    joined = {name: np.concatenate([getattr(matching, name) for matching in matchings]) for name in names}
    empty = np.zeros(0, np.int64)
    return Matching(criterion=matchings[0].criterion, eligible_pairs=(empty, empty, np.zeros(0)), **joined)


def _matching_report(case: Case, matching: Matching, threshold: float | None) -> dict[str, Any]:
    """All metrics of one matching."""
    points = matching_curve(matching)
    listed = _above_threshold(matching, threshold)
    hits, false = int((listed.verdict == HIT).sum()), int((listed.verdict == FALSE_POSITIVE).sum())
    lengths = case.duration_s if np.isfinite(case.duration_s).all() else None
    if lengths is not None and case.hours:
        lengths = lengths * (case.hours / max(lengths.sum(), 1e-9))  # their sum must equal the reported hours
    intervals = bootstrap(matching, len(case.recordings), lengths, RATES)
    ratio_intervals = intervals if threshold is None else bootstrap(listed, len(case.recordings), None, ())
    rates = [] if not case.hours else [at_rate(points, rate, case.hours) for rate in RATES]
    for row, interval in zip(rates, intervals["recall_at"], strict=False):
        row["recall_95"] = interval
    return {
        **ratios(hits, false, matching.events),
        **{f"{name}_95": ratio_intervals[name] for name in ("precision", "recall", "f1")},
        "loose": int(listed.loose.sum()),
        "ignored": int((listed.verdict == IGNORED).sum()),
        "false_per_hour": false / case.hours if case.hours else None,
        "ap": average_precision(points),
        "ap_95": intervals["ap"],
        "draws": intervals["draws"],
        "best_f1": best_f1(points),
        "at": rates,
        "curve": _curve_report(points, case.hours),
    }


def _above_threshold(matching: Matching, threshold: float | None) -> Matching:
    """The matching without detections below the threshold. A hit remains a hit when others are removed."""
    if threshold is None:
        return matching
    keep = matching.score >= threshold
    empty = np.zeros(0, np.int64)
    columns = {name: getattr(matching, name)[keep] for name in ("score", "recording", "verdict", "loose")}
    found_at = np.where(matching.found_at >= threshold, matching.found_at, -np.inf)
    return Matching(
        **{**vars(matching), **columns, "found_at": found_at, "eligible_pairs": (empty, empty, np.zeros(0))}
    )


def _curve_report(points: Curve, hours: float | None) -> dict[str, Any]:
    """The curve with at most about MAX_CURVE_POINTS points."""
    keep = np.arange(len(points))
    if len(points) > MAX_CURVE_POINTS:  # at regular intervals of the plotted axes: recall and log false positives
        half = MAX_CURVE_POINTS // 2
        at_hits = np.searchsorted(points.hits, np.linspace(0, points.hits[-1], half))
        at_false = np.searchsorted(
            points.false_positives, np.geomspace(1, max(int(points.false_positives[-1]), 1), half)
        )
        keep = np.unique(np.clip(np.concatenate([[0, len(points) - 1], at_hits, at_false]), 0, len(points) - 1))
    return {
        "threshold": points.threshold[keep].tolist(),
        "recall": points.recall[keep].tolist(),
        "precision": points.precision[keep].tolist(),
        "false_per_hour": (points.false_positives[keep] / hours).tolist() if hours else None,
    }


def _class_report(
    case: Case, data: ClassData, detections: Detections, matched: list[Matching], threshold: float | None
) -> dict[str, Any]:
    """All metrics of one class."""
    main = matched[0]
    listed = detections if threshold is None else detections.above(threshold)
    known = np.isfinite(case.start_s)
    # A recording without a time in its name gets a separate site, so that its hours are not joined with others.
    place = {key: k for k, key in enumerate(dict.fromkeys(zip(case.site, known.tolist(), strict=True)))}
    site = [place[case.site[k], True] if known[k] else len(place) + k for k in range(len(case.recordings))]
    clock = np.where(known, case.start_s - (np.nanmin(case.start_s) // 3600 * 3600 if known.any() else 0.0), 0.0)
    segments = {f"{length:g}": segment_scores(data.truth, listed, length) for length in LENGTHS_S}
    hourly = presence(data.truth, listed, np.array(site, np.int64), clock)
    if threshold is not None:
        for length in LENGTHS_S:
            segments[f"{length:g}"]["ap"] = segment_scores(data.truth, detections, length)["ap"]
        hourly["ap"] = presence(data.truth, detections, np.array(site, np.int64), clock)["ap"]
    pairing = main if threshold is None else match(data.truth, listed, main.criterion)
    borders = border_errors(pairing, data.truth, listed)
    min_score = -np.inf if threshold is None else threshold
    return {
        "detections": len(listed),
        "criteria": {matching.criterion.name: _matching_report(case, matching, threshold) for matching in matched},
        "segments": segments,
        "hourly": hourly,
        "borders": borders,
        "snr": recall_by_snr(main, data.snr_db, min_score),
        "reliability": reliability(*scores_and_verdicts(main)).to_dict(),
        "by_site": _group_report(case, main, min_score, case.site, "site"),
        "by_recording": _group_report(case, main, min_score, case.recordings, "recording"),
        "worst_misses": _worst_misses(case, data, main, min_score),
        "worst_false": _worst_false_positives(case, detections, main),
    }


def _group_report(
    case: Case, matching: Matching, min_score: float, names: Sequence[str], key: str
) -> list[dict[str, Any]]:
    """Ratios, AP, hours and false positives per hour of each site or recording; `key` is "site" or "recording"."""
    order = {name: k for k, name in enumerate(dict.fromkeys(names))}
    group = np.array([order[name] for name in names], np.int64)

    def count(recording: Ints, keep: Bools) -> Ints:
        return np.bincount(group[recording[keep]], minlength=len(order))

    listed = matching.score >= min_score
    events = count(matching.event_recording, matching.counted)
    hits = count(matching.recording, listed & (matching.verdict == HIT))
    false = count(matching.recording, listed & (matching.verdict == FALSE_POSITIVE))
    loose = count(matching.recording, listed & matching.loose)
    evaluated = matching.evaluated
    correct = matching.verdict[evaluated] == HIT
    ap = average_precision_by(group[matching.recording[evaluated]], matching.score[evaluated], correct, events)
    hours = np.bincount(group, weights=case.duration_s / 3600, minlength=len(order))
    return [
        {
            key: name,
            **ratios(int(hits[k]), int(false[k]), int(events[k])),
            "loose": int(loose[k]),
            "ap": None if np.isnan(ap[k]) else float(ap[k]),
            "hours": None if np.isnan(hours[k]) else float(hours[k]),
            "false_per_hour": float(false[k] / hours[k]) if hours[k] > 0 else None,
        }
        for name, k in order.items()
    ]


def _worst_misses(case: Case, data: ClassData, matching: Matching, min_score: float) -> list[dict[str, Any]]:
    """The missed events with the highest signal-to-noise ratio; events without one follow, the longest first."""
    missed = np.flatnonzero(data.truth.counted & ~(matching.found_at >= max(min_score, -np.finfo(float).max)))
    length = data.truth.end - data.truth.start
    snr = np.where(np.isfinite(data.snr_db), data.snr_db, -np.inf)
    order = missed[np.lexsort((data.truth.start[missed], -length[missed], -snr[missed]))][:MAX_WORST]
    return [
        {
            **_span_report(case, data.truth.recording[k], data.truth.start[k], data.truth.end[k]),
            "snr_db": float(data.snr_db[k]) if np.isfinite(data.snr_db[k]) else None,
        }
        for k in order
    ]


def _worst_false_positives(case: Case, detections: Detections, matching: Matching) -> list[dict[str, Any]]:
    """The false positives with the highest scores."""
    false = np.flatnonzero(matching.verdict == FALSE_POSITIVE)
    order = false[np.lexsort((detections.start[false], detections.recording[false], -detections.score[false]))][
        :MAX_WORST
    ]
    return [
        {
            **_span_report(case, detections.recording[k], detections.start[k], detections.end[k]),
            "score": float(detections.score[k]),
            "touches_an_event": bool(matching.loose[k]),
        }
        for k in order
    ]


def _span_report(case: Case, recording: int, start: float, end: float) -> dict[str, Any]:
    return {"recording": case.recordings[recording], "start_s": float(start), "end_s": float(end)}


def _frame_report(case: Case, data: ClassData, detector: Detector) -> dict[str, Any] | None:
    """The AP of the stored frame scores of a run; None if there are none for this class."""
    if detector.run is None or detector.analysed_s is None:
        return None
    from loxo.evaluation.names import Index
    from loxo.runs.scores import find_scores

    numbers = Index(case.recordings).find(detector.analysed_s)
    files = {number: name for name, number in numbers.items() if number >= 0}
    truth, regions = data.truth, excluded_regions(data.truth)
    spans = _spans_by_recording(truth, truth.counted & ~truth.clip)
    excluded = _spans_by_recording(regions, np.ones(len(regions), bool))
    frames, without = Frames(), 0
    for number, name in files.items():
        stored = find_scores(detector.run, name)
        if stored is None or data.label not in stored.labels:
            without += 1
            continue
        scores = stored.scores[stored.labels.index(data.label)]
        positive = positive_frames(spans.get(number, ()), len(scores), stored.hop_s)
        ignored = frame_truth(excluded.get(number, ()), len(scores), stored.hop_s) > 0
        frames.add(scores, positive, positive | ~ignored)
    result = frames.result()
    return {**result, "recordings_without_scores": without} if result["frames"] else None


def _spans_by_recording(spans: Truth | Regions, keep: Bools) -> dict[int, list[tuple[float, float]]]:
    """For each recording the (start, end) of the selected spans."""
    result: dict[int, list[tuple[float, float]]] = {}
    for k in np.flatnonzero(keep):
        result.setdefault(int(spans.recording[k]), []).append((float(spans.start[k]), float(spans.end[k])))
    return result
