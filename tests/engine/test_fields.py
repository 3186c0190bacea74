"""Every field of a model is documented, shown and checked, with one sentence for Python, YAML and the command line."""

import dataclasses
import warnings

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from loxo import LoxoError
from loxo.engine.architectures import CONFIGS, preset_config
from loxo.engine.config import Calibration, Decoding, OperatingCurve
from loxo.engine.fields import keys_of
from loxo.network.registry import build
from loxo.training.config import AugmentConfig, DataConfig, TrainingConfig
from loxo.training.config_io import model_config, read_config, show_config

SMALL = {
    "default": {"embed_dim": 8, "num_heads": (1, 2, 4), "depths": (1, 1, 1)},
    "elephants-4k": {"embed_dim": 8, "num_heads": (1, 1, 1, 1), "depths": (1, 1, 1, 1)},
    "ast-elephants": {"embed_dim": 16, "depth": 1, "num_heads": 2},
    "crnn": {"channels": (4, 8, 8), "hidden": 8},
}


@pytest.mark.parametrize("kind", [*CONFIGS.values(), Decoding, Calibration, OperatingCurve])
def test_every_field_has_a_meaning(kind):
    for name, one in keys_of(kind).items():
        assert one.doc and name == one.name and not one.doc.endswith("."), name


@pytest.mark.parametrize("preset", SMALL)
def test_the_command_line_shows_every_field_with_its_value(preset):
    config = read_config(words=[f"preset={preset}", "model.clip_pooling=mean"])
    text = show_config(config)
    keys = keys_of(type(preset_config(preset)))
    lines = [line.removeprefix("#   ") for line in text.splitlines() if line.startswith("#   ")]
    shown = yaml.safe_load("\n".join(line for line in lines if line.partition(":")[0] in keys))
    values = model_config(config)
    for name, one in keys_of(type(values)).items():
        assert f"#   {one.doc}{one.limits}\n#   {name}: " in text
        if not isinstance(getattr(values, name), dict):
            assert type(values).from_dict({**values.to_dict(), name: shown[name]}) == values
    assert yaml.safe_load(text)["model"] == {"clip_pooling": "mean"}  # the values of the preset are comments


