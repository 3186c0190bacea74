"""The `loxo` command. Each subcommand calls a function with the same parameters, from the file with its name.

Large packages are imported inside the commands, so that `loxo --help` starts quickly. A LoxoError is printed as one
line, with exit code 2. A run with problems has exit code 1; Ctrl-C has 130.
"""

from __future__ import annotations

import sys

from loxo.cli import (  # noqa: F401 (the import registers the command)
    adapt,
    calibrate,
    completion,
    convert,
    decode,
    demo,
    detect,
    doctor,
    embed,
    evaluate,
    export,
    fetch,
    info,
    listen,
    open_app,
    report,
    review,
    score,
    search,
    show,
    simulate,
    train,
    watch,
)
from loxo.cli.app import app, errors
from loxo.cli.completion import prepare_completion
from loxo.errors import LoxoError
from loxo.languages import text, translated


def main() -> None:
    """Entry point. Errors that users can correct are printed in one line, without a traceback."""
    prepare_completion()
    try:
        app(prog_name="loxo")  # also for `python -m loxo`: the name in completion scripts
    except LoxoError as error:
        sentence = text("error: {sentence}", sentence=translated(str(error)))
        errors.print(sentence, style="red", highlight=False, soft_wrap=True)
        sys.exit(2)
