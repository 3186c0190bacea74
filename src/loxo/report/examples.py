"""Example events of each label: the strongest, the typical and the doubtful ones, with their sound.

Recordings on object storage or a web server are read by byte range, unless a local copy is found.

Failure policy: a recording that is missing or cannot be read is skipped and listed with the reason; the next event in
the same order is shown instead. A server that does not answer receives no second request, so that a report is also
written without a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from loxo.audio.recording import probe, read
from loxo.errors import LoxoError
from loxo.events.table import CHANNEL
from loxo.languages import mark
from loxo.report.plots import RUMBLE_BAND_HZ
from loxo.runs.read import Places

if TYPE_CHECKING:
    import pandas as pd

KINDS = (mark("strongest"), mark("typical"), mark("doubtful"))
PER_KIND = 4
TRIES = 40  # max number of events per kind whose recordings are looked for
LOW_RATE, FULL_RATE = 1000, 4000  # sample rates in Hz for events below 250 Hz and for other events
SHOWN_S = {"low": (12.0, 40.0), "full": (4.0, 12.0)}  # min and max length of an excerpt in s, by band


@dataclass(frozen=True)
class Example:
    """An excerpt of a recording with an event: samples (samples,) at sample_rate, the first one at start_s."""

    kind: str
    event: dict[str, Any]
    band: str
    samples: NDArray[np.float32]
    sample_rate: int
    start_s: float
    truth: Sequence[dict[str, Any]] = ()  # true events, drawn dashed
    boxed: bool = True  # whether the event itself is drawn
    note: str = ""


@dataclass
class Examples:
    shown: dict[str, list[Example]] = field(default_factory=dict)  # by label, in the order of KINDS
    missing: dict[str, str] = field(default_factory=dict)  # recording -> reason why it could not be shown
    unreachable: set[str] = field(default_factory=set)  # servers and buckets that do not answer


def choose(events: pd.DataFrame, estimated: bool) -> dict[str, list[int]]:
    """Rows of one label's events for each kind, the best first. Recordings take turns, so that one cannot fill a kind.

    Typical events have a score nearest the median. Doubtful events have a `probability` nearest 0.5 if a review
    estimates them (`estimated`), else the lowest scores. Among equal probabilities, for example after a complete
    review, the lowest score comes first.
    """
    score = events["score"].fillna(0.0).to_numpy(float)
    if not len(score):
        return {kind: [] for kind in KINDS}
    orders = {
        "strongest": -score,
        "typical": np.abs(score - np.median(score)),
        "doubtful": np.abs(events["probability"].fillna(0.0).to_numpy(float) - 0.5) + 1e-6 * score
        if estimated
        else score,
    }
    recording = events["recording"].to_numpy()
    chosen: dict[str, list[int]] = {}
    taken: set[int] = set()
    for kind, order in orders.items():
        rows = [int(k) for k in np.argsort(order, kind="stable")[: 50 * TRIES] if int(k) not in taken]
        turns: dict[Any, int] = {}
        ranked = []
        for rank, k in enumerate(rows):
            turn = turns[recording[k]] = turns.get(recording[k], -1) + 1
            ranked.append((turn, rank, k))
        chosen[kind] = [k for _, _, k in sorted(ranked)][:TRIES]
        taken.update(chosen[kind][:PER_KIND])
    return chosen


def find_examples(events: pd.DataFrame, labels: list[str], estimated: dict[str, bool], places: Places) -> Examples:
    """Chooses the examples of every label and reads them from their recordings."""
    result = Examples()
    for label in labels:
        of_label = events[events["label"] == label].reset_index(drop=True)
        result.shown[label] = []
        taken: set[int] = set()
        for kind, rows in choose(of_label, estimated[label]).items():
            for row in take(kind, of_label, [row for row in rows if row not in taken], places, result, label):
                taken.add(row)
    return result


def take(
    kind: str,
    events: pd.DataFrame,
    rows: list[int],
    places: Places,
    result: Examples,
    label: str,
    max_count: int = PER_KIND,
) -> list[int]:
    """Reads the first `max_count` of these rows that can be read into `result`. Returns the rows that were read."""
    found: list[int] = []
    for row in rows:
        event: dict[str, Any] = {str(name): value for name, value in events.iloc[row].items()}
        if event["recording"] in result.missing:
            continue
        example = _read(kind, event, places, result)
        if example is not None:
            result.shown.setdefault(label, []).append(example)
            found.append(row)
            if len(found) == max_count:
                break
    return found


def _read(kind: str, event: dict[str, Any], places: Places, result: Examples) -> Example | None:
    name = event["recording"]
    server = None
    try:
        path = places.locate(name)
        server = urlsplit(path).netloc if isinstance(path, str) else None
        if server in result.unreachable:
            raise LoxoError(f"{name}: {server} did not answer for another recording.")
        return read_example(kind, event, path)
    except LoxoError as error:
        result.missing[name] = str(error)
        if server is not None and getattr(error, "transient", False):
            result.unreachable.add(server)
        return None


def read_example(kind: str, event: dict[str, Any], path: str | Path, band: str | None = None, **more: Any) -> Example:
    """The excerpt of a recording with an event in its middle. The band is that of the event's frequencies, if it is not
    given. `more` are further fields of the example.

    Raises LoxoError if the recording cannot be read.
    """
    recording = probe(path)
    band = band or ("low" if event["high_hz"] <= RUMBLE_BAND_HZ else "full")
    rate = LOW_RATE if band == "low" else min(FULL_RATE, recording.sample_rate)
    length = event["end_s"] - event["start_s"]
    shown = float(np.clip(3 * length, *SHOWN_S[band]))
    middle = (event["start_s"] + event["end_s"]) / 2
    start = float(np.clip(middle - shown / 2, 0, max(recording.duration_s - shown, 0)))
    channel = int(event[CHANNEL]) - 1 if CHANNEL in event else None
    return Example(kind, event, band, read(recording, rate, start, shown, channel), rate, start, **more)