WRONG = [
    ("default", {"fmin": 2000}, r"^fmin \(2000 Hz\) must be below fmax \(1900 Hz\)"),
    ("default", {"fmin": -1}, "^fmin: -1.0 is too small; the minimum is 0 Hz"),
    ("default", {"fmax": 0}, "^fmax: 0.0 is too small; it must be above 0 Hz"),
    ("default", {"fmax": 2500}, r"^fmax \(2500 Hz\) is above half the sample rate"),
    ("default", {"fmin": 300, "fmax": 1900}, r"^fmin \(300 Hz\) must be below split_hz"),
    ("default", {"short_fmin": 1950}, r"^short_fmin \(1950 Hz\) must be below fmax"),
    ("elephants-4k", {"fmin": 2000}, r"^fmin \(2000 Hz\) must be below half the sample rate"),
    ("default", {"n_mels": 0}, "^n_mels: 0 is too small; the minimum is 1"),
    ("default", {"sample_rate": 0}, "^sample_rate: 0 is too small"),
    ("default", {"sample_rate": 8000}, r"^sample_rate: 8000 Hz would change .* from 20.48 to 10.24 s.*163840 keeps"),
    ("default", {"window_samples": -5}, "^window_samples: -5 is too small"),
    ("default", {"hop_length": 320}, r"^hop_length \(320 samples\) is longer than short_n_fft \(256 samples\)"),
    ("elephants-4k", {"hop_length": 2000}, r"^hop_length \(2000 samples\) is longer than n_fft \(1024 samples\)"),
    ("default", {"n_fft": 100000}, r"^n_fft \(100000 samples\) is longer than the window \(81920 samples\)"),
    ("default", {"n_fft": 640}, r"^n_fft \(640 samples\) is too short: its bins are 6.25 Hz apart"),
    ("default", {"hop_length": 128}, r"^image_frames \(512\) must be window_samples / hop_length \(81920 / 128"),
    ("default", {"long_every": 32}, r"^long_every \(32\) x hop_length \(160\) is longer than n_fft"),
    ("default", {"low_bands": 128}, r"^low_bands \(128\) must be at least 1 and less than n_mels \(128\)"),
    ("default", {"low_bands": 127, "split_hz": 100.0}, "bands .low_bands. do not fit between fmin and split_hz"),
    ("default", {"num_heads": (1, 3, 4)}, "^num_heads: the 64 channels of stage 1 .* cannot be split into 3 heads"),
    ("default", {"drop_path": 1.0}, "^drop_path: 1.0 is too large; the maximum is 0.95"),
    ("default", {"mlp_ratio": 0.0}, "^mlp_ratio: 0.0 is too small; it must be above 0"),
    ("default", {"merges": ((2, 0), (2, 1))}, "^merges: 0 is too small"),
    ("default", {"depths": ()}, "^depths is empty"),
    ("default", {"attention_window": 7}, "^attention_window: a grid of .* cannot be cut into windows of 7"),
    ("elephants-4k", {"n_mels": 16}, r"^folds \(4\): the last stage has 2 rows"),
    ("elephants-4k", {"substeps": 3}, "^window_samples .* multiple of the 96 steps .*substeps give"),
    ("default", {"floor_quantile": 1.5}, "^floor_quantile: 1.5 is too large; the maximum is 1"),
    ("default", {"floor_quantile": float("nan")}, "^floor_quantile: nan is too small"),
    ("default", {"fmax": float("inf")}, "^fmax: inf is not finite"),
    ("default", {"frontend": "mell"}, "^frontend: 'mell' is not one of mel, .*; the nearest is 'mel'"),
    ("default", {"embed_dim": 8.5}, "^embed_dim: 8.5 is a number, but a whole number is expected"),
    ("default", {"embed_dim": True}, "^embed_dim: True is true or false, but a whole number is expected"),
    ("default", {"classes": ("rumble", "")}, "^classes contains a blank name"),
    ("default", {"architecture": "crnn"}, "^architecture: 'crnn' has other fields than 'htsat'"),
    ("default", {"head": 3}, "^There is no field 'head' in the config of htsat; the nearest is 'num_heads'|use one of"),
    ("default", {"decoding": {"rumble": {"treshold": 0.4}}},
     "^There is no field 'treshold' in decoding.rumble; the nearest is 'threshold'"),
    ("default", {"decoding": {"rumble": {"threshold": 2}}}, "^threshold: 2.0 is too large"),
    ("ast-elephants", {"num_heads": 3}, r"^num_heads: embed_dim \(128\) cannot be split into 3 heads"),
    ("ast-elephants", {"stride": (0, 8)}, "^stride: 0 is too small"),
    ("crnn", {"channels": ()}, "^channels is empty"),
    ("crnn", {"frontend": "mel", "in_chans": 1, "hop_length": 100}, r"^image_frames \(512\) must be window_samples"),
]  # fmt: skip


@pytest.mark.parametrize(("preset", "changes", "sentence"), WRONG)
def test_python_yaml_and_words_refuse_a_field_with_the_same_sentence(tmp_path, preset, changes, sentence):
    with pytest.raises(LoxoError, match=sentence) as python:
        preset_config(preset, **changes)
    with pytest.raises(LoxoError) as class_:
        type(preset_config(preset)).preset(preset, **changes)
    plain = _lists(changes)
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({"preset": preset, "model": plain}))
    with pytest.raises(LoxoError) as file:
        model_config(read_config(tmp_path / "a.yaml"))
    words = [f"model.{name}={yaml.safe_dump(value, default_flow_style=True).splitlines()[0]}"
             for name, value in plain.items()]  # fmt: skip
    with pytest.raises(LoxoError) as word:
        model_config(read_config(words=[f"preset={preset}", *words]))
    assert str(python.value) == str(class_.value) == str(file.value) == str(word.value)
    assert "\n" not in str(python.value) and "learning rate" not in str(python.value)


