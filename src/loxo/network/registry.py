"""The architectures: a new one is one file and one line here."""

from __future__ import annotations

from typing import Any

from loxo.engine.config import HTSATConfig, ModelConfig
from loxo.errors import LoxoError
from loxo.network.ast import AST, ASTConfig
from loxo.network.base import FrameModel
from loxo.network.crnn import CRNN, CRNNConfig
from loxo.network.htsat import HTSAT

ARCHITECTURES: dict[str, tuple[type[ModelConfig], type[FrameModel]]] = {
    "htsat": (HTSATConfig, HTSAT),
    "ast": (ASTConfig, AST),
    "crnn": (CRNNConfig, CRNN),
}


def preset_config(preset: str, **changes: Any) -> ModelConfig:
    """The config of a preset of any architecture, any field changed by its name."""
    for config_class, _ in ARCHITECTURES.values():
        if preset in config_class.presets:
            return config_class.preset(preset, **changes)
    names = sorted(name for config_class, _ in ARCHITECTURES.values() for name in config_class.presets)
    raise LoxoError(f"No preset is called {preset!r}. There are: {', '.join(names)}.")


def config_from_dict(values: dict[str, Any]) -> ModelConfig:
    """The config that `to_dict` gave. Raises LoxoError for an architecture or a field this version does not know."""
    architecture = values.get("architecture")
    if architecture not in ARCHITECTURES:
        raise LoxoError(f"Unknown architecture {architecture!r}; known are {', '.join(ARCHITECTURES)}.")
    return ARCHITECTURES[architecture][0].from_dict(values)


def build(preset: str | ModelConfig, **changes: Any) -> FrameModel:
    """An untrained model, from a preset's name with changes to its fields, or from a config."""
    config = preset_config(preset, **changes) if isinstance(preset, str) else preset
    return ARCHITECTURES[config.architecture][1](config)
