"""Training at the smallest size: what it writes, that it learns, and that an interruption changes nothing."""

import json

import numpy as np
import pytest
import torch

from loxo import LoxoError, load_model
from loxo.models.config import HTSATConfig
from loxo.training.dataset import SimulatedWindows, StepSampler
from loxo.training.train import TrainingConfig, train

SMALL = TrainingConfig(
    model={"embed_dim": 8, "num_heads": (1, 2, 4), "depths": (1, 1, 1)},
    steps=4,
    batch_size=2,
    epoch_steps=2,
    validation_windows=2,
    precision="32-true",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run and what its progress said."""
    out, seen = tmp_path_factory.mktemp("runs") / "whole", []
    path = train(SMALL, out, workers=0, on_progress=lambda step, steps, metrics: seen.append((step, steps, metrics)))
    return path, seen


def test_a_run_leaves_a_model_its_settings_and_curves(run):
    path, seen = run
    model = load_model(path)
    assert model.config.embed_dim == 8 and model.provenance["training"]["steps"] == 4
    assert [(step, steps) for step, steps, _ in seen] == [(k, 4) for k in (1, 2, 3, 4)]
    record = json.loads((path.parent / "run.json").read_text())
    assert record["config"]["seed"] == SMALL.seed and "torch" in record["versions"]
    curves = (path.parent / "logs/csv/metrics.csv").read_text()
    assert "val_frame_ap_rumble" in curves and "val_loss" in curves


def test_an_interrupted_run_ends_as_the_uninterrupted_one(run, tmp_path):
    def stop(step, steps, metrics):
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(SMALL, tmp_path / "run", workers=0, on_progress=stop)
    assert not (tmp_path / "run" / "model.safetensors").exists()
    steps = []
    resumed = train(SMALL, tmp_path / "run", workers=0, resume=True, on_progress=lambda step, *_: steps.append(step))
    assert steps == [3, 4]  # from the end of the last whole epoch
    expected, got = load_model(run[0]).state_dict(), load_model(resumed).state_dict()
    for name in expected:
        torch.testing.assert_close(got[name], expected[name], atol=1e-6, rtol=1e-5, msg=name)


def test_what_cannot_be_resumed_is_told(run, tmp_path):
    with pytest.raises(LoxoError, match="something already"):
        train(SMALL, run[0].parent, workers=0)
    with pytest.raises(LoxoError, match="no training run to resume"):
        train(SMALL, tmp_path / "nothing", workers=0, resume=True)
    other = TrainingConfig(**{**SMALL.__dict__, "seed": 8, "batch_size": 3})
    with pytest.raises(LoxoError, match="batch_size, seed"):
        train(other, run[0].parent, workers=0, resume=True)
    lost = TrainingConfig(**{**SMALL.__dict__, "backgrounds": str(tmp_path / "lost")})
    with pytest.raises(LoxoError, match="lost"):
        train(lost, tmp_path / "run", workers=0)
    assert not (tmp_path / "run").exists()


def test_a_window_is_a_function_of_seed_and_number():
    config = HTSATConfig.preset("default")
    first, second = (SimulatedWindows(config, None, 10, seed=5) for _ in range(2))
    waveform, targets = first[7]
    assert waveform.shape == (config.window_samples,) and targets.shape == (2, config.steps)
    assert torch.equal(waveform, second[7][0]) and torch.equal(targets, second[7][1])
    assert not torch.equal(waveform, first[6][0])


def test_epochs_go_on_with_new_windows():
    reached = [0]
    sampler = StepSampler(3, lambda: reached[0])
    assert list(sampler) == [0, 1, 2]
    reached[0] = 6
    assert list(sampler) == [6, 7, 8] and len(sampler) == 3


def test_training_lowers_the_loss(tmp_path):
    losses = []
    config = TrainingConfig(**{**SMALL.__dict__, "steps": 24, "epoch_steps": 24, "warmup": 2, "learning_rate": 3e-3})
    train(config, tmp_path / "run", workers=0, on_progress=lambda _, __, metrics: losses.append(metrics["train_loss"]))
    assert np.mean(losses[-6:]) < 0.7 * np.mean(losses[:3])
