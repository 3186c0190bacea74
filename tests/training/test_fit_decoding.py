"""The choice of a decoding, on windows for which the result can be calculated by hand."""

import dataclasses

import numpy as np
import pytest

from loxo.engine.architectures import HTSATConfig
from loxo.engine.config import Decoding
from loxo.evaluation.spans import Regions, Truth
from loxo.training import fit_decoding
from loxo.training.fit_decoding import fit_class

CONFIG = HTSATConfig.preset("default")
STEP_S = CONFIG.step_samples / CONFIG.sample_rate
PLAIN = Decoding(threshold=0.4, smooth_s=0.0, edge_ratio=0.5, valley_ratio=0.0)


def windows_with_dips(count: int) -> np.ndarray:
    """Each window contains one event of nine steps with low scores in its middle: two events without smoothing."""
    scores = np.full((count, 1, CONFIG.steps), 0.02)
    scores[:, 0, 20:29] = [0.9, 0.9, 0.9, 0.9, 0.2, 0.9, 0.9, 0.9, 0.9]
    return scores


def truth(windows: int) -> Truth:
    none = np.zeros(windows, bool)
    start = np.full(windows, 20 * STEP_S)
    nowhere = Regions(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
    return Truth(np.arange(windows), start, start + 9 * STEP_S, ~none, none, nowhere)


def test_a_decoding_with_a_clearly_higher_ap_is_used() -> None:
    fit = fit_class(windows_with_dips(20), truth(20), PLAIN, CONFIG)
    assert fit.decoding.smooth_s > 0  # joins the two parts of each event
    assert fit.figures["event_ap"] == 1.0  # without smoothing, every second detection is a false positive


def test_a_small_gain_does_not_change_the_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """If CLEAR_GAIN is above the gain of smoothing, the decoding of the preset stays."""
    scores = windows_with_dips(20)
    gained = fit_class(scores, truth(20), PLAIN, CONFIG).figures["event_ap"]
    monkeypatch.setattr(fit_decoding, "CLEAR_GAIN", 1.0)
    kept = fit_class(scores, truth(20), PLAIN, CONFIG)
    assert dataclasses.replace(kept.decoding, threshold=PLAIN.threshold) == PLAIN
    assert kept.figures["event_ap"] < gained


def test_the_threshold_separates_true_from_false_positives() -> None:
    """Twenty true positives with score 0.9, ten false positives with 0.6: the threshold lies between the two."""
    scores = np.full((20, 1, CONFIG.steps), 0.02)
    scores[:, 0, 20:29] = 0.9
    scores[:10, 0, 45:50] = 0.6
    fit = fit_class(scores, truth(20), PLAIN, CONFIG)
    assert fit.figures["detections"] == 20
    assert fit.figures["f1"] == 1.0
