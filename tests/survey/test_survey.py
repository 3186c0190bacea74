"""Run folders: resume, refusal, damage, and the same bytes whatever the number of workers."""

import csv
import json
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
from fakes import RATE, STEP, DeadlyModel, FakeModel, HangingModel

from loxo.errors import LoxoError
from loxo.events.raven import read_raven
from loxo.runs.journal import Journal
from loxo.survey import processes as workers
from loxo.survey.survey import SurveyProgress, survey


def record(path: Path, seconds: float = 6.0, level: float = 0.5, seed: int = 0) -> Path:
    """A loud second in the middle of quiet noise."""
    samples = 0.001 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    samples[2 * RATE : 3 * RATE] += level * np.sin(np.arange(RATE) / 4)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, RATE)
    return path


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """Four recordings in two folders that share a file name, one of them cut, and one that is no audio."""
    folder = tmp_path / "card"
    record(folder / "a" / "nn01_20200101_000000.wav")
    record(folder / "b" / "nn01_20200101_000000.wav", seed=1)
    record(folder / "b" / "x.flac", seconds=7, seed=2)
    cut = record(folder / "b" / "cut.wav", seconds=20)
    cut.write_bytes(cut.read_bytes()[: 10 * RATE * 2])
    (folder / "b" / "bad.wav").write_text("not audio")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_run_folder(card, tmp_path):
    out = tmp_path / "run"
    seen: list[SurveyProgress] = []
    summary = survey([card], "fake", out, load=FakeModel, keep_scores=True, on_progress=seen.append)
    assert sorted(contents(out)) == [
        *("events.csv", "events.files.txt", "events.selections.txt", "journal.jsonl", "run.json"),
        *(f"scores/{name}.npz" for name in ("a/nn01_20200101_000000", "b/cut", "b/nn01_20200101_000000", "b/x")),
        *(
            f"tables/{name}.selections.txt"
            for name in ("a/nn01_20200101_000000", "b/cut", "b/nn01_20200101_000000", "b/x")
        ),
    ]
    assert (summary.recordings, summary.resumed) == (4, 0) and summary.hours == pytest.approx(29 / 3600, abs=1e-4)
    assert [(path.name, "cut off" in why or "text file" in why) for path, why in summary.problems] == [
        ("bad.wav", True),
        ("cut.wav", True),
    ]
    assert str(summary) == f"4 recordings, 0.0 hours, {summary.events} events, 2 problems"

    with (out / "events.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == summary.events >= 4 and rows == sorted(
        rows, key=lambda r: (r["recording"], float(r["start_s"]))
    )
    assert rows[0]["site"] == "nn01" and rows[0]["start_time"].startswith("2020-01-01T00:00:0")
    table = read_raven(out / "tables/b/x.selections.txt")
    assert set(table["recording"]) == {str(card / "b/x.flac")}
    with np.load(out / "scores/b/x.npz") as scores:
        assert scores["hop_s"] == STEP / RATE and sorted(scores) == ["gunshot", "hop_s", "rumble"]
        assert scores["rumble"].shape == (70,) and scores["rumble"].dtype == np.float16

    run = json.loads((out / "run.json").read_text())
    assert run["status"] == "finished" and run["parameters"]["decoding"]["rumble"]["threshold"] == 0.5
    assert len(run["parameters"]["model_sha256"]) == 64
    assert [item["status"] for item in run["recordings"]] == ["done", "failed", "truncated", "done", "done"]
    assert run["recordings"][2]["duration_s"] == 20 and 9.9 < run["recordings"][2]["analysed_s"] < 10.1
    shares = [progress.share for progress in seen]
    analysed = sum(item["analysed_s"] for item in run["recordings"])
    assert shares == sorted(shares) and seen[-1] == SurveyProgress(5, 5, 1.0, pytest.approx(analysed / 3600), failed=2)


def test_two_workers_write_the_same_bytes_as_one(card, tmp_path):
    survey([card], "fake", tmp_path / "one", load=FakeModel, keep_scores=True)
    seen: list[SurveyProgress] = []
    survey([card], "fake", tmp_path / "two", load=FakeModel, keep_scores=True, workers=2, on_progress=seen.append)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert (seen[-1].finished, seen[-1].share) == (5, 1.0) and seen[-1].hours > 0


