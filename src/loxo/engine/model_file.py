"""Model files: one `.safetensors` with the weights, and the config and provenance as JSON in its header.

A model file never holds a pickled object or code. Loading a file from a stranger is safe, needs no network, and works
in later versions. This module reads and copies model files without PyTorch; loxo.network.loading builds networks from
them. The graph that detection runs lies beside the model file, with the suffix `.onnx` (loxo.engine.graph).
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from loxo.engine.architectures import config_from_dict
from loxo.engine.config import ModelConfig
from loxo.errors import LoxoError
from loxo.files import parse_json, sha256_of, write_atomically

BUNDLED = Path(__file__).parent.parent / "weights"
HEADER = "loxo"
FORMAT = 1
GRAPH_SUFFIX = ".onnx"
CONVERT = "loxo convert {} --out model.safetensors"


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


def model_metadata(config: ModelConfig, provenance: dict[str, Any] | None) -> dict[str, str]:
    """The entry of a safetensors header that makes the file a Loxo model."""
    return {HEADER: json.dumps({"format": FORMAT, "config": config.to_dict(), "provenance": provenance or {}})}


@dataclass(frozen=True)
class ModelFile:
    """A model file as its header describes it; the weights stay on the disk."""

    path: Path
    config: ModelConfig
    provenance: dict[str, Any]

    @property
    def graph_path(self) -> Path:
        return self.path.with_suffix(GRAPH_SUFFIX)

    @cached_property
    def sha256(self) -> str:
        return sha256_of(self.path)

    @cached_property
    def weights_sha256(self) -> str:
        """SHA-256 of the names, types, shapes and values of the weights. Config and provenance do not change it."""
        tensors, data = _split(self.path)
        return hashlib.sha256(json.dumps(tensors, sort_keys=True).encode() + data).hexdigest()


def read_model_file(name_or_path: str | Path) -> ModelFile:
    """The header of a bundled model, or of the model in a file.

    Raises LoxoError when there is no such file, or when it is damaged or no Loxo model.
    """
    path = find_model(name_or_path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        if _is_checkpoint(path):
            raise LoxoError(
                f"{path}: this is a checkpoint of PyTorch, not a Loxo model file. Convert it: {CONVERT.format(path)}."
            ) from error
        raise LoxoError(f"{path}: this is not a readable .safetensors file ({error}). Is it complete?") from error
    if HEADER not in metadata:
        raise LoxoError(
            f"{path}: this .safetensors file is not a Loxo model: its header holds no Loxo config. Published weights "
            f"are converted by {CONVERT.format(path)}."
        )
    try:
        header = parse_json(metadata[HEADER])
        config, provenance = config_from_dict(header["config"]), header.get("provenance", {})
    except (ValueError, KeyError, TypeError, AttributeError, LoxoError) as error:
        raise LoxoError(f"{path}: the config in its header cannot be read ({error!r}).") from error
    return ModelFile(path, config, provenance)


def _is_checkpoint(path: Path) -> bool:
    """Whether a file begins as those of torch.save do: a zip archive or, before PyTorch 1.6, a pickle."""
    with path.open("rb") as file:
        return file.read(4).startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"))


def write_copy(model: ModelFile, path: str | Path, config: ModelConfig, provenance: dict[str, Any]) -> None:
    """Writes the weights of a model file with another config and provenance, and its graph beside it if it has one.

    Raises LoxoError when a file cannot be written.
    """
    tensors, data = _split(model.path)
    graph = model.graph_path.read_bytes() if model.graph_path.is_file() else None
    header = json.dumps({"__metadata__": model_metadata(config, provenance), **tensors}).encode()
    header += b" " * (-len(header) % 8)  # the format aligns the data to 8 bytes
    write_atomically(path, struct.pack("<Q", len(header)) + header + data)
    if graph is not None:
        write_atomically(Path(path).with_suffix(GRAPH_SUFFIX), graph)


def _split(path: Path) -> tuple[dict[str, Any], bytes]:
    """The table of tensors and the data of a safetensors file that safe_open has accepted."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    tensors: dict[str, Any] = parse_json(content[8 : 8 + length])
    tensors.pop("__metadata__", None)
    return tensors, content[8 + length :]
