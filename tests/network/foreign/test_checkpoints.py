"""Checkpoints in each known layout, against reference outputs or the library that wrote them."""

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from loxo import HTSAT, HTSATConfig, LoxoError, load_model, save_model
from loxo.engine.architectures import preset_config
from loxo.engine.config import LABELS
from loxo.engine.filters import htk_mel_filters, mel_filters
from loxo.network.foreign.checkpoints import convert_checkpoint, load_weights
from loxo.network.registry import build

TINY = {"embed_dim": 16, "depths": (1, 1, 2, 1), "num_heads": (2, 2, 4, 4), "classes": LABELS}
SMALL = {"embed_dim": 8, "num_heads": (1, 2, 4), "depths": (1, 1, 1)}


def tiny(preset: str, **changes) -> HTSAT:
    torch.manual_seed(1)
    return HTSAT(HTSATConfig.preset(preset, **{**TINY, **changes})).eval()


@pytest.fixture(scope="module")
def official(golden) -> dict[str, torch.Tensor]:
    """The golden state, with the constants that only the official files contain."""
    state = load_file(golden / "state_tiny_32k.safetensors")
    keys = json.loads((golden / "state_dict_keys.json").read_text())["official_model"]
    assert set(state) < set(keys)
    constants = {name: torch.zeros(shape) for name, (shape, _) in keys.items() if name not in state}
    return state | constants


def close(ours, reference, tolerance=2e-5):
    assert ours.shape == reference.shape
    assert (ours - reference).abs().max() < tolerance


# ---------------------------------------------------------------- official HTS-AT


@pytest.mark.parametrize("prefix", ["", "sed_model."])
def test_official_checkpoints(tmp_path, official, golden, prefix):
    path = tmp_path / "htsat.ckpt"
    state = {prefix + name: tensor for name, tensor in official.items()}
    torch.save({"epoch": 9, "state_dict": state, "optimizer_states": [{"state": {}}]}, path)
    model = tiny("audioset")
    report = load_weights(model, path)
    assert report.layout == "official HTS-AT" and not report.unfound and not report.new_classes
    assert report.notes == ["The file does not name its classes: its outputs are taken in order as rumble, gunshot."]
    assert set(report.unused) == {f"{prefix}head.bias", f"{prefix}head.weight"}
    assert set(report.found) == set(model.state_dict())
    assert set(report.found) | set(report.unused) | set(report.constants) <= set(report.shapes)
    assert f"{prefix}layers.2.blocks.1.attn_mask" in report.constants
    reference = load_file(golden / "official_32k_10s.safetensors")
    with torch.no_grad():
        output = model(reference["wave_i16"].float() / 32768)
    close(output["framewise_output"], reference["framewise_output"].transpose(1, 2))


def test_another_number_of_classes_loads_the_trunk_and_reports_the_head(tmp_path, official):
    path = tmp_path / "htsat.ckpt"
    torch.save({"state_dict": {f"sed_model.{n}": t for n, t in official.items()}}, path)
    model = tiny("audioset", classes=("rumble", "gunshot", "trumpet"))
    head = model.tscam_conv.weight.detach().clone()
    report = load_weights(model, path)
    assert report.unfound == ["tscam_conv.weight", "tscam_conv.bias"]
    assert "sed_model.tscam_conv.weight" in report.unused
    assert report.shapes["tscam_conv.weight"] == (3, 128, 2, 3)
    assert report.shapes["sed_model.tscam_conv.weight"] == (2, 128, 2, 3)
    assert "head has 2 outputs and the model's 3" in str(report)
    assert torch.equal(model.tscam_conv.weight, head)
    assert torch.equal(model.norm.weight, official["norm.weight"])


