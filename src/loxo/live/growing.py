"""Searches recordings that may still grow or be replaced: the work of the workers of `loxo watch` (watch.py).

A recording is searched in whole chunks (loxo.detection.shards). A chunk is final as soon as the file contains it and
one hop more, because a longer file would give the same chunk. The frame scores of finished chunks are a Part, whose
`shard` is its first chunk and whose `of` is the chunk after its last. Parts of a complete recording are joined as in
`loxo detect`, so its events are the same to the byte.

A file may change after a chunk was searched: a copy with room reserved in advance contains zeros first. A part
therefore contains checksums of its samples. They are compared when the recording is complete, if the file has changed
in the meantime; a recording whose samples differ is searched again.

Only WAV and similar files are searched while they grow. A compressed file has no chunk before it is complete.

Failure policy: a task never raises. Every failure is one sentence.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loxo.audio.recording import CONTEXT_SAMPLES, Recording, probe
from loxo.detection.part import Part
from loxo.detection.scores import CHUNK
from loxo.detection.shards import Grid, make_grid, score_shard
from loxo.engine.engine import Engine, as_engine
from loxo.live.frugal import FrugalEngine
from loxo.live.messages import Answer, Request, searchable_early
from loxo.runs.result import recording_result
from loxo.survey.processes import Job
from loxo.survey.schedule import EngineFacts, Load, Options
from loxo.survey.tasks import Report, analysis_of, failure


class Searcher:
    """Detects events in recordings that grow. A task is a Job with a Request."""

    def __init__(self, load: Load, options: Options) -> None:
        self.engine, self.options = FrugalEngine(as_engine(load())), options
        self.facts = EngineFacts.of(self.engine)

    def __call__(self, job: Job, report: Report) -> Answer | str:
        try:
            return _search(job.path, job.content, self.engine, self.options, report)
        except Exception as error:  # one recording never stops a run
            return failure(job.path, error)


def _search(path: str, request: Request, engine: Engine, options: Options, report: Report) -> Answer:
    recording = probe(path)
    grid = make_grid(recording, engine.config, options.window_overlap)
    # A header that is wrong, as that of a file that is still written, states nothing about completeness.
    complete = request.final or (request.quiet and recording.fault is None and recording.note is None)
    early = searchable_early(path) and not recording.needs_pyav
    ready = grid.chunks if complete else _final_chunks(grid) if early else 0
    parts = tuple(replace(part, samples=grid.samples) for part in request.parts)
    again = bool(parts) and (
        parts[-1].of > ready or (complete and request.compare and not _same(recording, grid, parts, engine, options))
    )
    if again:
        parts = ()
    first = parts[-1].of if parts else 0
    last = min(first + grid.shards(request.minutes)[0].stop, ready)
    part = None
    if first < last:
        part = _score(recording, grid, range(first, last), engine, options, report)
        if part.fault is not None and not complete:  # the part of the file that is being written
            return Answer(False, again=again)
        parts = (*parts, part)
    more = bool(last < ready and part is not None and part.fault is None)
    answer = Answer(complete, part, None, more, again, 0 if complete else _next_size(recording, grid, ready))
    if more or (part is None and not complete) or not parts:
        return answer
    analysis = analysis_of(path, recording, grid, parts, engine, options)
    if not complete:
        fault = f"{path}: the recording is still growing; {analysis.analysed_s:.0f} s of it were searched."
        analysis = replace(analysis, fault=fault, duration_s=analysis.analysed_s)
    return replace(answer, result=recording_result(analysis, options.keep_scores and complete))


def _final_chunks(grid: Grid) -> int:
    """The number of chunks that a longer recording would have too, with the sound around them for the resampler."""
    return max(replace(grid, samples=max(grid.samples - CONTEXT_SAMPLES - 1, 0)).chunks - 1, 0)


def _next_size(recording: Recording, grid: Grid, ready: int) -> int:
    hop = grid.hop * grid.step_samples
    samples = ready * CHUNK * hop + CHUNK * hop + grid.window + CONTEXT_SAMPLES + 1
    return recording.size * samples // max(grid.samples, 1)


def _score(recording: Recording, grid: Grid, chunks: range, engine: Engine, options: Options, report: Report) -> Part:
    checked = _Checked(engine)
    seconds = grid.samples / grid.rate
    report(0.0, seconds, 1)
    part = score_shard(
        checked,
        recording,
        grid,
        [chunks],
        0,
        batch_size=options.batch_size,
        channel=options.channel,
        advance=lambda done: report(done, seconds, 1),
    )
    checks = np.array(checked.checks, np.int64)
    return replace(part, shard=chunks.start, of=chunks.stop, checks=checks)


def _same(recording: Recording, grid: Grid, parts: Sequence[Part], engine: Engine, options: Options) -> bool:
    """Whether the recording still has the samples of these parts. It is read and resampled, but not searched."""
    for part in parts:
        reader = _Checked(engine, compute=False)
        chunks = range(part.shard, part.of)
        again = score_shard(
            reader, recording, grid, [chunks], 0, batch_size=options.batch_size, channel=options.channel
        )
        if again.fault != part.fault or reader.checks != part.checks.tolist():
            return False
    return True


class _Checked:
    """An engine that also computes the checksum of all samples it reads; without `compute`, nothing else."""

    def __init__(self, engine: Engine, compute: bool = True) -> None:
        self.engine, self.compute = engine, compute
        self.config: Any = engine.config
        self.group, self.sha256 = engine.group, engine.sha256
        self.checks: list[int] = []

    def describe(self) -> dict[str, str]:
        return self.engine.describe()

    def read(self, samples: NDArray[np.float32]) -> Any:
        self.checks.append(zlib.crc32(np.ascontiguousarray(samples).data))
        return self.engine.read(samples) if self.compute else _Nothing(self.config)


@dataclass(frozen=True)
class _Nothing:
    config: Any

    def outputs(self, firsts: Sequence[int]) -> tuple[NDArray[np.float32], None]:
        return np.zeros((len(firsts), len(self.config.rows), self.config.steps), np.float32), None
