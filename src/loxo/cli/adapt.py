"""`loxo adapt`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loxo.cli.annotations import LabelColumnOption, LabelOption, LabelsOption, RenameOption, SearchedOption, pairs
from loxo.cli.app import app, console, errors, progress_bar
from loxo.cli.shared import print_problems
from loxo.errors import LoxoError
from loxo.installation import install_extra


@app.command()
def adapt(
    tables: Annotated[
        list[str] | None,
        typer.Argument(help="Tables of events, folders of them, or the folder that loxo review --export wrote."),
    ] = None,
    recordings: Annotated[
        list[str] | None, typer.Option(help="Folder with the recordings; s3:// and https:// too. May be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for model.safetensors, adapt.md and run.json.")] = None,
    model: Annotated[str, typer.Option(help="Start model: name of a bundled model, or a model file.")] = "default",
    searched: SearchedOption = None,
    classes: Annotated[
        str | None,
        typer.Option(help="Classes that the tables annotate: rumble,gunshot. Default: those with enough calls."),
    ] = None,
    label: LabelOption = None,
    label_column: LabelColumnOption = None,
    labels: LabelsOption = None,
    rename: RenameOption = None,
    channel: Annotated[
        int | None, typer.Option(help="Channel of the recordings, from 0; default: the mean of all channels.", min=0)
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Time on this machine, about; replaces --iterations.", min=0.1)
    ] = None,
    iterations: Annotated[int, typer.Option(help="Training iterations, of both trainings together.", min=1)] = 200,
    seed: Annotated[int, typer.Option(help="Seed of the windows.", min=0)] = 3,
    workers: Annotated[int, typer.Option(help="Number of processes that create windows.", min=0)] = 1,
    learning_curve: Annotated[
        bool,
        typer.Option(
            "--learning-curve",
            help="Also train with a quarter and half of the calls: learning_curve.csv shows how much more annotation "
            "may help. Takes three times as long.",
        ),
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the adaptation in --out with its settings.")] = False,
) -> None:
    """Adapt a model to a new site with a few annotated calls: ten calls take minutes.

    Each call is held back once to compare the model before and after. The start model is kept if no gain is certain.
    Afterwards use `loxo detect --model runs/site/model.safetensors`. Needs the extra `train`.

    Example: `loxo adapt tables/ --recordings recordings/ --out runs/site`
    """
    if out is None:
        raise LoxoError("The folder of the result is missing. Give it with --out.")
    if not resume and not (tables and recordings):
        raise LoxoError("Give tables of events, and the folder of their recordings with --recordings.")
    try:
        from loxo.training.adapt import adapt as run
        from loxo.training.comparing import HEADER, table
    except ModuleNotFoundError as error:
        raise LoxoError(f"Training needs {error.name}. Install it: {install_extra('train')}") from error

    with progress_bar("adapting") as (bar, task):

        def on_progress(iteration: int, total: int, figures: dict[str, float]) -> None:
            note = f"iteration {iteration}/{total}  loss {figures['loss']:.3f}"
            bar.update(task, completed=iteration, total=total, note=note)

        def on_note(text: str) -> None:
            errors.print(text, highlight=False, soft_wrap=True)

        result = run(
            tables or (),
            recordings or (),
            out,
            model=model,
            searched=searched or (),
            classes=[name.strip() for name in (classes or "").split(",") if name.strip()],
            label=label,
            label_column=label_column,
            labels=pairs(labels, "--labels"),
            rename=pairs(rename, "--rename"),
            channel=channel,
            iterations=iterations,
            minutes=minutes,
            seed=seed,
            workers=workers,
            learning_curve=learning_curve,
            resume=resume,
            on_progress=on_progress,
            on_note=on_note,
        )
    print_problems(result.problems)
    from rich.table import Table

    shown = Table(*HEADER)
    for row in table(result.figures):
        shown.add_row(*row)
    console.print(shown)
    console.print(result.decision, highlight=False, soft_wrap=True)
    console.print(f"the model was written to {result.model}", highlight=False, soft_wrap=True)
