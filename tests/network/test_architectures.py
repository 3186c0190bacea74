"""AST and CRNN have the same contract as HTS-AT."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from loxo import LoxoError, load_model, save_model
from loxo.engine.architectures import ASTConfig, CRNNConfig, config_from_dict, preset_config
from loxo.network.ast import AST
from loxo.network.base import FrameModel
from loxo.network.foreign.checkpoints import convert_checkpoint, load_weights
from loxo.network.frontend import KaldiFrontEnd
from loxo.network.registry import ARCHITECTURES, build

SMALL = {
    "default": {"embed_dim": 8, "num_heads": (1, 2, 4)},
    "ast-elephants": {"embed_dim": 16, "depth": 1, "num_heads": 2},
    "crnn": {"channels": (4, 8, 8), "hidden": 8},
}


@pytest.fixture(params=SMALL)
def small(request) -> FrameModel:
    torch.manual_seed(0)
    return build(request.param, **SMALL[request.param]).eval()


def test_each_architecture_has_the_same_contract(small, tmp_path):
    config = small.config
    assert (config.steps // config.stride_steps, config.sample_rate) == (64, 4000)
    waveform = 0.1 * torch.randn(2, config.window_samples)
    with torch.no_grad():
        output = small(waveform)
    assert output["framewise_output"].shape == (2, 2, 1024)
    assert output["framewise_logits"].shape == (2, 2, config.steps)
    assert output["clipwise_output"].shape == (2, 2)
    assert output["latent_output"].ndim == 2 and len(output["latent_output"]) == 2
    assert small.infer(waveform).shape == (2, 2, 10)
    assert small(waveform[:, :5000])["framewise_logits"].shape == (2, 2, -(-5000 // config.step_samples))
    assert small(torch.cat((waveform, waveform), 1))["framewise_logits"].shape == (2, 2, 2 * config.steps)
    save_model(small, tmp_path / "model.safetensors", {"data": "none"})
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.config == config
    torch.testing.assert_close(loaded(waveform)["framewise_logits"], output["framewise_logits"])


def test_each_architecture_can_be_trained(small):
    """A few iterations of gradient descent lower the loss of one batch, and each parameter receives a gradient."""
    small.train()
    waveform = 0.1 * torch.randn(1, small.config.window_samples)
    targets = torch.zeros(1, 2, small.config.steps)
    targets[:, 0, 10:20] = 1
    optimiser = torch.optim.AdamW(small.parameters(), lr=1e-2)
    losses = []
    for _ in range(4):
        loss = F.binary_cross_entropy_with_logits(small(waveform)["framewise_logits"], targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    without = {name for name, parameter in small.named_parameters() if parameter.grad is None}
    assert not without


@pytest.mark.parametrize("preset", ["ast", "ast-elephants", "crnn", "default", "audioset"])
def test_configs_are_the_same_after_json(preset):
    import json

    config = preset_config(preset)
    assert config_from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_faults_in_configs_are_named():
    with pytest.raises(LoxoError, match="Unknown architecture 'ear'"):
        config_from_dict({"architecture": "ear"})
    with pytest.raises(LoxoError, match="need as many pools"):
        CRNNConfig.preset("crnn", channels=(1, 2))
    with pytest.raises(LoxoError, match="cannot be pooled"):
        CRNNConfig.preset("crnn", pools=((2, 2), (4, 2), (5, 2)))
    with pytest.raises(LoxoError, match="cannot be split into 7 heads"):
        ASTConfig.preset("ast", num_heads=7)
    with pytest.raises(LoxoError, match="cannot be cut into patches"):
        ASTConfig.preset("ast", patch=(16, 15))
    with pytest.raises(LoxoError, match=r"in_chans is 1, but .* 'two-resolution' has 2 channel.*set in_chans to 2"):
        ASTConfig.preset("ast-elephants", in_chans=1)
    with pytest.raises(LoxoError, match="depth: 0 is too small; the minimum is 1"):
        ASTConfig.preset("ast-elephants", depth=0)
    assert set(ARCHITECTURES) == {"htsat", "ast", "crnn"}


# ---------------------------------------------------------------- AST against transformers

TINY = {"embed_dim": 64, "depth": 2, "num_heads": 1, "mlp_ratio": 2.0, "classes": ("a", "b", "c")}


@pytest.fixture(scope="module")
def reference():
    from transformers import ASTConfig as Config
    from transformers import ASTForAudioClassification

    torch.manual_seed(0)
    model = ASTForAudioClassification(
        Config(hidden_size=64, num_hidden_layers=2, num_attention_heads=1, intermediate_size=128, num_labels=3)
    ).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 or "token" in name or "position" in name:
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return model


def as_published(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Renames the parameters of transformers 5 as in published files."""
    changes = {
        "transformer.layers.": "transformer.encoder.layer.",
        "attention.q_proj": "attention.attention.query",
        "attention.k_proj": "attention.attention.key",
        "attention.v_proj": "attention.attention.value",
        "attention.o_proj": "attention.output.dense",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    }
    renamed = {}
    for name, tensor in state.items():
        for old, new in changes.items():
            name = name.replace(old, new)
        renamed[name] = tensor
    return renamed


