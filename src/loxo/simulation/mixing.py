"""Adds one call to a mix at a given signal-to-noise ratio (SNR), and returns the true event.

The stored ratios are those at the output of the recorder's filters, before gain control, clipping and rounding:

    snr_db       for rumbles, the energy in 12-120 Hz against that of the background in the span of the event;
                 for gunshots, the loudest 50 ms in 80-1000 Hz against the mean of the background
    line_snr_db  for rumbles, the strongest low harmonic against the background within 3 Hz of it

The span of an event is its audible part. Parts more than 15 dB below the peak of the call and parts far below the noise
are cut off. Official ELP rumbles have a (signal + noise) / noise of 1-6 dB in 12-120 Hz, and of 2-6 dB in the line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from loxo.events.table import events_frame
from loxo.simulation.recorder import Recorder
from loxo.simulation.sounds import Call, Samples, add_at, fast_length, power_envelope

if TYPE_CHECKING:
    import pandas as pd

RUMBLE_BAND_HZ = (12.0, 120.0)
GUNSHOT_BAND_HZ = (80.0, 1000.0)
PEAK_S = 0.05  # window for the peak of a gunshot
LINE_HALF_WIDTH_HZ = 3.0  # half width of the band around a line
RUMBLE_SNR_DB = (-8.0, -1.0, 24.0)  # min, mode and max of a triangular distribution
LINE_SNR_DB = (1.5, 5.0, 16.0)  # the same for the line: in forest recordings it is 2-7 dB above the noise
LINE_SNR_PROBABILITY = 0.5  # that the level of a rumble is drawn as line SNR, not as band SNR
GUNSHOT_SNR_DB = (0.0, 9.0, 42.0)
MIN_LINE_SNR_DB = 1.5  # the larger of line SNR and band SNR of a rumble is raised to this
MIN_EVENT_S = {"rumble": 0.5, "gunshot": 0.1}  # shorter remains of an event at a border are discarded


@dataclass(frozen=True)
class Event:
    """One true event. Times are sample indices."""

    start: int
    end: int
    label: str
    low_hz: float
    high_hz: float
    snr_db: float
    line_snr_db: float  # NaN for gunshots
    kind: str


def events_table(events: Iterable[Event], sample_rate: int, recording: str) -> pd.DataFrame:
    """An events table with three more columns: snr_db, line_snr_db and kind."""
    rows = []
    for event in events:
        times = {"start_s": event.start / sample_rate, "end_s": event.end / sample_rate, "score": 1.0}
        others = {key: value for key, value in asdict(event).items() if key not in ("start", "end")}
        rows.append({"recording": recording, **times, **others})
    table = events_frame(rows)
    if not rows:
        return table.assign(snr_db=np.zeros(0), line_snr_db=np.zeros(0), kind=np.zeros(0, object))
    return table


def band_power(
    samples: Samples, sample_rate: int, bands: Sequence[tuple[float, float]], recorder: Recorder
) -> list[float]:
    """Mean power of `samples` within each band, after the recorder's filters."""
    n = len(samples)
    size = fast_length(max(n, sample_rate // 2))
    power = np.abs(np.fft.rfft(samples, size) * recorder.response(size, sample_rate)) ** 2
    f = np.arange(len(power)) * (sample_rate / size)
    bins = [(int(np.searchsorted(f, low)), int(np.searchsorted(f, high, side="right"))) for low, high in bands]
    return [float(2 * power[start:stop].sum(dtype=np.float64) / size / max(n, 1)) for start, stop in bins]


def peak_power(samples: Samples, sample_rate: int, band: tuple[float, float], recorder: Recorder) -> float:
    """Mean power of the loudest 50 ms within a band, after the recorder's filters."""
    size = fast_length(len(samples) + sample_rate // 20)
    f = np.fft.rfftfreq(size, 1 / sample_rate)
    gains = recorder.response(size, sample_rate) * ((f >= band[0]) & (f <= band[1]))
    filtered = np.fft.irfft(np.fft.rfft(samples, size) * gains, size)[: len(samples)]
    return float(power_envelope(filtered, int(PEAK_S * sample_rate)).max())


def draw_snr(rng: np.random.Generator, limits: tuple[float, float, float]) -> float:
    """A ratio in dB from a triangular distribution with these (min, mode, max)."""
    return float(rng.triangular(*limits))


def add_call(
    mix: Samples,
    background: Samples,
    call: Call,
    at: int,
    snr_db: float,
    sample_rate: int,
    recorder: Recorder,
    use_line_snr: bool = False,
) -> Event | None:
    """Adds `call` to `mix`, in place, from sample `at` on, and returns its event.

    The call is scaled to an SNR of `snr_db` against `background`. With `use_line_snr` this is the SNR of the line.
    A call that is too short inside the mix, or lies in digital silence, is not added; the result is then None.
    """
    n = len(mix)
    first, last = max(at + call.core[0], 0), min(at + call.core[1], n)
    if call.label is None or last - first < MIN_EVENT_S[call.label] * sample_rate:
        return None
    core, noise_excerpt = call.samples[first - at : last - at], background[first:last]
    line_snr = float("nan")
    if call.label == "rumble":
        bands = [RUMBLE_BAND_HZ, (call.line_hz - LINE_HALF_WIDTH_HZ, call.line_hz + LINE_HALF_WIDTH_HZ)]
        signal, line = band_power(core, sample_rate, bands, recorder)
        noise, line_noise = band_power(noise_excerpt, sample_rate, bands, recorder)
        if min(signal, noise, line_noise) <= 0:
            return None
        line_gain = 10 * np.log10(max(line, 1e-30) / line_noise * noise / signal)  # line SNR minus band SNR, in dB
        snr_db, line_snr = (snr_db - line_gain, snr_db) if use_line_snr else (snr_db, snr_db + line_gain)
        # A fainter call is not visible in a spectrogram, so its label would be wrong.
        lift = max(0.0, MIN_LINE_SNR_DB - max(line_snr, snr_db))
        snr_db, line_snr = snr_db + lift, line_snr + lift
        min_level_db = -5.0 - max(line_snr, snr_db)
    else:
        signal = peak_power(core, sample_rate, GUNSHOT_BAND_HZ, recorder)
        noise = band_power(noise_excerpt, sample_rate, [GUNSHOT_BAND_HZ], recorder)[0]
        if min(signal, noise) <= 0:
            return None
        min_level_db = -snr_db  # a tail below the level of the background is not audible
    factor = float(np.sqrt(noise / signal * 10 ** (snr_db / 10)))
    add_at(mix, call.samples, at, factor)
    start, end = _span_above(core, call.label, min_level_db, sample_rate)
    return Event(first + start, first + end, call.label, call.low_hz, call.high_hz, snr_db, float(line_snr), call.kind)


def _span_above(core: Samples, label: str, min_level_db: float, sample_rate: int) -> tuple[int, int]:
    """The span in which the level is above `min_level_db` relative to the mean of a rumble or the peak of a gunshot."""
    rumble = label == "rumble"
    envelope = power_envelope(core, int((0.25 if rumble else PEAK_S) * sample_rate))
    reference = float(envelope.mean() if rumble else envelope.max())
    loud = np.flatnonzero(envelope >= reference * 10 ** (min(min_level_db, 0.0) / 10))
    min_length = min(int((0.5 if rumble else 0.3) * sample_rate), len(core))
    start = int(loud[0]) if rumble else 0
    end = max(int(loud[-1]) + 1, min(start + min_length, len(core)))
    return start, end


def add_negative(background: Samples, call: Call, at: int, level_db: float, sample_rate: int) -> None:
    """Adds a negative to `background`, in place, at `level_db` relative to the background in the band of the negative.

    The reference is at least 1/1000 of the power of the whole background. Otherwise a negative in an almost empty band,
    such as a hum below the high-pass of a recorder, would be scaled to almost nothing.
    """
    start, stop = max(at, 0), min(at + len(call.samples), len(background))
    if stop <= start:
        return
    low, high = max(call.low_hz, 8.0), min(call.high_hz, 0.5 * sample_rate)
    noise = band_power(
        background[start:stop], sample_rate, [(low, max(high, low + 10)), (1.0, sample_rate)], Recorder()
    )
    add_at(background, call.samples, at, float(np.sqrt(max(noise[0], 1e-3 * noise[1]) * 10 ** (level_db / 10))))
