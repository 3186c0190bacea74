"""The recordings of a run in which a reviewer has confirmed an event."""

from __future__ import annotations

from pathlib import Path

from loxo.files import unescape
from loxo.review.decision_log import decision_logs, read_decision_log
from loxo.review.session import event_names, open_run

TRUE = ("yes", "other", "drawn")


def confirmed_recordings(run: str | Path) -> set[str]:
    """The paths, as given, of recordings with an event that at least one reviewer confirmed or drew.

    Raises LoxoError when the run or a decision log cannot be read.
    """
    logs = decision_logs(Path(run))
    if not logs:
        return set()
    opened, _ = open_run(run)
    by_name = dict(zip(event_names(opened), opened.events["recording"], strict=True))
    found: set[str] = set()
    for log in map(read_decision_log, logs):
        for event, decision in log.by_event.items():
            recording = decision.recording or by_name.get(event)
            if decision.verdict in TRUE and recording is not None:
                found.add(unescape(str(recording)))
    return found
