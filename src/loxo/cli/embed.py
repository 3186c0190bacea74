"""`loxo embed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from loxo.cli.app import app, progress_bar
from loxo.cli.shared import finish


@app.command()
def embed(
    paths: Annotated[list[str], typer.Argument(help="Recordings, folders, patterns, lists (.txt), URLs.")],
    out: Annotated[Path, typer.Option(help="File to write: .npz, .csv or .parquet.")],
    model: Annotated[str, typer.Option(help="A bundled model's name or a model file.")] = "default",
    events: Annotated[
        list[Path] | None,
        typer.Option(help="Table of events (repeat it for several): one row for each event, instead of each window."),
    ] = None,
    window_overlap: Annotated[
        float, typer.Option(help="Overlap between consecutive windows, as a fraction.", min=0, max=0.95)
    ] = 0.0,
    runtime: Annotated[
        str, typer.Option(help="Library that computes the network: onnxruntime, openvino, torch or auto.")
    ] = "auto",
) -> None:
    """Write one embedding for each window or event of recordings, for `loxo search` and transfer learning.

    Memory does not grow with the recordings. A recording that cannot be read to its end is named, is left out, and
    makes the exit code 1.

    Example: `loxo embed sd_card/ --out embeddings.npz`
    """
    from loxo.audio.finding import find_recordings
    from loxo.engine.engine import load_engine
    from loxo.errors import LoxoError
    from loxo.survey.embeddings import check_suffix, embed_recordings, events_by_recording

    check_suffix(out)
    todo: list[Any]
    if events:
        todo, sentences = events_by_recording(events, paths)
        if not todo:
            raise LoxoError(f"The tables contain no event of a recording that can be read. {' '.join(sentences)}")
    else:
        found, problems = find_recordings(paths)
        todo, sentences = [(path, None) for path in found], [sentence for _, sentence in problems]
        if not found:
            raise LoxoError(" ".join(sentences) or "No recordings were given.")
    engine = load_engine(model, runtime=runtime)
    with progress_bar("embedding") as (bar, task):

        def on_progress(done: float) -> None:
            bar.update(task, completed=done, total=len(todo), note=f"{int(done)}/{len(todo)} recordings")

        count, rows, faults = embed_recordings(
            todo, engine, out, window_overlap=window_overlap, on_progress=on_progress
        )
        on_progress(len(todo))
    unit = "events" if events else "windows"
    finish(f"{count} recordings, {rows} {unit}", [*sentences, *faults], out)
