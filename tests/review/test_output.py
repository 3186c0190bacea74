"""What a review leaves behind, read back as its users would."""

import csv
import json

import numpy as np
import pytest
from fakerun import MISSED, NAMES

from loxo import read_raven
from loxo.errors import LoxoError
from loxo.evaluation.annotations import read_annotations
from loxo.review.output import export
from loxo.review.queue import Filter
from loxo.review.session import Session
from loxo.runs.read import read_events_csv


@pytest.fixture
def reviewed(run):
    """Decided: rows 0 yes with moved edges, 1 other label, 2 yes, 3 no, 4 no, 5 unsure; 6 and 7 open; one drawn."""
    session = Session(run, "Ana")
    session.act([{"row": 0, "verdict": "yes", "start_s": 11.5, "end_s": 17.5, "note": "two\nlines"}])
    session.act([{"row": 1, "verdict": "other", "label": "engine"}])
    session.act([{"row": 2, "verdict": "yes"}])
    session.act([{"row": row, "verdict": "no"} for row in (3, 4)])
    session.act([{"row": 5, "verdict": "unsure"}])
    start, end = MISSED
    box = {"source": 0, "label": "rumble", "start_s": start, "end_s": end, "low_hz": 10.0, "high_hz": 90.0}
    session.act([box])
    session.close()
    return run


