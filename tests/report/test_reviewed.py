"""What a review shows about the number of true events; and that nothing is stated about it without a review."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
from report_runs import PARAMETERS, event, recording, review_run, write_run

from loxo.errors import LoxoError
from loxo.report.report import report
from loxo.report.reviewed import ESTIMATED, FEW, LISTED, read_review
from loxo.runs.read import read_run

NAME = "a_20200101_000000.wav"
EVENTS = [event(NAME, 10.0, score=0.9), event(NAME, 20.0, score=0.5), event(NAME, 30.0, score=0.6)]
EVENTS += [event(NAME, 40.0, "gunshot", 0.8)]


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "run", [recording(NAME)], EVENTS)


def test_without_a_review_every_class_is_listed_only(folder):
    found = read_review(read_run(folder))
    assert {found.state(label) for label in ("rumble", "gunshot")} == {LISTED}
    assert np.isnan(found.probability()).all() and found.needed("rumble") == 20


def test_decisions_are_used_as_they_are(folder):
    review_run(folder, ["yes", "no", "unsure", ("other", "rumble")])
    found = read_review(read_run(folder))
    assert found.labels.tolist() == ["rumble", "rumble", "rumble", "rumble"]  # the shot was a rumble
    assert found.confirmed.tolist() == [True, False, False, True]
    assert (found.reviewed("rumble"), found.state("rumble"), found.needed("rumble")) == (2, FEW, 18)
    assert np.array_equal(found.probability(), [1, 0, np.nan, 1], equal_nan=True)
    assert found.drawn == 1


def test_a_class_with_all_events_decided_has_an_exact_count(folder):
    review_run(folder, ["yes", "no", "yes", ("other", "rumble")])
    found = read_review(read_run(folder))
    assert found.state("rumble") == ESTIMATED
    assert np.unique(found.truths("rumble", np.zeros(4, int), 1)).tolist() == [3]


def test_a_review_of_another_run_is_refused(folder):
    review_run(folder, ["yes"] * 4)
    run = read_run(write_run(folder, [recording(NAME)], EVENTS[1:]))
    with pytest.raises(LoxoError, match="1 decision"):
        read_review(run)
    (folder / "reviewed" / "decisions.csv").write_text("nonsense")
    with pytest.raises(LoxoError, match="cannot be read"):
        read_review(run)


# -- two runs of a user. Scores were once taken as probabilities, and their sum as the number of shots.


def shots(true: int, listed: int, total: float) -> tuple[list, list[str]]:
    """Gunshots whose scores add up to `total`, and the verdicts of a reviewer: `true` of them are shots."""
    rng = np.random.default_rng(1)
    scores = rng.beta(1.0, 6.0, listed - true) + 0.05
    scores *= (total - 0.8 * true) / scores.sum()
    scores = np.r_[np.full(true, 0.8), np.clip(scores, 0.05, 0.99)].round(6)
    events = [event(NAME, 10.0 + 3 * k, "gunshot", score, 0.5) for k, score in enumerate(scores)]
    return events, ["yes"] * true + ["no"] * (listed - true)


@pytest.mark.parametrize(("hours", "true", "listed", "total"), [(24.0, 5, 150, 23.0), (0.8, 0, 85, 22.0)])
def test_the_sum_of_the_scores_is_not_a_count(tmp_path, hours, true, listed, total):
    events, verdicts = shots(true, listed, total)
    calibration = {"gunshot": {"raw": [0.0, 1.0], "probability": [0.0, 1.0]}}
    parameters = {**PARAMETERS, "classes": ["gunshot"], "threshold": 0.05, "calibration": calibration}
    run = write_run(tmp_path / "run", [recording(NAME, hours)], events, parameters=parameters)

    made = report(run)
    text = made.page.read_text()
    assert f"{listed} gunshots listed, not checked" in text and "loxo review" in text
    assert any("listed, not checked" in note for note in made.notes)
    assert made.counts == [f"{listed} gunshots listed, not checked. The true number is not known."]
    assert "95 %" not in text.split("<h2>Methods")[0] and f">{total:.0f}<" not in text
    rates = pd.read_csv(run / "report.rates.csv").iloc[0]
    assert rates["events"] == listed and rates[["estimate", "low", "high", "per_day", "per_day_low"]].isna().all()
    for path in run.glob("report.*.csv"):
        for row in csv.DictReader(path.read_text().splitlines()):
            assert all(row.get(name, "") in ("", "NA") for name in ("estimate", "low", "high", "probability")), path
    assert "not reviewed" in (run / "report.methods.txt").read_text()

    order = np.random.default_rng(2).permutation(listed)
    review_run(run, [verdict if order[k] < 60 else "" for k, verdict in enumerate(verdicts)])
    report(run)
    rates = pd.read_csv(run / "report.rates.csv").iloc[0]
    assert rates["low"] <= true <= rates["high"] < total
    assert rates["per_day_low"] <= 24 * true / hours <= rates["per_day_high"]
    text = (run / "report.html").read_text()
    assert "listed, not checked" not in text and "the 95 % interval is" in text
    assert "Not counted: gunshots that score less than 0.05." in text


def test_the_report_names_a_score_to_keep_and_scores_that_were_not_reviewed(tmp_path):
    scores = np.r_[np.linspace(0.5, 0.99, 100), np.linspace(0.1, 0.39, 50)].round(6)
    events = [event(NAME, 10.0 + 5 * k, score=score) for k, score in enumerate(scores)]
    run = write_run(tmp_path / "run", [recording(NAME)], events)
    review_run(run, [("yes" if s > 0.7 else "no") if s >= 0.5 and k % 2 else "" for k, s in enumerate(scores)])
    text = report(run).page.read_text()
    assert "Keep events that score 0.6" in text or "Keep events that score 0.7" in text
    assert "Not reviewed, so not counted: 50 listed events that score less than 0.5." in text
    assert pd.read_csv(run / "report.rates.csv")["not_counted"].iloc[0] == 50


def test_decisions_that_were_not_exported_are_named(folder):
    review_run(folder, ["yes", "no", "yes", "yes"])
    (folder / "review").mkdir()
    log = folder / "review" / "ana.jsonl"
    log.write_text("")
    assert any("not exported" in note for note in report(folder).notes)
    (folder / "reviewed" / "decisions.csv").unlink()
    notes = report(folder).notes
    assert any("not exported" in note for note in notes) and not any("No event" in note for note in notes)


def test_calls_that_are_not_listed_are_estimated_where_random_stretches_were_searched(folder):
    review_run(folder, ["yes", "no", "yes", "yes"])
    recall = {"recall": 0.8, "low": 0.5, "high": 0.9, "stretches": 12, "found": 8, "missed": 2}
    results = {"classes": [{"label": "rumble", "recall": recall}, {"label": "gunshot"}]}
    (folder / "reviewed" / "results.json").write_text(json.dumps(results))
    text = report(folder).page.read_text()
    assert "12 random excerpts" in text and "lists 8 of 10 calls" in text and "about 2 rumbles (2 to 4)" in text
    (folder / "reviewed" / "results.json").write_text("{}")
    with pytest.raises(LoxoError, match="cannot be read"):
        report(folder)
