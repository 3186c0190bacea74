"""`loxo embed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loxo.cli.app import app, console, errors, progress_bar


@app.command()
def embed(
    paths: Annotated[list[str], typer.Argument(help="Recordings, folders, patterns, lists (.txt), URLs.")],
    out: Annotated[Path, typer.Option(help="File to write: .npz, .csv or .parquet.")],
    model: Annotated[str, typer.Option(help="A bundled model's name or a model file.")] = "default",
    window_overlap: Annotated[
        float, typer.Option(help="Overlap between consecutive windows, as a fraction.", min=0, max=0.95)
    ] = 0.0,
    runtime: Annotated[
        str, typer.Option(help="Library that computes the network: onnxruntime, openvino, torch or auto.")
    ] = "auto",
) -> None:
    """Write one embedding for each window of recordings, for clustering and transfer learning.

    A recording that cannot be read to its end is named, is left out, and makes the exit code 1.

    Example: `loxo embed sd_card/ --out embeddings.npz`
    """
    import pandas as pd

    from loxo.audio.finding import find_recordings
    from loxo.detection.embed import check_suffix, write_embeddings
    from loxo.detection.embed import embed as embed_one
    from loxo.engine.engine import load_engine
    from loxo.errors import LoxoError, with_path
    from loxo.files import escape

    check_suffix(out)
    found, problems = find_recordings(paths)
    sentences = [sentence for _, sentence in problems]
    if not found:
        raise LoxoError(" ".join(sentences) or "No recordings were given.")
    engine = load_engine(model, runtime=runtime)
    tables = []
    with progress_bar("embedding") as (bar, task):
        for k, path in enumerate(found):
            bar.update(task, completed=k, total=len(found), note=f"{k}/{len(found)} recordings")

            def on_progress(done_s: float, total_s: float, k: int = k) -> None:
                bar.update(task, completed=k + done_s / total_s)

            try:
                tables.append(embed_one(path, engine, window_overlap=window_overlap, progress=on_progress))
            except LoxoError as error:
                sentences.append(with_path(path, str(error)))
        bar.update(task, completed=len(found), note=f"{len(found)}/{len(found)} recordings")
    for sentence in sentences:
        errors.print(escape(f"problem: {sentence}"), style="yellow", markup=False, highlight=False, soft_wrap=True)
    if not tables:
        raise LoxoError("None of the recordings could be read; nothing was written.")
    table = pd.concat(tables, ignore_index=True)
    write_embeddings(table, out)
    console.print(f"{len(tables)} recordings, {len(table)} windows: {out}", highlight=False, soft_wrap=True)
    if sentences:
        raise typer.Exit(1)
