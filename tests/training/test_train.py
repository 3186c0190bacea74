"""Training at the smallest size: what it writes, that it learns, and that an interruption changes nothing."""

import csv
import dataclasses
import json
import multiprocessing
import os
import random
import signal
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from loxo import LoxoError, load_model
from loxo.engine.model_file import find_model
from loxo.training.config import AugmentConfig, DataConfig, LogConfig, TrainingConfig
from loxo.training.train import recorded_config, train

# Windows of 5.12 s: 16 steps of 0.32 s.
TINY = {"embed_dim": 8, "num_heads": (1, 2, 4), "depths": (1, 1, 1), "window_samples": 20480, "image_frames": 128}
SMALL = TrainingConfig(
    model=TINY,
    data=DataConfig(validation_windows=8),
    log=LogConfig(pictures=0, tensorboard=False),
    steps=4,
    batch_size=2,
    epoch_steps=2,
    workers=0,
    precision="32-true",
)
# Everything that draws numbers, so that a resume would show a generator that does not go on where it was.
LIVELY = dataclasses.replace(
    SMALL,
    augment=AugmentConfig(gain_db=6, shift=0.2, filter_db=6, background=0.5, mixup=0.5, time_masks=1, band_masks=1),
    steps=12,
    epoch_steps=5,
    accumulate=2,
    checkpoint_steps=2,
)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def losses(run):
    """Step and loss, as the curve of a run has them."""
    return [(int(row["step"]), float(row["loss"])) for row in rows(run / "logs/training.csv")]


def same_curve(one, other):
    assert [step for step, _ in one] == [step for step, _ in other] == list(range(1, len(one) + 1))
    np.testing.assert_allclose([loss for _, loss in one], [loss for _, loss in other], rtol=1e-4)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run and what its progress said."""
    out, seen = tmp_path_factory.mktemp("runs") / "whole", []
    config = dataclasses.replace(SMALL, log=LogConfig(pictures=2))
    path = train(config, out, on_progress=lambda step, steps, figures: seen.append((step, steps, figures)))
    return path, seen


@pytest.fixture(scope="module")
def lively(tmp_path_factory):
    """The folder of an uninterrupted run with everything that draws numbers."""
    return train(LIVELY, tmp_path_factory.mktemp("runs") / "lively").parent


def test_a_run_leaves_a_model_its_settings_and_curves(run):
    path, seen = run
    folder, model = path.parent, load_model(path)
    assert model.config.embed_dim == 8 and model.provenance["training"]["steps"] == 4
    assert [(step, steps) for step, steps, _ in seen] == [(k, 4) for k in (1, 2, 3, 4)]
    record = json.loads((folder / "run.json").read_text())
    assert record["config"]["seed"] == SMALL.seed and "torch" in record["versions"]
    assert [step for step, _ in losses(folder)] == [1, 2, 3, 4]
    validations = rows(folder / "logs/validation.csv")
    assert [row["step"] for row in validations] == ["2", "4"]
    assert {"event_ap", "event_ap_rumble", "frame_ap_gunshot", "loader_wait_share"} <= validations[0].keys()
    assert 0 <= float(validations[1]["loader_wait_share"]) <= 1
    assert len(list((folder / "pictures").glob("step_00000[24]_window_*.png"))) == 4


def test_tensorboard_reads_the_curves_of_an_interrupted_run_without_repetition(tmp_path, interrupt):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = dataclasses.replace(SMALL, log=LogConfig(pictures=0), checkpoint_steps=10, epoch_steps=10)

    interrupt(config, tmp_path / "run", after=2)
    train(config, tmp_path / "run", resume=True)
    board = EventAccumulator(str(tmp_path / "run/logs/tensorboard")).Reload()
    assert [event.step for event in board.Scalars("train/loss")] == [1, 2, 3, 4]
    assert [event.step for event in board.Scalars("validation/event_ap")] == [4]


def test_weights_and_biases_gets_the_curves_where_it_is_installed(tmp_path, monkeypatch):
    config = dataclasses.replace(SMALL, log=LogConfig(pictures=0, tensorboard=False, wandb=True), steps=1)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(LoxoError, match="pip install wandb"):
        train(config, tmp_path / "run")
    told = []
    fake = SimpleNamespace(log=lambda figures, step: told.append((step, figures)), finish=lambda: told.append("end"))
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda **options: fake))
    train(config, tmp_path / "run")
    assert told[0][0] == 1 and "train/loss" in told[0][1] and "validation/event_ap" in told[1][1] and told[-1] == "end"


def test_the_model_is_the_best_and_brings_its_decoding_and_calibration(run):
    path, _ = run
    validations = rows(path.parent / "logs/validation.csv")
    best = max(validations, key=lambda row: float(row["event_ap"]))
    model, last = load_model(path), load_model(path.parent / "checkpoints/last.safetensors")
    assert model.provenance["step"] == int(best["step"]) and last.provenance["step"] == 4
    assert set(model.config.calibration) == {"rumble", "gunshot"}
    assert "8 validation windows" in model.provenance["decoding"]["data"]
    for label, reached in model.provenance["decoding"]["reached"].items():
        assert reached["event_ap"] >= float(best[f"event_ap_{label}"]) - 1e-4
        assert model.config.decoding[label].threshold == reached["threshold"]


def test_an_interrupted_run_ends_as_the_uninterrupted_one(lively, tmp_path, interrupt):
    interrupt(LIVELY, tmp_path / "run", after=7)
    assert not (tmp_path / "run" / "model.safetensors").exists()
    steps = []
    resumed = train(LIVELY, tmp_path / "run", resume=True, on_progress=lambda step, *_: steps.append(step))
    assert steps == [8, 9, 10, 11, 12]
    same_curve(losses(lively), losses(tmp_path / "run"))
    validations = [[row["step"] for row in rows(out / "logs/validation.csv")] for out in (lively, tmp_path / "run")]
    assert validations == [["5", "10", "12"]] * 2
    expected, got = load_model(lively / "model.safetensors").state_dict(), load_model(resumed).state_dict()
    for name in expected:
        torch.testing.assert_close(got[name], expected[name], atol=1e-6, rtol=1e-4, msg=name)


def test_killed_twice_at_random_moments(lively, tmp_path):
    """SIGKILL while it trains, judges or writes: the curve has every step once and is that of an uninterrupted run."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["loxo.training.train"])
    out, rng = tmp_path / "run", random.Random(5)
    curve = out / "logs/training.csv"
    for steps in (2, 6):
        process = processes.Process(target=train, args=(LIVELY, out), kwargs={"resume": steps > 2})
        process.start()
        while process.is_alive() and (not curve.is_file() or len(curve.read_text().splitlines()) <= steps):
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.2))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    assert not (out / "model.safetensors").exists()
    train(LIVELY, out, resume=True)
    same_curve(losses(lively), losses(out))


