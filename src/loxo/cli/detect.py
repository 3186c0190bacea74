"""`loxo detect`."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer

from loxo.cli.app import app, progress_bar
from loxo.cli.shared import (
    COMPUTATION,
    BatchSize,
    Device,
    Format,
    KeepScores,
    MaxFpPerHour,
    Model,
    NamePattern,
    Out,
    ReviewBudget,
    Runtime,
    Sites,
    Threshold,
    TimeZone,
    WindowOverlap,
    WorkFolder,
    finish,
    thresholds,
)
from loxo.engine.windows import WINDOW_OVERLAP
from loxo.languages import text
from loxo.machine import gc_paused, usable_cores


@app.command()
def detect(
    paths: Annotated[
        list[str],
        typer.Argument(help="Recordings, folders, glob patterns, lists of paths (.txt), s3:// and https:// URLs."),
    ],
    out: Out,
    model: Model = "default",
    threshold: Threshold = None,
    max_fp_per_hour: MaxFpPerHour = None,
    review_budget: ReviewBudget = None,
    format: Format = "raven",
    name_pattern: NamePattern = None,
    time_zone: TimeZone = None,
    sites: Sites = None,
    keep_scores: KeepScores = False,
    channel: Annotated[
        str,
        typer.Option(
            help="Channel to search, from 1; mix: the mean of all channels; each: every channel, with the channel of "
            "each event in the tables."
        ),
    ] = "mix",
    window_overlap: WindowOverlap = WINDOW_OVERLAP,
    batch_size: BatchSize = 8,
    workers: Annotated[
        int, typer.Option(help="Processes; 0: one per CPU core.", min=0, rich_help_panel=COMPUTATION)
    ] = 0,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Address of a Dask scheduler, or local:N for N processes, instead of --workers. See docs/cluster.md.",
            rich_help_panel=COMPUTATION,
        ),
    ] = None,
    shard_minutes: Annotated[
        float,
        typer.Option(
            help="Length of the shards into which long recordings are split, for workers and for resuming.",
            min=0.1,
            rich_help_panel=COMPUTATION,
        ),
    ] = 60.0,
    patience_minutes: Annotated[
        float,
        typer.Option(
            help="A worker that reports nothing for this long is replaced; another worker repeats its shard.",
            min=0.1,
            rich_help_panel=COMPUTATION,
        ),
    ] = 10.0,
    device: Device = "cpu",
    runtime: Runtime = "auto",
    work: WorkFolder = None,
) -> None:
    """Find rumbles and gunshots in recordings of any length, sample rate and number.

    Recordings that cannot be read, or only in part, are listed at the end and make the exit code 1.

    Example: `loxo detect sd_card/ --out runs/march --threshold rumble=0.3,gunshot=0.6`
    """
    from loxo.audio.filenames import Names
    from loxo.survey.thresholds import hours_in

    with gc_paused():
        from loxo.survey.survey import SurveyProgress, survey

    def config() -> Any:
        from loxo.engine.model_file import read_model_file

        return read_model_file(model).config

    chosen = thresholds(
        threshold, max_fp_per_hour, review_budget, config, lambda: hours_in(paths, 60 * patience_minutes)
    )
    with progress_bar(text("detecting")) as (bar, task):

        def on_progress(progress: SurveyProgress) -> None:
            note = text(
                "{finished}/{n} recordings, {speed:.2f} h/s",
                finished=progress.finished,
                n=progress.recordings,
                speed=progress.hours_per_second,
            )
            if progress.failed:
                note += text(", {n} with problems", n=progress.failed)
            bar.update(task, completed=progress.share, total=1.0, note=note, **dataclasses.asdict(progress))

        summary = survey(
            paths,
            model,
            out,
            threshold=chosen,
            window_overlap=window_overlap,
            batch_size=batch_size,
            channel=channel,
            workers=workers or usable_cores(),
            cluster=cluster,
            shard_minutes=shard_minutes,
            patience_minutes=patience_minutes,
            keep_scores=keep_scores,
            formats=format,
            names=Names(name_pattern, time_zone),
            sites=sites,
            device=device,
            runtime=runtime,
            work=work,
            on_progress=on_progress,
        )
    finish(summary, [sentence for _, sentence in summary.problems], out, summary.notes)
