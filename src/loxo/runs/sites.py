"""Site and start time of the recordings of a run, and the table of sites in its folder (sites.csv).

The site of a recording is, in this order: the site of the row in the table of sites that matches the recording; the
site in its name (loxo.audio.filenames); the nearest folder above it. Folders named `Data` or after a date are passed
over: recorders make them. If two such folders have the same name, their parents are added (`camp_a/card1`), so that two
places are never added up.

A row matches a recording if all of its keys do: `folder` is a folder above the recording, with or without its parents;
`recorder` is the site that the recording has without the table; `pattern` matches the end of its path. If it starts in
none of the deployments, it matches none. A recording without a start time matches every deployment of its recorder,
and gets no site from the table if these have several sites.

The table may be replaced later: names of sites are not part of the journal's events. `replace_sites` therefore writes
the tables of the run again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

from loxo.audio.filenames import NameParts, Names, add_seconds
from loxo.errors import LoxoError
from loxo.events.combined import SITE, START, TIME, EventCells
from loxo.events.sites import Deployment, Site, SiteTable, key, parse_sites, read_sites
from loxo.files import escape, inside, write_atomically
from loxo.languages import mark
from loxo.runs.journal import FAILED, JOURNAL, Entry, Journal
from loxo.runs.lock import folder_lock
from loxo.runs.record import FIELD_ERRORS, foreign_record, read_record
from loxo.runs.tables import Finished, write_run

SITES = "sites.csv"
MAX_NAMED = 5  # sites or recordings in a note

_NO_SITE = re.compile(r"data|\.{1,2}|.*:|(?:19|20)\d\d(?:[-_.]?\d\d(?:[-_.]?\d\d)?)?", re.IGNORECASE)
_AUDIOMOTH = "%Y%m%d_%H%M%S"

Folders = tuple[str, ...]


class Origin(NamedTuple):
    """Where and when a recording begins. `zone` is that of the site, None if the table of sites has none."""

    site: str  # "" if unknown
    start: datetime | None  # by the recording's name
    zone: tzinfo | None = None

    def time(self) -> datetime | None:
        """The start in the zone of the site; a start without a zone was read from a clock of that zone."""
        if self.start is None or self.zone is None:
            return self.start
        return self.start.astimezone(self.zone) if self.start.tzinfo else self.start.replace(tzinfo=self.zone)


@dataclass(frozen=True)
class Origins:
    """The origin of each recording, the sites, and notes on what was assumed, a sentence each."""

    by_recording: dict[str, Origin]
    sites: dict[str, Site]
    notes: tuple[str, ...] = ()

    def cells(self, recording: str, rows: Iterable[EventCells]) -> Iterator[EventCells]:
        """The rows of a recording in the journal, with its site; with a zone, their times are in it."""
        origin = self.by_recording[recording]
        start = origin.time() if origin.zone is not None else None
        for row in rows:
            cells = list(row)
            cells[SITE] = origin.site
            if start is not None:
                cells[TIME] = add_seconds(start, float(cells[START])).isoformat()
            yield cells


def stored_sites(folder: str | Path) -> SiteTable | None:
    """The table of sites of a run; None if it has none. Raises LoxoError when it is not valid."""
    path = inside(folder, SITES)
    try:
        return parse_sites(path.read_bytes(), path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LoxoError(f"{path}: the table of sites cannot be read ({error.strerror}).") from error


def replace_sites(folder: str | Path, path: str | Path) -> list[str]:
    """Stores the table of sites `path` in a run folder, and writes the tables of the run again. Returns notes.

    Raises LoxoError when the table is not valid, the folder is not a run, another process is writing into it, or a
    table cannot be written; then nothing has changed.
    """
    folder, table = Path(folder), read_sites(path)
    record = read_record(folder)
    with folder_lock(folder):
        journal = Journal(inside(folder, JOURNAL))
        entries = sorted(journal.entries.values(), key=lambda entry: (entry.recording, entry.path))
        recorded, kept = ({escape(each.recording) for each in all_of} for all_of in (record.recordings, entries))
        origins = find_origins(sorted(recorded | kept), recorded_names(folder, record.parameters), table)
        is_whole = recorded <= kept
        if is_whole:
            with journal.reading():
                write_journal_tables(folder, journal, entries, origins, record.parameters, exists=lambda name: True)
        write_atomically(inside(folder, SITES), table.content)
    return [] if is_whole else [f"{folder}: the journal is lost or damaged, so the tables there keep their sites."]


def recorded_names(folder: str | Path, parameters: Mapping[str, Any]) -> Names:
    """The rules for names among the parameters of a run. Raises LoxoError when they are damaged."""
    try:
        return Names(**(parameters.get("names") or {}))
    except FIELD_ERRORS as error:
        raise foreign_record(folder, error) from error


def write_journal_tables(
    folder: Path,
    journal: Journal,
    entries: Iterable[Entry],
    origins: Origins,
    parameters: Mapping[str, Any],
    exists: Callable[[str], bool],
) -> None:
    """write_run for the entries of a journal, with the sites of `origins`."""
    write_run(
        folder,
        (Finished.of(entry) for entry in entries if entry.status != FAILED),
        lambda done: list(origins.cells(escape(done.recording), journal.rows(done.path))),
        parameters.get("formats", ()),
        parameters,
        exists=exists,
    )


def find_origins(recordings: Iterable[str], names: Names, table: SiteTable | None) -> Origins:
    """The origins of the recordings of a run, given by their names in tables. Raises LoxoError when a recording matches
    rows of several sites."""
    parts = {recording: names.parse(recording) for recording in recordings}
    by_folder = _folder_sites([recording for recording, found in parts.items() if found.site is None])
    assumed = {recording: found.site or by_folder[recording] for recording, found in parts.items()}
    rows = _match(parts, assumed, table) if table is not None else {}
    origins = {
        recording: Origin(rows[recording].site.name, found.start, rows[recording].site.zone)
        if recording in rows
        else Origin(assumed[recording], found.start)
        for recording, found in parts.items()
    }
    known = table.sites if table is not None else {}
    sites = {origin.site: known.get(origin.site, Site(origin.site)) for origin in origins.values()}
    # A site of the table that is read from names or folders has the zone of the table, too.
    origins = {name: each._replace(zone=each.zone or sites[each.site].zone) for name, each in origins.items()}
    left = {recording: found for recording, found in parts.items() if recording not in rows}
    notes = [
        *(_unmatched(table, rows, left) if table is not None else ()),
        *_folder_notes(left, by_folder, names, parts),
        *_spread_notes(left),
    ]
    return Origins(origins, sites, tuple(notes))


def _match(parts: Mapping[str, NameParts], assumed: Mapping[str, str], table: SiteTable) -> dict[str, Deployment]:
    """The row of each recording that matches one."""

    @cache
    def of_folder(folders: Folders, site: str) -> list[Deployment]:
        above = f"/{'/'.join(folders)}/"
        return [
            row
            for row in table.deployments
            if (not row.folder or f"/{row.folder}/" in above or (folders and f"/{row.folder}/".endswith(above)))
            and (not row.recorder or row.recorder == site)
        ]

    found: dict[str, Deployment] = {}
    for recording, (_, start) in parts.items():
        path = tuple(key(recording).split("/"))
        rows = [row for row in of_folder(path[:-1], key(assumed[recording])) if _has_pattern(path, row.pattern)]
        if start is not None:
            rows = [row for row in rows if row.covers(_naive(start, row.site.zone))]
        others = [row for row in rows if row.site != rows[0].site]
        if others and start is not None:
            one, other = rows[0], others[0]
            raise LoxoError(
                f"{table.path}: the recording {recording} matches line {one.line} ({one.site.name}) and line "
                f"{other.line} ({other.site.name}). Give longer folders, patterns, or dates in these lines."
            )
        if rows and not others:
            found[recording] = rows[0]
    return found


def _has_pattern(path: Folders, pattern: str) -> bool:
    """Whether the end of a path, with or without its suffix, matches a pattern."""
    if not pattern:
        return True
    wanted = pattern.split("/")
    stem = path[-1].rpartition(".")[0] or path[-1]
    return len(wanted) <= len(path) and any(
        all(map(fnmatchcase, [*path[:-1], last][-len(wanted) :], wanted)) for last in (path[-1], stem)
    )


def _naive(start: datetime, zone: tzinfo | None) -> datetime:
    return (start.astimezone(zone) if zone is not None and start.tzinfo is not None else start).replace(tzinfo=None)


def folders(recording: str) -> Folders:
    """The folders above a recording, without those that recorders make and those that name no place."""
    return _folders(recording[: max(recording.rfind("/"), recording.rfind("\\")) + 1])


@lru_cache(maxsize=10_000)
def _folders(above: str) -> Folders:
    return tuple(part for part in re.split(r"[/\\]", above) if part and not _NO_SITE.fullmatch(part))


def _folder_sites(recordings: Iterable[str]) -> dict[str, str]:
    """The nearest folder above each recording, with as many parents as make it different from all other folders."""
    above = {recording: folders(recording) for recording in recordings}
    depth = dict.fromkeys(above.values(), 1)
    while True:
        alike: dict[Folders, list[Folders]] = {}
        for folder, count in depth.items():
            alike.setdefault(folder[-count:], []).append(folder)
        longer = [each for group in alike.values() if len(group) > 1 for each in group if depth[each] < len(each)]
        if not longer:
            return {recording: "/".join(folder[-depth[folder] :]) for recording, folder in above.items()}
        for folder in longer:
            depth[folder] += 1


def _unmatched(table: SiteTable, rows: Mapping[str, Deployment], left: Mapping[str, NameParts]) -> Iterator[str]:
    used = {row.line for row in rows.values()}
    unused = [row for row in table.deployments if row.line not in used]
    if unused:
        named = [f"line {row.line} ({row.site.name})" for row in unused]
        yield f"{table.path}: no recording matches {_some(named)}. Check folder, recorder, pattern and dates there."
    if left:
        yield (
            f"{_count(len(left))} in no row of {table.path}: {_some(list(left), 1)}. Their sites come from their names "
            "or folders."
        )


def _folder_notes(
    left: Mapping[str, NameParts], by_folder: Mapping[str, str], names: Names, parts: Mapping[str, NameParts]
) -> Iterator[str]:
    """A note on sites that come from folders, with the name pattern that has the same meaning, if there is one."""
    of_folder = {recording: by_folder[recording] for recording in left if by_folder.get(recording)}
    if not of_folder:
        return
    last = [part for part in re.split(r"[/\\]", next(iter(of_folder)))[:-1] if part]
    below = sum(1 for _ in takewhile(_NO_SITE.fullmatch, reversed(last)))
    pattern = "/".join(["{site}", *["*"] * below, _AUDIOMOTH])
    same = replace(names, pattern=pattern)
    is_same = all(same.parse(name) == (by_folder.get(name), found.start) for name, found in parts.items())
    same_as = mark(", as with --name-pattern '{pattern}'").replace("{pattern}", pattern) if is_same else ""
    yield (
        f"{_count(len(of_folder))} without a site in the name. Each folder is a site{same_as}: "
        f"{_some(sorted(set(of_folder.values())))}. If this is wrong, give a table of sites with --sites."
    )


def _spread_notes(left: Mapping[str, NameParts]) -> Iterator[str]:
    """A note on sites in names whose recordings lie in several folders: two recorders may have the same name."""
    places: dict[str, set[Folders]] = {}
    for recording, (site, _) in left.items():
        if site is not None and site.casefold() not in map(str.casefold, above := folders(recording)):
            places.setdefault(site, set()).add(above)
    spread = {site: sorted(found) for site, found in places.items() if len(found) > 1}
    if spread:
        named = [f"{site} ({_some(['/'.join(each) or '.' for each in found], 2)})" for site, found in spread.items()]
        yield (
            f"Recordings in several folders have one site in their names and count as one site: {_some(named, 2)}. If "
            "these are several sites, give a table of sites with --sites."
        )


def _some(names: Sequence[str], count: int = MAX_NAMED) -> str:
    more = len(names) - count
    first = ", ".join(names[:count])
    return mark("{names} and {n} more").format(names=first, n=more) if more > 0 else first


def _count(number: int) -> str:
    words = mark("{n} recording is") if number == 1 else mark("{n} recordings are")
    return words.format(n=number)
