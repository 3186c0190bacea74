"""The queue of alerts on disk (SQLite), with the events that were noticed.

    alerts.sqlite   in the run folder
        heard     every event that was noticed: it is noticed once, also when its recording is searched again
        fired     when each rule last sent an alert, at each site
        message   alerts, with their picture and clip
        pending   receivers that have not acknowledged a message
        state     the day of the last daily sum

Each receiver gets its messages in order, at least once. A message is removed when all receivers have acknowledged it.
Every change is on the disk before its call returns (synchronous=FULL), and a change that a loss of power interrupts is
undone (the journal of SQLite). The file is checked when it is opened first. If the file
becomes larger than MAX_BYTES while no receiver answers, the oldest pictures and clips are removed, but no message.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from loxo.errors import LoxoError
from loxo.files import inside

FILE = "alerts.sqlite"
MAX_BYTES = 500 << 20  # of pictures and clips
KEPT_DAYS = 120  # events in `heard`
BUSY_S = 30.0
CACHE_KB = 200  # of each connection

SCHEMA = """
CREATE TABLE IF NOT EXISTS heard (recording TEXT, label TEXT, start_s REAL, end_s REAL, score REAL, site TEXT,
    time REAL, noticed REAL);
CREATE INDEX IF NOT EXISTS heard_recording ON heard (recording, label);
CREATE INDEX IF NOT EXISTS heard_time ON heard (time);
CREATE TABLE IF NOT EXISTS fired (rule TEXT, site TEXT, time REAL, PRIMARY KEY (rule, site));
CREATE TABLE IF NOT EXISTS message (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, body TEXT, picture BLOB,
    clip BLOB);
