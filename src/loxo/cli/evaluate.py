"""`loxo evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loxo.cli.annotations import LabelColumnOption, LabelOption, LabelsOption, RenameOption, SearchedOption, pairs
from loxo.cli.app import app, console


@app.command()
def evaluate(
    truth: Annotated[list[Path], typer.Option(help="Table, or folder of tables, with true events. May be repeated.")],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Detections: run folders or tables. With --detections, further tables with true events."),
    ] = None,
    detections: Annotated[
        list[Path] | None,
        typer.Option(help="Run folder or tables of one detector. Repeat it to compare several detectors."),
    ] = None,
    recordings: Annotated[
        Path | None,
        typer.Option(help="Folder with the recordings, for their durations and for spectrograms of the worst errors."),
    ] = None,
    hours: Annotated[
        float | None, typer.Option(help="Analysed hours, if neither run folder nor recordings are given.")
    ] = None,
    exhaustive: Annotated[
        bool, typer.Option("--exhaustive", help="Assume no events in recordings that the tables do not contain.")
    ] = False,
    threshold: Annotated[
        float | None,
        typer.Option(help="Min. score of detections for precision, recall and errors; default: all detections.", min=0),
    ] = None,
    iou: Annotated[
        list[float], typer.Option(help="Min. intersection over union of a match; the first value is the main one.")
    ] = [0.3, 0.5],  # noqa: B006 (typer needs a list)
    label: LabelOption = None,
    label_column: LabelColumnOption = None,
    labels: LabelsOption = None,
    rename: RenameOption = None,
    searched: SearchedOption = None,
    classes: Annotated[
        str | None,
        typer.Option(help="Classes to evaluate, separated by commas; default: the classes of the true events."),
    ] = None,
    ignore: Annotated[
        str, typer.Option(help="Labels of regions that are not evaluated, separated by commas.")
    ] = "ignore,unknown,unk,?",
    json: Annotated[Path | None, typer.Option(help="Write all results to this file.")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a web page with curves, recordings and the worst errors.")
    ] = None,
) -> None:
    """Evaluate the detections of one or more detectors against tables of true events.

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
        label_column=label_column,
        labels=pairs(labels, "--labels"),
        rename=pairs(rename, "--rename"),
        searched=searched or (),
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
