"""The shipped model's own numbers on a recording from a fixed formula: front end, logits, frame scores, events.

OpenVINO is held to the same numbers where its tests run (tests/engine).
"""

import numpy as np
import pytest
import torch
from fixture_sound import RATE, fixture_sound
from pinned_numbers import THRESHOLD, check_events, check_frame_scores, check_images, check_logits, windows

from loxo import detect, load_model
from loxo.detection.scores import frame_scores
from loxo.engine.architectures import preset_config
from loxo.engine.engine import load_engine
from loxo.engine.frontend import FrontEnd


@pytest.fixture(scope="module")
def model():
    return load_model("default")


@pytest.fixture(scope="module", params=["onnxruntime", "torch"])
def engine(request):
    return load_engine("default", runtime=request.param)


def test_the_numpy_front_end(model):
    check_images(FrontEnd(model.config).images(windows()))


@torch.no_grad()
def test_the_front_end_and_the_logits_of_the_module(model):
    waveform = torch.from_numpy(windows())
    check_images(model.frontend(waveform).transpose(2, 3).numpy())
    check_logits(model(waveform)["row_logits"].numpy())


def test_the_logits_of_each_engine(engine):
    check_logits(np.concatenate([engine.read(window).outputs([0])[0] for window in windows()]))


def test_the_frame_scores_and_events_of_each_engine(engine):
    check_frame_scores(frame_scores(engine, [fixture_sound()]))
    check_events(detect(fixture_sound(), engine, sample_rate=RATE, threshold=THRESHOLD))


def test_the_preset_is_the_shipped_model(model):
    """Its front end, its windows and its network: a model trained from the preset has the same."""
    fitted = {"decoding", "calibration", "curves"}
    preset, shipped = (config.to_dict() for config in (preset_config("default"), model.config))
    assert {k: v for k, v in preset.items() if k not in fitted} == {k: v for k, v in shipped.items() if k not in fitted}
