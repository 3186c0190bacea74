"""`loxo calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loxo.cli.app import app, console, progress_bar
from loxo.machine import usable_cores


@app.command()
def calibrate(
    recordings: Annotated[list[str], typer.Argument(help="Recordings, and folders that are searched for recordings.")],
    truth: Annotated[list[Path], typer.Option(help="Table, or folder of tables, of all true events in them.")],
    out: Annotated[Path, typer.Option(help="The model file to write.")],
    model: Annotated[str, typer.Option(help="A bundled model's name or a model file.")] = "default",
    max_fp_per_hour: Annotated[
        float | None,
        typer.Option(help="Default thresholds become the lowest with at most so many false events.", min=0),
    ] = None,
    data: Annotated[str | None, typer.Option(help="One sentence that says what these recordings are.")] = None,
    workers: Annotated[int, typer.Option(help="Processes; 0 for one a core.", min=0)] = 0,
) -> None:
    """Fit a model's scores and thresholds to your own annotated recordings; its weights stay as they are.

    Afterwards a score of 0.8 means that 80 % of such events were right there, and `loxo detect --max-fp-per-hour`
    knows your recordings.

    Example: `loxo calibrate recordings/ --truth tables/ --out mine.safetensors --max-fp-per-hour 1`
    """
    from loxo.survey.progress import SurveyProgress
    from loxo.training.calibrate import calibrate as run

    with progress_bar("searching") as (bar, task):

        def on_progress(progress: SurveyProgress) -> None:
            bar.update(task, completed=progress.share, total=1.0, note=f"{progress.hours:.1f} h")

        fits = run(
            model,
            truth,
            recordings,
            out,
            max_fp_per_hour=max_fp_per_hour,
            data=data,
            workers=workers or usable_cores(),
            on_progress=on_progress,
        )
    for label, fit in fits.items():
        console.print(
            f"{label}: {fit.events} events; at the threshold of {fit.threshold:.2f} {100 * fit.recall:.0f} % are found "
            f"with {fit.fp_per_hour:.1f} false events an hour",
            highlight=False,
            soft_wrap=True,
        )
    console.print(f"the model is in {out}", markup=False, highlight=False, soft_wrap=True)
