"""Scores for the events in another detector's table."""

import json

import numpy as np
import pytest
import soundfile
from fakes import RATE, STEP, FakeConfig, FakeModel
from hypothesis import given, settings
from hypothesis import strategies as st

from loxo.audio.recording import probe
from loxo.detection.decode import smooth
from loxo.detection.scores import frame_scores
from loxo.engine.config import Calibration
from loxo.errors import LoxoError
from loxo.events.raven import read_raven
from loxo.survey.score_table import score_events, score_table


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    folder = tmp_path_factory.mktemp("card")
    for k, seconds in enumerate((61.37, 0.9)):
        samples = 0.15 * np.random.default_rng(k).standard_normal(round(seconds * RATE))
        soundfile.write(folder / f"{k}.wav", np.clip(samples, -1, 1), RATE, subtype="FLOAT")
    return folder


span = st.tuples(st.floats(0, 61), st.floats(0, 9)).map(lambda s: (s[0], s[0] + s[1]))


@settings(max_examples=60, deadline=None)
@given(st.lists(span, min_size=1, max_size=5), st.sampled_from([0.0, 0.3, 0.5, 0.8]), st.sampled_from([1, 4]))
def test_scores_equal_those_of_the_whole_recording(card, events, overlap, stride):
    """With a model whose scores depend on the position in the window, so that other window positions would show."""
    model = FakeModel(FakeConfig(stride_steps=stride), weight_of_place=2.0)
    recording = probe(card / "0.wav")
    samples, _ = soundfile.read(card / "0.wav", dtype="float32")
    whole = frame_scores(model, [samples], window_overlap=overlap)
    smoothed = [smooth(whole[0], 3), whole[1]]
    found = score_events(recording, model, events, overlap)
    for (start, end), scores in zip(events, found, strict=True):
        first = int(start * RATE / STEP + 1e-6)
        here = slice(first, max(int(np.ceil(end * RATE / STEP - 1e-6)), first + 1))
        np.testing.assert_allclose(scores, [values[here].max() for values in smoothed], atol=6e-4)


def test_an_event_after_the_end_of_a_short_recording_has_no_score(card):
    found = score_events(probe(card / "1.wav"), FakeModel(), [(0.0, 0.5), (0.89, 7.0), (0.9, 1.0)])
    assert [scores is None for scores in found] == [False, False, True]


def test_scores_are_calibrated(card):
    calibration = {"rumble": Calibration(raw=(0.0, 1.0), probability=(0.5, 0.5))}
    found = score_events(probe(card / "1.wav"), FakeModel(FakeConfig(calibration=calibration)), [(0.0, 0.5)])
    assert found[0][0] == 0.5 and found[0][1] != 0.5


def test_only_windows_near_an_event_are_computed(card):
    class Counting(FakeModel):
        windows = 0

        def logits(self, windows):
            self.windows += len(windows)
            return super().logits(windows)

    model = Counting()
    score_events(probe(card / "0.wav"), model, [(30.0, 30.5)], window_overlap=0.25)
    assert 2 <= model.windows <= 6


