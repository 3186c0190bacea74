"""`loxo score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loxo.cli.app import app, progress_bar
from loxo.cli.shared import BatchSize, Device, Model, Runtime, WindowOverlap, finish
from loxo.engine.windows import WINDOW_OVERLAP


@app.command()
def score(
    table: Annotated[Path, typer.Argument(help="Table of events: Raven, or CSV with a header.")],
    out: Annotated[str, typer.Option(help="Folder, or s3://bucket/prefix, for the table with the scores.")],
    recordings: Annotated[
        list[str] | None,
        typer.Argument(help="Recordings and folders, if the table's own paths do not lead to the recordings."),
    ] = None,
    model: Model = "default",
    window_overlap: WindowOverlap = WINDOW_OVERLAP,
    batch_size: BatchSize = 8,
    device: Device = "cpu",
    runtime: Runtime = "auto",
) -> None:
    """Add Loxo's scores to another detector's table of events.

    Each row keeps its cells and gets a score for each class. Rows without a score are listed at the end and make the
    exit code 1.

    Example: `loxo score theirs.selections.txt sd_card/ --out runs/theirs`
    """
    from loxo.survey.score_table import score_table

    with progress_bar("scoring") as (bar, task):

        def on_progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, note=f"{done}/{total} recordings")

        scored = score_table(
            table,
            model,
            out,
            recordings=recordings or [],
            window_overlap=window_overlap,
            batch_size=batch_size,
            device=device,
            runtime=runtime,
            on_progress=on_progress,
        )
    finish(scored, scored.problems, scored.table)
