"""The outputs of HTS-AT. test_parity.py tests its numbers, test_lengths.py other lengths, fast/ the fast operators."""

import copy

import pytest
import torch

from loxo import HTSAT, HTSATConfig
from loxo.errors import LoxoError
from loxo.network.base import mean_over_bins
from loxo.network.htsat import resize_matrix


@pytest.fixture(scope="module")
def small() -> HTSAT:
    torch.manual_seed(0)
    return HTSAT(HTSATConfig.preset("default", embed_dim=16, num_heads=(1, 2, 4))).eval()


@torch.no_grad()
def test_the_contract_of_the_outputs(small):
    waveform = 0.1 * torch.randn(2, small.config.window_samples)
    output = small(waveform)
    assert {name: tuple(value.shape) for name, value in output.items()} == {
        "framewise_output": (2, 2, 1024),
        "framewise_logits": (2, 2, 256),
        "clipwise_output": (2, 2),
        "latent_output": (2, 64),
        "row_logits": (2, 4, 256),
    }
    torch.testing.assert_close(output["framewise_output"][:, :, ::4], output["framewise_logits"].sigmoid())
    assert small.infer(waveform).shape == (2, 2, 10)
    torch.testing.assert_close(small.infer(waveform, bins=256), output["framewise_logits"].sigmoid())


def test_infer_gives_the_same_in_train_mode_and_restores_it(small):
    waveform = 0.1 * torch.randn(1, small.config.window_samples)
    expected = small.infer(waveform)
    small.train()
    try:
        torch.testing.assert_close(small.infer(waveform), expected)
        assert small.training
    finally:
        small.eval()


@torch.no_grad()
def test_the_fine_head_starts_at_zero_and_resolves_single_steps():
    torch.manual_seed(0)
    config = HTSATConfig.preset("default", embed_dim=16, num_heads=(1, 2, 4))
    model = HTSAT(config).eval()
    without = HTSAT(HTSATConfig.preset("default", embed_dim=16, num_heads=(1, 2, 4), fine=0, call_overlap=False)).eval()
    without.load_state_dict(
        {name: value for name, value in model.state_dict().items() if not name.startswith(("fine.", "overlap."))}
    )
    bands = torch.randn(2, config.in_chans, config.n_mels, config.image_frames)
    torch.testing.assert_close(model.network(bands)[0][:, :2], without.network(bands)[0])
    torch.nn.init.normal_(model.fine.answer.weight)
    features = model.patch_embed.stem_features(bands)[1]
    columns = torch.zeros(2, config.features, config.grids[-1][0], config.steps // config.substeps)
    changed = features.clone()
    changed[:, :, :, 100] += 1  # one step
    steps = _differing_steps(model, features, changed, columns)
    assert len(steps) >= 2 and steps.min() >= 97 and steps.max() <= 103
    for layer in model.fine.layers:  # they add context: two convolutions over 5 steps, and two with dilation 3
        torch.nn.init.normal_(layer.second.weight)
    steps = _differing_steps(model, features, changed, columns)
    assert 100 - 3 - 4 - 12 <= steps.min() < 90 and 110 < steps.max() <= 100 + 3 + 4 + 12


def _differing_steps(
    model: HTSAT, features: torch.Tensor, changed: torch.Tensor, columns: torch.Tensor
) -> torch.Tensor:
    """The steps at which the logits of the fine head differ."""
    one, other = (model.fine.answer(model.fine(image, columns)) for image in (features, changed))
    return (one - other).abs().amax((0, 1)).nonzero().flatten()


@torch.no_grad()
def test_the_overlap_head_does_not_change_the_classes_and_starts_as_rare(small):
    config = small.config
    assert config.rows == ("rumble", "gunshot", "rumble overlap", "gunshot overlap")
    model = copy.deepcopy(small)
    waveform = 0.1 * torch.randn(2, config.window_samples)
    before = model(waveform)
    assert (before["row_logits"][:, 2:] == -4).all()
    torch.testing.assert_close(before["row_logits"][:, :2], before["framewise_logits"])
    torch.nn.init.normal_(model.overlap.answer.weight)
    after = model(waveform)
    torch.testing.assert_close(after["framewise_logits"], before["framewise_logits"])
    assert after["row_logits"][:, 2:].std() > 0.01
    longer = model(0.1 * torch.randn(1, config.window_samples + 1000))
    assert longer["row_logits"].shape == (1, 4, 260) and longer["framewise_logits"].shape == (1, 2, 260)


def test_an_overlap_head_needs_a_fine_head():
    with pytest.raises(LoxoError, match="call_overlap to false"):
        HTSATConfig.preset("default", fine=0)
    assert HTSATConfig.preset("default", call_overlap=False).rows == ("rumble", "gunshot")


def test_resizing_is_bicubic_with_corners_aligned():
    for frames, new_frames in ((1001, 1024), (20, 64), (20, 16)):
        bands = torch.randn(2, 3, 5, frames, generator=torch.Generator().manual_seed(new_frames))
        expected = torch.nn.functional.interpolate(bands, (5, new_frames), mode="bicubic", align_corners=True)
        torch.testing.assert_close(bands @ resize_matrix(frames, new_frames), expected, atol=1e-5, rtol=1e-5)


def test_bins_are_equal_spans_of_the_frames():
    frames = torch.arange(1024.0)
    torch.testing.assert_close(mean_over_bins(frames, 1024), frames)
    torch.testing.assert_close(mean_over_bins(frames, 1), frames.mean()[None])
    # 1024 / 10 = 102.4: the second bin is 60 % of frame 102, frames 103-203 and 80 % of frame 204.
    expected = (0.6 * 102 + sum(range(103, 204)) + 0.8 * 204) / 102.4
    assert mean_over_bins(frames, 10)[1] == pytest.approx(expected, rel=1e-6)
    assert mean_over_bins(frames, 10).mean() == pytest.approx(frames.mean().item(), rel=1e-6)