@pytest.mark.parametrize("names", ["published", "in memory", "without head"])
def test_ast_equals_transformers(tmp_path, reference, names):
    state = reference.state_dict() if names == "in memory" else as_published(reference.state_dict())
    if names == "without head":
        prefix = "audio_spectrogram_transformer."
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    torch.save(state, tmp_path / "pytorch_model.bin")
    model = AST(ASTConfig.preset("ast", **TINY)).eval()
    report = load_weights(model, tmp_path / "pytorch_model.bin")
    head = [name for name in model.state_dict() if name.startswith("classifier.")]
    assert report.unfound == (head if names == "without head" else []) and not report.unused
    bands = torch.randn(2, 1024, 128, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        theirs = reference.audio_spectrogram_transformer(bands)
        ours = model.encode(bands.transpose(1, 2)[:, None])
        torch.testing.assert_close(ours, theirs.last_hidden_state, atol=1e-5, rtol=0)
        _, latent = model.network(bands.transpose(1, 2)[:, None])
        torch.testing.assert_close(latent, theirs.pooler_output, atol=1e-5, rtol=0)
        if names != "without head":
            torch.testing.assert_close(model.classifier(latent), reference(bands).logits, atol=1e-5, rtol=0)


def test_positions_are_interpolated_for_another_length(tmp_path, reference):
    torch.save(reference.state_dict(), tmp_path / "pytorch_model.bin")
    model = AST(ASTConfig.preset("ast", **TINY, image_frames=512, window_samples=81920)).eval()
    report = load_weights(model, tmp_path / "pytorch_model.bin")
    assert "interpolated from 101 to 50 columns" in str(report) and not report.unfound
    theirs = reference.audio_spectrogram_transformer.embeddings.position_embeddings
    assert torch.equal(model.position_embeddings[:, :2], theirs[:, :2])
    rows = theirs[:, 2:].view(12, 101, 64)
    ours = model.position_embeddings[:, 2:].view(12, 50, 64)
    # Column 10 of 50 lies at (10 + 0.5) x 101 / 50 - 0.5 = 20.71 of 101.
    torch.testing.assert_close(ours[:, 10], 0.29 * rows[:, 20] + 0.71 * rows[:, 21], atol=1e-5, rtol=0)
    assert model(torch.zeros(1, 81920))["framewise_output"].shape == (1, 3, 1024)


def test_converting_ast(tmp_path, reference):
    torch.save(as_published(reference.state_dict()), tmp_path / "pytorch_model.bin")
    convert_checkpoint(tmp_path / "pytorch_model.bin", tmp_path / "ast.safetensors", classes=("a", "b", "c"))
    assert load_model(tmp_path / "ast.safetensors").config == ASTConfig.preset("ast", **TINY)


def test_the_kaldi_front_end_equals_transformers():
    from transformers import ASTFeatureExtractor

    waveform = 0.1 * np.random.default_rng(0).normal(size=163840).astype(np.float32)
    with pytest.warns(UserWarning, match="all zero values"):  # the first filters are narrower than one FFT bin
        extractor = ASTFeatureExtractor()
    theirs = extractor(waveform, sampling_rate=16000, return_tensors="pt")["input_values"]
    ours = KaldiFrontEnd(ASTConfig.preset("ast"))(torch.from_numpy(waveform)[None])
    torch.testing.assert_close(ours[:, 0], theirs, atol=1e-4, rtol=0)


def test_a_step_is_interpolated_between_the_patches_at_its_time():
    """Patches start every 10 frames, steps every 16. A ramp over the patches is a steeper ramp over the steps."""
    model = AST(ASTConfig.preset("ast", **TINY))
    ramp = torch.arange(101.0).expand(1, 3, -1)  # patch t is centred on frame 10 t + 8
    expected = torch.arange(64) * 1.6  # step k on frame 16 k + 8
    expected[-1] = 100
    torch.testing.assert_close(model.at_steps(ramp)[0, 0], expected)
