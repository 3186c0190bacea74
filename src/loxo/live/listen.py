"""Searches live sound: `loxo listen`.

A thread reads the source (sources.py). A station (station.py) writes recordings (recorder.py) into RUN/recordings,
detects events with a delay (detector.py) and hands them to the alerts. Each finished recording is searched once more,
chunk by chunk while nothing else is to be done. The run folder then contains what `loxo detect` writes for it, byte for
byte. An event that the detector of the stream did not announce is announced now.

    RUN/recordings/     the recordings, as far as they are kept
    RUN/clips/          with `keep` "events": a clip of each event instead (clips.py)
    RUN/live.json       the state: last sound, events, disk, gaps, drift of the clock
    RUN/gaps.csv        gaps: from, to, reason. No recording covers them, so they are no effort
    RUN/clock.jsonl     corrections of the clock, with the names of recordings before and after

Failure policy: a source that fails is opened again. A full disk ends the call with a LoxoError; the budget keeps the
recordings below a size before that. After SIGKILL, the recordings that were not searched are searched by the next call.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from loxo.audio.channels import MIX
from loxo.detection.threshold import Threshold, check_threshold
from loxo.engine.engine import Engine
from loxo.engine.windows import WINDOW_OVERLAP
from loxo.errors import LoxoError
from loxo.events.sites import read_sites
from loxo.live.alerts import Alerts
from loxo.live.detector import DELAY_S
from loxo.live.frugal import FrugalEngine
from loxo.live.recorder import StreamClock, check_site
from loxo.live.service import notify_service
from loxo.live.sources import End, Gap, Reader, Source
from loxo.live.station import ListenStatus, Station
from loxo.machine import one_thread
from loxo.runs.folder import RunFolder
from loxo.runs.tables import parse_formats
from loxo.survey.schedule import EngineFacts, Options
from loxo.survey.survey import one_interruption, run_parameters

KEEP = ("all", "events", "none")
SEARCH_WAITS = 2  # recordings may wait; more are searched although sound waits


def listen(
    source: Source,
    model: str | Path | Engine,
    out: str | Path,
    *,
    site: str,
    threshold: Threshold = None,
    window_overlap: float = WINDOW_OVERLAP,
    delay_s: float = DELAY_S,
    segment_minutes: float = 60.0,
    keep: str = "all",
    budget_gb: float | None = None,
    formats: str = "raven",
    sites: str | Path | None = None,
    runtime: str = "auto",
    alerts: Callable[[RunFolder], Alerts | None] = lambda run: None,
    confirmed: Callable[[Path], dict[str, str]] = lambda run: {},
    on_note: Callable[[str], None] = lambda sentence: None,
    clock: Callable[[int], StreamClock] = StreamClock,
) -> ListenStatus:
    """Searches live sound into the run folder `out`, until the source ends or the call is interrupted.

    An event is announced `delay_s` after its end. Recordings of `segment_minutes` are kept: all, a clip around each
    event, or none, and at most `budget_gb`. `alerts` makes the receiver of events. `confirmed` returns the names of
    the confirmed events and their recordings, which the budget never removes (loxo.review.confirmed).
    Raises LoxoError as loxo.survey does, for a bad option, and when the source cannot be opened at all.
    """
    from loxo.engine.engine import load_engine

    if keep not in KEEP:
        raise LoxoError(f"Recordings are kept: {', '.join(KEEP)}. There is no {keep!r}.")
    if delay_s < 0 or segment_minutes <= 0 or (budget_gb is not None and budget_gb <= 0):
        raise LoxoError("The delay must be at least 0, and the length of recordings and the budget above 0.")
    table = None if sites is None else read_sites(sites)
    check_site(site)
    reader = Reader(source)  # now: sound is not to wait for the model
    engine = FrugalEngine(load_engine(model, runtime=runtime) if isinstance(model, str | Path) else model)
    threshold = float(threshold) if isinstance(threshold, int) else threshold
    check_threshold(threshold, engine.config.classes)
    options = Options(threshold, float(window_overlap), 8, False, channel=MIX)
    parameters = run_parameters(str(model), EngineFacts.of(engine), options, parse_formats(formats), "cpu")
    with one_thread(), one_interruption(), RunFolder(Path(out), parameters, [], table) as run:
        made = alerts(run)
        station = Station(
            source,
            engine,
            run,
            site,
            options,
            delay_s=delay_s,
            segment_s=60 * segment_minutes,
            keep=keep,
            budget_bytes=None if budget_gb is None else round(budget_gb * 1e9),
            alerts=made,
            confirmed=lambda: confirmed(run.folder),
            on_note=on_note,
            clock=clock,
        )
        try:
            station.resume()
            _loop(station, reader)
            run.close("finished", [])
        except BaseException:
            with suppress(LoxoError):
                station.gap("the program was ended")
                run.close("interrupted", [])
            raise
        finally:
            if made is not None:
                made.close()
    return station.status


def _loop(station: Station, reader: Reader) -> None:
    notify_service("READY=1")
    while True:
        busy = len(station.unsearched) > SEARCH_WAITS or reader.received.empty()
        searched = station.step() if busy else False
        try:
            received_at, item = reader.received.get(timeout=0.0 if searched else 1.0)
        except queue.Empty:
            station.tick()
            continue
        if isinstance(item, End):
            station.finish()
            if item.error is not None:
                raise item.error
            return
        if isinstance(item, Gap):
            station.gap(item.reason)
            station.on_note(f"Sound is missing: {item.reason.rstrip('.')}.")
        else:
            station.take(received_at, item)
        station.tick()
