"""One recording from file to events."""

import numpy as np
import pytest
import soundfile
from fakes import RATE, FakeModel

from loxo import detect
from loxo.audio.recording import RecordingError
from loxo.detection.detect import RecordingWarning, analyse
from loxo.events.table import COLUMNS, check_events


def signal(seconds: float, rate: int = RATE, calls: tuple[float, ...] = (3.0,)) -> np.ndarray:
    """A hum of 1 s at 40 Hz at each of `calls`, else next to nothing."""
    time = np.arange(round(seconds * rate)) / rate
    samples = 0.001 * np.random.default_rng(1).standard_normal(len(time))
    for start in calls:
        samples += 0.9 * np.sin(2 * np.pi * 40 * time) * ((time >= start) & (time < start + 1))
    return samples.astype(np.float32)


@pytest.mark.parametrize(
    ("rate", "subtype", "channels"),
    [(1000, "PCM_16", 1), (8000, "PCM_24", 1), (48000, "PCM_U8", 1), (44100, "FLOAT", 2), (500, "DOUBLE", 1)],
)
def test_rates_and_sample_formats_give_the_same_event(tmp_path, rate, subtype, channels):
    path = tmp_path / "nn01_20200101_000000.wav"
    soundfile.write(path, np.tile(signal(8, rate)[:, None], channels), rate, subtype=subtype)
    events = detect(path, FakeModel())
    check_events(events)
    rumbles = events[events["label"] == "rumble"]
    assert tuple(events.columns) == COLUMNS and len(rumbles) == 1
    event = rumbles.iloc[0]
    assert event["start_s"] == pytest.approx(3.0, abs=0.11) and event["end_s"] == pytest.approx(4.0, abs=0.11)
    assert event["recording"] == str(path) and event["site"] == "nn01" and event["score"] > 0.99
    assert str(event["start_time"]).startswith("2020-01-01 00:00:0")


def test_a_recording_shorter_than_a_window_ends_where_it_ends(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, signal(0.75, calls=(0.2,)), RATE)
    events = detect(path, FakeModel())
    assert len(events) >= 1 and events["end_s"].max() == 0.75


def test_silence_is_quiet(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(5 * RATE), RATE)
    assert detect(tmp_path / "a.wav", FakeModel()).empty
    assert len(detect(tmp_path / "a.wav", FakeModel(), threshold=0)) <= 2


def test_a_cut_recording_is_analysed_and_warned_of(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, signal(20), RATE)
    path.write_bytes(path.read_bytes()[: 10 * RATE * 2])
    with pytest.warns(RecordingWarning, match="cut off"):
        events = detect(path, FakeModel())
    assert len(events) >= 1
    analysis = analyse(path, FakeModel())
    assert analysis.duration_s == 20 and analysis.analysed_s == pytest.approx(10, abs=0.03)


def test_no_recording_raises(tmp_path):
    (tmp_path / "a.wav").write_text("not at all")
    with pytest.raises(RecordingError, match="text file"):
        detect(tmp_path / "a.wav", FakeModel())


def test_progress_comes_by_callback(tmp_path):
    soundfile.write(tmp_path / "a.wav", signal(65), RATE)
    seen = []
    detect(tmp_path / "a.wav", FakeModel(), progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen) and len(seen) > 10 and {total for _, total in seen} == {65.0}
