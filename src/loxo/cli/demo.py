"""`loxo demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loxo.cli.app import app, console, progress_bar


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the soundscape, the picture and the run.")] = Path("demo"),
    model: Annotated[str, typer.Option(help="Name of a bundled model, or a model file.")] = "default",
    seed: Annotated[int, typer.Option(help="Seed of the soundscape.")] = 0,
) -> None:
    """Simulate two minutes with known calls, detect them, and show what was found, what was missed, and why.

    Example: `loxo demo --out demo`
    """
    with progress_bar("starting") as (bar, task):
        from loxo.demo import STEPS, run_demo  # imports take seconds on a slow computer

        def on_progress(done: int, name: str) -> None:
            bar.update(task, completed=done, total=len(STEPS), description=name)

        result = run_demo(out, model=model, seed=seed, on_progress=on_progress)
    for line in result.lines:
        console.print(line, highlight=False, soft_wrap=True)
    console.print(f"picture  {result.picture}", highlight=False, soft_wrap=True)
    console.print(f"page     {result.page}", highlight=False, soft_wrap=True)
    console.print(f"next     loxo review {result.page.parent}", highlight=False, soft_wrap=True)
