"""A finished run folder of `loxo detect`, as the rooms above it read it: parameters, recordings, events.

Only run.json, sites.csv and events.csv are opened, neither the journal nor the tables. Failure policy: a folder that is
not a run, is damaged, or contains no recordings yet raises LoxoError.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loxo.audio.filenames import base_name
from loxo.audio.roots import Roots, server
from loxo.audio.storage import is_url
from loxo.errors import LoxoError
from loxo.events.cells import original_cell
from loxo.events.sites import Site
from loxo.events.table import CHANNEL, COLUMNS, DTYPES
from loxo.files import escape, inside, unescape, walk_files
from loxo.runs.record import RECORD, RecordedFile, is_run, read_record
from loxo.runs.sites import Origin, find_origins, recorded_names, stored_sites
from loxo.runs.tables import EVENTS, table_name

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Run:
    """One run.

    Names of recordings are those of tables (loxo.files.escape). `recordings` has one row per recording: recording,
    status (done, truncated, failed), duration_s (from the file's header), analysed_s, reason (why truncated or failed,
    or ""), notes (tuple of sentences), table (path in the folder, or None), site ("" if unknown, see sites.py), start
    (datetime64, wall clock at the site, NaT if the name contains none). `sites` has the sites of the recordings, and
    `notes` are sentences on how they were found. `events` is an events table whose `site` and `start_time`
    come from the recordings.
    """

    folder: Path
    status: str  # finished, interrupted or running
    parameters: dict[str, Any]
    problems: list[tuple[str, str]]  # paths that gave no recording, each with a sentence
    recordings: pd.DataFrame
    events: pd.DataFrame
    counts: dict[str, int]  # recordings with a flaw: recovered, noted, truncated, refused
    sites: dict[str, Site]
    notes: tuple[str, ...]

    @property
    def labels(self) -> list[str]:
        """The classes of the events, those of the model first."""
        named = list(self.parameters.get("classes") or self.parameters.get("decoding") or {})
        return [*named, *sorted(set(self.events["label"].unique()) - set(named))]


def read_run(folder: str | Path, local: Callable[[Origin], datetime | None] | None = None) -> Run:
    """Reads a run folder. `local` returns the start of a recording as naive wall clock; by default that of its site, or
    of its name. Raises LoxoError when the folder is not a run, its files are damaged, or it lists no recording."""
    import pandas as pd

    folder = Path(folder)
    record = read_record(folder)
    if not record.recordings:
        state = "is in progress, or was stopped before it could write" if record.status == "running" else "is empty"
        raise LoxoError(
            f"{folder}: the run {state}: its {RECORD} lists no recordings. Run the same `loxo detect` command to its "
            "end."
        )
    files = record.recordings
    table = pd.DataFrame(
        {
            "recording": pd.Series([escape(file.recording) for file in files], dtype="object"),
            "status": pd.Series([file.status for file in files], dtype="object"),
            "duration_s": pd.Series([file.duration_s for file in files], dtype="float64"),
            "analysed_s": pd.Series([file.analysed_s for file in files], dtype="float64"),
            "reason": pd.Series([escape(file.reason or "") for file in files], dtype="object"),
            "notes": pd.Series([tuple(map(escape, file.notes)) for file in files], dtype="object"),
            "table": pd.Series([table_of(file) for file in files], dtype="object"),
        }
    )
    table = table.drop_duplicates("recording", keep="last", ignore_index=True)
    origins = find_origins(table["recording"], recorded_names(folder, record.parameters), stored_sites(folder))
    ordered = [origins.by_recording[name] for name in table["recording"]]
    table["site"] = pd.Series([origin.site for origin in ordered], dtype="object")
    table["start"] = pd.Series(list(map(local or _naive, ordered)), dtype="datetime64[us]")
    events = _read_events(inside(folder, EVENTS), table)
    return Run(
        folder=folder,
        status=record.status,
        parameters=dict(record.parameters),
        problems=list(record.problems),
        recordings=table,
        events=events,
        counts=record.counts,
        sites=origins.sites,
        notes=origins.notes,
    )


def check_run(folder: str | Path) -> None:
    """Raises LoxoError when this is not a run folder. An existing run.json is not read."""
    if not is_run(folder):
        read_record(folder)


def check_root(root: str | Path | None) -> None:
    """Raises LoxoError when the folder in which recordings are searched for does not exist. A URL is not checked."""
    if root is not None and not is_url(root) and not Path(root).is_dir():
        raise LoxoError(f"{root}: there is no such folder. Give the folder that contains the recordings.")


def _naive(origin: Origin) -> datetime | None:
    start = origin.time()
    return None if start is None else start.replace(tzinfo=None)


def _read_events(path: Path, recordings: pd.DataFrame) -> pd.DataFrame:
    """events.csv as an events table. Its start times are computed from those of the recordings."""
    import pandas as pd

    events = read_events_csv(path)
    # Each recording is looked up once, not once per event.
    codes, named = pd.factorize(events["recording"])
    places = pd.Index(recordings["recording"]).get_indexer(named)
    if (places < 0).any():
        name = named[int((places < 0).argmax())]
        raise LoxoError(
            f"{path}: the table has events of {name!r}, which {RECORD} does not list. Run `loxo detect` again."
        )
    rows = places[codes]
    events["site"] = pd.Series(recordings["site"].to_numpy(object)[rows], dtype="object")
    offset = (events["start_s"].to_numpy() * 1e6).round().astype("timedelta64[us]")
    events["start_time"] = recordings["start"].to_numpy()[rows] + offset
    return events


def read_events_csv(path: str | Path) -> pd.DataFrame:
    """The columns of an events.csv up to high_hz and, if any, the channel, checked, without site and start_time.

    Raises LoxoError when it cannot be read or is not an events table.
    """
    import pandas as pd

    wanted = COLUMNS[: COLUMNS.index("high_hz") + 1]
    # Categories: each name is converted to a str once, not once per event.
    kinds = {name: ("category" if DTYPES[name] == "object" else "float64") for name in wanted}
    try:
        with Path(path).open(encoding="utf-8", errors="replace") as file:
            if CHANNEL in file.readline().rstrip("\n").split(","):
                wanted, kinds = (*wanted, CHANNEL), {**kinds, CHANNEL: "int64"}
        events = pd.read_csv(
            path, usecols=list(wanted), dtype=kinds, keep_default_na=False, na_values={n: [""] for n in wanted[1:]}
        )
    except FileNotFoundError as error:
        raise LoxoError(f"{path}: there is no such file. Run `loxo detect` again.") from error
    except OSError as error:
        raise LoxoError(f"{path}: the events cannot be read ({error.strerror or error}).") from error
    except (ValueError, UnicodeError, pd.errors.ParserError) as error:
        detail = " ".join(str(error).split())
        raise LoxoError(
            f"{path}: this is not a table of events, or it is damaged ({detail}). Run `loxo detect` again."
        ) from error
    events = events[list(wanted)]
    for name in ("recording", "label"):
        events[name] = events[name].map({text: original_cell(text) for text in events[name].cat.categories})
    events = events.astype({"recording": "object", "label": "object"})
    events["label"] = events["label"].where(events["label"].notna(), "")
    bad = ~(events["start_s"].ge(0) & events["end_s"].ge(events["start_s"]) & events["end_s"].lt(1e12))
    bad |= ~(events["score"].isna() | events["score"].between(0, 1))
    if bad.any():
        line = int(bad.to_numpy().argmax()) + 2
        raise LoxoError(f"{path}, line {line}: the times or the score of the event are wrong. Correct the line.")
    return events


class Places:
    """Finds the recordings of a run: at the path as given, at the path in the run's tables, or in a folder `root`.

    Paths and URLs of the run are used only in the places of loxo.audio.roots: remembered ones, the folder that contains
    the run folder, and `root`, which may be the URL of a server.
    """

    def __init__(self, run: Run, root: str | Path | None = None) -> None:
        self.run, self.root = run, None if root is None or is_url(root) else Path(root)
        check_root(root)
        self.roots = Roots([run.folder.absolute().parent, *([] if root is None else [root])])
        self._tables = dict(zip(run.recordings["recording"], run.recordings["table"], strict=True))
        self._below: dict[str, list[Path]] | None = None

    def find(self, recording: str) -> Path | None:
        """The file, or None if it is not found. For a URL, a copy in the root folder."""
        if not is_url(recording):
            for path in (Path(recording), Path(unescape(recording)), self._from_table(recording)):
                if path is not None and path in self.roots and path.is_file():
                    return path
        if self.root is None:
            return None
        if self._below is None:
            self._below = {}
            for path in walk_files(self.root):
                self._below.setdefault(escape(path.name), []).append(path)
        found = [path for path in self._below.get(base_name(recording), []) if path.is_file()]
        # Among several files with that name: the one whose path ends with the most folders of the recording's path.
        parts = Path(recording).parts[::-1]
        return max(found, key=lambda path: common_length(parts, path.parts[::-1]), default=None)

    def locate(self, recording: str) -> Path | str:
        """The file or URL of a recording. Raises LoxoError when it is not found, or may not be opened."""
        path = self.find(recording)
        if path is not None:
            return path
        if is_url(recording):
            if recording in self.roots:
                return recording
            raise LoxoError(
                f"{recording}: the run names this address, and no request was sent to it. If you trust the run, give "
                f"--recordings {server(recording)}/"
            )
        if self.root is not None:
            raise LoxoError(
                f"{recording}: there is no recording of this name in {self.root}. Give --recordings with its folder."
            )
        if Path(recording) not in self.roots:
            raise LoxoError(
                f"{recording}: the recording was not found in the known folders of recordings. Give --recordings with "
                "its folder."
            )
        raise LoxoError(f"{recording}: the recording was not found. Give --recordings with its folder.")

    def _from_table(self, recording: str) -> Path | None:
        """The absolute path of the recording when it was analysed, from the first row of its table."""
        table = self._tables.get(recording)
        if not table:
            return None
        try:
            with inside(self.run.folder, table).open(encoding="utf-8") as file:
                header, row = file.readline().rstrip("\n").split("\t"), file.readline().rstrip("\n").split("\t")
            return Path(unescape(original_cell(row[header.index("Begin Path")])))
        except (OSError, ValueError, IndexError, LoxoError):
            return None


def table_of(file: RecordedFile) -> str | None:
    """The path of a recording's Raven table, also if the run has not written it: it identifies the recording."""
    return file.table if file.table or not file.name else table_name(file.name, "raven")


def common_length(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """How many elements are equal, counted from the beginning."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count