def counting(calls: list[str]):
    class Counting(FakeModel):
        def logits(self, windows):
            calls.append("window")
            return super().logits(windows)

    return Counting


def test_a_finished_run_is_not_done_again_and_failures_are(card, tmp_path):
    calls: list[str] = []
    run = partial(survey, [card], "fake", load=counting(calls))
    run(tmp_path / "run")
    before, done = contents(tmp_path / "run"), len(calls)
    record(card / "b" / "bad.wav")
    bad = (card / "b" / "bad.wav").read_bytes()
    (card / "b" / "bad.wav").write_text("not audio")
    again = run(tmp_path / "run")
    assert len(calls) == done and again.resumed == 4 and len(again.problems) == 2
    assert {**contents(tmp_path / "run"), "journal.jsonl": b""} == {**before, "journal.jsonl": b""}
    (card / "b" / "bad.wav").write_bytes(bad)
    mended = run(tmp_path / "run")
    assert len(calls) > done and mended.resumed == 4 and [path.name for path, _ in mended.problems] == ["cut.wav"]


def test_a_changed_recording_is_done_again_and_a_lost_table_is_written_again(card, tmp_path):
    survey([card], "fake", tmp_path / "run", load=FakeModel)
    record(card / "b" / "x.flac", seconds=9)
    (tmp_path / "run/tables/b/nn01_20200101_000000.selections.txt").unlink()
    assert survey([card], "fake", tmp_path / "run", load=FakeModel).resumed == 3
    survey([card], "fake", tmp_path / "new", load=FakeModel)
    assert contents(tmp_path / "run") == contents(tmp_path / "new")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_run_resumes_to_the_same_bytes(card, tmp_path, error):
    def stop(progress: SurveyProgress) -> None:
        if progress.finished == 2:
            raise error

    with pytest.raises(error):
        survey([card], "fake", tmp_path / "run", load=FakeModel, on_progress=stop)
    run = json.loads((tmp_path / "run/run.json").read_text())
    assert run["status"] == "interrupted" and len(run["recordings"]) == 2
    with (tmp_path / "run/journal.jsonl").open("ab") as journal:
        journal.write(b'{"path": "torn')  # as after a loss of power
    assert survey([card], "fake", tmp_path / "run", load=FakeModel).resumed == 1  # the other one is bad.wav
    survey([card], "fake", tmp_path / "whole", load=FakeModel)
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_other_parameters_are_refused_and_named(card, tmp_path):
    survey([card], "fake", tmp_path / "run", load=FakeModel, threshold=0.5)
    before = contents(tmp_path / "run")
    with pytest.raises(LoxoError, match=r"threshold 0\.5 is now 0\.7; window_overlap 0\.125 is now 0\.5"):
        survey([card], "fake", tmp_path / "run", load=FakeModel, threshold=0.7, window_overlap=0.5)
    assert contents(tmp_path / "run") == before
    survey([card], "fake", tmp_path / "run", load=FakeModel, threshold=0.5, batch_size=2)


