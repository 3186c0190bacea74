"""Frame scores of a recording of any length, in constant memory.

The model sees windows of the length it was trained on, laid by loxo.models.windows: they start at multiples of a hop
of whole steps, the last one so that it ends with the recording. Where windows overlap, their logits are averaged, each
weighted by how far a step is from its window's border, and only then become probabilities. Every position is an
integer number of steps. A part of a recording's windows can be done elsewhere: `window_logits` is the work on some
windows, `OverlapAdd` puts the pieces together, in the order of their starts if the last bits are to be the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loxo.errors import LoxoError
from loxo.models.windows import hop_steps, window_weight

if TYPE_CHECKING:
    from torch import nn

Scores = NDArray[np.float32]  # (classes, steps)


def frame_scores(
    model: nn.Module,
    blocks: Iterable[NDArray[np.float32]],
    *,
    overlap: float = 0.5,
    batch_size: int = 8,
    progress: Callable[[int], None] | None = None,
) -> Scores:
    """Probabilities (classes, steps) of a waveform that comes in blocks of any length, float32 at the model's rate.

    Step k covers the samples [k, k + 1) x model.config.step_samples; the last may reach beyond the waveform's end.
    `overlap` (0 <= overlap < 1) is the share of a window that the next one sees again; `batch_size` windows go through
    the model at once. `progress` is called with the samples taken in so far. A waveform shorter than a window is
    padded with silence at its end.
    Raises LoxoError for a bad option, or when the model gives anything but finite scores.
    """
    windows = _Windows(model, overlap, batch_size)
    seen = 0
    for block in blocks:
        windows.add(block)
        seen += len(block)
        if progress is not None:
            progress(seen)
    return windows.finish()


def window_logits(model: nn.Module, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits (windows, classes, steps) of windows (windows, window_samples) at the model's rate, on its device.

    Raises LoxoError when the model gives another shape than its config says, or anything but finite numbers.
    """
    import torch

    config: Any = model.config
    device = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
    with torch.inference_mode():
        output = model(torch.from_numpy(waveforms).to(device))
        logits: NDArray[np.float32] = output["framewise_logits"].float().cpu().numpy()
    if logits.shape != (len(waveforms), len(config.classes), config.steps):
        raise LoxoError(
            f"The model gave logits of shape {logits.shape}; its config says {len(waveforms)} windows, "
            f"{len(config.classes)} classes and {config.steps} steps."
        )
    if not np.isfinite(logits).all():
        raise LoxoError("The model gave scores that are no finite numbers: its weights or front end are broken.")
    return logits


class OverlapAdd:
    """The weighted mean of windows' logits, (classes, steps), on a time line that grows by doubling."""

    def __init__(self, classes: int, steps: int) -> None:
        self.steps = steps
        self.weight = np.array(window_weight(steps))
        self.sums = np.zeros((classes, steps))
        self.weights = np.zeros(steps)

    def add(self, step: int, logits: NDArray[np.float32]) -> None:
        """A window's logits (classes, steps), from the step with which it starts."""
        while step + self.steps > self.sums.shape[1]:
            self.sums = np.pad(self.sums, ((0, 0), (0, self.sums.shape[1])))
            self.weights = np.pad(self.weights, (0, len(self.weights)))
        self.sums[:, step : step + self.steps] += logits * self.weight
        self.weights[step : step + self.steps] += self.weight

    def scores(self, total: int) -> Scores:
        """Probabilities (classes, total) of the first `total` steps, each of which some window must hold."""
        logits = self.sums[:, :total] / self.weights[:total]
        return (1 / (1 + np.exp(-np.clip(logits, -80, 80)))).astype(np.float32)


class _Windows:
    """Cuts the waveform into windows, runs the model on batches of them and adds up the weighted logits."""

    def __init__(self, model: nn.Module, overlap: float, batch_size: int) -> None:
        if not 0 <= overlap < 1:
            raise LoxoError(f"The overlap of windows must be at least 0 and less than 1, not {overlap}.")
        if batch_size < 1:
            raise LoxoError(f"The batch size must be at least 1, not {batch_size}.")
        config: Any = model.config
        self.model, self.batch_size = model, batch_size
        self.steps = int(config.steps)
        self.step_samples, self.window_samples = int(config.step_samples), int(config.window_samples)
        self.hop = hop_steps(overlap, self.steps)
        self.sum = OverlapAdd(len(config.classes), self.steps)
        self.buffer = np.zeros(0, np.float32)  # the waveform from `buffer_start` on
        self.buffer_start = 0  # samples
        self.next_step = 0  # where the next window starts
        self.batch: list[tuple[int, NDArray[np.float32]]] = []

    def add(self, block: NDArray[np.float32]) -> None:
        self.buffer = np.concatenate((self.buffer, block))
        end = self.buffer_start + len(self.buffer)
        while self.next_step * self.step_samples + self.window_samples <= end:
            self._window(self.next_step)
            self.next_step += self.hop
        # The last window, aligned with the end, starts no earlier than the last one so far.
        keep = max(self.next_step - self.hop, 0) * self.step_samples
        self.buffer = self.buffer[keep - self.buffer_start :]
        self.buffer_start = keep

    def finish(self) -> Scores:
        end = self.buffer_start + len(self.buffer)
        total = -(-end // self.step_samples)  # steps, the last one perhaps begun only
        covered = self.next_step - self.hop + self.steps if self.next_step else 0
        if total > covered:
            self._window(max(total - self.steps, 0))
        self._run()
        return self.sum.scores(total)

    def _window(self, step: int) -> None:
        start = step * self.step_samples - self.buffer_start
        window = self.buffer[start : start + self.window_samples]
        # A copy in any case: the buffer goes on while the window waits for its batch.
        padded = np.zeros(self.window_samples, np.float32)
        padded[: len(window)] = window
        self.batch.append((step, padded))
        if len(self.batch) == self.batch_size:
            self._run()

    def _run(self) -> None:
        if not self.batch:
            return
        logits = window_logits(self.model, np.stack([window for _, window in self.batch]))
        for (step, _), values in zip(self.batch, logits, strict=True):
            self.sum.add(step, values)
        self.batch.clear()
