"""An engine with the real one's contract whose scores can be told in advance. Importable by worker processes."""

import ctypes
import hashlib
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from loxo.detection.scores import CHUNK
from loxo.engine.config import Calibration, Decoding, OperatingCurve
from loxo.engine.windows import WINDOW_OVERLAP, hop_steps
from loxo.survey.processes import Job
from loxo.survey.redecode import Redecoder

RATE, STEP, STEPS = 1000, 100, 16  # steps of 0.1 s, windows of 1.6 s
CHUNK_S = CHUNK * hop_steps(WINDOW_OVERLAP, STEPS) * STEP / RATE


def write(path: Path, seconds: float, rate: int = RATE, seed: int = 0, **options: str) -> Path:
    """Noise with a hum every 7 s."""
    time_s = np.arange(round(seconds * rate)) / rate
    samples = 0.02 * np.random.default_rng(seed).standard_normal(len(time_s))
    samples += 0.4 * np.sin(2 * np.pi * 40 * time_s) * (time_s % 7 < 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(path, "w", rate, 1, **options) as file:
        for start in range(0, len(samples), rate):  # libsndfile's Vorbis encoder crashes on long blocks
            file.write(samples[start : start + rate])
    return path


@dataclass(frozen=True)
class FakeConfig:
    sample_rate: int = RATE
    window_samples: int = STEP * STEPS
    steps: int = STEPS
    step_samples: int = STEP
    stride_steps: int = 1
    classes: tuple[str, ...] = ("rumble", "gunshot")
    decoding: dict[str, Decoding] = field(
        default_factory=lambda: {
            "rumble": Decoding(smooth_s=0.3, min_duration_s=0.3, low_hz=10, high_hz=150),
            "gunshot": Decoding(low_hz=80, high_hz=500),
        }
    )
    calibration: dict[str, Calibration] = field(default_factory=dict)
    curves: dict[str, OperatingCurve] = field(default_factory=dict)

    @property
    def rows(self) -> tuple[str, ...]:
        return self.classes


class FakeModel:
    """An engine with logits from the level of each step: mean for "rumble", largest difference for "gunshot"."""

    group = 4

    def __init__(self, config: FakeConfig | None = None, weight_of_place: float = 0.0) -> None:
        self.config: Any = config or FakeConfig()
        self.scale = 20.0
        self.weight_of_place = weight_of_place  # how much the border of a window disturbs, as in a real model

    @property
    def sha256(self) -> str:
        return hashlib.sha256(repr((self.config, self.scale)).encode()).hexdigest()

    def describe(self) -> dict[str, str]:
        return {"runtime": "fake"}

    def read(self, samples: np.ndarray) -> "FakeInput":
        return FakeInput(self, samples)

    def logits(self, windows: np.ndarray) -> np.ndarray:
        """(windows, samples) -> (windows, rows, steps)"""
        steps = windows.reshape(len(windows), self.config.steps, self.config.step_samples)
        rumble = self.scale * np.abs(steps).mean(2) - 4
        gunshot = self.scale * np.abs(np.diff(steps, axis=2)).max(2) - 6
        place = self.weight_of_place * np.linspace(-1, 1, self.config.steps)
        return (np.stack((rumble, gunshot), 1) + place).astype(np.float32)


@dataclass
class FakeInput:
    model: FakeModel
    samples: np.ndarray

    def outputs(self, firsts):
        size = self.model.config.window_samples
        return self.model.logits(np.stack([self.samples[first : first + size] for first in firsts])), None


class BrokenModel(FakeModel):
    def logits(self, windows: np.ndarray) -> np.ndarray:
        return super().logits(windows) * np.float32("nan")


class DeadlyModel(FakeModel):
    """Kills its process when it hears full scale: always, or the first time only if there is a marker to leave."""

    def __init__(self, marker: Path | None = None) -> None:
        super().__init__()
        self.marker = marker

    def logits(self, windows: np.ndarray) -> np.ndarray:
        if np.abs(windows).max() > 0.99 and (self.marker is None or not self.marker.exists()):
            if self.marker is not None:
                self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.02)
        return super().logits(windows)


class HangingModel(FakeModel):
    """Never comes back when it hears full scale for the first time. `stop`: nor does anything in its process, which to
    all others looks as if the network to it were cut."""

    def __init__(self, marker: Path, stop: bool = False) -> None:
        super().__init__()
        self.marker, self.stop = marker, stop

    def logits(self, windows: np.ndarray) -> np.ndarray:
        if np.abs(windows).max() > 0.99 and not self.marker.exists():
            self.marker.write_text(str(os.getpid()))
            if self.stop:
                os.kill(os.getpid(), signal.SIGSTOP)
                os._exit(1)  # continued at the test's end
            while True:
                time.sleep(1)
        return super().logits(windows)


def faulty(fault: str, attempts: Path, caller: int) -> FakeModel:
    """A model in a process whose decoder does not survive a recording called bad.wav, or never opens it. Each attempt
    is a line in the file `attempts`. In the process `caller` nothing may be decoded at all."""
    from loxo.audio import recording

    def open_recording(path: Any, *arguments: Any) -> Any:
        assert os.getpid() != caller, f"{path} is opened in the process that runs the survey"
        if Path(path).name != "bad.wav":
            return opened(path, *arguments)
        with attempts.open("a") as file:
            file.write(f"{os.getpid()}\n")
        if fault == "crash":
            ctypes.string_at(0)
        elif fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        while True:
            time.sleep(1)

    opened = getattr(recording.open_libsndfile, "opened", recording.open_libsndfile)
    open_recording.opened = opened  # type: ignore[attr-defined]
    if os.getpid() != caller:
        recording.open_libsndfile = open_recording  # type: ignore[assignment]
    return FakeModel()


class CrashingRedecoder(Redecoder):
    """Crashes when it opens a recording called bad.wav."""

    def __call__(self, job: Job, report: object) -> Any:
        if Path(job.path).name == "bad.wav" and job.content.lost is None:
            ctypes.string_at(0)
        return super().__call__(job, report)
