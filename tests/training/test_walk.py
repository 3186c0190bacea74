"""The workflow of docs/training.md at small size: simulate, train on tables and recordings, detect, evaluate.

Also training from an S3 server on the loopback interface, and the errors for unsuitable data.
"""

import csv
import json
import logging
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from loxo import LoxoError
from loxo.files import write_atomically
from loxo.simulation.simulate import simulate
from loxo.training.config import DataConfig, TrainingConfig
from loxo.training.config_io import model_config, read_config
from loxo.training.sources import build_sources
from loxo.training.train import train

TINY = "model={embed_dim: 8, num_heads: [1, 2, 4], depths: [1, 1, 1], window_samples: 20480, image_frames: 128}"
SMALL = (TINY, "iterations=3", "validation_interval=2", "batch_size=2", "workers=0", "precision=32-true")
DATA = ("data.validation_windows=12", "data.validation_share=0.4")
QUICK = (*SMALL, *DATA, "log.plots=1", "log.tensorboard=false")


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """Five recordings of 72 s and their tables."""
    folder = tmp_path_factory.mktemp("walk") / "survey"
    simulate(folder, 0.1, 1, file_hours=0.02, rumbles_per_hour=400, gunshots_per_hour=300)
    return folder


def losses(run):
    with (run / "logs/training.csv").open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def trained(survey):
    """A run on the tables and recordings of the survey."""
    out = survey.parent / "trained"
    train(read_config(words=[*QUICK, f"data.tables={survey}", f"data.recordings={survey}"]), out)
    return out


def test_simulate_train_detect_and_evaluate_on_the_command_line(loxo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rates = ("--rumbles-per-hour", 400, "--gunshots-per-hour", 300)
    assert loxo("simulate", "--hours", 0.1, "--file-hours", 0.02, "--seed", 1, *rates, "--out", "survey")[0] == 0
    Path("config.yaml").write_text("data:\n  tables: [survey]\n  recordings: [survey]\n  simulated: 0.25\n")
    code, out, err = loxo("train", "config.yaml", *QUICK, "--iterations", 2, "--out", "runs/mine")
    assert code == 0 and "runs/mine/model.safetensors" in out, err
    assert "after iteration 2, with event AP" in err and "problem: The validation windows contain" in err
    record = json.loads(Path("runs/mine/run.json").read_text())
    assert record["config"]["iterations"] == 2 and record["config"]["data"]["simulated"] == 0.25
    split = record["data"]["recordings"]
    assert len(split["training"]) + len(split["validation"]) == 5 and not set(split["training"]) & set(
        split["validation"]
    )
    assert loxo("train", "--resume", "--out", "runs/mine")[0] == 0  # with the settings in run.json; the run is finished
    code, _, err = loxo("train", "--resume", "--out", "runs/mine", "seed=9")
    assert code == 2 and "(seed)" in err
    assert (
        loxo("detect", "survey", "--model", "runs/mine/model.safetensors", "--out", "runs/found", "--workers", 1)[0]
        == 0
    )
    code, out, _ = loxo("evaluate", "--truth", "survey", "--detections", "runs/found", "--json", "figures.json")
    assert code == 0 and "rumble" in out and json.loads(Path("figures.json").read_text())


@pytest.fixture
def bucket(survey, monkeypatch, tmp_path):
    """The survey's recordings in a public bucket of an S3 server on loopback."""
    boto3, server = pytest.importorskip("boto3"), pytest.importorskip("moto.server")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
    )
    client.create_bucket(Bucket="forest", ACL="public-read")
    for path in survey.rglob("*.flac"):
        client.put_object(Bucket="forest", Key=f"wav/{path.name}", Body=path.read_bytes(), ACL="public-read")
    yield "s3://forest/wav/"
    client.close()
    moto.stop()


