"""The `loxo` command. Each subcommand calls a function with the same parameters, from the file with its name.

Large packages are imported inside the commands, so that `loxo --help` starts quickly. A LoxoError is printed as one
line, with exit code 2. A run with problems has exit code 1; Ctrl-C has 130; a fault of Loxo itself has 70.
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
from loxo.files import write_atomically
from loxo.languages import speaking, system_language, text, translated
from loxo.machine import user_data

FAULT_CODE = 70  # as EX_SOFTWARE of sysexits.h


def main() -> None:
    """Entry point. Errors that users can correct are printed in one line, without a traceback."""
    prepare_completion()
    try:
        app(prog_name="loxo")  # also for `python -m loxo`: the name in completion scripts
    except LoxoError as error:
        with speaking(system_language()):
            sentence = text("error: {sentence}", sentence=translated(str(error)))
        errors.print(sentence, style="red", highlight=False, soft_wrap=True)
        sys.exit(2)
    except Exception as error:
        _report_fault(error)
        sys.exit(FAULT_CODE)


def _report_fault(error: Exception) -> None:
    """Writes the traceback of an unexpected error to a file, and prints what to do with it."""
    import traceback

    details = "".join(traceback.format_exception(error))
    path = user_data() / "fault.txt"
    with speaking(system_language()):
        sentence = text("error: this is a fault of Loxo ({kind}: {error}).", kind=type(error).__name__, error=error)
        report = text("Please report it with the output of `loxo doctor` and the file {path}.", path=path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, details.encode())
        sentence += " " + report
    except OSError:  # a full disk, for example
        print(details, file=sys.stderr)
    errors.print(sentence, style="red", highlight=False, soft_wrap=True)
