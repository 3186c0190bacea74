"""Training windows out of long recordings: each stretch is sought, decoded and resampled when it is asked for.

What a window is depends on the seed and its number alone, so order and content never depend on loader workers, and a
resumed run goes on with exactly the window it had reached. Nothing is kept but the list of events and free stretches,
so memory does not grow with the recordings' length. Every window is labelled with all events of all classes in it.

A window that a recording is too short for ends in silence, as in detection. A window that cannot be decoded is replaced
by another draw, and its recording named once in the log; after REDRAWS in a row the RecordingError is raised, and at
once where it was the connection to a server that failed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from loxo.audio.recording import RecordingError, stream
from loxo.engine.config import ModelConfig
from loxo.errors import LoxoError
from loxo.training.annotations import AnnotatedRecording, Annotations
from loxo.training.targets import IGNORED, Span, bin_targets, merged, training_targets, with_overlaps

REDRAWS = 8

log = logging.getLogger(__name__)


class _Windows(Dataset[tuple[Tensor, Tensor]]):
    """What windows of recordings have in common: waveform and targets of the stretch from a given sample on."""

    pause = 0.0  # see `with_pauses`

    def __init__(
        self, config: ModelConfig, annotations: Annotations, bins: int | None, edges: str, channel: int | None
    ) -> None:
        if (config.sample_rate, config.classes) != (annotations.sample_rate, annotations.classes):
            raise LoxoError(
                f"The annotations are for {', '.join(annotations.classes)} at {annotations.sample_rate} Hz, "
                f"the model is for {', '.join(config.classes)} at {config.sample_rate} Hz."
            )
        self.config, self.recordings = config, annotations.recordings
        self.bins, self.edges, self.channel = bins or config.steps, edges, channel
        self._named: set[str] = set()

    def waveform(self, number: int, start: int) -> Tensor:
        """float32 (samples,) of recording `number` from sample `start` on. Raises RecordingError."""
        one, size = self.recordings[number], self.config.window_samples
        blocks = stream(
            one.recording,
            self.config.sample_rate,
            start=start,
            stop=min(start + size, one.samples),
            channel=self.channel,
        )
        samples, filled = np.zeros(size, np.float32), 0
        for block in blocks:
            samples[filled : filled + len(block)] = block
            filled += len(block)
        if blocks.fault:
            raise RecordingError(blocks.fault)
        return torch.from_numpy(samples)

    def targets(self, number: int, start: int, bins: int | None = None, edges: str | None = None) -> Tensor:
        """float32 (classes, bins) of the same stretch; IGNORED where it is not known whether there is a call, PAUSE
        where `pause` cut one."""
        events, ignored = self.within(number, start)
        shape = self.config.classes, bins or self.bins, self.config.window_samples
        rate = self.config.sample_rate
        targets = training_targets(events, *shape, edges or self.edges, pause=self.pause, sample_rate=rate)
        if ignored:
            targets[(bin_targets(ignored, *shape, "soft") > 0) & (targets < 1)] = IGNORED
        return torch.from_numpy(targets)

    def within(self, number: int, start: int) -> tuple[list[Span], list[Span]]:
        """The events in a window, whole, and those in it that are to be ignored, in samples from its start."""
        one, past = self.recordings[number], start + self.config.window_samples
        events, ignored = (
            [(label, a - start, b - start) for label, a, b in spans if a < past and b > start]
            for spans in (one.events, one.ignored)
        )
        return events, ignored

    def _name_once(self, fault: RecordingError, number: int) -> None:
        if (path := self.recordings[number].path) not in self._named:
            self._named.add(path)
            log.warning("%s Other windows are drawn in place of those that cannot be decoded.", fault)


class RecordedWindows(_Windows):
    """`length` windows: (waveform float32 (samples,), targets float32 (rows, bins)), rows as in `with_overlaps`.

    Of all windows `background_share` hold no label of any kind: drawn from every recording that was searched, in
    proportion to its free time. `hard_negative_share` have a hard negative in them. The others have an event: its class
    is drawn first, each with the same chance, so that rare shots are seen as often as rumbles; then the event; then
    where it lies, evenly, from where it just begins at the window's end to where it just ends at its start (by one step
    of the model). So onsets, offsets and events cut off on either side all occur.

    `bins` and `edges` of the targets are those of `bin_targets`, by default the model's own steps; IGNORED steps occur
    only where marginal events are to be ignored. `channel` counts from 0; None is the mean of all channels. `pause` is
    the share of `with_pauses`.
    Raises LoxoError for shares that cannot be, and where there is nothing to draw: no events, no hard negatives, or no
    free stretch as long as a window. An item raises RecordingError as this module's docstring says.
    """

    def __init__(
        self,
        config: ModelConfig,
        annotations: Annotations,
        length: int,
        seed: int,
        *,
        background_share: float = 0.5,
        hard_negative_share: float = 0.0,
        bins: int | None = None,
        edges: str = "hard",
        channel: int | None = None,
        pause: float = 0.0,
    ) -> None:
        super().__init__(config, annotations, bins, edges, channel)
        self.length, self.seed, self.pause = length, seed, pause
        self.background_share, self.hard_negative_share = background_share, hard_negative_share
        if min(background_share, hard_negative_share) < 0 or background_share + hard_negative_share > 1:
            raise LoxoError(
                f"The shares of backgrounds ({background_share:g}) and hard negatives ({hard_negative_share:g}) must "
                "lie between 0 and 1, and so must their sum."
            )
        self.events = [_stretches(self.recordings, label) for label in config.classes]
        self.events = [found for found in self.events if len(found)]
        self.hard = _stretches(self.recordings, None)
        self.free = _free_stretches(self.recordings, config.window_samples)
        if background_share + hard_negative_share < 1 and not self.events:
            raise LoxoError(
                "There are no events to draw windows with: background_share must be 1, or give other tables."
            )
        if hard_negative_share and not len(self.hard):
            raise LoxoError("hard_negative_share is above 0, but there is no hard negative in any of the recordings.")
        if background_share and not len(self.free):
            raise LoxoError(
                f"No recording has a stretch of {config.window_samples / config.sample_rate:.1f} s (one window) "
                "without any label: add recordings that were searched and hold nothing, or set background_share to 0."
            )

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        for attempt in range(REDRAWS):
            number, start = self.draw(index, attempt)
            try:
                targets = self.targets(number, start).numpy()
                rows = with_overlaps(targets, self.within(number, start)[0], self.config)
                return self.waveform(number, start), torch.from_numpy(rows)
            except RecordingError as error:
                if error.transient:  # another window in its place would make a resumed run another one
                    raise
                self._name_once(error, number)
                fault = error
        raise fault

    def draw(self, index: int, attempt: int = 0) -> tuple[int, int]:
        """The recording's number and the first sample of a window."""
        rng = np.random.default_rng((self.seed, index, attempt))
        kind = rng.random()
        if kind < self.background_share:
            return _draw_free(self.free, self.config.window_samples, rng)
        if kind < self.background_share + self.hard_negative_share:
            number, first, past = self.hard[rng.integers(len(self.hard))]
        else:
            events = self.events[rng.integers(len(self.events))]
            number, first, past = events[rng.integers(len(events))]
        return int(number), self._place(int(number), int(first), int(past), rng)

    def _place(self, number: int, first: int, past: int, rng: np.random.Generator) -> int:
        """A window's start, such that the event is in it with at least one step, or whole if it is shorter."""
        size = self.config.window_samples
        least = min(past - first, self.config.step_samples)
        start = int(rng.integers(first + least - size, past - least, endpoint=True))
        return max(0, min(start, self.recordings[number].samples - size))


