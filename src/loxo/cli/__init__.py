"""The `loxo` command: each subcommand is a thin shell over a function with the same parameters, in a file of its name.

Heavy imports stay inside the commands, so that `loxo --help` answers at once. A LoxoError becomes one line on the
terminal and exit code 2; a run that had to leave something out ends with exit code 1; Ctrl-C with 130.
"""

from __future__ import annotations

import sys

from loxo.cli import (  # noqa: F401 (a command is there once imported)
    calibrate,
    convert,
    decode,
    demo,
    detect,
    embed,
    evaluate,
    fetch,
    info,
    report,
    review,
    score,
    show,
    simulate,
    train,
)
from loxo.cli.app import app, errors
from loxo.errors import LoxoError


def main() -> None:
    """Entry point: what a user did wrong is told in one line, never as a traceback."""
    try:
        app()
    except LoxoError as error:
        errors.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
