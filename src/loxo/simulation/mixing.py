"""One call into a mix, at a known signal-to-noise ratio, with the truth about it.

The ratios that are written are those at the recorder's output, before gain control, clipping and rounding:
- `snr_db`: rumbles, energy in 12-120 Hz against the bed's over the event's span; gunshots, the loudest 50 ms in
  80-1000 Hz against the bed's mean;
- `line_snr_db`: rumbles, the strongest low line against the bed within 3 Hz of it.
An event's span is what can be heard: skirts more than 15 dB under the call's peak and parts hopelessly under the
noise are cut. Official ELP rumbles measure 1-6 dB as (signal + noise) / noise in 12-120 Hz, and 2-6 dB in the line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from loxo.events.table import events_frame
from loxo.simulation.recorder import Recorder
from loxo.simulation.sounds import Call, Samples, fast_length, place, power_envelope

if TYPE_CHECKING:
    import pandas as pd

RUMBLE_BAND_HZ = (12.0, 120.0)
GUNSHOT_BAND_HZ = (80.0, 1000.0)
PEAK_S = 0.05  # the window of a shot's peak
LINE_HZ = 3.0  # half width of the band around a line
RUMBLE_SNR_DB = (-8.0, -1.0, 24.0)  # lowest, most frequent, highest
LINE_SNR_DB = (1.5, 5.0, 16.0)  # the same for the line alone: forest calls stand 2-7 dB above the noise in it
BY_LINE = 0.5  # share of rumbles whose level is drawn by their line
GUNSHOT_SNR_DB = (0.0, 9.0, 42.0)
FAINTEST_LINE_DB = 1.5  # no call is mixed in whose line and band are both fainter than this
SHORTEST_S = {"rumble": 0.5, "gunshot": 0.1}  # of an event cut by the end of a window


@dataclass(frozen=True)
class Event:
    """The truth about one call. Times are sample indices."""

    start: int
    end: int
    label: str
    low_hz: float
    high_hz: float
    snr_db: float
    line_snr_db: float  # nan for shots
    kind: str


def events_table(events: Iterable[Event], sample_rate: int, recording: str) -> pd.DataFrame:
    """Loxo's events table with the columns of the truth: snr_db, line_snr_db, kind."""
    rows = []
    for event in events:
        times = {"start_s": event.start / sample_rate, "end_s": event.end / sample_rate, "score": 1.0}
        rest = {key: value for key, value in asdict(event).items() if key not in ("start", "end")}
        rows.append({"recording": recording, **times, **rest})
    table = events_frame(rows)
    if not rows:
        return table.assign(snr_db=np.zeros(0), line_snr_db=np.zeros(0), kind=np.zeros(0, object))
    return table


