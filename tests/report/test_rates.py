"""Counts, rates and their intervals, worked by hand or held against textbook values."""

import numpy as np
import pytest
from report_runs import event, recording, write_run

from loxo.report.effort import hourly_effort
from loxo.report.rates import ALL_SITES, days_interval, diel, hourly_events, poisson_interval, rates
from loxo.runs.read import read_run


def test_poisson_limits_are_garwoods():
    """Garwood 1936, as in every table: 0 gives 0 to 3.689, 10 gives 4.795 to 18.390."""
    assert poisson_interval(np.zeros(0)) == pytest.approx((0.0, 3.6889), abs=1e-3)
    assert poisson_interval(np.ones(10)) == pytest.approx((4.7954, 18.3904), abs=1e-3)


def test_limits_of_probabilities_enclose_their_sum_and_are_wider_for_uncertain_events():
    """20 events of which half are right say less than 10 that are: never less wide than for ten certain ones is wrong,
    since the 20 were all seen; the limits hold the sum and shrink against the Poisson of 20 halves."""
    low, high = poisson_interval(np.full(20, 0.5))
    assert low < 10 < high
    assert low > poisson_interval(np.ones(10))[0] and high < 10 + 2 * (18.39 - 10)


def test_both_intervals_cover_the_true_rate():
    """Of 400 simulated surveys at a known rate about 95 % of the intervals hold it."""
    rng = np.random.default_rng(1)
    held = {"poisson": 0, "days": 0}
    for _ in range(400):
        counts = rng.poisson(4.0, 30).astype(float)
        low, high = poisson_interval(np.ones(int(counts.sum())))
        held["poisson"] += low <= 120 <= high
        low, high = days_interval(counts, np.full(30, 24.0))
        held["days"] += low <= 4 / 24 <= high
    assert 370 <= held["poisson"] <= 395 and 360 <= held["days"] <= 392


def test_days_interval_widens_for_bouts():
    even, bouts = np.full(20, 5.0), np.zeros(20)
    bouts[[3, 11]] = 50.0
    hours = np.full(20, 24.0)
    assert days_interval(even, hours) == pytest.approx((5 / 24, 5 / 24))
    low, high = days_interval(bouts, hours)
    assert low == 0 and high > 10 / 24


@pytest.fixture
def run(tmp_path):
    """Site a: 8 days of 12 h, 2 rumbles each; site b: 1 day of 24 h, 3 rumbles, 1 shot."""
    names = [f"a_202001{day:02d}_060000.wav" for day in range(1, 9)]
    rows = [recording(name, 12) for name in names] + [recording("b_20200101_000000.wav", 24)]
    events = [event(name, start) for name in names for start in (100, 5000)]
    events += [event("b_20200101_000000.wav", start, score=0.7) for start in (0, 3599.9, 7200)]
    events += [event("b_20200101_000000.wav", 40000, "gunshot", 0.8)]
    return read_run(write_run(tmp_path / "run", rows, events))


def test_rates_are_computed_by_site_and_for_all_sites(run):
    probabilities = np.ones(len(run.events))
    table = rates(run.events, probabilities, run.labels, run.recordings, hourly_effort(run.recordings))
    rows = table.set_index(["label", "site"])
    a = rows.loc[("rumble", "a")]
    assert (a["events"], a["analysed_h"], a["per_day"], a["interval"]) == (16, 96.0, 4.0, "days")
    assert a["per_day_low"] == pytest.approx(4) and a["per_day_high"] == pytest.approx(4)  # every day the same
    b = rows.loc[("rumble", "b")]
    assert (b["events"], b["per_day"], b["interval"]) == (3, 3.0, "poisson")
    assert (b["per_day_low"], b["per_day_high"]) == pytest.approx((0.6187, 8.7673), abs=1e-3)  # Garwood for 3
    every = rows.loc[("rumble", ALL_SITES)]
    assert (every["events"], every["analysed_h"], every["per_day"]) == (19, 120.0, pytest.approx(24 * 19 / 120))
    assert rows.loc[("gunshot", "a"), "per_day"] == 0 and rows.loc[("gunshot", "a"), "per_day_high"] > 0


def test_expected_counts_are_sums_of_probabilities(run):
    probabilities = np.where(run.events["site"] == "b", 0.5, 1.0)
    table = rates(run.events, probabilities, run.labels, run.recordings, hourly_effort(run.recordings))
    b = table.set_index(["label", "site"]).loc[("rumble", "b")]
    assert (b["events"], b["expected"], b["per_day"]) == (3, 1.5, 1.5)


def test_a_site_without_sound_has_no_rate(tmp_path):
    run = read_run(write_run(tmp_path / "run", [recording("a_20200101_000000.wav", analysed=0, reason="empty")], []))
    table = rates(run.events, np.ones(0), run.labels, run.recordings, hourly_effort(run.recordings))
    assert table["per_day"].isna().all() and (table["interval"] == "").all()


def test_events_count_in_the_hour_in_which_they_start(run):
    cells = hourly_events(run.events, np.full(len(run.events), 0.5), hourly_effort(run.recordings), run.labels)
    b = cells[cells["site"] == "b"]
    assert b["rumble"].tolist()[:4] == [2, 0, 1, 0] and b["rumble expected"].sum() == 1.5
    assert b["gunshot"].to_numpy().nonzero()[0].tolist() == [11]  # 40,000 s
    rate, _, _ = diel(cells, "rumble")
    assert rate[6] == pytest.approx(8 / 9)  # 8 events in hour 6 of nine days with sound
    assert rate[7] == pytest.approx(8 / 9) and rate[0] == 2
