"""`loxo simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from loxo.cli.app import app, console, progress_bar


@app.command()
def simulate(
    hours: Annotated[float, typer.Option(help="Total duration in hours.", min=0.001)],
    out: Annotated[
        Path, typer.Option(help="Folder for recordings, tables of true events and simulation.json; new or empty.")
    ],
    seed: Annotated[int, typer.Option(help="The same seed gives the same files.")] = 0,
    backgrounds: Annotated[
        Path | None,
        typer.Option(help="Recordings without calls: a folder, a text file with paths, or a manifest.csv."),
    ] = None,
    sample_rate: Annotated[int, typer.Option(help="Sample rate of the recordings in Hz.", min=1000)] = 4000,
    file_hours: Annotated[float, typer.Option(help="Duration of one recording in hours.", min=0.001)] = 1.0,
    audio_format: Annotated[str, typer.Option("--format", help="File format: flac or wav.")] = "flac",
    site: Annotated[
        str | None, typer.Option(help="Site in the recordings' names, different for each survey; default: sim01a.")
    ] = None,
    rumbles_per_hour: Annotated[
        float | None, typer.Option(help="Mean rate per hour; default: as in a forest survey.")
    ] = None,
    gunshots_per_hour: Annotated[
        float | None, typer.Option(help="Mean rate per hour; default: as in a forest survey.")
    ] = None,
) -> None:
    """Simulate recordings with known rumbles and gunshots.

    Example: `loxo simulate --hours 24 --file-hours 24 --out survey --seed 1`
    """
    from loxo.simulation.simulate import simulate as run

    with progress_bar("simulating") as (bar, task):

        def on_progress(done_s: float, total_s: float) -> None:
            bar.update(task, completed=done_s, total=total_s, note=f"{done_s / 3600:.1f} of {total_s / 3600:.1f} h")

        rates = {"rumbles_per_hour": rumbles_per_hour, "gunshots_per_hour": gunshots_per_hour}
        others: dict[str, Any] = {**rates, "site": site}
        truth = run(
            out,
            hours,
            seed,
            backgrounds=backgrounds,
            sample_rate=sample_rate,
            file_hours=file_hours,
            format=audio_format,
            on_progress=on_progress,
            **{name: value for name, value in others.items() if value is not None},
        )
    counts = truth["label"].value_counts()
    console.print(f"{out}: {hours:g} h with {counts.get('rumble', 0)} rumbles and {counts.get('gunshot', 0)} gunshots")
