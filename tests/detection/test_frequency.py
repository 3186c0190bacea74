"""Frequency bounds of events, measured from the spectrogram."""

import numpy as np
import pytest
import soundfile
from fakes import FakeConfig, FakeModel

from loxo import detect
from loxo.audio.recording import probe, stream
from loxo.detection.decode import FIELDS
from loxo.detection.frequency import frequency_bounds, measure
from loxo.engine.config import GUNSHOT_DECODING, RUMBLE_DECODING

RATE = 4000
CONFIG = FakeConfig(
    sample_rate=RATE, step_samples=400, decoding={"rumble": RUMBLE_DECODING, "gunshot": GUNSHOT_DECODING}
)


def noise(seconds: float, seed: int = 0, level: float = 0.01) -> np.ndarray:
    return level * np.random.default_rng(seed).standard_normal(round(seconds * RATE))


def tone(samples: np.ndarray, start: float, end: float, hz: float, level: float) -> None:
    first, last = round(start * RATE), round(end * RATE)
    samples[first:last] += level * np.sin(2 * np.pi * hz * np.arange(last - first) / RATE)


def events(*rows: tuple[float, float, str]) -> list[dict]:
    bounds = {"rumble": (10.0, 150.0), "gunshot": (80.0, 2000.0)}
    return [dict(zip(FIELDS, (*row, 0.9, *bounds[row[2]]), strict=True)) for row in rows]


def written(path, samples, rate=RATE, **options):
    soundfile.write(path, np.clip(samples, -1, 1), rate, **options)
    return probe(path)


def measured(recording, *rows):
    found, fault = measure(events(*rows), recording, CONFIG, recording.samples_at(RATE))
    assert fault is None
    return [[event["low_hz"], event["high_hz"]] for event in found]


def test_a_steady_engine_is_not_part_of_a_rumble_s_bounds(tmp_path):
    samples = noise(60)
    tone(samples, 0, 60, 100, 0.2)  # louder than the call, but always there
    for hz, level in ((18, 0.05), (36, 0.02)):
        tone(samples, 30, 34, hz, level)
    ((low, high),) = measured(written(tmp_path / "a.wav", samples), (30, 34, "rumble"))
    assert low == pytest.approx(17, abs=2) and high == pytest.approx(37, abs=2)


def test_a_gunshot_has_the_bounds_of_its_band(tmp_path):
    samples = noise(30)
    burst = np.random.default_rng(1).standard_normal(RATE // 4)
    spectrum = np.fft.rfft(burst)
    hz = np.fft.rfftfreq(len(burst), 1 / RATE)
    samples[15 * RATE : 15 * RATE + len(burst)] += 0.3 * np.fft.irfft(spectrum * ((hz > 200) & (hz < 900)), len(burst))
    ((low, high),) = measured(written(tmp_path / "a.wav", samples), (15.0, 15.3, "gunshot"))
    assert low == pytest.approx(200, abs=40) and high == pytest.approx(900, abs=60)


def test_an_event_without_an_excess_keeps_the_bounds_of_its_class(tmp_path):
    silence = written(tmp_path / "a.wav", np.zeros(60 * RATE))
    assert measured(silence, (30, 34, "rumble"), (10, 10.3, "gunshot")) == [[10, 150], [80, 2000]]
    short = written(tmp_path / "b.wav", noise(0.4))
    assert measured(short, (0, 0.4, "rumble")) == [[10, 150]]


def test_bounds_do_not_depend_on_the_level(tmp_path):
    samples = noise(60)
    tone(samples, 30, 34, 25, 0.05)
    loud = measured(written(tmp_path / "a.wav", samples, subtype="FLOAT"), (30, 34, "rumble"))
    quiet = measured(written(tmp_path / "b.wav", samples / 1000, subtype="FLOAT"), (30, 34, "rumble"))
    assert loud == quiet


def test_bounds_do_not_depend_on_other_events_or_their_order(tmp_path):
    """Also where the recording is resampled, because blocks lie on a fixed grid."""
    samples = noise(120, level=0.02)
    rows = [(3.2, 6.4, "rumble"), (14.0, 19.2, "rumble"), (15.0, 15.3, "gunshot"), (90.1, 119.9, "rumble")]
    for start, end, label in rows:
        tone(samples, start, end, 20 if label == "rumble" else 500, 0.03)
    recording = written(tmp_path / "a.flac", np.repeat(samples, 2), 2 * RATE)
    together = measured(recording, *rows)
    assert together == [measured(recording, row)[0] for row in rows]
    assert together == measured(recording, *rows[::-1])[::-1]


def test_bounds_stay_below_the_nyquist_frequency_of_the_recording(tmp_path):
    samples = noise(60)[::4]
    recording = written(tmp_path / "a.wav", samples, RATE // 4)
    ((_, high),) = measured(recording, (30.0, 30.5, "gunshot"))
    assert high <= 500 or high == 2000


def test_only_the_middle_of_a_long_event_is_read(tmp_path, monkeypatch):
    samples = noise(400)
    tone(samples, 0, 400, 30, 0.001)
    recording = written(tmp_path / "a.wav", samples)
    spans = []

    def counting(recording, sample_rate, start, stop, channel):
        spans.append((start, stop))
        return stream(recording, sample_rate, start=start, stop=stop, channel=channel)

    monkeypatch.setattr("loxo.detection.frequency.stream", counting)
    ((low, high),) = measured(recording, (10, 390, "rumble"))
    assert 10 <= low < high <= 150
    assert min(spans)[0] >= (200 - 30 - 10 - 16) * RATE and max(spans)[1] <= (200 + 30 + 10 + 16) * RATE


def test_bounds_are_none_without_context_or_bands():
    quiet = np.zeros(RATE, np.float32)
    assert frequency_bounds(quiet, 0, RATE, RATE, RUMBLE_DECODING, 1900) is None  # no surroundings
    assert frequency_bounds(quiet, 0, RATE, RATE, RUMBLE_DECODING, 5.0) is None  # no band


def test_an_event_that_cannot_be_read_again_keeps_the_bounds_of_its_class_with_a_note(tmp_path):
    recording = written(tmp_path / "a.wav", noise(60))
    (tmp_path / "a.wav").unlink()
    found, fault = measure(events((30, 34, "rumble")), recording, CONFIG, 60 * RATE)
    assert [(event["low_hz"], event["high_hz"]) for event in found] == [(10, 150)] and "could not be measured" in fault


def test_detect_returns_measured_bounds(tmp_path):
    time = np.arange(60 * 1000) / 1000
    samples = 0.001 * np.random.default_rng(1).standard_normal(len(time))
    samples += 0.9 * np.sin(2 * np.pi * 40 * time) * ((time >= 30) & (time < 33))
    soundfile.write(tmp_path / "a.wav", samples, 1000)
    found = detect(tmp_path / "a.wav", FakeModel())
    rumble = found[found["label"] == "rumble"].iloc[0]
    assert rumble["low_hz"] == pytest.approx(38, abs=2.5) and rumble["high_hz"] == pytest.approx(42, abs=2.5)
