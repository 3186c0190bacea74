"""`loxo detect`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from loxo.cli.app import app, console, default_workers, errors, progress_bar


@app.command()
def detect(
    paths: Annotated[list[Path], typer.Argument(help="Recordings, and folders that are searched for recordings.")],
    out: Annotated[Path, typer.Option(help="Run folder: tables, events.csv, run.json. The same command resumes it.")],
    model: Annotated[str, typer.Option(help="A bundled model's name or a model file.")] = "default",
    threshold: Annotated[
        float | None,
        typer.Option(help="List events that score at least this, 0-1. Low values list the doubtful too.", min=0, max=1),
    ] = None,
    overlap: Annotated[
        float, typer.Option(help="Share of a window that the next one sees again.", min=0, max=0.95)
    ] = 0.5,
    batch_size: Annotated[int, typer.Option(help="Windows that go through the model at once.", min=1)] = 8,
    workers: Annotated[int, typer.Option(help="Processes; 0 for one a core.", min=0)] = 0,
    keep_scores: Annotated[
        bool, typer.Option("--keep-scores", help="Store the frame scores in the run folder.")
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.")] = "cpu",
) -> None:
    """Find rumbles and gunshots in recordings of any length, rate and number.

    Recordings that cannot be read, or not whole, are named at the end and make the exit code 1.

    Example: `loxo detect sd_card/ --out runs/march`
    """
    from loxo.detection.survey import Progress as SurveyProgress
    from loxo.detection.survey import survey

    started = time.monotonic()
    with progress_bar("detecting") as (bar, task):

        def on_progress(progress: SurveyProgress) -> None:
            speed = progress.hours / max(time.monotonic() - started, 1e-9)
            note = f"{progress.finished}/{progress.recordings} recordings, {speed:.2f} h of audio a second"
            bar.update(task, completed=progress.share, total=1.0, note=note)

        summary = survey(
            paths,
            model,
            out,
            threshold=threshold,
            overlap=overlap,
            batch_size=batch_size,
            workers=workers or default_workers(),
            keep_scores=keep_scores,
            device=device,
            on_progress=on_progress,
        )
    for _, sentence in summary.problems:
        errors.print(f"problem: {sentence}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    console.print(f"{summary}: {out}", highlight=False, soft_wrap=True)
    if summary.problems:
        raise typer.Exit(1)
