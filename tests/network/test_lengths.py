"""One time axis for all lengths of a waveform: step k covers the samples [k, k + 1) x step_samples."""

import re

import numpy as np
import pytest
import torch

from loxo import HTSAT, HTSATConfig
from loxo.network.base import FrameModel


class Echo(FrameModel):
    """Its logits are the means of the waveform over the steps, so that each output step shows its own samples."""

    def bands(self, waveform):
        return waveform.view(len(waveform), 1, self.config.steps, self.config.step_samples)

    def network(self, bands):
        return bands.mean(3).expand(-1, len(self.config.classes), -1), bands.mean((2, 3))


@pytest.fixture(scope="module")
def echo() -> Echo:
    return Echo(HTSATConfig.preset("elephants-4k"))  # 32 steps of 1250 samples in a window of 10 s


@pytest.fixture(scope="module")
def small() -> HTSAT:
    torch.manual_seed(0)
    return HTSAT(HTSATConfig.preset("default", embed_dim=8, num_heads=(1, 2, 4))).eval()


@pytest.mark.parametrize("seconds", [0.1, 0.3125, 3, 9.9, 10, 10.01, 12, 15.3, 20, 31.25, 82, 601.7])
def test_each_step_comes_from_its_own_samples(echo, seconds):
    samples = round(seconds * 4000)
    waveform = torch.randn(2, samples, generator=torch.Generator().manual_seed(0))
    steps = -(-samples // 1250)
    expected = torch.nn.functional.pad(waveform, (0, steps * 1250 - samples)).view(2, 1, steps, 1250).mean(3)
    output = echo(waveform)
    torch.testing.assert_close(output["framewise_logits"], expected.expand(-1, 2, -1))
    frames = output["framewise_output"]
    assert frames.shape[2] == -(-samples * 1024 // 40000)
    torch.testing.assert_close(
        frames, expected.sigmoid().repeat_interleave(32, 2)[:, :, : frames.shape[2]].expand(-1, 2, -1)
    )
    torch.testing.assert_close(output["clipwise_output"], expected.mean(2).sigmoid().expand(-1, 2))


def test_the_last_quarter_of_a_long_input_has_an_effect(small):
    """In the official code, samples after 75 % of a 12 s clip have no effect."""
    rate = small.config.sample_rate
    quiet = 0.01 * torch.randn(1, 30 * rate, generator=torch.Generator().manual_seed(1))
    loud = quiet.clone()
    loud[:, 28 * rate :] += 0.3 * torch.sin(torch.arange(2 * rate) * 0.3)
    with torch.no_grad():
        before, after = small(quiet)["framewise_logits"], small(loud)["framewise_logits"]
    assert before.shape[2] == 375
    changed = (before - after).abs().amax((0, 1))
    assert changed[-24:].min() > 10 * changed[:80].max()  # the first 6.4 s lie in another window


@torch.no_grad()
def test_a_short_waveform_is_padded_and_not_resized(small):
    short = 0.1 * torch.randn(1, 8000)
    padded = torch.nn.functional.pad(short, (0, small.config.window_samples - 8000))
    output, whole = small(short), small(padded)
    torch.testing.assert_close(output["framewise_logits"], whole["framewise_logits"][:, :, :25])
    torch.testing.assert_close(output["framewise_output"], whole["framewise_output"][:, :, :100])
    assert small.infer(short, bins=3).shape == (1, 2, 3)


@torch.no_grad()
def test_a_long_input_gives_the_same_in_a_batch_and_alone(small):
    waveform = 0.1 * torch.randn(2, 10 * small.config.window_samples)
    together = small(waveform)
    alone = small(waveform[1:])
    for name, value in together.items():
        torch.testing.assert_close(value[1:], alone[name], atol=1e-4, rtol=1e-4)


def test_bins_cover_the_waveform_without_its_padding(echo):
    waveform = torch.cat((torch.full((1, 2000), -4.0), torch.full((1, 2000), 4.0)), dim=1)  # 1 s: 3.2 steps
    first, second = echo.infer(waveform, bins=2)[0, 0].tolist()
    assert first < 0.3 and second > 0.65  # the second step holds 750 samples of -4 and 500 of 4


def test_a_tensor_of_another_shape_or_without_samples_is_refused(small):
    for wrong in (torch.zeros(8000), torch.zeros(1, 1, 8000), torch.zeros(1, 0), torch.zeros(0, 8000)):
        with pytest.raises(ValueError, match=rf"a waveform is .* has shape {re.escape(str(tuple(wrong.shape)))}"):
            small(wrong)


def test_only_tensors_of_floating_point_numbers_are_accepted(small):
    for wrong, words in (
        (np.zeros((1, 8000), np.float32), "not ndarray; torch.from_numpy"),
        ([[0.0] * 8000], "not list"),
        (torch.zeros(1, 8000, dtype=torch.int16), "not torch.int16; divide"),
        (torch.zeros(1, 8000, dtype=torch.complex64), "not torch.complex64"),
    ):
        for call in (small, small.infer):
            with pytest.raises(
                TypeError, match=rf"a waveform is a torch\.Tensor of shape \(batch, samples\) .*{words}"
            ):
                call(wrong)
    assert small(torch.zeros(1, 8000, dtype=torch.float64))["framewise_logits"].dtype == torch.float32


@pytest.mark.parametrize("bins", [0, -1, 2.5])
def test_bins_must_be_a_whole_number_of_at_least_1(small, bins):
    small.train()
    try:
        with pytest.raises(ValueError, match=f"bins must be a whole number of at least 1, not {bins}"):
            small.infer(torch.zeros(1, 8000), bins=bins)
        assert small.training
    finally:
        small.eval()
