"""`loxo convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loxo.cli.app import app, console
from loxo.errors import LoxoError
from loxo.installation import install_extra


@app.command()
def convert(
    checkpoint: Annotated[
        Path, typer.Argument(help="HTS-AT, Swin, CLAP or AST checkpoint: .ckpt, .pth, .bin, .safetensors.")
    ],
    out: Annotated[Path, typer.Option(help="Model file to write.")],
    preset: Annotated[
        str | None, typer.Option(help="Preset of the model; by default detected from the checkpoint.")
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(help="Class names, separated by commas. A different number of classes starts with a new head."),
    ] = None,
) -> None:
    """Convert a published checkpoint to a model file. Only tensors are read; code in the file is never executed.

    Needs the extra `train`.

    Example: `loxo convert HTSAT_AudioSet_Saved_1.ckpt --out audioset.safetensors`
    """
    try:
        from loxo.network.foreign.checkpoints import convert_checkpoint
    except ModuleNotFoundError as error:
        raise LoxoError(f"Conversion needs {error.name}. Install it: {install_extra('train')}") from error

    names = None if classes is None else tuple(name.strip() for name in classes.split(","))
    report = convert_checkpoint(checkpoint, out, preset=preset, classes=names)
    note = "this model has no graph, so detection with it needs PyTorch, too"
    console.print(f"{report}\nthe model was written to {out}\n{note}", highlight=False, soft_wrap=True)
