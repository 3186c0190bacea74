"""Training at the smallest size: files of a run, learning, and interrupted runs that continue without a difference."""

import csv
import dataclasses
import itertools
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
from loxo.training.config_io import model_config, read_config
from loxo.training.outcome import doubts
from loxo.training.sources import build_sources
from loxo.training.train import read_run_config, train

# Windows of 5.12 s: 16 steps of 0.32 s.
TINY = {"embed_dim": 8, "num_heads": (1, 2, 4), "depths": (1, 1, 1), "window_samples": 20480, "image_frames": 128}
SMALL = TrainingConfig(
    model=TINY,
    data=DataConfig(validation_windows=8),
    log=LogConfig(plots=0, tensorboard=False),
    iterations=4,
    batch_size=2,
    validation_interval=2,
    workers=0,
    precision="32-true",
)
# Uses all random generators, so that a test would notice a generator that does not continue after a resume.
ALL_RANDOM = dataclasses.replace(
    SMALL,
    augment=AugmentConfig(gain_db=6, shift=0.2, filter_db=6, background=0.5, mixup=0.5, time_masks=1, band_masks=1),
    iterations=12,
    validation_interval=5,
    accumulate=2,
    checkpoint_interval=2,
)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def losses(run):
    """Iteration and loss of each row of a run's training curve."""
    return [(int(row["iteration"]), float(row["loss"])) for row in rows(run / "logs/training.csv")]


def assert_same_curve(one, other):
    assert [iteration for iteration, _ in one] == [iteration for iteration, _ in other] == list(range(1, len(one) + 1))
    np.testing.assert_allclose([loss for _, loss in one], [loss for _, loss in other], rtol=1e-4)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The model file of a finished run, and the arguments of its progress calls."""
    out, calls = tmp_path_factory.mktemp("runs") / "whole", []
    config = dataclasses.replace(SMALL, log=LogConfig(plots=2))
    path = train(config, out, on_progress=lambda *arguments: calls.append(arguments))
    return path, calls


@pytest.fixture
def validations(monkeypatch):
    """`validations(0.3, 0.5, ...)` sets the event AP of each model that is validated, in order, again and again."""

    def use(*aps):
        left = itertools.cycle(aps)

        def metrics(scores, validation, config):
            ap = next(left)
            return {f"{name}{label}": ap for name in ("event_ap", "frame_ap") for label in ("", "_rumble", "_gunshot")}

        monkeypatch.setattr("loxo.training.loop.validation_metrics", metrics)

    return use


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The folder of an uninterrupted run with all random generators in use."""
    return train(ALL_RANDOM, tmp_path_factory.mktemp("runs") / "uninterrupted").parent


def test_a_run_writes_a_model_its_settings_and_curves(run):
    path, calls = run
    folder, model = path.parent, load_model(path)
    assert model.config.embed_dim == 8 and model.provenance["training"]["iterations"] == 4
    assert [(iteration, iterations) for iteration, iterations, _ in calls] == [(k, 4) for k in (1, 2, 3, 4)]
    record = json.loads((folder / "run.json").read_text())
    assert record["config"]["seed"] == SMALL.seed and "torch" in record["versions"]
    assert [iteration for iteration, _ in losses(folder)] == [1, 2, 3, 4]
    validations = rows(folder / "logs/validation.csv")
    assert [row["iteration"] for row in validations] == ["2", "4"]
    assert {"event_ap", "event_ap_rumble", "frame_ap_gunshot", "loader_wait_share"} <= validations[0].keys()
    assert 0 <= float(validations[1]["loader_wait_share"]) <= 1
    assert len(list((folder / "plots").glob("iteration_00000[24]_window_*.png"))) == 4


def test_tensorboard_shows_each_iteration_of_an_interrupted_run_once(tmp_path, interrupt):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = dataclasses.replace(SMALL, log=LogConfig(plots=0), checkpoint_interval=10, validation_interval=10)

    interrupt(config, tmp_path / "run", after=2)
    train(config, tmp_path / "run", resume=True)
    board = EventAccumulator(str(tmp_path / "run/logs/tensorboard")).Reload()
    assert [event.step for event in board.Scalars("train/loss")] == [1, 2, 3, 4]
    assert [event.step for event in board.Scalars("validation/event_ap")] == [4]


