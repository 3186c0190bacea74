"""Loads checkpoints: official HTS-AT, Swin v1, CLAP (files of Hugging Face and LAION), AST, and Loxo's own files.

The maps from a checkpoint's names to Loxo's are in layouts.py. Nothing is guessed: a trunk weight that is missing,
unknown or of another shape is an error, and the model stays unchanged. Only the head may differ in its number of
classes: its rows are loaded by the name of their class, and the report states the rows that keep random weights.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loxo.engine.architectures import preset_config
from loxo.engine.config import LABELS, ModelConfig, frontend_fields
from loxo.engine.filters import mel_filters
from loxo.errors import LoxoError
from loxo.files import sha256_of
from loxo.network.ast import AST
from loxo.network.base import FrameModel
from loxo.network.foreign.layouts import Layout, recognise, rename, wrapper_prefix
from loxo.network.foreign.untrusted import Content, read_tensors
from loxo.network.loading import save_model
from loxo.network.registry import ARCHITECTURES, build

Shape = tuple[int, ...]
MAX_NAMES = 20  # of each list of weights in the text of a report
MAX_NAMED = 5  # classes in a note
BIAS_TABLE = "attn.relative_position_bias_table"
SWIN_WINDOW = 8
SWIN = "HTS-AT needs Swin-T/C24 with windows of 8, trained on 256 x 256 pixels: swin_tiny_c24_patch4_window8_256.pth."
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
    new_classes: tuple[str, ...] = ()  # classes of the model whose rows of the head are not in the file
    config: ModelConfig | None = None  # of a Loxo file

    def __str__(self) -> str:
        parts = Counter(name.split(".")[0] for name in self.found)
        found = ", ".join(f"{part} {count}" for part, count in parts.items())
        lines = [f"{self.layout} checkpoint: {len(self.found)} weights found ({found})", *self.notes]
        for title, names in (("unfound, so they start anew", self.unfound), ("unused", self.unused)):
            if names:
                lines.append(f"{len(names)} {title}:")
                lines += [f"  {name} {self.shapes[name]}" for name in names[:MAX_NAMES]]
                if len(names) > MAX_NAMES:
                    lines.append(f"  ... and {len(names) - MAX_NAMES} more")
        return "\n".join(lines)


# ---------------------------------------------------------------- loading


def load_weights(model: FrameModel, path: str | Path) -> LoadReport:
    """Loads the weights of a checkpoint in any known layout into the model, and reports the result for each weight.

    Raises LoxoError, and leaves the model unchanged, if the file is damaged, contains other objects than tensors,
    contains NaN or infinity, or does not fit the model. The rows of a head are loaded by the name of their class. A
    class that the file lacks keeps the model's own rows. A file without class names is loaded in order if its number of
    classes is the model's; otherwise the model keeps its own head.
    """
    path = Path(path)
    content = read_tensors(path)
    return _load(model, path, content, recognise(path, content.tensors, content.metadata))


def _load(model: FrameModel, path: Path, content: Content, layout: Layout) -> LoadReport:
    tensors = content.tensors
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
    notes = [*content.notes, *_adapt(model, weights, own)]
    if prefix := wrapper_prefix(tensors):
        notes.append(f"All names in the file begin with {prefix!r}, which is left out.")
    if new_blocks:
        names = ", ".join(block.rstrip(".") for block in new_blocks)
        notes.append(f"The file lacks these blocks, and they start as the identity: {names}.")
    heads = _heads_by_class(model, layout, weights, own)
    notes += heads.notes
    for name in heads.unused:
        unused += renamed.origins[name]
        del weights[name]
    absent = (*absent, *heads.absent)
    _check_swin(path, layout, weights, own)
    _check_fit(path, layout, weights, own, absent)
    model.load_state_dict({**own, **{name: tensor.to(own[name].dtype) for name, tensor in weights.items()}})
    notes += _front_end_notes(model.config, layout, tensors)
    shapes = {name: tuple(tensors[name].shape) for name in (*unused, *renamed.constants)}
    shapes = {name: tuple(tensor.shape) for name, tensor in own.items()} | shapes
    found, unfound = [n for n in own if n in weights], [n for n in own if n not in weights]
    constants, new, config = renamed.constants, heads.new_classes, layout.config
    return LoadReport(layout.name, found, unfound, unused, constants, shapes, notes, new, config)


def _adapt(model: FrameModel, weights: dict[str, Tensor], own: dict[str, Tensor]) -> list[str]:
    """Converts two kinds of weights so that they fit; returns one note per conversion."""
    notes = []
    patch, positions = "patch_embed.proj.weight", "position_embeddings"
    if patch in weights and weights[patch].shape[1:2] == (3,) != own[patch].shape[1:2]:
        weights[patch] = weights[patch].mean(1, keepdim=True)
        notes.append("The patch embedding is averaged over red, green and blue.")
    if isinstance(model, AST) and positions in weights and weights[positions].shape != own[positions].shape:
        before, rows = weights[positions].shape[1] - 2, model.config.grid[0]
        if weights[positions].ndim == 3 and before % rows == 0:
            weights[positions] = model.fit_positions(weights[positions])
            now = model.config.grid[1]
            notes.append(f"The position embeddings are interpolated from {before // rows} to {now} columns of patches.")
    return notes


@dataclass(frozen=True)
class _Heads:
    """The result for the output layers. `unused`: names of weights of which the model reads no row; `absent`: layers
    that keep all their own rows.
    """

    new_classes: tuple[str, ...]
    unused: list[str]
    notes: list[str]
    absent: tuple[str, ...] = ()


def _heads_by_class(model: FrameModel, layout: Layout, weights: dict[str, Tensor], own: dict[str, Tensor]) -> _Heads:
    """Replaces the weights of each output layer in `weights` by rows in the model's order of classes.

    The rows of a class that the file lacks are the model's own. Several rows of one class are its steps in a token.
    """
    classes, notes = model.config.classes, list[str]()
    unused = [name for name in weights if name.startswith("overlap.") and "overlap.answer.bias" not in own]
    if unused:
        notes.append("The file's outputs for call overlap are not used: the model has none (model.call_overlap).")
    head = f"{model.head_name}.bias"
    if head not in weights:
        return _Heads(classes, unused, notes)
    layers = [f"{layer}.{part}" for layer in model.output_layers for part in ("weight", "bias")]
    file_classes = layout.config.classes if layout.config else _assumed_classes(model, len(weights[head]))
    new = tuple(label for label in classes if label not in file_classes)
    if new == classes:
        if layout.config:
            contents = f"file has the classes {', '.join(file_classes)} and the model {', '.join(classes)}"
        else:
            contents = f"file's head has {len(weights[head])} outputs and the model's {len(own[head])}"
        notes.append(f"The {contents}: the trunk is loaded, the head is not.")
        return _Heads(new, unused + [name for name in layers if name in weights], notes, model.output_layers)
    for name in layers:
        if name not in weights or name not in own or len(weights[name]) % len(file_classes):
            continue
        rows = weights[name].unflatten(0, (len(file_classes), -1))  # (classes of the file, steps, ...)
        merged = own[name].clone().unflatten(0, (len(classes), -1))
        if rows.shape[2:] != merged.shape[2:] or rows.shape[1] not in (1, merged.shape[1]):
            continue  # another shape, which _check_fit reports
        for k, label in enumerate(classes):
            if label in file_classes:
                merged[k] = rows[file_classes.index(label)]
        weights[name] = merged.flatten(0, 1)
        if name == head and rows.shape[1] < merged.shape[1]:
            notes.append(f"The head has one step per token in the file and {merged.shape[1]} here: they start equal.")
    return _Heads(new, unused, notes + _class_notes(layout, file_classes, classes))


def _assumed_classes(model: FrameModel, rows: int) -> tuple[str, ...]:
    """The classes of a file without class names: the model's if the number of rows fits, otherwise unknown ones."""
    classes, steps = model.config.classes, len(model.state_dict()[f"{model.head_name}.bias"])
    return classes if rows in (len(classes), steps) else tuple(f"output {k}" for k in range(rows))


