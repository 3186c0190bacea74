"""Calibration of scores, reliability, and operating curves for the choice of thresholds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loxo.errors import LoxoError
from loxo.evaluation.calibration import calibrated_scores, fit_calibration, operating_curve, reliability


def drawn(seed, n, power):
    """Raw scores, and verdicts that are correct with a probability of score ** power."""
    rng = np.random.default_rng(seed)
    scores = rng.random(n)
    return scores, rng.random(n) < scores**power


@pytest.mark.parametrize("power", [0.5, 1.0, 3.0])
def test_calibrated_scores_equal_the_precision_on_other_data(power):
    calibration = fit_calibration(*drawn(1, 6000, power))
    scores, correct = drawn(2, 50_000, power)
    assert reliability(calibrated_scores(scores, calibration), correct).error < 0.02
    if power != 1.0:
        assert reliability(scores, correct).error > 0.15
    near = np.abs(calibrated_scores(scores, calibration) - 0.8) < 0.03
    assert correct[near].mean() == pytest.approx(0.8, abs=0.04)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.03, 0.2, 0.5, 0.50001, 0.7, 0.999, 1.0]), st.booleans()), max_size=60),
    st.sampled_from(["auto", "isotonic", "platt"]),
)
def test_a_calibration_rises_strictly_from_0_to_1_for_any_data(rows, method):
    scores, correct = np.array([row[0] for row in rows], float), np.array([row[1] for row in rows], bool)
    calibration = fit_calibration(scores, correct, method)
    raw, probability = np.array(calibration.raw), np.array(calibration.probability)
    assert raw[0] == 0 and raw[-1] == 1 and len(raw) <= 30
    assert (np.diff(raw) > 0).all() and (np.diff(probability) > 0).all()
    assert probability[0] > 0 and probability[-1] < 1


def test_a_few_events_do_not_give_extreme_probabilities():
    # Five correct detections and no false ones do not give a probability of 1.
    calibration = fit_calibration(np.full(5, 0.9), np.ones(5, bool))
    assert 0.6 < calibrated_scores(np.array([0.9]), calibration)[0] < 0.97
    calibration = fit_calibration(np.array([0.2, 0.9]), np.array([False, True]))
    low, high = calibrated_scores(np.array([0.2, 0.9]), calibration)
    assert 0.05 < low < 0.5 < high < 0.95


def test_an_isotonic_block_counts_one_more_correct_and_one_more_wrong_detection():
    """20 wrong detections at 0.2, 18 correct ones at 0.9: (0 + 1) / (20 + 2) and (18 + 1) / (18 + 2), not 0 and 1."""
    scores, correct = np.repeat([0.2, 0.9], [20, 18]), np.repeat([False, True], [20, 18])
    low, high = calibrated_scores(np.array([0.2, 0.9]), fit_calibration(scores, correct, "isotonic"))
    assert low == pytest.approx(1 / 22, abs=1e-4) and high == pytest.approx(19 / 20, abs=1e-4)


def test_uninformative_scores_become_the_overall_precision():
    rng = np.random.default_rng(0)
    scores, correct = rng.random(2000), rng.random(2000) < 0.3
    for method in ("isotonic", "platt"):
        values = calibrated_scores(np.linspace(0.1, 0.9, 9), fit_calibration(scores, correct, method))
        assert np.abs(values - 0.3).max() < 0.12
    backwards = fit_calibration(scores, rng.random(2000) < 1 - scores, "platt")
    assert calibrated_scores(np.array([0.5]), backwards)[0] == pytest.approx(0.5, abs=0.05)


def test_reliability_of_an_example():
    # Two bins: scores .2, .2 with one correct (|.5 - .2| = .3) and .6, .8 with both correct (|1 - .7| = .3)
    result = reliability(np.array([0.8, 0.2, 0.6, 0.2]), np.array([True, True, True, False]), bins=2)
    np.testing.assert_allclose(result.score, [0.2, 0.7])
    assert result.precision.tolist() == [0.5, 1.0] and result.error == pytest.approx(0.3)
    assert reliability(np.zeros(0), np.zeros(0, bool)).error is None
    assert reliability(np.full(7, 0.5), np.ones(7, bool)).to_dict()["bins"] == [
        {"score": 0.5, "share_right": 1.0, "detections": 7}
    ]


def test_invalid_inputs_of_a_calibration_are_refused():
    with pytest.raises(LoxoError, match="between 0 and 1"):
        fit_calibration(np.array([1.5]), np.array([True]))
    with pytest.raises(LoxoError, match="Unknown calibration method"):
        fit_calibration(np.array([0.5]), np.array([True]), "magic")
    with pytest.raises(LoxoError, match="verdicts"):
        fit_calibration(np.array([0.5]), np.array([True, False]))


def test_the_points_of_an_operating_curve_lie_on_the_complete_curve():
    scores, correct = drawn(0, 20_000, 2)
    events, hours = int(correct.sum()) + 500, 100.0
    got = operating_curve(scores, correct, events, hours, "made up")
    assert got.data == "made up" and 20 <= len(got.threshold) <= 62
    threshold, rate, recall = (np.array(values) for values in (got.threshold, got.fp_per_hour, got.recall))
    assert (np.diff(threshold) < 0).all() and (np.diff(rate) >= 0).all() and (np.diff(recall) >= 0).all()
    for k in (0, len(threshold) // 2, len(threshold) - 1):
        above = scores >= threshold[k] - 1e-6
        assert rate[k] == pytest.approx((above & ~correct).sum() / hours, abs=0.02)
        assert recall[k] == pytest.approx((above & correct).sum() / events, abs=1e-3)
    with pytest.raises(LoxoError, match="hours"):
        operating_curve(scores, correct, events, 0.0, "nothing")
