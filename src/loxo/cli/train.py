"""`loxo train`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from loxo.cli.app import app, console, errors, progress_bar
from loxo.errors import LoxoError
from loxo.training.config import TrainingConfig

DEFAULTS = TrainingConfig()
# Options that stand for a key of the schema; all others are set as key=value.
KEYS = {
    "preset": "preset",
    "backgrounds": "data.backgrounds",
    "steps": "steps",
    "batch_size": "batch_size",
    "learning_rate": "learning_rate",
    "precision": "precision",
    "seed": "seed",
    "validation_windows": "data.validation_windows",
    "workers": "workers",
}
SHOWN = ("loss", "validation_event_ap", "loader_wait_share")  # figures in the progress bar
SHOWN_PROBLEMS = 5


@app.command()
def train(
    context: typer.Context,
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CONFIG.yaml] [KEY=VALUE ...]", help="A config file, and settings that go before it."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder; model.safetensors is written into it at the end.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out, with its settings.")] = False,
    show_config: Annotated[
        bool, typer.Option("--show-config", help="Print every key with its value and meaning, as YAML, and exit.")
    ] = False,
    backgrounds: Annotated[
        Path | None,
        typer.Option(help="Recordings without calls: a folder, a text file that lists them, or a manifest.csv."),
    ] = DEFAULTS.data.backgrounds,  # type: ignore[assignment]
    preset: Annotated[str, typer.Option(help="default, elephants-4k, ast-elephants, crnn, ...")] = DEFAULTS.preset,
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = DEFAULTS.steps,
    batch_size: Annotated[int, typer.Option(help="Windows that a device takes at once.")] = DEFAULTS.batch_size,
    learning_rate: Annotated[float, typer.Option(help="Highest learning rate.")] = DEFAULTS.learning_rate,
    precision: Annotated[
        str, typer.Option(help="bf16-mixed, 32-true; auto: bf16 where it is fast.")
    ] = DEFAULTS.precision,
    seed: Annotated[int, typer.Option(help="Of weights and windows.")] = DEFAULTS.seed,
    validation_windows: Annotated[
        int, typer.Option(help="Fixed windows that are judged at each validation.")
    ] = DEFAULTS.data.validation_windows,
    workers: Annotated[int, typer.Option(help="Processes that make windows.")] = DEFAULTS.workers,
) -> None:
    """Train a model on your own recordings and tables, on simulated calls, or on both.

    Every setting is a key that a YAML file or `key=value` gives; the options below are short for the most usual ones.
    `loxo train --show-config` lists all of them. Needs the extra `train`: `pip install 'loxo[train]'`.

    Example: `loxo train data.tables=tables/ data.recordings=recordings/ init_from=default --out runs/mine`
    """
    from loxo.training.schema import read_config
    from loxo.training.schema import show_config as shown

    files = [word for word in settings or [] if "=" not in word]
    words = [word for word in settings or [] if "=" in word] + _given(context)
    if len(files) > 1:
        raise LoxoError(f"One config file at most can be given, not {' and '.join(files)}.")
    file = files[0] if files else None
    if show_config:
        print(shown(read_config(file, words)), end="")
        return
    if out is None:
        raise LoxoError("Where is the run to be? Give a folder as --out.")
    try:
        from loxo.training.train import recorded_config
        from loxo.training.train import train as run
    except ModuleNotFoundError as error:
        raise LoxoError(f"Training needs {error.name}: pip install 'loxo[train]'.") from error

    config = read_config(file, words, recorded_config(out) if resume else None)
    with progress_bar("training") as (bar, task):

        def on_progress(step: int, total: int, figures: dict[str, float]) -> None:
            shown = "  ".join(f"{name} {figures[name]:.3f}" for name in SHOWN if name in figures)
            bar.update(task, completed=step, total=total, note=f"step {step}/{total}  {shown}")

        def on_problems(sentences: list[str]) -> None:
            for sentence in sentences[:SHOWN_PROBLEMS]:
                errors.print(f"problem: {sentence}", style="yellow", markup=False, highlight=False, soft_wrap=True)
            if len(sentences) > SHOWN_PROBLEMS:
                errors.print(f"... and {len(sentences) - SHOWN_PROBLEMS} more, in {out / 'run.json'}", style="yellow")

        path = run(config, out, resume=resume, on_progress=on_progress, on_problems=on_problems)
    if os.environ.get("LOCAL_RANK", "0") == "0":  # the processes of further GPUs need not say it again
        console.print(f"the model is in {path}", highlight=False)


def _given(context: typer.Context) -> list[str]:
    """The options that are on the command line, not those that only have their defaults, as settings."""
    sources = {name: context.get_parameter_source(name) for name in KEYS}
    there = [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    return [f"{KEYS[name]}={context.params[name]}" for name in there]
