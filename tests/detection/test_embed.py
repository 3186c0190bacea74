"""Embeddings: one row for each window, whatever the form of the recording, and files of them."""

import numpy as np
import pytest
import soundfile
from fakes import FakeModel

from loxo import LoxoError, embed, load_engine


@pytest.fixture(scope="module")
def engine():
    return load_engine(runtime="onnxruntime")


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("card") / "a.wav"
    samples = 0.05 * np.random.default_rng(3).standard_normal(100 * 4000)
    soundfile.write(path, samples * np.linspace(0.1, 1, len(samples)), 4000, subtype="FLOAT")
    return path


def test_one_row_for_each_window(recording, engine):
    table = embed(recording, engine)
    window_s = engine.config.window_samples / engine.config.sample_rate
    assert table["start_s"].tolist() == pytest.approx([k * window_s for k in range(5)])
    assert table["end_s"].iloc[-1] == 100.0 and set(table["recording"]) == {str(recording)}
    features = table.drop(columns=["recording", "start_s", "end_s"])
    assert features.shape == (5, engine.config.features) and features.to_numpy().std(0).max() > 0


def test_an_embedding_depends_on_its_window_alone(recording, engine):
    samples, rate = soundfile.read(recording, dtype="float32")
    size = engine.config.window_samples
    one = embed(samples[2 * size : 3 * size], engine, sample_rate=rate)
    whole = embed(samples, engine, sample_rate=rate)
    # Frames at the borders of a window see the sound beyond it, where there is any.
    np.testing.assert_allclose(one.iloc[0, 3:].astype(float), whole.iloc[2, 3:].astype(float), atol=0.15)
    assert one["recording"].tolist() == ["array"]


def test_windows_overlap_as_asked(recording, engine):
    starts = embed(recording, engine, window_overlap=0.5)["start_s"]
    assert len(starts) == 9 and starts.diff().iloc[1] == pytest.approx(10.24)


def test_a_model_without_a_latent_output_is_refused(recording):
    with pytest.raises(LoxoError, match="no latent output"):
        embed(recording, FakeModel())


def test_an_event_has_the_features_of_the_window_around_it(recording, engine):
    windows = embed(recording, engine, window_overlap=0.5)
    start, end = windows.loc[3, ["start_s", "end_s"]]
    middle = (start + end) / 2
    events = embed(recording, engine, events=[(middle - 1, middle + 1), (0, 1), (99.5, 100)])
    assert events["start_s"].tolist() == [middle - 1, 0, 99.5] and events["end_s"].tolist() == [middle + 1, 1, 100]
    np.testing.assert_allclose(events.iloc[0, 3:].astype(float), windows.iloc[3, 3:].astype(float), atol=1e-4)
    np.testing.assert_allclose(events.iloc[1, 3:].astype(float), windows.iloc[0, 3:].astype(float), atol=1e-4)


@pytest.mark.parametrize("event", [(100.0, 101.0), (-1.0, 2.0), (5.0, 4.0), (float("nan"), 3.0)])
def test_an_event_outside_the_recording_is_refused(recording, engine, event):
    with pytest.raises(LoxoError, match=r"a\.wav: the event at .* is not in this recording"):
        embed(recording, engine, events=[event])
