"""A long waveform through a model and through detection: the same scores at the same overlap between windows."""

import numpy as np
import pytest

from loxo import HTSATConfig
from loxo.detection.scores import frame_scores
from loxo.engine.engine import as_engine

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from loxo.network.base import FrameModel  # noqa: E402 (after the check for PyTorch)

WINDOW = 40_000  # samples of a window in the preset, 32 steps of 1250


class Placed(FrameModel):
    """Its logits depend on the sound of a step and strongly on the place of the step in its window, unevenly, so that
    every other weight, hop or position of a window gives other scores."""

    def bands(self, waveform):
        return waveform.view(len(waveform), 1, self.config.steps, self.config.step_samples)

    def network(self, bands):
        place = torch.linspace(-1, 1, self.config.steps)
        logits = 5 * bands.abs().mean(3) + 3 * place + 2 * place**2
        return logits.expand(-1, len(self.config.classes), -1), bands.mean((2, 3))


@pytest.mark.parametrize("samples", [WINDOW + 1, 2 * WINDOW, 3 * WINDOW + 12_345, 9 * WINDOW + 700])
def test_a_model_and_detection_cross_fade_alike(samples):
    model = Placed(HTSATConfig.preset("elephants-4k"))
    wave = (0.3 * np.random.default_rng(0).standard_normal(samples)).astype(np.float32)
    expected = model(torch.from_numpy(wave)[None])["framewise_logits"][0].sigmoid().numpy()
    np.testing.assert_allclose(frame_scores(as_engine(model), [wave], window_overlap=0.5), expected, atol=2e-5)
