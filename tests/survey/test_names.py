"""Recordings with names that a table, a disk or UTF-8 cannot hold: each step works with the run."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from fakes import FakeModel, write
from starlette.testclient import TestClient

import loxo
from loxo.errors import LoxoError
from loxo.evaluation.evaluate import evaluate
from loxo.files import unescape
from loxo.report.report import report
from loxo.review.app import create_api
from loxo.review.output import export
from loxo.review.session import Session
from loxo.runs import folder as run_folder
from loxo.runs.read import Places, read_run
from loxo.runs.scores import read_scores
from loxo.survey.redecode import redecode
from loxo.survey.score_table import score_table
from loxo.survey.survey import survey

NAMES = (
    *("plain.wav", "a\tb_20200101_000000.wav", "a\nb.wav", "c\rd.wav", "x" * 245 + ".wav", "\u6f22" * 78 + ".wav"),
    *("caf\udce9_20200101_000000.wav", "a:b.wav", "CON.wav", 'q"<>|?*.wav', "tail. /x.wav", "s\udce9/y.wav"),
    *("a.selections.txt/b.wav", "a.wav", "si\tte_20200101_010000.wav", "\udce9_20200101_020000.wav"),
)
FORMATS = "raven,audacity,csv,kaleidoscope"


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    place = tmp_path_factory.mktemp("names")
    sound = write(place / "sound.wav", 3)
    for name in NAMES:
        path = place / "card" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copy(sound, path)
        except OSError:
            pytest.skip("this file system refuses the names")
    return place / "card"


@pytest.fixture(scope="module")
def run(card, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    assert survey([card], "fake", out, load=FakeModel, formats=FORMATS, keep_scores=True).problems == []
    return out


def test_all_recordings_have_tables_of_their_own(card, run):
    recordings = json.loads((run / "run.json").read_text())["recordings"]
    assert {row["recording"] for row in recordings} == {str(card / name) for name in NAMES}
    tables = [row["table"] for row in recordings]
    assert len({table.casefold() for table in tables}) == len(NAMES) and all(
        (run / table).is_file() for table in tables
    )
    assert len(list((run / "labels").rglob("*.txt"))) == len(list((run / "scores").rglob("*.npz"))) == len(NAMES)
    for row in recordings:
        events = loxo.read_raven(run / row["table"])
        assert row["events"] == len(events) == 1
        assert unescape(events["recording"][0]) == row["recording"]
    combined = loxo.read_raven(run / "events.selections.txt")
    assert set(map(unescape, combined["recording"])) == {str(card / name) for name in NAMES}


def test_each_step_after_detection_works(card, run, tmp_path):
    opened = read_run(run)
    assert len(opened.events) == len(opened.recordings) == len(NAMES)
    places = Places(opened)
    found = [places.find(name) for name in opened.recordings["recording"]]
    assert set(found) == {card / name for name in NAMES}
    assert read_scores(run, card / "caf\udce9_20200101_000000.wav").scores.shape[0] == 2

    again = redecode(run, tmp_path / "again", formats=FORMATS)
    assert again.problems == []
    for name in ("events.csv", "events.selections.txt", "events.files.txt", "kaleidoscope.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (run / name).read_bytes()

    report(run, tmp_path / "report.html")
    assert "caf&lt;E9&gt;_20200101_000000.wav" in (tmp_path / "report.html").read_text()
    result = evaluate(run / "events.selections.txt", [run, run / "tables"]).report
    assert [part["classes"]["rumble"]["criteria"]["iou50"]["hits"] for part in result["detectors"]] == [len(NAMES)] * 2

    moved = tmp_path / "moved"
    shutil.copytree(card, moved)
    scored = score_table(run / "events.selections.txt", FakeModel(), tmp_path / "scored", recordings=[moved])
    assert scored.problems == []


def test_the_review_of_such_a_run(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    session = Session(copy, "ann")
    with TestClient(create_api(session)) as page:
        content = page.get("/api/queue").json()
        assert len(content["rows"]) == len(NAMES)
        rows = {event["recording"]: event["row"] for event in content["events"]}
        row = rows["caf<E9>_20200101_000000.wav"]
        source = {event["row"]: event["source"] for event in content["events"]}[row]
        assert page.get("/api/run").status_code == page.get(f"/api/events?rows={row}").status_code == 200
        assert page.get(f"/api/picture/{source}?start=0&end=5").status_code == 200
        for verdict in ({"row": row, "verdict": "yes"}, {"row": rows["a<0A>b.wav"], "verdict": "no"}):
            assert page.post("/api/act", json={"changes": [verdict]}).status_code == 200
        assert page.post("/api/export").status_code == 200
    session.close()
    assert export(copy).events == 1
    reviewed = loxo.read_raven(next((copy / "reviewed" / "tables").glob("caf*")))
    assert unescape(reviewed["recording"][0]).endswith("/caf\udce9_20200101_000000.wav")


def test_a_run_resumes_after_such_a_recording_was_renamed_or_removed(card, run, tmp_path):
    copy, moved = tmp_path / "card", tmp_path / "run"
    shutil.copytree(card, copy)
    survey([copy], "fake", moved, load=FakeModel)
    (copy / "a\tb_20200101_000000.wav").rename(copy / "ab_20200101_000000.wav")
    (copy / "a\nb.wav").unlink()
    summary = survey([copy], "fake", moved, load=FakeModel)
    assert (summary.resumed, summary.recordings, summary.problems) == (len(NAMES) - 2, len(NAMES) - 1, [])
    assert len(read_run(moved).recordings) == len(NAMES) + 1  # the journal keeps the events of recordings that are gone


@pytest.mark.parametrize("number", sorted(run_folder.NAME_ERRORS))
def test_a_name_that_the_disk_refuses_is_a_problem_of_its_recording(tmp_path, monkeypatch, number):
    for name in "abc":
        write(tmp_path / "card" / f"{name}.wav", 3)
    refuse(monkeypatch, "b.selections.txt", number)
    summary = survey([tmp_path / "card"], "fake", tmp_path / "run", load=FakeModel)
    ((path, sentence),) = summary.problems
    assert path == tmp_path / "card/b.wav" and sentence.startswith(f"{path}: its files cannot be written")
    assert summary.recordings == 2 and len(read_run(tmp_path / "run").events) == 2
    monkeypatch.undo()
    assert survey([tmp_path / "card"], "fake", tmp_path / "run", load=FakeModel).problems == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_fault_of_the_disk_ends_the_run(tmp_path, monkeypatch, number):
    write(tmp_path / "card" / "b.wav", 3)
    refuse(monkeypatch, "b.selections.txt", number)
    with pytest.raises(LoxoError, match="room on the disk"):
        survey([tmp_path / "card"], "fake", tmp_path / "run", load=FakeModel)


def refuse(monkeypatch, name: str, number: int) -> None:
    """Lets the disk refuse a file."""
    replace = Path.replace

    def refusing(path, target):
        if Path(target).name == name:
            raise OSError(number, os.strerror(number))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", refusing)


class NotFinite(FakeModel):
    def logits(self, windows):
        return super().logits(windows) * float("nan")


def test_each_problem_begins_with_its_path(tmp_path):
    for name in "ab":
        write(tmp_path / "card" / f"{name}.wav", 3)
    (tmp_path / "card/c.wav").write_bytes(b"")
    (tmp_path / "card/gone.wav").symlink_to("nowhere")
    paths = [tmp_path / "card", tmp_path / "no", tmp_path / "*.xyz"]
    summary = survey(paths, "fake", tmp_path / "run", load=NotFinite)
    assert len(summary.problems) == 6
    assert all(sentence.startswith(f"{path}: ") for path, sentence in summary.problems)
    recorded = json.loads((tmp_path / "run/run.json").read_text())
    assert all(row["reason"].startswith(f"{row['recording']}: ") for row in recorded["recordings"])
