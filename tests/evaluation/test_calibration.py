"""Scores that mean something, and curves to choose thresholds by."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loxo.errors import LoxoError
from loxo.evaluation.calibration import calibrated_scores, fit_calibration, operating_curve, reliability


def drawn(seed, n, power):
    """Raw scores, and verdicts that are right with probability score ** power."""
    rng = np.random.default_rng(seed)
    scores = rng.random(n)
    return scores, rng.random(n) < scores**power


@pytest.mark.parametrize("power", [0.5, 1.0, 3.0])
def test_calibrated_scores_are_right_as_often_as_they_say_on_other_data(power):
    calibration = fit_calibration(*drawn(1, 6000, power))
    scores, right = drawn(2, 50_000, power)
    assert reliability(calibrated_scores(scores, calibration), right).error < 0.02
    if power != 1.0:
        assert reliability(scores, right).error > 0.15
    near = np.abs(calibrated_scores(scores, calibration) - 0.8) < 0.03
    assert right[near].mean() == pytest.approx(0.8, abs=0.04)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.03, 0.2, 0.5, 0.50001, 0.7, 0.999, 1.0]), st.booleans()), max_size=60),
    st.sampled_from(["auto", "isotonic", "platt"]),
)
def test_any_data_give_a_rising_curve_from_0_to_1(rows, method):
    scores, right = np.array([row[0] for row in rows], float), np.array([row[1] for row in rows], bool)
    calibration = fit_calibration(scores, right, method)
    raw, probability = np.array(calibration.raw), np.array(calibration.probability)
    assert raw[0] == 0 and raw[-1] == 1 and len(raw) <= 30
    assert (np.diff(raw) > 0).all() and (np.diff(probability) > 0).all()
    assert probability[0] > 0 and probability[-1] < 1


def test_a_few_events_do_not_make_certainty():
    # Five right ones and nothing else: not 1, and the smaller the score the smaller the probability
    calibration = fit_calibration(np.full(5, 0.9), np.ones(5, bool))
    assert 0.6 < calibrated_scores(np.array([0.9]), calibration)[0] < 0.97
    calibration = fit_calibration(np.array([0.2, 0.9]), np.array([False, True]))
    low, high = calibrated_scores(np.array([0.2, 0.9]), calibration)
    assert 0.05 < low < 0.5 < high < 0.95


def test_scores_that_say_nothing_become_the_share_that_is_right():
    rng = np.random.default_rng(0)
    scores, right = rng.random(2000), rng.random(2000) < 0.3
    for method in ("isotonic", "platt"):
        values = calibrated_scores(np.linspace(0.1, 0.9, 9), fit_calibration(scores, right, method))
        assert np.abs(values - 0.3).max() < 0.12
    backwards = fit_calibration(scores, rng.random(2000) < 1 - scores, "platt")
    assert calibrated_scores(np.array([0.5]), backwards)[0] == pytest.approx(0.5, abs=0.05)


def test_reliability_by_hand():
    # Two bins: scores .2, .2 with one right (|.5 - .2| = .3) and .6, .8 with both right (|1 - .7| = .3)
    result = reliability(np.array([0.8, 0.2, 0.6, 0.2]), np.array([True, True, True, False]), bins=2)
    np.testing.assert_allclose(result.score, [0.2, 0.7])
    assert result.share.tolist() == [0.5, 1.0] and result.error == pytest.approx(0.3)
    assert reliability(np.zeros(0), np.zeros(0, bool)).error is None
    assert reliability(np.full(7, 0.5), np.ones(7, bool)).to_dict()["bins"] == [
        {"score": 0.5, "share_right": 1.0, "detections": 7}
    ]


def test_what_cannot_be_calibrated_is_said():
    with pytest.raises(LoxoError, match="between 0 and 1"):
        fit_calibration(np.array([1.5]), np.array([True]))
    with pytest.raises(LoxoError, match="Unknown way"):
        fit_calibration(np.array([0.5]), np.array([True]), "magic")
    with pytest.raises(LoxoError, match="verdicts"):
        fit_calibration(np.array([0.5]), np.array([True, False]))


def test_operating_curve_keeps_points_of_the_true_curve():
    scores, right = drawn(0, 20_000, 2)
    events, hours = int(right.sum()) + 500, 100.0
    got = operating_curve(scores, right, events, hours, "made up")
    assert got.data == "made up" and 20 <= len(got.threshold) <= 62
    threshold, rate, recall = (np.array(values) for values in (got.threshold, got.fp_per_hour, got.recall))
    assert (np.diff(threshold) < 0).all() and (np.diff(rate) >= 0).all() and (np.diff(recall) >= 0).all()
    for k in (0, len(threshold) // 2, len(threshold) - 1):
        above = scores >= threshold[k] - 1e-6
        assert rate[k] == pytest.approx((above & ~right).sum() / hours, abs=0.02)
        assert recall[k] == pytest.approx((above & right).sum() / events, abs=1e-3)
    with pytest.raises(LoxoError, match="hours"):
        operating_curve(scores, right, events, 0.0, "nothing")
