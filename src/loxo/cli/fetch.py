"""`loxo fetch`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from loxo.cli.app import app, errors, progress_bar
from loxo.cli.shared import finish

SHOWN = 5  # number of missing recordings on the terminal; fetch.json lists all


class Archive(StrEnum):
    """Archives with known address and layout."""

    elp = "elp"


@app.command()
def fetch(
    archive: Annotated[Archive, typer.Argument(help="elp: the Elephant Listening Project's public archive.")],
    more: Annotated[list[Path] | None, typer.Argument(metavar="[TABLES]...", help="Further tables.")] = None,
    *,
    tables: Annotated[list[Path], typer.Option(help="Raven tables, one or more.")],
    dest: Annotated[Path, typer.Option(help="Folder for the recordings. The same command resumes a fetch.")],
    bucket: Annotated[
        str | None, typer.Option(help="Another s3:// or https:// address: recordings/wav/SITE/SITE_DATE_TIME.wav.")
    ] = None,
    windows: Annotated[
        bool, typer.Option("--windows", help="Fetch only clips around events, with tables for the clips.")
    ] = False,
    margin: Annotated[float, typer.Option(help="Seconds before and after each event, with --windows.", min=0)] = 30.0,
    rename: Annotated[
        list[str] | None, typer.Option(help="Replace a part of the names by another, such as dzan=dz.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Max. number of recordings, the first by name.", min=1)] = None,
) -> None:
    """Download the recordings named in selection tables, or only clips around their events.

    Existing files are checked and not downloaded again. Recordings that are not in the archive are reported, with exit
    code 1.

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
            size = f", {progress.bytes / 1e9:.2f} of {progress.total_bytes / 1e9:.2f} GB" if progress.bytes else ""
            note = f"{progress.recordings}/{progress.total} recordings{size}: {progress.current}"
            bar.update(task, completed=progress.recordings, total=progress.total, note=note)

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
        errors.print(f"note: {sentence}", highlight=False, soft_wrap=True)
    problems = list(summary.problems)
    if missing := summary.missing:
        named = ", ".join(missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
        problems.append(f"{len(missing)} recordings are not in the archive: {named}")
    finish(summary, problems, dest)