def band_power(
    samples: Samples, sample_rate: int, bands: Sequence[tuple[float, float]], recorder: Recorder
) -> list[float]:
    """Mean power within each band, after the recorder's filters."""
    n = len(samples)
    size = fast_length(max(n, sample_rate // 2))
    power = np.abs(np.fft.rfft(samples, size) * recorder.response(size, sample_rate)) ** 2
    f = np.arange(len(power)) * (sample_rate / size)
    edges = [(int(np.searchsorted(f, low)), int(np.searchsorted(f, high, side="right"))) for low, high in bands]
    return [float(2 * power[first:last].sum(dtype=np.float64) / size / max(n, 1)) for first, last in edges]


def peak_power(samples: Samples, sample_rate: int, band: tuple[float, float], recorder: Recorder) -> float:
    """Power of the loudest 50 ms within a band, after the recorder's filters."""
    size = fast_length(len(samples) + sample_rate // 20)
    f = np.fft.rfftfreq(size, 1 / sample_rate)
    weights = recorder.response(size, sample_rate) * ((f >= band[0]) & (f <= band[1]))
    inside = np.fft.irfft(np.fft.rfft(samples, size) * weights, size)[: len(samples)]
    return float(power_envelope(inside, int(PEAK_S * sample_rate)).max())


def draw_snr(rng: np.random.Generator, limits: tuple[float, float, float]) -> float:
    return float(rng.triangular(*limits))


def add_call(
    mix: Samples,
    bed: Samples,
    call: Call,
    at: int,
    snr_db: float,
    sample_rate: int,
    recorder: Recorder,
    by_line: bool = False,
) -> Event | None:
    """Add `call` to `mix` from sample `at` on, scaled to `snr_db` against `bed` (of its line, with `by_line`); the
    event, or None if nothing of it can be heard (outside, or in silence): then nothing is added."""
    n = len(mix)
    first, last = max(at + call.core[0], 0), min(at + call.core[1], n)
    if call.label is None or last - first < SHORTEST_S[call.label] * sample_rate:
        return None
    heard, around = call.samples[first - at : last - at], bed[first:last]
    line_snr = float("nan")
    if call.label == "rumble":
        bands = [RUMBLE_BAND_HZ, (call.line_hz - LINE_HZ, call.line_hz + LINE_HZ)]
        own, line = band_power(heard, sample_rate, bands, recorder)
        noise, line_noise = band_power(around, sample_rate, bands, recorder)
        if min(own, noise, line_noise) <= 0:
            return None
        narrower = 10 * np.log10(max(line, 1e-30) / line_noise * noise / own)  # gained by looking at the line alone
        snr_db, line_snr = (snr_db - narrower, snr_db) if by_line else (snr_db, snr_db + narrower)
        # What is fainter than this cannot be seen, and would be a wrong label.
        lift = max(0.0, FAINTEST_LINE_DB - max(line_snr, snr_db))
        snr_db, line_snr = snr_db + lift, line_snr + lift
        faintest = -5.0 - max(line_snr, snr_db)
    else:
        own = peak_power(heard, sample_rate, GUNSHOT_BAND_HZ, recorder)
        noise = band_power(around, sample_rate, [GUNSHOT_BAND_HZ], recorder)[0]
        if min(own, noise) <= 0:
            return None
        faintest = -snr_db  # a tail no louder than the bed is not heard
    factor = float(np.sqrt(noise / own * 10 ** (snr_db / 10)))
    place(mix, call.samples, at, factor)
    start, end = _above(heard, call.label, faintest, sample_rate)
    return Event(first + start, first + end, call.label, call.low_hz, call.high_hz, snr_db, float(line_snr), call.kind)


def _above(heard: Samples, label: str, faintest_db: float, sample_rate: int) -> tuple[int, int]:
    """The part not hopelessly under the noise: what is over `faintest_db` re the call's mean (a shot's peak)."""
    rumble = label == "rumble"
    envelope = power_envelope(heard, int((0.25 if rumble else PEAK_S) * sample_rate))
    reference = float(envelope.mean() if rumble else envelope.max())
    loud = np.flatnonzero(envelope >= reference * 10 ** (min(faintest_db, 0.0) / 10))
    shortest = min(int((0.5 if rumble else 0.3) * sample_rate), len(heard))
    start = int(loud[0]) if rumble else 0
    end = max(int(loud[-1]) + 1, min(start + shortest, len(heard)))
    return start, end


def add_negative(bed: Samples, call: Call, at: int, level_db: float, sample_rate: int) -> None:
    """Add a negative at `level_db` over the bed in its own band; where that band is all but empty, over 1/1000 of the
    whole, so that a hum is not lost behind a recorder's high-pass nor a knock scaled to nothing."""
    first, last = max(at, 0), min(at + len(call.samples), len(bed))
    if last <= first:
        return
    low, high = max(call.low_hz, 8.0), min(call.high_hz, 0.5 * sample_rate)
    noise = band_power(bed[first:last], sample_rate, [(low, max(high, low + 10)), (1.0, sample_rate)], Recorder())
    place(bed, call.samples, at, float(np.sqrt(max(noise[0], 1e-3 * noise[1]) * 10 ** (level_db / 10))))
