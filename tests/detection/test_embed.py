"""Embeddings: one row for each window, whatever the form of the recording, and files of them."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from fakes import FakeModel

from loxo import LoxoError, embed, load_engine
from loxo.detection.embed import write_embeddings


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


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_the_command_writes_a_file(loxo, recording, tmp_path, suffix):
    out = tmp_path / f"e{suffix}"
    code, words, _ = loxo("embed", recording, "--out", out, "--runtime", "onnxruntime")
    assert code == 0 and "5 windows" in words
    if suffix == ".npz":
        with np.load(out) as file:
            assert file["features"].shape[0] == 5 and file["recording"].tolist() == [str(recording)] * 5
    else:
        assert len(pd.read_csv(out)) == 5


def test_a_recording_that_cannot_be_read_is_named(loxo, recording, tmp_path):
    (tmp_path / "bad.wav").write_text("no sound")
    code, _, words = loxo(
        "embed", recording, tmp_path / "bad.wav", "--out", tmp_path / "e.npz", "--runtime", "onnxruntime"
    )
    assert code == 1 and "bad.wav" in words and (tmp_path / "e.npz").is_file()


def test_another_format_is_refused_before_the_work(loxo, recording, tmp_path):
    code, _, words = loxo("embed", recording, "--out", tmp_path / "e.txt")
    assert code == 2 and "written as .npz, .csv or .parquet" in words
    with pytest.raises(LoxoError, match=r"e\.txt"):
        write_embeddings(pd.DataFrame(), tmp_path / "e.txt")
