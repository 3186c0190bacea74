"""`loxo export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loxo.cli.app import app, console


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="Name of a bundled model, or a model file.")],
    int8: Annotated[
        bool,
        typer.Option("--int8", help="8-bit linear layers, for ARM CPUs: a smaller graph, with slightly other scores."),
    ] = False,
    whole: Annotated[
        bool,
        typer.Option(
            "--whole", help="Graph from waveform to probabilities, with the front end, for programs without Loxo."
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Copy of the model file, with the graph beside it. Default with --int8: MODEL-int8. With --whole: the "
            "graph; default: MODEL-whole.onnx."
        ),
    ] = None,
) -> None:
    """Write the graph of a model (ONNX) beside its file. Detection without PyTorch needs it.

    Training writes it too. This command needs PyTorch, from the extra `train`.

    Example: `loxo export model.safetensors`
    """
    if whole:
        from loxo.errors import LoxoError
        from loxo.network.whole import export_whole

        if int8:
            raise LoxoError("--whole cannot be combined with --int8. Leave out one of them.")
        path = export_whole(model, out)
        console.print(f"the whole graph was written to {path}", highlight=False, soft_wrap=True)
        return

    from loxo.network.graph import check_bundled, export_graph

    if int8:
        from loxo.training.int8 import export_int8

        path = export_int8(model, out)
    else:
        if out is None:
            check_bundled(model)
        path = export_graph(model, out)
    console.print(f"the graph was written to {path}", highlight=False, soft_wrap=True)
    if path.stem != Path(model).stem or out is not None:
        name = path.with_suffix(".safetensors")
        console.print(f"detect with it: loxo detect --model {name}", highlight=False, soft_wrap=True)
