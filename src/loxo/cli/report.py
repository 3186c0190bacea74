"""`loxo report`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from loxo.cli.app import app, console, progress_bar
from loxo.cli.shared import print_note
from loxo.errors import LoxoError
from loxo.files import escape
from loxo.languages import check_language, speak, text


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folder of `loxo detect`, or two to compare.")],
    out: Annotated[
        Path | None, typer.Option(help="Web page to write, .html; default: report.html in the run folder.")
    ] = None,
    coordinates: Annotated[
        str | None,
        typer.Option(help="Coordinates for sunrise and sunset: LAT,LON in degrees. For several sites use --sites."),
    ] = None,
    time_zone: Annotated[
        str | None, typer.Option(help="Time zone of the page, such as Africa/Brazzaville, +01:00 or WAT.")
    ] = None,
    clock_zone: Annotated[
        str | None,
        typer.Option(help="Time zone of the recorders' clocks, if different from --time-zone, such as UTC or +02:00."),
    ] = None,
    sites: Annotated[
        Path | None,
        typer.Option(
            help="Table of sites (CSV) with coordinates and time zones. It replaces the one in the run folder, and "
            "events.csv is written again. See docs/detection.md."
        ),
    ] = None,
    recordings: Annotated[
        str | None,
        typer.Option(help="Folder to search for recordings that were moved, or the address of a server that has them."),
    ] = None,
    figures: Annotated[Path | None, typer.Option(help="Folder for all figures as SVG and PNG.")] = None,
    occasion_hours: Annotated[
        int, typer.Option(help="Length of an occasion of the detection histories: 24 or 168, or a part of a day.")
    ] = 24,
    clips: Annotated[
        bool,
        typer.Option(
            "--clips",
            help="Also write each listed event as a WAV, as a WAV eight times faster, and as a spectrogram, into a "
            "folder beside the page. The same command continues after an interruption.",
        ),
    ] = False,
    language: Annotated[
        str | None,
        typer.Option(help="Language of the page: en or fr. Default: that of the system, or of the app."),
    ] = None,
    standards: Annotated[
        bool, typer.Option("--standards", help="Also write the events as Audiovisual Core and as AOEF (whombat).")
    ] = False,
) -> None:
    """Summarise a run: effort, rates, activity by date and hour, events to check. Or compare two runs.

    Writes one web page that works without a network, and CSV tables in the same folder, also for papers. The true
    numbers are stated only after a review.

    Example: `loxo report runs/march --coordinates 2.2,16.5 --time-zone Africa/Brazzaville`
    """
    if language is not None:
        speak(check_language(language))
    if len(runs) > 2:
        raise LoxoError(f"{len(runs)} runs were given. Give one run for a report, or two to compare them.")
    if len(runs) == 2:
        from loxo.report.compare import compare

        if coordinates is not None or sites is not None:
            raise LoxoError("A comparison of two runs uses no coordinates. Leave out --coordinates and --sites.")
        if standards or clips or occasion_hours != 24:
            raise LoxoError("A comparison of two runs writes no events, no clips and no histories. Give one run.")
        result = compare(
            runs[0], runs[1], out, time_zone=time_zone, clock_zone=clock_zone, recordings=recordings, figures=figures
        )
    else:
        from loxo.report.report import report as make

        with progress_bar(text("clips")) if clips else nullcontext() as progress:

            def on_progress(done: int, total: int) -> None:
                if progress is not None:
                    bar, task = progress
                    bar.update(task, completed=done, total=total, note=text("{n}/{total} events", n=done, total=total))

            result = make(
                runs[0],
                out,
                coordinates=coordinates,
                time_zone=time_zone,
                clock_zone=clock_zone,
                sites=sites,
                recordings=recordings,
                figures=figures,
                occasion_hours=occasion_hours,
                standards=standards,
                clips=clips,
                on_progress=on_progress,
            )
    for note in result.notes:
        print_note(note, "yellow")
    for sentence in result.counts:
        console.print(escape(sentence), highlight=False, soft_wrap=True)
    console.print(text("the report was written to {path}", path=result.page), highlight=False, soft_wrap=True)
    if result.clips is not None:
        console.print(text("the clips were written to {path}", path=result.clips), highlight=False, soft_wrap=True)
