"""Objects shared by the commands: the app that they register with, two consoles, and the progress bar."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from loxo.cli.words import Command, Group
from loxo.errors import LoxoError
from loxo.files import without_fsync, write_atomically
from loxo.languages import mark, speak, system_language, text

PROGRESS_FILE = "LOXO_PROGRESS"  # environment variable: a file for the progress of a command
PROGRESS_INTERVAL_S = 0.5

# Commands that print in the language of the system. Errors and help of all others are in it too.
TRANSLATED = ("app", "detect", "decode", "review", "report", "calibrate")
AFTER_CTRL_C = {
    "detect": mark(": the same command resumes the run"),
    "decode": ": the same command resumes the run",
    "watch": ": the same command resumes the run",
    "listen": ": the same command resumes the run",
    "fetch": ": the same command resumes the fetch",
    "train": ": the same command with --resume resumes the training",
    "adapt": ": the same command with --resume resumes the adaptation",
    "simulate": ": empty the folder before you start again",
}


ORDER = (  # order of the commands in the help, as users need them
    *("app", "demo", "detect", "decode", "score", "watch", "listen", "review", "report", "show", "evaluate"),
    *("train", "adapt", "calibrate", "embed", "search", "fetch", "simulate", "info", "export", "convert"),
    *("doctor", "completion"),
)


class _Commands(Group):
    """Prints after Ctrl-C how to resume a command; typer alone prints only that it was aborted."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(self.commands, key=ORDER.index)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            after = AFTER_CTRL_C.get(ctx.invoked_subcommand or "")
            errors.print(text("interrupted") + (text(after) if after else ""), style="yellow")
            raise typer.Exit(130) from None


class _App(typer.Typer):
    def command(self, *arguments: Any, **settings: Any) -> Any:
        return super().command(*arguments, cls=Command, **settings)


app = _App(
    name="loxo",
    cls=_Commands,
    help="Detects elephant rumbles and gunshots in months of field recordings.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
console = Console(markup=False, emoji=False)  # names of users may look like markup, and :ab: like an emoji
errors = Console(stderr=True, markup=False, emoji=False)


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from loxo import __version__

        console.print(f"loxo {__version__}", highlight=False)
        raise typer.Exit
    if context.invoked_subcommand is None:
        raise typer.Exit
    if context.invoked_subcommand in TRANSLATED:
        speak(system_language())


@contextmanager
def progress_bar(unit: str) -> Iterator[tuple[Progress, TaskID]]:
    """Shows a progress bar on stderr with the description `unit`, and a text column that the command updates."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    file = os.environ.get(PROGRESS_FILE)
    kind = Progress if file is None else _FileProgress
    with kind(*columns, console=errors, transient=False) as bar:
        yield bar, bar.add_task(unit, total=None, note="")


class _FileProgress(Progress):
    """A progress bar that also writes its state as JSON into the file that PROGRESS_FILE names, for other programs:
    `unit`, `completed`, `total`, `note`, and all fields that the command gives, such as those of SurveyProgress."""

    written_at = 0.0

    def update(self, task_id: TaskID, **fields: Any) -> None:
        super().update(task_id, **fields)
        task = self.tasks[task_id]
        is_end = task.total is not None and task.completed >= task.total
        if not is_end and time.monotonic() - self.written_at < PROGRESS_INTERVAL_S:
            return
        self.written_at = time.monotonic()
        state = {"unit": task.description, "completed": task.completed, "total": task.total, **task.fields}
        # Written without fsync: a lost file is written again within a second.
        with without_fsync(), suppress(LoxoError):  # progress never stops a command
            write_atomically(Path(os.environ[PROGRESS_FILE]), json.dumps(state).encode())
