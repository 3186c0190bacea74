"""`loxo train`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from loxo.cli.app import app, console, errors, progress_bar
from loxo.cli.shared import print_problems
from loxo.errors import LoxoError
from loxo.installation import install_extra
from loxo.training.config import TrainingConfig

DEFAULTS = TrainingConfig()
# Options of the command and the key that each sets. All other keys are set as key=value.
OPTION_KEYS = {
    "preset": "preset",
    "backgrounds": "data.backgrounds",
    "iterations": "iterations",
    "batch_size": "batch_size",
    "learning_rate": "learning_rate",
    "precision": "precision",
    "seed": "seed",
    "validation_windows": "data.validation_windows",
    "workers": "workers",
    "folds": "data.folds",
}
SHOWN = ("loss", "validation_event_ap", "loader_wait_share")  # values in the progress bar
SHOWN_PROBLEMS = 5


@app.command()
def train(
    context: typer.Context,
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CONFIG.yaml] [KEY=VALUE ...]", help="A config file, and settings that override it."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; model.safetensors is written to it at the end.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the run in --out with its settings.")] = False,
    show_config: Annotated[
        bool, typer.Option("--show-config", help="Print all keys with values and meanings as YAML, and exit.")
    ] = False,
    backgrounds: Annotated[
        Path | None,
        typer.Option(help="Recordings without calls: a folder, a text file with paths, or a manifest.csv."),
    ] = DEFAULTS.data.backgrounds,  # type: ignore[assignment]
    preset: Annotated[
        str, typer.Option(help="Architecture and size: default, elephants-4k, ast-elephants, crnn, ...")
    ] = DEFAULTS.preset,
    iterations: Annotated[int, typer.Option(help="Number of training iterations.")] = DEFAULTS.iterations,
    batch_size: Annotated[int, typer.Option(help="Windows in a batch, per device.")] = DEFAULTS.batch_size,
    learning_rate: Annotated[float, typer.Option(help="Maximum learning rate.")] = DEFAULTS.learning_rate,
    precision: Annotated[
        str, typer.Option(help="bf16-mixed, 32-true; auto: bf16-mixed if the device supports it in hardware.")
    ] = DEFAULTS.precision,
    seed: Annotated[int, typer.Option(help="Seed of weights and windows.")] = DEFAULTS.seed,
    validation_windows: Annotated[
        int, typer.Option(help="Number of validation windows.")
    ] = DEFAULTS.data.validation_windows,
    workers: Annotated[int, typer.Option(help="Number of processes that create windows.")] = DEFAULTS.workers,
    folds: Annotated[
        int | None,
        typer.Option(
            help="Cross-validation with this number of runs, in subfolders of --out; 0: one run for each recording, "
            "site or day (data.split).",
            min=0,
        ),
    ] = DEFAULTS.data.folds,
) -> None:
    """Train a model on your own recordings and tables, on simulated calls, or on both.

    Every setting is a key, which is set in a YAML file or as `key=value`. The options below set the most common keys.
    `loxo train --show-config` lists all keys. Needs the extra `train`.

    Example: `loxo train data.tables=tables/ data.recordings=recordings/ init_from=default --out runs/mine`
    """
    from loxo.training.config_io import read_config
    from loxo.training.config_io import show_config as config_text

    files = [word for word in settings or [] if "=" not in word]
    words = [word for word in settings or [] if "=" in word] + _given(context)
    if len(files) > 1:
        raise LoxoError(f"{' and '.join(files)} were given. Give only one config file.")
    file = files[0] if files else None
    if show_config:
        print(config_text(read_config(file, words)), end="")
        return
    if out is None:
        raise LoxoError("The run folder is missing. Give it with --out.")
    try:
        from loxo.training.train import read_run_config
        from loxo.training.train import train as run
    except ModuleNotFoundError as error:
        raise LoxoError(f"Training needs {error.name}. Install it: {install_extra('train')}") from error

    config = read_config(file, words, read_run_config(out) if resume else None)
    with progress_bar("training") as (bar, task):

        def on_progress(iteration: int, total: int, figures: dict[str, float]) -> None:
            shown = "  ".join(f"{name} {figures[name]:.3f}" for name in SHOWN if name in figures)
            bar.update(task, completed=iteration, total=total, note=f"iteration {iteration}/{total}  {shown}")

        def on_problems(sentences: list[str]) -> None:
            print_problems(sentences[:SHOWN_PROBLEMS])
            if len(sentences) > SHOWN_PROBLEMS:
                errors.print(f"... and {len(sentences) - SHOWN_PROBLEMS} more, in {out / 'run.json'}", style="yellow")

        def on_note(text: str) -> None:
            errors.print(text, highlight=False, soft_wrap=True)

        if config.data.folds is not None and config.data.fold is None:
            from loxo.training.folds import cross_validate

            def on_fold(fold: int, count: int) -> None:
                errors.print(f"fold {fold} of {count}", highlight=False)

            path = cross_validate(
                config,
                out,
                resume=resume,
                on_fold=on_fold,
                on_progress=on_progress,
                on_problems=on_problems,
                on_note=on_note,
            )
            written = "table of the folds"
        else:
            path = run(config, out, resume=resume, on_progress=on_progress, on_problems=on_problems, on_note=on_note)
            written = "model"
    if os.environ.get("LOCAL_RANK", "0") == "0":  # only one process prints it
        console.print(f"the {written} was written to {path}", highlight=False)


def _given(context: typer.Context) -> list[str]:
    """Returns the options given on the command line as settings, without options at their defaults."""
    sources = {name: context.get_parameter_source(name) for name in OPTION_KEYS}
    there = [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    return [f"{OPTION_KEYS[name]}={context.params[name]}" for name in there]
