"""Events become alerts by rules (rules.py). Alerts are sent from a queue (outbox.py) to their receivers (sinks.py).

An event is noticed once. It is the same as an earlier one if the two overlap by more than half of the shorter, in one
recording and class. Its alert is in the queue before the event is stored in the run, so a kill loses none.

Each receiver has a thread of its own: one that hangs does not delay the others. A message that was not acknowledged is
sent again after 5 seconds, then after twice as long each time, up to 10 minutes.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from loxo.audio.filenames import add_seconds
from loxo.errors import LoxoError
from loxo.files import escape
from loxo.live.matching import unmatched
from loxo.live.outbox import Message, Outbox, open_outbox
from loxo.live.rules import AlertConfig, Rule, SinkConfig
from loxo.live.sinks import SinkError, send
from loxo.runs.folder import RunFolder
from loxo.runs.sites import Origins

SETTLED_S = 20.0  # events that end later than this before the end of the searched part may still change
FIRST_WAIT_S, MAX_WAIT_S = 5.0, 600.0
DAY_S = 86400.0

Samples = Callable[[float, float], tuple[Any, int]]  # start and duration in s -> samples, rate


class Alerts:
    """Notices the events of a run and sends alerts, until `close`."""

    def __init__(
        self,
        run: RunFolder,
        config: AlertConfig,
        on_note: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.run, self.config, self.clock = run, config, clock
        self.outbox = open_outbox(run.folder, on_note)
        self.senders = [Sender(run.folder, sink, on_note) for sink in config.sinks]
        for sender in self.senders:
            sender.start()
        self.outbox.forget(clock())

    def close(self) -> None:
        for sender in self.senders:
            sender.stop()
        self.outbox.close()

    def waiting(self) -> int:
        """The number of alerts in the queue."""
        return self.outbox.waiting()

    def events(self, recording: str, rows: Sequence[dict[str, Any]], searched_s: float | None) -> None:
        """See loxo.live.watch.Alerter."""
        last = float("inf") if searched_s is None else searched_s - SETTLED_S
        self.notice(recording, [row for row in rows if row["end_s"] <= last])

    def notice(self, recording: str, rows: Sequence[dict[str, Any]], samples: Samples | None = None) -> None:
        """Notices new events of a recording. `samples` reads its sound; by default, from its file."""
        new = unmatched(rows, self.outbox.known(recording))
        if not new:
            return
        origin, place = self._origin(recording)
        sent = False
        for row in new:
            at = None if origin is None else add_seconds(origin, row["start_s"])
            message_of = self._messages(recording, row, at, place, samples or _reader(recording))
            firing = [rule for rule in self.config.rules if self._fires(rule, row, place["site"], at)]
            messages = [message_of(rule) for rule in firing]
            moment = _seconds(at, self.clock())
            with self.outbox.change():
                self.outbox.hear(recording, row, place["site"], moment, self.clock())
                for rule, message in zip(firing, messages, strict=True):
                    self.outbox.fire(rule.name, place["site"], moment)
                    self.outbox.add(message, self._sinks(rule.sinks))
            sent |= bool(firing)
        if sent:
            self._wake()

    def tick(self) -> None:
        """Sends the daily sum when it is due."""
        daily = self.config.daily
        if daily is None:
            return
        now = datetime.fromtimestamp(self.clock())
        due = now.replace(hour=daily.at.hour, minute=daily.at.minute, second=0, microsecond=0)
        last = self.outbox.state("daily")
        if last is None:
            self.outbox.set_state("daily", str(due.timestamp() if due <= now else due.timestamp() - DAY_S))
        elif due <= now and float(last) < due.timestamp():
            with self.outbox.change():
                self.outbox.add(self._daily(float(last), due.timestamp()), self._sinks(daily.sinks))
                self.outbox.set_state("daily", str(due.timestamp()))
            self._wake()

    def _fires(self, rule: Rule, row: dict[str, Any], site: str, at: datetime | None) -> bool:
        now = self.clock()
        moment = _seconds(at, now)
        if not rule.matches(row["label"], row["score"], site, at) or now - moment > rule.max_age_hours * 3600:
            return False
        last = self.outbox.last_fired(rule.name, site)
        if last is not None and abs(moment - last) < rule.quiet_minutes * 60:
            return False
        others = self.outbox.heard("time", moment - rule.within_minutes * 60, moment)
        matching = sum(where == site and rule.matches(label, score, where, at) for label, score, where, _ in others)
        return matching + 1 >= rule.count

    def _messages(
        self, recording: str, row: dict[str, Any], at: datetime | None, place: dict[str, Any], samples: Samples
    ) -> Callable[[Rule], Message]:
        evidence: list[bytes | None] = []

        def message(rule: Rule) -> Message:
            if not evidence:
                evidence.extend(_evidence(row, samples))
            key = f"{rule.name}\0{recording}\0{row['label']}\0{row['start_s']:.3f}"
            when = "at an unknown time" if at is None else f"on {at:%d %B %Y at %H:%M:%S}"
            body = {
                "id": hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:24],
                "kind": "alert",
                "text": f"{row['label']} at {place['site'] or 'an unknown site'} {when}, score {row['score']:.2f}",
                "rule": rule.name,
                "count": rule.count,
                **place,
                "time": None if at is None else at.isoformat(),
                "label": row["label"],
                "score": round(row["score"], 4),
                "low_hz": row["low_hz"],
                "high_hz": row["high_hz"],
                "recording": escape(recording),
                "start_s": round(row["start_s"], 3),
                "end_s": round(row["end_s"], 3),
                "noticed": datetime.fromtimestamp(self.clock()).astimezone().isoformat(timespec="seconds"),
            }
            return Message(body, *evidence)

        return message

    def _daily(self, since: float, until: float) -> Message:
        heard = self.outbox.heard("noticed", since, until)
        counts = Counter((site or "unknown", label) for label, _, site, _ in heard)
        lines = [f"{number} {label} at {site}" for (site, label), number in sorted(counts.items())] or ["no events"]
        first, last = (datetime.fromtimestamp(moment).astimezone() for moment in (since, until))
        recordings = self.run.journal.entries.values()
        body = {
            "id": hashlib.sha256(f"daily\0{self.run.folder.resolve()}\0{until}".encode()).hexdigest()[:24],
            "kind": "daily",
            "text": f"Daily sum to {last:%d %B %Y %H:%M}: {', '.join(lines)}",
            "from": first.isoformat(timespec="seconds"),
            "to": last.isoformat(timespec="seconds"),
            "events": [{"site": site, "label": label, "number": n} for (site, label), n in sorted(counts.items())],
            "recordings": len(recordings),
            "hours_searched": round(sum(entry.analysed_s for entry in recordings) / 3600, 2),
            "problems": sum(entry.reason is not None for entry in recordings) + len(self.run.problems),
        }
        return Message(body)

    def _origin(self, recording: str) -> tuple[datetime | None, dict[str, Any]]:
        """The start of a recording, and its site with its position."""
        origins = self.run.origins([recording])
        origin = origins.by_recording[escape(recording)]
        return origin.time(), _place(origins, origin.site)

    def _sinks(self, names: Sequence[str]) -> list[str]:
        return list(names) or [sink.name for sink in self.config.sinks]

    def _wake(self) -> None:
        for sender in self.senders:
            sender.wake.set()


class Sender(threading.Thread):
    """Sends the messages of one receiver, in order, after `start`."""

    def __init__(self, folder: Path, sink: SinkConfig, on_note: Callable[[str], None]) -> None:
        super().__init__(daemon=True, name=f"alerts to {sink.name}")
        self.folder, self.sink, self.on_note = folder, sink, on_note
        self.wake, self.ended = threading.Event(), threading.Event()
        self.wait_s = 0.0  # after a failure
        self.outbox: Outbox | None = None  # opened by the thread that uses it

    def stop(self) -> None:
        """Ends the thread. A message that is being sent is sent again by the next call, with the same id."""
        self.ended.set()
        self.wake.set()
        self.join(0.5)

    def run(self) -> None:
        try:
            while not self.ended.is_set():
                seconds = self.step()
                if self.wait_s:  # a new alert does not make it shorter
                    self.ended.wait(seconds)
                elif seconds:
                    self.wake.wait(seconds)
                    self.wake.clear()
        finally:  # here, because SQLite refuses another thread
            if self.outbox:
                self.outbox.close()

    def step(self) -> float:
        """Sends the next message. Returns the seconds until the next call."""
        try:
            self.outbox = self.outbox or Outbox(self.folder)
            found = self.outbox.next(self.sink.name)
            if found is None:
                return FIRST_WAIT_S
            send(self.sink, found[1])
            self.outbox.acknowledge(self.sink.name, found[0])
        except LoxoError as error:
            self.wait_s = min(max(2 * self.wait_s, FIRST_WAIT_S), MAX_WAIT_S)
            number = self.outbox.waiting(self.sink.name) if self.outbox and isinstance(error, SinkError) else 0
            self.on_note(f"{error} {number} alert(s) wait; it is tried again in {self.wait_s:.0f} s.")
            return self.wait_s
        if self.wait_s:
            self.on_note(f"The receiver {self.sink.name!r} accepts alerts again.")
        self.wait_s = 0.0
        return 0.0


def send_test(config: AlertConfig) -> list[str]:
    """Sends one test message to each receiver. Returns a sentence for each that failed."""
    now = datetime.now().astimezone()
    body = {
        "id": hashlib.sha256(f"test\0{now.isoformat()}".encode()).hexdigest()[:24],
        "kind": "test",
        "text": "Loxo sends this message to test its alerts.",
        "site": "test",
        "time": now.isoformat(timespec="seconds"),
    }
    problems = []
    for sink in config.sinks:
        try:
            send(sink, Message(body))
        except SinkError as error:
            problems.append(str(error))
    return problems


def _seconds(at: datetime | None, now: float) -> float:
    """Seconds since 1970; a clock without a zone is taken as this computer's. An unknown time counts as now."""
    return now if at is None else at.timestamp()


def _place(origins: Origins, site: str) -> dict[str, Any]:
    known = origins.sites.get(site)
    latitude, longitude = (known.latitude, known.longitude) if known is not None else (None, None)
    return {"site": site, "latitude": latitude, "longitude": longitude}


def _reader(recording: str) -> Samples:
    def samples(start_s: float, duration_s: float) -> tuple[Any, int]:
        from loxo.audio.recording import probe, read
        from loxo.live.evidence import RATE

        source = probe(recording)
        rate = min(RATE, source.sample_rate)
        return read(source, rate, start_s, duration_s), rate

    return samples


def _evidence(row: dict[str, Any], samples: Samples) -> tuple[bytes | None, bytes | None]:
    """Picture and clip; None where the sound cannot be read."""
    from loxo.live.evidence import clip_span, flac, spectrogram

    with suppress(LoxoError, OSError, ValueError):
        found, rate = samples(*clip_span(row))
        if len(found):
            return spectrogram(found, rate, row), flac(found, rate)
    return None, None
