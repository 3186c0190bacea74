"""`loxo review`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loxo.cli.app import app, console, errors
from loxo.cli.shared import Certificate, Key, PasswordFile, SelfSigned, print_address, print_note
from loxo.languages import plural, text, translated

if TYPE_CHECKING:
    from loxo.review.session import Session


@app.command()
def review(
    run: Annotated[Path, typer.Argument(help="Run folder of `loxo detect`.")],
    port: Annotated[
        int | None, typer.Option(help="Port of the server; default: 8750, or else any free port.", min=0, max=65535)
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
    host: Annotated[
        str,
        typer.Option(help="Address of the server. With an address other than loopback, other computers have access."),
    ] = ("127.0.0.1"),
    recordings: Annotated[
        str | None,
        typer.Option(help="Folder to search for recordings that were moved, or the address of a server that has them."),
    ] = None,
    sites: Annotated[
        Path | None,
        typer.Option(
            help="Table of sites (CSV). It replaces the one in the run folder, and events.csv is written again. See "
            "docs/detection.md."
        ),
    ] = None,
    reviewer: Annotated[str | None, typer.Option(help="Your name in the decision log; default: the account name.")] = (
        None
    ),
    password_file: PasswordFile = None,
    certificate: Certificate = None,
    key: Key = None,
    self_signed: SelfSigned = False,
    sample: Annotated[
        int | None, typer.Option(help="Start with this number of events per class, over all scores.", min=1)
    ] = None,
    export: Annotated[bool, typer.Option("--export", help="Only write the reviewed tables of all reviewers.")] = False,
) -> None:
    """Confirm and reject the events of a run in a browser; write reviewed tables, thresholds and an estimate.

    Every decision is saved immediately in RUN/review/. The same command resumes the review. Ctrl-C stops it.

    Example: `loxo review runs/march --sample 200`
    """
    if sites is not None:
        from loxo.runs.read import read_run
        from loxo.runs.sites import replace_sites

        for note in [*replace_sites(run, sites), *read_run(run).notes]:
            print_note(note)
    if export:
        from loxo.review.output import export as write

        written = write(run, recordings)
        one, other = "{count} true event of {decided} reviewed", "{count} true events of {decided} reviewed"
        listed = plural(written.events, one, other, count=written.events, decided=written.decided)
        if not written.decided:
            listed = text("Nothing has been reviewed yet, so the tables are empty")
        words = text("{summary}: {place}", summary=listed, place=written.folder)
        console.print(words, highlight=False, soft_wrap=True)
        for warning in written.warnings:
            errors.print(translated(warning), highlight=False, soft_wrap=True)
        if written.warnings:
            raise typer.Exit(1)
        return
    from loxo.review.access import read_access
    from loxo.review.guard import is_loopback
    from loxo.review.server import serve

    access = read_access(host, password_file, certificate, key, self_signed)

    def on_address(address: str) -> None:
        if not is_loopback(host) and access is None:
            errors.print(text("Another computer with this address can open the page. The connection is not encrypted."))
        print_address(address, access)

    def on_open(session: Session) -> None:
        words = text(
            "{n} events, {decided} of them reviewed by {reviewer}: {path}",
            n=len(session.names),
            decided=len(session.decisions),
            reviewer=session.reviewer,
            path=session.log.path,
        )
        console.print(words, highlight=False, soft_wrap=True)

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
        access=access,
    )
