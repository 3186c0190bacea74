"""Wall clock, sunrise and sunset.

The start time in a recording's name is naive (the time that the recorder's clock showed) or has a time zone. A report
has one clock. Without options it is the time in the name, without its zone. With `zone`, times that have a zone are
converted to it; naive times are read in `recorder` if that is given, else in `zone`. The UTC offset at the start of a
recording is used for the whole recording.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from pathlib import Path

from loxo.errors import LoxoError
from loxo.events.cells import detect_delimiter, first_line, read_text, split_rows
from loxo.events.numbers import to_number


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
        table = read_text(path)
    except LoxoError as error:
        raise LoxoError(
            f"{text}: this is neither LAT,LON in degrees nor a readable CSV file with the columns site, lat, lon "
            f"({getattr(error.__cause__, 'strerror', None) or error})."
        ) from error
    rows = split_rows(path, table, detect_delimiter(first_line(table)))
    header = [name.lower() for name in rows[0][1]] if rows else []
    if not {"site", "lat", "lon"} <= set(header) or len(rows) < 2:
        raise LoxoError(
            f"{path}: the first line must name the columns site, lat, lon, and at least one site must follow."
        )
    sites = {}
    for line, cells in rows[1:]:
        row = dict(zip(header, cells, strict=False))
        sites[row.get("site", "")] = _coordinates(row.get("lat", ""), row.get("lon", ""), f"{path}, line {line}")
    return sites


def _coordinates(latitude: str, longitude: str, where: str) -> Coordinates:
    north, east = to_number(latitude), to_number(longitude)  # no thousands: 16,123 has one reading below 180
    if north is None or east is None:
        raise LoxoError(f"{where}: {latitude!r}, {longitude!r} are not a latitude and a longitude in degrees.")
    if not (abs(north) <= 90 and abs(east) <= 180):
        raise LoxoError(f"{where}: latitude must lie within -90 to 90 and longitude within -180 to 180 degrees.")
    return north, east


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
