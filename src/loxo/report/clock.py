"""Wall clock, sunrise and sunset.

The start time in a recording's name is naive (the time that the recorder's clock showed) or has a time zone. A report
has one clock. Without options it is the time in the name, without its zone. With `zone`, times that have a zone are
converted to it; naive times are read in `recorder` if that is given, else in `zone`. The UTC offset at the start of a
recording is used for the whole recording.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from loxo.errors import LoxoError


@dataclass(frozen=True)
class Clock:
    zone: tzinfo | None = None
    recorder: tzinfo | None = None

    def local(self, start: datetime) -> datetime:
        """The naive wall clock of the report."""
        if self.zone is None:
            return start.replace(tzinfo=None)
        if start.tzinfo is None:
            start = start.replace(tzinfo=self.recorder or self.zone)
        return start.astimezone(self.zone).replace(tzinfo=None)


def parse_zone(text: str) -> tzinfo:
    """A name of the time zone database, "UTC", or an offset such as +01:00. Raises LoxoError for any other text."""
    if text.upper() in ("UTC", "Z"):
        return UTC
    match = re.fullmatch(r"([+-])(\d{1,2}):?(\d{2})?", text)
    if match:
        offset = timedelta(hours=int(match[2]), minutes=int(match[3] or 0))
        if offset < timedelta(hours=24):
            return timezone(-offset if match[1] == "-" else offset)
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise LoxoError(
            f"There is no time zone {text!r}: give a name such as Africa/Brazzaville, UTC, or an offset such as +01:00."
        ) from None


Coordinates = tuple[float, float]  # latitude, longitude, degrees north and east


def parse_coordinates(text: str) -> dict[str, Coordinates]:
    """Coordinates by site: {"": coordinates} for "LAT,LON", or those in a CSV file with the columns site, lat, lon.

    Raises LoxoError with the number of the line in which a number is missing or out of range.
    """
    cells = text.split(",")
    if len(cells) == 2 and not Path(text).exists():
        return {"": _coordinates(cells[0], cells[1], f"--coordinates {text}")}
    path = Path(text)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
            names = {name.strip().lower(): name for name in (rows[0] if rows else {}) if name}
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LoxoError(
            f"{text}: this is neither LAT,LON in degrees nor a readable CSV file with the columns site, lat, lon "
            f"({reason})."
        ) from error
    if not {"site", "lat", "lon"} <= set(names):
        raise LoxoError(
            f"{path}: the first line must name the columns site, lat, lon, and at least one site must follow."
        )
    sites = {}
    for line, row in enumerate(rows, 2):
        sites[(row[names["site"]] or "").strip()] = _coordinates(
            row[names["lat"]] or "", row[names["lon"]] or "", f"{path}, line {line}"
        )
    return sites


def _coordinates(latitude: str, longitude: str, where: str) -> Coordinates:
    try:
        coordinates = float(latitude), float(longitude)
    except ValueError:
        raise LoxoError(
            f"{where}: {latitude!r}, {longitude!r} are not a latitude and a longitude in degrees."
        ) from None
    if not (
        math.isfinite(coordinates[0])
        and abs(coordinates[0]) <= 90
        and math.isfinite(coordinates[1])
        and abs(coordinates[1]) <= 180
    ):
        raise LoxoError(f"{where}: latitude must lie within -90 to 90 and longitude within -180 to 180 degrees.")
    return coordinates


def sun_times(
    coordinates: Coordinates, zone: tzinfo, days: Iterable[date]
) -> list[tuple[date, datetime | None, datetime | None]]:
    """(day, sunrise, sunset) in the naive wall clock of `zone`; None if the sun does not rise or set on that day."""
    from astral import Observer
    from astral.sun import sunrise, sunset

    observer = Observer(*coordinates)
    found = []
    for day in days:
        times: list[datetime | None] = []
        for event in (sunrise, sunset):
            try:
                times.append(event(observer, date=day, tzinfo=zone).replace(tzinfo=None))
            except ValueError:  # polar day or night
                times.append(None)
        found.append((day, times[0], times[1]))
    return found
