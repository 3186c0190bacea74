"""Networks in and out of model files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from loxo.engine.model_file import model_metadata, read_model_file
from loxo.errors import LoxoError
from loxo.files import write_atomically
from loxo.network.base import FrameModel
from loxo.network.fast import inference
from loxo.network.registry import build

# The threads of OpenMP do not survive a fork, and a child that waits for them hangs: children compute with one thread.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def load_model(name_or_path: str | Path = "default", device: str | torch.device = "cpu") -> FrameModel:
    """The model in a file, or the bundled one of that name, in eval mode, with `.config` and `.provenance`.

    Its weights ask for no gradient, so that the fast operators may lay them out for the CPU. To train it, call
    `model.requires_grad_(True)` first. Raises LoxoError when there is no such file, when it is no Loxo model or
    damaged, and for a device that is not available.
    """
    file = read_model_file(name_or_path)
    model = build(file.config)
    try:
        model.load_state_dict(load_file(file.path))
    except RuntimeError as error:
        raise LoxoError(f"{file.path}: the weights do not fit the config in the file's header. {error}") from error
    model.provenance = file.provenance
    try:
        model.to(device)
    except (RuntimeError, AssertionError) as error:  # PyTorch raises either
        raise LoxoError(f"PyTorch cannot use the device {str(device)!r} here. Leave it out, or use cpu.") from error
    inference.apply(model)
    return model.eval().requires_grad_(False)


def save_model(model: FrameModel, path: str | Path, provenance: dict[str, Any] | None = None) -> None:
    """Writes the weights, the config and where the weights come from into one file, whole or not at all.

    A graph beside the file belongs to its former weights then; loxo.network.graph.export_graph makes the new one.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_atomically(path, save(tensors, metadata=model_metadata(model.config, provenance)))
