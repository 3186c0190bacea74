"""Recordings given as arrays: the events of the same sound in a file, and a sentence for what is no recording."""

import multiprocessing
import warnings

import numpy as np
import pytest
import soundfile
from fakes import RATE, FakeModel

import loxo
from loxo import LoxoError, detect
from loxo.detection.detect import RecordingWarning


@pytest.fixture(scope="module")
def sound():
    time_s = np.arange(20 * RATE) / RATE
    hum = 0.5 * np.sin(2 * np.pi * 40 * time_s) * ((time_s > 5) & (time_s < 8))
    return (hum + 0.01 * np.random.default_rng(0).standard_normal(len(time_s))).astype(np.float32)


def events_of_file(folder, samples, rate=RATE, subtype="FLOAT"):
    soundfile.write(folder / "a.wav", samples, rate, subtype=subtype)
    return detect(folder / "a.wav", FakeModel()).drop(columns=["recording", "site"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_events_of_an_array_are_those_of_a_file(sound, tmp_path, dtype):
    found = detect(sound.astype(dtype), FakeModel(), sample_rate=RATE)
    assert len(found) and set(found["recording"]) == {"array"}
    expected = events_of_file(tmp_path, sound)
    assert found.drop(columns=["recording", "site"]).equals(expected)


def test_integers_are_full_scale_pcm(sound, tmp_path):
    pcm = np.round(sound * 32767).astype(np.int16)
    found = detect(pcm, FakeModel(), sample_rate=RATE)
    assert found.drop(columns=["recording", "site"]).equals(events_of_file(tmp_path, pcm, subtype="PCM_16"))


def test_channels_are_mixed_and_other_rates_resampled(sound, tmp_path):
    twice = np.repeat(np.stack((sound, sound), 1), 2, axis=0)
    found = detect(twice, FakeModel(), sample_rate=2 * RATE)
    assert found.drop(columns=["recording", "site"]).equals(events_of_file(tmp_path, twice, 2 * RATE))
    assert len(found) == len(detect(sound, FakeModel(), sample_rate=RATE))


@pytest.mark.parametrize(
    ("recording", "options", "error", "words"),
    [
        ([0.1, 0.2], {}, TypeError, "not list. For several recordings use loxo.survey"),
        (["a.wav", "b.wav"], {}, TypeError, "loxo.survey"),
        (None, {}, TypeError, "not NoneType"),
        (3, {}, TypeError, "not int"),
        (np.zeros(()), {"sample_rate": RATE}, TypeError, r"not \(\)"),
        (np.zeros(0), {"sample_rate": RATE}, TypeError, r"not \(0,\)"),
        (np.zeros((2, 2, 2)), {"sample_rate": RATE}, TypeError, r"\(samples, channels\), not \(2, 2, 2\)"),
        (np.zeros((2, 100)), {"sample_rate": RATE}, TypeError, r"\(samples, channels\), not \(2, 100\)"),
        (np.zeros(9, complex), {"sample_rate": RATE}, TypeError, "not complex128"),
        (np.zeros(9, bool), {"sample_rate": RATE}, TypeError, "not bool"),
        (np.array(["a"]), {"sample_rate": RATE}, TypeError, "not <U1"),
        (np.zeros(9), {}, TypeError, "needs its sample_rate in Hz, a whole number, not None"),
        (np.zeros(9), {"sample_rate": 44100.5}, TypeError, "not 44100.5"),
        (np.zeros(9), {"sample_rate": True}, TypeError, "not True"),
        (np.zeros(9), {"sample_rate": -1}, LoxoError, "-1 Hz is out of bounds"),
        ("a.wav", {"sample_rate": RATE}, TypeError, "a file has its own"),
        ("missing.wav", {}, LoxoError, "missing.wav"),
    ],
)
def test_what_is_no_recording_is_refused_in_a_sentence(recording, options, error, words):
    with pytest.raises(error, match=words) as caught:
        detect(recording, FakeModel(), **options)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_a_folder_is_refused_with_the_function_for_it(tmp_path):
    with pytest.raises(LoxoError, match=r"this is a folder\. Use loxo\.survey"):
        detect(tmp_path, FakeModel())


@pytest.mark.parametrize("model", [123, None, ["default"]])
def test_what_is_no_model_is_refused(sound, model):
    with pytest.raises(TypeError, match="A model is a bundled model's name"):
        detect(sound, model, sample_rate=RATE)


def test_an_unknown_model_is_refused(sound):
    with pytest.raises(LoxoError, match="no-such-model: there is no such model file"):
        detect(sound, "no-such-model", sample_rate=RATE)


def test_samples_that_are_no_number_are_silence_with_a_warning(sound):
    broken = sound.copy()
    broken[100:110] = np.nan
    with pytest.warns(RecordingWarning, match="The array: samples"):
        detect(broken, FakeModel(), sample_rate=RATE)


def _search(samples, answer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        answer.put(len(loxo.detect(samples, MODELS[0], sample_rate=4000, threshold=0.0)))


MODELS = []  # the model of the parent process, which forked children inherit


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system has no fork")
@pytest.mark.parametrize("kind", ["engine", "module"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_children_forked_after_loading_do_not_hang(kind):
    if kind == "module":
        pytest.importorskip("torch", reason="PyTorch is not installed")
    MODELS[:] = [loxo.load_engine(runtime="onnxruntime") if kind == "engine" else loxo.load_model()]
    samples = 0.01 * np.random.default_rng(0).standard_normal(45 * 4000)
    here = len(loxo.detect(samples, MODELS[0], sample_rate=4000, threshold=0.0))
    context = multiprocessing.get_context("fork")
    answer = context.Queue()
    children = [context.Process(target=_search, args=(samples, answer)) for _ in range(2)]
    for child in children:
        child.start()
    try:
        assert [answer.get(timeout=60) for _ in children] == [here, here]
    finally:
        for child in children:
            child.kill()
            child.join()
