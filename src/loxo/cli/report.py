"""`loxo report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loxo.cli.app import app, console, errors
from loxo.errors import LoxoError


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="A run folder of `loxo detect`, or two to compare.")],
    out: Annotated[Path | None, typer.Option(help="The page, .html (default: report.html in the run folder).")] = None,
    coordinates: Annotated[
        str | None, typer.Option(help="For sunrise and sunset: LAT,LON in degrees, or a CSV with site, lat, lon.")
    ] = None,
    time_zone: Annotated[
        str | None, typer.Option(help="Zone of the times on the page: Africa/Brazzaville, +01:00, UTC.")
    ] = None,
    clock_zone: Annotated[
        str | None, typer.Option(help="Zone of the recorders' clocks, if it differs from --time-zone: UTC, +02:00.")
    ] = None,
    recordings: Annotated[
        Path | None, typer.Option(help="Folder in which moved recordings are found by their names.")
    ] = None,
    figures: Annotated[Path | None, typer.Option(help="Folder for each figure as SVG and PNG.")] = None,
) -> None:
    """Summarise a run: effort, rates, activity by date and hour, example events. Or compare two runs.

    Writes one web page that needs no network, and tables (CSV) next to it.

    Example: `loxo report runs/march --coordinates 2.2,16.5 --time-zone Africa/Brazzaville`
    """
    if len(runs) > 2:
        raise LoxoError(f"Give one run, or two runs to compare, not {len(runs)}.")
    if len(runs) == 2:
        from loxo.report.compare import compare

        if coordinates is not None:
            raise LoxoError("A comparison shows no sunrise. Leave --coordinates out.")
        result = compare(
            runs[0], runs[1], out, time_zone=time_zone, clock_zone=clock_zone, recordings=recordings, figures=figures
        )
    else:
        from loxo.report.report import report as make

        result = make(
            runs[0],
            out,
            coordinates=coordinates,
            time_zone=time_zone,
            clock_zone=clock_zone,
            recordings=recordings,
            figures=figures,
        )
    for note in result.notes:
        errors.print(f"note: {note}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    console.print(f"The report is {result.page}", markup=False, highlight=False, soft_wrap=True)
