"""Sounds for tests of engines: windows of noise and chirps, and a simulated recording."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loxo.simulation.simulate import simulate


def sounds(config: Any, windows: int, seed: int = 0) -> NDArray[np.float32]:
    """(windows, window_samples) noise with a chirp from 20 Hz to 1 kHz in each window."""
    rng = np.random.default_rng(seed)
    size = config.window_samples
    seconds = np.arange(size) / config.sample_rate
    sweep = np.sin(2 * np.pi * (20 * seconds + 490 * seconds**2 / seconds[-1]))
    levels = np.geomspace(0.01, 0.3, windows)[:, None]
    return (rng.normal(0, 0.02, (windows, size)) + levels * sweep).astype(np.float32)


def fixture_recording(folder: Path) -> Path:
    """About a minute with several rumbles and gunshots."""
    simulate(folder / "recordings", 1 / 60, 5, rumbles_per_hour=240.0, gunshots_per_hour=180.0, format="wav")
    (path,) = (folder / "recordings").glob("*.wav")
    return path
