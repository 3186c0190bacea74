"""Training and validation windows from long recordings, read and resampled only when they are used.

A window depends only on the seed and its number. Order and content therefore never depend on the number of loader
processes, and a resumed run continues with exactly the window it had reached. Only the lists of events and of spans
without events are in memory, so that memory does not grow with the length of the recordings. Every window has the
targets of all events of all classes in it.

Recordings shorter than a window are joined, so that a window of short clips also contains what precedes and follows an
event. A fraction JOINED_SHARE of the training windows of such recordings is joined. The others end in silence, as in
detection and validation.

Failure policy: a window that cannot be decoded is replaced by another random one, and the log names its recording once.
After REDRAWS failures in a row RecordingError is raised. It is raised at once when the connection to a server failed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from loxo.audio.recording import RecordingError, stream
from loxo.engine.config import ModelConfig
from loxo.errors import LoxoError
from loxo.evaluation.inputs import CLIP_TOLERANCE_S
from loxo.training.annotations import AnnotatedRecording, Annotations
from loxo.training.config import CLIP_LEVEL
from loxo.training.targets import (
    IGNORED,
    SOMEWHERE,
    EventSpan,
    bin_targets,
    merge_spans,
    training_targets,
    with_overlap_rows,
)

Samples = NDArray[np.float32]

REDRAWS = 8
JOINED_SHARE = 0.75
FADE_S = 0.1  # of the cross-fades between joined recordings
JOINED = 1  # the random generator of joined windows: appended to the seed of the window
LEVEL_S = 0.1  # blocks whose median power is the level of a joined recording

log = logging.getLogger(__name__)


class WindowSpans(NamedTuple):
    """What overlaps a window, in samples from its start. Spans are not cut at the borders of the window."""

    events: list[EventSpan]
    ignored: list[EventSpan]
    clip_level: list[EventSpan]  # clip-level labels: an event is somewhere in these spans


class _Windows(Dataset[tuple[Tensor, Tensor]]):
    """Base class: waveform and targets of the window that begins at a given sample of a recording."""

    pause = 0.0  # see `with_pauses`

    def __init__(
        self,
        config: ModelConfig,
        annotations: Annotations,
        bins: int | None,
        edges: str,
        channel: int | None,
        clip_level: str,
    ) -> None:
        if clip_level not in CLIP_LEVEL:
            raise LoxoError(f"clip_level is {clip_level!r}, but it must be one of {', '.join(CLIP_LEVEL)}.")
        if (config.sample_rate, config.classes) != (annotations.sample_rate, annotations.classes):
            raise LoxoError(
                f"The annotations are for {', '.join(annotations.classes)} at {annotations.sample_rate} Hz, "
                f"the model is for {', '.join(config.classes)} at {config.sample_rate} Hz."
            )
        self.config, self.recordings = config, annotations.recordings
        self.bins, self.edges, self.channel = bins or config.steps, edges, channel
        self.unknown_classes = annotations.unknown_classes
        self.clip_level = clip_level == "clip"
        self._logged: set[str] = set()  # paths of recordings that the log names already

    def waveform(self, number: int, start: int) -> Tensor:
        """float32 (samples,): recording `number` from sample `start` on. Raises RecordingError."""
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
        """float32 (classes, bins): the targets of the same window.

        IGNORED where an annotator was not sure, SOMEWHERE in a clip-level label, PAUSE where `pause` removed part of a
        call.
        """
        return self._targets(self.events_in_window(number, start), bins, edges)

    def _targets(self, found: WindowSpans, bins: int | None = None, edges: str | None = None) -> Tensor:
        shape = self.config.classes, bins or self.bins, self.config.window_samples
        rate = self.config.sample_rate
        targets = training_targets(found.events, *shape, edges or self.edges, pause=self.pause, sample_rate=rate)
        whole = [span for span in found.clip_level if span[1] >= 0 and span[2] <= self.config.window_samples]
        cut = [span for span in found.clip_level if span not in whole]
        for spans, value in ((whole, SOMEWHERE), ([*found.ignored, *cut], IGNORED)):
            if spans:
                targets[(bin_targets(spans, *shape, "soft") > 0) & (targets < 1)] = value
        return torch.from_numpy(targets)

    def events_in_window(self, number: int, start: int) -> WindowSpans:
        """The events, ignored spans and clip-level labels that overlap a window."""
        one, stop = self.recordings[number], start + self.config.window_samples
        events, ignored = (
            [(label, a - start, b - start) for label, a, b in spans if a < stop and b > start]
            for spans in (one.events, one.ignored)
        )
        ignored += [(label, 0, self.config.window_samples) for label in self.unknown_classes]
        if not self.clip_level:
            return WindowSpans(events, ignored, [])
        clip_level = [span for span in events if is_clip_level(one, span[1] + start, span[2] + start, self.config)]
        return WindowSpans([span for span in events if span not in clip_level], ignored, clip_level)

    def _log_once(self, fault: RecordingError, number: int) -> None:
        if (path := self.recordings[number].path) not in self._logged:
            self._logged.add(path)
            log.warning("%s Windows that cannot be decoded are replaced by others.", fault)


class RecordingWindows(_Windows):
    """`length` random windows: (waveform float32 (samples,), targets float32 (rows, bins)), see `with_overlap_rows`.

    A fraction `background_share` of the windows overlaps no label of any kind. These windows come from all searched
    recordings, in proportion to their time without labels. A fraction `hard_negative_share` contains a hard negative.

    The other windows contain an event. First its class is drawn, with equal probabilities, so that rare shots are as
    frequent as rumbles. Then one of its events is drawn, and then the position of the window, uniformly. The positions
    range from an event that starts one step before the window's end to one that ends one step after its start. Onsets,
    offsets and events that are cut off on either side therefore all occur.

    `bins` and `edges` are those of `bin_targets`; by default there is one bin per step of the model. IGNORED occurs
    only if marginal events are ignored or a clip-level label is cut. `clip_level` is "clip" if an event that covers its
    whole recording is a clip-level label, as in evaluation, and "event" if it is an event. `channel` counts from 0;
    None is the mean of all channels. `pause` is the `share` of `with_pauses`.

    Raises LoxoError for invalid fractions. Also when windows are to be drawn but there are no events, no hard
    negatives, or no spans without labels as long as a window. Items raise RecordingError as the docstring of this
    module states.
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
        clip_level: str = "clip",
    ) -> None:
        super().__init__(config, annotations, bins, edges, channel, clip_level)
        self.length, self.seed, self.pause = length, seed, pause
        self.background_share, self.hard_negative_share = background_share, hard_negative_share
        if min(background_share, hard_negative_share) < 0 or background_share + hard_negative_share > 1:
            raise LoxoError(
                f"background_share ({background_share:g}), hard_negative_share ({hard_negative_share:g}) and their sum "
                "must be between 0 and 1."
            )
        self.events = [_spans(self.recordings, label) for label in config.classes]
        self.events = [found for found in self.events if len(found)]
        self.hard_negatives = _spans(self.recordings, None)
        self.free = free_spans(self.recordings, config.window_samples)
        min_joined = 4 * round(FADE_S * config.sample_rate)  # shorter recordings would consist of cross-fades
        self.short = np.array(
            [
                number
                for number, one in enumerate(self.recordings)
                if one.searched and min_joined <= one.samples < config.window_samples
            ]
        )
        if background_share + hard_negative_share < 1 and not self.events:
            raise LoxoError(
                "There are no events to draw windows with: set background_share to 1, or give tables with events."
            )
        if hard_negative_share and not len(self.hard_negatives):
            raise LoxoError("hard_negative_share is above 0, but the recordings contain no hard negatives.")
        if background_share and not len(self.free):
            raise LoxoError(
                f"No recording has a span of {config.window_samples / config.sample_rate:.1f} s (one window) "
                "without labels. Add recordings that were searched and contain no events, or set background_share to 0."
            )

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        for attempt in range(REDRAWS):
            number, start = self.draw(index, attempt)
            try:
                waveform, found = self._window(number, start, (self.seed, index, attempt))
                rows = with_overlap_rows(self._targets(found).numpy(), found.events, self.config)
                return waveform, torch.from_numpy(rows)
            except RecordingError as error:
                if error.transient:  # a replacement would give a resumed run other windows
                    raise
                self._log_once(error, number)
                fault = error
        raise fault

    def _window(self, number: int, start: int, seed: tuple[int, ...]) -> tuple[Tensor, WindowSpans]:
        """The samples of a window and its `events_in_window`. A short recording may be joined with others."""
        samples, size = self.recordings[number].samples, self.config.window_samples
        rng = np.random.default_rng((*seed, JOINED))
        if samples >= size or len(self.short) < 2 or rng.random() >= JOINED_SHARE:
            return self.waveform(number, start), self.events_in_window(number, start)
        fade = round(FADE_S * self.config.sample_rate)
        pieces = [(number, int(rng.integers(-samples // 2, size - samples // 2)))]  # recordings and their first samples
        while pieces[0][1] > 0:
            other = int(rng.choice(self.short))
            pieces.insert(0, (other, pieces[0][1] + fade - self.recordings[other].samples))
        while (stop := pieces[-1][1] + self.recordings[pieces[-1][0]].samples) < size:
            pieces.append((int(rng.choice(self.short)), stop - fade))
        found = WindowSpans([], [], [])
        out, level = np.zeros(size, np.float32), 0.0
        for piece, at in pieces:
            sound = self.waveform(piece, 0).numpy()[: self.recordings[piece].samples]
            own = _level(sound, round(LEVEL_S * self.config.sample_rate))
            level = level or own
            _add_piece(out, sound * np.float32(level / own if own else 1.0), at, fade)
            for kind, spans in zip(found, self.events_in_window(piece, 0), strict=True):
                kind += [(label, a + at, b + at) for label, a, b in spans if a + at < size and b + at > 0]
        return torch.from_numpy(out), found

    def draw(self, index: int, attempt: int = 0) -> tuple[int, int]:
        """The recording's number and the first sample of a window."""
        rng = np.random.default_rng((self.seed, index, attempt))
        kind = rng.random()
        if kind < self.background_share:
            return _draw_background(self.free, self.config.window_samples, rng)
        if kind < self.background_share + self.hard_negative_share:
            number, start, stop = self.hard_negatives[rng.integers(len(self.hard_negatives))]
        else:
            events = self.events[rng.integers(len(self.events))]
            number, start, stop = events[rng.integers(len(events))]
        return int(number), self._window_start(int(number), int(start), int(stop), rng)

    def _window_start(self, number: int, start: int, stop: int, rng: np.random.Generator) -> int:
        """The start of a window that contains at least one step of the event, or all of an event that is shorter."""
        size = self.config.window_samples
        min_inside = min(stop - start, self.config.step_samples)
        first = int(rng.integers(start + min_inside - size, stop - min_inside, endpoint=True))
        return max(0, min(first, self.recordings[number].samples - size))


class FixedWindows(_Windows):
    """Validation windows: at most `length`, drawn once with `seed`. They do not depend on `bins` and `edges`.

    Windows with events lie on a grid of whole windows, so that some events are cut off. Each class has the same number
    of windows, as far as it has enough. A fraction `background_share` of the windows overlaps no label, or fewer if
    there are not enough.

    Items, `bins`, `edges`, `channel` and `clip_level` as in RecordingWindows. `window_targets` returns targets
    without the waveform. A window that cannot be decoded raises RecordingError.
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
        clip_level: str = "clip",
    ) -> None:
        super().__init__(config, annotations, bins, edges, channel, clip_level)
        rng = np.random.default_rng((seed, length))
        free = free_spans(self.recordings, config.window_samples)
        by_class = [self._grid_windows(label) for label in config.classes]
        with_events = sorted(set().union(*by_class))
        backgrounds = round(background_share * length) if len(free) else 0
        wanted = max(length - backgrounds, 0)
        chosen: set[tuple[int, int]] = set()
        for windows in sorted(by_class, key=len):  # the rarest class first
            count = min(-(-wanted // len(by_class)), wanted - len(chosen))
            chosen |= set(_sample(windows, count, rng))
        rest = [window for window in with_events if window not in chosen]
        chosen |= set(_sample(rest, wanted - len(chosen), rng))
        for _ in range(10 * backgrounds):
            if len(chosen) >= min(wanted, len(with_events)) + backgrounds:
                break
            chosen.add(_draw_background(free, config.window_samples, rng))
        self.windows = sorted(chosen)

    def _grid_windows(self, label: str) -> list[tuple[int, int]]:
        """The windows of the grid that contain at least one step of an event, or all of an event that is shorter."""
        size, found = self.config.window_samples, set()
        for number, start, stop in _spans(self.recordings, label).tolist():
            min_inside = min(stop - start, self.config.step_samples)
            last_start = max(self.recordings[number].samples - size, 0)
            for cell in range(start // size, (stop - 1) // size + 1):
                window = min(cell * size, last_start)
                if min(stop, window + size) - max(start, window) >= min_inside:
                    found.add((number, window))
        return sorted(found)

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        number, start = self.windows[index]
        return self.waveform(number, start), self.targets(number, start)

    def window_targets(self, index: int, bins: int | None = None, edges: str | None = None) -> Tensor:
        """The targets of a window without its waveform, (classes, bins)."""
        return self.targets(*self.windows[index], bins, edges)


def is_clip_level(one: AnnotatedRecording, start: int, stop: int, config: ModelConfig) -> bool:
    """True if a span, in samples, covers its whole recording, as in evaluation, and this fits into a window."""
    tolerance = CLIP_TOLERANCE_S * config.sample_rate
    return one.samples <= config.window_samples and start <= tolerance and stop >= one.samples - tolerance


def _level(sound: Samples, block: int) -> float:
    """The root of the median power of blocks: the level between the calls. 0 for silence."""
    count = len(sound) // block
    blocks = sound[: count * block].reshape(count, block) if count else sound[None]
    return float(np.sqrt(np.median(np.square(blocks - blocks.mean(1, keepdims=True)).mean(1))))


def _add_piece(out: Samples, sound: Samples, at: int, fade: int) -> None:
    """Adds a recording to a window at sample `at`, with equal-power fades at its ends that lie within the window."""
    rise = np.sin(0.5 * np.pi * (np.arange(fade) + 0.5) / fade).astype(np.float32)
    if at > 0:
        sound[:fade] *= rise
    if at + len(sound) < len(out):
        sound[-fade:] *= rise[::-1]
    first, stop = max(at, 0), min(at + len(sound), len(out))
    if first < stop:
        out[first:stop] += sound[first - at : stop - at]


def _spans(recordings: Iterable[AnnotatedRecording], label: str | None) -> NDArray[np.int64]:
    """(spans, 3): recording's number, start, stop of the events of a class, or of the hard negatives (label None)."""
    found = [
        (number, start, stop)
        for number, one in enumerate(recordings)
        for start, stop in (
            one.hard_negatives if label is None else [(a, b) for name, a, b in one.events if name == label]
        )
    ]
    return np.array(found, np.int64).reshape(-1, 3)


def free_spans(recordings: Iterable[AnnotatedRecording], size: int, *, whole: bool = True) -> NDArray[np.int64]:
    """(spans, 3): recording's number, start, stop of the spans without labels in searched recordings.

    A span has at least `size` samples. With `whole` it may also be a whole recording that is shorter.
    """
    found = []
    for number, one in enumerate(recordings):
        if not one.searched:
            continue
        labelled = merge_spans([*((a, b) for _, a, b in (*one.events, *one.ignored)), *one.other_labels])
        borders = [0, *(sample for span in labelled for sample in span), one.samples]
        for start, stop in zip(borders[::2], borders[1::2], strict=True):
            if stop - start >= (min(size, one.samples) if whole else size):
                found.append((number, start, stop))
    return np.array(found, np.int64).reshape(-1, 3)


def _draw_background(free: NDArray[np.int64], size: int, rng: np.random.Generator) -> tuple[int, int]:
    """A window without labels: recording's number and first sample. A span is drawn in proportion to its length."""
    lengths = np.cumsum(free[:, 2] - free[:, 1])
    number, start, stop = free[np.searchsorted(lengths, rng.integers(lengths[-1]), side="right")].tolist()
    return number, int(rng.integers(start, max(stop - size, start), endpoint=True))


def _sample(windows: list[tuple[int, int]], count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """`count` of the windows, or all of them if there are fewer, in random order."""
    count = max(0, min(count, len(windows)))
    return [windows[k] for k in rng.choice(len(windows), count, replace=False)] if count else []
