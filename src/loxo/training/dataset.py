"""Training windows: each is a function of the seed and its number, so order and content never depend on workers.

A source of windows gives (waveform float32 (samples,), targets float32 (rows, steps)) for a number: here simulated
ones, a mixture of two sources, and any of them augmented; those of a user's recordings are in recorded.py.
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
from loxo.training.targets import Span, training_targets, with_overlaps

Window = tuple[Tensor, Tensor]
Windows = Dataset[Window]
Batch = tuple[Tensor, Tensor]  # waveforms (batch, samples), targets (batch, rows, steps)


class SimulatedWindows(Windows):
    """`length` windows of simulated calls in backgrounds, without them in made-up noise."""

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
        """`edges`: see `bin_targets`; `pause`: see `with_pauses`."""
        self.config, self.backgrounds, self.length, self.seed = config, backgrounds, length, seed
        self.edges, self.pause = edges, pause

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Window:
        samples, spans = self.scene(index)
        config = self.config
        shape = config.classes, config.steps, config.window_samples
        targets = training_targets(spans, *shape, self.edges, pause=self.pause, sample_rate=config.sample_rate)
        return torch.from_numpy(samples), torch.from_numpy(with_overlaps(targets, spans, config))

    def scene(self, index: int) -> tuple[Samples, list[Span]]:
        """The samples of a window and the events in it."""
        rng = np.random.default_rng((self.seed, index))
        samples, events = training_window(rng, self.config.window_samples, self.config.sample_rate, self.backgrounds)
        return samples, [(event.label, event.start, event.end) for event in events]


class Mixture(Windows):
    """Each window from one of two sources, drawn by `share`, which is the first one's."""

    def __init__(self, first: Windows, second: Windows, share: float, seed: int) -> None:
        self.first, self.second, self.share, self.seed = first, second, share, seed

    def __getitem__(self, index: int) -> Window:
        drawn = augment.generator(self.seed, "source", index).random()
        return (self.first if drawn < self.share else self.second)[index]


class Augmented(Windows):
    """The windows of a source, changed as `changes` says. `backgrounds`: what is mixed in; None: made-up noise."""

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


class Numbers(Sampler[int]):
    """The numbers of one device's windows, in batches from `first` to `total`.

    Of several devices each takes its own batches in turn. The order is that of an uninterrupted run wherever it begins.
    """

    def __init__(self, first: int, total: int, batch_size: int, rank: int = 0, devices: int = 1) -> None:
        self.batches = range(first, total)
        self.batch_size, self.rank, self.devices = batch_size, rank, devices

    def __iter__(self) -> Iterator[int]:
        for batch in self.batches:
            begin = (batch * self.devices + self.rank) * self.batch_size
            yield from range(begin, begin + self.batch_size)

    def __len__(self) -> int:
        return len(self.batches) * self.batch_size


class Told(Dataset[Window | LoxoError]):
    """A source whose faults come out in place of a window: raised in a loader's process they bring a traceback."""

    def __init__(self, source: Windows) -> None:
        self.source = source

    def __getitem__(self, index: int) -> Window | LoxoError:
        try:
            return self.source[index]
        except LoxoError as error:
            return LoxoError(str(error))


def collate(items: list[Any]) -> Batch | LoxoError:
    """Windows as a batch, or the first fault among them."""
    faults = [item for item in items if isinstance(item, LoxoError)]
    if faults:
        return faults[0]
    waveforms, targets = zip(*items, strict=True)
    return torch.stack(waveforms), torch.stack(targets)
