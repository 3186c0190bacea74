"""P(correct | score), its thresholds and its estimate, on decisions whose truth is known; and kappa by hand."""

import math

import numpy as np
import pytest

from loxo.detection.logit import logit
from loxo.report.estimate import MIN_DECISIONS, count, fit
from loxo.review.agreement import agreements
from loxo.review.decisions import Decision
from loxo.review.recall import wilson


def world(rng, events=3000, a=-1.0, b=1.5):
    """Scores, and which events are right: P = sigmoid(a + b logit(score))."""
    scores = rng.beta(0.7, 0.9, events)
    p = 1 / (1 + np.exp(-(a + b * logit(scores))))
    return scores, rng.random(events) < p


def true_events(scores, decided, right):
    """The number of true events among all of them."""
    curve = fit(scores[decided], right[decided], scores)
    groups = np.where(decided | curve.counted(scores), 0, -1)
    return count(curve.truths(scores, np.full(len(scores), "a"), decided, right, groups, 1)[:, 0])


def test_the_interval_of_the_estimate_contains_the_true_count(monkeypatch):
    monkeypatch.setattr("loxo.report.estimate.DRAWS", 200)
    inside, widths = 0, []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        scores, right = world(rng)
        reviewed = rng.permutation(len(scores)) < 150
        found = true_events(scores, reviewed, right)
        assert found.low <= found.mean <= found.high
        inside += found.low <= right.sum() <= found.high
        widths.append((found.high - found.low) / len(scores))
    assert inside >= 26  # 28.5 of 30 are expected
    assert np.mean(widths) < 0.15


def test_more_decisions_make_the_interval_narrower_and_the_curve_right():
    rng = np.random.default_rng(1)
    scores, right = world(rng, 20000)
    few, many = fit(scores[:60], right[:60]), fit(scores[:8000], right[:8000])
    widths = [np.subtract(*curve.band(np.array([0.5]))[::-1]).item() for curve in (few, many)]
    assert widths[1] < 0.3 * widths[0]
    truth = 1 / (1 + np.exp(-(-1 + 1.5 * logit(np.array([0.2, 0.5, 0.8])))))
    assert many.probability(np.array([0.2, 0.5, 0.8])) == pytest.approx(truth, abs=0.03)


def test_thresholds_have_the_requested_precision():
    rng = np.random.default_rng(2)
    scores, right = world(rng, 30000)
    curve = fit(scores[:3000], right[:3000])
    for precision in (0.85, 0.9, 0.95):
        threshold = curve.threshold_for(precision, scores)
        assert right[scores >= threshold].mean() == pytest.approx(precision, abs=0.02)
        at = curve.score_for(precision)
        near = np.abs(scores - at) < 0.01
        assert right[near].mean() == pytest.approx(precision, abs=0.07)
        assert threshold < at


def test_equal_decisions_give_finite_curves_and_too_few_decisions_give_none():
    scores = np.linspace(0.1, 0.99, 60)
    sure, hopeless = fit(scores, np.ones(60, bool)), fit(scores, np.zeros(60, bool))
    assert sure.probability(np.array([0.9]))[0] > 0.97 and len(scores) == 60
    assert hopeless.probability(np.array([0.9]))[0] < 0.1 and hopeless.threshold_for(0.85, scores) is None
    assert fit(scores[: MIN_DECISIONS - 1], np.ones(MIN_DECISIONS - 1, bool)) is None
    with_unknown = fit(np.r_[scores, np.nan], np.r_[np.ones(60, bool), False])
    assert with_unknown.decided == 60


def test_the_same_decisions_give_the_same_numbers():
    scores, right = world(np.random.default_rng(3))
    decided = np.arange(len(scores)) < 100
    assert true_events(scores, decided, right) == true_events(scores, decided, right)


def test_scores_that_were_not_reviewed_are_not_counted():
    scores = np.r_[np.linspace(0.9, 0.99, 40), np.linspace(0.05, 0.6, 500)]
    right, decided = scores > 0.9, scores > 0.89
    curve = fit(scores[decided], right[decided], scores)
    assert (curve.low, curve.high) == (0.9, 1.0) and curve.counted(scores).sum() == 40
    assert true_events(scores, decided, right).high == right.sum()
    some = decided | (np.arange(len(scores)) % 10 == 0)
    assert fit(scores[some], right[some], scores).counted(scores).all()


def test_a_site_without_decisions_has_a_wider_interval_the_more_the_other_sites_differ():
    rng = np.random.default_rng(5)
    scores, sites = rng.uniform(0.1, 0.9, 900), np.repeat(["a", "b", "c"], 300)
    decided = (sites != "c") & (rng.random(900) < 0.4)

    def width(chance):
        right = rng.random(900) < chance
        groups = np.where(sites == "c", 0, -1)
        found = count(
            fit(scores[decided], right[decided], scores).truths(scores, sites, decided, right, groups, 1)[:, 0]
        )
        return found.high - found.low

    assert width(np.where(sites == "a", 0.9, 0.1)) > 1.25 * width(np.full(900, 0.5))


def test_wilson_intervals_agree_with_a_calculation_by_hand():
    # z = 1.96: 8 of 10 gives 0.490 to 0.943 (Wilson 1927)
    assert wilson(8, 10) == pytest.approx((0.490, 0.943), abs=0.001)
    assert wilson(0, 5)[0] == 0 and wilson(5, 5)[1] == 1


def decisions(words):
    return {f"e{k}": Decision(verdict=word) for k, word in enumerate(words.split()) if word != "-"}


def test_kappa_agrees_with_a_calculation_by_hand():
    # Cohen's own kind of table: yes/yes 20, yes/no 5, no/yes 10, no/no 15. Agreed 35 of 50 = 0.7;
    # by chance 0.5 * 0.6 + 0.5 * 0.4 = 0.5; kappa = (0.7 - 0.5) / (1 - 0.5) = 0.4.
    ana = "yes " * 25 + "no " * 25 + "yes -"
    ben = "yes " * 20 + "no " * 5 + "yes " * 10 + "no " * 15 + "- yes"
    (pair,) = agreements({"Ana": decisions(ana), "Ben": decisions(ben)})
    assert (pair.reviewers, pair.events, pair.agreed) == (("Ana", "Ben"), 50, 35)
    assert pair.kappa == pytest.approx(0.4)
    assert pair.low == pytest.approx(0.4 - 1.96 * math.sqrt(0.7 * 0.3 / 50) / 0.5)
    assert agreements({"Ana": decisions("yes"), "Ben": decisions("-")}) == []
    assert math.isnan(agreements({"Ana": decisions("yes"), "Ben": decisions("yes")})[0].kappa)
