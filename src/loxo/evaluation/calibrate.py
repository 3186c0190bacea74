"""What a model's scores are worth on annotated recordings: calibration and operating curves, written into its file.

The model searches the recordings, its uncalibrated events are matched with the true ones, and for each class three
things are fitted: the share of right events at each score, which becomes the event's score; the recall and the false
positives an hour at each threshold, from which `loxo detect --max-fp-per-hour` chooses; and the threshold itself.
Weights and borders of events stay as they are. Recordings that the model was trained on make it look better than it is.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from loxo.audio.finding import find_recordings
from loxo.engine.config import Calibration, Decoding, OperatingCurve
from loxo.engine.model_file import read_model_file, write_copy
from loxo.errors import LoxoError
from loxo.evaluation.annotations import label_option, list_labels
from loxo.evaluation.calibration import (
    calibrated_scores,
    fit_calibration,
    lowest_threshold,
    operating_curve,
    reliability,
    rescored,
    round_down,
    scores_and_verdicts,
    shown_threshold,
)
from loxo.evaluation.inputs import as_paths, gather, read_detections, read_truth, rename_recordings
from loxo.evaluation.matching import IOU30, Criterion, match
from loxo.evaluation.names import Index
from loxo.survey.progress import SurveyProgress
from loxo.survey.survey import survey

if TYPE_CHECKING:
    import pandas as pd


MIN_EVENTS = 20  # a threshold that is based on fewer true events is weak
SCORE_ROUNDING = 5e-7  # the scores in a run's table have six decimals


@dataclass(frozen=True)
class ClassFit:
    """What came out for one class."""

    events: int  # true ones
    detections: int  # of any score, that count
    fp_per_hour: float  # at the threshold
    recall: float
    threshold: float  # of the calibrated score
    error: float | None  # expected calibration error on these very recordings
    precision: float | None  # at the threshold; None if nothing is listed
    weak: bool  # the threshold is based on fewer than MIN_EVENTS true events

    def sentences(self, label: str) -> list[str]:
        """The result in words, for readers who know no metrics."""
        right = "none was listed" if self.precision is None else f"about {100 * self.precision:.0f} % of them are right"
        sentences = [
            f"{label}: {self.events} true events. Keep events that score {shown_threshold(self.threshold):g} and more: "
            f"{right}. This finds {100 * self.recall:.0f} % of the true events, with {self.fp_per_hour:.1f} false "
            "positives per hour."
        ]
        return [*sentences, weak_sentence(self.events)] if self.weak else sentences


def weak_sentence(events: int) -> str:
    return f"This threshold is weak: only {events} true events support it, and {MIN_EVENTS} are needed."


def calibrate(
    model: str | Path,
    truth: str | Path | Sequence[str | Path],
    recordings: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    max_fp_per_hour: float | None = None,
    data: str | None = None,
    label: str | None = None,
    label_column: str | None = None,
    labels: Mapping[str, str] | None = None,
    rename: Mapping[str, str] | None = None,
    searched: str | Path | Sequence[str | Path] = (),
    criterion: Criterion = IOU30,
    workers: int = 1,
    on_progress: Callable[[SurveyProgress], None] | None = None,
) -> dict[str, ClassFit]:
    """Writes the model of `model` with a calibration for `truth` and `recordings` into the file `out`.

    max_fp_per_hour: the default threshold of each class becomes the lowest that lists at most so many false events an
    hour; without it the thresholds list the same events as before. data: one sentence on the recordings, for those who
    use the curves; made from the numbers if not given. label, label_column, labels, rename, searched: as in `evaluate`.

    A class without true events keeps its calibration, curve and threshold, and is not in the result. Raises LoxoError
    when nothing can be matched, when no class has true events, or when files cannot be read or written.
    """
    source = read_model_file(model)
    before = source.config
    truth, recordings = as_paths(truth), as_paths(recordings)
    events = read_truth(truth, label, label_column=label_column, labels=labels, searched=as_paths(searched))
    if rename:
        events = rename_recordings(events, map(str, find_recordings(recordings)[0]), rename)
    _check_classes(events, before.classes)
    _check_names(events, recordings)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.safetensors"
        write_copy(source, raw, replace(before, calibration={}, curves={}), source.provenance)
        run = Path(folder) / "run"
        summary = survey(recordings, raw, run, threshold=0.0, workers=workers, on_progress=on_progress)
        case = gather(events, [read_detections(run)], classes=before.classes)
    if case.hours is None:
        raise LoxoError(f"{summary.folder}: how many hours were searched is not known; nothing can be calibrated.")
    fits: dict[str, ClassFit] = {}
    decoding: dict[str, Decoding] = dict(before.decoding)
    calibration: dict[str, Calibration] = dict(before.calibration)
    curves: dict[str, OperatingCurve] = dict(before.curves)
    for one in case.classes:
        if not one.truth.events:
            continue
        matching = match(one.truth, one.detections[0], criterion)
        scores, right = scores_and_verdicts(matching)
        calibration[one.label] = fit_calibration(scores, right)
        said = data or f"{case.hours:.1f} h in {len(case.recordings)} recordings with {one.truth.events} {one.label}s"
        # A score may have been rounded up: the threshold must not exceed the score that detection computes.
        worth = calibrated_scores(np.maximum(scores - SCORE_ROUNDING, 0), calibration[one.label])
        curve = operating_curve(
            worth,
            right,
            one.truth.events,
            case.hours,
            f"{said}; {criterion}",
            recording=matching.recording[matching.evaluated],
            lengths=case.duration_s,
        )
        curves[one.label] = curve
        if max_fp_per_hour is not None:
            threshold = lowest_threshold(curve, max_fp_per_hour)
        else:
            known = before.calibration.get(one.label)
            listed = np.array([decoding.get(one.label, Decoding()).threshold])
            threshold = round_down(float(rescored(listed, known, calibration[one.label])[0]))
        decoding[one.label] = replace(decoding.get(one.label, Decoding()), threshold=threshold)
        above = worth >= threshold
        fits[one.label] = ClassFit(
            events=one.truth.events,
            detections=len(worth),
            fp_per_hour=float((above & ~right).sum() / case.hours),
            recall=float((above & right).sum() / one.truth.events),
            threshold=threshold,
            error=reliability(worth, right).error,
            precision=float((above & right).sum() / above.sum()) if above.any() else None,
            weak=one.truth.events < MIN_EVENTS,
        )
    if not fits:
        raise LoxoError(
            "No true event lies in the part of the recordings that was searched; nothing can be calibrated."
        )
    fitted = source.provenance.get("calibration", {}) | {label: vars(fit) for label, fit in fits.items()}
    provenance: dict[str, Any] = {**source.provenance, "calibration": fitted}
    config = replace(before, decoding=decoding, calibration=calibration, curves=curves)
    write_copy(source, out, config, provenance)
    return fits


def _check_classes(events: pd.DataFrame, classes: Sequence[str]) -> None:
    """Whether the tables have an event of any class, asked before hours of search."""
    known, found = {label.casefold() for label in classes}, Counter(events["label"])
    if not any(label.strip().casefold() in known for label in found):
        raise LoxoError(
            f"The tables contain no {' and no '.join(classes)}. Their labels are "
            f"{list_labels(found, classes) or '(none)'}. Give the class of each label with --labels, as "
            f"{label_option(found, classes)}."
        )


def _check_names(events: pd.DataFrame, recordings: Sequence[str | Path]) -> None:
    """Whether tables and recordings can be brought together, asked before hours of search."""
    index = Index([*events["recording"], *events.attrs.get("without_events", ())])
    of = index.find(str(path) for path in find_recordings(recordings)[0])
    if len(index) and max(of.values(), default=-1) < 0:
        raise LoxoError(
            f"None of the tables' recordings is among those given: the tables speak of {index.names[0]!r}, the first "
            f"recording is {min(of, default='not there')!r}."
        )