def test_recordings_in_a_bucket_give_the_same_training(loxo, survey, trained, bucket, tmp_path):
    """The windows are read from the bucket without a local copy, and are the same."""
    code, _, err = loxo(
        "train", *QUICK, f"data.tables={survey}", f"data.recordings={bucket}", "--out", tmp_path / "run"
    )
    assert code == 0, err
    assert losses(tmp_path / "run") == pytest.approx(losses(trained), rel=1e-4)
    model = tmp_path / "run/model.safetensors"
    assert loxo("detect", bucket, "--model", model, "--out", tmp_path / "found", "--workers", 1)[0] == 0


# ---------------------------------------------------------------- unsuitable data


def sources_of(tables, recordings, **data):
    model = {"embed_dim": 8, "num_heads": (1, 2, 4), "depths": (1, 1, 1), "window_samples": 20480, "image_frames": 128}
    data = DataConfig(tables=(str(tables),), recordings=(str(recordings),), validation_windows=4, **data)
    config = TrainingConfig(model=model, data=data)
    return build_sources(config, model_config(config), 100)


def table(path, rows):
    """A table of (recording, start, label) with events of 2 s."""
    events = pd.DataFrame(
        [(name, start, start + 2, label) for name, start, label in rows], columns=["file", "start", "end", "label"]
    )
    write_atomically(path, events.to_csv(index=False).encode())
    return path


def error_message(call, *args, **options):
    """The message of the LoxoError that the call raises: one line."""
    with pytest.raises(LoxoError) as error:
        call(*args, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_class_without_events_in_training_or_validation_is_an_error(survey, tmp_path):
    names = sorted(path.name for path in survey.rglob("*.flac"))
    rumbles = [(name, start, "rumble") for name in names for start in (10, 30, 50)]
    one = table(tmp_path / "one.csv", rumbles)
    assert (
        "no gunshot to train on" in (sentence := error_message(sources_of, one, survey)) and "model.classes" in sentence
    )
    shots = table(tmp_path / "shots.csv", [*rumbles, *((names[0], start, "gunshot") for start in (20, 40))])
    sentence = error_message(sources_of, shots, survey, validation_share=0.3)
    assert "no gunshot" in sentence and ("data.validation_share" in sentence or "to train on" in sentence)


def test_missing_recordings_and_unusable_tables_are_errors(survey, tmp_path):
    lost = table(tmp_path / "lost.csv", [("nowhere.wav", 3, "rumble"), ("nowhere.wav", 9, "gunshot")])
    assert "nowhere" in error_message(sources_of, lost, survey)
    assert "missing" in error_message(sources_of, tmp_path / "missing.csv", survey)
    other = table(tmp_path / "other.csv", [(next(survey.rglob("*.flac")).name, 3, "trumpet")])
    assert "trumpet" in error_message(sources_of, other, survey)
    assert "data.recordings" in error_message(
        train, TrainingConfig(data=DataConfig(tables=("a.txt",))), tmp_path / "run"
    )
    assert "data.simulated" in error_message(
        train, TrainingConfig(data=DataConfig(tables=("a",), recordings=("b",), simulated=1.0)), tmp_path / "run"
    )
    assert not (tmp_path / "run").exists()


def test_available_recordings_are_used_and_missing_ones_are_reported(survey, tmp_path):
    names = [path.name for path in sorted(survey.rglob("*.flac"))]
    rows = [(name, start, label) for name in names for start, label in ((10, "rumble"), (30, "gunshot"))]
    sources = sources_of(table(tmp_path / "some.csv", [*rows, ("lost.wav", 3, "rumble")]), survey, validation_share=0.4)
    assert len(sources.problems) == 1 and "lost.wav" in sources.problems[0]
    truth = sources.validation.truth
    assert truth["rumble"].events >= 1 and truth["gunshot"].events >= 1


def test_a_recording_that_is_removed_during_training_ends_the_run_with_one_sentence(survey, tmp_path):
    copied = tmp_path / "copy"
    shutil.copytree(survey, copied)

    def remove(iteration, iterations, figures):
        for path in copied.rglob("*.flac"):
            path.unlink()

    config = read_config(words=[*QUICK, f"data.tables={copied}", f"data.recordings={copied}"])
    sentence = error_message(train, config, tmp_path / "run", on_progress=remove)
    assert ".flac" in sentence and "Traceback" not in sentence
