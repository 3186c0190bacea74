"""A recording in pieces that can be scored anywhere, in any order, and joined to the very same frame scores.

Windows lie on the recording's own grid (loxo.engine.windows). CHUNK of them, one after the other, are a chunk: it is
read and resampled by a stream of its own that begins at the chunk's first sample, never by going on from the chunk
before. A shard is a run of whole chunks. What a chunk gives therefore depends on the recording and on its number alone,
not on shards, processes or machines.

What makes that exact to the bit is told in loxo.detection.scores.

A recording ends where decoding ends: in the first shard with a fault. What later shards found is left out, as it would
be if the recording were read from start to end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loxo.audio.recording import Recording, RecordingError, stream
from loxo.detection.scores import CHUNK, Scores, WindowSums, probabilities
from loxo.engine.windows import hop_steps

if TYPE_CHECKING:
    from loxo.engine.engine import Engine

SHARD_MINUTES = 60.0
Advance = Callable[[float], None]  # is told the seconds of a shard that are done


@dataclass(frozen=True)
class Grid:
    """Where the windows of a recording lie. Lengths in samples at the model's rate; the last three in steps."""

    samples: int  # of the whole recording
    rate: int
    step_samples: int
    steps: int  # of a window
    hop: int
    stride: int = 1

    @property
    def window(self) -> int:
        return self.steps * self.step_samples

    @property
    def chunks(self) -> int:
        """Chunks of whole windows; a tail too short for another window belongs to the last of them."""
        windows = max(self.samples - self.window, 0) // (self.hop * self.step_samples) + 1
        return -(-windows // CHUNK)

    def chunk(self, number: int) -> tuple[int, int]:
        """First sample of a chunk, and the one after its last."""
        first = number * CHUNK * self.hop * self.step_samples
        end = first + (CHUNK - 1) * self.hop * self.step_samples + self.window
        return first, self.samples if number == self.chunks - 1 else min(end, self.samples)

    def shards(self, minutes: float) -> list[range]:
        """The chunks of every shard: as many as fit into `minutes`, at least one."""
        chunk_s = CHUNK * self.hop * self.step_samples / self.rate
        size = max(int(minutes * 60 / chunk_s), 1)
        return [range(first, min(first + size, self.chunks)) for first in range(0, self.chunks, size)]


@dataclass(frozen=True)
class Part:
    """What a shard gives: sums of weighted logits and of weights over its steps, from `first_step` on."""

    shard: int
    of: int  # shards of the recording
    samples: int  # of the whole recording, as the shard's reader saw it
    first_step: int
    sums: NDArray[np.float64]  # (rows, steps)
    weights: NDArray[np.float64]  # (steps,)
    end: int  # sample up to which the recording is read
    zeroed: bool  # whether samples that were no finite numbers became silence
    fault: str | None  # why reading ended before the shard did, one sentence
    seconds: float  # of the recording that are done with this shard
    whole_s: float  # of the recording


def make_grid(recording: Recording, config: Any, window_overlap: float) -> Grid:
    """Raises LoxoError for an overlap below 0, or of 1 and more."""
    return Grid(
        samples=recording.samples_at(config.sample_rate),
        rate=config.sample_rate,
        step_samples=int(config.step_samples),
        steps=int(config.steps),
        hop=hop_steps(window_overlap, int(config.steps), int(config.stride_steps)),
        stride=int(config.stride_steps),
    )


def score_shard(
    engine: Engine,
    recording: Recording,
    grid: Grid,
    shards: Sequence[range],
    number: int,
    *,
    batch_size: int = 8,
    advance: Advance | None = None,
) -> Part:
    """Scores the shard `number` of `shards`, which are the grid's.

    `advance` is called after every batch with the seconds of the shard that are done. A fault of the recording ends
    the shard early and is told in the part. Raises LoxoError for a bad option or a model that gives no finite scores.
    """
    chunks = shards[number]
    begin = grid.chunk(chunks[0])[0]
    sums = WindowSums(engine, grid.hop, first_step=begin // grid.step_samples, batch_size=batch_size)
    end, zeroed, fault = 0, False, None
    for chunk in chunks:
        first, stop = grid.chunk(chunk)
        blocks = stream(recording, grid.rate, start=first, stop=stop)
        samples = np.concatenate([np.zeros(0, np.float32), *blocks])
        zeroed, fault = zeroed or bool(blocks.zeroed), blocks.fault

        def on_group(done: int, before: int = first - begin) -> None:
            if advance is not None:
                advance((before + done) / grid.rate)

        sums.add(first // grid.step_samples, samples, on_group)
        end = first + len(samples) if len(samples) else end
        if fault is not None or chunk == grid.chunks - 1:
            _add_last(sums, grid, recording, first, samples)
            break
    used = sums.covered - sums.first_step
    return Part(
        shard=number,
        of=len(shards),
        samples=grid.samples,
        first_step=sums.first_step,
        sums=sums.sums[:, :used],
        weights=sums.weights[:used],
        end=end,
        zeroed=zeroed,
        fault=fault,
        seconds=max(end - begin, 0) / grid.rate,
        whole_s=grid.samples / grid.rate,
    )


def _add_last(sums: WindowSums, grid: Grid, recording: Recording, first: int, samples: NDArray[np.float32]) -> None:
    """The window that ends with the recording, if there are steps that no window holds yet. `samples` are its last
    ones, from the sample `first` on; what the window holds before them is read again."""
    total = -(-(first + len(samples)) // grid.step_samples)
    if not len(samples) or total <= sums.covered:
        return
    stride = grid.stride * grid.step_samples
    before = min(first, max(grid.window + -len(samples) // stride * stride, 0))
    if before > 0:
        samples = np.concatenate([*stream(recording, grid.rate, start=first - before, stop=first), samples])
    sums.add_last((first - before) // grid.step_samples, samples)


@dataclass(frozen=True)
class Joined:
    """The frame scores of a recording."""

    scores: Scores  # (rows, steps)
    samples: int  # read, at the model's rate
    zeroed: bool
    fault: str | None


def join(recording: Recording, grid: Grid, parts: Iterable[Part]) -> Joined:
    """The parts of all shards, in order, up to the first with a fault.

    Raises RecordingError when they do not belong to the same recording, or nothing of it could be read.
    """
    parts = list(_until_fault(parts))
    if not parts or any(part.samples != grid.samples for part in parts):
        raise RecordingError(f"{recording.path}: the recording changed while it was analysed. Run again.")
    end = max(part.end for part in parts)
    fault = parts[-1].fault
    if not end:
        raise RecordingError(
            fault or f"{recording.path}: the recording is shorter than one sample of the model. Leave it out."
        )
    total = -(-end // grid.step_samples)
    sums, weights = np.zeros((len(parts[0].sums), total)), np.zeros(total)
    for part in parts:
        stop = min(part.first_step + len(part.weights), total)
        sums[:, part.first_step : stop] += part.sums[:, : stop - part.first_step]
        weights[part.first_step : stop] += part.weights[: stop - part.first_step]
    return Joined(probabilities(sums, weights), end, any(part.zeroed for part in parts), fault)


def _until_fault(parts: Iterable[Part]) -> Iterator[Part]:
    for part in parts:
        yield part
        if part.fault is not None:
            return


def score_recording(
    engine: Engine,
    recording: Recording,
    grid: Grid,
    *,
    batch_size: int = 8,
    advance: Advance | None = None,
) -> Joined:
    """All shards of a recording here, one after the other. See score_shard."""
    shards = grid.shards(SHARD_MINUTES)
    parts = []
    for number, chunks in enumerate(shards):
        before = grid.chunk(chunks[0])[0] / grid.rate

        def on(seconds: float, before: float = before) -> None:
            if advance is not None:
                advance(before + seconds)

        parts.append(score_shard(engine, recording, grid, shards, number, batch_size=batch_size, advance=on))
        if parts[-1].fault is not None:
            break
    return join(recording, grid, parts)
