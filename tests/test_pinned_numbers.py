"""The shipped model's own numbers on a recording from a fixed formula: front end, logits, frame scores, events.

The numbers are in helpers/pinned_numbers.py. Every runtime must give them, OpenVINO in float32.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fixture_sound import RATE, fixture_sound
from pinned_numbers import THRESHOLD, check_events, check_frame_scores, check_images, check_logits, windows

from loxo import detect
from loxo.detection.scores import frame_scores
from loxo.engine.architectures import preset_config
from loxo.engine.engine import load_engine
from loxo.engine.frontend import FrontEnd
from loxo.engine.model_file import read_model_file

needs_pytorch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")


@pytest.fixture(scope="module", params=["onnxruntime", pytest.param("torch", marks=needs_pytorch)])
def engine(request):
    return load_engine("default", runtime=request.param)


def test_the_numpy_front_end():
    check_images(FrontEnd(read_model_file("default").config).images(windows()))


@needs_pytorch
def test_the_front_end_and_the_logits_of_the_module():
    import torch

    from loxo import load_model

    model, waveform = load_model("default"), torch.from_numpy(windows())
    with torch.no_grad():
        check_images(model.frontend(waveform).transpose(2, 3).numpy())
        check_logits(model(waveform)["row_logits"].numpy())


def test_the_logits_of_an_engine(engine):
    check_logits(np.concatenate([engine.read(window).outputs([0])[0] for window in windows()]))


def test_the_frame_scores_and_events_of_an_engine(engine):
    check_frame_scores(frame_scores(engine, [fixture_sound()]))
    check_events(detect(fixture_sound(), engine, sample_rate=RATE, threshold=THRESHOLD))


OPENVINO = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from fixture_sound import RATE, fixture_sound
from pinned_numbers import THRESHOLD, check_events, check_frame_scores, check_logits, windows
from loxo import detect
from loxo.detection.scores import frame_scores
from loxo.engine import openvino
from loxo.engine.engine import load_engine

openvino.fastest_precision = lambda: "float32"
engine = load_engine("default", runtime="openvino")
assert engine.describe()["precision"] == "float32"
check_logits(np.concatenate([engine.read(window).outputs([0])[0] for window in windows()]))
check_frame_scores(frame_scores(engine, [fixture_sound()]))
check_events(detect(fixture_sound(), engine, sample_rate=RATE, threshold=THRESHOLD))
"""


def test_openvino_in_a_process_of_its_own():
    """With OpenVINO loaded, a process of many tests crashes later."""
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("OpenVINO is not installed")
    helpers = Path(__file__).parent / "helpers"
    done = subprocess.run([sys.executable, "-c", OPENVINO, str(helpers)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_preset_is_the_shipped_model():
    """Its front end, its windows and its network: a model trained from the preset has the same."""
    fitted = {"decoding", "calibration", "curves"}
    preset, shipped = (config.to_dict() for config in (preset_config("default"), read_model_file("default").config))
    assert {k: v for k, v in preset.items() if k not in fitted} == {k: v for k, v in shipped.items() if k not in fitted}
