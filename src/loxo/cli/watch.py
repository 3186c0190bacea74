"""`loxo watch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from loxo.cli.app import app, console
from loxo.cli.shared import (
    COMPUTATION,
    Format,
    KeepScores,
    Model,
    NamePattern,
    Runtime,
    Sites,
    Threshold,
    TimeZone,
    WindowOverlap,
    given_threshold,
    log_line,
    print_problems,
)
from loxo.engine.windows import WINDOW_OVERLAP
from loxo.machine import gc_paused

AlertsFile = Annotated[
    Path | None, typer.Option("--alerts", help="File with rules and receivers of alerts (TOML). See docs/live.md.")
]


@app.command()
def watch(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder in which recordings appear, with its subfolders.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder for tables, events.csv and run.json. The same command resumes it.")
    ] = None,
    alerts: AlertsFile = None,
    test_alerts: Annotated[
        bool, typer.Option("--test-alerts", help="Send a test message to each receiver of --alerts, and exit.")
    ] = False,
    settle_seconds: Annotated[
        float,
        typer.Option(
            help="A recording that has not changed for this long, and is as long as its header states, is complete.",
            min=0.1,
        ),
    ] = 10.0,
    complete_after_minutes: Annotated[
        float,
        typer.Option(help="A recording that has not changed for this long is complete in any case.", min=0.01),
    ] = 10.0,
    model: Model = "default",
    threshold: Threshold = None,
    format: Format = "raven",
    name_pattern: NamePattern = None,
    time_zone: TimeZone = None,
    sites: Sites = None,
    keep_scores: KeepScores = False,
    channel: Annotated[str, typer.Option(help="Channel to search, from 1; mix or each, as in `loxo detect`.")] = "mix",
    window_overlap: WindowOverlap = WINDOW_OVERLAP,
    workers: Annotated[int, typer.Option(help="Processes.", min=1, rich_help_panel=COMPUTATION)] = 1,
    runtime: Runtime = "auto",
) -> None:
    """Search recordings as they appear in a folder, until Ctrl-C; send alerts.

    Recordings may be copied, synchronised or still growing. The run folder is one of `loxo detect`: review and report
    work on it at any time.

    Example: `loxo watch /srv/incoming --out runs/live --alerts alerts.toml`
    """
    from loxo.audio.filenames import Names
    from loxo.errors import LoxoError

    with gc_paused():
        from loxo.live.alerts import Alerts, send_test
        from loxo.live.rules import read_alert_config
        from loxo.live.watch import watch as run

    config = None if alerts is None else read_alert_config(alerts)
    if test_alerts:
        if config is None:
            raise LoxoError("--test-alerts needs the file of receivers: give --alerts FILE.")
        problems = send_test(config)
        print_problems(problems)
        console.print(f"{len(config.sinks) - len(problems)} of {len(config.sinks)} receivers accepted the message")
        raise typer.Exit(1 if problems else 0)
    if folder is None or out is None:
        raise LoxoError("Give the folder to watch and the run folder: loxo watch FOLDER --out RUN.")
    made: list[Any] = []

    def alerter(folder: Any) -> Any:
        made.append(Alerts(folder, config, log_line) if config is not None else None)
        return made[0]

    log_line(f"{folder} is watched; events go to {out}. Press Ctrl-C to end.")
    try:
        run(
            folder,
            model,
            out,
            threshold=given_threshold(threshold),
            window_overlap=window_overlap,
            channel=channel,
            workers=workers,
            keep_scores=keep_scores,
            formats=format,
            names=Names(name_pattern, time_zone),
            sites=sites,
            runtime=runtime,
            settle_s=settle_seconds,
            complete_after_s=60 * complete_after_minutes,
            alerter=alerter,
            on_note=log_line,
        )
    finally:
        for one in filter(None, made):
            one.close()
