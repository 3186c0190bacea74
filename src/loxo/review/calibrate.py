"""Fits the scores and thresholds of a model to the decisions of a review (`loxo calibrate --review`).

For each class with at least MIN_DECISIONS decisions, P(correct | score) is fitted as in the results of the review
(`estimate.py`). Its values become the scores. Any part of the events may be decided: a sample, one class, one week. The
fit is valid for events like those. All other classes keep their scores and thresholds.

The threshold has the highest expected F1 among the listed events, or at most `max_fp_per_hour` false positives. The
operating curve has estimated false positives per hour with their standard deviations, for `--max-fp-per-hour` and
`--review-budget`. Its recall is that among the listed and drawn events: calls that were neither are unknown.

`decode_reviewed` lists the events of the run anew with the fitted scores and thresholds, in another run folder. The
decisions are copied there. Decisions on events that are no longer listed stay in the decision log.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loxo.audio.storage import is_url
from loxo.engine.config import Calibration, Decoding, OperatingCurve
from loxo.engine.model_file import find_model, read_model_file, write_copy
from loxo.errors import LoxoError
from loxo.evaluation.calibrate import MIN_EVENTS, SCORE_ROUNDING, weak_sentence
from loxo.evaluation.calibration import (
    calibrated_scores,
    lowest_threshold,
    rate_sd,
    rescored,
    round_down,
    shown_threshold,
    strictly_rising,
)
from loxo.files import inside, sha256_of, write_atomically
from loxo.report import sentences
from loxo.report.estimate import MIN_DECISIONS, Fit, count, fit
from loxo.review.decision_log import FOLDER, decision_logs, read_decision_logs
from loxo.review.decisions import Decisions
from loxo.review.merge import Final, by_reviewer, finals
from loxo.review.session import open_run
from loxo.runs.config import RunConfig, read_run_config
from loxo.runs.read import Run
from loxo.survey.redecode import redecode

if TYPE_CHECKING:
    from loxo.survey.survey import SurveySummary

Floats = NDArray[np.float64]
MAX_POINTS = 40  # of a calibration and of an operating curve
SHOWN_PRECISION = 0.95  # of a threshold that is shown beside the fitted one
EXAMPLE_SCORE = 0.8  # whose change is shown


@dataclass(frozen=True)
class Listed:
    """The events of a class at a threshold: their number, and the fraction that is right with its 95 % interval."""

    threshold: float
    events: int
    right: float
    low: float
    high: float


@dataclass(frozen=True)
class ReviewFit:
    """The result for one class. Thresholds in `before` are of the old scores, those in `after` of the new ones."""

    label: str
    decided: int
    right: int
    before: Listed
    after: Listed
    strict: Listed | None  # the lowest threshold where SHOWN_PRECISION of the listed events are right
    example: float  # the new score of an event with the score EXAMPLE_SCORE
    decoding: Decoding
    calibration: Calibration
    curve: OperatingCurve

    @property
    def weak(self) -> bool:
        return self.right < MIN_EVENTS

    def sentences(self) -> list[str]:
        said = [
            f"{self.label}: {self.decided} decisions, {self.right} of them right. A score of {EXAMPLE_SCORE:g} is now "
            f"{self.example:.2f}. The threshold was {shown_threshold(self.before.threshold):g} and is now "
            f"{shown_threshold(self.after.threshold):g}.",
            f"{sentences.counted(self.before.events, '')} listed before: about {100 * self.before.right:.0f} % of "
            f"them right. {_keep(self.after)}",
        ]
        if self.strict is not None and self.strict.right > self.after.right + 0.01:
            said.append(_keep(self.strict))
        if self.weak:
            said.append(weak_sentence(self.right))
        return said


def _keep(listed: Listed) -> str:
    """What a threshold lists, for readers who know no metrics."""
    if not listed.events:
        return "The run lists no event above it."
    limits = f" ({100 * listed.low:.0f} to {100 * listed.high:.0f} %)"
    words = sentences.keep_events(shown_threshold(listed.threshold), listed.right, limits)
    return f"{words} These are {sentences.counted(listed.events, '')}."


@dataclass(frozen=True)
class ReviewFits:
    """The results of all classes."""

    fits: dict[str, ReviewFit]
    kept: dict[str, int]  # classes that keep their scores and thresholds, with their decisions
    warnings: list[str]  # decision logs that could not be read

    def sentences(self) -> list[str]:
        kept = [
            f"{label}: {decided} decisions, {MIN_DECISIONS - decided} too few. Its scores and threshold are kept."
            for label, decided in self.kept.items()
        ]
        return [sentence for one in self.fits.values() for sentence in one.sentences()] + kept

    def applied(self, config: Any) -> Any:
        """The config of a model or a run with the fitted scores, thresholds and curves."""
        return dataclasses.replace(
            config,
            decoding={**config.decoding, **{label: one.decoding for label, one in self.fits.items()}},
            calibration={**config.calibration, **{label: one.calibration for label, one in self.fits.items()}},
            curves={**config.curves, **{label: one.curve for label, one in self.fits.items()}},
        )


def fit_review(folder: str | Path, max_fp_per_hour: float | None = None) -> ReviewFits:
    """Fits all classes to the decisions of all reviewers of a run.

    Raises LoxoError when the folder is not a run, or no class has enough decisions.
    """
    config, _ = read_run_config(folder)
    run, names = open_run(folder)
    logs = [found for _, found in read_decision_logs(decision_logs(run.folder)).values()]
    answers = finals(by_reviewer(found for found in logs if isinstance(found, Decisions)))
    fits: dict[str, ReviewFit] = {}
    kept: dict[str, int] = {}
    for label in config.classes:
        found = _fit_class(run, names, answers, label, config, max_fp_per_hour)
        if isinstance(found, ReviewFit):
            fits[label] = found
        else:
            kept[label] = found
    if not fits:
        counts = ", ".join(f"{decided} of {label}" for label, decided in kept.items())
        raise LoxoError(
            f"{folder}: too few events were decided ({counts}). At least {MIN_DECISIONS} of a class are needed: decide "
            f"more with `loxo review {folder} --sample {10 * MIN_DECISIONS}`."
        )
    return ReviewFits(fits, kept, [found for found in logs if isinstance(found, str)])


def _fit_class(
    run: Run,
    names: list[str],
    answers: Mapping[str, Final],
    label: str,
    config: RunConfig,
    max_fp_per_hour: float | None,
) -> ReviewFit | int:
    """The fit of one class, or the number of its decisions if they are too few."""
    rows = np.flatnonzero((run.events["label"] == label).to_numpy() & np.isfinite(run.events["score"].to_numpy()))
    scores = run.events["score"].to_numpy(float)[rows]
    verdicts = [answers[names[row]].verdict if names[row] in answers else None for row in rows]
    right = np.array([verdict == "yes" for verdict in verdicts], bool)
    decided = right | np.array([verdict in ("no", "other") for verdict in verdicts], bool)
    curve = fit(scores[decided], right[decided])
    if curve is None:
        return int(decided.sum())
    order = {name: number for number, name in enumerate(run.recordings["recording"])}
    recording = np.array([order[name] for name in run.events["recording"].iloc[rows]], np.int64)
    drawn = sum(bool(one.recording and one.is_event and one.label == label) for one in answers.values())
    return fit_scores(
        label,
        scores,
        np.where(decided, right, np.nan),
        recording,
        run.recordings["analysed_s"].to_numpy(float),
        curve,
        sites=run.events["site"].fillna("").to_numpy(str)[rows],
        drawn=drawn,
        before=config.calibration.get(label),
        decoding=config.decoding.get(label, Decoding()),
        max_fp_per_hour=max_fp_per_hour,
    )


def fit_scores(
    label: str,
    scores: Floats,
    right: Floats,
    recording: NDArray[np.int64],
    seconds: Floats,
    curve: Fit,
    *,
    sites: NDArray[Any] | None = None,
    drawn: int = 0,
    before: Calibration | None = None,
    decoding: Decoding,
    max_fp_per_hour: float | None = None,
) -> ReviewFit:
    """The fit of one class, from the scores of its events and whether they are right, both (events,).

    right: 1, 0, or NaN for undecided events. recording: (events,), numbers of recordings. seconds: (recordings,), their
    analysed time. curve: the fit of the decided events. sites: (events,), their names; by default one site. drawn:
    number of events that only reviewers found. before: calibration of the scores.
    """
    falling = np.argsort(-scores, kind="stable")
    scores, right, recording = scores[falling], right[falling], recording[falling]
    sites = np.zeros(len(scores), int) if sites is None else sites[falling]
    calibration = _calibration(curve, before)
    known = np.isfinite(right)
    worth = np.where(known, right, curve.probability(scores))
    hits = np.cumsum(worth)
    last = np.flatnonzero(np.diff(scores, append=-np.inf))  # of each distinct score
    operating = _operating_curve(
        scores, right, worth, recording, seconds, curve, sites, last, drawn, before, calibration
    )
    if max_fp_per_hour is None:
        f1 = hits[last] / (last + 1 + hits[-1] + drawn)
        best = last[int(f1.argmax())]
        following = scores[best + 1] if best + 1 < len(scores) else scores[best] - 2 * SCORE_ROUNDING
        middle = np.array([max(scores[best] / 2 + following / 2, 0.0)])
        threshold = round_down(float(rescored(middle, before, calibration)[0]))
    else:
        threshold = lowest_threshold(operating, max_fp_per_hour)
    now = rescored(scores, before, calibration)
    precise = curve.threshold_for(SHOWN_PRECISION, scores)
    strict = None if precise is None else _below(rescored(np.array([precise]), before, calibration)[0])

    places = [(decoding.threshold, scores), (threshold, now), *([(strict, now)] if strict is not None else [])]
    events = np.array([(scale >= value).sum() for value, scale in places], np.int64)
    sums = _true_events(curve, scores, right, sites, events)
    earlier, after, *more = (
        Listed(value, int(number), *_shares(sums[:, k], int(number)))
        for k, ((value, _), number) in enumerate(zip(places, events, strict=True))
    )
    return ReviewFit(
        label=label,
        decided=int(known.sum()),
        right=int(np.nansum(right)),
        before=earlier,
        after=after,
        strict=more[0] if more and more[0].threshold > threshold else None,
        example=float(rescored(np.array([EXAMPLE_SCORE]), before, calibration)[0]),
        decoding=dataclasses.replace(decoding, threshold=threshold),
        calibration=calibration,
        curve=operating,
    )


def _shares(sums: NDArray[Any], events: int) -> tuple[float, float, float]:
    """The fraction of right events, and its 95 % interval."""
    found = count(sums)
    return found.mean / max(events, 1), found.low / max(events, 1), found.high / max(events, 1)


def _calibration(curve: Fit, before: Calibration | None) -> Calibration:
    """The calibration of raw scores whose result is P(correct | score), where the score is that of `before`."""
    scores = calibrated_scores(np.linspace(0, 1, 501), before) if before else np.linspace(0, 1, 501)
    spread = np.interp(np.linspace(scores[0], scores[-1], MAX_POINTS), scores, np.linspace(0, 1, 501))
    raw = np.unique(np.concatenate([spread, before.raw if before else (0.0, 1.0)]))
    return strictly_rising(raw, curve.probability(calibrated_scores(raw, before) if before else raw))


def _true_events(
    curve: Fit, scores: Floats, right: Floats, sites: NDArray[Any], numbers: NDArray[np.int64]
) -> NDArray[Any]:
    """(DRAWS, numbers): the number of right events among the first `numbers` of events, whose scores fall, in each
    possible truth (estimate.py)."""
    ends = np.unique(numbers)
    group = np.searchsorted(ends, np.arange(len(scores)), side="right")  # the first of the sorted numbers with it
    sums = curve.truths(scores, sites, np.isfinite(right), right == 1, group, len(ends) + 1)
    return np.asarray(sums.cumsum(axis=1)[:, np.searchsorted(ends, numbers)])


def _below(score: float) -> float:
    """A threshold that keeps an event with this score of a table, which has six decimals."""
    return round_down(max(float(score) - 2 * SCORE_ROUNDING, 0.0))


def _operating_curve(
    scores: Floats,
    right: Floats,
    worth: Floats,
    recording: NDArray[np.int64],
    seconds: Floats,
    curve: Fit,
    sites: NDArray[Any],
    last: NDArray[np.intp],
    drawn: int,
    before: Calibration | None,
    calibration: Calibration,
) -> OperatingCurve:
    """Estimated false positives per hour at falling thresholds. The events are sorted by falling scores."""
    places = last[np.unique(np.linspace(0, len(last) - 1, min(len(last), MAX_POINTS)).astype(int))]
    hours = float(seconds.sum()) / 3600
    false = np.array([np.bincount(recording[: k + 1], 1 - worth[: k + 1], len(seconds)) for k in places])
    variance = _true_events(curve, scores, right, sites, places + 1).var(axis=0)
    hits = np.cumsum(worth)
    thresholds = [_below(score) for score in rescored(scores[places], before, calibration)]
    return OperatingCurve(
        threshold=tuple(thresholds),
        fp_per_hour=tuple(float(value) for value in false.sum(axis=1) / hours),
        recall=tuple(float(min(value, 1.0)) for value in hits[places] / max(hits[-1] + drawn, 1e-9)),
        data=f"{int(np.isfinite(right).sum())} decisions of a review, on {hours:.1f} h in {len(seconds)} recordings; "
        "the recall is that of listed and drawn events",
        fp_sd=tuple(float(value) for value in rate_sd(false, seconds, hours, variance)),
        hours=hours,
    )


def calibrate_review(
    folder: str | Path,
    out: str | Path | None = None,
    *,
    model: str | Path = "default",
    max_fp_per_hour: float | None = None,
) -> ReviewFits:
    """Fits the scores and thresholds of a run's model to the decisions of its review, and writes the model to `out`.

    model: the model of the run. Without `out` nothing is written. Raises LoxoError as `fit_review` does, and if `model`
    is not the model of the run.
    """
    found = fit_review(folder, max_fp_per_hour)
    if out is None:
        return found
    config, parameters = read_run_config(folder)
    path = find_model(model)
    if sha256_of(path) != parameters.get("model_sha256"):
        raise LoxoError(
            f"{model}: this is not the model of the run {folder}, which was {parameters.get('model')!r}. Give that "
            "model with --model."
        )
    source = read_model_file(path)
    fitted = {
        label: {
            "decisions": one.decided,
            "events": one.right,
            "threshold_before": one.before.threshold,
            "threshold": one.after.threshold,
            "precision": one.after.right,
            "weak": one.weak,
            "data": one.curve.data,
        }
        for label, one in found.fits.items()
    }
    provenance = {**source.provenance, "calibration": source.provenance.get("calibration", {}) | fitted}
    own = dataclasses.replace(source.config, decoding={**source.config.decoding, **config.decoding})
    write_copy(source, out, found.applied(own), provenance)
    return found


def decode_reviewed(
    run: str | Path, out: str | Path, *, fits: ReviewFits | None = None, **options: Any
) -> SurveySummary:
    """Lists the events of a reviewed run anew, with scores and thresholds fitted to its decisions, into the run folder
    `out`. The decisions are copied there. The same call resumes.

    fits: the result of `fit_review`, which is computed if not given. options: those of `redecode`.

    Raises LoxoError as `fit_review` and `redecode` do, and if `out` is not a folder on this computer.
    """
    if is_url(out):
        raise LoxoError(f"{out}: the decisions cannot be copied there. Give a folder on this computer with --out.")
    config, _ = read_run_config(run)
    summary = redecode(run, out, config=(fits or fit_review(run)).applied(config), **options)
    for log in decision_logs(Path(run)):
        copy = inside(Path(out), f"{FOLDER}/{log.name}")
        if not copy.exists():
            write_atomically(copy, log.read_bytes())
    return summary