def _class_notes(layout: Layout, file_classes: tuple[str, ...], classes: tuple[str, ...]) -> list[str]:
    """A note if the class lists differ, or if the file does not name its classes."""
    if layout.config is None:
        names = ", ".join(classes[:MAX_NAMED]) + (", ..." if len(classes) > MAX_NAMED else "")
        return [f"The file does not name its classes: its outputs are taken in order as {names}."]
    if file_classes == classes:
        return []
    groups = {
        "loaded by their name": [label for label in classes if label in file_classes],
        "not in the file, so they start anew": [label for label in classes if label not in file_classes],
        "only in the file": [label for label in file_classes if label not in classes],
    }
    return ["Classes " + "; ".join(f"{text}: {', '.join(names)}" for text, names in groups.items() if names) + "."]


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


def _check_swin(path: Path, layout: Layout, named: dict[str, Tensor], own: dict[str, Tensor]) -> None:
    """Raises LoxoError for Swin weights with other attention windows or heads: the usual Swin-T does not fit."""
    table = f"layers.0.blocks.0.{BIAS_TABLE}"
    if layout.name == "Swin" and table in named and table in own and named[table].shape != own[table].shape:
        raise LoxoError(
            f"{path}: this Swin has attention windows of {_window(named[table])} and {named[table].shape[-1]} heads in "
            f"its first stage, the model {_window(own[table])} and {own[table].shape[-1]}. Nothing was loaded. {SWIN}"
        )


def _window(table: Tensor) -> int:
    """The attention window of a table of relative positions: (2 x window - 1)^2 rows."""
    return (round(len(table) ** 0.5) + 1) // 2


