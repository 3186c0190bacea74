"""Cross-validation at the smallest size: folds, resume, the table; and the model card of a run."""

import csv
import dataclasses
import json
import types

import numpy as np
import pytest

from loxo import LoxoError, read_raven, write_raven
from loxo.files import sha256_of
from loxo.simulation.simulate import simulate
from loxo.training import folds as folds_module
from loxo.training.annotations import AnnotatedRecording, Annotations
from loxo.training.config_io import read_config
from loxo.training.folds import cross_validate
from loxo.training.split import make_folds, split_annotations
from loxo.training.train import train

TINY = "model={embed_dim: 8, num_heads: [1, 2, 4], depths: [1, 1, 1], window_samples: 20480, image_frames: 128}"
QUICK = (
    *(TINY, "iterations=2", "validation_interval=2", "batch_size=2", "workers=0", "precision=32-true"),
    *("data.validation_windows=8", "log.plots=0", "log.tensorboard=false", "data.terms=own recordings, CC BY 4.0"),
)


@pytest.fixture(autouse=True)
def no_graph(monkeypatch):
    """Graphs take seconds, and no test here needs one."""
    monkeypatch.setattr("loxo.training.train.write_graph", lambda path: None)


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folds") / "survey"
    simulate(folder, 0.1, 1, file_hours=0.02, rumbles_per_hour=400, gunshots_per_hour=300)
    return folder


def config(survey, *words):
    return read_config(words=[*QUICK, f"data.tables={survey}", f"data.recordings={survey}", *words])


def annotations(sites, seed=0):
    rng = np.random.default_rng(seed)
    recordings = [
        AnnotatedRecording(
            recording=types.SimpleNamespace(path=f"{site}/{k}.wav"),
            samples=int(rng.integers(1000, 3000)),
            site=site,
            day=None,
            events=tuple(("rumble", n, n + 1) for n in range(int(rng.integers(1, 5)))),
        )
        for site in sites
        for k in range(3)
    ]
    return Annotations(classes=("rumble",), sample_rate=10, recordings=tuple(recordings))


def test_each_site_is_validated_once_and_never_trained_on_there():
    survey = annotations("abcdefg")
    for count in (0, 2, 3, 7):
        parts = make_folds(survey, count, by="site", seed=5)
        assert sorted(name for part in parts for name in part) == list("abcdefg") and len(parts) == (count or 7)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
        assert parts == make_folds(survey, count, by="site", seed=5)
        for k, part in enumerate(parts, 1):
            training, validation = split_annotations(survey, 0.1, by="site", seed=5, folds=count, fold=k)
            assert {one.site for one in validation.recordings} == set(part)
            assert {one.site for one in training.recordings} == set("abcdefg") - set(part)
    for wrong in (1, 8):
        with pytest.raises(LoxoError, match=f"needs 2 to 7 folds here.*data.folds is {wrong}"):
            make_folds(survey, wrong, by="site")
    with pytest.raises(LoxoError, match="There are 7 folds"):
        split_annotations(survey, 0.1, by="site", folds=0, fold=8)


