"""`loxo demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loxo.cli.app import app, console


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the soundscape, the tables and the picture.")] = Path("demo"),
    model: Annotated[str, typer.Option(help="Name of a bundled model, or a model file.")] = "default",
    seed: Annotated[int, typer.Option(help="Seed of the soundscape.")] = 0,
) -> None:
    """Simulate a short soundscape with known calls, detect events in it, and draw found and missed calls.

    Example: `loxo demo --out demo`
    """
    from loxo.demo import run_demo

    result = run_demo(out, model=model, seed=seed)
    for line in result.lines:
        console.print(line, highlight=False)
    console.print(f"the picture is {result.picture}", highlight=False, soft_wrap=True)