def test_weights_and_biases_receives_the_curves_if_it_is_installed(tmp_path, monkeypatch):
    config = dataclasses.replace(SMALL, log=LogConfig(plots=0, tensorboard=False, wandb=True), iterations=1)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(LoxoError, match="install wandb"):
        train(config, tmp_path / "run")
    sent = []
    fake = SimpleNamespace(log=lambda figures, step: sent.append((step, figures)), finish=lambda: sent.append("end"))
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda **options: fake))
    train(config, tmp_path / "run")
    assert sent[0][0] == 1 and "train/loss" in sent[0][1] and "validation/event_ap" in sent[1][1] and sent[-1] == "end"


def test_the_model_has_the_best_weights_with_decoding_and_calibration(run):
    path, _ = run
    validations = rows(path.parent / "logs/validation.csv")
    best = max(validations, key=lambda row: float(row["event_ap"]))
    model, last = load_model(path), load_model(path.parent / "checkpoints/last.safetensors")
    assert model.provenance["iteration"] == int(best["iteration"]) and last.provenance["iteration"] == 4
    assert set(model.config.calibration) == {"rumble", "gunshot"}
    assert "8 validation windows" in model.provenance["decoding"]["data"]
    for label, reached in model.provenance["decoding"]["reached"].items():
        assert reached["event_ap"] >= float(best[f"event_ap_{label}"]) - 1e-4
        assert model.config.decoding[label].threshold == reached["threshold"]


def test_an_interrupted_run_gives_the_same_model_as_an_uninterrupted_one(uninterrupted, tmp_path, interrupt):
    interrupt(ALL_RANDOM, tmp_path / "run", after=7)
    assert not (tmp_path / "run" / "model.safetensors").exists()
    done = []
    resumed = train(ALL_RANDOM, tmp_path / "run", resume=True, on_progress=lambda number, *_: done.append(number))
    assert done == [8, 9, 10, 11, 12]
    assert_same_curve(losses(uninterrupted), losses(tmp_path / "run"))
    validations = [
        [row["iteration"] for row in rows(out / "logs/validation.csv")] for out in (uninterrupted, tmp_path / "run")
    ]
    assert validations == [["5", "10", "12"]] * 2
    expected, got = load_model(uninterrupted / "model.safetensors").state_dict(), load_model(resumed).state_dict()
    for name in expected:
        torch.testing.assert_close(got[name], expected[name], atol=1e-6, rtol=1e-4, msg=name)


def test_a_run_of_an_earlier_version_is_resumed(uninterrupted, tmp_path, interrupt):
    """The keys in run.json and in the checkpoint have their former names (an iteration was called a step)."""
    out = tmp_path / "run"
    interrupt(ALL_RANDOM, out, after=7)
    content = json.loads((out / "run.json").read_text())
    options = content["config"]
    for former, present in (
        ("steps", "iterations"),
        ("epoch_steps", "validation_interval"),
        ("checkpoint_steps", "checkpoint_interval"),
    ):
        options[former] = options.pop(present)
    options["log"]["pictures"] = options["log"].pop("plots")
    (out / "run.json").write_text(json.dumps(content))
    state = torch.load(out / "checkpoints/last.ckpt", weights_only=True)
    state["step"], state["averaged"] = state.pop("iteration"), state.pop("average_updates")
    best = state["best"]
    best["step"], best["without_better"] = best.pop("iteration"), best.pop("validations_since_best")
    torch.save(state, out / "checkpoints/last.ckpt")
    curve = out / "logs/training.csv"
    curve.write_text(curve.read_text().replace("iteration", "step", 1))
    train(read_config(base=read_run_config(out)), out, resume=True)
    assert_same_curve(losses(uninterrupted), losses(out))


