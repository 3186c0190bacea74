"""`loxo completion`."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated

import typer

from loxo.cli.app import app

VARIABLE = "_LOXO_COMPLETE"  # the script starts `loxo` with it to get the possible words


class Shell(StrEnum):
    bash = "bash"
    zsh = "zsh"
    fish = "fish"
    powershell = "powershell"


@app.command()
def completion(shell: Annotated[Shell, typer.Argument(help="Your shell.")]) -> None:
    """Print a script that completes commands, options and files with the tab key.

    Start it with your shell: `loxo completion bash >> ~/.bashrc`, `loxo completion zsh >> ~/.zshrc` (after compinit),
    `loxo completion fish > ~/.config/fish/completions/loxo.fish`, `loxo completion powershell >> $PROFILE`.

    Example: `loxo completion bash >> ~/.bashrc`
    """
    from typer.completion import get_completion_script

    typer.echo(get_completion_script(prog_name="loxo", complete_var=VARIABLE, shell=shell.value))


def prepare_completion() -> None:
    """Registers the shells of typer, if a completion script has started this process."""
    if os.environ.get(VARIABLE):
        from typer.completion import completion_init

        completion_init()
