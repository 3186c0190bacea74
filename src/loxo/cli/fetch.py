"""`loxo fetch`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from loxo.cli.app import app, console, errors, progress_bar

SHOWN = 5  # missing recordings that are named on the terminal; fetch.json has all


class Archive(StrEnum):
    """Archives whose place and layout are known."""

    elp = "elp"


@app.command()
def fetch(
    archive: Annotated[Archive, typer.Argument(help="elp: the Elephant Listening Project's public archive.")],
    more: Annotated[list[Path] | None, typer.Argument(metavar="[TABLES]...", help="Further tables.")] = None,
    *,
    tables: Annotated[list[Path], typer.Option(help="Raven tables; several may follow.")],
    dest: Annotated[Path, typer.Option(help="Folder for the recordings. The same command goes on where it was.")],
    bucket: Annotated[
        str | None, typer.Option(help="Another s3:// or https:// place: recordings/wav/SITE/SITE_DATE_TIME.wav.")
    ] = None,
    windows: Annotated[
        bool, typer.Option("--windows", help="Only the stretches around events, with tables placed in them.")
    ] = False,
    margin: Annotated[float, typer.Option(help="Seconds before and after each event, with --windows.", min=0)] = 30.0,
    rename: Annotated[
        list[str] | None, typer.Option(help="What a part of names is called in the archive, such as dzan=dz.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Only so many recordings, the first by name.", min=1)] = None,
) -> None:
    """Download the recordings that selection tables name, or just the stretches around their events.

    What is there is checked and not fetched twice. What the archive does not hold is named, and makes the exit code 1.

    Example: `loxo fetch elp --tables nn_ele_TrainingSet.txt --windows --dest elp/`
    """
    from loxo.errors import LoxoError
    from loxo.fetch.fetch import ELP_BUCKET, FetchProgress
    from loxo.fetch.fetch import fetch as run

    rules = {}
    for rule in rename or []:
        old, equals, new = rule.partition("=")
        if not old or not equals:
            raise LoxoError(f"--rename {rule}: write it as OLD=NEW, such as dzan=dz.")
        rules[old] = new
    with progress_bar("fetching") as (bar, task):

        def on_progress(progress: FetchProgress) -> None:
            size = f", {progress.bytes / 1e9:.2f} of {progress.of_bytes / 1e9:.2f} GB" if progress.bytes else ""
            note = f"{progress.recordings}/{progress.of} recordings{size}: {progress.doing}"
            bar.update(task, completed=progress.recordings, total=progress.of, note=note)

        summary = run(
            [*tables, *(more or [])],
            dest,
            bucket=bucket or ELP_BUCKET,
            windows=windows,
            margin_s=margin,
            rename=rules,
            limit=limit,
            on_progress=on_progress,
        )
    for sentence in summary.notes:
        errors.print(f"note: {sentence}", markup=False, highlight=False, soft_wrap=True)
    problems = list(summary.problems)
    if missing := summary.missing:
        named = ", ".join(missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
        problems.append(f"{len(missing)} recordings are not in the archive: {named}")
    for sentence in problems:
        errors.print(f"problem: {sentence}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    console.print(f"{summary}: {dest}", highlight=False, soft_wrap=True)
    if problems:
        raise typer.Exit(1)
