"""The `loxo` command: each subcommand is a thin shell over a function with the same parameters.

Heavy imports stay inside the commands, so that `loxo --help` answers at once. A LoxoError becomes one line on the
terminal and exit code 2; a run that had to leave something out ends with exit code 1; Ctrl-C with 130.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from typer.core import TyperGroup

from loxo.errors import LoxoError

AFTER_CTRL_C = {
    "detect": ": the same command goes on where it was",
    "train": ": the same command with --resume goes on where it was",
    "simulate": ": empty the folder before you start again",
}


class _Commands(TyperGroup):
    """Tells after Ctrl-C how to go on; typer alone would only say that it was aborted."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            errors.print(f"interrupted{AFTER_CTRL_C.get(ctx.invoked_subcommand or '', '')}", style="yellow")
            raise typer.Exit(130) from None


app = typer.Typer(
    name="loxo",
    cls=_Commands,
    help="Finds elephant rumbles and gunshots in months of field recordings.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
console = Console()
errors = Console(stderr=True)


def main() -> None:
    """Entry point: what a user did wrong is told in one line, never as a traceback."""
    try:
        app()
    except LoxoError as error:
        errors.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from loxo import __version__

        console.print(f"loxo {__version__}", highlight=False)
        raise typer.Exit
    if context.invoked_subcommand is None:
        raise typer.Exit


@contextmanager
def progress_bar(unit: str) -> Iterator[tuple[Progress, TaskID]]:
    """A bar on stderr with one free text column, `unit`, that the command updates."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors, transient=False) as bar:
        yield bar, bar.add_task(unit, total=None, note="")


@app.command()
def simulate(
    hours: Annotated[float, typer.Option(help="Hours of audio to make.", min=0.001)],
    out: Annotated[Path, typer.Option(help="Folder for recordings, truth tables and simulation.json; new or empty.")],
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    backgrounds: Annotated[
        Path | None,
        typer.Option(help="Recordings without calls: a folder, a text file that lists them, or a manifest.csv."),
    ] = None,
    sample_rate: Annotated[int, typer.Option(help="Of the recordings, in Hz.", min=1000)] = 4000,
    file_hours: Annotated[float, typer.Option(help="Length of one recording, in hours.", min=0.001)] = 1.0,
    audio_format: Annotated[str, typer.Option("--format", help="flac or wav.")] = "flac",
    rumbles_per_hour: Annotated[float | None, typer.Option(help="Mean rate; by default as in a forest survey.")] = None,
    gunshots_per_hour: Annotated[
        float | None, typer.Option(help="Mean rate; by default as in a forest survey.")
    ] = None,
) -> None:
    """Make recordings with known rumbles and gunshots.

    Example: `loxo simulate --hours 24 --file-hours 24 --out survey --seed 1`
    """
    from loxo.simulation.simulate import simulate as run

    with progress_bar("simulating") as (bar, task):

        def on_progress(done_s: float, total_s: float) -> None:
            bar.update(task, completed=done_s, total=total_s, note=f"{done_s / 3600:.1f} of {total_s / 3600:.1f} h")

        rates = {"rumbles_per_hour": rumbles_per_hour, "gunshots_per_hour": gunshots_per_hour}
        truth = run(
            out,
            hours,
            seed,
            backgrounds=backgrounds,
            sample_rate=sample_rate,
            file_hours=file_hours,
            format=audio_format,
            on_progress=on_progress,
            **{name: rate for name, rate in rates.items() if rate is not None},
        )
    counts = truth["label"].value_counts()
    console.print(f"{out}: {hours:g} h with {counts.get('rumble', 0)} rumbles and {counts.get('gunshot', 0)} gunshots")


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


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the soundscape, the tables and the picture.")] = Path("demo"),
    model: Annotated[str, typer.Option(help="A bundled model's name or a model file.")] = "default",
    seed: Annotated[int, typer.Option(help="Another seed makes another soundscape.")] = 1,
) -> None:
    """Make a short soundscape with known calls, search it, and draw what was found and missed.

    Example: `loxo demo --out demo`
    """
    from loxo.demo import run_demo

    result = run_demo(out, model=model, seed=seed)
    for line in result.lines:
        console.print(line, markup=False, highlight=False)
    console.print(f"the picture is {result.picture}", highlight=False, soft_wrap=True)


@app.command()
def info(
    model: Annotated[str, typer.Argument(help="A bundled model's name or a model file.")] = "default",
) -> None:
    """Print what a model is: size, operations, time resolution, receptive field, config and provenance.

    Example: `loxo info default`
    """
    from loxo.models.info import model_info

    console.print(str(model_info(model)), markup=False, highlight=False, soft_wrap=True)


@app.command()
def convert(
    checkpoint: Annotated[Path, typer.Argument(help="HTS-AT, Swin, CLAP or AST: .ckpt, .pth, .bin, .safetensors.")],
    out: Annotated[Path, typer.Option(help="The model file to write.")],
    preset: Annotated[str | None, typer.Option(help="Model to load into; by default the one that fits.")] = None,
    classes: Annotated[str | None, typer.Option(help="Names with commas; another number starts a new head.")] = None,
) -> None:
    """Turn a published checkpoint into a model file. Only tensors are read; nothing in the file is run.

    Example: `loxo convert HTSAT_AudioSet_Saved_1.ckpt --out audioset.safetensors`
    """
    from loxo.models.checkpoints import convert_checkpoint

    names = None if classes is None else tuple(name.strip() for name in classes.split(","))
    report = convert_checkpoint(checkpoint, out, preset=preset, classes=names)
    console.print(f"{report}\nthe model is in {out}", markup=False, highlight=False, soft_wrap=True)


def default_workers() -> int:
    """As many processes as this one may use cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
