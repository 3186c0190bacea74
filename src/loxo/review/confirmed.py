"""The events of a run that a reviewer has confirmed. No numerical package is imported: a live station asks for them."""

from __future__ import annotations

import csv
from pathlib import Path

from loxo.errors import LoxoError
from loxo.events.cells import original_cell
from loxo.files import escape, inside, unescape
from loxo.review.decision_log import decision_logs, read_decision_log
from loxo.runs.read import table_of
from loxo.runs.record import read_record
from loxo.runs.renamed import event_name
from loxo.runs.tables import EVENTS

TRUE = ("yes", "other", "drawn")


def confirmed_events(run: str | Path) -> dict[str, str]:
    """The names of the events that at least one reviewer confirmed or drew, and the path of the recording of each.

    Raises LoxoError when the run or a decision log cannot be read.
    """
    found: dict[str, str | None] = {}
    for log in map(read_decision_log, decision_logs(Path(run))):
        for event, decision in log.by_event.items():
            if decision.verdict in TRUE:
                found[event] = decision.recording
    if None in found.values():
        _find_recordings(Path(run), found)
    return {event: unescape(recording) for event, recording in found.items() if recording is not None}


def _find_recordings(run: Path, found: dict[str, str | None]) -> None:
    """Fills in the recordings of the events that the run lists."""
    tables = {escape(file.recording): table_of(file) for file in read_record(run).recordings}
    path = inside(run, EVENTS)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                recording, label = (original_cell(row[name]) for name in ("recording", "label"))
                name = event_name(tables.get(recording) or recording, label, float(row["start_s"]), float(row["end_s"]))
                if name in found:
                    found[name] = recording
    except (OSError, ValueError, KeyError) as error:
        raise LoxoError(
            f"{path}: the events of the run cannot be read ({error}). Run the same command again."
        ) from error
