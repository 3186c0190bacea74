"""Model files: one `.safetensors` with the weights, and the config and provenance as JSON in its header.

Never a pickled object and never code: loading a file from a stranger is safe, needs no network, and works in the next
version. A file is written whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from loxo.engine.architectures import config_from_dict
from loxo.engine.openvino import choose_runtime, use_openvino
from loxo.errors import LoxoError
from loxo.files import write_atomically
from loxo.network.base import FrameModel
from loxo.network.registry import build

BUNDLED = Path(__file__).parent.parent / "weights"
HEADER = "loxo"
FORMAT = 1


def find_model(name_or_path: str | Path) -> Path:
    """The file of a bundled model's name, or of a path. Raises LoxoError with the names that exist."""
    bundled = BUNDLED / f"{name_or_path}.safetensors"
    if bundled.is_file():
        return bundled
    path = Path(name_or_path)
    if path.is_file():
        return path
    names = ", ".join(sorted(p.stem for p in BUNDLED.glob("*.safetensors"))) or "none"
    raise LoxoError(f"{name_or_path}: there is no such model file. Give a path, or a bundled model's name ({names}).")


def hash_model(path: Path) -> str:
    """SHA-256 of a model file, as hexadecimal digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def save_model(model: FrameModel, path: str | Path, provenance: dict[str, Any] | None = None) -> None:
    """Writes the weights, the config and where the weights come from into one file."""
    header = {"format": FORMAT, "config": model.config.to_dict(), "provenance": provenance or {}}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_atomically(path, save(tensors, metadata={HEADER: json.dumps(header)}))


def load_model(
    name_or_path: str | Path = "default", device: str | torch.device = "cpu", runtime: str = "torch"
) -> FrameModel:
    """The model in a file, or the bundled one of that name, in eval mode, with `.config` and `.provenance`.

    Its weights ask for no gradient, so that kernels.py may lay them out for the processor; to train it, call
    `model.requires_grad_(True)` first. With another `runtime` than torch (runtime.py) its network is computed there,
    for inference only. Raises LoxoError when there is no such file, when it is no Loxo model or damaged, and for a
    runtime that cannot be had.
    """
    chosen = choose_runtime(runtime, device)
    path = find_model(name_or_path)
    tensors: dict[str, torch.Tensor] = {}
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise LoxoError(f"{path}: this is not a readable .safetensors file ({error}). Is it complete?") from error
    if HEADER not in metadata:
        raise LoxoError(f"{path}: this .safetensors file is not a Loxo model: its header holds no Loxo config.")
    try:
        header = json.loads(metadata[HEADER])
        model = build(config_from_dict(header["config"]))
    except (ValueError, KeyError, TypeError, AttributeError, LoxoError) as error:
        raise LoxoError(f"{path}: the config in its header cannot be read ({error!r}).") from error
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise LoxoError(f"{path}: the weights do not fit the config in the file's header. {error}") from error
    model.provenance = header.get("provenance", {})
    model.to(device).eval().requires_grad_(False)
    if chosen == "openvino":
        use_openvino(model, hash_model(path))
    return model
