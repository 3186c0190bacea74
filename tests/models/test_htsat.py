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


@pytest.mark.parametrize(("preset", "case"), [("audioset", "official_32k_10s"), ("elephants-4k", "official_4k_10s")])
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
    close(model.fold(model.bands(waveform))[: len(image)], image)


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


@torch.no_grad()
def test_intermediate_activations_equal_the_official_models(golden):
    reference = load_file(golden / "official_32k_10s.safetensors")
    model = tiny_model(golden, "audioset")
    waveform = reference["wave_i16"].float() / 32768
    # Decibels: against float64 the official STFT, a float32 convolution, is 1e-4 off here, and ours, an FFT, 4e-5.
    close(model.frontend(waveform), reference["act.logmel"], 2e-4)
    tokens = model.patch_embed(model.fold(model.bands(waveform)))
    close(tokens.flatten(1, 2)[:, :512], reference["act.patch_embed"])
    for k, layer in enumerate(model.layers):
        tokens = layer(tokens)
        close(tokens.flatten(1, 2), reference[f"act.layer{k}"])
    close(model.norm(tokens).flatten(1, 2), reference["act.norm"])


# The official code stretches or tiles whatever it gets to 1024 frames. Ours keeps the time axis (test_lengths.py), so
# these cases go through the model's public pieces, put together as the official code does.


def stretched(model: HTSAT, waveform: torch.Tensor, copies: int = 1) -> dict[str, torch.Tensor]:
    return model.outputs(*model.network(model.bands(waveform).repeat(1, 1, 1, copies)))


@pytest.mark.parametrize(
    ("preset", "waves", "case", "prefix", "copies"),
    [
        ("audioset", "official_32k_3s_short", "official_32k_3s_short", "normal.", 1),
        ("audioset", "official_32k_3s_short", "official_32k_3s_short", "infer_mode.", 3),
        ("elephants-4k", "official_4k_10s", "official_4k_10s_infer_mode", "", 8),
        ("elephants-4k", "adaptation_4k_20s", "adaptation_4k_20s", "", 1),
    ],
)
@torch.no_grad()
def test_stretching_and_tiling_as_the_official_code_does(golden, preset, waves, case, prefix, copies):
    waveform = load_file(golden / f"{waves}.safetensors")["wave_i16"].float() / 32768
    reference = load_file(golden / f"{case}.safetensors")
    output = stretched(tiny_model(golden, preset), waveform, copies)
    frames = reference[f"{prefix}framewise_output"]
    close(output["framewise_output"], frames if frames.shape[1] == 2 else frames.transpose(1, 2))
    close(output["clipwise_output"], reference[f"{prefix}clipwise_output"])
    close(output["latent_output"], reference[f"{prefix}latent_output"])


@pytest.mark.parametrize(
    ("preset", "waves", "case", "samples", "crops"),
    [
        ("audioset", "official_32k_long_T1201", "official_32k_long_T1201", 384000, 2),
        ("audioset", "official_32k_long_T1201", "official_32k_long_T1103", 352640, 3),
        ("elephants-4k", "adaptation_4k_82s_long", "adaptation_4k_82s_long", 328000, 3),
    ],
)
@torch.no_grad()
def test_crops_as_the_official_code_averages_them(golden, preset, waves, case, samples, crops):
    """Half-length crops a quarter apart, each stretched, averaged as if they had been taken at the same time."""
    waveform = load_file(golden / f"{waves}.safetensors")["wave_i16"][:, :samples].float() / 32768
    reference = load_file(golden / f"{case}.safetensors")
    model = tiny_model(golden, preset)
    bands = model.bands(waveform)
    frames = bands.shape[3]
    starts = range(0, frames - (frames - 1) // 2 - 1, (frames - 1) // 4)
    assert len(starts) == crops
    parts = [model.outputs(*model.network(bands[..., s : s + (frames - 1) // 2])) for s in starts]
    mean = {name: torch.stack([part[name] for part in parts]).mean(0) for name in parts[0]}
    expected = reference["framewise_output"]
    close(mean["framewise_output"], expected if expected.shape[1] == 2 else expected.transpose(1, 2))
    close(mean["clipwise_output"], reference["clipwise_output"])


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


def test_bins_spend_the_frames_evenly():
    frames = torch.arange(1024.0)
    torch.testing.assert_close(mean_over_bins(frames, 1024), frames)
    torch.testing.assert_close(mean_over_bins(frames, 1), frames.mean()[None])
    # 1024 / 10 = 102.4: the second bin is 60 % of frame 102, frames 103-203 and 80 % of frame 204.
    expected = (0.6 * 102 + sum(range(103, 204)) + 0.8 * 204) / 102.4
    assert mean_over_bins(frames, 10)[1] == pytest.approx(expected, rel=1e-6)
    assert mean_over_bins(frames, 10).mean() == pytest.approx(frames.mean().item(), rel=1e-6)
