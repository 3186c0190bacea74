"""`loxo show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loxo.cli.app import app, console


@app.command()
def show(
    recording: Annotated[Path, typer.Argument(help="Recording to show.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Picture to write: .png, .svg or .pdf; default: the name of the recording with .png."),
    ] = None,
    start: Annotated[float, typer.Option(help="Seconds from the start of the recording.", min=0)] = 0.0,
    duration: Annotated[float | None, typer.Option(help="Seconds to show; default: at most 120.")] = None,
    events: Annotated[
        Path | None, typer.Option(help="Raven table or events.csv to draw instead of detections.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="Name of a bundled model, a model file, or `none` for no scores.")
    ] = "default",
    band: Annotated[str | None, typer.Option(help="low (0-250 Hz) or full; default: both.")] = None,
) -> None:
    """Draw an excerpt of a recording: spectrogram, events, and the model's scores.

    Example: `loxo show nn01a_20180126_000000.wav --start 480 --duration 60 --out rumble.png`
    """
    from loxo.report.show import show as draw

    shown = draw(recording, out, start=start, duration=duration, events=events, model=model, band=band)
    plural = "" if shown.events == 1 else "s"
    span = f"{shown.start_s:g}-{shown.end_s:g} of {shown.duration_s:g} s"
    console.print(f"{shown.picture}: {span}, {shown.events} event{plural}", highlight=False, soft_wrap=True)
