"""The losses of three training iterations, written down: windows, network, gradients and optimiser in one number each.

A change of any of these that is not meant to change results leaves the losses as they are, to float rounding.
"""

import csv

import numpy as np
import pytest
import soundfile
from fixture_sound import EVENTS, RATE, SECONDS, fixture_sound

from loxo.training.config import AugmentConfig, DataConfig, LogConfig, TrainingConfig
from loxo.training.train import train

LOSSES = (0.744697, 0.213674, 0.374895)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two recordings, the second of which is the first backwards, and a table of their events."""
    folder = tmp_path_factory.mktemp("pinned")
    samples = fixture_sound()
    soundfile.write(folder / "a.wav", samples, RATE, subtype="FLOAT")
    soundfile.write(folder / "b.wav", samples[::-1], RATE, subtype="FLOAT")
    with (folder / "events.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("recording", "start_s", "end_s", "label"))
        for start, end, label in EVENTS:
            table.writerow(("a.wav", start, end, label))
            table.writerow(("b.wav", SECONDS - end, SECONDS - start, label))
    return DataConfig(
        tables=(str(folder / "events.csv"),), recordings=(str(folder),), validation_share=0.5, validation_windows=4
    )


def test_three_iterations(data, tmp_path, monkeypatch):
    monkeypatch.setattr("loxo.training.muon.bfloat16_is_fast", lambda: False)  # the same on every CPU
    config = TrainingConfig(
        model={
            "embed_dim": 8,
            "num_heads": (1, 2, 4),
            "depths": (1, 1, 1),
            "window_samples": 20480,
            "image_frames": 128,
        },
        data=data,
        augment=AugmentConfig(gain_db=6, shift=0.2, mixup=0.5, time_masks=1, band_masks=1),
        log=LogConfig(plots=0, tensorboard=False),
        learning_rate=0.005,
        weight_decay=2.0,
        iterations=3,
        validation_interval=3,
        batch_size=2,
        workers=0,
        precision="32-true",
        accelerator="cpu",
        seed=3,
    )
    losses = []
    train(config, tmp_path / "run", on_progress=lambda iteration, iterations, figures: losses.append(figures["loss"]))
    np.testing.assert_allclose(losses, LOSSES, atol=1e-4, rtol=0)
