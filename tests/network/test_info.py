import pytest
import torch

from loxo import LoxoError, save_model
from loxo.engine.architectures import CRNNConfig
from loxo.engine.info import model_info
from loxo.network.base import FrameModel
from loxo.network.info import measure
from loxo.network.registry import build


class Known(FrameModel):
    """One convolution over 5 frames: 5 x 8 x 2 multiply-accumulates for each of 80 frames."""

    def __init__(self, config):
        super().__init__(config)
        self.convolution = torch.nn.Conv1d(8, 2, 5, padding=2, bias=False)

    def bands(self, waveform):
        return waveform.view(1, 1, 8, 80)

    def network(self, bands):
        logits = self.convolution(bands[:, 0]).unflatten(2, (16, 5)).mean(3)
        return logits, logits.mean(2)


def test_operations_and_receptive_field_of_a_known_network():
    geometry = {"sample_rate": 64, "window_samples": 640, "n_mels": 8, "image_frames": 80, "output_frames": 16}
    geometry |= {"n_fft": 16, "hop_length": 8, "fmin": 1.0}
    config = CRNNConfig(channels=(1,), pools=((1, 5),), **geometry)
    assert config.steps == 16
    torch.manual_seed(0)
    operations, seconds = measure(Known(config))
    assert operations == 5 * 8 * 2 * 80
    assert seconds == pytest.approx((5 + 4) / 80 * 10)  # the five frames of a step and two on each side


def test_the_text_describes_the_model(tmp_path):
    torch.manual_seed(0)
    model = build("default", embed_dim=8, num_heads=(1, 2, 4), depths=(2, 2, 2))
    save_model(model, tmp_path / "model.safetensors", {"data": "simulated", "steps": 100})
    info = model_info(tmp_path / "model.safetensors")
    assert info.network.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert (info.window_s, info.resolution_s) == (20.48, 0.08)
    # From token 32: windows of 8 columns, shifted by 4 in every second of six blocks, extend to columns 8 to 55.
    # Each layer of the stem adds one of its columns on the left: one frame and two frames.
    assert info.network.receptive_field_s == pytest.approx(48 * 0.32 + 3 * 0.04)
    text = str(info)
    for words in (
        "rumble, gunshot",
        "20.48 s at 4000 Hz",
        "0.08 s: 256 steps",
        "each 4 of the 1024",
        "simulated",
        "htsat",
    ):
        assert words in text
    assert f"{info.network.parameters:,}" in text and info.sha256 in text
    with pytest.raises(LoxoError, match="there is no such model"):
        model_info("none")


def test_the_figures_of_the_paper():
    """30.0 M parameters without the unused head of the official code. 6.0 G operations with an FFT for the STFT, and
    with a product that resizes the spectrogram from 1,001 to 1,024 frames."""
    model = build("audioset").eval()
    assert sum(parameter.numel() for parameter in model.parameters()) == 30_241_687 - 278_256
    assert measure(model) == (pytest.approx(6.02e9 + 64 * 1001 * 1024, rel=0.001), 10.0)


@pytest.mark.parametrize("preset", ["default", "ast-elephants"])
def test_attention_counts_with_and_without_gradients(preset):
    """PyTorch uses a fused operator for frozen weights only. The number of operations is the same."""
    model = build(preset).eval()
    with_gradients = measure(model)
    assert measure(model.requires_grad_(False)) == with_gradients
