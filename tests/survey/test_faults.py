"""A recording that ends or stops its worker is named, and all others are analysed."""

import json
import multiprocessing
import os
import socket
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytest
from fakes import CrashingRedecoder, FakeModel, faulty, write

from loxo.audio import recording
from loxo.survey import processes, redecode
from loxo.survey.survey import survey
from loxo.survey.thresholds import hours_in

GOOD = ("a.wav", "c.wav", "d.wav")


@pytest.fixture
def card(tmp_path, monkeypatch):
    """Three whole recordings and bad.wav; this process must open none of them."""
    for k, name in enumerate((*GOOD, "bad.wav")):
        write(tmp_path / "card" / name, 3, seed=k)

    def refused(path, *_):
        raise AssertionError(f"{path} is opened in the process that runs the survey")

    for name in ("open_binary", "open_libsndfile", "open_pyav"):
        monkeypatch.setattr(recording, name, refused)
    return tmp_path / "card"


def survey_with(fault, folder, **options):
    load = partial(faulty, fault, folder / "attempts", os.getpid())
    return survey([folder / "card"], "fake", folder / "run", load=load, **options)


def attempts(folder):
    """The processes that have opened bad.wav."""
    path = folder / "attempts"
    return path.read_text().split() if path.exists() else []


def check(summary, folder, words):
    assert summary.recordings == len(GOOD)
    ((path, sentence),) = summary.problems
    assert path == folder / "card/bad.wav" and sentence.startswith(f"{path}: set aside") and words in sentence
    assert json.loads((folder / "run/run.json").read_text())["status"] == "finished"
    assert len(list((folder / "run/tables").iterdir())) == len(GOOD)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_crash_of_the_decoder_costs_two_workers_also_when_resumed(card, tmp_path, workers):
    check(survey_with("crash", tmp_path, workers=workers), tmp_path, "crashed (SIGSEGV), 2 times")
    assert len(set(attempts(tmp_path))) == 2
    again = survey_with("crash", tmp_path, workers=workers)
    check(again, tmp_path, "crashed (SIGSEGV), 2 times")
    assert len(attempts(tmp_path)) == 2 and again.resumed == 4
    write(card / "bad.wav", 4)
    check(survey_with("crash", tmp_path, workers=workers), tmp_path, "crashed")
    assert len(attempts(tmp_path)) == 4
    write(card / "bad.wav", 5)
    assert survey([card], "fake", tmp_path / "run", load=FakeModel).problems == []


def test_a_crash_is_remembered_when_the_run_is_interrupted(card, tmp_path):
    def interrupt(progress):
        if len(attempts(tmp_path)) == 1 and progress.finished:
            raise KeyboardInterrupt

    for name in ("a.wav", "c.wav"):
        (card / name).rename(card / name.replace(".wav", "z.wav"))  # after bad.wav
    (card / "az.wav").rename(card / "ez.wav")
    with pytest.raises(KeyboardInterrupt):
        survey_with("crash", tmp_path, on_progress=interrupt)
    assert len(attempts(tmp_path)) == 1
    check(survey_with("crash", tmp_path), tmp_path, "crashed (SIGSEGV), 2 times")
    assert len(attempts(tmp_path)) == 2


def test_a_kill_from_outside_is_tried_again_in_each_call(card, tmp_path):
    for call in (1, 2):
        check(survey_with("kill", tmp_path), tmp_path, "perhaps for lack of memory, 3 times")
        assert len(attempts(tmp_path)) == 3 * call


@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_that_never_answers_is_tried_once_more_in_each_call(card, tmp_path, workers, monkeypatch):
    silent_s = processes._Worker.silent_s

    def of_the_hung_one(worker):  # the others may be as slow as this machine likes
        return silent_s(worker) if str(worker.process.pid) in attempts(tmp_path) else 0.0

    monkeypatch.setattr(processes._Worker, "silent_s", of_the_hung_one)
    options = {"workers": workers, "patience_minutes": 0.2 / 60}
    check(survey_with("hang", tmp_path, **options), tmp_path, "showed no progress")
    assert len(attempts(tmp_path)) == 2
    check(survey_with("hang", tmp_path, **options), tmp_path, "showed no progress")
    assert len(attempts(tmp_path)) == 3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_no_file_is_named_and_not_opened(card, tmp_path, workers):
    (card / "bad.wav").unlink()
    os.mkfifo(card / "pipe.wav")
    (card / "zero.wav").symlink_to("/dev/zero")
    place = Path.cwd()
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(card)  # a socket's path must be short
        try:
            server.bind("socket.wav")
        finally:
            os.chdir(place)
        summary = survey([card], "fake", tmp_path / "run", load=FakeModel, workers=workers)
    assert summary.recordings == len(GOOD)
    names = ["pipe.wav", "socket.wav", "zero.wav"]
    assert [path.name for path, _ in summary.problems] == names
    assert all(sentence.startswith(f"{path}: this is a named pipe") for path, sentence in summary.problems)
    assert hours_in([card]) == pytest.approx(9 / 3600)


def test_a_crash_in_a_recording_does_not_stop_decoding_again(card, tmp_path, monkeypatch):
    survey([card], "fake", tmp_path / "run", load=FakeModel, keep_scores=True, threshold=0.9)

    def crashing(work, arguments):
        return processes.Processes(f"fakes:{CrashingRedecoder.__name__}", arguments)

    monkeypatch.setattr(redecode, "Processes", crashing)
    summary = redecode.redecode(tmp_path / "run", tmp_path / "again", threshold=0.0)
    assert (summary.recordings, summary.problems) == (4, [])
    items = json.loads((tmp_path / "again/run.json").read_text())["recordings"]
    (note,) = [note for item in items for note in item["notes"]]
    assert note.startswith(f"{card / 'bad.wav'}: the frequencies") and "crashed" in note


def test_a_long_folder_for_temporary_files(card, tmp_path, monkeypatch):
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert survey([card], "fake", tmp_path / "run", load=FakeModel, workers=2).recordings == 4


def test_a_survey_in_a_daemonic_process(card, tmp_path):
    options = {"load": FakeModel, "workers": 2}
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(survey, ([card], "fake", tmp_path / "run"), options).recordings == 4


def test_a_model_that_the_calling_script_defines(tmp_path):
    write(tmp_path / "a.wav", 3)
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, loxo\nfrom fakes import FakeModel\n\n"
        "class Mine(FakeModel):\n    pass\n\n"
        "if __name__ == '__main__':\n    print(loxo.survey([sys.argv[1]], 'mine', sys.argv[2], load=Mine, workers=1))\n"
    )
    path = os.pathsep.join(filter(None, sys.path))
    command = f"'{sys.executable}' '{script}' '{tmp_path / 'a.wav'}' '{tmp_path / 'run'}'"
    with os.popen(f"PYTHONPATH='{path}' {command}") as output:
        assert "1 recording" in output.read()
