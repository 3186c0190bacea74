"""A model that costs next to nothing and recordings to go with it, for benchmarks of what lies around the model."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor, nn

from loxo.engine.config import Calibration, Decoding, OperatingCurve

RATE, STEP, STEPS = 1000, 100, 16  # steps of 0.1 s, windows of 1.6 s


@dataclass(frozen=True)
class ToyConfig:
    sample_rate: int = RATE
    window_samples: int = STEP * STEPS
    steps: int = STEPS
    step_samples: int = STEP
    stride_steps: int = 1
    classes: tuple[str, ...] = ("rumble",)
    rows: tuple[str, ...] = ("rumble",)
    decoding: dict[str, Decoding] = field(
        default_factory=lambda: {"rumble": Decoding(smooth_s=0.3, min_duration_s=0.3, low_hz=10, high_hz=150)}
    )
    calibration: dict[str, Calibration] = field(default_factory=dict)
    curves: dict[str, OperatingCurve] = field(default_factory=dict)


class ToyModel(nn.Module):
    """Logits from the level of each step, disturbed towards a window's ends as a real model's are."""

    def __init__(self, pause_s: float = 0.0) -> None:
        super().__init__()
        self.config = ToyConfig()
        self.scale = nn.Parameter(torch.tensor(20.0))
        self.pause_s = pause_s  # for every batch

    def forward(self, waveform: Tensor) -> dict[str, Tensor]:
        time.sleep(self.pause_s)
        level = waveform.unflatten(1, (STEPS, STEP)).abs().mean(2)
        logits = self.scale * level - 4 + torch.linspace(-1, 1, STEPS)
        return {"framewise_logits": logits[:, None]}


def write_recording(path: Path, seconds: float, rate: int = RATE, seed: int = 0, **options: str) -> Path:
    """Quiet noise with a hum of a second every 7 s, from 2 s on. `options` as for soundfile."""
    time_s = np.arange(round(seconds * rate)) / rate
    samples = 0.003 * np.random.default_rng(seed).standard_normal(len(time_s))
    samples += 0.4 * np.sin(2 * np.pi * 40 * time_s) * ((time_s % 7 >= 2) & (time_s % 7 < 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(path, "w", rate, 1, **options) as file:
        for start in range(0, len(samples), rate):  # libsndfile's Vorbis encoder crashes on long blocks
            file.write(samples[start : start + rate])
    return path
