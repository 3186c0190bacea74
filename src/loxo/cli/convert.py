"""`loxo convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loxo.cli.app import app, console


@app.command()
def convert(
    checkpoint: Annotated[Path, typer.Argument(help="HTS-AT, Swin, CLAP or AST: .ckpt, .pth, .bin, .safetensors.")],
    out: Annotated[Path, typer.Option(help="The model file to write.")],
    preset: Annotated[str | None, typer.Option(help="Model to load into; by default the one that fits.")] = None,
    classes: Annotated[str | None, typer.Option(help="Names with commas; another number starts a new head.")] = None,
) -> None:
    """Turn a published checkpoint into a model file. Only tensors are read; nothing in the file is run.

    Example: `loxo convert HTSAT_AudioSet_Saved_1.ckpt --out audioset.safetensors`
    """
    from loxo.network.foreign.checkpoints import convert_checkpoint

    names = None if classes is None else tuple(name.strip() for name in classes.split(","))
    report = convert_checkpoint(checkpoint, out, preset=preset, classes=names)
    console.print(f"{report}\nthe model is in {out}", markup=False, highlight=False, soft_wrap=True)
