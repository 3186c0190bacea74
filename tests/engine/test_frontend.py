"""The numpy front end gives the images of the PyTorch one, for single windows and for windows of a long input."""

import dataclasses

import numpy as np
import pytest

from loxo.engine.architectures import HTSATConfig
from loxo.engine.frontend import FrontEnd, is_supported

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from loxo.network.frontend import build_frontend  # noqa: E402 (after the check for PyTorch)
from loxo.network.images import images  # noqa: E402
from loxo.network.registry import build  # noqa: E402

CONFIG = HTSATConfig.preset("default")
STRIDE = CONFIG.step_samples * CONFIG.stride_steps
STRIDE_FRAMES = STRIDE // CONFIG.hop_length
TOLERANCE = 2e-4


def sound(strides, silent=(), seed=0):
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 0.02, strides * STRIDE).astype(np.float32)
    samples += 0.1 * np.sin(2 * np.pi * 31.3 * np.arange(len(samples)) / CONFIG.sample_rate).astype(np.float32)
    for first, stop in silent:
        samples[first * STRIDE : stop * STRIDE] = 0.0
    return samples


def image(levels, first_frame):
    out = np.empty((CONFIG.in_chans, CONFIG.n_mels, CONFIG.image_frames), np.float32)
    levels.image(first_frame, out)
    return out


@pytest.mark.parametrize(
    ("strides", "silent"),
    [(64, []), (175, []), (175, [(20, 30)]), (130, [(0, 70)]), (64, [(0, 64)])],
    ids=["one window", "several windows", "a gap", "a silent window", "silence"],
)
def test_windows_of_a_long_input_have_the_images_of_the_definition(strides, silent):
    definition, waveform = build_frontend(CONFIG), sound(strides, silent)
    firsts = sorted(STRIDE_FRAMES * stride for stride in {0, (strides - 64) // 2, strides - 64})
    power = definition.power(torch.from_numpy(waveform)[None])[0]
    expected = definition.image(torch.stack([power[first : first + CONFIG.image_frames] for first in firsts]))
    levels = FrontEnd(CONFIG).levels(waveform)
    for first, theirs in zip(firsts, expected, strict=True):
        np.testing.assert_allclose(image(levels, first), theirs.transpose(1, 2).numpy(), atol=TOLERANCE)


def test_single_windows_have_the_images_of_the_definition():
    windows = np.stack([sound(64, seed=1), sound(64, [(3, 30)], seed=2), sound(64, [(0, 64)])])
    expected = build_frontend(CONFIG)(torch.from_numpy(windows)).transpose(2, 3).numpy()
    np.testing.assert_allclose(FrontEnd(CONFIG).images(windows), expected, atol=TOLERANCE)


@pytest.mark.parametrize("changes", [{"long_every": 2}, {"long_every": 1, "low_bands": 64}, {"floor_quantile": 0.5}])
def test_other_configs_have_the_images_of_the_definition(changes):
    config = dataclasses.replace(CONFIG, **changes)
    window = sound(64, seed=3)[None]
    expected = build_frontend(config)(torch.from_numpy(window)).transpose(2, 3).numpy()
    np.testing.assert_allclose(FrontEnd(config).images(window), expected, atol=TOLERANCE)


def test_the_gain_of_a_recording_does_not_change_its_image():
    window = sound(64)[None]
    frontend = FrontEnd(CONFIG)
    np.testing.assert_allclose(frontend.images(window), frontend.images(0.01 * window), atol=TOLERANCE)


def test_training_uses_it_where_it_serves():
    model = build(CONFIG)
    windows = torch.from_numpy(np.stack([sound(64, seed=1), sound(64, [(3, 30)], seed=2)]))
    got = images(model, windows)
    torch.testing.assert_close(got, model.frontend(windows), atol=TOLERANCE, rtol=0)
    assert got.transpose(2, 3).is_contiguous()  # band by band in memory, as the network reads them
    mel = build("audioset", classes=("a",), embed_dim=8, num_heads=(1, 1, 1, 1), depths=(1, 1, 1, 1))
    noise = 0.1 * torch.randn(1, mel.config.window_samples)
    assert torch.equal(images(mel, noise), mel.frontend(noise))


def test_configs_that_it_does_not_serve_are_known():
    assert is_supported(CONFIG) and not is_supported(HTSATConfig.preset("audioset"))
    sixteen = dataclasses.replace(CONFIG, long_every=16)  # two blocks of the floor share one long window
    assert not is_supported(sixteen)
    with pytest.raises(ValueError, match="does not support"):
        FrontEnd(sixteen)


def test_windows_of_another_length_are_refused():
    with pytest.raises(ValueError, match="windows have 81920 samples"):
        FrontEnd(CONFIG).images(np.zeros((1, 100), np.float32))
