"""The table of architectures. A new architecture is one file and one line here."""

from __future__ import annotations

from typing import Any

from loxo.engine.architectures import preset_config
from loxo.engine.config import ModelConfig
from loxo.network.ast import AST
from loxo.network.base import FrameModel
from loxo.network.crnn import CRNN
from loxo.network.htsat import HTSAT

ARCHITECTURES: dict[str, type[FrameModel]] = {"htsat": HTSAT, "ast": AST, "crnn": CRNN}


def build(preset: str | ModelConfig, **changes: Any) -> FrameModel:
    """An untrained model from a config, or from the name of a preset with changes to its fields."""
    config = preset_config(preset, **changes) if isinstance(preset, str) else preset
    return ARCHITECTURES[config.architecture](config)