def test_other_mel_filters_are_noted(tmp_path, official):
    path = tmp_path / "htsat.ckpt"
    torch.save({"state_dict": official}, path)
    report = load_weights(tiny("elephants-4k"), path)
    assert "sample_rate is 32000 in the file and 4000 here" in str(report) and "n_mels" not in str(report)
    state = changed(official, "logmel_extractor.melW", torch.from_numpy(mel_filters(22050, 1024, 64, 50.0, 9000.0)))
    torch.save({"state_dict": state}, path)
    assert "mel filters differ" in str(load_weights(tiny("elephants-4k"), path))
    own = tiny("audioset", sample_rate=22050, window_samples=220160, fmax=9000.0)
    assert "front end" not in str(load_weights(own, path))


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "model._orig_mod.module.", "module.model."])
def test_prefixes_of_programs_that_wrap_a_model_are_left_out(tmp_path, official, golden, prefix):
    state = {f"{prefix}sed_model.{name}": tensor for name, tensor in official.items()}
    torch.save({"state_dict": state}, tmp_path / "a.ckpt")
    report = load_weights(tiny("audioset"), tmp_path / "a.ckpt")
    assert not report.unfound and f"begin with '{prefix}'" in str(report)
    assert f"{prefix}sed_model.head.bias" in report.unused
    swin = torch.load(golden / "swin_tiny_fake.pth", weights_only=True)["model"]
    torch.save({prefix + name: tensor for name, tensor in swin.items()}, tmp_path / "swin.pth")
    assert load_weights(tiny("elephants-4k"), tmp_path / "swin.pth").layout == "Swin"
    convert_checkpoint(tmp_path / "a.ckpt", tmp_path / "b.safetensors")
    assert torch.equal(load_model(tmp_path / "b.safetensors").norm.weight, official["norm.weight"])


def test_a_prefix_that_not_all_names_have_stays(tmp_path, official):
    state = {f"module.{name}": tensor for name, tensor in official.items()}
    torch.save(state | {"loss.weight": torch.zeros(1)}, tmp_path / "a.ckpt")
    with pytest.raises(LoxoError, match="layout of this checkpoint is unknown"):
        load_weights(tiny("audioset"), tmp_path / "a.ckpt")


def test_the_report_names_the_set_of_weights_that_was_read(tmp_path, official):
    other = {name: tensor + 1 for name, tensor in official.items()}
    torch.save({"model": official, "model_ema": other, "optimizer": {"state": {}}}, tmp_path / "a.pth")
    model = tiny("audioset")
    report = load_weights(model, tmp_path / "a.pth")
    assert "'model' is read, 'model_ema' not" in str(report) and "optimizer" not in str(report)
    assert torch.equal(model.norm.weight, official["norm.weight"])
    torch.save({"ema": {"state_dict": other}, "epoch": 1}, tmp_path / "b.pth")
    assert "sets of weights" not in str(load_weights(model, tmp_path / "b.pth"))
    assert torch.equal(model.norm.weight, other["norm.weight"])


# ---------------------------------------------------------------- Swin


def test_swin(golden):
    """The outputs with these weights are compared in test_parity.py."""
    model = tiny("elephants-4k")
    report = load_weights(model, golden / "swin_tiny_fake.pth")
    expected = json.loads((golden / "swin_load_report.json").read_text())
    ours = set(model.state_dict())
    official_found = {name.removeprefix("sed_model.") for name in expected["found"]}
    assert len(official_found) == 86 and report.layout == "Swin"
    assert set(report.found) == official_found & ours
    assert set(report.found) | set(report.constants) == official_found
    # Five of the official 12 do not exist here: STFT, mel filters and the unused clip head.
    assert set(report.unfound) == {name.removeprefix("sed_model.") for name in expected["unfound"]} & ours
    assert report.unfound == [n for n in model.state_dict() if n.startswith(("bn0.", "tscam_conv."))]
    assert report.unused == ["head.weight", "head.bias"]
    assert "averaged over red, green and blue" in str(report)


