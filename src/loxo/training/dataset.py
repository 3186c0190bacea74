"""Training windows: each is a function of the seed and its number, so order and content never depend on workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from loxo.models.config import ModelConfig
from loxo.simulation.background import Backgrounds
from loxo.simulation.soundscape import training_window
from loxo.training.targets import frame_targets


class SimulatedWindows(Dataset[tuple[Tensor, Tensor]]):
    """`length` windows of simulated calls in backgrounds: (waveform (samples,), targets (classes, steps))."""

    def __init__(self, config: ModelConfig, backgrounds: Backgrounds | None, length: int, seed: int) -> None:
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


class StepSampler(Sampler[int]):
    """An epoch's numbers of windows, from the one that the run has reached on.

    `reached()` gives that number when an epoch begins. Counted from the optimiser's steps and not from epochs, it is
    right for a resumed run too.
    """

    def __init__(self, per_epoch: int, reached: Callable[[], int]) -> None:
        self.per_epoch, self.reached = per_epoch, reached

    def __iter__(self) -> Iterator[int]:
        first = self.reached()
        yield from range(first, first + self.per_epoch)

    def __len__(self) -> int:
        return self.per_epoch
