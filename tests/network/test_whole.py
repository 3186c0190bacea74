"""The graph of a whole model: ONNX Runtime alone gives Loxo's probabilities, from the waveform."""

import json
from functools import cache

import numpy as np
import onnxruntime
import pytest
import torch
from recordings import fixture_recording, sounds

from loxo import load_engine
from loxo.audio.recording import probe, stream
from loxo.network.base import CLIP_POOLING
from loxo.network.loading import load_model, save_model
from loxo.network.registry import build
from loxo.network.whole import export_whole

pytest.importorskip("onnxscript")

ELEPHANTS = {"embed_dim": 8, "depths": (1, 2), "num_heads": (1, 2), "merges": ((8, 8),)}
SMALL = {  # one for each front end; the bundled model has the two-resolution front end
    "elephants-4k": ELEPHANTS,
    "crnn": {"channels": (4, 4, 4), "hidden": 4},
    "elephants-4k, pcen": ELEPHANTS | {"frontend": "pcen"},
    "ast": {"embed_dim": 8, "depth": 1, "num_heads": 2},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("calls")


@cache
def recorded(folder):
    return probe(fixture_recording(folder))


def windows(config, folder):
    """Silence, noise at three gains, chirps, half a window of silence, a click, and simulated calls."""
    rng = np.random.default_rng(0)
    size = config.window_samples
    noise = rng.normal(0, 0.02, size)
    click = np.zeros(size)
    click[size // 3] = 1.0
    calls = np.concatenate(list(stream(recorded(folder), config.sample_rate)))
    cut = [np.resize(calls[k * size :], size) for k in range(max(len(calls) // size, 1))]
    half = np.where(np.arange(size) < size // 2, 0, noise)
    given = [np.zeros(size), noise, noise * 1e-3, noise * 20, half, click, *sounds(config, 2), *cut[:3]]
    return [np.clip(one, -1, 1).astype(np.float32)[None] for one in given]


def session_of(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("case", SMALL)
def test_the_graph_of_each_front_end_gives_the_probabilities_of_the_model(case, tmp_path, folder):
    torch.manual_seed(0)
    path = tmp_path / "m.safetensors"
    save_model(build(case.partition(",")[0], **SMALL[case]).eval(), path)
    model = load_model(path)
    session = session_of(export_whole(path, tmp_path / "whole.onnx"))
    for waveform in windows(model.config, folder):
        with torch.inference_mode():
            expected = model(torch.from_numpy(waveform))
        clip, frames = session.run(["probabilities", "frames"], {"waveform": waveform})
        np.testing.assert_allclose(clip, expected["clipwise_output"], atol=1e-4, rtol=0)
        np.testing.assert_allclose(frames, expected["framewise_logits"].sigmoid(), atol=1e-4, rtol=0)


def test_the_bundled_model_gives_the_probabilities_of_detection(loxo, tmp_path, folder):
    code, out, _ = loxo("export", "default", "--whole", "--out", tmp_path / "w.onnx")
    assert code == 0 and "w.onnx" in out
    session, engine = session_of(tmp_path / "w.onnx"), load_engine(runtime="onnxruntime")
    config = engine.config
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["classes"]) == list(config.classes) and int(about["sample_rate"]) == config.sample_rate
    assert float(about["window_s"]) == 20.48 and float(about["step_s"]) == 0.08
    assert session.get_inputs()[0].shape == [1, int(about["window_samples"])]
    pooling = CLIP_POOLING[config.clip_pooling]
    for waveform in windows(config, folder):
        logits = torch.from_numpy(engine.read(waveform[0]).outputs([0])[0][:, : len(config.classes)])
        clip, frames = session.run(["probabilities", "frames"], {"waveform": waveform})
        np.testing.assert_allclose(frames, logits.sigmoid(), atol=1e-4, rtol=0)
        np.testing.assert_allclose(clip, pooling(logits).sigmoid(), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--out", "w.safetensors"), "written as .onnx"),
        (("--out", "m.onnx"), "Loxo's own graph"),
        (("--int8",), "cannot be combined"),
    ],
)
def test_wrong_options_are_refused(loxo, tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    save_model(build("elephants-4k", **ELEPHANTS), tmp_path / "m.safetensors")
    code, _, err = loxo("export", "m.safetensors", "--whole", *options)
    assert code == 2 and words in err and sorted(tmp_path.glob("*.onnx")) == []