def test_a_run_that_is_killed_twice_at_random_moments_has_the_curve_of_an_uninterrupted_one(uninterrupted, tmp_path):
    """SIGKILL during training, validation or writing: the curve contains every iteration once."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["loxo.training.train"])
    out, rng = tmp_path / "run", random.Random(5)
    curve = out / "logs/training.csv"
    for iterations in (2, 6):
        process = processes.Process(target=train, args=(ALL_RANDOM, out), kwargs={"resume": iterations > 2})
        process.start()
        while process.is_alive() and (not curve.is_file() or len(curve.read_text().splitlines()) <= iterations):
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.2))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    assert not (out / "model.safetensors").exists()
    train(ALL_RANDOM, out, resume=True)
    assert_same_curve(losses(uninterrupted), losses(out))


def test_ctrl_c_stops_a_run_after_the_iteration_with_a_checkpoint(tmp_path):
    def press(iteration, iterations, figures):
        if iteration == 1:
            os.kill(os.getpid(), signal.SIGINT)

    config = dataclasses.replace(SMALL, checkpoint_interval=100, validation_interval=100)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", on_progress=press)
    assert signal.getsignal(signal.SIGINT) is before
    reached = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["iteration"]
    assert reached == len(losses(tmp_path / "run")) <= 2


def test_a_checkpoint_that_cannot_be_written_leaves_the_previous_one(run, tmp_path, monkeypatch):
    """Writing the second checkpoint fails half way: the first one is still there and complete."""
    fsync, written = os.fsync, []

    def full(number):
        written.append(number)
        if (tmp_path / "run/checkpoints/last.ckpt").exists() and written.count(number) > 2:
            raise OSError(28, "No space left on device")
        fsync(number)

    monkeypatch.setattr(os, "fsync", full)
    config = dataclasses.replace(SMALL, checkpoint_interval=1, validation_interval=4)
    with pytest.raises(LoxoError, match="No space left on device") as error:
        train(config, tmp_path / "run")
    assert "\n" not in str(error.value)
    assert torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["iteration"] >= 1
    assert not list((tmp_path / "run/checkpoints").glob(".*"))
    monkeypatch.undo()
    train(config, tmp_path / "run", resume=True)
    assert [iteration for iteration, _ in losses(tmp_path / "run")] == [1, 2, 3, 4]


def test_a_run_that_cannot_be_started_or_resumed_is_an_error(run, tmp_path):
    with pytest.raises(LoxoError, match="already exists"):
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


def test_training_lowers_the_loss_and_stops_early_without_a_better_validation(tmp_path, validations):
    loss = []
    config = dataclasses.replace(SMALL, iterations=24, validation_interval=24, warmup=2, learning_rate=3e-3)
    train(config, tmp_path / "run", on_progress=lambda _, __, figures: loss.append(figures["loss"]))
    assert np.median(loss[-8:]) < 0.7 * loss[0]  # the median, because single batches have difficult windows
    validations(0.5)  # equal ones replace the first one, but are no gain
    config = dataclasses.replace(SMALL, iterations=40, validation_interval=1, patience=2)
    assert load_model(train(config, tmp_path / "early")).provenance["iteration"] == 3
    assert len(losses(tmp_path / "early")) == 3


def test_training_starts_from_the_weights_in_init_from(run, tmp_path):
    config = dataclasses.replace(SMALL, init_from=str(run[0]), iterations=1, learning_rate=0.0)
    path = train(config, tmp_path / "run")
    before, after = load_model(run[0]), load_model(path)
    for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True):
        assert torch.equal(old, new), name
    assert json.loads((tmp_path / "run/run.json").read_text())["init_from"]["unfound"] == []
    bundled = TrainingConfig(preset="crnn", init_from="default")
    with pytest.raises(LoxoError, match="'htsat', not 'crnn'"):
        train(bundled, tmp_path / "other")
    assert find_model("default").is_file() and not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("aps", "iteration", "weights"),
    [  # average and raw weights at iteration 2, the same at iteration 4
        ((0.3, 0.5, 0.4, 0.2), 2, "raw"),
        ((0.5, 0.3, 0.5, 0.2), 4, "average"),  # a tie: the later
        ((0.5, 0.3, 0.2, 0.5), 4, "raw"),
        ((0.0, 0.0, 0.0, 0.0), 4, "average"),
    ],
)
def test_the_better_of_average_and_raw_weights_becomes_the_model(tmp_path, validations, aps, iteration, weights):
    validations(*aps)
    notes = []
    config = dataclasses.replace(SMALL, checkpoint_interval=2)
    path = train(config, tmp_path / "run", on_note=notes.append)
    model = load_model(path)
    assert (model.provenance["iteration"], model.provenance["weights"]) == (iteration, weights)
    table = rows(tmp_path / "run/logs/validation.csv")
    assert [[float(row[f"{name}_event_ap"]) for name in ("average", "raw")] for row in table] == [
        list(aps[:2]),
        list(aps[2:]),
    ]
    assert [float(row["event_ap"]) for row in table] == [max(aps[:2]), max(aps[2:])]
    if iteration == 4:
        last = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
        shipped = last["model" if weights == "raw" else "average"]["tscam_conv.weight"]
        assert torch.equal(model.tscam_conv.weight, shipped)
    (note,) = notes
    assert f"iteration {iteration}" in note and ("not their average" in note) is (weights == "raw")
    assert json.loads((tmp_path / "run/run.json").read_text())["result"]["model"] == note


def test_initial_weights_that_no_iteration_improves_become_the_model(run, tmp_path, validations, interrupt):
    """With their decoding and calibration; the run says so. Equal ones are replaced, also after a resume."""
    config = dataclasses.replace(SMALL, init_from=str(run[0]), validation_interval=2)
    validations(0.5, 0.4, 0.4, 0.3, 0.49)
    notes = []
    interrupt(config, tmp_path / "run", after=1)
    path = train(config, tmp_path / "run", resume=True, on_note=notes.append)
    start, model = load_model(run[0]), load_model(path)
    for name, tensor in start.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name
    assert model.config == start.config and model.provenance["iteration"] == 0
    assert "kept" in model.provenance["decoding"] and not model.provenance["decoding"]["reached"]
    (note,) = notes
    assert "(0.500), so the model has these weights" in note and str(run[0]) in note
    assert [row["iteration"] for row in rows(tmp_path / "run/logs/validation.csv")] == ["0", "2", "4"]
    validations(0.5, 0.4, 0.4, 0.3, 0.5)
    model = load_model(train(config, tmp_path / "tie"))
    assert model.provenance["iteration"] == 4 and model.provenance["weights"] == "raw"


def test_a_run_that_was_killed_before_its_first_checkpoint_validates_its_start_once(run, tmp_path, interrupt):
    config = dataclasses.replace(SMALL, init_from=str(run[0]), iterations=2)
    interrupt(config, tmp_path / "run", after=1)
    (tmp_path / "run/checkpoints/last.ckpt").unlink()
    train(config, tmp_path / "run", resume=True)
    assert [row["iteration"] for row in rows(tmp_path / "run/logs/validation.csv")] == ["0", "2"]
    assert [iteration for iteration, _ in losses(tmp_path / "run")] == [1, 2]


def test_one_class_of_the_initial_weights_is_as_good_at_the_start_as_with_all_classes(run, tmp_path):
    """Its row of the head is kept. The report says which classes were found; doubts about a run this short are told."""
    notes, problems = [], []
    config = dataclasses.replace(SMALL, init_from=str(run[0]), iterations=1)
    train(config, tmp_path / "both")
    alone = dataclasses.replace(config, model={**TINY, "classes": ["rumble"]})
    train(alone, tmp_path / "one", on_note=notes.append, on_problems=problems.extend)
    both, one = (rows(tmp_path / name / "logs/validation.csv")[0] for name in ("both", "one"))
    assert one["iteration"] == both["iteration"] == "0"
    for name in ("event_ap_rumble", "frame_ap_rumble"):
        assert float(one[name]) == pytest.approx(float(both[name]), abs=1e-6)
    assert "Loxo checkpoint" in notes[0] and "only in the file: gunshot" in notes[0]
    assert any("too few to choose" in sentence and "data.validation_windows" in sentence for sentence in problems)
    record = json.loads((tmp_path / "one/run.json").read_text())
    assert record["result"]["doubts"] == problems and record["init_from"]["unused"] == []


def test_doubts_about_a_model_name_the_class_and_the_way_out():
    config = TrainingConfig(data=DataConfig(tables=("a",), recordings=("b",), validation_windows=64))
    figures = {"event_ap_rumble": 0.7, "event_ap_gunshot": 0.01, "event_ap_trumpet": 0.0}
    events = {"rumble": 30, "gunshot": 25, "trumpet": 1}
    never, low, few = doubts(config, figures, events, ["trumpet"])
    assert "No training window contained a trumpet" in never and "data.simulated" in never
    assert "does not find gunshots" in low and "0.010" in low and "init_from=default" in low
    assert "contain 1 trumpet," in few and "data.validation_share" in few and "now 64" in few
    assert doubts(config, {"event_ap_rumble": 0.7}, {"rumble": 30}, []) == []


def test_the_classes_of_the_training_windows_are_recorded(tmp_path):
    config = dataclasses.replace(SMALL, iterations=1, batch_size=1, validation_interval=1)
    train(config, tmp_path / "run")
    _, targets = build_sources(config, model_config(config), 1).training[0]
    occurred = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["occurred"]
    assert torch.equal(occurred, (targets[:2] >= 0.5).any(1)) and not occurred.all()
    doubted = json.loads((tmp_path / "run/run.json").read_text())["result"]["doubts"]
    assert any("No training window contained" in sentence for sentence in doubted)


def test_start_share_mixes_the_trained_weights_with_the_initial_ones(run, tmp_path, interrupt, validations):
    """Also after a resume, when the weights of the checkpoint are no longer the initial ones."""
    validations(0.5)  # so that the last average becomes the model
    alone = dataclasses.replace(
        SMALL, init_from=str(run[0]), iterations=3, validation_interval=3, checkpoint_interval=1
    )
    mixed = dataclasses.replace(alone, start_share=0.25)

    interrupt(mixed, tmp_path / "mixed", after=1)
    path = train(mixed, tmp_path / "mixed", resume=True)
    end, start, got = (load_model(p) for p in (train(alone, tmp_path / "alone"), run[0], path))
    max_change = 0.0
    for (name, mean), one, other in zip(got.named_parameters(), end.parameters(), start.parameters(), strict=True):
        torch.testing.assert_close(mean, 0.75 * one + 0.25 * other, atol=1e-6, rtol=1e-4, msg=name)
        max_change = max(max_change, float((one - other).abs().max()))
    assert max_change > 1e-4
    with pytest.raises(LoxoError, match="needs initial weights"):
        train(dataclasses.replace(SMALL, start_share=0.5), tmp_path / "other")
    elsewhere = dataclasses.replace(mixed, model={**SMALL.model, "classes": ["rumble", "trumpet"]})
    with pytest.raises(LoxoError, match="is not possible"):
        train(elsewhere, tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(("fast", "chosen"), [(True, "bf16-mixed"), (False, "32-true")])
def test_automatic_precision_depends_on_the_cpu_and_stays_after_a_resume(
    tmp_path, monkeypatch, fast, chosen, interrupt
):
    monkeypatch.setattr("loxo.training.train.bfloat16_is_fast", lambda: fast)
    config = dataclasses.replace(SMALL, precision="auto", accelerator="cpu", iterations=2)

    interrupt(config, tmp_path / "run", after=1)
    assert read_run_config(tmp_path / "run")["precision"] == chosen
    monkeypatch.setattr("loxo.training.train.bfloat16_is_fast", lambda: not fast)  # resumed on another machine
    train(config, tmp_path / "run", resume=True)
    assert read_run_config(tmp_path / "run")["precision"] == chosen


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
    with pytest.raises(LoxoError, match="The loss is not finite"):
        train(dataclasses.replace(SMALL, learning_rate=1e30, iterations=20), tmp_path / "run")


def test_an_unavailable_device_is_an_error(tmp_path):
    with pytest.raises(LoxoError, match="accelerator=tpu"):
        train(dataclasses.replace(SMALL, accelerator="tpu"), tmp_path / "run")


@pytest.mark.parametrize(("room", "full"), [(2000, "last.ckpt"), (10, "training.csv"), (200, "logs/tensorboard")])
def test_a_full_disk_is_one_error_and_the_run_can_be_resumed(tmp_path, room, full):
    """The system refuses files of more than `room` bytes."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(iteration, iterations, figures):
        if iteration == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))

    interval = 2 if full == "last.ckpt" else 100
    config = dataclasses.replace(SMALL, checkpoint_interval=interval, validation_interval=4, log=LogConfig(plots=0))
    try:
        with pytest.raises(LoxoError, match=full) as error:
            train(config, tmp_path / "run", on_progress=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(error.value) and "File too large" in str(error.value)
    train(config, tmp_path / "run", resume=True)
    assert [iteration for iteration, _ in losses(tmp_path / "run")] == [1, 2, 3, 4]
