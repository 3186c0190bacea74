"""HTS-AT against reference inputs and outputs of the official model, and the contract of its outputs."""

import pytest
import torch
from safetensors.torch import load_file

from loxo import HTSAT, HTSATConfig
from loxo.models.base import mean_over_bins

TINY = {"embed_dim": 16, "depths": (1, 1, 2, 1), "num_heads": (2, 2, 4, 4), "classes": ("rumble", "gunshot")}
TOLERANCE = 2e-5


def tiny_model(golden, preset: str) -> HTSAT:
    """Holds the golden weights; the official file's constants and its unused clip head have no place in ours."""
    model = HTSAT(HTSATConfig.preset(preset, **TINY))
    missing, unused = model.load_state_dict(load_file(golden / "state_tiny_32k.safetensors"), strict=False)
    assert not missing
    assert all(n.startswith(("head.", "logmel_extractor.")) or "relative_position_index" in n for n in unused)
    return model.eval()


def close(ours: torch.Tensor, reference: torch.Tensor, tolerance: float = TOLERANCE) -> None:
    assert ours.shape == reference.shape
    assert (ours - reference).abs().max() < tolerance


@pytest.mark.parametrize(
    ("preset", "case"), [("audioset", "official_32k_10s"), ("elephants-4k", "official_4k_10s")]
)
@torch.no_grad()
def test_outputs_equal_the_official_models(golden, preset, case):
    reference = load_file(golden / f"{case}.safetensors")
    model = tiny_model(golden, preset)
    waveform = reference["wave_i16"].float() / 32768
    output = model(waveform)
    close(output["framewise_output"], reference["framewise_output"].transpose(1, 2))
    close(output["clipwise_output"], reference["clipwise_output"])
    close(output["latent_output"], reference["latent_output"])
    close(output["framewise_logits"], reference["act.tscam_logits"].squeeze(2))
    image = reference["act.image"]
    close(model.image(waveform)[: len(image)], image)


@torch.no_grad()
def test_outputs_equal_the_older_adaptations(golden):
    reference = load_file(golden / "adaptation_4k_10s.safetensors")
    model = tiny_model(golden, "elephants-4k")
    waveform = load_file(golden / "official_4k_10s.safetensors")["wave_i16"].float() / 32768
    output = model(waveform)
    close(output["framewise_output"], reference["framewise_output"])
    close(output["clipwise_output"], reference["clipwise_output"])
    close(output["latent_output"], reference["latent_output"])
    # The adaptation's ten bins are 102 frames each and leave out two frames at either end; ours cover all of them.
    close(model.infer(waveform), reference["infer"], 2e-2)
    close(mean_over_bins(output["framewise_output"][:, :, 2:-2], 10), reference["infer"])


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
        "framewise_logits": (2, 2, 64),
        "clipwise_output": (2, 2),
        "latent_output": (2, 64),
    }
    torch.testing.assert_close(output["framewise_output"][:, :, ::16], output["framewise_logits"].sigmoid())
    assert small.infer(waveform).shape == (2, 2, 10)
    torch.testing.assert_close(small.infer(waveform, bins=64), output["framewise_logits"].sigmoid())


def test_infer_is_the_same_in_train_mode_and_leaves_it(small):
    waveform = 0.1 * torch.randn(1, small.config.window_samples)
    expected = small.infer(waveform)
    small.train()
    try:
        torch.testing.assert_close(small.infer(waveform), expected)
        assert small.training
    finally:
        small.eval()


@torch.no_grad()
def test_training_and_inference_compute_the_same_attention(small):
    """Two code paths, one function: without stochastic depth and batch statistics they must agree."""
    model = HTSAT(HTSATConfig.preset("default", embed_dim=16, num_heads=(1, 2, 4), drop_path=0.0))
    model.load_state_dict(small.state_dict())
    waveform = 0.1 * torch.randn(2, model.config.window_samples)
    expected = model.eval()(waveform)["framewise_logits"]
    model.train()
    model.bn0.eval()
    torch.testing.assert_close(model(waveform)["framewise_logits"], expected, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_a_short_waveform_is_padded_and_a_long_one_refused(small):
    short = 0.1 * torch.randn(1, 8000)
    padded = torch.nn.functional.pad(short, (0, small.config.window_samples - 8000))
    torch.testing.assert_close(small(short)["framewise_logits"], small(padded)["framewise_logits"])
    with pytest.raises(ValueError, match=r"use loxo\.detect"):
        small(torch.zeros(1, small.config.window_samples + 1))
    with pytest.raises(ValueError, match="shape"):
        small(torch.zeros(8000))


def test_bins_spend_the_frames_evenly():
    frames = torch.arange(1024.0)
    torch.testing.assert_close(mean_over_bins(frames, 1024), frames)
    torch.testing.assert_close(mean_over_bins(frames, 1), frames.mean()[None])
    # 1024 / 10 = 102.4: the second bin is 60 % of frame 102, frames 103-203 and 80 % of frame 204.
    expected = (0.6 * 102 + sum(range(103, 204)) + 0.8 * 204) / 102.4
    assert mean_over_bins(frames, 10)[1] == pytest.approx(expected, rel=1e-6)
    assert mean_over_bins(frames, 10).mean() == pytest.approx(frames.mean().item(), rel=1e-6)