def test_ctrl_c_is_heeded_after_the_step_and_leaves_a_checkpoint(tmp_path):
    def press(step, steps, figures):
        if step == 1:
            os.kill(os.getpid(), signal.SIGINT)

    config = dataclasses.replace(SMALL, checkpoint_steps=100, epoch_steps=100)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", on_progress=press)
    assert signal.getsignal(signal.SIGINT) is before
    reached = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["step"]
    assert reached == len(losses(tmp_path / "run")) <= 2


def test_a_torn_checkpoint_is_never_taken(run, tmp_path, monkeypatch):
    """The write of the second checkpoint fails half way: the first one is still there and whole."""
    whole, written = os.fsync, []

    def full(number):
        written.append(number)
        if (tmp_path / "run/checkpoints/last.ckpt").exists() and written.count(number) > 2:
            raise OSError(28, "No space left on device")
        whole(number)

    monkeypatch.setattr(os, "fsync", full)
    config = dataclasses.replace(SMALL, checkpoint_steps=1, epoch_steps=4)
    with pytest.raises(LoxoError, match="No space left on device") as told:
        train(config, tmp_path / "run")
    assert "\n" not in str(told.value)
    assert torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["step"] >= 1
    assert not list((tmp_path / "run/checkpoints").glob(".*"))
    monkeypatch.undo()
    train(config, tmp_path / "run", resume=True)
    assert [step for step, _ in losses(tmp_path / "run")] == [1, 2, 3, 4]


