"""Scores and thresholds from the decisions of a review."""

import csv
import json
import shutil

import numpy as np
import pytest
from fakes import RATE, FakeConfig, FakeModel

from loxo.engine.config import Calibration, Decoding
from loxo.engine.model_file import read_model_file
from loxo.errors import LoxoError
from loxo.evaluation.calibration import rescored
from loxo.files import sha256_of, write_atomically
from loxo.report.estimate import fit
from loxo.review.calibrate import calibrate_review, decode_reviewed, fit_review, fit_scores
from loxo.review.session import Session
from loxo.runs.read import read_run
from loxo.survey.survey import survey
from loxo.survey.thresholds import by_review, false_positives_in

BEFORE = Calibration(raw=(0.0, 0.5, 1.0), probability=(0.0, 0.3, 0.95))


class Calibrated(FakeModel):
    def __init__(self) -> None:
        super().__init__(FakeConfig(calibration={"rumble": BEFORE}))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of 60 hums of rising loudness in two recordings, without kept scores."""
    import soundfile

    folder = tmp_path_factory.mktemp("reviewed")
    time = np.arange(150 * RATE) / RATE
    for number in range(2):
        loud = np.interp(time, (0, 150), (0.2, 0.6) if number else (0.15, 0.5))
        samples = 0.01 * np.random.default_rng(number).standard_normal(len(time))
        samples += loud * np.sin(2 * np.pi * 30 * time) * (time % 5 < 1)
        (folder / "card").mkdir(exist_ok=True)
        soundfile.write(folder / "card" / f"nn0{number}_20200101_000000.wav", samples, RATE)
    for name, keep in (("run", False), ("kept", True)):
        survey([folder / "card"], "fake", folder / name, load=Calibrated, threshold=0.02, keep_scores=keep)
    return folder


def review(run, verdict, every=1):
    """Decides every n-th rumble: verdict(score) is True for a call."""
    session = Session(run, "Ana")
    events = session.run.events
    rows = np.flatnonzero(events["label"] == "rumble")[::every]
    changes = [{"row": int(row), "verdict": "yes" if verdict(events["score"][row]) else "no"} for row in rows]
    session.act(changes)
    session.close()
    return len(changes)


def csv_rows(path):
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture
def run(made, tmp_path):
    return shutil.copytree(made / "run", tmp_path / "run")


def simulated(rng, recordings, hourly=20.0):
    """Events of recordings of one hour: scores, whether they are right, and recordings. False ones occur in groups."""
    counts = rng.poisson(hourly * rng.gamma(2.0, 0.5, recordings))
    logits = rng.normal(-1.5, 2.0, counts.sum())
    right = rng.random(len(logits)) < 1 / (1 + np.exp(1 - 1.3 * logits))
    return 1 / (1 + np.exp(-logits)), right, np.repeat(np.arange(recordings), counts)


def test_the_run_after_a_review_has_as_many_false_positives_as_its_interval_states():
    inside, wide = 0, []
    for seed in range(16):
        rng = np.random.default_rng(seed)
        scores, right, recording = simulated(rng, 24)
        decided = rng.random(len(scores)) < 0.3
        curve = fit(scores[decided], right[decided])
        hours = np.full(24, 3600.0)
        verdicts = np.where(decided, right, np.nan)
        found = fit_scores("rumble", scores, verdicts, recording, hours, curve, before=BEFORE, decoding=Decoding())
        choice = by_review(FakeConfig(curves={"rumble": found.curve}), 100, 72.0)
        point = found.curve.threshold.index(choice.thresholds["rumble"])
        low, high = false_positives_in(found.curve, point, 72.0)
        new, true, _ = simulated(rng, 72)
        listed = rescored(new, BEFORE, found.calibration) >= choice.thresholds["rumble"]
        inside += low <= int((listed & ~true).sum()) <= high
        wide.append(high - low)
        assert f"{low:.0f} to {high:.0f}" in choice.sentences[-1]
    assert inside >= 14 and 30 < np.mean(wide) < 200


def test_a_partial_review_of_one_class_fits_this_class_and_keeps_the_other(run, loxo):
    decided = review(run, lambda score: score > 0.5, every=2)
    found = fit_review(run)
    assert list(found.fits) == ["rumble"] and found.kept == {"gunshot": 0}
    one = found.fits["rumble"]
    assert one.decided == decided < 60 and 0 < one.right < decided
    # The decisions agree with a border at 0.5, so calls below it score less than before, and calls above it more.
    assert rescored(np.array([0.2, 0.9]), BEFORE, one.calibration) == pytest.approx([0, 1], abs=0.15)
    assert one.after.right > 0.9 and one.after.low <= one.after.right <= one.after.high
    code, out, err = loxo("calibrate", "--review", run)
    assert code == 0, err
    assert f"rumble: {decided} decisions, {one.right} of them right." in out and "The threshold was 0.5 and is" in out
    assert "Keep events that score" in out and "% of the" in out and "Nothing was written" in out
    assert "gunshot: 0 decisions, 20 too few. Its scores and threshold are kept." in out
    assert ("This threshold is weak" in out) == (one.right < 20)


def test_every_confirmed_event_above_the_threshold_is_still_listed(run, tmp_path):
    """The tables are listed anew with the decisions, also without kept scores."""
    review(run, lambda score: score > 0.5)
    one = fit_review(run).fits["rumble"]
    decode_reviewed(run, tmp_path / "new")
    session = Session(tmp_path / "new", "Ana")
    events = session.run.events
    rumbles = events[events["label"] == "rumble"]
    assert len(rumbles) == one.after.events and (rumbles["score"] >= one.after.threshold).all()
    verdicts = [session.decisions[name].verdict for name in session.names if name in session.decisions]
    assert len(verdicts) == len(rumbles) and verdicts.count("yes") == one.right
    session.act([{"row": 0, "note": "later"}])
    session.close()
    log = next((tmp_path / "new" / "review").iterdir())
    before = log.read_bytes()
    decode_reviewed(run, tmp_path / "new")  # the same call resumes, and keeps later decisions
    assert log.read_bytes() == before and read_run(tmp_path / "new").parameters["calibration"]["rumble"]


def test_kept_scores_give_the_same_events_as_the_listed_ones(made, run, tmp_path, loxo):
    kept = shutil.copytree(made / "kept", tmp_path / "kept")
    for folder in (run, kept):
        review(folder, lambda score: score > 0.5)
        code, out, err = loxo("decode", folder, "--reviewed", "--out", f"{folder}-new")
        assert code == 0 and "Keep events that score" in out, err
    rows = [csv_rows(tmp_path / f"{name}-new" / "events.csv") for name in ("run", "kept")]
    listed = [[(row["label"], row["start_s"], row["end_s"]) for row in table] for table in rows]
    assert listed[0] == listed[1] and len(listed[0]) >= 20
    scores = [[float(row["score"]) for row in table] for table in rows]
    assert scores[0] == pytest.approx(scores[1], abs=2e-5)
    with pytest.raises(LoxoError, match="--keep-scores"):
        decode_reviewed(run, tmp_path / "other", changes={"smooth_s": 1.0})


def test_the_model_gets_the_fit_and_its_provenance_says_weak(run, tmp_path):
    with pytest.raises(LoxoError, match=r"too few events were decided \(0 of rumble, 0 of gunshot\).*loxo review"):
        fit_review(run)
    review(run, lambda score: score > 0.9, every=2)
    with pytest.raises(LoxoError, match=r"default: this is not the model of the run .*'fake'"):
        calibrate_review(run, tmp_path / "mine.safetensors")
    record = json.loads((run / "run.json").read_text())
    source = read_model_file("default")
    record["parameters"]["model_sha256"] = sha256_of(source.path)
    write_atomically(run / "run.json", json.dumps(record).encode())
    one = calibrate_review(run, tmp_path / "mine.safetensors").fits["rumble"]
    written = read_model_file(tmp_path / "mine.safetensors")
    assert written.config.calibration["rumble"] == one.calibration and written.config.curves["rumble"] == one.curve
    assert written.config.decoding["rumble"].threshold == one.after.threshold
    assert written.config.calibration["gunshot"] == source.config.calibration["gunshot"]
    assert written.provenance["calibration"]["rumble"]["weak"] is (one.right < 20) is True
    assert written.weights_sha256 == source.weights_sha256
