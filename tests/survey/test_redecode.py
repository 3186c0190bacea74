"""Kept scores, and runs that are decoded from them again."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fakes import RATE, STEP, FakeConfig, FakeModel
from hypothesis import given, settings
from hypothesis import strategies as st

from loxo.audio.filenames import Names
from loxo.detection.scores import rounded
from loxo.engine.config import FORMER_NAMES, Calibration, OperatingCurve
from loxo.errors import LoxoError
from loxo.events.raven import read_raven
from loxo.runs.config import by_class
from loxo.runs.read import read_run
from loxo.runs.scores import read_score_file, read_scores, write_scores
from loxo.survey.redecode import analysed_hours, redecode
from loxo.survey.survey import survey

FORMATS = "raven,audacity,kaleidoscope"
CURVE = OperatingCurve(threshold=(0.9, 0.1), fp_per_hour=(0.5, 60.0), recall=(0.4, 0.9), data="Tests.")


class Calibrated(FakeModel):
    def __init__(self) -> None:
        raw, probability = (0.0, 0.9, 1.0), (0.0, 0.3, 0.95)
        calibration = {"rumble": Calibration(raw=raw, probability=probability)}
        super().__init__(FakeConfig(calibration=calibration, curves={"rumble": CURVE}))


def record(path: Path, seconds: float = 40.0, calls: tuple[float, ...] = (12.0, 14.5), seed: int = 0) -> None:
    time = np.arange(round(seconds * RATE)) / RATE
    samples = 0.01 * np.random.default_rng(seed).standard_normal(len(time))
    for start in calls:
        here = (time >= start) & (time < start + 1.5)
        samples += 0.4 * np.sin(2 * np.pi * 30 * time) * here
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, RATE)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run of three recordings, one silent, one cut, and one that failed."""
    folder = tmp_path_factory.mktemp("redecode")
    record(folder / "card/nn01_20200101_000000.wav")
    record(folder / "card/nn02_20200101_000000.wav", calls=(), seed=1)
    record(folder / "card/cut.wav", calls=(3.0,), seed=2)
    cut = folder / "card/cut.wav"
    cut.write_bytes(cut.read_bytes()[: 20 * RATE * 2])
    (folder / "card/bad.wav").write_text("no audio")
    survey([folder / "card"], "fake", folder / "run", load=Calibrated, threshold=0.2, keep_scores=True, formats=FORMATS)
    return folder / "run"


def test_the_same_parameters_give_the_same_bytes(run, tmp_path):
    summary = redecode(run, tmp_path / "again", threshold=0.2, formats=FORMATS)
    before, after = contents(run), contents(tmp_path / "again")
    same = [name for name in before if not name.startswith(("scores/", "run.json", "journal"))]
    assert len(same) >= 10 and {name: before[name] for name in same} == {name: after[name] for name in same}
    assert (summary.recordings, len(summary.problems)) == (3, 2)
    assert summary.events == sum(item["events"] for item in json.loads(before["run.json"])["recordings"]) > 0
    old, new = (json.loads(found["run.json"])["recordings"] for found in (before, after))
    assert [{**row, "notes": None} for row in new] == [{**row, "notes": None} for row in old]
    resumed = redecode(run, tmp_path / "again", threshold=0.2, formats=FORMATS)
    assert resumed.resumed == 3 and contents(tmp_path / "again").keys() == after.keys()


def test_other_parameters_give_other_events(run, tmp_path):
    few = redecode(run, tmp_path / "few", threshold={"rumble": 0.9, "gunshot": 1.0}, changes={"smooth_s": 1.1})
    many = redecode(run, tmp_path / "many", threshold=0.0, changes={"min_duration_s": {"rumble": 0.0}})
    assert few.events < many.events
    decoding = json.loads((tmp_path / "many/run.json").read_text())["parameters"]["decoding"]
    assert (decoding["rumble"]["min_duration_s"], decoding["rumble"]["smooth_s"]) == (0.0, 0.3)
    with pytest.raises(LoxoError, match=r"decoding\.rumble\.min_duration_s 0\.0 is now 0\.5"):
        redecode(run, tmp_path / "many", threshold=0.0, changes={"min_duration_s": 0.5})
    joined = redecode(run, tmp_path / "joined", threshold=0.2, changes={"merge_gap_s": {"rumble": 5.0}})
    rumbles = read_raven(tmp_path / "joined/tables/nn01_20200101_000000.selections.txt")
    assert joined.events and (rumbles[rumbles["label"] == "rumble"]["end_s"].iloc[0]) > 15


