"""`loxo calibrate`: what scores are worth on someone's own recordings, and what is said before hours of search."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from loxo.engine.model_file import read_model_file
from loxo.errors import LoxoError
from loxo.evaluation import calibrate as module
from loxo.evaluation.calibrate import calibrate
from loxo.evaluation.calibration import calibrated_scores
from loxo.evaluation.evaluate import evaluate
from loxo.events.reader import read_events
from loxo.simulation.simulate import simulate
from loxo.survey.survey import survey


@pytest.fixture(scope="module")
def hour(tmp_path_factory):
    """(folder of six minutes, its table)"""
    folder = tmp_path_factory.mktemp("hour")
    simulate(folder, 0.1, 5, file_hours=0.05, rumbles_per_hour=150.0, gunshots_per_hour=100.0)
    return folder, folder / "truth.txt"


@pytest.fixture(autouse=True)
def one_search(hour, monkeypatch):
    """All calibrations of the six minutes use the same search of them."""

    def once(recordings, model, out, **options):
        kept = hour[0].parent / "kept"
        if list(map(Path, recordings)) != [hour[0]]:
            return survey(recordings, model, out, **options)
        if not kept.exists():
            survey(recordings, model, kept, **options)
        shutil.copytree(kept, out)
        return None

    monkeypatch.setattr(module, "survey", once)


def test_the_file_tells_what_scores_are_worth_here(hour, tmp_path):
    folder, truth = hour
    out = tmp_path / "mine.safetensors"
    fits = calibrate("default", [truth], [folder], out, max_fp_per_hour=30.0)
    before, after = read_model_file("default"), read_model_file(out)
    assert after.weights_sha256 == before.weights_sha256
    for label, fit in fits.items():
        assert fit.events > 5 and fit.fp_per_hour <= 30.0 and 0 <= fit.recall <= 1
        assert after.config.decoding[label].threshold == pytest.approx(fit.threshold, abs=1e-6)
        curve = after.config.curves[label]
        assert f"{fit.events} {label}s" in curve.data and fit.threshold in curve.threshold
        raw = np.linspace(0.01, 0.99, 20)
        assert (np.diff(calibrated_scores(raw, after.config.calibration[label])) > 0).all()


def test_a_threshold_keeps_the_event_that_it_stands_on(hour, tmp_path):
    """The lowest threshold of a curve lists again all the events that were found, also the one with this score."""
    folder, truth = hour
    out = tmp_path / "mine.safetensors"
    fits = calibrate("default", [truth], [folder], out, max_fp_per_hour=1e6)
    summary = survey([folder], out, tmp_path / "run")
    case = evaluate([truth], [summary.folder]).report["detectors"][0]["classes"]
    for label, fit in fits.items():
        figures = case[label]["criteria"]["iou30"]
        assert figures["recall"] == pytest.approx(fit.recall) and figures["false_per_hour"] == pytest.approx(
            fit.fp_per_hour
        )
    assert fits["gunshot"].weak and read_model_file(out).provenance["calibration"]["gunshot"]["weak"]
    assert any("weak" in sentence for sentence in fits["gunshot"].sentences("gunshot"))


def test_the_time_outside_the_searched_spans_is_no_negative(hour, tmp_path):
    folder, truth = hour
    events = read_events(truth)
    first = events["recording"].iloc[0]
    half = events[(events["recording"] == first) & (events["end_s"] < 90)]
    columns = ["recording", "start_s", "end_s", "label"]
    half[columns].to_csv(tmp_path / "half.csv", index=False)
    (tmp_path / "searched.csv").write_text(f"recording,start_s,end_s\n{first},0,90\n")
    options = {"max_fp_per_hour": 20.0, "searched": tmp_path / "searched.csv"}
    fits = calibrate("default", tmp_path / "half.csv", folder, tmp_path / "mine.safetensors", **options)
    curve = read_model_file(tmp_path / "mine.safetensors").config.curves["rumble"]
    assert curve.hours == pytest.approx(90 / 3600) and fits["rumble"].events == (half["label"] == "rumble").sum()
    assert max(curve.recall) > 0.8 and min(curve.fp_sd) > 0


def test_one_class_is_calibrated_and_the_other_stays_as_it_was(hour, tmp_path, loxo):
    """From tables with labels and file names of their own, on the command line."""
    folder, truth = hour
    table = read_events(truth)
    table = table[table["label"] == "rumble"].assign(label="RUM")
    table["recording"] = "dzan" + table["recording"].map(lambda name: Path(name).name)
    table[["recording", "start_s", "end_s", "label"]].to_csv(tmp_path / "rumbles.csv", index=False)
    out = tmp_path / "mine.safetensors"
    truth_options = ("--truth", tmp_path / "rumbles.csv", "--labels", "RUM=rumble", "--rename", "dzan=")
    assert "--rename" in loxo("calibrate", folder, *truth_options, "--out", out)[2]
    for path in folder.glob("*.flac"):
        (tmp_path / "dz").mkdir(exist_ok=True)
        (tmp_path / "dz" / f"dz{path.name}").write_bytes(path.read_bytes())
    truth_options = (*truth_options[:-1], "dzan=dz")
    code, shown, err = loxo("calibrate", tmp_path / "dz", *truth_options, "--workers", 1, "--out", out)
    assert code == 0 and "gunshot: no true events in the tables; its calibration stays" in shown, err
    before, after = read_model_file("default").config, read_model_file(out).config
    for part in ("decoding", "calibration", "curves"):
        assert getattr(after, part)["gunshot"] == getattr(before, part)["gunshot"]
    assert after.calibration["rumble"] != before.calibration["rumble"]


def test_tables_without_any_class_of_the_model_are_told_before_the_search(hour, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "survey", lambda *_, **__: pytest.fail("it has searched"))
    table = tmp_path / "table.csv"
    name = next(hour[0].glob("*.flac")).name
    table.write_text(f"recording,start_s,end_s,label\n{name},1,3,RUM\n")
    with pytest.raises(LoxoError, match=r"no rumble and no gunshot. Their labels are 'RUM' .*--labels RUM=rumble"):
        calibrate("default", [table], [hour[0]], tmp_path / "none.safetensors")


def test_names_that_do_not_fit_are_told_before_the_search(hour, tmp_path, monkeypatch):
    folder, _ = hour
    monkeypatch.setattr(module, "survey", lambda *_, **__: pytest.fail("it has searched"))
    table = tmp_path / "table.csv"
    table.write_text("recording,start_s,end_s,label\nelsewhere_20190522_000000.wav,1,3,rumble\n")
    with pytest.raises(LoxoError, match="None of the tables' recordings"):
        calibrate("default", [table], [folder], tmp_path / "none.safetensors")
    one = next(folder.glob("*.flac"))
    for site in ("a", "b"):
        (tmp_path / site).mkdir()
        (tmp_path / site / one.name).write_bytes(one.read_bytes())
    table.write_text(f"recording,start_s,end_s,label\n{one.name},1,3,rumble\n")
    with pytest.raises(LoxoError, match="Write the folder into the tables"):
        calibrate("default", [table], [tmp_path / "a", tmp_path / "b"], tmp_path / "none.safetensors")
    assert not (tmp_path / "none.safetensors").exists()