def test_the_usual_swin_is_refused_with_the_name_of_the_one_that_fits(tmp_path, golden):
    """Swin-T for 224 x 224 pixels has windows of 7."""
    state = torch.load(golden / "swin_tiny_fake.pth", weights_only=True)["model"]
    state = {
        name: torch.zeros(169, tensor.shape[1]) if name.endswith("bias_table") else tensor
        for name, tensor in state.items()
    }
    torch.save({"model": state}, tmp_path / "swin_tiny_patch4_window7_224.pth")
    words = r"windows of 7.* needs Swin-T/C24 with windows of 8.*256"
    with pytest.raises(LoxoError, match=words):
        load_weights(tiny("elephants-4k"), tmp_path / "swin_tiny_patch4_window7_224.pth")
    with pytest.raises(LoxoError, match=words):
        convert_checkpoint(tmp_path / "swin_tiny_patch4_window7_224.pth", tmp_path / "b.safetensors")


# ---------------------------------------------------------------- CLAP


@pytest.fixture(scope="module")
def clap():
    """A small random audio tower whose batch norm has the statistics of a trained one."""
    from transformers import ClapAudioConfig, ClapAudioModel

    torch.manual_seed(2)
    config = ClapAudioConfig(
        patch_embeds_hidden_size=16, depths=[1, 1, 2, 1], num_attention_heads=[2, 2, 4, 4], hidden_size=128
    )
    tower = ClapAudioModel(config).eval()
    with torch.no_grad():
        for name, parameter in tower.named_parameters():
            if "bias" in name:
                parameter.normal_(0, 0.3)
        tower.audio_encoder.batch_norm.running_mean.normal_(-30, 5)
        tower.audio_encoder.batch_norm.running_var.uniform_(50, 200)
    return tower


