"""A toy model that needs almost no CPU time, and recordings for it, for benchmarks of everything except the model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

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


class ToyModel:
    """An engine with logits from the level of each step, with errors at the ends of a window, as in a real model."""

    group = 4
    sha256 = "toy"

    def __init__(self, pause_s: float = 0.0) -> None:
        self.config: Any = ToyConfig()
        self.pause_s = pause_s  # per group of windows, to simulate the time of a model

    def describe(self) -> dict[str, str]:
        return {"runtime": "toy"}

    def read(self, samples: NDArray[np.float32]) -> ToyInput:
        return ToyInput(self, samples)


@dataclass
class ToyInput:
    model: ToyModel
    samples: NDArray[np.float32]

    def outputs(self, firsts: Sequence[int]) -> tuple[NDArray[np.float32], None]:
        time.sleep(self.model.pause_s)
        windows = np.stack([self.samples[first : first + STEP * STEPS] for first in firsts])
        level = np.abs(windows.reshape(len(windows), STEPS, STEP)).mean(2)
        logits = 20 * level - 4 + np.linspace(-1, 1, STEPS)
        return logits[:, None].astype(np.float32), None


def write_recording(path: Path, seconds: float, rate: int = RATE, seed: int = 0, **options: str) -> Path:
    """Writes quiet noise with a hum of 1 s every 7 s, from 2 s on. `options`: arguments of soundfile.SoundFile."""
    time_s = np.arange(round(seconds * rate)) / rate
    samples = 0.003 * np.random.default_rng(seed).standard_normal(len(time_s))
    samples += 0.4 * np.sin(2 * np.pi * 40 * time_s) * ((time_s % 7 >= 2) & (time_s % 7 < 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(path, "w", rate, 1, **options) as file:
        for start in range(0, len(samples), rate):  # libsndfile's Vorbis encoder crashes on long blocks
            file.write(samples[start : start + rate])
    return path
