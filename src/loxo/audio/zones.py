"""Time zones by name or by offset from UTC."""

from __future__ import annotations

import difflib
import re
from datetime import UTC, timedelta, timezone, tzinfo
from functools import cache

from loxo.errors import LoxoError
from loxo.installation import install_package

# African zones without daylight saving time, in hours. Other abbreviations have several meanings (CST, IST, BST).
ABBREVIATIONS = {"UTC": 0, "Z": 0, "GMT": 0, "WAT": 1, "CAT": 2, "SAST": 2, "EAT": 3}
OFFSETS = timedelta(hours=-12), timedelta(hours=14)  # of all inhabited places
WAYS = "Use a name such as Africa/Brazzaville, an offset such as +01:00, or WAT, CAT, EAT, SAST or UTC."

_OFFSET = re.compile(r"(?:UTC|GMT)? ?(?P<sign>[+\-\u2212])(?P<hours>\d{1,2})(?::?(?P<minutes>[0-5]\d))?", re.IGNORECASE)
_REVERSED = re.compile(r"(?:.*/)?Etc/GMT(?P<sign>[+-])0*(?P<hours>\d{1,2})", re.IGNORECASE)


@cache
def find_zone(text: str) -> tzinfo:
    """Returns the time zone of an IANA name, an offset (+01:00, -3, UTC+1) or an abbreviation (WAT, CAT, EAT, SAST).

    A positive offset lies east of Greenwich, where clocks are ahead of UTC. Names such as Etc/GMT-1 have the reversed
    sign and are refused. Raises LoxoError, with the nearest names, if there is no such zone.
    """
    import zoneinfo

    name = text.strip()
    if name.upper() in ABBREVIATIONS:
        hours = ABBREVIATIONS[name.upper()]
        return timezone(timedelta(hours=hours), name.upper()) if hours else UTC
    if match := _OFFSET.fullmatch(name):
        offset = timedelta(hours=int(match["hours"]), minutes=int(match["minutes"] or 0))
        offset = offset if match["sign"] == "+" else -offset
        if not OFFSETS[0] <= offset <= OFFSETS[1]:
            raise LoxoError(f"There is no time zone {text!r}: offsets lie between -12:00 and +14:00. {WAYS}")
        return timezone(offset) if offset else UTC
    if (match := _REVERSED.fullmatch(name)) and (hours := int(match["hours"])) in range(1, 15):
        east, west = f"+{hours:02}:00", f"-{hours:02}:00"
        raise LoxoError(
            f"The sign of the time zone {text!r} is reversed: it means UTC{west if match['sign'] == '+' else east}. "
            f"Use {east} for clocks ahead of UTC, or {west} for clocks behind UTC."
        )
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known = sorted(zoneinfo.available_timezones())
    if not known:
        raise LoxoError(
            f"The time zone {text!r} cannot be found: this system has no time zone data. Use an offset such as "
            f"+01:00, or install the data: {install_package('tzdata')}"
        )
    near = ", ".join(_nearest(name.casefold().replace(" ", "_"), known))
    raise LoxoError(f"There is no time zone {text!r}. {f'Nearest: {near}. ' if near else ''}{WAYS}")


def _nearest(wanted: str, known: list[str]) -> list[str]:
    """Returns places with a similar name: no abbreviations, and no Etc/GMT names, whose sign is reversed."""
    known = [zone for zone in known if "/" in zone and not zone.startswith("Etc/")]
    places = {zone.casefold(): zone for zone in known}
    ends: dict[str, str] = {}
    for zone in known:
        ends.setdefault(zone.rsplit("/", 1)[-1].casefold(), zone)
    near = [places[match] for match in difflib.get_close_matches(wanted, places, n=3, cutoff=0.6)]
    last = wanted.rsplit("/", 1)[-1]
    near += [ends[match] for match in difflib.get_close_matches(last, ends, n=3, cutoff=0.7)]
    return list(dict.fromkeys(near))