@pytest.mark.parametrize("container", ["safetensors", "bin", "whole model"])
def test_clap_from_hugging_face(tmp_path, clap, container):
    state = {name: tensor.contiguous() for name, tensor in clap.state_dict().items()}
    if container == "whole model":
        state = {f"audio_model.{name}": tensor for name, tensor in state.items()}
        state |= {"logit_scale_a": torch.tensor(1.0), "text_model.embeddings.word_embeddings.weight": torch.zeros(9, 4)}
    path = tmp_path / ("clap.safetensors" if container == "safetensors" else "pytorch_model.bin")
    save_file(state, path) if container == "safetensors" else torch.save(state, path)
    model = tiny("clap-tiny")
    report = load_weights(model, path)
    assert report.layout == "CLAP (Hugging Face)"
    assert report.unfound == ["tscam_conv.weight", "tscam_conv.bias"]
    assert (len(report.unused) == 2) is (container == "whole model")
    waveform = 0.1 * torch.randn(2, model.config.window_samples, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        theirs = clap(model.frontend(waveform))
        tokens = model.encode(model.fold(model.bands(waveform)))
        close(model(waveform)["latent_output"], theirs.pooler_output, 1e-5)
        close(model.unfold(tokens), theirs.last_hidden_state, 1e-5)


@pytest.mark.parametrize("protocol", [2, 4])
def test_clap_from_laion(tmp_path, official, protocol):
    state = {f"module.audio_branch.{name}": tensor for name, tensor in official.items()}
    state["module.audio_branch.logmel_extractor.melW"] = torch.from_numpy(mel_filters(48000, 1024, 64, 50.0, 14000.0))
    state["module.text_branch.embeddings.position_ids"] = torch.zeros(4)
    path = tmp_path / "630k-best.pt"
    torch.save({"epoch": 3, "acc": np.float64(0.4), "state_dict": state}, path, pickle_protocol=protocol)
    model = tiny("clap-tiny", classes=LABELS)
    report = load_weights(model, path)
    assert report.layout == "CLAP (LAION)" and not report.unfound and "front end" not in str(report)
    assert set(report.unused) == {
        "module.audio_branch.head.weight",
        "module.audio_branch.head.bias",
        "module.text_branch.embeddings.position_ids",
    }
    assert torch.equal(model.tscam_conv.weight, official["tscam_conv.weight"])


@pytest.mark.parametrize(
    ("name", "dim", "blocks"), [("clap-tiny", 96, 12), ("clap-base", 128, 18), ("clap-large", 256, 18)]
)
def test_the_sizes_of_clap(name, dim, blocks):
    config = HTSATConfig.preset(name)
    assert (config.embed_dim, sum(config.depths), config.sample_rate, config.features) == (dim, blocks, 48000, 8 * dim)
    assert config.window_samples // config.hop_length + 1 == 1001


def test_a_fusion_tower_of_clap_gets_its_own_mel_filters(tmp_path):
    """From the waveform to the latent, with the feature extractor and the model of Hugging Face."""
    from transformers import ClapAudioConfig, ClapAudioModel, ClapFeatureExtractor

    torch.manual_seed(5)
    size = {"patch_embeds_hidden_size": 16, "depths": [1, 1, 2, 1], "num_attention_heads": [2, 2, 4, 4]}
    tower = ClapAudioModel(
        ClapAudioConfig(**size, hidden_size=128, enable_fusion=True, fusion_type="aff_2d", num_hidden_layers=4)
    ).eval()
    tower.audio_encoder.batch_norm.running_mean.normal_(-10, 5)
    tower.audio_encoder.batch_norm.running_var.uniform_(50, 200)
    torch.save(tower.state_dict(), tmp_path / "pytorch_model.bin")
    report = convert_checkpoint(tmp_path / "pytorch_model.bin", tmp_path / "fused.safetensors")
    assert "fusion model" in str(report) and "front end differs" not in str(report)
    assert all("fusion_model" in name or "mel_conv2d" in name for name in report.unused) and len(report.unused) == 30
    model = load_model(tmp_path / "fused.safetensors")
    assert model.config == HTSATConfig.preset("clap-fused", **TINY)
    waveform = 0.1 * torch.randn(1, model.config.window_samples, generator=torch.Generator().manual_seed(3))
    extract = ClapFeatureExtractor(frequency_min=50, frequency_max=14000)  # as in the published preprocessor_config
    features = torch.from_numpy(extract(waveform[0].numpy(), sampling_rate=48000)["input_features"][0]).float()
    with torch.no_grad():
        close(model.frontend(waveform)[0, 0], features[0], 1e-3)  # decibels
        theirs = tower(features[None], is_longer=torch.tensor([[False]]))
        close(model(waveform)["latent_output"], theirs.pooler_output, 1e-5)
    assert "frontend is mel-htk in the file and mel here" in str(
        load_weights(tiny("clap-tiny"), tmp_path / "pytorch_model.bin")
    )


def test_a_fusion_model_of_laion_is_recognised_although_it_contains_the_other_filters(tmp_path, official):
    state = {f"module.audio_branch.{name}": tensor for name, tensor in official.items()}
    state["module.audio_branch.logmel_extractor.melW"] = torch.from_numpy(mel_filters(48000, 1024, 64, 50.0, 14000.0))
    state["module.audio_branch.patch_embed.mel_conv2d.weight"] = torch.zeros(16, 1, 4, 12)
    torch.save({"state_dict": state}, tmp_path / "fusion-best.pt")
    convert_checkpoint(tmp_path / "fusion-best.pt", tmp_path / "b.safetensors")
    assert load_model(tmp_path / "b.safetensors").config.frontend == "mel-htk"


def test_htk_mel_filters_are_triangles_of_height_1_on_the_mel_scale_of_htk():
    """Against the formula of torchaudio, written down again, and some of its numbers."""
    filters = htk_mel_filters(48000, 1024, 64, 50.0, 14000.0)
    first, last = (2595 * math.log10(1 + hertz / 700) for hertz in (50, 14000))
    for band, bin_number in ((0, 2), (10, 13), (31, 66), (63, 290)):
        low, centre, high = (
            700 * (10 ** ((first + (last - first) * k / 65) / 2595) - 1) for k in (band, band + 1, band + 2)
        )
        hertz = bin_number * 48000 / 1024
        assert filters[bin_number, band] == pytest.approx(
            max(0, min((hertz - low) / (centre - low), (high - hertz) / (high - centre))), abs=1e-6
        )
    assert filters.shape == (513, 64) and filters[:, 31:].max(0) == pytest.approx(1, abs=0.25)
    decibels = 10 * np.log10(filters.sum(0) / mel_filters(48000, 1024, 64, 50.0, 14000.0).sum(0))
    assert 14 < decibels.min() < 16 and 26 < decibels.max() < 29


# ---------------------------------------------------------------- Loxo's own files, and conversion


@torch.no_grad()
def test_blocks_that_the_file_lacks_start_as_the_identity(tmp_path):
    size = {"embed_dim": 8, "num_heads": (1, 2, 4)}
    shallow = HTSAT(HTSATConfig.preset("default", depths=(1, 1, 2), **size)).eval()
    save_model(shallow, tmp_path / "shallow.safetensors")
    deep = HTSAT(HTSATConfig.preset("default", depths=(2, 1, 4), **size)).eval()
    report = load_weights(deep, tmp_path / "shallow.safetensors")
    added = ("layers.0.blocks.1", "layers.2.blocks.2", "layers.2.blocks.3")
    assert f"start as the identity: {', '.join(added)}." in str(report)
    assert {".".join(name.split(".")[:4]) for name in report.unfound} == set(added)
    waveform = 0.1 * torch.randn(2, deep.config.window_samples, generator=torch.Generator().manual_seed(0))
    before, now = (model(waveform)["framewise_logits"] for model in (shallow, deep))
    torch.testing.assert_close(now, before)
    assert deep.layers[2].blocks[3].attn.qkv.weight.abs().sum() > 0  # it can still be trained
    weights = {name: value for name, value in shallow.state_dict().items() if "layers.2.blocks.0." not in name}
    save_file(weights, tmp_path / "torn.safetensors")
    with pytest.raises(LoxoError, match="is missing"):  # a block before the last one of the file
        load_weights(deep, tmp_path / "torn.safetensors")


@torch.no_grad()
def test_a_head_with_one_step_per_token_becomes_a_head_with_substeps(tmp_path):
    size = {"embed_dim": 8, "num_heads": (1, 2, 4)}
    coarse = HTSAT(HTSATConfig.preset("default", substeps=1, fine=0, call_overlap=False, **size)).eval()
    save_model(coarse, tmp_path / "coarse.safetensors")
    fine = HTSAT(HTSATConfig.preset("default", substeps=4, **size)).eval()
    report = load_weights(fine, tmp_path / "coarse.safetensors")
    assert {name.split(".")[0] for name in report.unfound} == {"fine", "overlap"}  # whose output starts at zero
    assert "one step per token in the file and 4 here: they start equal" in str(report)
    waveform = 0.1 * torch.randn(2, fine.config.window_samples, generator=torch.Generator().manual_seed(0))
    before, now = (model(waveform)["framewise_logits"] for model in (coarse, fine))
    torch.testing.assert_close(now, before.repeat_interleave(4, 2))
    fine.tscam_conv.bias += torch.arange(8.0)  # channels: the substeps of a class are adjacent
    moved = fine(waveform)["framewise_logits"] - now
    torch.testing.assert_close(moved, torch.arange(8.0).view(2, 4).repeat(1, 64).expand(2, 2, 256))


@pytest.fixture(scope="module")
def three_heads(tmp_path_factory):
    """A small model with the three heads of the default preset, none of which is zero, and its file."""
    torch.manual_seed(4)
    model = HTSAT(HTSATConfig.preset("default", **SMALL)).eval()
    for name, parameter in model.named_parameters():
        if name.startswith(model.output_layers):
            torch.nn.init.normal_(parameter)
    path = tmp_path_factory.mktemp("heads") / "both.safetensors"
    save_model(model, path)
    return model, path


@pytest.mark.parametrize(
    ("classes", "note"),
    [
        (("gunshot", "rumble"), "Classes loaded by their name: gunshot, rumble."),
        (("rumble",), "loaded by their name: rumble; only in the file: gunshot."),
        (("gunshot",), "loaded by their name: gunshot; only in the file: rumble."),
        (("trumpet", "rumble", "gunshot"), "name: rumble, gunshot; not in the file, so they start anew: trumpet."),
        (("gunshot", "trumpet"), "gunshot; not in the file, so they start anew: trumpet; only in the file: rumble."),
    ],
)
@torch.no_grad()
def test_outputs_are_loaded_by_the_name_of_their_class(three_heads, classes, note):
    """The rows of all three heads: classes, their steps in a token, and call overlap (config.rows)."""
    source, path = three_heads
    model = HTSAT(HTSATConfig.preset("default", classes=classes, **SMALL)).eval()
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    report = load_weights(model, path)
    assert note in str(report) and not report.unfound and not report.unused
    assert report.new_classes == tuple(label for label in classes if label not in LABELS)
    waveform = 0.1 * torch.randn(1, source.config.window_samples, generator=torch.Generator().manual_seed(0))
    before, now = (one(waveform)["row_logits"] for one in (source, model))
    for row, name in enumerate(model.config.rows):
        if name in source.config.rows:
            torch.testing.assert_close(now[:, row], before[:, source.config.rows.index(name)])
    if "trumpet" in classes:
        row = classes.index("trumpet")
        steps = slice(4 * row, 4 * row + 4)
        assert torch.equal(model.tscam_conv.weight[steps], start["tscam_conv.weight"][steps])
        assert not model.fine.answer.weight[row].any() and model.overlap.answer.bias[row] == -4


def test_outputs_of_other_classes_only_start_anew(three_heads):
    source, path = three_heads
    model = HTSAT(HTSATConfig.preset("default", classes=("trumpet", "roar"), **SMALL))
    report = load_weights(model, path)
    layers = {name.rsplit(".", 1)[0] for name in report.unfound}
    assert layers == set(model.output_layers) and report.new_classes == ("trumpet", "roar")
    assert "has the classes rumble, gunshot and the model trumpet, roar" in str(report)
    assert set(report.unused) == set(report.unfound) and torch.equal(model.fine.look.weight, source.fine.look.weight)


def test_a_model_without_call_overlap_loads_a_file_with_it(three_heads):
    model = HTSAT(HTSATConfig.preset("default", call_overlap=False, **SMALL))
    report = load_weights(model, three_heads[1])
    assert not report.unfound and "model.call_overlap" in str(report)
    assert {name.split(".")[0] for name in report.unused} == {"overlap"}


def test_a_loxo_file(tmp_path):
    source, model = tiny("elephants-4k"), tiny("elephants-4k", sample_rate=8000, window_samples=80000, fmax=3000.0)
    save_model(source, tmp_path / "model.safetensors")
    report = load_weights(model, tmp_path / "model.safetensors")
    assert report.layout == "Loxo" and not report.unfound and torch.equal(model.norm.weight, source.norm.weight)
    assert "sample_rate is 4000 in the file and 8000 here; window_samples is 40000 in the file" in str(report)
    assert "fmax is 14000.0 in the file and 3000.0 here" in str(report) and "low_bands" not in str(report)
    assert not load_weights(tiny("elephants-4k"), tmp_path / "model.safetensors").notes


@pytest.mark.parametrize(("rate", "preset"), [(32000, "audioset"), (4000, "elephants-4k"), (48000, "clap-tiny")])
def test_converting_finds_size_and_front_end(tmp_path, official, rate, preset):
    state = {**official, "logmel_extractor.melW": torch.from_numpy(mel_filters(rate, 1024, 64, 50.0, 14000.0))}
    torch.save({"state_dict": {f"sed_model.{name}": tensor for name, tensor in state.items()}}, tmp_path / "a.ckpt")
    report = convert_checkpoint(tmp_path / "a.ckpt", tmp_path / "b.safetensors")
    model = load_model(tmp_path / "b.safetensors")
    assert not report.unfound
    assert model.config == HTSATConfig.preset(preset, **{**TINY, "classes": ("class_0", "class_1")})
    assert model.provenance["layout"] == "official HTS-AT" and model.provenance["converted_from"] == "a.ckpt"
    assert torch.equal(model.tscam_conv.weight, official["tscam_conv.weight"])


def test_converting_with_other_classes(tmp_path, official, golden):
    torch.save({"state_dict": official}, tmp_path / "a.ckpt")
    report = convert_checkpoint(tmp_path / "a.ckpt", tmp_path / "b.safetensors", classes=("rumble",))
    assert report.unfound == ["tscam_conv.weight", "tscam_conv.bias"]
    assert load_model(tmp_path / "b.safetensors").config.classes == ("rumble",)
    convert_checkpoint(golden / "swin_tiny_fake.pth", tmp_path / "c.safetensors", preset="elephants-4k")
    config = load_model(tmp_path / "c.safetensors").config
    assert config == HTSATConfig.preset("elephants-4k", **TINY)
    with pytest.raises(LoxoError, match="already"):
        convert_checkpoint(tmp_path / "b.safetensors", tmp_path / "d.safetensors")


def test_converting_clap(tmp_path, clap):
    torch.save(clap.state_dict(), tmp_path / "pytorch_model.bin")
    convert_checkpoint(tmp_path / "pytorch_model.bin", tmp_path / "b.safetensors")
    assert load_model(tmp_path / "b.safetensors").config == HTSATConfig.preset("clap-tiny", **TINY)


# ---------------------------------------------------------------- faults


def changed(state, name, tensor):
    return {**state, name: tensor}


FAULTS = {
    "wrong shape": (
        lambda s: changed(s, "norm.weight", torch.ones(64)),
        r"norm\.weight has the shape \(64,\), in the model \(128,\)",
    ),
    "missing": (lambda s: {n: t for n, t in s.items() if n != "norm.bias"}, r"norm\.bias is missing"),
    "too many": (
        lambda s: changed(s, "layers.3.blocks.1.norm1.weight", torch.ones(128)),
        "does not exist in the model",
    ),
    "NaN": (
        lambda s: changed(s, "norm.weight", torch.full((128,), torch.nan)),
        r"norm\.weight contains NaN",
    ),
    "infinite": (lambda s: changed(s, "bn0.bias", torch.full((64,), torch.inf)), "contains NaN or infinity"),
    "Swin v2": (
        lambda s: (
            {n: t for n, t in s.items() if "tscam" not in n} | {"layers.0.blocks.0.attn.logit_scale": torch.ones(2)}
        ),
        "Swin v2",
    ),
    "unknown": (lambda s: {"conv1.weight": torch.ones(2)}, "layout of this checkpoint is unknown"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_and_leaves_the_model_unchanged(tmp_path, official, fault):
    change, words = FAULTS[fault]
    path = tmp_path / "htsat.ckpt"
    torch.save({"state_dict": change(official)}, path)
    model = tiny("audioset")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(LoxoError, match=rf"htsat\.ckpt: .*{words}"):
        load_weights(model, path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_weights_of_another_size_or_architecture(tmp_path, official, clap):
    torch.save(official, tmp_path / "a.ckpt")
    with pytest.raises(LoxoError, match=r"does not fit the model.* more"):
        load_weights(tiny("audioset", embed_dim=32), tmp_path / "a.ckpt")
    with pytest.raises(LoxoError, match="are for 'htsat', not 'crnn'"):
        load_weights(build("crnn"), tmp_path / "a.ckpt")
    part = {name: tensor for name, tensor in clap.state_dict().items() if "query" not in name}
    torch.save(part, tmp_path / "b.bin")
    with pytest.raises(LoxoError, match="query, key or value"):
        load_weights(tiny("clap-tiny"), tmp_path / "b.bin")
    torch.save({name: tensor for name, tensor in official.items() if "patch_embed" not in name}, tmp_path / "c.ckpt")
    with pytest.raises(LoxoError, match=r"cannot be converted: it contains no 'patch_embed\.proj"):
        convert_checkpoint(tmp_path / "c.ckpt", tmp_path / "d.safetensors")
    assert not (tmp_path / "d.safetensors").exists()


def test_presets_are_found_in_every_architecture():
    assert preset_config("ast").architecture == "ast"
    with pytest.raises(LoxoError, match="ast, ast-elephants, audioset, clap-base"):
        preset_config("large")
