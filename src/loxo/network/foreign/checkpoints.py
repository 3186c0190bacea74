"""Loads checkpoints: official HTS-AT, Swin v1, CLAP (files of Hugging Face and LAION), AST, and Loxo's own files.

The maps from a checkpoint's names to Loxo's are in layouts.py. Nothing is guessed: a trunk weight that is missing,
unknown or of another shape is an error, and the model stays unchanged. Only the head may differ in its number of
classes. Then it keeps its random weights, and the report states it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loxo.engine.architectures import preset_config
from loxo.engine.config import LABELS, ModelConfig
from loxo.engine.filters import mel_filters
from loxo.engine.model_file import hash_model
from loxo.errors import LoxoError
from loxo.network.ast import AST
from loxo.network.base import FrameModel
from loxo.network.foreign.layouts import Layout, recognise, rename
from loxo.network.foreign.untrusted import read_tensors
from loxo.network.htsat import HTSAT
from loxo.network.loading import save_model
from loxo.network.registry import ARCHITECTURES, build

Shape = tuple[int, ...]
BLOCK = re.compile(r"layers\.(?P<stage>\d+)\.blocks\.(?P<block>\d+)\.")


@dataclass(frozen=True)
class LoadReport:
    """The result for each weight. `found` and `unfound` are names in the model, `unused` and `constants` in the file.

    `constants` are tables that Loxo computes itself (STFT, mel filters, attention masks and position indices).
    """

    layout: str
    found: list[str]
    unfound: list[str]
    unused: list[str]
    constants: list[str]
    shapes: dict[str, Shape]  # of every name above
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{self.layout} checkpoint: {len(self.found)} weights found", *self.notes]
        for title, names in (("unfound", self.unfound), ("unused", self.unused)):
            if names:
                lines.append(f"{len(names)} {title}:")
                lines += [f"  {name} {self.shapes[name]}" for name in names]
        return "\n".join(lines)


# ---------------------------------------------------------------- loading


def load_weights(model: FrameModel, path: str | Path) -> LoadReport:
    """Loads the weights of a checkpoint in any known layout into the model, and reports the result for each weight.

    Raises LoxoError, and leaves the model unchanged, if the file is damaged, contains other objects than tensors,
    contains NaN or infinity, or does not fit the model. If the number of classes differs, the model keeps its own head.
    """
    path = Path(path)
    tensors, metadata = read_tensors(path)
    return _load(model, path, tensors, recognise(path, tensors, metadata))


def _load(model: FrameModel, path: Path, tensors: dict[str, Tensor], layout: Layout) -> LoadReport:
    if layout.architecture != model.config.architecture:
        raise LoxoError(
            f"{path}: {layout.name} weights are for {layout.architecture!r}, not {model.config.architecture!r}."
        )
    try:
        renamed = rename(layout, tensors)
    except (LoxoError, RuntimeError) as error:
        raise LoxoError(f"{path}: {error}.") from error
    own, weights, unused, absent = model.state_dict(), renamed.weights, list(renamed.unused), layout.absent
    extra_heads = tuple(f"{name}." for name in model.extra_heads)
    new_blocks = _identity_blocks(weights, own)
    absent = (*absent, *extra_heads, *new_blocks)
    notes = _adapt(model, weights, own)
    if new_blocks:
        names = ", ".join(block.rstrip(".") for block in new_blocks)
        notes.append(f"The file lacks these blocks, and they start as the identity: {names}.")
    heads = [name for name in weights if name.startswith(f"{model.head_name}.") and name in own]
    if any(weights[name].shape != own[name].shape for name in heads):
        before, now = len(weights[heads[0]]), len(own[heads[0]])
        notes.append(
            f"The file's head has {before} outputs and the model's {now}: the trunk is loaded, the head is not."
        )
        for name in (*heads, *(name for name in weights if name.startswith(extra_heads))):
            unused += renamed.origins[name]
            del weights[name]
        absent = (*absent, model.head_name)
    _check_fit(path, layout, weights, own, absent)
    model.load_state_dict({**own, **{name: tensor.to(own[name].dtype) for name, tensor in weights.items()}})
    notes += _check_front_end(model.config, tensors)
    shapes = {name: tuple(tensors[name].shape) for name in (*unused, *renamed.constants)}
    shapes = {name: tuple(tensor.shape) for name, tensor in own.items()} | shapes
    found, unfound = [n for n in own if n in weights], [n for n in own if n not in weights]
    return LoadReport(layout.name, found, unfound, unused, renamed.constants, shapes, notes)


def _adapt(model: FrameModel, weights: dict[str, Tensor], own: dict[str, Tensor]) -> list[str]:
    """Converts three kinds of weights so that they fit; returns one note per conversion."""
    notes = []
    patch, positions = "patch_embed.proj.weight", "position_embeddings"
    if patch in weights and weights[patch].shape[1:2] == (3,) != own[patch].shape[1:2]:
        weights[patch] = weights[patch].mean(1, keepdim=True)
        notes.append("The patch embedding is averaged over red, green and blue.")
    if isinstance(model, HTSAT):
        head = [f"{model.head_name}.{part}" for part in ("weight", "bias")]
        classes, substeps = len(model.config.classes), model.config.substeps
        if substeps > 1 and all(name in weights and len(weights[name]) == classes for name in head):
            for name in head:
                weights[name] = weights[name].repeat_interleave(substeps, 0)
            notes.append(f"The head has one step per token in the file and {substeps} here: they start equal.")
    if isinstance(model, AST) and positions in weights and weights[positions].shape != own[positions].shape:
        before, rows = weights[positions].shape[1] - 2, model.config.grid[0]
        if weights[positions].ndim == 3 and before % rows == 0:
            weights[positions] = model.fit_positions(weights[positions])
            now = model.config.grid[1]
            notes.append(f"The position embeddings are interpolated from {before // rows} to {now} columns of patches.")
    return notes


def _identity_blocks(weights: dict[str, Tensor], own: dict[str, Tensor]) -> list[str]:
    """The name prefixes of the model's blocks after the last block of the same stage in the file.

    Sets the output projections of these blocks in `own` to zero, so that each block is the identity.
    """
    last_block: dict[str, int] = {}
    for match in filter(None, map(BLOCK.match, weights)):
        last_block[match["stage"]] = max(last_block.get(match["stage"], 0), int(match["block"]))
    prefixes = []
    for match in filter(None, map(BLOCK.match, own)):
        if int(match["block"]) > last_block.get(match["stage"], len(own)):
            prefixes.append(match[0])
            if match.string.startswith((f"{match[0]}attn.proj.", f"{match[0]}mlp.fc2.")):
                own[match.string] = torch.zeros_like(own[match.string])
    return list(dict.fromkeys(prefixes))


def _check_fit(
    path: Path, layout: Layout, named: dict[str, Tensor], own: dict[str, Tensor], absent: tuple[str, ...]
) -> None:
    misshapen = [name for name, tensor in named.items() if name in own and tensor.shape != own[name].shape]
    faults = [
        f"{name} has the shape {tuple(named[name].shape)}, in the model {tuple(own[name].shape)}" for name in misshapen
    ]
    faults += [f"{name} {tuple(t.shape)} does not exist in the model" for name, t in named.items() if name not in own]
    faults += [f"{name} is missing" for name in own if name not in named and not name.startswith(absent or ("\0",))]
    if faults:
        raise LoxoError(
            f"{path}: this {layout.name} checkpoint does not fit the model: {'; '.join(faults[:3])}"
            f"{f'; and {len(faults) - 3} more' if len(faults) > 3 else ''}. Nothing was loaded. `loxo convert` makes a "
            "model with the sizes of a checkpoint."
        )
    for name, tensor in named.items():
        if not torch.isfinite(tensor).all():
            raise LoxoError(f"{path}: {name} contains NaN or infinity. Nothing was loaded. Use another checkpoint.")


def _check_front_end(config: ModelConfig, tensors: dict[str, Tensor]) -> list[str]:
    """A note if the file's mel filters differ from the model's: the weights then receive another image."""
    filters = next((tensor for name, tensor in tensors.items() if name.endswith("logmel_extractor.melW")), None)
    if filters is None or config.frontend != "mel" or _same_filters(config, filters):
        return []
    return ["The file's mel filters differ from this model's front end: sample rate, n_fft, n_mels, fmin or fmax."]


def _same_filters(config: ModelConfig, filters: Tensor) -> bool:
    own = torch.from_numpy(mel_filters(config.sample_rate, config.n_fft, config.n_mels, config.fmin, config.fmax))
    return own.shape == filters.shape and torch.allclose(own, filters.float(), atol=1e-5)


# ---------------------------------------------------------------- converting


def convert_checkpoint(
    path: str | Path, out: str | Path, *, preset: str | None = None, classes: tuple[str, ...] | None = None
) -> LoadReport:
    """Writes a foreign checkpoint as a Loxo model file and returns the report.

    The shapes of the weights give the sizes of the model.
    `preset`: the source of the front end. Default: the preset with the file's mel filters; if the file has none,
    "audioset" for HTS-AT and Swin, "clap-tiny" for CLAP, "ast" for AST. `classes`: names of the classes. Default: the
    classes of the file's head with numbers as names; for a file without a head, rumble and gunshot.
    """
    path = Path(path)
    tensors, metadata = read_tensors(path)
    layout = recognise(path, tensors, metadata)
    if layout.name == "Loxo":
        raise LoxoError(f"{path}: this is already a Loxo model, which needs no conversion.")
    try:
        named = rename(layout, tensors).weights
        sizes = _ast_sizes(named) if layout.architecture == "ast" else _htsat_sizes(named)
        preset = preset or _preset_of(layout, tensors)
        head = named.get(f"{ARCHITECTURES[layout.architecture].head_name}.bias")
        if classes is None:
            stem = "audioset" if head is not None and len(head) == 527 else "class"
            classes = LABELS if head is None else tuple(f"{stem}_{k}" for k in range(len(head)))
        model = build(preset, classes=tuple(classes), **sizes)
    except KeyError as error:
        raise LoxoError(
            f"{path}: this {layout.name} checkpoint cannot be converted: it contains no {error}."
        ) from error
    except (LoxoError, RuntimeError, IndexError, ValueError) as error:
        raise LoxoError(f"{path}: this {layout.name} checkpoint cannot be converted: {error}") from error
    report = _load(model, path, tensors, layout)
    save_model(
        model, out, {"converted_from": path.name, "layout": layout.name, "sha256": hash_model(path), "preset": preset}
    )
    return report


def _htsat_sizes(named: dict[str, Tensor]) -> dict[str, Any]:
    """The fields of an HTSATConfig that follow from the shapes of the weights."""
    blocks = [re.match(r"layers\.(\d+)\.blocks\.(\d+)\.", name) for name in named]
    pairs = {(int(block[1]), int(block[2])) for block in blocks if block}
    stages = max((stage for stage, _ in pairs), default=0) + 1
    tables = [named[f"layers.{k}.blocks.0.attn.relative_position_bias_table"] for k in range(stages)]
    dim, _, *patch = named["patch_embed.proj.weight"].shape
    return {
        "embed_dim": dim,
        "patch": tuple(patch),
        "depths": tuple(sum(stage == k for stage, _ in pairs) for k in range(stages)),
        "num_heads": tuple(table.shape[1] for table in tables),
        "attention_window": (round(len(tables[0]) ** 0.5) + 1) // 2,
        "mlp_ratio": named["layers.0.blocks.0.mlp.fc1.weight"].shape[0] / dim,
    }


def _ast_sizes(named: dict[str, Tensor]) -> dict[str, Any]:
    """The fields of an ASTConfig. Heads have 64 channels, as in every published AST; no shape contains the number."""
    blocks = [re.match(r"layers\.(\d+)\.", name) for name in named]
    dim, _, *patch = named["patch_embed.weight"].shape
    return {
        "embed_dim": dim,
        "patch": tuple(patch),
        "depth": max(int(block[1]) for block in blocks if block) + 1,
        "num_heads": max(1, dim // 64),
        "mlp_ratio": named["layers.0.linear1.weight"].shape[0] / dim,
    }


def _preset_of(layout: Layout, tensors: dict[str, Tensor]) -> str:
    for name, tensor in tensors.items():
        if name.endswith("logmel_extractor.melW"):
            for preset in ("audioset", "elephants-4k", "clap-tiny"):
                if _same_filters(preset_config(preset), tensor):
                    return preset
            raise LoxoError("its mel filters are those of no preset: name the preset to use.")
    return {"ast": "ast"}.get(layout.architecture, "clap-tiny" if layout.name.startswith("CLAP") else "audioset")
