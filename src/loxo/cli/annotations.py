"""Options of commands that read tables of true events; `loxo train` has the same as `data.*` settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loxo.errors import LoxoError

LabelOption = Annotated[str | None, typer.Option(help="Class of events in tables without labels.")]
LabelColumnOption = Annotated[
    str | None, typer.Option(help="Column of the tables with the label, if it has an unusual name.")
]
LabelsOption = Annotated[
    str | None, typer.Option(help="Labels in the tables and the class of each: RUM=rumble,GUN=gunshot.")
]
RenameOption = Annotated[
    str | None, typer.Option(help="Parts of file names in the tables and their names on disk: dzan=dz.")
]
SearchedOption = Annotated[
    list[Path] | None,
    typer.Option(
        help="Table of the spans that were searched for events, with the columns recording, start_s, end_s. The rest "
        "is neither event nor background. Default: the recordings in the tables were searched completely."
    ),
]


def pairs(text: str | None, option: str) -> dict[str, str]:
    """The pairs of an option such as RUM=rumble,GUN=gunshot. Raises LoxoError for anything else."""
    words = [word for word in (text or "").split(",") if word.strip()]
    found = dict([part.strip() for part in word.partition("=")[::2]] for word in words)
    if not all(old and new for old, new in found.items()):
        raise LoxoError(f"{option} is {text!r}, but it must be pairs such as old=new, separated by commas.")
    return found