class FixedWindows(_Windows):
    """Validation windows: at most `length`, chosen once by `seed`, the same in every run and whatever the targets are.

    Events come as they lie on a grid of whole windows, so some are cut off; each class has the same number of windows
    as far as it has so many. `background_share` of the windows hold no label; fewer where there are not enough.
    Items, `bins`, `edges` and `channel` as in RecordedWindows; `targets_of` gives other targets without the waveform.
    A window that cannot be decoded raises RecordingError.
    """

    def __init__(
        self,
        config: ModelConfig,
        annotations: Annotations,
        length: int,
        seed: int,
        *,
        background_share: float = 0.5,
        bins: int | None = None,
        edges: str = "hard",
        channel: int | None = None,
    ) -> None:
        super().__init__(config, annotations, bins, edges, channel)
        rng = np.random.default_rng((seed, length))
        free = _free_stretches(self.recordings, config.window_samples)
        with_events = [self._grid(label) for label in config.classes]
        every = sorted(set().union(*with_events))
        backgrounds = round(background_share * length) if len(free) else 0
        wanted = max(length - backgrounds, 0)
        chosen: set[tuple[int, int]] = set()
        for windows in sorted(with_events, key=len):  # the rarest class first
            room = min(-(-wanted // len(with_events)), wanted - len(chosen))
            chosen |= set(_sample(windows, room, rng))
        chosen |= set(_sample([window for window in every if window not in chosen], wanted - len(chosen), rng))
        for _ in range(10 * backgrounds):
            if len(chosen) >= min(wanted, len(every)) + backgrounds:
                break
            chosen.add(_draw_free(free, config.window_samples, rng))
        self.windows = sorted(chosen)

    def _grid(self, label: str) -> list[tuple[int, int]]:
        """The windows of the grid that have an event of a class in them, with at least one step if it is so long."""
        size, found = self.config.window_samples, set()
        for number, first, past in _stretches(self.recordings, label).tolist():
            least = min(past - first, self.config.step_samples)
            end = max(self.recordings[number].samples - size, 0)
            for cell in range(first // size, (past - 1) // size + 1):
                start = min(cell * size, end)
                if min(past, start + size) - max(first, start) >= least:
                    found.add((number, start))
        return sorted(found)

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        number, start = self.windows[index]
        return self.waveform(number, start), self.targets(number, start)

    def targets_of(self, index: int, bins: int | None = None, edges: str | None = None) -> Tensor:
        """The targets of a window alone, (classes, bins)."""
        return self.targets(*self.windows[index], bins, edges)


def _stretches(recordings: Iterable[AnnotatedRecording], label: str | None) -> NDArray[np.int64]:
    """(stretches, 3): recording's number, first sample, sample past the last; of a class, or of the hard negatives."""
    found = [
        (number, first, past)
        for number, one in enumerate(recordings)
        for first, past in (one.hard if label is None else [(a, b) for name, a, b in one.events if name == label])
    ]
    return np.array(found, np.int64).reshape(-1, 3)


def _free_stretches(recordings: Iterable[AnnotatedRecording], size: int) -> NDArray[np.int64]:
    """The same of stretches without any label that hold a window, and of whole recordings that are shorter than one."""
    found = []
    for number, one in enumerate(recordings):
        if not one.searched:
            continue
        labelled = merged([*((a, b) for _, a, b in (*one.events, *one.ignored)), *one.avoided])
        borders = [0, *(sample for stretch in labelled for sample in stretch), one.samples]
        for first, past in zip(borders[::2], borders[1::2], strict=True):
            if past - first >= min(size, one.samples):
                found.append((number, first, past))
    return np.array(found, np.int64).reshape(-1, 3)


def _draw_free(free: NDArray[np.int64], size: int, rng: np.random.Generator) -> tuple[int, int]:
    """A window without labels, each stretch with a chance that is its length."""
    lengths = np.cumsum(free[:, 2] - free[:, 1])
    number, first, past = free[np.searchsorted(lengths, rng.integers(lengths[-1]), side="right")].tolist()
    return number, int(rng.integers(first, max(past - size, first), endpoint=True))


def _sample(windows: list[tuple[int, int]], count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    count = max(0, min(count, len(windows)))
    return [windows[k] for k in rng.choice(len(windows), count, replace=False)] if count else []
