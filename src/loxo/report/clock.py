"""Wall clock, sunrise and sunset.

Names of recordings give a time that is naive, as the recorder's clock showed it, or has a zone. A report has one clock:
without options the time in the name, whatever its zone; with `zone` times that have a zone are converted to it, and
naive ones are taken as being in it, or in `recorder` where that is given. The offset at a recording's start holds for
the whole recording.
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
        """Naive wall clock of the report."""
        if self.zone is None:
            return start.replace(tzinfo=None)
        if start.tzinfo is None:
            start = start.replace(tzinfo=self.recorder or self.zone)
        return start.astimezone(self.zone).replace(tzinfo=None)


def parse_zone(text: str) -> tzinfo:
    """A name of the time zone database, "UTC", or an offset such as +01:00. Raises LoxoError for another text."""
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


Place = tuple[float, float]  # latitude, longitude, degrees north and east


def parse_coordinates(text: str) -> dict[str, Place]:
    """The places of sites: {"": place} for "LAT,LON", or those in a CSV file with the columns site, lat, lon.

    Raises LoxoError with the line where a number is missing or out of range.
    """
    cells = text.split(",")
    if len(cells) == 2 and not Path(text).exists():
        return {"": _place(cells[0], cells[1], f"--coordinates {text}")}
    path = Path(text)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
            names = {name.strip().lower(): name for name in (rows[0] if rows else {}) if name}
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LoxoError(
            f"{text}: this is neither LAT,LON in degrees nor a CSV file with site, lat, lon ({reason})."
        ) from error
    if not {"site", "lat", "lon"} <= set(names):
        raise LoxoError(f"{path}: the first line must name the columns site, lat, lon, and places must follow.")
    places = {}
    for line, row in enumerate(rows, 2):
        places[(row[names["site"]] or "").strip()] = _place(
            row[names["lat"]] or "", row[names["lon"]] or "", f"{path}, line {line}"
        )
    return places


def _place(latitude: str, longitude: str, where: str) -> Place:
    try:
        place = float(latitude), float(longitude)
    except ValueError:
        raise LoxoError(f"{where}: {latitude!r}, {longitude!r} are no latitude and longitude in degrees.") from None
    if not (math.isfinite(place[0]) and abs(place[0]) <= 90 and math.isfinite(place[1]) and abs(place[1]) <= 180):
        raise LoxoError(f"{where}: latitude must lie within -90 to 90 and longitude within -180 to 180 degrees.")
    return place


def sun_times(place: Place, zone: tzinfo, days: Iterable[date]) -> list[tuple[date, datetime | None, datetime | None]]:
    """(day, sunrise, sunset) in naive wall clock of `zone`; None where the sun does not rise or set that day."""
    from astral import Observer
    from astral.sun import sunrise, sunset

    observer = Observer(*place)
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
