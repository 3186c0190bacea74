"""A model's file, geometry, config and provenance, and the figures of its network: `loxo info`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from loxo.engine.config import ModelConfig
from loxo.engine.engine import is_installed
from loxo.engine.model_file import read_model_file
from loxo.installation import install_extra


@dataclass(frozen=True)
class NetworkFigures:
    parameters: int
    operations: int  # multiply-accumulates for one window, without the front end's Fourier transforms
    receptive_field_s: float  # seconds of the image that a step in the middle of the window depends on


@dataclass(frozen=True)
class ModelInfo:
    """`str()` of it is the text that the command prints. `network` is None without PyTorch."""

    path: Path
    sha256: str
    config: ModelConfig
    provenance: dict[str, Any]
    network: NetworkFigures | None

    @property
    def window_s(self) -> float:
        return self.config.window_samples / self.config.sample_rate

    @property
    def resolution_s(self) -> float:
        """The true time resolution: the duration of one step. Output frames repeat steps."""
        return self.config.step_samples / self.config.sample_rate

    def __str__(self) -> str:
        config = self.config
        repeats = config.output_frames // config.steps
        rows = {
            "file": str(self.path),
            "sha256": self.sha256,
            "architecture": config.architecture,
            "classes": _shortened(config.classes),
            "window": f"{self.window_s:g} s at {config.sample_rate} Hz ({config.window_samples} samples)",
            "time resolution": f"{self.resolution_s:g} s: {config.steps} steps in a window, "
            f"each {repeats} of the {config.output_frames} output frames",
        }
        if self.network is None:
            rows["network"] = (
                f"PyTorch counts parameters, operations and receptive field. Install it: {install_extra('train')}"
            )
        else:
            operations = self.network.operations / 1e9
            rows |= {
                "receptive field": f"{self.network.receptive_field_s:.3g} s of the image around a step in the middle "
                "of the window",
                "parameters": f"{self.network.parameters:,}",
                "operations": f"{operations:.3g} G multiply-accumulates a window, Fourier transforms aside",
            }
        lines = [f"{name:16} {value}" for name, value in rows.items()]
        for title, values in (("config", config.to_dict()), ("provenance", self.provenance)):
            lines.append(title)
            lines += [f"  {name:14} {_shortened(value)}" for name, value in values.items() if name != "classes"]
        return "\n".join(lines)


def model_info(name_or_path: str | Path) -> ModelInfo:
    """Describes a bundled model, or the model in a file. Raises LoxoError as `load_engine` and `load_model` do."""
    model = read_model_file(name_or_path)
    figures: NetworkFigures | None = None
    if is_installed("torch"):
        figures = import_module("loxo.network.info").network_figures(model.path)
    return ModelInfo(model.path, model.sha256, model.config, model.provenance, figures)


def _shortened(value: Any) -> str:
    if isinstance(value, tuple | list) and len(value) > 8 and all(isinstance(item, str) for item in value):
        return f"{len(value)}: {', '.join(value[:3])}, ..., {value[-1]}"
    if isinstance(value, tuple | list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value)
