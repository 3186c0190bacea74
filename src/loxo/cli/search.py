"""`loxo search`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loxo.cli.app import app, console
from loxo.cli.shared import finish


@app.command()
def search(
    embeddings: Annotated[Path, typer.Argument(help="File of loxo embed: .npz or .parquet.")],
    out: Annotated[Path, typer.Option(help="Selection table to write (.txt), or .csv.")],
    example: Annotated[
        list[str] | None,
        typer.Option(
            help="Table of events, a sound file that is not longer than a window, a folder of them, or embeddings of "
            "events. Repeat it for several."
        ),
    ] = None,
    negatives: Annotated[
        list[str] | None,
        typer.Option(help="Examples of other sounds, as --example: a linear head is fitted to both kinds."),
    ] = None,
    recordings: Annotated[
        list[str] | None, typer.Option(help="Recordings or folders with the recordings that the tables name.")
    ] = None,
    head: Annotated[Path | None, typer.Option(help="Saved head, instead of examples.")] = None,
    save_head: Annotated[Path | None, typer.Option(help="File for the fitted head (.json).")] = None,
    scores: Annotated[Path | None, typer.Option(help="CSV file for the scores of all windows.")] = None,
    hits: Annotated[int, typer.Option(help="Largest number of hits.", min=1)] = 100,
    threshold: Annotated[float, typer.Option(help="Lowest score of a hit.", min=0, max=1)] = 0.0,
    model: Annotated[str, typer.Option(help="The model of the embeddings.")] = "default",
    runtime: Annotated[
        str, typer.Option(help="Library that computes the network: onnxruntime, openvino, torch or auto.")
    ] = "auto",
) -> None:
    """Find the windows that are most like examples, in embeddings of a survey.

    Without --negatives, the score is the cosine similarity to the nearest example. Windows that overlap are one hit.

    Example: `loxo search survey.npz --example trumpets.txt --recordings sd_card/ --out hits.txt`
    """
    from loxo.errors import LoxoError
    from loxo.events.raven import write_raven
    from loxo.events.writers import WRITERS
    from loxo.survey.search import search as run

    if out.suffix not in (".txt", ".csv"):
        raise LoxoError(f"{out}: hits are written as .txt (a selection table) or .csv. Give a name that ends so.")
    found = run(
        embeddings,
        example or (),
        recordings=recordings or (),
        negatives=negatives or (),
        head=head,
        model=model,
        runtime=runtime,
        hits=hits,
        threshold=threshold,
        save_head=save_head,
        scores_out=scores,
    )
    if out.suffix == ".csv":
        WRITERS["csv"].write(found.events, out)
    else:
        write_raven(found.events, out, durations=found.durations)
    if found.head is not None and save_head is not None:
        console.print(f"the head was written to {save_head}", highlight=False, soft_wrap=True)
    finish(found, found.problems, out)
