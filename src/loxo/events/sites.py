"""Tables of sites: which recorder was at which site, from when to when (CSV).

| column                  | other headers                          | value                                          |
|-------------------------|----------------------------------------|------------------------------------------------|
| `site`                  | station                                | name of the site                               |
| `folder`                | directory                              | folder of the recordings, or its last folders  |
| `recorder`              | device, serial number                  | text before the date in the names              |
| `pattern`               | name pattern                           | name with * and ?, such as `S4A03895_2024*`    |
| `latitude`, `longitude` | lat, lon, long, lng, decimal latitude  | degrees north and east                         |
| `time_zone`             | tz                                     | as for loxo.audio.zones.find_zone              |
| `start`, `end`          | start date, deployed, from; to, until  | of the deployment; the last day belongs to it  |

Only `site` is required. A row without folder, recorder and pattern belongs to the recordings whose names or folders
contain this site. Other columns are ignored. Encodings, separators and headers are read as in all tables (cells.py).

Failure policy: the first fault raises LoxoError with the line and the way out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from loxo.audio.zones import find_zone
from loxo.errors import LoxoError
from loxo.events.cells import decode, detect_delimiter, first_line, normalise_header, split_rows
from loxo.events.numbers import to_number
from loxo.files import escape

HEADERS = {
    "site": ("site", "sitename", "siteid", "station", "stationname", "stationid"),
    "folder": ("folder", "directory"),
    "recorder": ("recorder", "recorderid", "device", "deviceid", "serial", "serialnumber"),
    "pattern": ("pattern", "namepattern"),
    "latitude": ("latitude", "lat", "decimallatitude"),
    "longitude": ("longitude", "lon", "long", "lng", "decimallongitude"),
    "time_zone": ("timezone", "tz"),
    "start": ("start", "startdate", "starttime", "deploymentstart", "deployed", "from"),
    "end": ("end", "enddate", "endtime", "deploymentend", "retrieved", "to", "until"),
}
EXAMPLE = "site,folder,latitude,longitude,time_zone,start,end"  # a header that names all that most surveys need

_TIME = r"(?:[T ]+(?P<hour>\d{1,2}):?(?P<minute>\d\d)(?::?(?P<second>\d\d))?)?"
_YEAR_FIRST = re.compile(r"(?P<year>\d{4})(?P<sign>[-/.]?)(?P<month>\d\d)(?P=sign)(?P<day>\d\d)" + _TIME)
_YEAR_LAST = re.compile(r"(?P<one>\d{1,2})(?P<sign>[-/.])(?P<other>\d{1,2})(?P=sign)(?P<year>\d{4})" + _TIME)


@dataclass(frozen=True)
class Site:
    """A site. Coordinates are degrees north and east; what the table does not contain is None."""

    name: str
    latitude: float | None = None
    longitude: float | None = None
    time_zone: str | None = None

    @property
    def coordinates(self) -> tuple[float, float] | None:
        return None if self.latitude is None or self.longitude is None else (self.latitude, self.longitude)

    @property
    def zone(self) -> tzinfo | None:
        return None if self.time_zone is None else find_zone(self.time_zone)


@dataclass(frozen=True)
class Deployment:
    """One recorder at one site: a row of the table. Keys are as `key` returns them, "" if the row has none."""

    line: int
    site: Site
    folder: str
    recorder: str
    pattern: str
    start: datetime | None  # wall clock at the site
    end: datetime | None  # the first moment after the deployment

    def covers(self, time: datetime) -> bool:
        return (self.start is None or self.start <= time) and (self.end is None or time < self.end)


@dataclass(frozen=True)
class SiteTable:
    """A checked table of sites, with the bytes of its file."""

    path: str  # for messages
    content: bytes
    deployments: tuple[Deployment, ...]

    @cached_property
    def sites(self) -> dict[str, Site]:
        return {deployment.site.name: deployment.site for deployment in self.deployments}


def read_sites(path: str | Path) -> SiteTable:
    """Reads a table of sites. Raises LoxoError for the first fault."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise LoxoError(f"{path}: the table of sites cannot be opened ({error.strerror}). Check the path.") from error
    return parse_sites(content, path)


