"""Events of a stream, as soon as they can be known.

Samples go into a ring buffer. Windows lie on the grid that detection uses (loxo.engine.windows), and each is computed
once, when its samples and CONTEXT_S after it are there: its frame scores are those of a file. The noise floor of each
band is the quantile of detection, over the window of 20 s that moves along the stream.

A delay that is shorter than a window needs scores before the window of the grid is complete. Then a window that ends
now is computed too, and stands in for the scores that are missing.

An event is announced once its end and the delay are past, and its scores are there. It may differ from the event of
the file in what later sound changes: two calls without a pause, and the penalty for many similar events in the next
minutes.

Failure policy: as in detection. A gap in the stream needs a new detector.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from loxo.detection.decode import DENSITY_WINDOWS, Row, decode_rows
from loxo.detection.scores import WindowSums, probabilities, rounded
from loxo.detection.threshold import Threshold
from loxo.engine.engine import Engine
from loxo.engine.windows import WINDOW_OVERLAP, hop_steps
from loxo.live.matching import unmatched

DELAY_S = 20.0
GRACE_S = 3.0  # an event may be announced this much later than its delay
CONTEXT_S = 1.0  # of sound before and after a window, for the filters of the front end
BEHIND_S = 2 * DENSITY_WINDOWS[-1][0] + 60.0  # of scores that are kept: what the score of an event depends on
SOUND_S = 90.0  # of sound that is kept for clips, beside the delay
MARGIN_S = 1.0  # of scores after an event, for smoothing

Samples = NDArray[np.float32]


class StreamDetector:
    """Detects events in a stream of one channel, at the sample rate of the model."""

    def __init__(
        self,
        engine: Engine,
        *,
        delay_s: float = DELAY_S,
        threshold: Threshold = None,
        window_overlap: float = WINDOW_OVERLAP,
    ) -> None:
        config: Any = engine.config
        self.engine, self.config, self.delay_s, self.threshold = engine, config, delay_s, threshold
        self.rate, self.step, self.steps = config.sample_rate, int(config.step_samples), int(config.steps)
        self.stride = int(config.stride_steps)
        self.hop = hop_steps(window_overlap, self.steps, self.stride)
        self.context = -(-round(CONTEXT_S * self.rate) // (self.step * self.stride)) * self.stride  # steps
        waiting_s = (self.steps + self.context) * self.step / self.rate + MARGIN_S
        self.early = delay_s + GRACE_S < waiting_s  # windows of the grid are too late
        self.pause = max(round(min(GRACE_S / 2, waiting_s / 8) * self.rate), self.step)  # between windows that end now
        self.sums = WindowSums(engine, self.hop)
        kept_s = waiting_s + SOUND_S + delay_s
        self.ring = _Ring(round(kept_s * self.rate))
        self.computed = 0  # windows of the grid
        self.looked = 0  # samples at the last decoding
        self.pending: list[Row] = []  # found, but not announced
        self.announced: list[Row] = []

    @property
    def samples(self) -> int:
        """The number of samples so far."""
        return self.ring.end

    def push(self, samples: Samples) -> list[Row]:
        """Takes the next samples and returns the events to announce, rows of loxo.detection.decode."""
        found: list[Row] = []
        most = self.pause if self.early else self.hop * self.step
        for k in range(0, len(samples), most):  # a long block is as many short ones
            self.ring.add(samples[k : k + most])
            self._compute()
            found += self._due(self.samples / self.rate - self.delay_s)
        return found

    def end(self) -> list[Row]:
        """The events that are left at the end of the stream."""
        if not self.samples:
            return []
        total = -(-self.samples // self.step)
        while self.computed * self.hop + self.steps <= total:
            self._window()
        if total > self.sums.covered:
            first = max(total - self.steps - self.context, 0) // self.stride * self.stride
            self.sums.add_last(first, self.ring.read(first * self.step, self.samples))
        self._decode(self.sums, total, np.inf)
        return self._due(np.inf)

    def sound(self, start_s: float, duration_s: float) -> tuple[Samples, int]:
        """The samples of a span, as far as they are kept, and their rate."""
        first = round(start_s * self.rate)
        return self.ring.read(first, first + round(duration_s * self.rate)), self.rate

    def _compute(self) -> None:
        """Computes the windows that are complete, and decodes if there are new scores."""
        before = self.computed
        while (self.computed * self.hop + self.steps + self.context) * self.step <= self.samples:
            self._window()
        if self.early and self.samples - self.looked >= self.pause:
            self.looked = self.samples
            sums, end = self._with_window_now()
            self._decode(sums, end, end * self.step / self.rate - min(MARGIN_S, self.delay_s))
        elif not self.early and self.computed > before:
            final = self.computed * self.hop  # later steps are also in a window to come
            self._decode(self.sums, final, final * self.step / self.rate - MARGIN_S)

    def _window(self) -> None:
        """Computes the next window of the grid."""
        begin = self.computed * self.hop
        first, stop = max(begin - self.context, 0), begin + self.steps + self.context
        self.sums.add_window(first, self.ring.read(first * self.step, stop * self.step), begin - first)
        self.computed += 1
        self.sums.drop_before(begin - round(BEHIND_S * self.rate / self.step))

    def _with_window_now(self) -> tuple[WindowSums, int]:
        """The sums with a window that ends now, and its last step. Before the stream is that long, silence follows."""
        end = self.samples // self.step // self.stride * self.stride
        sums = self.sums.copy()
        if end > self.computed * self.hop:
            begin = min(max(end - self.steps, 0), sums.covered)
            end = min(end, begin + self.steps)
            first = max(begin - self.context, 0)
            samples = self.ring.read(first * self.step, end * self.step)
            missing = (begin - first + self.steps) * self.step - len(samples)
            sums.add_window(first, np.pad(samples, (0, max(missing, 0))), begin - first)
        return sums, end

    def _decode(self, sums: WindowSums, end: int, until_s: float) -> None:
        """Finds the events in the scores up to the step `end`. Those that end after `until_s` may still change."""
        first = sums.first_step
        if end <= first:
            return
        scores = rounded(probabilities(sums.sums[:, : end - first], sums.weights[: end - first]))
        rows = decode_rows(scores, self.config, threshold=self.threshold, first_step=first, total_samples=self.samples)
        trusted_s = first * self.step / self.rate + (DENSITY_WINDOWS[-1][0] if first else 0.0)
        self.announced = [old for old in self.announced if old["end_s"] > trusted_s]
        new = unmatched(rows, [(old["label"], old["start_s"], old["end_s"]) for old in self.announced])
        self.pending = [row for row in new if trusted_s <= row["start_s"] and row["end_s"] <= until_s]

    def _due(self, limit_s: float) -> list[Row]:
        """The pending events that end by then: they are announced now."""
        due = [row for row in self.pending if row["end_s"] <= limit_s]
        self.pending = [row for row in self.pending if row["end_s"] > limit_s]
        self.announced += due
        return due


class _Ring:
    """The last samples of a stream, by their number from its start."""

    def __init__(self, size: int) -> None:
        self.values = np.zeros(size + size // 4 + 1, np.float32)  # when it is full, its last samples move to the front
        self.size, self.first, self.end = size, 0, 0  # first: number of the sample values[0]

    @property
    def start(self) -> int:
        return max(self.first, self.end - self.size)

    def add(self, samples: Samples) -> None:
        while len(samples):
            room = self.first + len(self.values) - self.end
            if not room:
                self.values[: self.size] = self.values[-self.size :]
                self.first = self.end - self.size
                continue
            some, samples = samples[:room], samples[room:]
            self.values[self.end - self.first : self.end - self.first + len(some)] = some
            self.end += len(some)

    def read(self, start: int, stop: int) -> Samples:
        """The samples [start, stop), as far as they are kept."""
        start, stop = max(start, self.first), min(stop, self.end)
        return self.values[start - self.first : max(stop, start) - self.first].copy()
