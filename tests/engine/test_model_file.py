import pytest
import torch
from safetensors.torch import save_file

from loxo import HTSAT, HTSATConfig, LoxoError, load_model, load_weights, save_model


@pytest.fixture
def model() -> HTSAT:
    return HTSAT(HTSATConfig.preset("default", embed_dim=8, num_heads=(1, 2, 4))).eval()


def test_a_model_file_gives_back_the_model(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(model, path, {"data": "none"})
    loaded = load_model(path)
    assert loaded.config == model.config and loaded.provenance == {"data": "none"} and not loaded.training
    waveform = 0.1 * torch.randn(1, model.config.window_samples)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    loaded.requires_grad_(True)
    assert torch.equal(loaded(waveform)["framewise_logits"], model(waveform)["framewise_logits"])


def test_faults_are_told(model, tmp_path):
    with pytest.raises(LoxoError, match=r"there is no such model file.*bundled"):
        load_model(tmp_path / "none.safetensors")
    page = tmp_path / "page.safetensors"
    page.write_text("<html>not found</html>")
    with pytest.raises(LoxoError, match="not a readable"):
        load_model(page)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, foreign)
    with pytest.raises(LoxoError, match=r"not a Loxo model.* loxo convert"):
        load_model(foreign)
    for zipped in (True, False):
        checkpoint = tmp_path / "swin.pth"
        torch.save({"weight": torch.zeros(2)}, checkpoint, _use_new_zipfile_serialization=zipped)
        with pytest.raises(LoxoError, match=r"checkpoint of PyTorch.* loxo convert \S+swin\.pth --out"):
            load_model(checkpoint)
    deep = tmp_path / "deep.safetensors"
    save_file({"weight": torch.zeros(2)}, deep, metadata={"loxo": "[" * 100_000})
    with pytest.raises(LoxoError, match="nested too deeply"):
        load_model(deep)
    with pytest.raises(LoxoError, match="nested too deeply"):
        load_weights(model, deep)
    path = tmp_path / "model.safetensors"
    save_model(model, path)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(LoxoError, match="Is it complete"):
        load_model(cut)
