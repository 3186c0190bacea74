"""`loxo calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loxo.cli.annotations import LabelColumnOption, LabelOption, LabelsOption, RenameOption, pairs
from loxo.cli.app import app, console, progress_bar
from loxo.machine import usable_cores


@app.command()
def calibrate(
    recordings: Annotated[list[str], typer.Argument(help="Recordings, or folders with recordings.")],
    truth: Annotated[
        list[Path], typer.Option(help="Table, or folder of tables, with all true events in the recordings.")
    ],
    out: Annotated[Path, typer.Option(help="Model file to write.")],
    model: Annotated[str, typer.Option(help="Name of a bundled model, or a model file.")] = "default",
    max_fp_per_hour: Annotated[
        float | None,
        typer.Option(help="Max. false positives per hour: sets the default thresholds.", min=0),
    ] = None,
    label: LabelOption = None,
    label_column: LabelColumnOption = None,
    labels: LabelsOption = None,
    rename: RenameOption = None,
    data: Annotated[str | None, typer.Option(help="One sentence that describes the recordings.")] = None,
    workers: Annotated[int, typer.Option(help="Number of processes; 0: one per core.", min=0)] = 0,
) -> None:
    """Calibrate a model's scores and thresholds on your own annotated recordings. Its weights do not change.

    Afterwards, about 80 % of the events with a score of 0.8 are true positives on such recordings. The option
    `loxo detect --max-fp-per-hour` then uses the rates of these recordings. A class without true events in the tables
    keeps its calibration.

    Example: `loxo calibrate recordings/ --truth tables/ --out mine.safetensors --max-fp-per-hour 1`
    """
    from loxo.engine.model_file import read_model_file
    from loxo.evaluation.calibrate import calibrate as run
    from loxo.survey.progress import SurveyProgress

    with progress_bar("detecting") as (bar, task):

        def on_progress(progress: SurveyProgress) -> None:
            bar.update(task, completed=progress.share, total=1.0, note=f"{progress.hours:.1f} h")

        fits = run(
            model,
            truth,
            recordings,
            out,
            max_fp_per_hour=max_fp_per_hour,
            data=data,
            label=label,
            label_column=label_column,
            labels=pairs(labels, "--labels"),
            rename=pairs(rename, "--rename"),
            workers=workers or usable_cores(),
            on_progress=on_progress,
        )
    for label, fit in fits.items():
        console.print(
            f"{label}: {fit.events} events; threshold {fit.threshold:.2f}: recall {100 * fit.recall:.0f} %, "
            f"{fit.fp_per_hour:.1f} false positives per hour",
            highlight=False,
            soft_wrap=True,
        )
    for label_kept in (name for name in read_model_file(out).config.classes if name not in fits):
        console.print(f"{label_kept}: no true events in the tables; its calibration stays", highlight=False)
    console.print(f"the model was written to {out}", highlight=False, soft_wrap=True)
