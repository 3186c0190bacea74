"""Simulated surveys that benchmarks keep and use again."""

from __future__ import annotations

import shutil
from pathlib import Path


def has_survey(folder: Path) -> bool:
    """Whether the folder has a whole survey. The rest of an interrupted one is deleted, as `simulate` never resumes."""
    whole = (folder / "simulation.json").exists()  # the file that is written last
    if not whole:
        shutil.rmtree(folder, ignore_errors=True)
    return whole
