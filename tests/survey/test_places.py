"""Where events are: at the start, the end, every seam, after any shift, and in the seventh day."""

import numpy as np
import pytest
import soundfile
from fakes import RATE, STEP, FakeConfig, FakeModel
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from loxo import detect
from loxo.engine.config import Decoding

STEP_S = STEP / RATE
anywhere = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def rumbles(path, samples: np.ndarray, **options) -> list[tuple[float, float]]:
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    found = detect(path, FakeModel(), **options)
    return found[found["label"] == "rumble"][["start_s", "end_s"]].to_numpy().tolist()


def quiet(samples: int, seed: int = 0) -> np.ndarray:
    return 0.001 * np.random.default_rng(seed).standard_normal(samples).astype(np.float32)


def call(samples: np.ndarray, start: int, length: int) -> None:
    samples[start : start + length] += 0.5 * np.sin(np.arange(len(samples[start : start + length])) / 4)


@anywhere
@given(st.integers(0, 40_000), st.integers(400, 4000), st.sampled_from([0.0, 0.5, 0.8]))
@example(102, 400, 0.0)
def test_seams_lose_nothing(tmp_path, start, length, overlap):
    """A call anywhere in 41 s, over the borders of windows of 1.6 s and of chunks, also cut by the recording's end."""
    samples = quiet(41_000)
    call(samples, start, length)
    end = min(start + length, len(samples))
    if end - start < 400:
        return
    found = rumbles(tmp_path / "a.wav", samples, window_overlap=overlap)
    assert len(found) == 1
    # At the start and the end of a recording the mean has fewer steps, so it rises a little earlier.
    assert found[0][0] == pytest.approx(start / RATE, abs=1.1 * STEP_S)
    assert found[0][1] == pytest.approx(end / RATE, abs=1.1 * STEP_S)


@anywhere
@given(st.integers(0, 5000), st.lists(st.integers(0, 25), min_size=1, max_size=4, unique=True))
def test_a_shift_of_the_audio_shifts_the_events_as_much(tmp_path, shift, places):
    samples = quiet(60_000)
    for place in places:
        call(samples, 2000 + 2200 * place, 1230)
    before = rumbles(tmp_path / "a.wav", samples)
    after = rumbles(tmp_path / "b.wav", np.concatenate((quiet(shift, 1), samples)))
    assert len(before) == len(after) == len(places)
    np.testing.assert_allclose(np.array(after) - shift / RATE, before, atol=1.01 * STEP_S)


def test_an_event_in_the_last_hour_of_seven_days_is_placed_to_the_frame(tmp_path):
    """12 million samples at 20 Hz, read, scored and decoded as any recording is."""
    rate, hours, step = 20, 168, 8
    start = 167 * 3600 * rate + 12_345
    decodings = {"rumble": Decoding(low_hz=1, high_hz=8), "gunshot": Decoding()}
    config = FakeConfig(rate, 1024 * step, 1024, step, decoding=decodings)
    with soundfile.SoundFile(tmp_path / "week.wav", "w", rate, 1, "PCM_16") as file:
        for hour in range(hours):
            samples = np.zeros(3600 * rate, np.float32)
            first = start - hour * 3600 * rate
            if 0 <= first < len(samples):
                samples[first : first + 10 * step] = 0.5 * np.sin(np.arange(10 * step))
            file.write(samples)
    found = detect(tmp_path / "week.wav", FakeModel(config))
    rumble = found[found["label"] == "rumble"]
    assert len(rumble) == 1
    assert rumble["start_s"].iloc[0] == pytest.approx(start / rate, abs=step / rate)
    assert rumble["end_s"].iloc[0] == pytest.approx((start + 10 * step) / rate, abs=step / rate)
    assert (rumble["start_s"].iloc[0] * rate) % step == pytest.approx(0, abs=1e-6)  # on the frames, without drift
