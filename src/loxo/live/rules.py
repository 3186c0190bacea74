"""Rules for alerts, in a TOML file (docs/live.md).

Failure policy: every fault in the file is a LoxoError with the file, the table and the key. A secret that stands in the
file itself is refused.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, time
from pathlib import Path
from typing import Any

from loxo.errors import LoxoError

KINDS = ("webhook", "mqtt", "email", "command", "file")
SECRETS = ("secret", "password", "username", "url")  # keys of a sink that may name an environment variable or a file
PLAIN = ("url", "username")  # of these, the keys that may also be given as they are


@dataclass(frozen=True)
class Rule:
    """When an alert is sent. Times are those of events, by the clock of their site."""

    name: str
    labels: tuple[str, ...] = ()  # none: all
    min_score: float = 0.0
    count: int = 1  # events within `within_minutes`, with this one
    within_minutes: float = 60.0
    hours: tuple[time, time] | None = None  # from, to; the end may be before the start, after midnight
    sites: tuple[str, ...] = ()
    quiet_minutes: float = 0.0  # after an alert of this rule at a site
    max_age_hours: float = 48.0  # events that were recorded earlier are no news
    sinks: tuple[str, ...] = ()  # none: all

    def matches(self, label: str, score: float, site: str, at: datetime | None) -> bool:
        """Whether an event counts. One without a time counts at all hours."""
        return (
            (not self.labels or label in self.labels)
            and score >= self.min_score
            and (not self.sites or site in self.sites)
            and (self.hours is None or at is None or _within(at.time(), *self.hours))
        )


@dataclass(frozen=True)
class Daily:
    """A sum once a day, also when nothing was detected."""

    at: time  # by this computer's clock
    sinks: tuple[str, ...] = ()


@dataclass(frozen=True)
class SinkConfig:
    """A receiver of alerts. `values` contain secrets: they are never printed."""

    name: str
    kind: str
    values: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class AlertConfig:
    rules: tuple[Rule, ...]
    daily: Daily | None
    sinks: tuple[SinkConfig, ...]


def _within(at: time, first: time, end: time) -> bool:
    return first <= at < end if first <= end else at >= first or at < end


def read_alert_config(path: str | Path) -> AlertConfig:
    """Reads a file of rules. Raises LoxoError for every fault."""
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise LoxoError(f"{path}: the file of alerts cannot be read ({error.strerror}). Check the path.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LoxoError(f"{path}: this is not a valid TOML file ({error}). See docs/live.md for an example.") from error
    top = _Table(path, "the file", content)
    sinks = tuple(_sink(_Table(path, f"sink.{name}", values)) for name, values in top.tables("sink").items())
    names = tuple(sink.name for sink in sinks)
    given = top.take("rule", list, [])
    rules = tuple(_rule(_Table(path, f"rule {k + 1}", values), names) for k, values in enumerate(given))
    daily = top.take("daily", dict, None)
    top.end()
    if not sinks:
        raise LoxoError(f"{path}: there is no receiver of alerts. Add a table [sink.NAME]; see docs/live.md.")
    if len({rule.name for rule in rules}) < len(rules):
        raise LoxoError(f"{path}: two rules have one name. Give each rule a name of its own.")
    return AlertConfig(rules, None if daily is None else _daily(_Table(path, "daily", daily), names), sinks)


class _Table:
    """A table of the file, whose keys are taken one after the other."""

    def __init__(self, path: str | Path, name: str, values: Any) -> None:
        self.path, self.name = path, name
        if not isinstance(values, dict):
            raise self.fault("is not a table")
        self.values = dict(values)

    def fault(self, what: str) -> LoxoError:
        return LoxoError(f"{self.path}: {self.name} {what}. See docs/live.md for an example.")

    def take(self, key: str, kind: type | tuple[type, ...], default: Any) -> Any:
        value = self.values.pop(key, default)
        if value is not default and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
            raise self.fault(f"has a wrong value of {key!r}")
        return value

    def number(self, key: str, default: float, lowest: float = 0.0) -> float:
        value = float(self.take(key, (int, float), default))
        if not value >= lowest:
            raise self.fault(f"has a value of {key!r} below {lowest:g}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        given = self.take(key, (list, str), [])
        values = [given] if isinstance(given, str) else given
        if not all(isinstance(value, str) for value in values):
            raise self.fault(f"has a wrong value of {key!r}")
        return tuple(values)

    def tables(self, key: str) -> dict[str, Any]:
        found: dict[str, Any] = self.take(key, dict, {})
        return found

    def clock(self, key: str, text: str) -> time:
        try:
            hour, _, minute = text.strip().partition(":")
            return time(int(hour) % 24, int(minute or 0))
        except ValueError:
            raise self.fault(f"has a wrong time {text!r} in {key!r}; times are like 18:30") from None

    def end(self) -> None:
        if self.values:
            raise self.fault(f"has an unknown key {next(iter(self.values))!r}")


def _rule(table: _Table, sinks: tuple[str, ...]) -> Rule:
    hours = table.take("hours", str, None)
    span = None
    if hours is not None:
        first, dash, end = hours.partition("-")
        if not dash:
            raise table.fault("has wrong hours; they are like 18:00-06:00")
        span = table.clock("hours", first), table.clock("hours", end)
    rule = Rule(
        name=table.take("name", str, table.name),
        labels=table.texts("labels"),
        min_score=table.number("min_score", 0.0),
        count=int(table.number("count", 1, 1)),
        within_minutes=table.number("within_minutes", 60.0),
        hours=span,
        sites=table.texts("sites"),
        quiet_minutes=table.number("quiet_minutes", 0.0),
        max_age_hours=table.number("max_age_hours", 48.0),
        sinks=_sinks(table, sinks),
    )
    table.end()
    return rule


def _daily(table: _Table, sinks: tuple[str, ...]) -> Daily:
    daily = Daily(table.clock("at", table.take("at", str, "07:00")), _sinks(table, sinks))
    table.end()
    return daily


def _sinks(table: _Table, known: tuple[str, ...]) -> tuple[str, ...]:
    names = table.texts("sinks")
    for name in names:
        if name not in known:
            raise table.fault(f"names a receiver {name!r}, but there is no table [sink.{name}]")
    return names


# ---------------------------------------------------------------- receivers


def _sink(table: _Table) -> SinkConfig:
    kind = table.take("type", str, "")
    if kind not in KINDS:
        raise table.fault(f"needs a type, one of {', '.join(KINDS)}")
    attachments = table.take("attachments", bool, True)
    take: dict[str, Callable[[], Any]] = {
        "webhook": lambda: {"url": _text(table, "url"), "secret": _secret(table, "secret"), "ca_file": _ca(table)},
        "mqtt": lambda: {
            "host": _text(table, "host"),
            "tls": table.take("tls", bool, False),
            "port": int(table.number("port", 8883 if table.values.get("tls") else 1883, 1)),
            "topic": table.take("topic", str, "loxo"),
            "ca_file": _ca(table),
            **_login(table),
        },
        "email": lambda: {
            "host": _text(table, "host"),
            "security": _security(table),
            "port": int(table.number("port", 0)),
            "sender": _text(table, "from"),
            "to": table.texts("to") or _missing(table, "to"),
            "ca_file": _ca(table),
            **_login(table),
        },
        "command": lambda: {"command": table.texts("command") or _missing(table, "command")},
        "file": lambda: {"path": Path(_text(table, "path"))},
    }
    values = take[kind]()
    table.end()
    return SinkConfig(table.name.removeprefix("sink."), kind, {**values, "attachments": attachments})


def _text(table: _Table, key: str) -> str:
    value = _secret(table, key)
    return value if value else _missing(table, key)


def _missing(table: _Table, key: str) -> Any:
    raise table.fault(f"needs the key {key!r}")


def _ca(table: _Table) -> str | None:
    path: str | None = table.take("ca_file", str, None)
    if path is not None and not Path(path).is_file():
        raise table.fault(f"names a file of certificates that does not exist, {path}")
    return path


def _security(table: _Table) -> str:
    value: str = table.take("security", str, "starttls")
    if value not in ("starttls", "tls", "none"):
        raise table.fault("has a wrong value of 'security': give starttls, tls or none")
    return value


def _login(table: _Table) -> dict[str, str | None]:
    return {"username": _secret(table, "username"), "password": _secret(table, "password")}


def _secret(table: _Table, key: str) -> str | None:
    """The value of a key. `env:NAME` and `file:PATH` name where it is; a password may only be given so."""
    value: str | None = table.take(key, str, None)
    if value is None or key not in SECRETS:
        return value
    if value.startswith("env:"):
        found = os.environ.get(value[4:])
        if not found:
            raise table.fault(f"takes {key!r} from the environment variable {value[4:]}, which is not set")
        return found
    if value.startswith("file:"):
        return _secret_file(table, key, Path(value[5:]))
    if key not in PLAIN:
        raise table.fault(
            f'contains the {key} itself. Write "env:NAME" or "file:PATH", so that this file can be shown to others'
        )
    return value


def _secret_file(table: _Table, key: str, path: Path) -> str:
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise table.fault(f"takes {key!r} from {path}, which cannot be read ({reason})") from error
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise table.fault(f"takes {key!r} from {path}, which others may read. Run chmod 600 {path}")
    return text
