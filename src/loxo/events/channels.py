"""One event for each call in a run that searched each channel (`--channel each`), which lists a call once a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from loxo.events.table import CHANNEL

if TYPE_CHECKING:
    import pandas as pd

SHARED = 0.5  # of the shorter event: events of two channels that share more are one call


def one_per_call(events: pd.DataFrame) -> pd.DataFrame:
    """The events without those that another channel contains with a higher score.

    events: an events table with finite times. Two events of one recording and one class in different channels are one
    call if they share more than half of the shorter one. Without a column `channel`, the events are returned unchanged.
    """
    if CHANNEL not in events or events[CHANNEL].nunique() < 2:
        return events
    keep = np.ones(len(events), dtype=bool)
    scores = events["score"].to_numpy(float)
    times = events[["start_s", "end_s"]].to_numpy(float)
    channels = events[CHANNEL].to_numpy()
    for rows in events.groupby(["recording", "label"], sort=False, observed=True).indices.values():
        ranked = np.asarray(rows)[np.argsort(-scores[rows], kind="stable")]
        for position, row in enumerate(ranked):
            above = ranked[:position]
            above = above[keep[above] & (channels[above] != channels[row])]
            shared = np.minimum(times[above, 1], times[row, 1]) - np.maximum(times[above, 0], times[row, 0])
            shorter = np.minimum(times[above, 1] - times[above, 0], times[row, 1] - times[row, 0])
            keep[row] = not (shared > SHARED * shorter).any()
    return events[keep]
