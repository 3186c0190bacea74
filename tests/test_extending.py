"""The walks of docs/extending.md: every code block runs, and its models keep the contract."""

import re
from pathlib import Path

import pytest
import torch

from loxo import LoxoError, load_model, save_model
from loxo.engine import architectures, config
from loxo.network import frontend, registry
from loxo.training.config_io import model_config, read_config, show_config

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"


@pytest.fixture(scope="module")
def page():
    """The names that the code blocks define. The tables that they change are restored at the end."""
    tables = [architectures.CONFIGS, config.FRONTEND_CHANNELS, frontend.FRONTENDS, registry.ARCHITECTURES]
    before = [dict(table) for table in tables]
    names = {"__name__": "extending"}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)
    yield names
    for table, content in zip(tables, before, strict=True):
        table.clear()
        table.update(content)


@pytest.mark.parametrize("name", ["three", "deeper", "linear", "conv"])
def test_the_models_of_the_page_keep_the_contract(page, name, tmp_path):
    torch.manual_seed(0)
    model = page[name].eval()
    waveform = 0.1 * torch.randn(1, model.config.window_samples)
    with torch.no_grad():
        output = model(waveform)
    assert output["framewise_logits"].shape == (1, len(model.config.classes), model.config.steps)
    assert all(values.isfinite().all() for values in output.values())
    save_model(model, tmp_path / "model.safetensors", {"data": "none"})
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.config == model.config
    torch.testing.assert_close(loaded(waveform)["framewise_logits"], output["framewise_logits"])


def test_the_outputs_in_the_comments_are_right(page):
    text = PAGE.read_text(encoding="utf-8")
    assert f"print(config.grids)  # {page['deeper'].config.grids}" in text
    with pytest.raises(LoxoError) as error:
        architectures.HTSATConfig.preset("default", fmin=2500)
    assert f"# {error.value}\n" in text


def test_a_new_architecture_has_its_keys_in_training(page):
    found = read_config(words=["preset=conv", "model.hidden=32"])
    assert model_config(found).hidden == 32 and "#   hidden: 32" in show_config(found)
    with pytest.raises(LoxoError, match=r"pool \(7\) must divide image_frames"):
        model_config(read_config(words=["preset=conv", "model.pool=7"]))
