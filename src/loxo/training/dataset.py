"""Training windows: each is a function of the seed and its number, so order and content never depend on workers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from loxo.models.config import HTSATConfig
from loxo.simulation.background import Backgrounds
from loxo.simulation.soundscape import training_window
from loxo.training.targets import frame_targets


class SimulatedWindows(Dataset[tuple[Tensor, Tensor]]):
    """`length` windows of simulated calls in backgrounds: (waveform (samples,), targets (classes, steps))."""

    def __init__(self, config: HTSATConfig, backgrounds: Backgrounds | None, length: int, seed: int) -> None:
        self.config, self.backgrounds, self.length, self.seed = config, backgrounds, length, seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        config = self.config
        rng = np.random.default_rng((self.seed, index))
        samples, events = training_window(rng, config.window_samples, config.sample_rate, self.backgrounds)
        spans = ((event.label, event.start, event.end) for event in events)
        targets = frame_targets(spans, config.classes, config.steps, config.step_samples)
        return torch.from_numpy(samples), torch.from_numpy(targets)


class EpochSampler(Sampler[int]):
    """Numbers `per_epoch` windows on from epoch to epoch, so that a resumed run goes on with the window it had reached.

    Lightning calls `set_epoch` on a data loader's sampler before each epoch.
    """

    def __init__(self, per_epoch: int) -> None:
        self.per_epoch, self.epoch = per_epoch, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        yield from range(self.epoch * self.per_epoch, (self.epoch + 1) * self.per_epoch)

    def __len__(self) -> int:
        return self.per_epoch
