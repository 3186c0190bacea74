"""Counts, rates and their intervals."""

import sys
from pathlib import Path

import numpy as np
import pytest
from report_runs import event, recording, review_run, write_run

from loxo.report.effort import hourly_effort
from loxo.report.rates import ALL_SITES, diel, hourly_events, rate_interval, rates
from loxo.report.reviewed import read_review
from loxo.runs.read import read_run


def test_the_interval_of_a_rate_covers_the_true_rate_where_days_differ():
    rng, held = np.random.default_rng(1), []
    for _ in range(300):
        counts = rng.poisson(5.0 * rng.gamma(1.5, 1 / 1.5, 12))
        rate, low, high = rate_interval(np.tile(counts, (500, 1)), np.full(12, 24.0))
        held.append(low <= 5 / 24 <= high)
        assert rate == pytest.approx(counts.sum() / 288) and low < rate < high
    assert 0.91 <= np.mean(held) <= 0.985


def test_the_interval_of_a_rate_widens_for_bouts():
    even, bouts = np.full((500, 20), 5), np.zeros((500, 20), int)
    bouts[:, [3, 11]] = 50
    limits = [rate_interval(counts, np.full(20, 24.0))[1:] for counts in (even, bouts)]
    assert limits[0] == pytest.approx((4.2 / 24, 5.9 / 24), rel=0.1)
    assert limits[1][0] < 3 / 24 and limits[1][1] > 9 / 24


def test_intervals_of_reviewed_counts_contain_the_truth(monkeypatch):
    """The benchmark with few surveys: of 40 intervals 38 are expected to contain the truth."""
    monkeypatch.setattr("loxo.report.estimate.DRAWS", 400)
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    monkeypatch.delitem(sys.modules, "counts", raising=False)
    import counts

    for label, held in counts.coverage(range(40), 60).items():
        found = {target: sum(inside for inside, _ in values) / len(values) for target, values in held.items()}
        assert min(found["count"], found["rate"]) >= 35 / 40 and found["site"] >= 0.88, label


@pytest.fixture
def run(tmp_path):
    """Site a: 8 days of 12 h, 2 rumbles each; site b: 1 day of 24 h, 3 rumbles, 1 shot."""
    names = [f"a_202001{day:02d}_060000.wav" for day in range(1, 9)]
    rows = [recording(name, 12) for name in names] + [recording("b_20200101_000000.wav", 24)]
    events = [event(name, start) for name in names for start in (100, 5000)]
    events += [event("b_20200101_000000.wav", start, score=0.7) for start in (0, 3599.9, 7200)]
    events += [event("b_20200101_000000.wav", 40000, "gunshot", 0.8)]
    return read_run(write_run(tmp_path / "run", rows, events))


def reviewed_rates(run):
    return rates(run.events, read_review(run), run.labels, run.recordings).set_index(["label", "site"])


def test_listed_events_are_counted_by_site_and_for_all_sites(run):
    rows = reviewed_rates(run)
    a, every = rows.loc[("rumble", "a")], rows.loc[("rumble", ALL_SITES)]
    assert (a["events"], a["analysed_h"], a["listed_per_day"]) == (16, 96.0, 4.0)
    assert (every["events"], every["analysed_h"]) == (19, 120.0)
    assert rows[["estimate", "low", "high", "per_day", "per_day_low", "per_day_high"]].isna().all(axis=None)


def test_the_rates_of_a_complete_review_are_those_of_the_confirmed_events(run):
    verdicts = ["yes"] * 16 + ["yes", "no", "yes", "yes"]
    review_run(run.folder, verdicts)
    rows = reviewed_rates(read_run(run.folder))
    b, every = rows.loc[("rumble", "b")], rows.loc[("rumble", ALL_SITES)]
    assert (b["estimate"], b["low"], b["high"], b["per_day"]) == (2, 2, 2, 2.0)
    assert b["per_day_low"] < 2 < b["per_day_high"]
    assert (every["estimate"], every["reviewed"], every["confirmed"]) == (18, 19, 18)
    assert every["per_day"] == pytest.approx(24 * 18 / 120)
    assert rows.loc[("gunshot", "a"), "per_day"] == 0 and rows.loc[("gunshot", "a"), "per_day_high"] > 0


def test_a_site_without_sound_has_no_rate(tmp_path):
    run = read_run(write_run(tmp_path / "run", [recording("a_20200101_000000.wav", analysed=0, reason="empty")], []))
    assert reviewed_rates(run)[["listed_per_day", "per_day"]].isna().all(axis=None)


def test_events_count_in_the_hour_in_which_they_start(run):
    review_run(run.folder, ["yes"] * 16 + ["yes", "no", "yes", ""])
    cells = hourly_events(run.events, read_review(run), hourly_effort(run.recordings), run.labels)
    b = cells[cells["site"] == "b"]
    assert b["rumble"].tolist()[:4] == [2, 0, 1, 0] and b["rumble estimate"].tolist()[:4] == [1, 0, 1, 0]
    assert b["gunshot"].to_numpy().nonzero()[0].tolist() == [11]  # 40,000 s
    assert "gunshot estimate" not in cells
    rate = diel(cells, "rumble")
    assert rate[6] == pytest.approx(8 / 9)  # 8 events in hour 6 of nine days with sound
    assert rate[7] == pytest.approx(8 / 9) and rate[0] == 2
