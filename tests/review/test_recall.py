"""Searched stretches: the random ones, the recall that they show, and their place in the log and in the export."""

import csv
import itertools
import json

import numpy as np
import pytest
from starlette.testclient import TestClient

from loxo.errors import LoxoError
from loxo.review.app import create_api
from loxo.review.output import export
from loxo.review.recall import Stretches, recall
from loxo.review.session import Session


@pytest.fixture
def session(run):
    session = Session(run, "Ana")
    yield session
    session.close()


def test_random_stretches_cover_all_sound_once_in_an_order_that_is_always_the_same():
    lengths = np.array([150.0, 0.0, 3600.0, 20.0])
    stretches = Stretches(lengths)
    found = [stretches[k] for k in range(len(stretches))]
    assert [stretch.source for stretch in found] == [Stretches(lengths)[k].source for k in range(len(found))]
    assert [stretch.source for stretch in found] != sorted(stretch.source for stretch in found)
    for source, length in enumerate(lengths):
        spans = sorted((s.start_s, s.end_s) for s in found if s.source == source)
        assert sum(end - start for start, end in spans) == pytest.approx(length)
        assert all(one[1] == two[0] for one, two in itertools.pairwise(spans))
        assert all(20 <= end - start <= 90 for start, end in spans)


def test_the_interval_of_the_recall_covers_the_truth_also_for_calls_in_groups():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        rate = rng.gamma(0.5, 2.0, 80)  # few stretches have most calls, and some of them are hard to hear
        calls = rng.poisson(rate)
        found = rng.binomial(calls, rng.beta(4, 1, 80))
        answer = recall(80 * 60.0, found, calls - found)
        assert answer.hours == pytest.approx(80 / 60)
        covered += answer.low <= 0.8 <= answer.high
    assert 0.9 <= covered / 300 <= 0.99
    nothing = recall(60.0, np.array([0]), np.array([0]))
    assert (nothing.recall, nothing.low, nothing.high) == (None, 0.0, 1.0)
    one, ten = (recall(60.0, np.array(found), np.zeros(len(found), int)) for found in ([10], [1] * 10))
    assert one.recall == ten.recall == 1 and one.low < ten.low < 0.8  # ten calls of one group count as one


def searching(session, number, **more):
    return {"searched": session.recordings.stretches[number].source, "random": number, "label": "rumble", **more}


def test_a_searched_stretch_counts_when_its_events_are_decided(session, run):
    number = next(k for k in range(len(session.recordings.stretches)) if session.recordings.stretches[k].source == 0)
    stretch = session.recordings.stretches[number]
    inside = [
        event["row"]
        for event in session.recordings.around(0, stretch.start_s, stretch.end_s)["events"]
        if event["label"] == "rumble"
    ]
    with TestClient(create_api(session)) as page:

        def rumbles():
            return page.get("/api/results").json()["classes"][0]["recall"]

        assert page.get("/api/random?labels=rumble").json()["searched"] == 0 and rumbles()["recall"] is None
        done = page.post("/api/act", json={"changes": [searching(session, number)]}).json()
        assert done["events"] == [] and (rumbles()["stretches"], rumbles()["open"]) == (0, 1)
        page.post("/api/act", json={"changes": [{"row": row, "verdict": "yes"} for row in inside]})
        box = {"source": 0, "label": "rumble", "low_hz": 10.0, "high_hz": 90.0}
        start = stretch.start_s + 20
        page.post("/api/act", json={"changes": [{**box, "start_s": start, "end_s": start + 4}]})
        answer = rumbles()
        assert (answer["stretches"], answer["found"], answer["missed"], answer["open"]) == (1, len(inside), 1, 0)
        assert answer["recall"] == pytest.approx(len(inside) / (len(inside) + 1), abs=1e-4)
        assert answer["low"] < answer["recall"] < answer["high"]
        assert page.get("/api/recordings").json()[0]["searched"] == stretch.end_s - stretch.start_s
        left = {page.get(f"/api/random?labels=rumble&after={k}").json()["number"] for k in (-1, *range(number))}
        assert number not in left and page.get("/api/random?labels=gunshot&after=99").json() is None
    lines = [json.loads(line) for line in session.log.path.read_text().splitlines()]
    (change,) = lines[1]["changes"]
    assert change["event"].startswith("searched-random-") and "verdict" not in change
    session.close()
    again = Session(run, "Ana")  # it is on the disk
    assert again.unmatched == 0 and len(again.recordings.around(0, 0, 1)["searched"]) == 1
    ben = Session(run, "Ben")
    assert (
        ben.recordings.next_stretch(["rumble"], number - 1)["number"] != number
    )  # another reviewer searches other stretches
    ben.close()
    again.close()


def test_only_stretches_of_the_run_and_its_labels_are_stored(session):
    before = session.log.path.read_bytes()
    number = 0
    for wrong in (
        searching(session, number, label="frog"),
        searching(session, number) | {"random": len(session.recordings.stretches)},
        searching(session, number) | {"searched": 1 - session.recordings.stretches[number].source},
        {"searched": 0, "label": "rumble", "start_s": 100.0, "end_s": 900.0},
        {"searched": 0, "label": "rumble", "start_s": 20.0, "end_s": 10.0},
        {"searched": 0, "label": "rumble"},
        {"searched": 7, "label": "rumble", "start_s": 0.0, "end_s": 10.0},
    ):
        with pytest.raises(LoxoError):
            session.act([wrong])
    assert session.log.path.read_bytes() == before


def test_stretches_searched_for_every_label_are_in_the_export(session, run):
    span = {"searched": 1, "start_s": 80.0, "end_s": 110.0}
    session.act([{**span, "label": "rumble"}])
    assert session.undo() == [] and session.said == "the searched stretch"
    assert session.redo() == [] and session.said == "the searched stretch"

    def spans():
        export(run)
        with (run / "reviewed" / "training" / "searched.csv").open() as file:
            return [(float(row["start_s"]), float(row["end_s"])) for row in csv.DictReader(file)]

    assert spans() == []  # gunshots were not searched
    session.act([{**span, "label": "gunshot"}])
    assert spans() == [(80.0, 110.0)]
    session.act([{"searched": 1, "label": label, "start_s": 60.0, "end_s": 75.0} for label in ("rumble", "gunshot")])
    assert spans() == [(80.0, 110.0)]  # a listed shot of the other stretch is not decided
    results = json.loads((run / "reviewed" / "results.json").read_text())
    assert results["searched_s"] == 45.0
