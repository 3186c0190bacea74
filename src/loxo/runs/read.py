"""A finished run folder of `loxo detect`, as the rooms above it read it: parameters, recordings, events.

Only run.json and events.csv are opened; the journal and the tables are not. Failure policy: what is no run folder, is
damaged, or holds nothing yet is a LoxoError of one sentence.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loxo.audio.filenames import Names, base_name
from loxo.audio.storage import is_url
from loxo.errors import LoxoError
from loxo.events.table import COLUMNS, DTYPES
from loxo.runs.config import current_parameters

if TYPE_CHECKING:
    import pandas as pd

RECORD, EVENTS = "run.json", "events.csv"


@dataclass(frozen=True)
class Run:
    """One run.

    `recordings` has a row for each recording: recording, status (done, truncated, failed), duration_s (that the header
    promises), analysed_s, reason (why not whole, or ""), table (path in the folder, or None), site ("" where the name
    gives none), start (datetime64, wall clock, NaT where the name gives none). `events` is an events table whose
    `site` and `start_time` are those of the recordings.
    """

    folder: Path
    status: str  # finished, interrupted or running
    parameters: dict[str, Any]
    problems: list[tuple[str, str]]  # paths that gave no recording at all, with a sentence
    recordings: pd.DataFrame
    events: pd.DataFrame

    @property
    def labels(self) -> list[str]:
        """The classes that were looked for, those of the model first."""
        named = list(self.parameters.get("classes") or self.parameters.get("decoding") or {})
        return [*named, *sorted(set(self.events["label"].unique()) - set(named))]


def read_run(folder: str | Path, local: Callable[[datetime], datetime] | None = None) -> Run:
    """Reads a run folder. `local` turns the start in a recording's name into naive wall clock; by default a zone is
    dropped. Raises LoxoError when it is no run folder, its files are damaged, or it holds no recording yet."""
    import pandas as pd

    folder = Path(folder)
    record = _read_record(folder)
    try:
        rows = record["recordings"]
        table = pd.DataFrame(
            {
                "recording": pd.Series([str(row["recording"]) for row in rows], dtype="object"),
                "status": pd.Series([str(row["status"]) for row in rows], dtype="object"),
                "duration_s": pd.Series([float(row["duration_s"]) for row in rows], dtype="float64"),
                "analysed_s": pd.Series([float(row["analysed_s"]) for row in rows], dtype="float64"),
                "reason": pd.Series([row.get("reason") or "" for row in rows], dtype="object"),
                "table": pd.Series([_table(row) for row in rows], dtype="object"),
            }
        )
        parameters, status = current_parameters(record["parameters"]), str(record["status"])
        names = Names(**(parameters.get("names") or {}))
        problems = [(str(path), str(sentence)) for path, sentence in record.get("problems", [])]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LoxoError(f"{folder / RECORD}: this is no record of a run, or it is damaged ({error!r}).") from error
    if not len(table):
        state = "is still going on, or was stopped before it could write" if status == "running" else "is empty"
        raise LoxoError(
            f"{folder}: the run {state}: its {RECORD} lists no recordings. Let `loxo detect` with this folder finish."
        )
    table = table.drop_duplicates("recording", keep="last", ignore_index=True)
    parts = [names.parse(name) for name in table["recording"]]
    starts = [None if start is None else (local or _naive)(start) for _, start in parts]
    table["site"] = pd.Series([site or "" for site, _ in parts], dtype="object")
    table["start"] = pd.Series(starts, dtype="datetime64[us]")
    return Run(folder, status, parameters, problems, table, _read_events(folder / EVENTS, table))


def check_run(folder: str | Path) -> None:
    """Raises LoxoError when this is no run folder, without reading it."""
    if not (Path(folder) / RECORD).is_file():
        _read_record(Path(folder))


def check_root(root: str | Path | None) -> None:
    """Raises LoxoError when a folder in which recordings are to be found is none."""
    if root is not None and not Path(root).is_dir():
        raise LoxoError(f"{root}: there is no such folder to look for recordings in.")


def _naive(start: datetime) -> datetime:
    return start.replace(tzinfo=None)


def _read_record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        what = f"there is no {RECORD} in it" if folder.is_dir() else "there is no such folder"
        raise LoxoError(f"{folder}: this is no run of `loxo detect`: {what}.") from error
    except NotADirectoryError as error:
        raise LoxoError(f"{folder}: this is a file; give the folder that `loxo detect --out` has written.") from error
    except OSError as error:
        raise LoxoError(f"{path}: the record of the run cannot be read ({error.strerror or error}).") from error
    except ValueError as error:
        raise LoxoError(
            f"{path}: the record of the run is damaged ({error}). The same `loxo detect` command writes it again."
        ) from error
    if not isinstance(record, dict):
        raise LoxoError(f"{path}: this is no record of a run of `loxo detect`.")
    return record


def _read_events(path: Path, recordings: pd.DataFrame) -> pd.DataFrame:
    """events.csv as an events table, its start times from the recordings'."""
    import pandas as pd

    events = read_events_csv(path)
    # By recording, not by event: of many events few recordings are looked up.
    codes, named = pd.factorize(events["recording"])
    places = pd.Index(recordings["recording"]).get_indexer(named)
    if (places < 0).any():
        name = named[int((places < 0).argmax())]
        raise LoxoError(f"{path}: it has events of {name!r}, which {RECORD} does not list. Run `loxo detect` again.")
    rows = places[codes]
    events["site"] = pd.Series(recordings["site"].to_numpy(object)[rows], dtype="object")
    offset = (events["start_s"].to_numpy() * 1e6).round().astype("timedelta64[us]")
    events["start_time"] = recordings["start"].to_numpy()[rows] + offset
    return events


