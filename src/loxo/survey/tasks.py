"""Computes the tasks of a run (schedule.py). This module is imported where recordings are decoded: in workers.

Failure policy: a task never raises. Every failure is one sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from loxo.audio.recording import Recording, probe
from loxo.audio.urls import without_secrets
from loxo.detection.detect import Analysis, conclude
from loxo.detection.part import Part
from loxo.detection.shards import Grid, join, make_grid, score_shard
from loxo.engine.engine import Engine, as_engine
from loxo.errors import LoxoError
from loxo.runs.result import RecordingResult, recording_result
from loxo.survey.schedule import JOIN, EngineFacts, Load, Options, Task

Report = Callable[[float, float, int], None]  # seconds done in this task, seconds of its recording, number of shards


def no_report(done: float, total: float, shards: int) -> None:
    """For tasks without progress."""


class Detector:
    """Detects events: the work of `loxo detect`."""

    def __init__(self, load: Load, options: Options) -> None:
        self.engine, self.options = as_engine(load()), options
        self.facts = EngineFacts.of(self.engine)

    def __call__(self, task: Task, report: Report) -> RecordingResult | Part | str:
        return perform(task, self.engine, self.options, report)


class Durations:
    """Reads the headers of recordings. A task is (index, path); its result is the duration in seconds."""

    facts = None

    def __call__(self, task: Any, report: Report) -> float | str:
        try:
            return float(probe(task.path).duration_s)
        except Exception as error:  # the analysis reports it
            return str(error)


def perform(task: Task, engine: Engine, options: Options, report: Report = no_report) -> RecordingResult | Part | str:
    """Computes a task. Never raises: a failure is an outcome."""
    try:
        return _perform(task, engine, options, report)
    except Exception as error:  # one recording never stops a run
        return failure(task.path, error)


def failure(path: str, error: Exception) -> str:
    """The sentence about a task that failed."""
    if isinstance(error, LoxoError):
        return str(error)
    return f"{path}: the analysis failed with {type(error).__name__}: {without_secrets(str(error))}"


def _perform(task: Task, engine: Engine, options: Options, report: Report) -> RecordingResult | Part:
    recording = probe(task.path)
    grid = make_grid(recording, engine.config, options.window_overlap)
    parts = task.parts
    if task.shard != JOIN:
        shards = grid.shards(task.shard_minutes)
        if task.shard >= len(shards):
            raise LoxoError(f"{task.path}: the recording changed while it was analysed. Run again.")
        seconds = grid.samples / grid.rate
        report(0.0, seconds, len(shards))

        def advance(done: float) -> None:
            report(done, seconds, len(shards))

        part = score_shard(
            engine,
            recording,
            grid,
            shards,
            task.shard,
            batch_size=options.batch_size,
            channel=options.channel,
            advance=advance,
        )
        if part.of > 1:
            return part
        parts = (part,)
    return recording_result(analysis_of(task.path, recording, grid, parts, engine, options), options.keep_scores)


def analysis_of(
    path: str, recording: Recording, grid: Grid, parts: Sequence[Part], engine: Engine, options: Options
) -> Analysis:
    """The events of a recording, from its consecutive parts."""
    return conclude(
        path,
        recording,
        engine.config,
        join(recording, grid, parts),
        threshold=options.threshold,
        channel=options.channel,
        names=options.names,
    )
