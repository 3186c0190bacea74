"""One or more detectors against the truth: all figures of a comparison, as numbers that JSON can hold.

    evaluate(...)  ->  Evaluation(report, case, matchings)
    report = {"rule": {...}, "truth": {...}, "notes": [...], "detectors": [{"name", "classes": {label: ...},
    "overall"}]}

For each class: events and what is ignored; for each criterion the ratios of the list as it stands (or from
`threshold` on), average precision, recall at false positives an hour, a curve, and 95 % intervals by recording; and
by the main criterion (the first of `iou`) sites, recordings, border errors, signal-to-noise, reliability, worst
misses and false alarms. `overall` pools the classes at equal scores; its `mean_ap` does not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loxo.errors import LoxoError
from loxo.evaluation.calibration import judged_scores, reliability
from loxo.evaluation.inputs import IGNORE, Case, Detector, OneClass, gather, read_detections, read_truth
from loxo.evaluation.intervals import bootstrap
from loxo.evaluation.matching import (
    FALSE,
    HIT,
    HIT10,
    IGNORED,
    IGNORED_SHARE,
    Criterion,
    Matching,
    iou,
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
from loxo.evaluation.spans import Bools, Found, Ints, Regions, Truth, where_nothing_counts

IOUS = (0.3, 0.5)
CURVE_POINTS = 400  # kept of each curve
WORST = 12  # misses and false alarms named


@dataclass(frozen=True)
class Evaluation:
    """`report` for people and machines; `case` and `matchings` (by detector, then label) for pictures."""

    report: dict[str, Any]
    case: Case
    matchings: list[dict[str, Matching]]  # by the main criterion


def evaluate(
    truth: Sequence[str | Path],
    detections: Sequence[str | Path],
    *,
    recordings: str | Path | None = None,
    hours: float | None = None,
    exhaustive: bool = False,
    threshold: float | None = None,
    iou: Sequence[float] = IOUS,
    label: str | None = None,
    classes: Sequence[str] | None = None,
    ignore: Sequence[str] = IGNORE,
) -> Evaluation:
    """Scores detections (run folders, tables, folders of tables) against tables of true events.

    recordings: folder in which recordings lie, for their lengths; hours: searched in all, where lengths are not known;
    exhaustive: recordings that the truth does not name hold no events; threshold: what is called a detection in all
    ratios and errors, by default everything listed; iou: for one-to-one matching, the first is the main criterion;
    label: for events of tables that name no class; classes: to evaluate, by default the truth's; ignore: labels of
    regions in which nothing counts.
    Raises LoxoError for tables that cannot be read or compared, and for bad numbers.
    """
    if not detections:
        raise LoxoError("There is nothing to evaluate: give the run folder or the tables of at least one detector.")
    if hours is not None and not (math.isfinite(hours) and hours > 0):
        raise LoxoError(f"The hours searched must be more than 0, not {hours:g}.")
    criteria = _criteria(iou)
    detectors = _named([read_detections(path, label) for path in detections])
    case = gather(
        read_truth(truth, label),
        detectors,
        recordings=recordings,
        hours=hours,
        exhaustive=exhaustive,
        classes=classes,
        ignore=ignore,
    )
    return judge(case, criteria, threshold, [str(path) for path in truth])


def _criteria(shares: Sequence[float]) -> list[Criterion]:
    if not shares:
        raise LoxoError("Give at least one intersection over union, such as 0.3.")
    return [*(iou(share) for share in dict.fromkeys(shares)), HIT10]


def _named(detectors: list[Detector]) -> list[Detector]:
    """With names of their own: two runs called `events.csv` become `events.csv` and `events.csv (2)`."""
    seen: dict[str, int] = {}
    named = []
    for detector in detectors:
        seen[detector.name] = seen.get(detector.name, 0) + 1
        again = f" ({seen[detector.name]})" if seen[detector.name] > 1 else ""
        named.append(Detector(**{**vars(detector), "name": detector.name + again}))
    return named


def judge(
    case: Case, criteria: Sequence[Criterion], threshold: float | None = None, truth: Sequence[str] = ()
) -> Evaluation:
    """All figures of a case. `criteria[0]` is the main one; `truth` names the tables in the report."""
    reports, matchings = [], []
    for number, detector in enumerate(case.detectors):
        parts, main = {}, {}
        whole: dict[str, list[Matching]] = {criterion.name: [] for criterion in criteria}
        for one in case.classes:
            found = one.found[number]
            matched = match_all(one.truth, found, criteria)
            for matching in matched:
                whole[matching.criterion.name].append(matching)
            main[one.label] = matched[0]
            parts[one.label] = _one_class(case, one, found, matched, threshold)
            parts[one.label]["frames"] = _frames(case, one, detector)
        aps = [part["criteria"][criteria[0].name]["ap"] for part in parts.values()]
        aps = [ap for ap in aps if ap is not None]
        overall = {name: _events(case, _pooled(some), threshold) for name, some in whole.items()}
        mean_ap = sum(aps) / len(aps) if aps else None
        reports.append({"name": detector.name, "classes": parts, "overall": overall, "mean_ap": mean_ap})
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
            f"{100 * IGNORED_SHARE:g} % or more in marginal events, ignored regions or clip-level labels",
            "false_positives": "all other detections without a match, fragments of a call among them",
            "intervals": "95 %, bootstrap by recording",
        },
        "truth": {
            "tables": list(truth),
            "recordings": len(case.recordings),
            "hours": case.hours,
            "classes": {
                one.label: {
                    "events": one.truth.events,
                    "marginal": int((~one.truth.counted).sum()),
                    "clip_level": int((one.truth.clip & one.truth.counted).sum()),
                    "ignored_regions": len(one.truth.ignored),
                }
                for one in case.classes
            },
        },
        "notes": case.notes,
        "detectors": reports,
    }


def _pooled(matchings: list[Matching]) -> Matching:
    """The matchings of several classes as one."""
    names = ("score", "recording", "verdict", "loose", "found_at", "counted", "event_recording", "held_by")
    joined = {name: np.concatenate([getattr(matching, name) for matching in matchings]) for name in names}
    empty = np.zeros(0, np.int64)
    return Matching(criterion=matchings[0].criterion, edges=(empty, empty, np.zeros(0)), **joined)


def _events(case: Case, matching: Matching, threshold: float | None) -> dict[str, Any]:
    """All figures of one matching."""
    points = matching_curve(matching)
    listed = _listed(matching, threshold)
    hits, false = int((listed.verdict == HIT).sum()), int((listed.verdict == FALSE).sum())
    lengths = case.duration_s if np.isfinite(case.duration_s).all() else None
    if lengths is not None and case.hours:
        lengths = lengths * (case.hours / max(lengths.sum(), 1e-9))  # they sum up to the hours that are quoted
    drawn = bootstrap(matching, len(case.recordings), lengths, RATES)
    ratio = drawn if threshold is None else bootstrap(listed, len(case.recordings), None, ())
    rates = [] if not case.hours else [at_rate(points, rate, case.hours) for rate in RATES]
    for row, interval in zip(rates, drawn["recall_at"], strict=False):
        row["recall_95"] = interval
    return {
        **ratios(hits, false, matching.events),
        **{f"{name}_95": ratio[name] for name in ("precision", "recall", "f1")},
        "loose": int(listed.loose.sum()),
        "ignored": int((listed.verdict == IGNORED).sum()),
        "false_per_hour": false / case.hours if case.hours else None,
        "ap": average_precision(points),
        "ap_95": drawn["ap"],
        "draws": drawn["draws"],
        "best_f1": best_f1(points),
        "at": rates,
        "curve": _thin(points, case.hours),
    }


def _listed(matching: Matching, threshold: float | None) -> Matching:
    """What is called a detection. Hits stay hits whatever lies below the threshold."""
    if threshold is None:
        return matching
    keep = matching.score >= threshold
    empty = np.zeros(0, np.int64)
    cut = {name: getattr(matching, name)[keep] for name in ("score", "recording", "verdict", "loose")}
    found_at = np.where(matching.found_at >= threshold, matching.found_at, -np.inf)
    return Matching(**{**vars(matching), **cut, "found_at": found_at, "edges": (empty, empty, np.zeros(0))})


def _thin(points: Curve, hours: float | None) -> dict[str, Any]:
    keep = np.arange(len(points))
    if len(points) > CURVE_POINTS:  # evenly in what is drawn: recall, and the logarithm of false positives
        half = CURVE_POINTS // 2
        at_hits = np.searchsorted(points.hits, np.linspace(0, points.hits[-1], half))
        at_false = np.searchsorted(points.false, np.geomspace(1, max(int(points.false[-1]), 1), half))
        keep = np.unique(np.clip(np.concatenate([[0, len(points) - 1], at_hits, at_false]), 0, len(points) - 1))
    return {
        "threshold": points.threshold[keep].tolist(),
        "recall": points.recall[keep].tolist(),
        "precision": points.precision[keep].tolist(),
        "false_per_hour": (points.false[keep] / hours).tolist() if hours else None,
    }


def _one_class(
    case: Case, one: OneClass, found: Found, matched: list[Matching], threshold: float | None
) -> dict[str, Any]:
    main = matched[0]
    listed = found if threshold is None else found.above(threshold)
    known = np.isfinite(case.start_s)
    # A recording whose name tells no time is an hour's clock of its own.
    place = {key: k for k, key in enumerate(dict.fromkeys(zip(case.site, known.tolist(), strict=True)))}
    site = [place[case.site[k], True] if known[k] else len(place) + k for k in range(len(case.recordings))]
    clock = np.where(known, case.start_s - (np.nanmin(case.start_s) // 3600 * 3600 if known.any() else 0.0), 0.0)
    segments = {f"{length:g}": segment_scores(one.truth, listed, length) for length in LENGTHS_S}
    hourly = presence(one.truth, listed, np.array(site, np.int64), clock)
    if threshold is not None:
        for length in LENGTHS_S:
            segments[f"{length:g}"]["ap"] = segment_scores(one.truth, found, length)["ap"]
        hourly["ap"] = presence(one.truth, found, np.array(site, np.int64), clock)["ap"]
    borders = border_errors(main if threshold is None else match(one.truth, listed, main.criterion), one.truth, listed)
    cut = -np.inf if threshold is None else threshold
    return {
        "detections": len(listed),
        "criteria": {matching.criterion.name: _events(case, matching, threshold) for matching in matched},
        "segments": segments,
        "hourly": hourly,
        "borders": borders,
        "snr": recall_by_snr(main, one.snr_db, cut),
        "reliability": reliability(*judged_scores(main)).to_dict(),
        "by_site": _by(case, main, cut, case.site, "site"),
        "by_recording": _by(case, main, cut, case.recordings, "recording"),
        "worst_misses": _misses(case, one, main, cut),
        "worst_false": _false(case, found, main),
    }


def _by(case: Case, matching: Matching, cut: float, names: Sequence[str], what: str) -> list[dict[str, Any]]:
    """Ratios, AP, hours and false positives an hour of each site or recording."""
    order = {name: k for k, name in enumerate(dict.fromkeys(names))}
    group = np.array([order[name] for name in names], np.int64)

    def count(recording: Ints, keep: Bools) -> Ints:
        return np.bincount(group[recording[keep]], minlength=len(order))

    listed = matching.score >= cut
    events = count(matching.event_recording, matching.counted)
    hits = count(matching.recording, listed & (matching.verdict == HIT))
    false = count(matching.recording, listed & (matching.verdict == FALSE))
    loose = count(matching.recording, listed & matching.loose)
    judged = matching.judged
    right = matching.verdict[judged] == HIT
    ap = average_precision_by(group[matching.recording[judged]], matching.score[judged], right, events)
    hours = np.bincount(group, weights=case.duration_s / 3600, minlength=len(order))
    return [
        {
            what: name,
            **ratios(int(hits[k]), int(false[k]), int(events[k])),
            "loose": int(loose[k]),
            "ap": None if np.isnan(ap[k]) else float(ap[k]),
            "hours": None if np.isnan(hours[k]) else float(hours[k]),
            "false_per_hour": float(false[k] / hours[k]) if hours[k] > 0 else None,
        }
        for name, k in order.items()
    ]


def _misses(case: Case, one: OneClass, matching: Matching, cut: float) -> list[dict[str, Any]]:
    """The missed events that should have been easiest: of the highest signal-to-noise ratio, else the longest."""
    missed = np.flatnonzero(one.truth.counted & ~(matching.found_at >= max(cut, -np.finfo(float).max)))
    length = one.truth.end - one.truth.start
    snr = np.where(np.isfinite(one.snr_db), one.snr_db, -np.inf)
    order = missed[np.lexsort((one.truth.start[missed], -length[missed], -snr[missed]))][:WORST]
    return [
        {
            **_place(case, one.truth.recording[k], one.truth.start[k], one.truth.end[k]),
            "snr_db": float(one.snr_db[k]) if np.isfinite(one.snr_db[k]) else None,
        }
        for k in order
    ]


def _false(case: Case, found: Found, matching: Matching) -> list[dict[str, Any]]:
    """The false positives of the highest scores."""
    false = np.flatnonzero(matching.verdict == FALSE)
    order = false[np.lexsort((found.start[false], found.recording[false], -found.score[false]))][:WORST]
    return [
        {
            **_place(case, found.recording[k], found.start[k], found.end[k]),
            "score": float(found.score[k]),
            "touches_an_event": bool(matching.loose[k]),
        }
        for k in order
    ]


def _place(case: Case, recording: int, start: float, end: float) -> dict[str, Any]:
    return {"recording": case.recordings[recording], "start_s": float(start), "end_s": float(end)}


def _frames(case: Case, one: OneClass, detector: Detector) -> dict[str, Any] | None:
    """AP over the frames of a run's kept scores; None where there are none of this class."""
    if detector.run is None or detector.searched is None:
        return None
    from loxo.evaluation.names import Index
    from loxo.runs.scores import find_scores

    of = Index(case.recordings).find(detector.searched)
    files = {number: name for name, number in of.items() if number >= 0}
    truth, out = one.truth, where_nothing_counts(one.truth)
    spans, aside = _spans(truth, truth.counted & ~truth.clip), _spans(out, np.ones(len(out), bool))
    frames, without = Frames(), 0
    for number, name in files.items():
        kept = find_scores(detector.run, name)
        if kept is None or one.label not in kept.labels:
            without += 1
            continue
        scores = kept.scores[kept.labels.index(one.label)]
        positive = positive_frames(spans.get(number, ()), len(scores), kept.hop_s)
        ignored = frame_truth(aside.get(number, ()), len(scores), kept.hop_s) > 0
        frames.add(scores, positive, positive | ~ignored)
    result = frames.result()
    return {**result, "recordings_without_scores": without} if result["frames"] else None


def _spans(spans: Truth | Regions, keep: Bools) -> dict[int, list[tuple[float, float]]]:
    """Start and end of those to keep, by recording."""
    result: dict[int, list[tuple[float, float]]] = {}
    for k in np.flatnonzero(keep):
        result.setdefault(int(spans.recording[k]), []).append((float(spans.start[k]), float(spans.end[k])))
    return result