def is_fused(tensors: Iterable[str]) -> bool:
    """Whether these are the names of a CLAP "fusion" model."""
    return any(".fusion_model." in name or ".mel_conv2d." in name for name in tensors)


def _front_end_notes(config: ModelConfig, layout: Layout, tensors: dict[str, Tensor]) -> list[str]:
    """Notes if the weights expect another image than the model's front end gives them."""
    notes: list[str] = []
    filters = _mel_filters_in(tensors)
    if layout.name == "Swin":
        return ["Swin was trained on pictures: the file has no front end and no classes of sounds."]
    if is_fused(tensors):
        notes.append(
            "The file is a fusion model of CLAP. Its fusion weights serve clips longer than 10 s. Loxo splits these "
            "into windows and does not use the weights."
        )
    elif filters is not None and config.frontend == "mel" and _same_filters(config, filters):
        return notes  # also where the config is that of no preset
    try:
        expected = frontend_fields(layout.config or preset_config(_preset_of(layout, tensors)))
    except LoxoError:
        return [*notes, "The file's mel filters differ from this model's front end, and are those of no preset."]
    now = frontend_fields(config)
    differences = [
        f"{name} is {expected[name]} in the file and {now[name]} here"
        for name in now
        if name in expected and expected[name] != now[name]
    ]
    if differences:
        notes.append(f"The front end differs, so that the weights receive another image: {'; '.join(differences)}.")
    return notes


def _mel_filters_in(tensors: dict[str, Tensor]) -> Tensor | None:
    return next((tensor for name, tensor in tensors.items() if name.endswith("logmel_extractor.melW")), None)


def _same_filters(config: ModelConfig, filters: Tensor) -> bool:
    own = torch.from_numpy(mel_filters(config.sample_rate, config.n_fft, config.n_mels, config.fmin, config.fmax))
    return own.shape == filters.shape and torch.allclose(own, filters.float(), atol=1e-5)


# ---------------------------------------------------------------- converting


def convert_checkpoint(
    path: str | Path, out: str | Path, *, preset: str | None = None, classes: tuple[str, ...] | None = None
) -> LoadReport:
    """Writes a foreign checkpoint as a Loxo model file and returns the report.

    The shapes of the weights give the sizes of the model.
    `preset`: the source of the front end. Default: "clap-fused" for a fusion model of CLAP; otherwise the preset with
    the file's mel filters; if the file has none, "audioset" for HTS-AT and Swin, "clap-tiny" for CLAP, "ast" for AST.
    `classes`: names of the classes. Default: the classes of the file's head with numbers as names; for a file without a
    head, rumble and gunshot.
    """
    path = Path(path)
    content = read_tensors(path)
    tensors = content.tensors
    layout = recognise(path, tensors, content.metadata)
    if layout.name == "Loxo":
        raise LoxoError(f"{path}: this is already a Loxo model, which needs no conversion.")
    try:
        named = rename(layout, tensors).weights
        sizes = _ast_sizes(named) if layout.architecture == "ast" else _htsat_sizes(named)
        if layout.name == "Swin" and sizes["attention_window"] != SWIN_WINDOW:
            raise LoxoError(f"it has attention windows of {sizes['attention_window']}. {SWIN}")
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
    report = _load(model, path, content, layout)
    save_model(
        model, out, {"converted_from": path.name, "layout": layout.name, "sha256": sha256_of(path), "preset": preset}
    )
    return report


def _htsat_sizes(named: dict[str, Tensor]) -> dict[str, Any]:
    """The fields of an HTSATConfig that follow from the shapes of the weights."""
    blocks = [re.match(r"layers\.(\d+)\.blocks\.(\d+)\.", name) for name in named]
    pairs = {(int(block[1]), int(block[2])) for block in blocks if block}
    stages = max((stage for stage, _ in pairs), default=0) + 1
    tables = [named[f"layers.{k}.blocks.0.{BIAS_TABLE}"] for k in range(stages)]
    dim, _, *patch = named["patch_embed.proj.weight"].shape
    return {
        "embed_dim": dim,
        "patch": tuple(patch),
        "depths": tuple(sum(stage == k for stage, _ in pairs) for k in range(stages)),
        "num_heads": tuple(table.shape[1] for table in tables),
        "attention_window": _window(tables[0]),
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
    if is_fused(tensors):
        return "clap-fused"  # LAION's files also contain the filters of the other variant, which they do not use
    if (filters := _mel_filters_in(tensors)) is not None:
        for preset in ("audioset", "elephants-4k", "clap-tiny"):
            if _same_filters(preset_config(preset), filters):
                return preset
        raise LoxoError("its mel filters are those of no preset: name the preset to use.")
    return {"ast": "ast"}.get(layout.architecture, "clap-tiny" if layout.name.startswith("CLAP") else "audioset")
