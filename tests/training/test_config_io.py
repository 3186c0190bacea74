"""Reading the config of a training run from files and from the command line, and the errors for wrong input."""

import dataclasses

import pytest

from loxo import LoxoError
from loxo.training.config import FORMER_NAMES, TrainingConfig
from loxo.training.config_io import (
    KEYS,
    config_to_dict,
    flatten,
    model_config,
    read_config,
    resumable_keys,
    show_config,
    with_present_names,
)

FILE = """
model: {embed_dim: 16}
data:
  tables: [a.txt, b.txt]
  labels: {RUM: rumble}
augment:
  mixup: 0.3
learning_rate: 1e-3
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "config.yaml").write_text(FILE)
    return tmp_path / "config.yaml"


def test_words_set_the_same_keys_as_a_file_and_override_it(file):
    words = ["model.depths=[1, 1, 1]", "augment.mixup=0.5", "data.recordings=s3://bucket/x", "data.labels.GUN=gunshot"]
    config = read_config(file, words)
    assert config.model == {"embed_dim": 16, "depths": [1, 1, 1]} and config.augment.mixup == 0.5
    assert config.data.tables == ("a.txt", "b.txt") and config.data.recordings == ("s3://bucket/x",)
    assert config.data.labels == {"RUM": "rumble", "GUN": "gunshot"} and config.learning_rate == 1e-3
    assert config.iterations == TrainingConfig().iterations


def test_defaults_apply_without_input_and_a_config_written_as_text_is_read_back(file):
    assert read_config() == TrainingConfig()
    config = read_config(file, ["precision=32-true", "data.simulated=0.25", "init_from=default"])
    file.write_text(show_config(config))
    assert read_config(file) == config == read_config(base=config_to_dict(config))


def test_every_key_is_documented_and_shown():
    shown = show_config(TrainingConfig()).splitlines()
    for name, one in KEYS.items():
        assert one.doc and sum(one.doc in line for line in shown) >= 1, name
    assert {"workers", "log.plots"} <= resumable_keys() and "seed" not in resumable_keys()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["agument.mixup=1"], "'agument.mixup'; the nearest is 'augment.mixup'"),
        (["mixup=1"], "the nearest is 'augment.mixup'"),
        (["learning-rate=1"], "the nearest is 'learning_rate'"),
        (["xyzzy=1"], "There is no key 'xyzzy'"),
        (["iterations=many"], "iterations: 'many' is text, but a whole number is expected"),
        (["iterations=1.5"], "iterations: 1.5 is a number, but a whole number is expected"),
        (["iterations=true"], "iterations: True is true or false, but a whole number is expected"),
        (["augment.mixup=abc"], "augment.mixup: 'abc' is text, but a number is expected"),
        (["augment.mixup=2"], "augment.mixup: 2.0 is too large; the maximum is 1"),
        (["augment.mixup=.nan"], "augment.mixup: nan is too small"),
        (["iterations=0"], "iterations: 0 is too small; the minimum is 1"),
        (["data.split=sites"], "'sites' is not one of recording, site, day; the nearest is 'site'"),
        (["data.tables={a: 1}"], "data.tables: {'a': 1} is a mapping, but a list of text is expected"),
        (["data.tables=[1]"], "data.tables: 1 is a whole number, but text is expected"),
        (["data.rename=[a]"], "data.rename: ['a'] is a list, but a mapping is expected"),
        (["augment.background_snr_db=[1, 2, 3]"], "a list of 2 x a number is expected"),
        (["data=3"], "data: 3 is a whole number, but a mapping is expected"),
        (["log.tensorboard=maybe"], "log.tensorboard: 'maybe' is text, but true or false is expected"),
        (["model={a: 1, a: 2}"], "the key 'a' is given twice"),
        (["data.tables=[a"], "this is not YAML"),
        (["iterations"], "neither a config file nor a setting"),
        (["iterations=null"], "iterations: None is nothing, but a whole number is expected"),
    ],
)
def test_errors_name_the_key_the_value_and_the_expected_type(words, message):
    with pytest.raises(LoxoError) as error:
        read_config(words=words)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("iterations: 3\niterations: 4\n", "the key 'iterations' is given twice"),
        ("iterations: [3\n", "this is not YAML in line"),
        ("iterations: " + "[" * 3000 + "]" * 3000, "it is nested too deeply"),
        ("- " * 3000 + "a", "it is nested too deeply"),
        ("iterations: " + "9" * 100_000, "this is not YAML (Exceeds the limit"),
        ("seed: 2020-99-99\n", "this is not YAML (month must be"),
        ("- iterations\n", "not a list"),
        ("data:\n  tabels: [a]\n", "'data.tabels'; the nearest is 'data.tables'"),
    ],
)
def test_errors_in_a_file_name_the_file(file, text, message):
    file.write_text(text)
    with pytest.raises(LoxoError, match=r"config\.yaml: ") as error:
        read_config(file)
    assert message in str(error.value)
    with pytest.raises(LoxoError, match="no such config file"):
        read_config(file.with_name("lost.yaml"))


def test_fields_of_the_model_are_checked():
    config = dataclasses.replace(TrainingConfig(), model={"embed_dim": 16, "fmin": 10, "depths": [1, 1, 1]})
    model = model_config(config)
    assert (model.embed_dim, model.fmin, model.depths) == (16, 10.0, (1, 1, 1))
    for changes, message in (
        ({"embeddim": 3}, "no field 'embeddim' in the config of htsat; the nearest is 'embed_dim'"),
        ({"embed_dim": "x"}, "embed_dim: 'x' is text, but a whole number is expected"),
        ({"patch": [1]}, "a list of 2 x a whole number is expected"),
    ):
        with pytest.raises(LoxoError) as error:
            model_config(dataclasses.replace(config, model=changes))
        assert message in str(error.value)
    with pytest.raises(LoxoError, match="No preset is called"):
        model_config(TrainingConfig(preset="big"))


@pytest.mark.parametrize(("former", "present"), FORMER_NAMES.items())
def test_a_renamed_key_is_refused_with_its_present_name(file, former, present):
    message = f"The key '{former}' is now called '{present}'"
    with pytest.raises(LoxoError, match=message):
        read_config(words=[f"{former}=5"])
    section, _, name = former.rpartition(".")
    file.write_text(f"{section}: {{{name}: 5}}\n" if section else f"{name}: 5\n")
    with pytest.raises(LoxoError, match=rf"config\.yaml: {message}"):
        read_config(file)


def test_keys_of_earlier_run_folders_get_their_present_names():
    assert FORMER_NAMES.keys().isdisjoint(KEYS)
    assert all(name in KEYS or name.startswith("model.") for name in FORMER_NAMES.values())
    before = {"steps": 7, "seed": 4, "log": {"pictures": 1, "wandb": False}, "data": {"labels": {"steps": "rumble"}}}
    before |= {"model": {"overlap": False, "embed_dim": 8}}
    expected = {
        "iterations": 7,
        "seed": 4,
        "log": {"plots": 1, "wandb": False},
        "data": {"labels": {"steps": "rumble"}},
    }
    expected |= {"model": {"call_overlap": False, "embed_dim": 8}}
    assert with_present_names(before) == expected
    present = config_to_dict(TrainingConfig())
    assert flatten(with_present_names(present)) == flatten(present)


def test_a_config_stores_no_password_of_an_address():
    config = read_config(words=["data.recordings=[http://user:hunter2@a.org/x/]", "data.tables=[t.txt]"])
    assert config.data.recordings == ("http://a.org/x/",) and "hunter2" not in show_config(config)
