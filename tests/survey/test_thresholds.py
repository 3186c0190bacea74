"""Thresholds from a model's operating curves."""

import dataclasses

import pytest
from fakes import FakeConfig

from loxo.engine.config import OperatingCurve
from loxo.errors import LoxoError
from loxo.survey.thresholds import by_false_positives, by_review, false_positives_in

RUMBLE = OperatingCurve(
    threshold=(0.9, 0.7, 0.5, 0.2), fp_per_hour=(0.1, 1.0, 5.0, 40.0), recall=(0.3, 0.6, 0.8, 0.9), data="Ten hours."
)
SHOT = OperatingCurve(threshold=(0.8, 0.4), fp_per_hour=(2.0, 3.0), recall=(0.1, 0.2), data="Two sites.")
BOTH = FakeConfig(curves={"rumble": RUMBLE, "gunshot": SHOT})
ONE = FakeConfig(curves={"rumble": RUMBLE})


@pytest.mark.parametrize(("limit", "expected"), [(0.1, 0.9), (0.99, 0.9), (1, 0.7), (6, 0.5), (1000, 0.2)])
def test_the_lowest_threshold_within_the_limit_is_chosen(limit, expected):
    choice = by_false_positives(ONE, limit)
    assert choice.thresholds == {"rumble": expected}
    assert "Measured on: Ten hours." in choice.sentences[0] and f"threshold {expected:g}" in choice.sentences[0]
    assert "gunshot" in choice.sentences[1]


def test_each_class_has_its_own_threshold():
    assert by_false_positives(BOTH, 2.5).thresholds == {"rumble": 0.7, "gunshot": 0.8}


def test_a_review_budget_is_divided_among_the_classes_and_the_hours():
    assert by_review(BOTH, 1000, 100.0).thresholds == {"rumble": 0.5, "gunshot": 0.4}  # 5 an hour of each
    assert by_review(BOTH, 400, 100.0).thresholds == {"rumble": 0.7, "gunshot": 0.8}  # 2 an hour of each, not 4
    assert by_review(ONE, 1000, 100.0).thresholds == {"rumble": 0.5}  # 10 an hour
    assert by_review(ONE, 1000, 1000.0).thresholds == {"rumble": 0.7}


def test_a_review_budget_is_shared_equally_between_the_classes():
    """10 events an hour for two classes are 5 an hour for each; a class alone has all 10."""
    curve = OperatingCurve(threshold=(0.8, 0.6, 0.4, 0.2), fp_per_hour=(2, 5, 10, 20), recall=(0.1,) * 4, data="Both.")
    two, one = FakeConfig(curves={"rumble": curve, "gunshot": curve}), FakeConfig(curves={"rumble": curve})
    assert by_review(two, 1000, 100.0).thresholds == {"rumble": 0.6, "gunshot": 0.6}
    assert by_review(one, 1000, 100.0).thresholds == {"rumble": 0.4}


def test_a_budget_says_how_far_off_it_may_be():
    assert "may be several times off" in by_review(ONE, 1000, 100.0).sentences[-1]
    measured = dataclasses.replace(RUMBLE, hours=10.0, fp_sd=(0.1, 0.4, 1.0, 3.0))
    choice = by_review(FakeConfig(curves={"rumble": measured}), 500, 100.0)
    low, high = false_positives_in(measured, 2, 100.0)
    assert low < 500 < high and f"about 500 false positives in these 100 hours, {low:.0f} to" in choice.sentences[-1]
    longer = dataclasses.replace(measured, hours=1000.0, fp_sd=(0.01, 0.04, 0.1, 0.3))
    assert false_positives_in(longer, 2, 100.0)[0] > low  # more hours give a narrower interval


def test_thresholds_below_a_peak_of_the_curve_are_not_chosen():
    odd = OperatingCurve(threshold=(0.9, 0.5, 0.3), fp_per_hour=(0.5, 3.0, 0.9), recall=(0.1, 0.2, 0.3), data="Odd.")
    assert by_false_positives(FakeConfig(curves={"rumble": odd}), 1).thresholds == {"rumble": 0.9}


def test_impossible_limits_are_refused_with_the_reason():
    with pytest.raises(LoxoError, match="no operating curves"):
        by_false_positives(FakeConfig(), 1)
    with pytest.raises(LoxoError, match="below the lowest measured rate"):
        by_false_positives(BOTH, 1)
    with pytest.raises(LoxoError, match="more than 0"):
        by_false_positives(ONE, 0)
    for budget, hours in ((0, 1), (10, 0)):
        with pytest.raises(LoxoError, match="review budget"):
            by_review(ONE, budget, hours)
