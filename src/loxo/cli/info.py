"""`loxo info`."""

from __future__ import annotations

from typing import Annotated

import typer

from loxo.cli.app import app, console


@app.command()
def info(
    model: Annotated[str, typer.Argument(help="Name of a bundled model, or a model file.")] = "default",
) -> None:
    """Print a model's size, operations, time resolution, receptive field, config and provenance.

    Size, operations and receptive field need the extra `train`.

    Example: `loxo info default`
    """
    from loxo.engine.info import model_info

    console.print(str(model_info(model)), highlight=False, soft_wrap=True)
