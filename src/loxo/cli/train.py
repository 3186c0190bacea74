"""`loxo train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loxo.cli.app import app, console, progress_bar
from loxo.errors import LoxoError


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Run folder; model.safetensors is written into it at the end.")],
    backgrounds: Annotated[
        Path | None,
        typer.Option(help="Recordings without calls: a folder, a text file that lists them, or a manifest.csv."),
    ] = None,
    preset: Annotated[str, typer.Option(help="default, elephants-4k, ast-elephants, crnn, ...")] = "default",
    steps: Annotated[int, typer.Option(help="Optimiser steps.", min=1)] = 4500,
    batch_size: Annotated[int, typer.Option(help="Windows in a step.", min=1)] = 16,
    learning_rate: Annotated[float, typer.Option(help="Highest learning rate.", min=0)] = 1.5e-3,
    precision: Annotated[
        str, typer.Option(help="Lightning's: bf16-mixed, or 32-true where bf16 is slow.")
    ] = "bf16-mixed",
    seed: Annotated[int, typer.Option(help="Of weights, windows and the split of backgrounds.")] = 3,
    validation_windows: Annotated[int, typer.Option(help="Fixed windows that are judged each epoch.", min=1)] = 256,
    workers: Annotated[int, typer.Option(help="Processes that make windows.", min=0)] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out, if there is one.")] = False,
) -> None:
    """Train a model on simulated calls in real or synthetic backgrounds.

    Needs the extra `train`: `pip install 'loxo[train]'`.

    Example: `loxo train --backgrounds forest/ --out runs/mine`
    """
    try:
        from loxo.training.train import TrainingConfig
        from loxo.training.train import train as run
    except ModuleNotFoundError as error:
        raise LoxoError(f"Training needs {error.name}: pip install 'loxo[train]'.") from error

    config = TrainingConfig(
        preset=preset,
        backgrounds=None if backgrounds is None else str(backgrounds),
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        precision=precision,
        validation_windows=validation_windows,
        seed=seed,
    )
    with progress_bar("training") as (bar, task):

        def on_progress(step: int, total: int, metrics: dict[str, float]) -> None:
            shown = "  ".join(f"{name} {value:.3f}" for name, value in sorted(metrics.items()))
            bar.update(task, completed=step, total=total, note=f"step {step}/{total}  {shown}")

        path = run(config, out, workers=workers, resume=resume, on_progress=on_progress)
    console.print(f"the model is in {path}", highlight=False)
