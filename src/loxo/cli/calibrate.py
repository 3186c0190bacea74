"""`loxo calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loxo.cli.annotations import (
    LabelColumnOption,
    LabelOption,
    LabelsOption,
    RenameOption,
    SearchedOption,
    pairs,
)
from loxo.cli.app import app, console, progress_bar
from loxo.cli.shared import print_problems, print_sentences
from loxo.errors import LoxoError
from loxo.languages import text
from loxo.machine import usable_cores


@app.command()
def calibrate(
    recordings: Annotated[list[str] | None, typer.Argument(help="Recordings, or folders with recordings.")] = None,
    truth: Annotated[
        list[Path] | None, typer.Option(help="Table, or folder of tables, with all true events in the recordings.")
    ] = None,
    review: Annotated[
        Path | None,
        typer.Option(help="Run folder with a review, in place of recordings and tables. A partial review is enough."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Model file to write. With --review it may be missing: nothing is written then.")
    ] = None,
    model: Annotated[str, typer.Option(help="Name of a bundled model, or a model file.")] = "default",
    max_fp_per_hour: Annotated[
        float | None,
        typer.Option(help="Max. false positives per hour: sets the default thresholds.", min=0),
    ] = None,
    label: LabelOption = None,
    label_column: LabelColumnOption = None,
    labels: LabelsOption = None,
    rename: RenameOption = None,
    searched: SearchedOption = None,
    data: Annotated[str | None, typer.Option(help="One sentence that describes the recordings.")] = None,
    workers: Annotated[int, typer.Option(help="Number of processes; 0: one per core.", min=0)] = 0,
) -> None:
    """Fit a model's scores and thresholds to your own annotated recordings or to a review. Its weights do not change.

    Afterwards, about 80 % of the events with a score of 0.8 are right on such recordings. The options --max-fp-per-hour
    and --review-budget of `loxo detect` then use the rates of these recordings. Classes without annotations keep their
    scores and thresholds. After a review: `loxo calibrate --review runs/march --out mine.safetensors`.

    Example: `loxo calibrate recordings/ --truth tables/ --out mine.safetensors`
    """
    if review is not None:
        if recordings or truth or searched:
            raise LoxoError("--review takes recordings and decisions from the run. Give neither recordings nor tables.")
        _calibrate_review(review, out, model, max_fp_per_hour)
        return
    if not recordings or not truth or out is None:
        raise LoxoError(
            "Give recordings, their tables with --truth and the new model file with --out, or a reviewed run with "
            "--review."
        )
    from loxo.engine.model_file import read_model_file
    from loxo.evaluation.calibrate import calibrate as run
    from loxo.survey.progress import SurveyProgress

    with progress_bar(text("detecting")) as (bar, task):

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
            searched=searched or (),
            workers=workers or usable_cores(),
            on_progress=on_progress,
        )
    for label, fit in fits.items():
        print_sentences(fit.sentences(label))
    for label_kept in (name for name in read_model_file(out).config.classes if name not in fits):
        words = text("{label}: no true events in the tables; its calibration stays", label=label_kept)
        console.print(words, highlight=False)
    console.print(text("the model was written to {path}", path=out), highlight=False, soft_wrap=True)


def _calibrate_review(run: Path, out: Path | None, model: str, max_fp_per_hour: float | None) -> None:
    from loxo.review.calibrate import calibrate_review

    found = calibrate_review(run, out, model=model, max_fp_per_hour=max_fp_per_hour)
    print_sentences(found.sentences())
    print_problems(found.warnings)
    if out is None:
        words = text(
            "Nothing was written. To list the events of this run anew: loxo decode {run} --reviewed --out "
            "{run}-reviewed. For further recordings, write a model with --out.",
            run=run,
        )
    else:
        words = text("the model was written to {path}", path=out)
    console.print(words, highlight=False, soft_wrap=True)
    if found.warnings:
        raise typer.Exit(1)
