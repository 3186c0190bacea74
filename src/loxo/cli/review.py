"""`loxo review`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loxo.cli.app import app, console, errors

if TYPE_CHECKING:
    from loxo.review.session import Session


@app.command()
def review(
    run: Annotated[Path, typer.Argument(help="Run folder of `loxo detect`.")],
    port: Annotated[
        int | None, typer.Option(help="Port to listen on (default: 8750, or any free one).", min=0, max=65535)
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Other computers can connect to any address except loopback.")
    ] = ("127.0.0.1"),
    recordings: Annotated[
        Path | None, typer.Option(help="Folder in which moved recordings are found by their names.")
    ] = None,
    reviewer: Annotated[
        str | None, typer.Option(help="Your name in the decision log (default: the name of your account).")
    ] = (None),
    sample: Annotated[
        int | None,
        typer.Option(help="Start with a sample of this many events of each class, spread over all scores.", min=1),
    ] = None,
    export: Annotated[bool, typer.Option("--export", help="Only write the reviewed tables of all reviewers.")] = False,
) -> None:
    """Confirm and reject a run's events in a browser. Then write reviewed tables, thresholds and an estimate.

    Every decision is written to RUN/review/ at once. The same command resumes the review. Ctrl-C stops it.

    Example: `loxo review runs/march --sample 200`
    """
    if export:
        from loxo.review.output import export as write

        written = write(run, recordings)
        listed = f"{written.events} true event{'' if written.events == 1 else 's'} of {written.decided} reviewed"
        if not written.decided:
            listed = "Nothing has been reviewed yet, so the tables contain no event"
        console.print(
            f"{listed}: {written.folder}",
            highlight=False,
            soft_wrap=True,
        )
        return
    from loxo.review.guard import is_loopback
    from loxo.review.server import serve

    def on_address(address: str) -> None:
        if not is_loopback(host):
            errors.print("Other computers can open this page with its token. The connection is not encrypted.")
        console.print(f"Open {address} (Ctrl-C stops the server)", markup=False, highlight=False, soft_wrap=True)

    def on_open(session: Session) -> None:
        console.print(
            f"{len(session.names)} events, {len(session.decisions)} of them decided by {session.reviewer}: "
            f"{session.log.path}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )

    serve(
        run,
        host=host,
        port=port,
        browser=browser,
        recordings=recordings,
        reviewer=reviewer,
        sample=sample,
        on_address=on_address,
        on_open=on_open,
    )