def test_what_is_no_run_is_refused(card, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("...")
    with pytest.raises(LoxoError, match="not empty"):
        survey([card], "fake", tmp_path / "thesis", load=FakeModel)
    with pytest.raises(LoxoError, match="cannot be the folder"):
        survey([card], "fake", tmp_path / "thesis" / "chapter1.txt" / "run", load=FakeModel)
    (tmp_path / "thesis" / "run.json").write_text("[]")
    with pytest.raises(LoxoError, match="damaged"):
        survey([card], "fake", tmp_path / "thesis", load=FakeModel)


def test_bad_options_and_nothing_to_do(card, tmp_path):
    for options in (
        {"threshold": 2.0},
        {"window_overlap": 1.0},
        {"batch_size": 0},
        {"workers": 0},
        {"patience_minutes": 0},
    ):
        with pytest.raises(LoxoError):
            survey([card], "fake", tmp_path / "run", load=FakeModel, **options)
    with pytest.raises(LoxoError, match="no such file"):
        survey([tmp_path / "none"], "fake", tmp_path / "run", load=FakeModel)
    for out in ("https://example.org/run", "s3://bucket"):
        with pytest.raises(LoxoError, match="cannot be written there"):
            survey([card], "fake", out, load=FakeModel)
    with pytest.raises(LoxoError, match="needs none"):
        survey([card], "fake", tmp_path / "run", load=FakeModel, work=tmp_path / "work")
    assert not (tmp_path / "run").exists()
    assert len(survey([card, tmp_path / "none"], "fake", tmp_path / "run", load=FakeModel).problems) == 3


def test_recordings_of_the_same_name_get_tables_of_their_own(card, tmp_path):
    files = [card / "a/nn01_20200101_000000.wav", card / "b/nn01_20200101_000000.wav"]
    survey(files, "fake", tmp_path / "run", load=FakeModel)
    names = sorted(path.name for path in (tmp_path / "run/tables").iterdir())
    assert len(names) == 2 and names[1] == "nn01_20200101_000000.selections.txt"
    assert names[0].startswith("nn01_20200101_000000-") and len(names[0]) == len(names[1]) + 9
    for name, file in zip(names, reversed(files), strict=True):
        assert set(read_raven(tmp_path / "run/tables" / name)["recording"]) == {str(file)}


def test_a_killed_worker_loses_nothing(tmp_path):
    for k in range(3):
        record(tmp_path / "card" / f"{k}.wav")
    record(tmp_path / "card" / "1.wav", level=1.1)  # clipped: full scale
    load = partial(DeadlyModel, tmp_path / "marker")
    summary = survey([tmp_path / "card"], "fake", tmp_path / "run", load=load, workers=2)
    assert (summary.recordings, summary.problems) == (3, [])
    notes = [
        note for item in json.loads((tmp_path / "run/run.json").read_text())["recordings"] for note in item["notes"]
    ]
    assert any("second attempt" in note for note in notes)

    summary = survey([tmp_path / "card"], "fake", tmp_path / "other", load=DeadlyModel, workers=2)
    assert summary.recordings == 2
    assert [(path.name, "3 times" in why) for path, why in summary.problems] == [("1.wav", True)]


@pytest.mark.parametrize("stop", [False, True])
def test_a_worker_that_hangs_is_replaced(tmp_path, stop, monkeypatch):
    marker, silent_s = tmp_path / "marker", workers._Worker.silent_s

    def of_the_hung_one(worker):  # the others may be as slow as this machine likes
        return silent_s(worker) if marker.exists() and marker.read_text() == str(worker.process.pid) else 0.0

    monkeypatch.setattr(workers._Worker, "silent_s", of_the_hung_one)
    for k in range(3):
        record(tmp_path / "card" / f"{k}.wav", level=1.1 if k == 1 else 0.5)
    load = partial(HangingModel, marker, stop)
    options = {"workers": 2, "patience_minutes": 1 / 60}
    summary = survey([tmp_path / "card"], "fake", tmp_path / "run", load=load, **options)
    assert (summary.recordings, summary.problems) == (3, [])
    assert not psutil.pid_exists(int(marker.read_text()))
    assert "second attempt" in (tmp_path / "run/run.json").read_text()


@pytest.mark.parametrize("pool", ["loxo.survey.survey.Processes", "loxo.survey.dask.Cluster"])
@pytest.mark.parametrize(("options", "patience_s"), [({}, 600), ({"patience_minutes": 2.5}, 150)])
def test_patience_is_given_in_minutes(card, tmp_path, monkeypatch, pool, options, patience_s):
    """What the pool receives, in seconds: nobody waits here."""

    class Stop(Exception):
        pass

    def received(*_, patience_s):
        raise Stop(patience_s)

    monkeypatch.setattr(pool, received)
    where = {"cluster": "local:2"} if pool.endswith("Cluster") else {"workers": 2}
    with pytest.raises(Stop) as stopped:
        survey([card], "fake", tmp_path / "run", load=FakeModel, **where, **options)
    assert stopped.value.args == (patience_s,)


def test_a_journal_skips_damaged_lines(tmp_path):
    (tmp_path / "journal.jsonl").write_bytes(b'{"path": 3}\n{"rows": []}\n')
    journal = Journal(tmp_path / "journal.jsonl")
    assert journal.entries == {} and journal.damaged == 2
    journal.open({})
    journal.close_compact()
    assert (tmp_path / "journal.jsonl").read_bytes().startswith(b'{"parameters": {}, ')
