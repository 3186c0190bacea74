"""A station of `loxo listen`: one stream, its recordings, its events and its state, in one run folder.

A gap ends the stream and its recording; the samples after it are another stream. Finished recordings are searched one
after the other, in steps of one chunk, so that sound does not wait.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from loxo.audio.filenames import Names
from loxo.audio.recording import RecordingError, probe
from loxo.audio.roots import remember
from loxo.detection.detect import conclude
from loxo.detection.shards import join, make_grid, score_shard
from loxo.engine.engine import Engine
from loxo.errors import LoxoError
from loxo.files import inside
from loxo.live.alerts import Alerts
from loxo.live.clips import FOLDER as CLIPS
from loxo.live.clips import event_of, rename_clips, write_clips
from loxo.live.detector import StreamDetector
from loxo.live.recorder import Recorder, Segment, StreamClock, recording_name
from loxo.live.service import notify_service
from loxo.live.sources import Block, Source
from loxo.live.state import StateFile
from loxo.machine import return_freed_memory
from loxo.runs.folder import RunFolder, event_names
from loxo.runs.result import RecordingResult, recording_result
from loxo.survey.schedule import Options

RECORDINGS, GAPS, CLOCK = "recordings", "gaps.csv", "clock.jsonl"
RENAME_S = 60.0  # the clock was wrong if it is set by more; a smaller step is the drift of a clock that was right


@dataclass
class ListenStatus:
    """The state of a station. live.json contains it (state.py)."""

    site: str
    heard: float | None = None  # seconds since 1970 of the last sample
    samples: int = 0
    rate: int = 0
    announced: int = 0
    searched: int = 0  # recordings
    gaps: int = 0
    gap_s: float = 0.0
    drift_s: float = 0.0
    corrections_s: list[float] = field(default_factory=list)
    source: str = "waiting"
    recordings_mb: float = 0.0


class Station:
    """One stream into one run folder."""

    def __init__(
        self,
        source: Source,
        engine: Engine,
        run: RunFolder,
        site: str,
        options: Options,
        *,
        delay_s: float,
        segment_s: float,
        keep: str,
        budget_bytes: int | None,
        alerts: Alerts | None,
        confirmed: Callable[[], dict[str, str]],
        on_note: Callable[[str], None],
        clock: Callable[[int], StreamClock],
    ) -> None:
        self.source, self.engine, self.run, self.site, self.options = source, engine, run, site, options
        self.delay_s, self.segment_s, self.keep, self.budget = delay_s, segment_s, keep, budget_bytes
        self.alerts, self.confirmed, self.on_note, self.make_clock = alerts, confirmed, on_note, clock
        self.folder, self.clips = inside(run.folder, RECORDINGS), inside(run.folder, CLIPS)
        self.status = ListenStatus(site)
        self.clock: StreamClock | None = None
        self.recorder: Recorder | None = None
        self.detector: StreamDetector | None = None
        self.position = 0  # samples of this stream
        self.recent: deque[Segment] = deque(maxlen=100)  # of this stream, for the events to come
        self.session: list[Segment] = []  # finished by this process
        self.unsearched: deque[Path] = deque()
        self.search: Iterator[RecordingResult | None] | None = None
        self.silent_since: tuple[float, str] | None = None
        self.state = StateFile(run.folder, "listen")

    # ------------------------------------------------------------ sound

    def resume(self) -> None:
        """Finishes what a killed process has left."""
        for line in _lines(inside(self.run.folder, CLOCK))[-1:]:
            for before, after in line["recordings"]:
                self._rename(Path(before), Path(after), line["starts"][after])
        found = sorted(self.folder.glob("*.wav")) if self.folder.is_dir() else []
        remember([self.folder / "any.wav"])
        for entry, path in zip(self.run.plan(found, [str(self.folder)]), found, strict=True):
            if not self.run.finished(entry):
                self.unsearched.append(path)

    def take(self, received_at: float, block: Block) -> None:
        if self.clock is None:
            self._begin()
        assert self.clock is not None and self.recorder is not None and self.detector is not None
        self.clock.add(received_at, self.position + len(block), len(block))
        if (jump := self.clock.jump()) != 0:
            self._correct(jump)
        if (missing := self.clock.missing_s()) > 0:
            self.gap(f"the source lost {missing:.1f} s of sound")
            self.on_note(f"The source lost {missing:.1f} s of sound. Is the computer too slow, or the cable loose?")
            return self.take(received_at, block)
        if (waited := self.clock.waited_s()) > 0:
            self.clock.begin_earlier(waited)
            self._begin_earlier(waited)
        if self.recorder.segment is None:
            self.clock.correct_drift()
        before = self.recorder.segment
        finished = self.recorder.write(block, self.position, self.clock.time_of)
        self.position += len(block)
        if self.recorder.segment is not None and self.recorder.segment is not before:
            self.recent.append(self.recorder.segment)
        self._finished(finished)
        for event in self.detector.push(self._resampled(block)):
            self._announce(event)
        self.status.samples += len(block)
        self.status.heard = self.clock.time_of(self.position)
        self.status.source = "open"
        return None

    def _begin(self) -> None:
        """A stream without gaps begins."""
        rate = self.source.rate
        self.clock, self.position = self.make_clock(rate), 0
        self.recorder = Recorder(self.folder, self.site, rate, self.segment_s)
        self.detector = StreamDetector(
            self.engine,
            delay_s=self.delay_s,
            threshold=self.options.threshold,
            window_overlap=self.options.window_overlap,
        )
        own = self.detector.rate
        self.resampler = None if rate == own else soxr.ResampleStream(rate, own, 1, dtype="float32", quality="HQ")
        self.recent.clear()
        self.status.rate = rate
        now = self.clock.wall()
        if self.silent_since is not None:
            since, reason = self.silent_since
            self._write_gap(since, max(now, since), reason)
            self.silent_since = None

    def gap(self, reason: str) -> None:
        """The stream ends here; samples that follow are another one."""
        if self.clock is None:
            return
        assert self.recorder is not None and self.detector is not None
        self._finished(self.recorder.close())
        for event in self.detector.end():
            self._announce(event)
        self.silent_since = (self.clock.time_of(self.position), reason)
        self.status.drift_s += self.clock.drift_s
        self.status.source = "waiting"
        self.clock = None

    def _resampled(self, block: Block) -> NDArray[np.float32]:
        samples = block.astype(np.float32) / np.float32(32768)
        resampled: NDArray[np.float32] = samples if self.resampler is None else self.resampler.resample_chunk(samples)
        return resampled

    def _announce(self, event: dict[str, Any]) -> None:
        """Hands an event of the stream to the alerts, as one of the recording in which it begins."""
        assert self.detector is not None and self.recorder is not None
        detector, rate = self.detector, self.recorder.rate
        self.status.announced += 1
        segment = next((one for one in reversed(self.recent) if one.first / rate <= event["start_s"]), None)
        if self.alerts is None or segment is None:
            return
        shift = segment.first / rate
        row = {**event, "start_s": event["start_s"] - shift, "end_s": event["end_s"] - shift}
        self.alerts.notice(
            str(segment.path), [row], lambda start_s, duration_s: detector.sound(start_s + shift, duration_s)
        )

    # ------------------------------------------------------------ recordings

    def _finished(self, segments: list[Segment]) -> None:
        self.session += segments
        self.unsearched.extend(segment.path for segment in segments)

    def step(self) -> bool:
        """Searches one chunk of a finished recording. False if there is nothing to search."""
        if self.search is None:
            if not self.unsearched:
                return False
            self.search = _searched(self.unsearched[0], self.engine, self.options)
        path = self.unsearched[0]
        try:
            result: RecordingResult | str | None = next(self.search)
        except LoxoError as error:
            result = str(error)
        if result is not None:
            self.search = None
            self.unsearched.popleft()
            self._searched(path, result)
        return_freed_memory()
        return True

    def _searched(self, path: Path, result: RecordingResult | str) -> None:
        if not isinstance(result, str) and self.alerts is not None:
            self.alerts.events(str(path), result.events, None)
        (entry,) = self.run.plan([path], [str(self.folder)])
        is_kept = self.keep == "all" or (self.keep == "events" and isinstance(result, str))
        if self.keep == "events" and not isinstance(result, str):
            try:
                write_clips(path, self.site, result.events, event_names(entry, result.events), self.clips)
            except RecordingError as error:
                is_kept = True
                self.on_note(f"{error} The whole recording is kept.")
        self.run.keep(entry, result)
        self.status.searched += 1
        if not is_kept:
            path.unlink(missing_ok=True)
        self._keep_budget()
        self.run.refresh()

    def _keep_budget(self) -> None:
        """Removes the oldest recordings and clips until the others fit. Those with a confirmed event stay."""
        paths = sorted((*self.folder.glob("*.wav"), *self.clips.glob("*.wav")), key=_age)
        sizes = {path: path.stat().st_size for path in paths}
        total = sum(sizes.values())
        if self.budget is not None and total > self.budget:
            events = self.confirmed()
            confirmed = {Path(recording).name for recording in events.values()}
            busy = {*self.unsearched, self.recorder and self.recorder.segment and self.recorder.segment.path}
            for path, size in sizes.items():
                if total <= self.budget:
                    break
                if path.name not in confirmed and event_of(path) not in events and path not in busy:
                    path.unlink(missing_ok=True)
                    total -= size
            if total > self.budget:
                self.on_note("The recordings need more room than the budget: they contain confirmed events.")
        self.status.recordings_mb = round(total / 1e6, 1)

    # ------------------------------------------------------------ clock

    def _correct(self, jump: float) -> None:
        """The wall clock was set: the recordings of this process get its time."""
        assert self.recorder is not None
        self._finished(self.recorder.close())
        changes, starts = [], {}
        wrong = self.session if abs(jump) >= RENAME_S else []
        for segment in wrong:
            after = self.folder / recording_name(self.site, segment.start + jump)
            changes.append((str(segment.path), str(after)))
            starts[str(after)] = segment.start + jump
        line = {
            "noticed": datetime.now().astimezone().isoformat(timespec="seconds"),
            "correction_s": round(jump, 3),
            "recordings": changes,
            "starts": starts,
        }
        _append(inside(self.run.folder, CLOCK), json.dumps(line) + "\n")
        self.search = None  # begins again under the new name
        # The last first when the clock goes forward, so that no name is taken.
        for segment in sorted(wrong, key=lambda one: -jump * one.start):
            after = self.folder / recording_name(self.site, segment.start + jump)
            self._rename(segment.path, after, segment.start + jump)
            self.unsearched = deque(after if path == segment.path else path for path in self.unsearched)
            segment.path, segment.start = after, segment.start + jump
        self.status.corrections_s.append(round(jump, 3))
        self.run.refresh()
        self.on_note(f"The clock was set by {jump:+.1f} s; {len(changes)} recording(s) got the right time.")

    def _begin_earlier(self, seconds: float) -> None:
        """Sound had waited in a pipe before the stream began: the current recording gets the right time."""
        assert self.recorder is not None
        segment = self.recorder.segment
        before = None if segment is None else self.recorder.rename(segment.start - seconds)
        if segment is not None and before is not None and self.alerts is not None:
            self.alerts.outbox.rename(str(before), str(segment.path), segment.start)

    def _rename(self, before: Path, after: Path, start: float) -> None:
        with suppress(FileNotFoundError):
            before.rename(after)
        was, now = (Names().parse(path.name).start for path in (before, after))  # as names state them, in milliseconds
        assert was is not None and now is not None
        shift_s = (now - was).total_seconds()
        self.run.rename(before, after, now, lambda names: rename_clips(self.clips, self.site, names, shift_s))
        if self.alerts is not None:
            self.alerts.outbox.rename(str(before), str(after), start)

    def _write_gap(self, start: float, end: float, reason: str) -> None:
        self.status.gaps += 1
        self.status.gap_s = round(self.status.gap_s + end - start, 1)
        path = inside(self.run.folder, GAPS)
        header = "" if path.exists() else "from,to,seconds,reason\n"
        first, last = (datetime.fromtimestamp(at).astimezone().isoformat(timespec="seconds") for at in (start, end))
        _append(path, f'{header}{first},{last},{end - start:.1f},"{reason.replace(chr(34), chr(39))}"\n')

    # ------------------------------------------------------------ state

    def tick(self, now: bool = False) -> None:
        notify_service("WATCHDOG=1")
        if self.alerts is not None:
            self.alerts.tick()
        if now or self.state.is_due():
            drift_s = self.status.drift_s + (self.clock.drift_s if self.clock else 0.0)
            values = {**vars(self.status), "drift_s": drift_s}
            self.state.write(values.pop("heard"), self.alerts.waiting() if self.alerts else 0, values)

    def finish(self) -> None:
        """Ends the stream, and searches what is left."""
        if self.clock is not None:
            self.gap("the stream ended")
        while self.step():
            self.tick()
        self.tick(now=True)


def _searched(path: Path, engine: Engine, options: Options) -> Iterator[RecordingResult | None]:
    """Searches a recording as `loxo detect` does. Yields None after each chunk, then the result."""
    recording = probe(path)
    grid = make_grid(recording, engine.config, options.window_overlap)
    parts = []
    for chunk in range(grid.chunks):
        parts.append(score_shard(engine, recording, grid, [range(chunk, chunk + 1)], 0, batch_size=options.batch_size))
        yield None
        if parts[-1].fault is not None:
            break
    joined = join(recording, grid, parts)
    analysis = conclude(path, recording, engine.config, joined, threshold=options.threshold, names=options.names)
    yield recording_result(analysis)


def _age(path: Path) -> tuple[float, str]:
    start = Names().parse(path.name).start
    return (path.stat().st_mtime if start is None else start.timestamp()), path.name


def _append(path: Path, text: str) -> None:
    try:
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise LoxoError(f"{path}: the file cannot be written ({error.strerror}). Is there room on the disk?") from error


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file of JSON lines."""
    found = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):
                found.append(json.loads(line))
    return found