def parse_sites(content: bytes, path: str | Path) -> SiteTable:
    """read_sites, for the bytes of the file `path`."""
    rows = _rows(content, Path(path))
    day_first = _day_first([row[name] for _, row in rows for name in ("start", "end")])
    sites: dict[str, tuple[int, Site]] = {}
    for line, row in rows:
        _merge(sites, line, _site(row, f"{path}, line {line}"), path)
    deployments = [_deployment(line, row, sites, day_first, f"{path}, line {line}") for line, row in rows]
    _check_overlaps(deployments, path)
    return SiteTable(str(path), content, tuple(deployments))


def key(text: str) -> str:
    """Equal for names that are one name on some disks: without case, composed characters, "/" between folders."""
    return unicodedata.normalize("NFC", text.replace("\\", "/").strip("/").casefold())


def _rows(content: bytes, path: Path) -> list[tuple[int, dict[str, str]]]:
    """The cells of the known columns of each row, with its line number."""
    text = decode(content).replace("\r\n", "\n").replace("\r", "\n")
    delimiter = detect_delimiter(first_line(text))
    lines = split_rows(path, text, delimiter)
    header = lines[0][1] if lines else []
    named = [normalise_header(cell) for cell in header]
    columns: dict[str, int] = {}
    for field, known in HEADERS.items():
        found = [column for column, name in enumerate(named) if name in known]
        if len(found) > 1:
            both = " and ".join(repr(header[column]) for column in found[:2])
            raise LoxoError(f"{path}: the columns {both} both mean the {field}. Rename or remove one of them.")
        if found:
            columns[field] = found[0]
    if "site" not in columns or len(lines) < 2:
        raise LoxoError(
            f"{path}: a table of sites needs a first line with the column site, and at least one row below. Columns "
            f"are, for example, {EXAMPLE}."
        )
    for one, other in (("latitude", "longitude"), ("longitude", "latitude")):
        if one in columns and other not in columns:
            raise LoxoError(
                f"{path}: there is a column {header[columns[one]]!r}, but none for the {other}. Columns are, for "
                f"example, {EXAMPLE}."
            )
    for line, cells in lines[1:]:
        if any(cells[len(header) :]):
            raise LoxoError(
                f"{path}, line {line}: the row has {len(cells)} cells, but the first line has {len(header)}. Write "
                "numbers with a point (2.25), or separate columns with semicolons."
            )
    return [
        (line, {field: escape(dict(enumerate(cells)).get(columns.get(field, -1), "")) for field in HEADERS})
        for line, cells in lines[1:]
    ]


def _site(row: dict[str, str], where: str) -> Site:
    if not row["site"]:
        raise LoxoError(f"{where}: the row has no site. Name the site, or remove the row.")
    time_zone = row["time_zone"] or None
    if time_zone is not None:
        try:
            find_zone(time_zone)
        except LoxoError as error:
            raise LoxoError(f"{where}: {error}") from error
    if not row["latitude"] and not row["longitude"]:
        return Site(row["site"], time_zone=time_zone)
    north, east = to_number(row["latitude"]), to_number(row["longitude"])  # 16,123 has one reading below 180
    if north is None or east is None:
        raise LoxoError(
            f"{where}: latitude {row['latitude']!r} and longitude {row['longitude']!r} are not two numbers. Write "
            "degrees such as 2.25 and 16.5; south and west are negative."
        )
    if not (abs(north) <= 90 and abs(east) <= 180):
        swapped = abs(east) <= 90 and abs(north) <= 180
        way = "They seem to be swapped: exchange them." if swapped else "Write degrees, not metres of a map."
        raise LoxoError(
            f"{where}: latitude {row['latitude']} or longitude {row['longitude']} is out of range; they lie within "
            f"-90 to 90 and -180 to 180 degrees. {way}"
        )
    return Site(row["site"], north, east, time_zone)


