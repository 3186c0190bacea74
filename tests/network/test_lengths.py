"""A waveform of any length has one time axis: step k is the samples [k, k + 1) x step_samples."""

import pytest
import torch

from loxo import HTSAT, HTSATConfig
from loxo.network.base import FrameModel


class Echo(FrameModel):
    """Its logits are the waveform's means over the steps, so that every output step tells where it comes from."""

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
def test_every_step_comes_from_its_own_samples(echo, seconds):
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


def test_the_last_quarter_of_a_long_clip_counts(small):
    """In the official code nothing after 75 % of a 12 s clip has an effect."""
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
def test_a_short_waveform_is_padded_and_cut_never_stretched(small):
    short = 0.1 * torch.randn(1, 8000)
    padded = torch.nn.functional.pad(short, (0, small.config.window_samples - 8000))
    output, whole = small(short), small(padded)
    torch.testing.assert_close(output["framewise_logits"], whole["framewise_logits"][:, :, :25])
    torch.testing.assert_close(output["framewise_output"], whole["framewise_output"][:, :, :100])
    assert small.infer(short, bins=3).shape == (1, 2, 3)


@torch.no_grad()
def test_windows_are_read_a_few_at_a_time_and_in_batches(small):
    waveform = 0.1 * torch.randn(2, 10 * small.config.window_samples)
    together = small(waveform)
    alone = small(waveform[1:])
    for name, value in together.items():
        torch.testing.assert_close(value[1:], alone[name], atol=1e-4, rtol=1e-4)


def test_bins_follow_the_waveform_and_not_its_padding(echo):
    waveform = torch.cat((torch.full((1, 2000), -4.0), torch.full((1, 2000), 4.0)), dim=1)  # 1 s: 3.2 steps
    first, second = echo.infer(waveform, bins=2)[0, 0].tolist()
    assert first < 0.3 and second > 0.65  # the second step holds 750 samples of -4 and 500 of 4


def test_a_tensor_of_another_shape_is_refused(small):
    for wrong in (torch.zeros(8000), torch.zeros(1, 1, 8000), torch.zeros(1, 0)):
        with pytest.raises(ValueError, match="shape"):
            small(wrong)