def as_before_the_renaming(run: Path) -> None:
    """Gives the parameters in run.json the names that they had in earlier versions."""
    record = json.loads((run / "run.json").read_text())
    parameters = record["parameters"]
    parameters["overlap"] = parameters.pop("window_overlap")
    for decoding in parameters["decoding"].values():
        for former, name in FORMER_NAMES["decoding"].items():
            decoding[former] = decoding.pop(name)
    (run / "run.json").write_text(json.dumps(record))


def test_a_run_with_the_former_names_is_read_resumed_and_decoded_again(run, tmp_path):
    card, options = [run.parent / "card"], {"load": Calibrated, "threshold": 0.2, "formats": FORMATS}
    old = tmp_path / "old"
    survey(card, "fake", old, keep_scores=True, **options)
    before, parameters = contents(old), read_run(old).parameters
    as_before_the_renaming(old)
    assert read_run(old).parameters == parameters and parameters["decoding"]["rumble"]["edge_ratio"] == 0.5
    redecode(old, tmp_path / "again", threshold=0.2, formats=FORMATS)
    assert contents(tmp_path / "again")["events.csv"] == before["events.csv"]
    assert read_run(tmp_path / "again").parameters["window_overlap"] == parameters["window_overlap"]
    with pytest.raises(LoxoError, match=r"window_overlap 0\.125 is now 0\.5"):
        survey(card, "fake", old, keep_scores=True, window_overlap=0.5, **options)
    resumed = survey(card, "fake", old, keep_scores=True, **options)
    assert resumed.resumed == 3 and contents(old)["run.json"] == before["run.json"]


def test_scores_of_a_run_and_of_one_decoded_from_it(run, tmp_path):
    redecode(run, tmp_path / "again")
    recording = str(run.parent / "card/nn01_20200101_000000.wav")
    kept, same = read_scores(run, recording), read_scores(tmp_path / "again", recording)
    assert kept.labels == ("rumble", "gunshot") and kept.hop_s == STEP / RATE and kept.scores.shape == (2, 400)
    np.testing.assert_array_equal(kept.scores, same.scores)
    again = redecode(tmp_path / "again", tmp_path / "third", threshold=0.2)
    assert again.recordings == 3
    for name in ("again", "third"):  # without copies
        assert (tmp_path / name / "scores/nn01_20200101_000000.npz").samefile(run / "scores/nn01_20200101_000000.npz")
    shutil.rmtree(tmp_path / "third/scores")  # as earlier versions left it: the path in run.json is not followed
    with pytest.raises(LoxoError, match=f"was decoded from the scores of {tmp_path / 'again'} and has none itself"):
        redecode(tmp_path / "third", tmp_path / "fourth")
    with pytest.raises(LoxoError, match="no recording"):
        read_scores(run, "other.wav")


def test_other_name_patterns_and_time_zones_can_be_given(run, tmp_path):
    redecode(run, tmp_path / "zone", threshold=0.2, names=Names(time_zone="Africa/Brazzaville"))
    rows = (tmp_path / "zone/events.csv").read_text()
    assert "nn01,2020-01-01T00:00:1" in rows and "+01:00" in rows


def test_frequencies_of_new_events_are_measured_if_the_recordings_exist(run, tmp_path):
    redecode(run, tmp_path / "new", threshold=0.2, changes={"edge_ratio": 0.9})
    table = read_raven(tmp_path / "new/tables/nn01_20200101_000000.selections.txt")
    assert table[table["label"] == "rumble"]["high_hz"].between(29, 36).all()
    card = run.parent / "card"
    card.rename(run.parent / "moved")
    try:
        gone = redecode(run, tmp_path / "gone", threshold=0.2, changes={"edge_ratio": 0.8})
        redecode(run, tmp_path / "same", threshold=0.2)
    finally:
        (run.parent / "moved").rename(card)
    assert gone.recordings == 3 and contents(tmp_path / "same")["events.csv"] == contents(run)["events.csv"]
    notes = [item["notes"] for item in json.loads((tmp_path / "gone/run.json").read_text())["recordings"]]
    assert sum("could not be measured" in note for row in notes for note in row) >= 1