def read_events_csv(path: str | Path) -> pd.DataFrame:
    """The columns of an events.csv up to high_hz, checked; site and start_time are left out.

    Raises LoxoError when it cannot be read or is no events table.
    """
    import pandas as pd

    wanted = COLUMNS[: COLUMNS.index("high_hz") + 1]
    # Categories: each name is made into a str once, not once an event.
    kinds = {name: ("category" if DTYPES[name] == "object" else "float64") for name in wanted}
    try:
        events = pd.read_csv(
            path, usecols=list(wanted), dtype=kinds, keep_default_na=False, na_values={n: [""] for n in wanted[1:]}
        )
    except FileNotFoundError as error:
        raise LoxoError(f"{path}: there is no such file.") from error
    except OSError as error:
        raise LoxoError(f"{path}: the events cannot be read ({error.strerror or error}).") from error
    except (ValueError, UnicodeError, pd.errors.ParserError) as error:
        detail = " ".join(str(error).split())
        raise LoxoError(f"{path}: this is no table of events, or it is damaged ({detail}).") from error
    events = events[list(wanted)].astype({"recording": "object", "label": "object"})
    events["label"] = events["label"].where(events["label"].notna(), "")
    bad = ~(events["start_s"].ge(0) & events["end_s"].ge(events["start_s"]) & events["end_s"].lt(1e12))
    bad |= ~(events["score"].isna() | events["score"].between(0, 1))
    if bad.any():
        raise LoxoError(f"{path}, line {int(bad.to_numpy().argmax()) + 2}: this is no event (times or score).")
    return events


class Places:
    """Where the recordings of a run lie now: as given, where the run's tables say, or below a folder `root`."""

    def __init__(self, run: Run, root: str | Path | None = None) -> None:
        self.run, self.root = run, None if root is None else Path(root)
        check_root(root)
        self._tables = dict(zip(run.recordings["recording"], run.recordings["table"], strict=True))
        self._below: dict[str, list[Path]] | None = None

    def find(self, recording: str) -> Path | None:
        """The file, or None where it is not to be found. Of a URL, a copy below the root."""
        if not is_url(recording):
            for path in (Path(recording), self._from_table(recording)):
                if path is not None and path.is_file():
                    return path
        if self.root is None:
            return None
        if self._below is None:
            self._below = {}
            for path in sorted(self.root.rglob("*")):
                self._below.setdefault(path.name, []).append(path)
        found = [path for path in self._below.get(base_name(recording), []) if path.is_file()]
        # Of several files of that name, the one whose folders agree most with those of the recording's path.
        parts = Path(recording).parts[::-1]
        return max(found, key=lambda path: agreeing(parts, path.parts[::-1]), default=None)

    def _from_table(self, recording: str) -> Path | None:
        """The absolute path of the recording when it was analysed, which the first row of its table tells."""
        table = self._tables.get(recording)
        if not table:
            return None
        try:
            with (self.run.folder / table).open(encoding="utf-8") as file:
                header, row = file.readline().rstrip("\n").split("\t"), file.readline().rstrip("\n").split("\t")
            return Path(row[header.index("Begin Path")])
        except (OSError, ValueError, IndexError):
            return None


def _table(row: dict[str, Any]) -> str | None:
    """The Raven table of a recording, where it lies or would lie: it names the recording in the run."""
    if row.get("table") or not row.get("name"):
        return row.get("table")
    from loxo.runs.tables import table_name

    return table_name(row["name"], "raven")


def agreeing(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """How many parts agree, from the beginning on."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count
