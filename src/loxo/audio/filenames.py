"""Site and start time out of the names recorders and archives give to their files.

Known: Elephant Listening Project and Swift (`nn06b_20201005_000100.wav`), Song Meter (`S4A03895_20190522_000000.wav`,
also with a trailing zone, `_20190522_000000+0100`), AudioMoth (`20190522_000000.WAV`, and the hexadecimal seconds since
1970 of its first firmware, `5CE4A680.WAV`, which are UTC). Nothing is guessed: an unknown name gives neither.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import PureWindowsPath
from typing import NamedTuple

_STAMP = re.compile(
    r"(?:^|(?P<site>.*?)[_\- ])"
    r"(?P<date>(?:19|20)\d{2}-?[01]\d-?[0-3]\d)[_T\-$ ]"
    r"(?P<time>[0-2]\d[:\-]?[0-5]\d[:\-]?[0-5]\d)"
    r"(?P<fraction>\.\d{1,6})?"
    r"(?P<zone>Z|[+\-]\d{2}:?\d{2})?"
    r"(?:_\d{3})?(?:[_. ][A-Za-z].*)?$"  # a clip's name may go on with its offset: then the start is not known
)
_AUDIOMOTH_HEX = re.compile(r"[0-9A-F]{8}")
_AUDIOMOTH_YEARS = range(2017, 2025)  # hexadecimal names ended with firmware 1.2 of 2018; clocks are set late


class NameParts(NamedTuple):
    """What a file's name tells; None where it does not. The start is naive unless the name has a zone."""

    site: str | None
    start: datetime | None


def base_name(path: str) -> str:
    """The last part of a path or URL, whichever system wrote it: Windows paths occur in tables read elsewhere."""
    return PureWindowsPath(path).name


def parse_name(path: str) -> NameParts:
    """Site and start of a recording from its path, URL or name."""
    stem = base_name(path)
    if "." in stem:
        stem = stem[: stem.rindex(".")]
    match = _STAMP.match(stem)
    if match:
        digits = re.sub(r"\D", "", match["date"] + match["time"])
        try:
            start = datetime.strptime(digits, "%Y%m%d%H%M%S")
        except ValueError:  # such as 31 February
            return NameParts(None, None)
        if match["fraction"]:
            start += timedelta(seconds=float(match["fraction"]))
        return NameParts(match["site"] or None, start.replace(tzinfo=_zone(match["zone"])))
    if _AUDIOMOTH_HEX.fullmatch(stem.upper()):
        start = datetime.fromtimestamp(int(stem, 16), UTC)
        if start.year in _AUDIOMOTH_YEARS:
            return NameParts(None, start)
    return NameParts(None, None)


def _zone(text: str | None) -> timezone | None:
    if not text:
        return None
    if text == "Z":
        return UTC
    hours, minutes = int(text[1:3]), int(text[-2:])
    offset = timedelta(hours=hours, minutes=minutes)
    if offset >= timedelta(hours=24):
        return None
    return timezone(offset if text[0] == "+" else -offset)
