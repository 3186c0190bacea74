"""Site and start time of a recording, from the file names of recorders and archives.

These names are read without a pattern:

| recorder                          | example                                                                   |
|-----------------------------------|---------------------------------------------------------------------------|
| Elephant Listening Project, Swift | `nn06b_20201005_000100.wav`, `S1093_20220101_000000+0100.wav`             |
| Song Meter 2, 3, 4, Mini, Micro   | `S4A03895_20190522_000000.wav`, `SM2_20110522_000000_000.wav`,            |
|                                   | `SM3_0+1_20140522$000000.wav` ($: clock set by GPS), `..._A_Summary` |
| AudioMoth                         | `20190522_000000.WAV`, `24F31901603710C5_20190522_000000.WAV`, with a     |
|                                   | final T if triggered; `5CE4A680.WAV` from the first firmware: hexadecimal |
|                                   | seconds since 1970, UTC                                                   |
| Bioacoustic Audio Recorder        | `20190522T000000+1000_Lake-East.wav`                                      |

An unknown name gives neither site nor start time; nothing is guessed. `Names` reads other names with a pattern. It
also adds a time zone to start times, because most names do not contain one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from pathlib import PureWindowsPath
from typing import NamedTuple

from loxo.audio.zones import find_zone
from loxo.errors import LoxoError

_TIMESTAMP = re.compile(
    r"(?:^|(?P<site>.*?)[_\- ])"
    r"(?P<date>(?:19|20)\d{2}-?[01]\d-?[0-3]\d)[_T\-$ ]"
    r"(?P<time>[0-2]\d[:\-]?[0-5]\d[:\-]?[0-5]\d)"
    r"(?P<fraction>\.\d{1,6})?"
    r"(?P<zone>Z|[+\-]\d{2}:?\d{2})?"
    r"T?(?:_\d{3})?(?:[_. ][A-Za-z].*)?$"  # a name that ends with an offset is a clip: its start is unknown
)
_AUDIOMOTH_HEX = re.compile(r"[0-9A-F]{8}")
_AUDIOMOTH_YEARS = range(2017, 2025)  # firmware 1.2 (2018) replaced these names; some recorders kept the old one

# Codes of a pattern: the site, any text, and the strptime codes that occur in names of recordings.
_CODES = {
    "{site}": "(?P<site>[^/]+?)",
    "*": "[^/]*?",
    "%Y": r"(?P<Y>(?:19|20)\d{2})",
    "%y": r"(?P<y>\d{2})",
    "%m": r"(?P<m>\d{2})",
    "%d": r"(?P<d>\d{2})",
    "%j": r"(?P<j>\d{3})",
    "%H": r"(?P<H>\d{2})",
    "%M": r"(?P<M>\d{2})",
    "%S": r"(?P<S>\d{2})",
    "%f": r"(?P<f>\d{1,6})",
    "%z": r"(?P<z>Z|[+\-]\d{2}:?\d{2})",
}
_TOKEN = re.compile(r"\{[^}]*\}|%.|\*|[^{%*]+|.")
_DATES = {8: "%Y%m%d", 7: "%Y%j", 6: "%y%m%d"}  # by the number of digits
_TIMES = {6: "%H%M%S", 4: "%H%M"}


class NameParts(NamedTuple):
    """Site and start time in a file name; None if the name does not contain them. Without a zone, start is naive."""

    site: str | None
    start: datetime | None


@dataclass(frozen=True)
class Names:
    """Rules for reading names of recordings. Raises LoxoError for an invalid pattern or an unknown zone.

    `pattern` is matched against the end of the path without the suffix, with as many folders as it has slashes. It has
    one of two forms. The first is text with {site}, * (any text) and strptime's %Y %y %m %d %j %H %M %S %f %z, such as
    `{site}/%Y-%m-%d_%Hh%M`. The second is a regular expression with groups named site, date, time and zone. All groups
    are optional. A date is 20190522, 190522 or 2019142 and a time 000000 or 0000; separators are allowed. If a pattern
    is given, a name that does not match it gives neither site nor start time.

    `time_zone` is a name or offset for `find_zone`. Start times without a zone get this zone; start times with a zone
    are converted to it.
    """

    pattern: str | None = None
    time_zone: str | None = None

    def __post_init__(self) -> None:
        if self.pattern is not None:
            _compiled(self.pattern)
        if self.time_zone is not None:
            find_zone(self.time_zone)

    def parse(self, path: str) -> NameParts:
        """Returns site and start time of a recording from its path, URL or name."""
        parts = parse_name(path) if self.pattern is None else _parse_by(self.pattern, path)
        if parts.start is None or self.time_zone is None:
            return parts
        zone = find_zone(self.time_zone)
        start = parts.start
        return parts._replace(start=start.replace(tzinfo=zone) if start.tzinfo is None else start.astimezone(zone))


USUAL_NAMES = Names()


def add_seconds(start: datetime, seconds: float) -> datetime:
    """Adds elapsed seconds to `start`, in its zone; correct also when daylight saving time starts or ends between."""
    if start.tzinfo is None:
        return start + timedelta(seconds=seconds)
    return (start.astimezone(UTC) + timedelta(seconds=seconds)).astimezone(start.tzinfo)


def base_name(path: str) -> str:
    """Returns the last part of a path or URL. Windows paths are split on every system: tables contain them."""
    return PureWindowsPath(path).name


def parse_name(path: str) -> NameParts:
    """Returns site and start time of a recording from its path, URL or name, without a pattern."""
    stem = _stem(base_name(path))
    match = _TIMESTAMP.match(stem)
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


def _stem(name: str) -> str:
    return name[: name.rindex(".")] if "." in name else name


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    if "(?P<" in pattern:
        text, kind = pattern, "regular expression"
    else:
        text, kind = "".join(_token_to_regex(token, pattern) for token in _TOKEN.findall(pattern)), "pattern"
    try:
        compiled = re.compile(text)
    except re.error as error:
        raise LoxoError(f"The name pattern {pattern!r} is not a valid {kind} ({error}). Correct it.") from error
    if not {"site", "date", "Y", "y"} & set(compiled.groupindex):
        raise LoxoError(
            f"The name pattern {pattern!r} contains neither a site nor a date. Use {{site}}, %Y%m%d, %H%M%S and *, or "
            "a regular expression with groups such as (?P<site>...), (?P<date>...) and (?P<time>...)."
        )
    return compiled


def _token_to_regex(token: str, pattern: str) -> str:
    if token in _CODES:
        return _CODES[token]
    if token[0] in "{%":
        raise LoxoError(f"The name pattern {pattern!r} has an unknown code, {token!r}. Use {' '.join(_CODES)}.")
    return re.escape(token)


def _parse_by(pattern: str, path: str) -> NameParts:
    parts = [part for part in re.split(r"[/\\]", path) if part]
    if not parts:
        return NameParts(None, None)
    depth = pattern.count("/") + 1
    match = _compiled(pattern).fullmatch("/".join([*parts[-depth:-1], _stem(parts[-1])]))
    if match is None:
        return NameParts(None, None)
    found = {name: text for name, text in match.groupdict().items() if text}
    return NameParts(found.get("site"), _start(found))


def _start(found: dict[str, str]) -> datetime | None:
    """Returns the start time from a pattern's groups; None if they contain no date, or one that does not exist."""
    if "date" in found:
        day, clock = (re.sub(r"\D", "", found.get(name, "")) for name in ("date", "time"))
        text, code = day + clock, _DATES.get(len(day), "?") + (_TIMES.get(len(clock), "?") if clock else "")
    else:
        codes = [name for name in "YymdjHMSf" if name in found]
        text, code = " ".join(found[name] for name in codes), " ".join(f"%{name}" for name in codes)
        if not {"Y", "y"} & set(codes) or not ({"m", "d"} <= set(codes) or "j" in codes):
            return None
    try:
        start = datetime.strptime(text, code)
    except ValueError:  # such as 31 February
        return None
    return start.replace(tzinfo=_zone(found.get("z") or found.get("zone")))