def test_impossible_requests_are_refused_with_the_reason(run, tmp_path):
    survey([run.parent / "card"], "fake", tmp_path / "plain", load=FakeModel)
    for fault, source, out, options in [
        ("no kept scores", tmp_path / "plain", tmp_path / "x", {}),
        ("run itself", run, run, {}),
        ("no run.json", tmp_path, tmp_path / "x", {}),
        ("'whistle'", run, tmp_path / "x", {"changes": {"smooth_s": {"whistle": 1.0}}}),
        ("no decoding parameter", run, tmp_path / "x", {"changes": {"threshold": 1.0}}),
        ("between 0 and 1", run, tmp_path / "x", {"changes": {"edge_ratio": 1.5}}),
        ("between 0 and 1", run, tmp_path / "x", {"threshold": 1.5}),
        ("no format", run, tmp_path / "x", {"formats": "excel"}),
    ]:
        with pytest.raises(LoxoError, match=fault):
            redecode(source, out, **options)
    assert not (tmp_path / "x").exists()
    assert analysed_hours(run) == pytest.approx((40 + 40 + 20) / 3600, abs=1e-4)


def test_formats_may_change_when_a_run_is_resumed(run, tmp_path):
    pytest.importorskip("pyarrow")
    card = [run.parent / "card"]
    survey(card, "fake", tmp_path / "run", load=Calibrated, threshold=0.2, formats="csv")
    assert not (tmp_path / "run/tables").exists() and (tmp_path / "run/events.csv").is_file()
    recordings = json.loads((tmp_path / "run/run.json").read_text())["recordings"]
    assert {item["table"] for item in recordings} == {None}
    assert sum(item["name"] is not None for item in recordings) == 3
    assert list(read_run(tmp_path / "run").recordings["table"].dropna()) == [
        f"tables/{item['name']}.selections.txt" for item in recordings if item["name"]
    ]
    again = survey(card, "fake", tmp_path / "run", load=Calibrated, threshold=0.2, formats="raven,audacity,parquet")
    survey(card, "fake", tmp_path / "whole", load=Calibrated, threshold=0.2, formats="raven,audacity,parquet")
    assert again.resumed == 3
    before, after = contents(tmp_path / "run"), contents(tmp_path / "whole")
    same = [name for name in after if name.startswith(("tables", "labels", "events"))]
    assert len(same) == 10 and {name: before[name] for name in same} == {name: after[name] for name in same}
    silent = read_raven(tmp_path / "run/events.selections.txt")
    assert list((tmp_path / "run/events.files.txt").read_text().splitlines()) == sorted(
        str(path) for path in card[0].iterdir() if path.name != "bad.wav"
    )
    assert silent["start_s"].max() < 40


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=50))
def test_the_stated_error_of_stored_scores(values):
    exact = np.array([values], np.float32)
    error = np.abs(rounded(exact).astype(float) - exact)
    assert (error <= np.maximum(exact / 2048, 6e-8)).all() and error.max() <= 0.00025
    np.testing.assert_array_equal(rounded(rounded(exact)), rounded(exact))


def test_a_score_file_is_plain_numpy_small_and_whole(tmp_path):
    logits = np.cumsum(np.random.default_rng(0).standard_normal((2, 270_000)) * 0.3, axis=1) % 9 - 7
    scores = 1 / (1 + np.exp(-logits))
    for name in ("a.npz", "b.npz"):
        write_scores(tmp_path / name, ("rumble", "gunshot"), scores, 0.32)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert (tmp_path / "a.npz").stat().st_size < 1.1e6  # a day
    with np.load(tmp_path / "a.npz") as file:
        assert file["rumble"].dtype == np.float16 and file["hop_s"] == 0.32
    np.testing.assert_array_equal(read_score_file(tmp_path / "a.npz").scores, rounded(scores))
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:5000])
    (tmp_path / "c.npz").write_text("no")
    np.savez(tmp_path / "d.npz", rumble=np.zeros(3))
    for name in "bcd":
        with pytest.raises(LoxoError, match=r"damaged|no file"):
            read_score_file(tmp_path / f"{name}.npz")
    with pytest.raises(LoxoError, match="keep-scores"):
        read_score_file(tmp_path / "e.npz")
    with pytest.raises(LoxoError, match="hop_s"):
        write_scores(tmp_path / "f.npz", ("hop_s",), scores[:1], 0.32)


def test_options_by_class():
    assert by_class("0.5", "--smooth") == 0.5
    assert by_class("rumble=0.5, gunshot=1", "--smooth") == {"rumble": 0.5, "gunshot": 1.0}
    with pytest.raises(LoxoError, match="--smooth takes"):
        by_class("much", "--smooth")
