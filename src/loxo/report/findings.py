"""The data of a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loxo.report.daylight import Sun
from loxo.report.examples import Examples
from loxo.report.reviewed import Reviewed
from loxo.runs.read import Run

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Findings:
    """The data of a report page."""

    run: Run
    labels: list[str]  # those of the run, and those that a review added
    reviewed: Reviewed
    hourly: pd.DataFrame
    daily: pd.DataFrame
    gaps: pd.DataFrame
    rates: pd.DataFrame
    months: pd.DataFrame
    daylight: pd.DataFrame
    sun: dict[str, Sun]
    examples: Examples
    overlap_h: float  # hours that are recorded more than once at a site