def _merge(sites: dict[str, tuple[int, Site]], line: int, site: Site, path: str | Path) -> None:
    """Adds a row's site. A site has one place: its rows may leave it out, but not contradict each other."""
    first, before = sites.get(site.name, (line, site))
    for what, one, other in (
        ("other coordinates", before.coordinates, site.coordinates),
        ("another time zone", before.time_zone, site.time_zone),
    ):
        if one is not None and other is not None and one != other:
            raise LoxoError(
                f"{path}, line {line}: the site {site.name} has {what} than in line {first}. Correct one of the two "
                "lines, or give the places different names."
            )
    place = before if before.coordinates is not None else site
    sites[site.name] = first, replace(place, time_zone=before.time_zone or site.time_zone)


def _deployment(
    line: int, row: dict[str, str], sites: dict[str, tuple[int, Site]], day_first: bool | None, where: str
) -> Deployment:
    folder, recorder, pattern = (key(row[name]) for name in ("folder", "recorder", "pattern"))
    start = _date(row["start"], day_first, where)
    end = _date(row["end"], day_first, where, is_end=True)
    if start is not None and end is not None and end <= start:
        raise LoxoError(f"{where}: the deployment ends ({row['end']}) before it starts ({row['start']}). Correct it.")
    if not (folder or recorder or pattern):
        recorder = key(row["site"])
    return Deployment(line, sites[row["site"]][1], folder, recorder, pattern, start, end)


def _day_first(dates: Sequence[str]) -> bool | None:
    """Whether dates such as 01/02/2024 begin with the day, by a number above 12; None if no date shows it."""
    found = [match for match in map(_YEAR_LAST.fullmatch, dates) if match and match["sign"] != "."]
    if any(int(match["one"]) > 12 for match in found):
        return True
    return False if any(int(match["other"]) > 12 for match in found) else None


def _date(text: str, day_first: bool | None, where: str, is_end: bool = False) -> datetime | None:
    """A date or time; None for "". A date at the end of a deployment includes the whole day."""
    if not text:
        return None
    match = _YEAR_FIRST.fullmatch(text)
    if match is not None:
        month, day = match["month"], match["day"]
    elif (match := _YEAR_LAST.fullmatch(text)) is not None:
        if match["sign"] == ".":
            day_first = True
        if day_first is None:
            raise LoxoError(f"{where}: the date {text!r} has two readings. Write it as 2024-03-31.")
        day, month = (match["one"], match["other"]) if day_first else (match["other"], match["one"])
    try:
        if match is None:
            raise ValueError
        hour, minute, second = (int(match[name] or 0) for name in ("hour", "minute", "second"))
        found = datetime(int(match["year"]), int(month), int(day), hour, minute, second)
        return found + timedelta(days=1) if is_end and match["hour"] is None else found
    except (ValueError, OverflowError) as error:
        raise LoxoError(
            f"{where}: {text!r} is not a date. Write dates as 2024-03-31, and times as 2024-03-31 18:00."
        ) from error


def _check_overlaps(deployments: Sequence[Deployment], path: str | Path) -> None:
    """Raises LoxoError for duplicate rows, and for one recorder that is at two sites at one time."""
    recorders: dict[tuple[str, str, str], list[Deployment]] = {}
    for deployment in deployments:
        recorders.setdefault((deployment.folder, deployment.recorder, deployment.pattern), []).append(deployment)
    for names, group in recorders.items():
        group.sort(key=lambda each: (each.start or datetime.min, each.line))
        for one, other in pairwise(group):
            if (one.start, one.end, one.site) == (other.start, other.end, other.site):
                raise LoxoError(f"{path}, line {other.line}: the row repeats line {one.line}. Remove one of the two.")
            if one.end is None or other.start is None or other.start < one.end:
                raise LoxoError(
                    f"{path}, line {other.line}: the deployment of {next(filter(None, names))} overlaps the one in "
                    f"line {one.line}. Correct start and end; for a move within a day add times, such as "
                    "2024-03-31 12:00."
                )
