"""Wall clock, sunrise and sunset.

The start time in a recording's name is naive (the time that the recorder's clock showed) or has a time zone. Times in a
report are in `zone` if that is given, else in the zone of their site, if the table of sites contains it, else they are
the times in the names, without their zone. Naive times are read in `recorder` if that is given, else in the zone of the
site, else in `zone`. The UTC offset at the start of a recording is used for the whole recording.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo

from loxo.errors import LoxoError
from loxo.events.numbers import to_number
from loxo.runs.sites import Origin


@dataclass(frozen=True)
class Clock:
    zone: tzinfo | None = None
    recorder: tzinfo | None = None

    def local(self, origin: Origin) -> datetime | None:
        """The start of a recording as naive wall clock of the report."""
        start, zone = origin.start, self.zone or origin.zone
        if start is None or zone is None:
            return start and start.replace(tzinfo=None)
        if start.tzinfo is None:
            start = start.replace(tzinfo=self.recorder or origin.zone or zone)
        return start.astimezone(zone).replace(tzinfo=None)


Coordinates = tuple[float, float]  # latitude, longitude, degrees north and east
SunTimes = list[tuple[date, datetime | None, datetime | None]]  # day, sunrise, sunset


def parse_coordinates(text: str) -> Coordinates:
    """Coordinates written as LAT,LON. Raises LoxoError when a number is missing or out of range."""
    numbers = [to_number(cell) for cell in text.split(",")]
    if len(numbers) != 2 or None in numbers:
        raise LoxoError(
            f"--coordinates takes LAT,LON in degrees, such as 2.25,16.5, not {text!r}. For several sites, give a table "
            "with --sites."
        )
    north, east = numbers
    assert north is not None and east is not None
    if not (abs(north) <= 90 and abs(east) <= 180):
        raise LoxoError(
            f"--coordinates {text}: latitude must lie within -90 to 90 and longitude within -180 to 180 degrees."
        )
    return north, east


def are_near(one: SunTimes, other: SunTimes, minutes: float = 5.0) -> bool:
    """Whether the sun rises and sets at nearly the same times at two places: one line in a figure serves for both."""
    pairs = [(a, b) for row, same in zip(one, other, strict=True) for a, b in zip(row[1:], same[1:], strict=True)]
    near = timedelta(minutes=minutes)
    return all(a is b if a is None or b is None else abs(a - b) <= near for a, b in pairs)


def sun_times(coordinates: Coordinates, zone: tzinfo, days: Iterable[date]) -> SunTimes:
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