CREATE TABLE IF NOT EXISTS pending (sink TEXT, number INTEGER, PRIMARY KEY (sink, number));
CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value TEXT);
"""


@dataclass(frozen=True)
class Message:
    """An alert. `body` is plain JSON values; `picture` is PNG, `clip` FLAC."""

    body: dict[str, Any]
    picture: bytes | None = None
    clip: bytes | None = None

    @property
    def id(self) -> str:
        return str(self.body["id"])


def open_outbox(folder: Path, on_note: Callable[[str], None]) -> Outbox:
    """The queue of a run. A damaged file is moved away, and a new queue begins: a station must not stay silent."""
    try:
        return Outbox(folder, check=True)
    except LoxoError as error:
        path = inside(folder, FILE)
        if not isinstance(error.__cause__, sqlite3.DatabaseError) or isinstance(
            error.__cause__, sqlite3.OperationalError
        ):
            raise
        kept = next(name for k in count(1) if not (name := path.with_name(f"alerts.damaged-{k}.sqlite")).exists())
        path.replace(kept)
        path.with_name(f"{FILE}-journal").unlink(missing_ok=True)
        on_note(f"{path}: the queue of alerts was damaged. It was moved to {kept}; alerts that waited in it are lost.")
        return Outbox(folder)


class Outbox:
    """The queue of one run. Each thread opens its own. Raises LoxoError when the file cannot be read or written."""

    def __init__(self, folder: Path, check: bool = False) -> None:
        self.path = inside(folder, FILE)
        with self._faults():
            self.base = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)
            try:
                self.base.execute("PRAGMA synchronous=FULL")
                self.base.execute(f"PRAGMA cache_size=-{CACHE_KB}")
                if check and (fault := self.base.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                    raise sqlite3.DatabaseError(fault)
                self.base.executescript(SCHEMA)
            except sqlite3.Error:
                self.base.close()
                raise

    def close(self) -> None:
        self.base.close()

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise LoxoError(
                f"{self.path}: the queue of alerts cannot be used ({error}). Check that you may write there and that "
                "there is room on the disk. If the file is damaged, move it away; alerts in it are then lost."
            ) from error

    @contextmanager
    def change(self) -> Iterator[None]:
        """All changes in this block are made, or none."""
        with self._faults():
            self.base.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self.base.execute("ROLLBACK")
                raise
            self.base.execute("COMMIT")

    def rows(self, query: str, *values: Any) -> list[Any]:
        with self._faults(), closing(self.base.execute(query, values)) as cursor:
            return cursor.fetchall()

    # ------------------------------------------------------------ events

    def known(self, recording: str) -> list[tuple[str, float, float]]:
        """Label, start and end of the events of a recording that were noticed."""
        return self.rows("SELECT label, start_s, end_s FROM heard WHERE recording = ?", recording)

    def hear(self, recording: str, event: dict[str, Any], site: str, time: float, now: float) -> None:
        values = (recording, event["label"], event["start_s"], event["end_s"], event["score"], site, time, now)
        self.rows("INSERT INTO heard VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *values)

    def heard(self, column: str, since: float, until: float) -> list[tuple[str, float, str, float]]:
        """Label, score, site and time of events by `time` or `noticed`, after `since` and not after `until`."""
        query = f"SELECT label, score, site, time FROM heard WHERE {column} > ? AND {column} <= ?"
        return self.rows(query, since, until)

    def rename(self, before: str, after: str, start: float) -> None:
        """A recording that begins at `start` has got another name: its events stay known."""
        self.rows("UPDATE heard SET recording = ?, time = ? + start_s WHERE recording = ?", after, start, before)

    def forget(self, now: float) -> None:
        self.rows("DELETE FROM heard WHERE noticed < ?", now - KEPT_DAYS * 86400)

    def last_fired(self, rule: str, site: str) -> float | None:
        found = self.rows("SELECT time FROM fired WHERE rule = ? AND site = ?", rule, site)
        return found[0][0] if found else None

    def fire(self, rule: str, site: str, time: float) -> None:
        self.rows("INSERT OR REPLACE INTO fired VALUES (?, ?, ?)", rule, site, time)

    def state(self, key: str) -> str | None:
        found = self.rows("SELECT value FROM state WHERE key = ?", key)
        return found[0][0] if found else None

    def set_state(self, key: str, value: str) -> None:
        self.rows("INSERT OR REPLACE INTO state VALUES (?, ?)", key, value)

    # ------------------------------------------------------------ messages

    def add(self, message: Message, sinks: Sequence[str]) -> None:
        """Adds a message, unless one with its id was added before."""
        values = (message.id, json.dumps(message.body), message.picture, message.clip)
        query = "INSERT OR IGNORE INTO message (id, body, picture, clip) VALUES (?, ?, ?, ?) RETURNING number"
        for (number,) in self.rows(query, *values):
            for sink in sinks:
                self.rows("INSERT INTO pending VALUES (?, ?)", sink, number)
        size = self.rows("SELECT COALESCE(SUM(LENGTH(picture) + LENGTH(clip)), 0) FROM message")[0][0]
        for number, length in (
            self.rows(
                "SELECT number, LENGTH(picture) + LENGTH(clip) FROM message WHERE clip IS NOT NULL ORDER BY number"
            )
            if size > MAX_BYTES
            else ()
        ):
            if size <= MAX_BYTES:
                break
            self.rows("UPDATE message SET picture = NULL, clip = NULL WHERE number = ?", number)
            size -= length

    def next(self, sink: str) -> tuple[int, Message] | None:
        """The oldest message that a receiver has not acknowledged, with its number."""
        found = self.rows(
            "SELECT number, body, picture, clip FROM pending JOIN message USING (number) WHERE sink = ? "
            "ORDER BY number LIMIT 1",
            sink,
        )
        if not found:
            return None
        number, body, picture, clip = found[0]
        return number, Message(json.loads(body), picture, clip)

    def acknowledge(self, sink: str, number: int) -> None:
        with self.change():
            self.rows("DELETE FROM pending WHERE sink = ? AND number = ?", sink, number)
            self.rows(
                "UPDATE message SET picture = NULL, clip = NULL, body = '{}' WHERE number = ? AND number NOT IN "
                "(SELECT number FROM pending)",
                number,
            )

    def waiting(self, sink: str | None = None) -> int:
        """The number of messages that a receiver, or any receiver, has not acknowledged."""
        if sink is None:
            return int(self.rows("SELECT COUNT(DISTINCT number) FROM pending")[0][0])
        return int(self.rows("SELECT COUNT(*) FROM pending WHERE sink = ?", sink)[0][0])
