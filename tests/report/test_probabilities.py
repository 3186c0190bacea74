"""EventProbabilities from a review and from a calibration."""

import json

import numpy as np
import pytest
from report_runs import PARAMETERS, event, recording, write_run

from loxo.errors import LoxoError
from loxo.report.probabilities import CALIBRATION, COUNT, REVIEW, event_probabilities
from loxo.runs.read import read_run

NAME = "a_20200101_000000.wav"
EVENTS = [event(NAME, 10.0, score=0.9), event(NAME, 20.0, score=0.5), event(NAME, 30.0, score=0.6)]
EVENTS += [event(NAME, 40.0, "gunshot", 0.8)]


def write_review(folder, verdicts, curve=None):
    """decisions.csv and results.json as `loxo review` exports them; verdicts: (verdict, new label) by event."""
    columns = "recording,start_s,end_s,label,score,low_hz,high_hz,site,start_time,verdict,new_label,note"
    rows = [",".join(map(str, [*row, *said, ""])) for row, said in zip(EVENTS, verdicts, strict=True)]
    rows.append(f"{NAME},50,54,rumble,,,,,,drawn,,")
    (folder / "reviewed").mkdir(exist_ok=True)
    (folder / "reviewed" / "decisions.csv").write_text("\n".join([columns, *rows]) + "\n")
    classes = [{"label": "rumble", **({"curve": curve} if curve else {})}, {"label": "gunshot"}]
    (folder / "reviewed" / "results.json").write_text(json.dumps({"classes": classes}))


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "run", [recording(NAME)], EVENTS)


def test_without_a_review_and_a_calibration_every_event_has_the_probability_one(folder):
    found = event_probabilities(read_run(folder))
    assert found.probabilities.tolist() == [1, 1, 1, 1] and set(found.sources.values()) == {COUNT}


def test_calibrated_scores_are_the_probabilities(tmp_path):
    parameters = {**PARAMETERS, "calibration": {"rumble": {"raw": [0.0, 1.0], "probability": [0.0, 1.0]}}}
    folder = write_run(tmp_path / "run", [recording(NAME)], EVENTS, parameters=parameters)
    found = event_probabilities(read_run(folder))
    assert found.probabilities.tolist() == [0.9, 0.5, 0.6, 1.0]
    assert found.sources == {"rumble": CALIBRATION, "gunshot": COUNT}


def test_events_without_a_decision_have_the_probability_of_the_curve(folder):
    curve = [[0.0, 0.0, 0.0, 0.1], [1.0, 0.5, 0.4, 0.6]]  # P is half the score
    write_review(folder, [("yes", ""), ("no", ""), ("", ""), ("", "")], curve)
    found = event_probabilities(read_run(folder))
    assert found.probabilities.tolist() == pytest.approx([1.0, 0.0, 0.3, 1.0])
    assert found.sources == {"rumble": REVIEW, "gunshot": COUNT}
    assert found.decisions == {"rumble": 2, "gunshot": 0} and found.drawn == 1


def test_without_a_curve_only_decided_events_get_a_probability_from_the_review(folder):
    write_review(folder, [("yes", ""), ("no", ""), ("unsure", ""), ("other", "rumble")])
    found = event_probabilities(read_run(folder))
    assert found.probabilities.tolist() == [1, 0, 1, 1]
    assert found.labels.tolist() == ["rumble", "rumble", "rumble", "rumble"]  # the shot was a rumble
    assert found.sources == {"rumble": COUNT, "gunshot": REVIEW}


def test_a_review_of_another_run_is_refused(folder):
    write_review(folder, [("yes", "")] * 4)
    run = read_run(write_run(folder, [recording(NAME)], EVENTS[1:]))
    with pytest.raises(LoxoError, match="1 decision"):
        event_probabilities(run)
    (folder / "reviewed" / "decisions.csv").write_text("nonsense")
    with pytest.raises(LoxoError, match="cannot be read"):
        event_probabilities(run)
    assert np.isfinite(run.events["score"]).all()
