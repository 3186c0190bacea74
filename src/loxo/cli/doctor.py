"""`loxo doctor`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from loxo.cli.app import app, console


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Check this installation: packages, speed, disk, clock, audio formats. Paste the output into an issue.

    It contains no name of a user or a recording. The exit code is 1 if there is a problem.

    Example: `loxo doctor`
    """
    from loxo.doctor import diagnose

    found = diagnose()
    text = json.dumps(found.to_dict(), indent=1) if as_json else str(found)
    console.print(text, highlight=False, soft_wrap=True)
    if found.problems:
        raise typer.Exit(1)
