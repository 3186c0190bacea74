"""A run trains a model with the training operators, and its teachers have the inference operators."""

from dataclasses import replace

from loxo.network.fast.inference import InferenceLinear, SlicedHTSAT
from loxo.network.fast.training import FastAttention, FastBatchNorm, FastLinear
from loxo.training import train
from loxo.training.config import DistilConfig, TrainingConfig
from loxo.training.config_io import model_config


def test_model_and_teachers_have_the_fast_operators(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "build_sources", lambda *_: None)
    config = replace(TrainingConfig(), distil=DistilConfig(teachers=("default",)))
    model, _, teachers, _ = train._prepare(config, model_config(config), tmp_path)
    attention = model.layers[0].blocks[0].attn
    assert (type(model), type(model.bn0)) == (SlicedHTSAT, FastBatchNorm)
    assert (type(attention), type(attention.qkv)) == (FastAttention, FastLinear)
    assert type(teachers.models[0].layers[0].blocks[0].attn.qkv) is InferenceLinear
