"""Progress of a run, for the progress bar of the command."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from loxo.detection.part import Part
from loxo.runs.result import Outcome


@dataclass(frozen=True)
class SurveyProgress:
    """Progress of a run."""

    finished: int  # recordings, including those of earlier calls
    recordings: int
    share: float  # fraction of the bytes of all recordings, 0-1
    hours: float  # of audio analysed in this call
    failed: int = 0  # finished recordings that failed or were truncated
    elapsed_s: float = field(default=0.0, compare=False)  # since the start of this call
    left_s: float | None = field(default=None, compare=False)  # at the mean speed so far; None while it is unknown

    @property
    def hours_per_second(self) -> float:
        return self.hours / self.elapsed_s if self.elapsed_s > 0 else 0.0


class Tracker:
    """Counts finished work. `sizes` are the bytes of the recordings that this call analyses; `earlier` recordings with
    `earlier_bytes` bytes were finished by earlier calls."""

    def __init__(
        self,
        sizes: Sequence[int],
        earlier: int,
        earlier_bytes: int,
        on_progress: Callable[[SurveyProgress], None] | None,
    ) -> None:
        self.sizes = [max(size, 1) for size in sizes]
        self.recordings = len(sizes) + earlier
        self.whole = max(sum(self.sizes) + earlier_bytes, 1)
        self.at_start = self.bytes = earlier_bytes
        self.finished, self.failed, self.seconds = earlier, 0, 0.0
        self.on_progress = on_progress
        self.began = time.monotonic()
        self._open: dict[int, tuple[float, float]] = {}  # seconds of finished shards, seconds of the recording

    def live(self, seconds: dict[int, tuple[float, float]]) -> None:
        """Reports tasks in progress: seconds analysed and seconds of the whole recording, by recording."""
        if self.on_progress is None:
            return
        done = 0.0
        for index in {*seconds, *self._open}:
            before, total = self._open.get(index, (0.0, 0.0))
            now, whole = seconds.get(index, (0.0, 0.0))
            if total or whole:
                done += self.sizes[index] * min((before + now) / (total or whole), 1.0)
        self._report(self.bytes + done, self.seconds + sum(now for now, _ in seconds.values()))

    def part(self, index: int, part: Part) -> None:
        """Counts a finished shard of a recording with several shards."""
        before, _ = self._open.get(index, (0.0, 0.0))
        self._open[index] = before + part.seconds, part.whole_s
        self.seconds += part.seconds

    def finish(self, index: int, outcome: Outcome) -> None:
        """Counts a finished recording."""
        if self._open.pop(index, None) is None and not isinstance(outcome, str):
            self.seconds += outcome.analysed_s
        self.bytes += self.sizes[index]
        self.finished += 1
        self.failed += isinstance(outcome, str) or outcome.fault is not None
        self._report(self.bytes, self.seconds)

    def _report(self, done: float, seconds: float) -> None:
        if self.on_progress is None:
            return
        elapsed = time.monotonic() - self.began
        new = done - self.at_start
        left = elapsed * (self.whole - done) / new if new > 0 else None
        share = min(done / self.whole, 1.0)
        self.on_progress(
            SurveyProgress(self.finished, self.recordings, share, seconds / 3600, self.failed, elapsed, left)
        )