def test_a_killed_cross_validation_continues_and_finished_folds_stay(survey, tmp_path, monkeypatch):
    out, one = tmp_path / "cv", config(survey, "data.folds=2", "data.simulated=0.5")

    def stop(iteration, iterations, figures):
        if (out / "fold-02").exists() and iteration == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cross_validate(one, out, on_progress=stop)
    before = (out / "fold-01/model.safetensors").stat().st_mtime_ns
    with pytest.raises(LoxoError, match=r"other settings \(seed\)"):
        cross_validate(dataclasses.replace(one, seed=9), out, resume=True)
    with pytest.raises(LoxoError, match="already exists"):
        cross_validate(one, out)
    numbers = []
    path = cross_validate(one, out, resume=True, on_fold=lambda k, of: numbers.append((k, of)))
    assert numbers == [(1, 2), (2, 2)] and (out / "fold-01/model.safetensors").stat().st_mtime_ns == before
    parts = [json.loads((out / f"fold-0{k}/run.json").read_text())["data"]["recordings"] for k in (1, 2)]
    validated = [part["validation"] for part in parts]
    assert not set(validated[0]) & set(validated[1]) and len(validated[0]) + len(validated[1]) == 5
    with (out / "folds.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["fold"] for row in rows] == ["1", "2", "mean", "standard deviation"] * 2
    for figure in ("event_ap", "recall"):
        a, b, mean, deviation = (float(row[figure]) for row in rows[:4])
        assert mean == pytest.approx((a + b) / 2, abs=1e-4)
        assert deviation == pytest.approx(np.std([a, b], ddof=1), abs=1e-4)
    assert path.read_text().startswith("# Cross-validation by recording: 2 of 2 folds")
    monkeypatch.setattr(folds_module, "train", None)  # finished folds are not trained again
    cross_validate(one, out, resume=True)


def test_a_fold_that_cannot_be_trained_is_stated_and_the_others_are_trained(survey, tmp_path):
    for path in sorted(survey.glob("*.flac"))[:3]:
        (tmp_path / path.name).symlink_to(path)
        table = read_raven(next(survey.glob(f"{path.stem}*.txt")))
        if not (tmp_path / "kept").exists():
            table, name = table[table["label"] == "rumble"], path.name
            (tmp_path / "kept").touch()
        write_raven(table, tmp_path / f"{path.stem}.selections.txt")
    cross_validate(config(tmp_path, "data.folds=0"), tmp_path / "cv")
    with (tmp_path / "cv/folds.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    first, second, third, mean, _ = rows[5:]
    assert first["recording"].endswith(name) and "contain no gunshot" in first["fault"] and first["event_ap"] == ""
    assert not (tmp_path / "cv/fold-01").exists() and second["fault"] == third["fault"] == ""
    both = [float(row["event_ap"]) for row in (second, third)]
    assert float(mean["event_ap"]) == pytest.approx(sum(both) / 2, abs=1e-4)


def test_settings_that_no_fold_can_use_leave_no_folder(survey, tmp_path):
    with pytest.raises(LoxoError, match=r"No fold could be trained\. .*gone\.safetensors"):
        cross_validate(config(survey, "data.folds=2", "init_from=gone.safetensors"), tmp_path / "cv")
    assert not (tmp_path / "cv").exists()
    with pytest.raises(LoxoError, match="use loxo train --folds"):
        train(config(survey, "data.folds=2"), tmp_path / "one")
    with pytest.raises(LoxoError, match=r"needs data\.folds"):
        train(config(survey, "data.fold=2"), tmp_path / "one")


def test_a_cross_validation_needs_recordings_and_one_device(survey, tmp_path):
    for words, fault in (
        ((*QUICK, "data.folds=3"), "needs your own recordings"),
        ((*QUICK, f"data.tables={survey}", f"data.recordings={survey}", "data.folds=3", "devices=2"), "one device"),
        ((*QUICK, f"data.tables={survey}", f"data.recordings={survey}", "data.folds=9"), "needs 2 to 5 folds"),
    ):
        with pytest.raises(LoxoError, match=fault):
            cross_validate(read_config(words=words), tmp_path / "cv")
        assert not (tmp_path / "cv").exists()


def test_the_command_trains_folds(loxo, survey, tmp_path):
    out = tmp_path / "cv"
    given = ("train", *QUICK, f"data.tables={survey}", f"data.recordings={survey}", "--folds", 2, "--out", out)
    code, words, err = loxo(*given)
    assert code == 0 and "the table of the folds was written to" in words and "fold 2 of 2" in err, err
    assert loxo("train", "--resume", "--out", out)[0] == 0


def test_the_model_card_states_data_terms_figures_thresholds_and_hash(survey, tmp_path):
    path = train(config(survey, "data.validation_share=0.4"), tmp_path / "run")
    card = (tmp_path / "run/model_card.md").read_text()
    result = json.loads((tmp_path / "run/run.json").read_text())["result"]
    assert sha256_of(path) in card and "Terms: own recordings, CC BY 4.0" in card and "Initial weights: random" in card
    assert "share no recording" in card and "Recordings for validation: 2" in card and "`iterations=2`" in card
    assert all(sentence in card for sentence in result["doubts"]) and result["model"] in card
    for label, figures in result["figures"].items():
        assert f"| {label} | {figures['events']} | {figures['event_ap']:.3f} | {figures['threshold']:.3f} |" in card
        assert 0 <= figures["recall"] <= 1
    assert str(survey.parent) not in card


def test_a_card_without_terms_says_so(tmp_path):
    train(read_config(words=[word for word in QUICK if "terms" not in word]), tmp_path / "run")
    card = (tmp_path / "run/model_card.md").read_text()
    assert "Terms: not given" in card and "simulated calls: 100%" in card
