"""The front end over a long stretch gives what it gives frame by frame, whatever the sound, and says when it cannot."""

import dataclasses

import numpy as np
import pytest
import torch

from loxo.engine.architectures import HTSATConfig
from loxo.engine.frontend import Levels, Plan, fits
from loxo.network.frontend import build_frontend
from loxo.network.images import images
from loxo.network.registry import build

CONFIG = HTSATConfig.preset("default")
STRIDE = CONFIG.step_samples * CONFIG.stride_steps
STRIDE_FRAMES = STRIDE // CONFIG.hop_length


def sound(strides, silent=(), seed=0):
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 0.02, strides * STRIDE).astype(np.float32)
    samples += 0.1 * np.sin(2 * np.pi * 31.3 * np.arange(len(samples)) / CONFIG.sample_rate).astype(np.float32)
    for first, past in silent:
        samples[first * STRIDE : past * STRIDE] = 0.0
    return torch.from_numpy(samples)


@pytest.mark.parametrize(
    ("strides", "silent"),
    [(64, []), (175, []), (175, [(20, 30)]), (130, [(0, 70)]), (64, [(0, 64)])],
    ids=["one window", "several", "a gap", "a silent window", "nothing at all"],
)
def test_the_same_images_as_frame_by_frame(strides, silent):
    frontend = build_frontend(CONFIG)
    waveform = sound(strides, silent)
    firsts = [STRIDE_FRAMES * stride for stride in {0, (strides - 64) // 2, strides - 64}]
    power = frontend.power(waveform[None])[0]
    expected = frontend.image(torch.stack([power[first : first + CONFIG.image_frames] for first in firsts]))
    images = Levels(Plan(frontend), waveform[None]).images(firsts, CONFIG.image_frames)
    assert images.shape == expected.shape
    assert torch.allclose(images, expected, atol=2e-4), (images - expected).abs().max()


def test_training_has_the_front_ends_image_of_every_window():
    model = build(CONFIG)
    windows = torch.stack([sound(64, seed=1), sound(64, [(3, 30)], seed=2), sound(64, [(0, 64)])])
    expected = model.frontend(windows)
    got = images(model, windows)
    assert got.shape == expected.shape
    torch.testing.assert_close(got, expected, atol=2e-4, rtol=0)
    assert model.scaled(got).is_contiguous()  # laid out as the network wants it
    mel = build("audioset", classes=("a",), embed_dim=8, num_heads=(1, 1, 1, 1), depths=(1, 1, 1, 1))
    noise = 0.1 * torch.randn(1, mel.config.window_samples)
    assert torch.equal(images(mel, noise), mel.frontend(noise))


def test_what_does_not_fit_is_left_to_the_front_end():
    frontend = build_frontend(CONFIG)
    assert fits(frontend, CONFIG)
    sixteenth = dataclasses.replace(CONFIG, long_every=16)  # of a block of the floor, half a window
    assert not fits(build_frontend(sixteenth), sixteenth)
    assert not fits(torch.nn.Identity(), CONFIG)
