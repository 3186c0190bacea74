"""A recording in shards that are scored anywhere, in any order, and joined to the same frame scores.

Windows lie on a grid of the recording (loxo.engine.windows). CHUNK consecutive windows are a chunk. A chunk is read and
resampled by its own stream, which begins at its first sample; it never continues the stream of the chunk before. A
shard is a sequence of whole chunks. The result of a chunk depends on the recording and on its number alone, not on
shards, processes or machines. loxo.detection.scores explains why results are identical to the bit.

A recording ends where its audio can no longer be decoded: in the first shard with a fault. Results of later shards are
dropped, as if the recording had been read from start to end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from loxo.audio.channels import MIX, Channel, add_counts, searched_channels
from loxo.audio.recording import Recording, RecordingError, stream
from loxo.detection.part import SHARD_MINUTES, Part
from loxo.detection.scores import CHUNK, Scores, WindowSums, probabilities
from loxo.engine.windows import hop_steps

if TYPE_CHECKING:
    from loxo.audio.channels import Counts
    from loxo.engine.engine import Engine

Advance = Callable[[float], None]  # receives the finished seconds of a shard


@dataclass(frozen=True)
class Grid:
    """Positions of the windows of a recording. Lengths are in samples at the model's rate, the last three in steps."""

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
        """Number of chunks; samples after the last whole window belong to the last chunk."""
        windows = max(self.samples - self.window, 0) // (self.hop * self.step_samples) + 1
        return -(-windows // CHUNK)

    def chunk(self, number: int) -> tuple[int, int]:
        """First sample of a chunk, and the sample after its last."""
        first = number * CHUNK * self.hop * self.step_samples
        end = first + (CHUNK - 1) * self.hop * self.step_samples + self.window
        return first, self.samples if number == self.chunks - 1 else min(end, self.samples)

    def shards(self, minutes: float) -> Sequence[range]:
        """The chunks of each shard: at most as many as fit into `minutes`, at least one."""
        chunk_s = CHUNK * self.hop * self.step_samples / self.rate
        return Shards(self.chunks, max(int(minutes * 60 / chunk_s), 1))


class Shards(Sequence[range]):
    """The chunks of each shard of a recording. They are computed one by one: a header may state any length.

    A recording of LONG shards and more ends with smaller shards, in place of the last two. Processes that share the
    recording then finish at about the same time.
    """

    LONG, SMALLER = 6, 4

    def __init__(self, chunks: int, size: int) -> None:
        self.chunks, self.size = chunks, size
        self.end_size = max(size // self.SMALLER, 1)
        whole = chunks // size
        self.before_end = max(whole - 2, 0) if whole >= self.LONG else -(-chunks // size)  # shards of the usual size

    def __len__(self) -> int:
        rest = max(self.chunks - self.before_end * self.size, 0)
        return self.before_end + -(-rest // self.end_size)

    @overload
    def __getitem__(self, number: int) -> range: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[range]: ...
    def __getitem__(self, number: int | slice) -> range | Sequence[range]:
        if isinstance(number, slice):
            return [self[k] for k in range(len(self))[number]]
        number = range(len(self))[number]
        later = number - self.before_end
        size = self.size if later < 0 else self.end_size
        first = number * self.size if later < 0 else self.before_end * self.size + later * self.end_size
        return range(first, min(first + size, self.chunks))


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
    channel: Channel = MIX,
    advance: Advance | None = None,
) -> Part:
    """Scores the shard `number` of `shards`, the shards of the grid, in the given channel or channels.

    `advance` is called after each group of windows with the finished seconds of the shard. A fault of the recording
    ends the shard early and is stored in the part. Raises LoxoError for an invalid option, and for a model that
    returns scores that are not finite.
    """
    chunks = shards[number]
    begin = grid.chunk(chunks[0])[0]
    channels = searched_channels(recording.path, recording.channels, channel)
    sums = [
        WindowSums(engine, grid.hop, first_step=begin // grid.step_samples, batch_size=batch_size) for _ in channels
    ]
    stride = grid.stride * grid.step_samples
    end, zeroed, fault, counts = 0, False, None, np.zeros(0, np.int64)
    for chunk in chunks:
        first, stop = grid.chunk(chunk)
        for k, index in enumerate(channels):
            blocks = stream(recording, grid.rate, start=first, stop=stop, channel=index, compare=index is None)
            samples = np.concatenate([np.zeros(0, np.float32), *blocks])
            zeroed, fault = zeroed or bool(blocks.zeroed), blocks.fault
            if blocks.check is not None:
                counts = add_counts(counts, blocks.check.counts)

            def on_group(done: int, before: float = first - begin + k * len(samples) / len(channels)) -> None:
                if advance is not None:
                    advance((before + done / len(channels)) / grid.rate)

            read, windows = len(samples), sums[k].windows_in(len(samples))
            source = engine.read(samples) if windows else None
            # The network needs memory too: only the samples that the last window may need are kept.
            cut = max(read - grid.window, 0) // stride * stride
            samples = samples[cut:].copy()
            if source is not None:
                sums[k].add_windows(first // grid.step_samples, source, windows, on_group)
                del source
            if fault is not None or chunk == grid.chunks - 1:
                _add_last(sums[k], grid, recording, first + cut, samples, index)
        end = first + read if read else end
        if fault is not None:
            break
    used = sums[0].covered - sums[0].first_step
    return Part(
        shard=number,
        of=len(shards),
        samples=grid.samples,
        first_step=sums[0].first_step,
        sums=np.concatenate([one.sums[:, :used] for one in sums]),
        weights=sums[0].weights[:used],
        end=end,
        zeroed=zeroed,
        fault=fault,
        seconds=max(end - begin, 0) / grid.rate,
        whole_s=grid.samples / grid.rate,
        channels=counts,
    )


def _add_last(
    sums: WindowSums,
    grid: Grid,
    recording: Recording,
    first: int,
    samples: NDArray[np.float32],
    channel: int | None,
) -> None:
    """Adds the window at the end of the recording, if some steps lie in no window yet. `samples` are the last samples,
    from the sample `first` on; earlier samples of the window are read again."""
    total = -(-(first + len(samples)) // grid.step_samples)
    if not len(samples) or total <= sums.covered:
        return
    stride = grid.stride * grid.step_samples
    before = min(first, max(grid.window + -len(samples) // stride * stride, 0))
    if before > 0:
        earlier = stream(recording, grid.rate, start=first - before, stop=first, channel=channel)
        samples = np.concatenate([*earlier, samples])
    sums.add_last((first - before) // grid.step_samples, samples)


@dataclass(frozen=True)
class Joined:
    """The frame scores of a recording."""

    scores: Scores  # (channels x rows, steps)
    samples: int  # samples that were read, at the model's rate
    zeroed: bool
    fault: str | None
    channels: Counts  # comparison of the channels that were mixed


def join(recording: Recording, grid: Grid, parts: Iterable[Part]) -> Joined:
    """Joins the parts of all shards, in order, up to the first part with a fault.

    Raises RecordingError when the parts do not belong to one recording, or when nothing could be read.
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
    counts = reduce(add_counts, (part.channels for part in parts))
    return Joined(probabilities(sums, weights), end, any(part.zeroed for part in parts), fault, counts)


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
    channel: Channel = MIX,
    advance: Advance | None = None,
) -> Joined:
    """Scores all shards of a recording in this process, one after the other. See score_shard."""
    shards = grid.shards(SHARD_MINUTES)
    parts = []
    for number, chunks in enumerate(shards):
        before = grid.chunk(chunks[0])[0] / grid.rate

        def on(seconds: float, before: float = before) -> None:
            if advance is not None:
                advance(before + seconds)

        part = score_shard(engine, recording, grid, shards, number, batch_size=batch_size, channel=channel, advance=on)
        parts.append(part)
        if parts[-1].fault is not None:
            break
    return join(recording, grid, parts)
