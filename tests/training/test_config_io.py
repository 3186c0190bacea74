"""The config: one schema for file and command line, and what is said about a mistake in either."""

import dataclasses

import pytest

from loxo import LoxoError
from loxo.training.config import TrainingConfig
from loxo.training.config_io import KEYS, config_to_dict, free_keys, model_config, read_config, show_config

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


def test_a_file_and_words_give_the_same_keys_and_words_go_first(file):
    words = ["model.depths=[1, 1, 1]", "augment.mixup=0.5", "data.recordings=s3://bucket/x", "data.labels.GUN=gunshot"]
    config = read_config(file, words)
    assert config.model == {"embed_dim": 16, "depths": [1, 1, 1]} and config.augment.mixup == 0.5
    assert config.data.tables == ("a.txt", "b.txt") and config.data.recordings == ("s3://bucket/x",)
    assert config.data.labels == {"RUM": "rumble", "GUN": "gunshot"} and config.learning_rate == 1e-3
    assert config.steps == TrainingConfig().steps


def test_nothing_given_is_the_defaults_and_all_is_read_back(file):
    assert read_config() == TrainingConfig()
    config = read_config(file, ["precision=32-true", "data.simulated=0.25", "init_from=default"])
    file.write_text(show_config(config))
    assert read_config(file) == config == read_config(base=config_to_dict(config))


def test_every_key_is_documented_and_shown_once():
    shown = show_config(TrainingConfig()).splitlines()
    for name, one in KEYS.items():
        assert one.doc and sum(one.doc in line for line in shown) >= 1, name
    assert {"workers", "log.pictures"} <= free_keys() and "seed" not in free_keys()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["agument.mixup=1"], "'agument.mixup'; the nearest is 'augment.mixup'"),
        (["mixup=1"], "the nearest is 'augment.mixup'"),
        (["learning-rate=1"], "the nearest is 'learning_rate'"),
        (["xyzzy=1"], "There is no key 'xyzzy'"),
        (["steps=many"], "steps: 'many' is text, but a whole number is expected"),
        (["steps=1.5"], "steps: 1.5 is a number, but a whole number is expected"),
        (["steps=true"], "steps: True is true or false, but a whole number is expected"),
        (["augment.mixup=abc"], "augment.mixup: 'abc' is text, but a number is expected"),
        (["augment.mixup=2"], "augment.mixup: 2.0 is too much; 1 is the most"),
        (["augment.mixup=.nan"], "augment.mixup: nan is too little"),
        (["steps=0"], "steps: 0 is too little; 1 is the least"),
        (["data.split=sites"], "'sites' is none of recording, site, day; the nearest is 'site'"),
        (["data.tables={a: 1}"], "data.tables: {'a': 1} is a mapping, but a list of text is expected"),
        (["data.tables=[1]"], "data.tables: 1 is a whole number, but text is expected"),
        (["data.rename=[a]"], "data.rename: ['a'] is a list, but a mapping is expected"),
        (["augment.background_snr_db=[1, 2, 3]"], "a list of 2 x a number is expected"),
        (["data=3"], "data: 3 is a whole number, but a mapping is expected"),
        (["log.tensorboard=maybe"], "log.tensorboard: 'maybe' is text, but true or false is expected"),
        (["model={a: 1, a: 2}"], "the key 'a' is given twice"),
        (["data.tables=[a"], "this is not YAML"),
        (["steps"], "neither a config file nor a setting"),
        (["steps=null"], "steps: None is nothing, but a whole number is expected"),
    ],
)
def test_mistakes_are_told_with_key_value_and_what_is_expected(words, told):
    with pytest.raises(LoxoError) as error:
        read_config(words=words)
    assert told in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("steps: 3\nsteps: 4\n", "the key 'steps' is given twice"),
        ("steps: [3\n", "this is not YAML in line"),
        ("- steps\n", "not a list"),
        ("data:\n  tabels: [a]\n", "'data.tabels'; the nearest is 'data.tables'"),
    ],
)
def test_mistakes_in_a_file(file, text, told):
    file.write_text(text)
    with pytest.raises(LoxoError, match=r"the nearest|config\.yaml") as error:
        read_config(file)
    assert told in str(error.value)
    with pytest.raises(LoxoError, match="no such config file"):
        read_config(file.with_name("lost.yaml"))


def test_the_models_own_fields_are_checked_too():
    config = dataclasses.replace(TrainingConfig(), model={"embed_dim": 16, "fmin": 10, "depths": [1, 1, 1]})
    model = model_config(config)
    assert (model.embed_dim, model.fmin, model.depths) == (16, 10.0, (1, 1, 1))
    for changes, told in (
        ({"embeddim": 3}, "'model.embeddim' for 'default'; the nearest is 'embed_dim'"),
        ({"embed_dim": "x"}, "model.embed_dim: 'x' is text, but a whole number is expected"),
        ({"patch": [1]}, "a list of 2 x a whole number is expected"),
    ):
        with pytest.raises(LoxoError, match="model") as error:
            model_config(dataclasses.replace(config, model=changes))
        assert told in str(error.value)
    with pytest.raises(LoxoError, match="No preset is called"):
        model_config(TrainingConfig(preset="big"))