def _lists(value):
    if isinstance(value, dict):
        return {name: _lists(item) for name, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, tuple) else value


def test_the_command_line_refuses_a_field(loxo):
    code, _, err = loxo("train", "model.fmin=2000", "--show-config")
    assert code == 2 and "fmin (2000 Hz) must be below fmax (1900 Hz)" in " ".join(err.split())


def test_the_keys_of_training_are_checked_in_python_too():
    for make, sentence in (
        (lambda: TrainingConfig(iterations=0), "iterations: 0 is too small; the minimum is 1"),
        (lambda: TrainingConfig(learning_rate=-1), "learning_rate: -1.0 is too small; the minimum is 0"),
        (lambda: DataConfig(split="sites"), "data.split: 'sites' is not one of"),
        (lambda: AugmentConfig(background_snr_db=(20, 0)), "augment.background_snr_db: 20 is above 0"),
        (lambda: dataclasses.replace(TrainingConfig(), batch_size=-1), "batch_size: -1 is too small"),
    ):
        with pytest.raises(LoxoError, match=sentence):
            make()


def test_lists_whole_numbers_and_paths_are_converted(tmp_path):
    config = preset_config("default", depths=[1, 1, 1], fmin=10, decoding={"rumble": {"threshold": 1}})
    assert config.depths == (1, 1, 1) and isinstance(config.fmin, float)
    assert config.decoding["rumble"] == Decoding(threshold=1.0)
    assert DataConfig(tables=[tmp_path], backgrounds=tmp_path) == DataConfig(
        tables=(str(tmp_path),), backgrounds=str(tmp_path)
    )


def test_another_sample_rate_is_accepted_with_the_seconds_of_the_window():
    config = preset_config("elephants-4k", sample_rate=8000, window_samples=80000)
    assert config.window_samples / config.sample_rate == 10


@st.composite
def changed_fields(draw):
    preset = draw(st.sampled_from(sorted(SMALL)))
    config = preset_config(preset, **SMALL[preset])
    others = ("decoding", "calibration", "curves", "architecture", "classes")
    names = st.sampled_from([name for name in keys_of(type(config)) if name not in others])
    chosen = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    changes = {name: draw(_other(getattr(config, name))) for name in chosen}
    return preset, {**SMALL[preset], **changes}


def _other(value):
    if isinstance(value, bool):
        return st.just(not value)
    if isinstance(value, int):
        return st.sampled_from([0, -1, 1, 2, 3, 7, 16, value + 1, value - 1, value // 2, value * 2])
    if isinstance(value, float):
        return st.sampled_from([0.0, -1.0, 1.0, value / 2, value * 2, value * 10, float("nan"), float("inf")])
    if isinstance(value, tuple):
        return st.one_of(st.just(value[:-1]), st.just(value + value[-1:]), st.tuples(*map(_other, value)))
    return st.sampled_from(["mel", "pcen", "kaldi", "two-resolution", "max", "mean", ""])


@settings(max_examples=30, deadline=None)
@given(changed_fields())
def test_a_config_is_refused_by_a_field_or_its_model_computes_finite_numbers(case):
    preset, changes = case
    try:
        config = preset_config(preset, **changes)
    except LoxoError as error:
        kind = type(preset_config(preset))
        assert any(name in str(error) for name in keys_of(kind)) and "\n" not in str(error)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a mel band without a bin
        model = build(config).eval()
    with torch.no_grad():
        output = model(0.1 * torch.randn(1, config.window_samples))
    assert output["framewise_logits"].shape == (1, len(config.classes), config.steps)
    assert all(values.isfinite().all() for values in output.values())
