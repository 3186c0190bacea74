"""The numpy front end gives the images of the PyTorch front end, for whole windows and for windows of a long input."""

import dataclasses

import numpy as np
import pytest
import torch

from loxo.engine.architectures import HTSATConfig
from loxo.engine.frontend import FrontEnd, is_supported
from loxo.network.frontend import build_frontend
from loxo.network.images import images
from loxo.network.registry import build

CONFIG = HTSATConfig.preset("default")
STRIDE = CONFIG.step_samples * CONFIG.stride_steps
STRIDE_FRAMES = STRIDE // CONFIG.hop_length
WINDOW = CONFIG.window_samples // STRIDE  # in strides


def sound(strides, silent=(), seed=0):
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 0.02, strides * STRIDE).astype(np.float32)
    samples += 0.1 * np.sin(2 * np.pi * 31.3 * np.arange(len(samples)) / CONFIG.sample_rate).astype(np.float32)
    for first, stop in silent:
        samples[first * STRIDE : stop * STRIDE] = 0.0
    return samples


def of_pytorch(windows):
    return build_frontend(CONFIG)(torch.from_numpy(windows)).transpose(2, 3).numpy()


SILENCES = {"none": [], "a gap": [(3, 30)], "all but the end": [(0, 60)], "everything": [(0, WINDOW)]}


@pytest.mark.parametrize("silent", SILENCES.values(), ids=SILENCES)
def test_whole_windows(silent):
    windows = np.stack([sound(WINDOW, silent, seed) for seed in range(3)])
    found, expected = FrontEnd(CONFIG).images(windows), of_pytorch(windows)
    assert found.shape == expected.shape and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-4, rtol=0)


def test_digital_silence_of_one_bit_noise():
    """A recorder without a microphone: most samples are 0, some are one unit of 16 bits."""
    window = np.random.default_rng(0).integers(0, 50, CONFIG.window_samples) == 0
    windows = (window / 32768).astype(np.float32)[None]
    np.testing.assert_allclose(FrontEnd(CONFIG).images(windows), of_pytorch(windows), atol=2e-4, rtol=0)


@pytest.mark.parametrize("gain", [1e-3, 0.1, 30.0])
def test_the_gain_does_not_change_an_image(gain):
    windows = sound(WINDOW)[None]
    frontend = FrontEnd(CONFIG)
    found = frontend.images((windows * np.float32(gain)).astype(np.float32))
    np.testing.assert_allclose(found, frontend.images(windows), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("strides", "silent"),
    [(WINDOW, []), (175, []), (175, [(20, 30)]), (130, [(0, 70)]), (WINDOW, [(0, WINDOW)])],
    ids=["one window", "several", "a gap", "a silent window", "only zeros"],
)
def test_windows_of_a_long_input(strides, silent):
    samples = sound(strides, silent)
    frontend = build_frontend(CONFIG)
    power = frontend.power(torch.from_numpy(samples)[None])[0]
    levels = FrontEnd(CONFIG).levels(samples)
    for stride in {0, (strides - WINDOW) // 2, strides - WINDOW}:
        first = stride * STRIDE_FRAMES
        expected = frontend.image(power[None, first : first + CONFIG.image_frames]).transpose(2, 3)[0].numpy()
        found = np.empty_like(expected)
        levels.image(first, found)
        np.testing.assert_allclose(found, expected, atol=2e-4, rtol=0)


def test_training_uses_the_numpy_front_end_on_the_cpu():
    model = build(CONFIG)
    windows = torch.from_numpy(np.stack([sound(WINDOW, seed=1), sound(WINDOW, [(3, 30)], seed=2)]))
    found = images(model, windows)
    torch.testing.assert_close(found, model.frontend(windows), atol=2e-4, rtol=0)
    assert model.scaled(found).is_contiguous()  # laid out as the network reads it
    mel = build("audioset", classes=("a",), embed_dim=8, num_heads=(1, 1, 1, 1), depths=(1, 1, 1, 1))
    noise = 0.1 * torch.randn(1, mel.config.window_samples)
    assert torch.equal(images(mel, noise), mel.frontend(noise))


def test_configs_that_the_numpy_front_end_does_not_support():
    sixteenth = dataclasses.replace(CONFIG, long_every=16)  # a floor block is half of such a window
    assert is_supported(CONFIG)
    for config in (sixteenth, HTSATConfig.preset("audioset")):
        assert not is_supported(config)
        with pytest.raises(ValueError, match="does not support"):
            FrontEnd(config)


def test_windows_of_another_length_are_rejected():
    with pytest.raises(ValueError, match=f"windows have {CONFIG.window_samples} samples"):
        FrontEnd(CONFIG).images(np.zeros((1, CONFIG.window_samples - 1), np.float32))