def csv_rows(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_reviewed_tables_contain_the_true_events_with_moved_edges(reviewed):
    written = export(reviewed)
    table = read_raven(written.folder / "tables" / f"{NAMES[0]}.selections.txt", extra={"note": "Notes"})
    found = list(zip(table["label"], table["start_s"], table["end_s"], strict=True))
    assert found == [("rumble", 11.5, 17.5), ("engine", 50.0, 53.5), ("gunshot", 80.0, 80.6), ("rumble", *MISSED)]
    assert table["score"].tolist()[:3] == [0.93, 0.71, 0.88] and np.isnan(table["score"].iloc[3])
    assert table["recording"].iloc[0].endswith(f"{NAMES[0]}.wav") and table["recording"].iloc[0].startswith("/")
    assert table["note"].iloc[0] == "Ana: two lines"
    second = read_raven(written.folder / "tables" / f"{NAMES[1]}.selections.txt")
    assert second.empty  # decided in part, nothing true so far
    events = read_events_csv(written.folder / "events.csv")
    assert len(events) == written.events == 4
    rows = csv_rows(written.folder / "events.csv")
    assert rows[0]["start_time"] == "2018-01-26T03:00:11.500000" and rows[0]["site"] == "nn01a"


def test_all_decisions_are_one_table(reviewed):
    rows = csv_rows(export(reviewed).folder / "decisions.csv")
    assert [row["verdict"] for row in rows] == ["yes", "other", "yes", "no", "no", "unsure", "", "", "drawn"]
    assert rows[0]["start_s"] == "12" and rows[0]["new_start_s"] == "11.5" and rows[0]["reviewers"] == "Ana: yes"
    assert rows[1]["label"] == "rumble" and rows[1]["new_label"] == "engine"


def test_drawn_events_have_the_site_and_the_clock_of_the_table_of_sites(reviewed):
    (reviewed / "sites.csv").write_text("site,recorder\nBai,nn01a\n")
    *_, drawn = csv_rows(export(reviewed).folder / "decisions.csv")
    assert (drawn["verdict"], drawn["site"], drawn["start_time"]) == ("drawn", "Bai", "2018-01-26T03:01:35")


def test_training_tables_separate_calls_background_and_undecided_events(reviewed):
    folder = export(reviewed).folder / "training"
    assert [path.name for path in (folder / "tables").iterdir()] == [f"{NAMES[0]}.selections.txt"]
    assert not (folder / "incomplete").exists()  # nothing true so far in the recording that is not done
    session = Session(reviewed, "Ana")
    session.undo()
    session.act([{"row": 3, "verdict": None}])
    session.close()
    export(reviewed)
    assert [path.name for path in (folder / "incomplete").iterdir()] == [f"{NAMES[0]}.selections.txt"]
    assert list((folder / "tables").iterdir()) == []
    session = Session(reviewed, "Ana")
    session.undo()
    session.close()
    export(reviewed)
    negatives = read_raven(folder / "hard_negatives.selections.txt")
    assert [path.rpartition("/")[2][:5] for path in negatives["recording"]] == ["nn01a", "nn02b"]
    assert negatives["start_s"].tolist() == [110.0, 8.0]
    spans = [(row["recording"].rpartition("/")[2][:5], row["start_s"]) for row in csv_rows(folder / "searched.csv")]
    assert spans == [("nn01a", "0.000000"), ("nn02b", "8.000000")]  # one complete, one with a rejected event only
    undecided = read_raven(folder / "undecided.selections.txt")
    assert undecided["start_s"].tolist() == [30.0, 66.0, 120.0]


def test_tables_with_undecided_events_are_no_truth(reviewed):
    folder = export(reviewed).folder
    incomplete = f"tables/{NAMES[1]}.selections.txt"
    with pytest.raises(LoxoError, match=r"some events are not decided.*calibrate --review"):
        read_annotations(folder / incomplete)  # without rows
    session = Session(reviewed, "Ana")
    session.act([{"row": 6, "verdict": "yes"}])
    session.close()
    folder = export(reviewed).folder
    for table in (incomplete, "events.csv"):
        with pytest.raises(LoxoError, match="some events are not decided"):
            read_annotations(folder / table)
    assert len(read_annotations(folder / "tables" / f"{NAMES[0]}.selections.txt")) == 4  # every event is decided
    assert len(read_annotations(folder / "training" / "tables")) == 4
    spans = folder / "training" / "searched.csv"
    assert len(read_annotations(folder / "tables", searched=spans).attrs["searched"]) == 3


def test_an_export_applies_changed_decisions(reviewed):
    export(reviewed)
    session = Session(reviewed, "Ana")
    for _ in range(6):
        session.undo()
    session.close()
    written = export(reviewed)
    assert list((written.folder / "tables").iterdir()) == [] and written.events == 0
    assert sorted(path.name for path in written.folder.iterdir()) == [
        *("decisions.csv", "events.csv", "results.json", "tables", "training")
    ]


def test_an_export_merges_drawings_and_disagreements_of_two_reviewers(reviewed):
    session = Session(reviewed, "Ben")
    box = {"source": 0, "label": "rumble", "start_s": 95.2, "end_s": 99.2, "low_hz": 10.0, "high_hz": 90.0}
    session.act([{"row": 2, "verdict": "no"}, box])
    session.close()
    written = export(reviewed)
    table = read_raven(written.folder / "tables" / f"{NAMES[0]}.selections.txt")
    assert table["label"].tolist() == ["rumble", "engine", "rumble"]  # the disputed shot is left out
    assert written.results["disputed"] == 1 and written.results["agreement"][0]["agreed"] == 0


@pytest.fixture
def long_run(made, tmp_path):
    """A run of 600 rumbles, of which the score tells the chance of being right."""
    folder = tmp_path / "long"
    (folder / "tables").mkdir(parents=True)
    rng = np.random.default_rng(4)
    scores = rng.random(600).round(6)
    right = rng.random(600) < scores
    names = [str(made.parent / "recordings" / f"{name}.wav") for name in NAMES]
    lines = ["recording,start_s,end_s,label,score,low_hz,high_hz,site,start_time"]
    lines += [f"{names[k // 300]},{k % 300 / 2.5},{k % 300 / 2.5 + 1},rumble,{s},10,90,," for k, s in enumerate(scores)]
    (folder / "events.csv").write_text("\n".join(lines) + "\n")
    (folder / "run.json").write_text((made / "run.json").read_text())
    return folder, right


def test_a_sample_gives_thresholds_and_an_estimate(long_run):
    folder, right = long_run
    session = Session(folder, "Ana")
    sample = session.queue(Filter(sample=200))
    session.act([{"row": int(row), "verdict": "yes" if right[row] else "no"} for row in sample])
    assert session.fits()["rumble"].decided == 200
    session.close()
    results = json.loads((export(folder).folder / "results.json").read_text())
    rumble = results["classes"][0]
    assert (rumble["yes"] + rumble["no"], rumble["open"]) == (200, 400)
    estimate = rumble["estimate"]
    truth = int(right.sum()) - rumble["yes"]
    assert estimate["unreviewed"] == 400 and estimate["low"] <= truth <= estimate["high"]
    assert estimate["high"] - estimate["low"] < 120
    assert sum(site["unreviewed"] for site in rumble["sites"].values()) == 400
    assert set(rumble["sites"]) == {"nn01a", "nn02b"}
    thresholds = {row["precision"]: row["threshold"] for row in rumble["thresholds"]}
    assert list(thresholds) == [0.85, 0.9, 0.95, 0.99]
    assert 0.5 < thresholds[0.85] < 0.85  # P = score: the mean over [t, 1] is (1 + t) / 2
    assert results["classes"][1]["needed"] == 20
