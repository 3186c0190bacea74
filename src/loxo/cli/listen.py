"""`loxo listen`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from loxo.cli.app import app, console
from loxo.cli.shared import (
    Format,
    Model,
    Runtime,
    Sites,
    Threshold,
    WindowOverlap,
    given_threshold,
    log_line,
)
from loxo.cli.watch import AlertsFile
from loxo.engine.windows import WINDOW_OVERLAP
from loxo.machine import gc_paused

SOUND, KEPT = "Sound", "Recordings"  # headings in the help


@app.command()
def listen(
    source: Annotated[
        str,
        typer.Argument(
            help="- (raw samples on the standard input), a named pipe, mic or mic:NAME (a microphone), or an http:// "
            "or rtsp:// address."
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Run folder for recordings, tables and run.json. The same command resumes it.")
    ],
    site: Annotated[str, typer.Option(help="Name of the site, in the names of recordings.")] = "live",
    alerts: AlertsFile = None,
    delay: Annotated[
        float,
        typer.Option(
            help="Seconds from the end of an event to its announcement. Below 20, more computation and lower recall.",
            min=0,
        ),
    ] = 20.0,
    rate: Annotated[
        int, typer.Option(help="Sample rate of raw samples or the microphone, Hz.", rich_help_panel=SOUND)
    ] = (4000),
    sample_format: Annotated[
        str, typer.Option(help="Format of raw samples, as in arecord: S16_LE, S32_LE, FLOAT_LE.", rich_help_panel=SOUND)
    ] = "S16_LE",
    channels: Annotated[int, typer.Option(help="Channels of raw samples.", min=1, rich_help_panel=SOUND)] = 1,
    channel: Annotated[int, typer.Option(help="Channel to search, from 1.", min=1, rich_help_panel=SOUND)] = 1,
    keep: Annotated[
        str, typer.Option(help="What is kept: all recordings, events (a clip of each), none.", rich_help_panel=KEPT)
    ] = "all",
    budget_gb: Annotated[
        float | None,
        typer.Option(
            help="Room for recordings, in GB. The oldest are removed first; confirmed events stay.",
            min=0,
            rich_help_panel=KEPT,
        ),
    ] = None,
    recording_minutes: Annotated[
        float, typer.Option(help="Length of the recordings.", min=0.1, rich_help_panel=KEPT)
    ] = 60.0,
    model: Model = "default",
    threshold: Threshold = None,
    format: Format = "raven",
    sites: Sites = None,
    window_overlap: WindowOverlap = WINDOW_OVERLAP,
    runtime: Runtime = "onnxruntime",
) -> None:
    """Search live sound, record it, and send alerts, until the source ends or Ctrl-C.

    Example: `arecord -f S16_LE -r 4000 -t raw | loxo listen - --out runs/clearing --site clearing --alerts alerts.toml`
    """
    with gc_paused():
        from loxo.live.alerts import Alerts
        from loxo.live.listen import listen as run
        from loxo.live.rules import read_alert_config
        from loxo.live.sources import open_source

    config = None if alerts is None else read_alert_config(alerts)

    def confirmed(folder: Path) -> dict[str, str]:
        from loxo.review.confirmed import confirmed_events

        return confirmed_events(folder)

    def make_alerts(folder: Any) -> Any:
        return None if config is None else Alerts(folder, config, log_line)

    status = run(
        open_source(source, rate, sample_format, channels, channel),
        model,
        out,
        site=site,
        threshold=given_threshold(threshold),
        window_overlap=window_overlap,
        delay_s=delay,
        segment_minutes=recording_minutes,
        keep=keep,
        budget_gb=budget_gb,
        formats=format,
        sites=sites,
        runtime=runtime,
        alerts=make_alerts,
        confirmed=confirmed,
        on_note=log_line,
    )
    hours = status.samples / max(status.rate, 1) / 3600
    console.print(f"{hours:.2f} hours, {status.announced} announced events, {status.gaps} gaps: {out}", highlight=False)