def test_a_raven_table_keeps_every_column_and_row(card, tmp_path):
    table = tmp_path / "theirs.txt"
    lines = [
        "Selection\tView\tBegin Time (s)\tEnd Time (s)\tNote\tBegin File",
        'x\tWaveform 1\t1.5\t2.50\t5" call\t0.wav',
        "x\tSpectrogram 1\t1.5\t2.50\t\tC:\\sd\\0.WAV",
        "2\t\t?\t3\tno place\t0.wav",
        "3\t\t0.1\t0.2\t\tnowhere.wav",
        "4\t\t70\t71\tafter the recording\t0.wav",
        "5\t\t0\t10\tnocall\t1.wav",
        "6\t\t0\t0.4",
    ]
    table.write_bytes("\r\n".join([*lines[:-1], lines[-1] + "\t\t1.wav", ""]).encode())
    summary = score_table(table, FakeModel(), tmp_path / "out", recordings=[card])
    assert (summary.rows, summary.scored, str(summary)) == (7, 3, "3 of 7 rows scored")
    written = (tmp_path / "out/theirs.txt").read_text().splitlines()
    assert written[0] == lines[0] + "\tLoxo rumble\tLoxo gunshot"
    for before, after in zip([*lines[1:-1], lines[-1] + "\t\t1.wav"], written[1:], strict=True):
        assert after.startswith(before + "\t")
    cells = [line.split("\t")[-2:] for line in written[1:]]
    assert cells[0] == cells[1] and 0 <= float(cells[0][0]) <= 1 and cells[2:6] == [["", ""]] * 4
    for word in ("'?'", "nowhere.wav", "after the end"):
        assert sum(word in sentence for sentence in summary.problems) == 1
    assert json.loads((tmp_path / "out/score.json").read_text())["problems"] == summary.problems
    assert len(read_raven(tmp_path / "out/theirs.txt", strict=False)) >= 3


def test_a_csv_of_another_program(card, tmp_path):
    (tmp_path / "birdnet.csv").write_text(
        f'Start (s),End (s),Scientific name,Common name,Confidence,File\n0.0,3.0,"A, b",Gun,0.4,{card}/0.wav\n'
    )
    summary = score_table(tmp_path / "birdnet.csv", FakeModel(), tmp_path / "out")
    header, row = (tmp_path / "out/birdnet.csv").read_text().splitlines()
    assert header.endswith("File,Loxo rumble,Loxo gunshot") and row.startswith('0.0,3.0,"A, b",Gun,0.4,')
    assert summary.problems == [] and summary.scored == 1


def test_numbers_with_two_readings_are_reported(card, tmp_path):
    (tmp_path / "a.txt").write_text("Begin Time (s)\tEnd Time (s)\tBegin File\n12,345\t12,350\t0.wav\n")
    summary = score_table(tmp_path / "a.txt", FakeModel(), tmp_path / "out", recordings=[card])
    assert len(summary.problems) == 1 and "two readings" in summary.problems[0]


def test_the_given_table_is_never_replaced(card, tmp_path):
    (tmp_path / "a.txt").write_text("Begin Time (s)\tEnd Time (s)\tBegin File\n")
    with pytest.raises(LoxoError, match="Give another"):
        score_table(tmp_path / "a.txt", FakeModel(), tmp_path)
    with pytest.raises(LoxoError, match="cannot be opened"):
        score_table(tmp_path / "b.txt", FakeModel(), tmp_path / "out")


def test_recordings_of_one_name_are_distinguished_by_their_folders(card, tmp_path):
    for site in ("nn01", "nn02"):
        (tmp_path / site).mkdir()
        (tmp_path / site / "a.wav").write_bytes((card / "1.wav").read_bytes())
    table = tmp_path / "t.txt"
    table.write_text("Begin Time (s)\tEnd Time (s)\tBegin Path\n0\t0.5\tZ:\\all\\nn02\\a.wav\n0\t0.5\ta.wav\n")
    summary = score_table(table, FakeModel(), tmp_path / "out", recordings=[tmp_path / "nn01", tmp_path / "nn02"])
    assert summary.scored == 1 and "several recordings" in summary.problems[0]


def test_a_server_that_only_a_table_names_gets_no_request(card, tmp_path, serve):
    server = serve({"/0.wav": (card / "0.wav").read_bytes()})
    table = tmp_path / "t.txt"
    table.write_text(f"Begin Time (s)\tEnd Time (s)\tBegin Path\tNote\n0\t0.5\t{server.url}/0.wav\t=1+1\n")
    summary = score_table(table, FakeModel(), tmp_path / "out")
    assert summary.scored == 0 and "no request was sent to it" in summary.problems[0] and not server.requests
    summary = score_table(table, FakeModel(), tmp_path / "out", recordings=[f"{server.url}/"])
    assert summary.scored == 1 and "\t'=1+1\t" in (tmp_path / "out/t.txt").read_text()
