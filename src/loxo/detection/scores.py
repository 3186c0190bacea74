"""Frame scores of a waveform of any length, in constant memory, the same to the bit however the work is cut.

The model reads windows of its training length, placed by loxo.engine.windows. They start at multiples of a hop of whole
steps; the last window contains the end of the recording. CHUNK consecutive windows are a chunk. The front end is
computed once for all windows of a chunk. Where windows overlap, their logits are averaged, weighted by the distance of
a step from the border of its window. Then they become probabilities. Every position is an integer number of steps.

The result of a chunk depends on its samples alone, and sums do not depend on their order:

- On a CPU the engine always computes GROUP windows at a time: matrix products of another size may use another kernel,
  which adds in another order. `batch_size` is for GPUs, where results of different sizes agree up to rounding.
- Logits and weights are rounded to multiples of 2^-16 before they are multiplied and added up. The sums of such
  products are exact in float64.
- Division and sigmoid come last, once for the whole recording.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loxo.engine.windows import GROUP, WINDOW_OVERLAP, hop_steps, last_start, window_weight
from loxo.errors import LoxoError

if TYPE_CHECKING:
    from loxo.engine.engine import Engine, LongInput

Scores = NDArray[np.float32]  # (rows, steps)

CHUNK = 4 * GROUP  # windows that are read at once: limits the memory, and the samples that two chunks both read
UNIT = 2.0**-16  # resolution of a logit, far below that of a score
LOGIT_MAX = 2.0**10  # with UNIT, a product has at most 42 bits; float64 sums 2,000 of them without rounding


def frame_scores(
    engine: Engine,
    blocks: Iterable[NDArray[np.float32]],
    *,
    window_overlap: float = WINDOW_OVERLAP,
    batch_size: int = 8,
) -> Scores:
    """Probabilities (rows, steps) of a waveform in blocks of any length, float32 at the model's sample rate.

    Rows are those of config.rows. Step k covers the samples [k, k + 1) x config.step_samples; the last may reach
    beyond the waveform's end.
    `window_overlap` (at least 0, below 1) is the overlap between consecutive windows, as a fraction. A waveform shorter
    than a window is padded with silence at its end.
    Raises LoxoError for an invalid option, and when the model returns scores that are not finite.
    """
    config: Any = engine.config
    hop = hop_steps(window_overlap, int(config.steps), int(config.stride_steps))
    sums = WindowSums(engine, hop, batch_size=batch_size)
    step_samples, window = int(config.step_samples), int(config.window_samples)
    chunk = (CHUNK - 1) * hop * step_samples + window
    buffer, first = np.zeros(0, np.float32), 0  # the waveform from the step `first` on
    for block in blocks:
        buffer = np.concatenate((buffer, block))
        while len(buffer) >= chunk + hop * step_samples:  # one more hop, so that the last window is not computed twice
            sums.add(first, buffer[:chunk])
            first += CHUNK * hop
            buffer = buffer[CHUNK * hop * step_samples :]
    total = first + -(-len(buffer) // step_samples)
    sums.add(first, buffer)
    if total > sums.covered:
        sums.add_last(first, buffer)
    return probabilities(sums.sums[:, :total], sums.weights[:total])


def probabilities(sums: NDArray[np.float64], weights: NDArray[np.float64]) -> Scores:
    """Probabilities from sums of weighted logits (rows, steps) and sums of the taper (steps,)."""
    return (1 / (1 + np.exp(-np.clip(sums / weights, -80, 80)))).astype(np.float32)


def rounded(scores: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """The scores as they are stored and read again."""
    return scores.astype(np.float16).astype(np.float32)


class WindowSums:
    """Sums of windows' weighted logits, (rows, steps), and of weights, from the step `first_step` on.

    `covered` is the step after the last step of all windows.
    """

    def __init__(self, engine: Engine, hop: int, *, first_step: int = 0, batch_size: int = 8) -> None:
        if batch_size < 1:
            raise LoxoError(f"The batch size must be at least 1, not {batch_size}.")
        config: Any = engine.config
        self.engine, self.hop, self.first_step = engine, hop, first_step
        self.steps, self.step_samples = int(config.steps), int(config.step_samples)
        self.stride = int(config.stride_steps)
        self.window = int(config.window_samples)
        self.group = engine.group or min(batch_size, CHUNK)
        self.weight = np.maximum(np.rint(np.array(window_weight(self.steps)) / UNIT), 1) * UNIT
        self.sums = np.zeros((len(config.rows), 0))
        self.weights = np.zeros(0)
        self.covered = first_step

    def add(self, step: int, samples: NDArray[np.float32], on_group: Callable[[int], None] | None = None) -> None:
        """Adds all whole windows. `on_group` receives the number of finished samples after each group."""
        if windows := self.windows_in(len(samples)):
            self.add_windows(step, self.engine.read(samples), windows, on_group)

    def windows_in(self, samples: int) -> int:
        """The number of whole windows in so many samples."""
        return max((samples - self.window) // (self.hop * self.step_samples) + 1, 0)

    def add_windows(
        self, step: int, source: LongInput, windows: int, on_group: Callable[[int], None] | None = None
    ) -> None:
        """Adds the first windows of an input that begins at `step`. See add for `on_group`."""
        for k in range(0, windows, self.group):
            some = range(k, min(k + self.group, windows))
            self._add(source, step, [n * self.hop for n in some])
            if on_group is not None:
                on_group(some[-1] * self.hop * self.step_samples + self.window)

    def add_last(self, step: int, samples: NDArray[np.float32]) -> None:
        """Adds the window that contains the end of the samples; silence follows where they are too short."""
        behind = last_start(-(-len(samples) // self.step_samples), self.steps, self.stride)
        last = samples[behind * self.step_samples :]
        self._add(self.engine.read(np.pad(last, (0, self.window - len(last)))), step + behind, [0])

    def add_window(self, step: int, samples: NDArray[np.float32], offset: int) -> None:
        """Adds the window that begins `offset` steps after `step`, at which the samples begin."""
        self._add(self.engine.read(samples), step, [offset])

    def drop_before(self, step: int) -> None:
        """Forgets the steps before `step`."""
        count = min(max(step - self.first_step, 0), len(self.weights))
        self.sums, self.weights = self.sums[:, count:], self.weights[count:]
        self.first_step += count

    def copy(self) -> WindowSums:
        """A copy to which windows may be added."""
        other = copy(self)
        other.sums, other.weights = self.sums.copy(), self.weights.copy()
        return other

    def _add(self, source: LongInput, step: int, offsets: list[int]) -> None:
        """Adds windows of an input. The input begins at `step`, each window `offset` steps later."""
        logits = self._checked(source, offsets).astype(np.float64)
        logits = np.rint(np.clip(logits, -LOGIT_MAX, LOGIT_MAX) / UNIT) * UNIT
        for offset, values in zip(offsets, logits, strict=True):
            self._reach(step + offset, step + offset + self.steps)
            here = slice(step + offset - self.first_step, step + offset - self.first_step + self.steps)
            self.sums[:, here] += values * self.weight
            self.weights[here] += self.weight
            self.covered = max(self.covered, step + offset + self.steps)

    def _checked(self, source: LongInput, offsets: list[int]) -> NDArray[np.float32]:
        config: Any = self.engine.config
        logits = source.outputs([k * self.step_samples for k in offsets])[0]
        if logits.shape != (len(offsets), len(config.rows), config.steps):
            raise LoxoError(
                f"The model returned logits of shape {logits.shape}; its config says {len(offsets)} windows, "
                f"{len(config.rows)} rows and {config.steps} steps."
            )
        if not np.isfinite(logits).all():
            raise LoxoError("The model returned scores that are not finite: its weights or its front end are damaged.")
        return logits

    def _reach(self, first: int, end: int) -> None:
        """Extends the sums to the steps from `first` to `end`; at the end the length doubles."""
        before = max(self.first_step - first, 0)
        self.first_step -= before
        missing = end - self.first_step - before - len(self.weights)
        after = max(missing, len(self.weights)) if missing > 0 else 0
        if before or after:
            self.sums = np.pad(self.sums, ((0, 0), (before, after)))
            self.weights = np.pad(self.weights, (before, after))
