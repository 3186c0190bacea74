"""The events table: a pandas DataFrame with one row per event, used by all parts of Loxo.

| column       | dtype          | content                                                                        |
|--------------|----------------|--------------------------------------------------------------------------------|
| `recording`  | object (str)   | path or URL as given; characters that a table cannot hold are codes            |
|              |                | (loxo.files.escape)                                                            |
| `start_s`    | float64        | seconds from the start of that recording                                       |
| `end_s`      | float64        | seconds from the start of that recording; never before `start_s`               |
| `label`      | object (str)   | class of the event; "" if a table has no label                                 |
| `score`      | float64        | 0-1; NaN if there is no score, as in an annotator's table                      |
| `low_hz`     | float64        | lower frequency bound; NaN if unknown                                          |
| `high_hz`    | float64        | upper frequency bound; NaN if unknown                                          |
| `site`       | object         | str, or None if unknown                                                        |
| `start_time` | datetime64[us] | wall clock time at the start of the event; NaT if unknown. If a zone is known, |
|              |                | the column has dtype object and contains datetimes (None if unknown)           |

Further columns may follow. Rows are sorted by recording, start, end, label and descending score.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from loxo.audio.filenames import USUAL_NAMES, Names, add_seconds
from loxo.errors import LoxoError

if TYPE_CHECKING:
    import pandas as pd

DTYPES = {
    "recording": "object",
    "start_s": "float64",
    "end_s": "float64",
    "label": "object",
    "score": "float64",
    "low_hz": "float64",
    "high_hz": "float64",
    "site": "object",
    "start_time": "datetime64[us]",
}
COLUMNS = tuple(DTYPES)
CHANNEL = "channel"  # further column: the channel of the event, from 1; only where one channel was searched
# Header of a further column in tables of a review: the number of events of the recording that are not decided. A table
# with this column lacks calls, unless the number is 0.
UNDECIDED = "Undecided"
NUMBERS = tuple(name for name, dtype in DTYPES.items() if dtype == "float64")


def empty_events() -> pd.DataFrame:
    """Returns an events table without rows."""
    return events_frame([])


def events_frame(rows: Iterable[Mapping[Any, Any]], names: Names = USUAL_NAMES) -> pd.DataFrame:
    """Creates a checked and sorted events table from rows with at least recording, start_s, end_s and label.

    Score and frequencies are optional. If a row has no site or start time, they are read from the recording's name
    according to `names`. Further keys become further columns. Raises LoxoError as check_events does.
    """
    import pandas as pd

    rows = _complete(rows, names)
    keys = [*COLUMNS, *dict.fromkeys(key for row in rows for key in row if key not in DTYPES)]
    columns: dict[str, list[Any]] = {name: [row.get(name) for row in rows] for name in keys}
    data: dict[str, pd.Series] = {}
    for name in keys:
        if name == "start_time":
            data[name] = wall_clock(columns[name])
        elif name in DTYPES:
            data[name] = pd.Series(columns[name], dtype=DTYPES[name])
        else:
            data[name] = pd.Series(columns[name], dtype=None if rows else "object")
    events = pd.DataFrame(data)
    check_events(events)
    return sort_events(events)


def event_rows(rows: Iterable[Mapping[Any, Any]], names: Names = USUAL_NAMES) -> list[dict[str, Any]]:
    """The rows of a table of events_frame, without pandas, for rows with recording, start_s, end_s, label, score and
    frequencies that need no check."""
    complete = [
        {name: row.get(name) for name in (*COLUMNS, CHANNEL) if name in row or name in DTYPES}
        for row in _complete(rows, names)
    ]
    keys = ("recording", "start_s", "end_s", "label")
    return sorted(complete, key=lambda row: (*(row[name] for name in keys), -row["score"]))


def _complete(rows: Iterable[Mapping[Any, Any]], names: Names) -> list[dict[Any, Any]]:
    """The rows with sites and start times from the names of their recordings, where they have none."""
    complete = [dict(row) for row in rows]
    parsed = {name: names.parse(name) for name in {str(row.get("recording", "")) for row in complete}}
    for row in complete:
        site, start = parsed[str(row.get("recording", ""))]
        if row.get("site") is None:
            row["site"] = site
        if row.get("start_time") is None and start is not None and row.get("start_s") is not None:
            row["start_time"] = add_seconds(start, float(row["start_s"]))
    return complete


def wall_clock(values: Sequence[datetime | None]) -> pd.Series:
    """Returns datetime64 if no zone is known (the usual case); else objects, because zones of recorders may differ."""
    import pandas as pd

    known = [value for value in values if value is not None and not pd.isna(value)]
    if any(value.tzinfo is not None for value in known):
        return pd.Series([None if value is None or pd.isna(value) else value for value in values], dtype="object")
    return pd.Series(values, dtype=DTYPES["start_time"])


def sort_events(events: pd.DataFrame) -> pd.DataFrame:
    """Sorts by recording, start, end, label and descending score; equal rows keep their order. The index is new."""
    keys = ["recording", "start_s", "end_s", "label", "score"]
    return events.sort_values(keys, ascending=[True] * 4 + [False], kind="stable", ignore_index=True)


def check_events(events: pd.DataFrame) -> None:
    """Raises LoxoError, with the first invalid row, if a table is not as this module's docstring describes."""
    import numpy as np
    import pandas as pd

    missing = [name for name in COLUMNS if name not in events.columns]
    if missing:
        raise LoxoError(f"The events table lacks the column(s) {', '.join(missing)}. It needs {', '.join(COLUMNS)}.")
    for name in NUMBERS:
        if not pd.api.types.is_float_dtype(events[name]):
            raise LoxoError(f"The events table's column {name!r} must be of dtype float64, not {events[name].dtype}.")
    start, end, score, low, high = (events[name].to_numpy(float) for name in NUMBERS)
    text = {
        name: events[name].map(lambda value: isinstance(value, str)).to_numpy(bool) for name in ("recording", "label")
    }
    with np.errstate(invalid="ignore"):
        faults = {
            "has no recording": ~text["recording"] | (events["recording"] == "").to_numpy(bool),
            "has a label that is not text": ~text["label"],
            "has a start or end that is not a finite number": ~(np.isfinite(start) & np.isfinite(end)),
            "starts before the recording": start < 0,
            "ends before it starts": end < start,
            "has a score outside 0 to 1": (score < 0) | (score > 1),
            "has a lower frequency above its upper one, or below 0 Hz": (low > high) | (low < 0),
        }
    for fault, rows in faults.items():
        if rows.any():
            first = int(rows.argmax())
            row = events.iloc[first]
            raise LoxoError(
                f"Row {first} of the events table {fault}: {row['label']!r} at {row['start_s']} to {row['end_s']} s of "
                f"{row['recording']!r} ({int(rows.sum())} row(s) have this fault)."
            )
