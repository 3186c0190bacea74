"""Training windows and their order.

A data source returns a window by its number: (waveform float32 (samples,), targets float32 (rows, steps)). A window
depends only on the seed and its number. Order and content therefore never depend on the number of workers.

This file contains simulated windows, a mixture of two sources, and augmentation of any source. Windows from a user's
recordings are in `recording_windows.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from loxo.engine.config import ModelConfig
from loxo.errors import LoxoError
from loxo.simulation.background import Backgrounds, synthetic_background
from loxo.simulation.soundscape import training_window
from loxo.training import augment
from loxo.training.augment import Samples
from loxo.training.config import AugmentConfig
from loxo.training.targets import EventSpan, training_targets, with_overlap_rows

Window = tuple[Tensor, Tensor]
Windows = Dataset[Window]
Batch = tuple[Tensor, Tensor]  # waveforms (batch, samples), targets (batch, rows, steps)


class SimulatedWindows(Windows):
    """`length` windows of simulated calls in recorded backgrounds, or in synthetic noise if there are none."""

    def __init__(
        self,
        config: ModelConfig,
        backgrounds: Backgrounds | None,
        length: int,
        seed: int,
        *,
        edges: str = "hard",
        pause: float = 0.0,
    ) -> None:
        """`edges`: see `bin_targets`. `pause`: see `with_pauses`."""
        self.config, self.backgrounds, self.length, self.seed = config, backgrounds, length, seed
        self.edges, self.pause = edges, pause

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Window:
        samples, events = self.scene(index)
        config = self.config
        shape = config.classes, config.steps, config.window_samples
        targets = training_targets(events, *shape, self.edges, pause=self.pause, sample_rate=config.sample_rate)
        return torch.from_numpy(samples), torch.from_numpy(with_overlap_rows(targets, events, config))

    def scene(self, index: int) -> tuple[Samples, list[EventSpan]]:
        """The samples of a window and the events in it."""
        rng = np.random.default_rng((self.seed, index))
        samples, events = training_window(rng, self.config.window_samples, self.config.sample_rate, self.backgrounds)
        return samples, [(event.label, event.start, event.end) for event in events]


class MixedWindows(Windows):
    """Windows from two sources. A window comes from the first source with probability `share`."""

    def __init__(self, first: Windows, second: Windows, share: float, seed: int) -> None:
        self.first, self.second, self.share, self.seed = first, second, share, seed

    def __getitem__(self, index: int) -> Window:
        drawn = augment.generator(self.seed, "source", index).random()
        return (self.first if drawn < self.share else self.second)[index]


class AugmentedWindows(Windows):
    """The windows of a source with random changes.

    `backgrounds` are mixed into the windows; None stands for synthetic noise.
    """

    def __init__(
        self,
        source: Windows,
        config: ModelConfig,
        changes: AugmentConfig,
        backgrounds: Backgrounds | None,
        seed: int,
    ) -> None:
        self.source, self.config, self.changes = source, config, changes
        self.backgrounds, self.seed = backgrounds, seed

    def __getitem__(self, index: int) -> Window:
        waveform, target = self.source[index]
        samples, targets, changes, rate = waveform.numpy(), target.numpy(), self.changes, self.config.sample_rate
        rng = augment.generator(self.seed, "augment", index)
        if changes.shift:
            samples, targets = augment.shift(samples, targets, rng, changes.shift)
        if rng.random() < changes.background:
            if self.backgrounds is None:
                background = synthetic_background(rng, len(samples), rate)
            else:
                background = self.backgrounds.draw(rng, len(samples))
            samples = augment.mix_background(samples, background, rng, changes.background_snr_db)
        if changes.filter_db:
            samples = augment.random_filter(samples, rate, rng, changes.filter_db)
        if changes.gain_db:
            samples = augment.gain(samples, rng, changes.gain_db)
        return torch.from_numpy(samples), torch.from_numpy(targets)


class ResumableSampler(Sampler[int]):
    """The window numbers of one device, for the batches from `start` to `stop`.

    With several devices each receives its own batches in turn. The numbers are those of an uninterrupted run, wherever
    the sampler starts.
    """

    def __init__(self, start: int, stop: int, batch_size: int, rank: int = 0, devices: int = 1) -> None:
        self.batches = range(start, stop)
        self.batch_size, self.rank, self.devices = batch_size, rank, devices

    def __iter__(self) -> Iterator[int]:
        for batch in self.batches:
            first = (batch * self.devices + self.rank) * self.batch_size
            yield from range(first, first + self.batch_size)

    def __len__(self) -> int:
        return len(self.batches) * self.batch_size


class ErrorsAsItems(Dataset[Window | LoxoError]):
    """A source that returns a LoxoError in place of a window.

    An exception that is raised in a loader process would reach the user with a traceback.
    """

    def __init__(self, source: Windows) -> None:
        self.source = source

    def __getitem__(self, index: int) -> Window | LoxoError:
        try:
            return self.source[index]
        except LoxoError as error:
            return LoxoError(str(error))


def collate(items: list[Any]) -> Batch | LoxoError:
    """The windows as one batch, or the first error among them."""
    errors = [item for item in items if isinstance(item, LoxoError)]
    if errors:
        return errors[0]
    waveforms, targets = zip(*items, strict=True)
    return torch.stack(waveforms), torch.stack(targets)
