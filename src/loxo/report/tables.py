"""How all tables of a report are written as CSV."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from loxo.events.cells import safe_cell
from loxo.files import atomic_file

if TYPE_CHECKING:
    import pandas as pd


def write_csv(path: Path, table: pd.DataFrame, unknown: str = "") -> None:
    """Writes a table whose texts start no formula in a spreadsheet. `unknown` stands for missing values."""
    with atomic_file(path) as file:
        text = table.select_dtypes(["object", "string"]).columns
        safe = {name: table[name].map(lambda cell: safe_cell(cell) if isinstance(cell, str) else cell) for name in text}
        table = table.assign(**safe).rename(columns=safe_cell)  # some columns have the name of a label
        table.to_csv(
            file,
            index=False,
            lineterminator="\n",
            date_format="%Y-%m-%dT%H:%M:%S",
            float_format="%.6g",
            na_rep=unknown,
        )
