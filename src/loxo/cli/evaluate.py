"""`loxo evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loxo.cli.app import app, console


@app.command()
def evaluate(
    truth: Annotated[list[Path], typer.Option(help="Table, or folder of tables, of true events. May be repeated.")],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Detections: run folders or tables. With --detections these are further truth tables."),
    ] = None,
    detections: Annotated[
        list[Path] | None, typer.Option(help="Run folder or tables of one detector. Repeat it to compare several.")
    ] = None,
    recordings: Annotated[
        Path | None,
        typer.Option(help="Folder of the recordings: for their hours, and spectrograms of the worst errors."),
    ] = None,
    hours: Annotated[float | None, typer.Option(help="Hours searched, where neither run nor recordings tell.")] = None,
    exhaustive: Annotated[
        bool, typer.Option("--exhaustive", help="Recordings that the truth does not name hold no events.")
    ] = False,
    threshold: Annotated[
        float | None,
        typer.Option(help="What is called a detection in precision, recall and errors; all listed by default.", min=0),
    ] = None,
    iou: Annotated[
        list[float], typer.Option(help="Intersection over union that makes a match; the first is the main one.")
    ] = [0.3, 0.5],  # noqa: B006 (typer wants the list itself)
    label: Annotated[str | None, typer.Option(help="Class of the events in tables that name none.")] = None,
    classes: Annotated[str | None, typer.Option(help="Classes to evaluate, by commas; the truth's by default.")] = None,
    ignore: Annotated[
        str, typer.Option(help="Labels of regions in which nothing counts, by commas.")
    ] = "ignore,unknown,unk,?",
    json: Annotated[Path | None, typer.Option(help="Write all figures into this file.")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a page with curves, recordings and the worst errors.")
    ] = None,
) -> None:
    """Score any detector's output against tables of true events, one detector or several side by side.

    Example: `loxo evaluate --truth tables/ --detections runs/march --recordings sd_card/ --html march.html`
    """
    import json as json_module

    from loxo.evaluation.evaluate import evaluate as run
    from loxo.evaluation.terminal import tables
    from loxo.files import write_atomically

    if detections:
        truth = [*truth, *(paths or [])]
    evaluation = run(
        truth,
        detections or paths or [],
        recordings=recordings,
        hours=hours,
        exhaustive=exhaustive,
        threshold=threshold,
        iou=iou,
        label=label,
        classes=_listed(classes),
        ignore=_listed(ignore) or [],
    )
    console.print(tables(evaluation.report), highlight=False)
    if json is not None:
        write_atomically(json, (json_module.dumps(evaluation.report, indent=1) + "\n").encode())
    if html is not None:
        from loxo.evaluation.page import write_page

        write_page(evaluation, html, recordings)


def _listed(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]