def test_what_cannot_be_resumed_is_told(run, tmp_path):
    with pytest.raises(LoxoError, match="something already"):
        train(SMALL, run[0].parent)
    with pytest.raises(LoxoError, match="no training run to resume"):
        train(SMALL, tmp_path / "nothing", resume=True)
    with pytest.raises(LoxoError, match=r"batch_size, seed\)"):
        train(dataclasses.replace(SMALL, seed=8, batch_size=3), run[0].parent, resume=True)
    with pytest.raises(LoxoError, match="lost"):
        train(dataclasses.replace(SMALL, data=DataConfig(backgrounds=str(tmp_path / "lost"))), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    damaged = tmp_path / "damaged"
    (damaged / "checkpoints").mkdir(parents=True)
    (damaged / "run.json").write_text((run[0].parent / "run.json").read_text())
    (damaged / "checkpoints/last.ckpt").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(LoxoError, match="the checkpoint cannot be read"):
        train(SMALL, damaged, resume=True)


def test_training_lowers_the_loss_and_stops_when_nothing_gets_better(tmp_path):
    told = []
    config = dataclasses.replace(SMALL, steps=24, epoch_steps=24, warmup=2, learning_rate=3e-3)
    train(config, tmp_path / "run", on_progress=lambda _, __, figures: told.append(figures["loss"]))
    assert np.median(told[-8:]) < 0.7 * told[0]  # a batch of hard windows now and then is no matter
    # No weights move, so nothing gets better after the first validation.
    config = dataclasses.replace(SMALL, steps=40, epoch_steps=1, patience=2, learning_rate=0.0, average_decay=1.0)
    train(config, tmp_path / "early")
    assert len(losses(tmp_path / "early")) == 3


def test_the_run_starts_from_the_weights_it_is_given(run, tmp_path):
    config = dataclasses.replace(SMALL, init_from=str(run[0]), steps=1, learning_rate=0.0)
    path = train(config, tmp_path / "run")
    before, after = load_model(run[0]), load_model(path)
    for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True):
        assert torch.equal(old, new), name
    assert json.loads((tmp_path / "run/run.json").read_text())["init_from"]["unfound"] == []
    bundled = TrainingConfig(preset="crnn", init_from="default")
    with pytest.raises(LoxoError, match="'htsat', not 'crnn'"):
        train(bundled, tmp_path / "other")
    assert find_model("default").is_file() and not (tmp_path / "other").exists()


def test_the_model_may_be_a_mean_with_what_it_started_from(run, tmp_path, interrupt):
    """Also after an interruption, when the weights in memory are no longer those it started from."""
    alone = dataclasses.replace(SMALL, init_from=str(run[0]), steps=3, epoch_steps=3, checkpoint_steps=1)
    mixed = dataclasses.replace(alone, start_share=0.25)

    interrupt(mixed, tmp_path / "mixed", after=1)
    path = train(mixed, tmp_path / "mixed", resume=True)
    end, start, got = (load_model(p) for p in (train(alone, tmp_path / "alone"), run[0], path))
    moved = 0.0
    for (name, mean), one, other in zip(got.named_parameters(), end.parameters(), start.parameters(), strict=True):
        torch.testing.assert_close(mean, 0.75 * one + 0.25 * other, atol=1e-6, rtol=1e-4, msg=name)
        moved = max(moved, float((one - other).abs().max()))
    assert moved > 1e-4
    with pytest.raises(LoxoError, match="name them"):
        train(dataclasses.replace(SMALL, start_share=0.5), tmp_path / "other")
    elsewhere = dataclasses.replace(mixed, model={**SMALL.model, "classes": ["rumble"]})
    with pytest.raises(LoxoError, match="there is no mean"):
        train(elsewhere, tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(("fast", "chosen"), [(True, "bf16-mixed"), (False, "32-true")])
def test_precision_is_what_the_processor_is_quick_with_and_stays(tmp_path, monkeypatch, fast, chosen, interrupt):
    monkeypatch.setattr("loxo.training.train.bfloat16_is_fast", lambda: fast)
    config = dataclasses.replace(SMALL, precision="auto", accelerator="cpu", steps=2)

    interrupt(config, tmp_path / "run", after=1)
    assert recorded_config(tmp_path / "run")["precision"] == chosen
    monkeypatch.setattr("loxo.training.train.bfloat16_is_fast", lambda: not fast)  # resumed on another machine
    train(config, tmp_path / "run", resume=True)
    assert recorded_config(tmp_path / "run")["precision"] == chosen


def test_numbers_that_are_none_end_the_run(tmp_path):
    with pytest.raises(LoxoError, match="no finite number any more"):
        train(dataclasses.replace(SMALL, learning_rate=1e30, steps=20), tmp_path / "run")


def test_devices_that_are_not_there_are_told(tmp_path):
    with pytest.raises(LoxoError, match="accelerator=tpu"):
        train(dataclasses.replace(SMALL, accelerator="tpu"), tmp_path / "run")


@pytest.mark.parametrize(("room", "full"), [(2000, "last.ckpt"), (10, "training.csv"), (200, "logs/tensorboard")])
def test_a_full_disk_ends_the_run_in_one_sentence_and_it_goes_on_with_room(tmp_path, room, full):
    """As the system tells it: no file may grow beyond `room` bytes any more."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(step, steps, figures):
        if step == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))

    often = 2 if full == "last.ckpt" else 100
    config = dataclasses.replace(SMALL, checkpoint_steps=often, epoch_steps=4, log=LogConfig(pictures=0))
    try:
        with pytest.raises(LoxoError, match=full) as told:
            train(config, tmp_path / "run", on_progress=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(told.value) and "File too large" in str(told.value)
    train(config, tmp_path / "run", resume=True)
    assert [step for step, _ in losses(tmp_path / "run")] == [1, 2, 3, 4]
