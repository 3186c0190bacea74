"""The layouts of foreign checkpoints: one map per layout from the names in the file to Loxo's parameter names.

A layout is recognised by the names in the file. Loxo's names are those of the official HTS-AT checkpoints.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loxo.engine.architectures import config_from_dict
from loxo.engine.config import ModelConfig
from loxo.engine.model_file import HEADER
from loxo.errors import LoxoError
from loxo.files import parse_json

# Loxo's name, and the part 0, 1, 2 (query, key, value) if three tensors of the file become one; otherwise -1
Place = tuple[str, int]


@dataclass(frozen=True)
class Layout:
    """One kind of foreign checkpoint."""

    name: str
    architecture: str
    mark: str  # pattern that matches a name in each file of this layout, and in no file of a layout further down
    place: Callable[[str], Place | None]  # the file's name -> Loxo's name; None: not a weight of the model
    constants: tuple[str, ...] = ()  # suffixes of the names of tables that Loxo computes itself
    absent: tuple[str, ...] = ()  # prefixes of Loxo's names that such files do not contain
    config: ModelConfig | None = None  # of a Loxo file


# Prefixes of programs that wrap a model: data parallelism, Lightning and other trainers, torch.compile
WRAPPERS = ("module.", "model.", "_orig_mod.")


# ---------------------------------------------------------------- name maps, one for each layout

HTSAT_CONSTANTS = ("conv_real.weight", "conv_imag.weight", "melW", "attn_mask", "relative_position_index")

CLAP_NAMES = {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.self.query": ("attn.qkv", 0),
    "attention.self.key": ("attn.qkv", 1),
    "attention.self.value": ("attn.qkv", 2),
    "attention.self": "attn",  # relative_position_bias_table
    "attention.output.dense": "attn.proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}

AST_NAMES = {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    # in published files
    "attention.attention.query": ("self_attn.in_proj", 0),
    "attention.attention.key": ("self_attn.in_proj", 1),
    "attention.attention.value": ("self_attn.in_proj", 2),
    "attention.output.dense": "self_attn.out_proj",
    "intermediate.dense": "linear1",
    "output.dense": "linear2",
    # in memory, in transformers 5
    "attention.q_proj": ("self_attn.in_proj", 0),
    "attention.k_proj": ("self_attn.in_proj", 1),
    "attention.v_proj": ("self_attn.in_proj", 2),
    "attention.o_proj": "self_attn.out_proj",
    "mlp.fc1": "linear1",
    "mlp.fc2": "linear2",
}

AST_OUTSIDE_BLOCKS = {
    "embeddings.cls_token": "cls_token",
    "embeddings.distillation_token": "distillation_token",
    "embeddings.position_embeddings": "position_embeddings",
    "embeddings.patch_embeddings.projection.weight": "patch_embed.weight",
    "embeddings.patch_embeddings.projection.bias": "patch_embed.bias",
    "layernorm.weight": "norm.weight",
    "layernorm.bias": "norm.bias",
}


def _block(names: dict[str, Any], inside: str, parameter: str) -> Place | None:
    """The place of a parameter inside a transformer block; `inside` is its name without block and parameter."""
    if inside not in names:
        return None
    new = names[inside]
    new, part = new if isinstance(new, tuple) else (new, -1)
    joint = "_" if new.endswith("in_proj") else "."  # PyTorch's attention: in_proj_weight
    return f"{new}{joint}{parameter}", part


def official_place(name: str) -> Place | None:
    name = name.removeprefix("sed_model.")
    return None if name.startswith("head.") else (name, -1)  # the official model does not use `head`


def swin_place(name: str) -> Place | None:
    return None if name.startswith("head.") else (name, -1)  # ImageNet's classes


def laion_place(name: str) -> Place | None:
    if not name.startswith("audio_branch.") or "fusion_model." in name or "mel_conv" in name:
        return None
    return official_place(name.removeprefix("audio_branch."))


def clap_place(name: str) -> Place | None:
    name = re.sub(r"^(audio_model\.)?audio_encoder\.", "", name)
    block = re.fullmatch(r"(layers\.\d+\.blocks\.\d+)\.(.+)\.(\w+)", name)
    if block:
        place = _block(CLAP_NAMES, block[2], block[3])
        return place and (f"{block[1]}.{place[0]}", place[1])
    if name.startswith("batch_norm."):
        return name.replace("batch_norm", "bn0", 1), -1
    own = re.match(r"patch_embed\.(proj|norm)\.|layers\.\d\.downsample\.|norm\.", name)
    return (name, -1) if own else None


def ast_place(name: str) -> Place | None:
    name = name.removeprefix("audio_spectrogram_transformer.")
    block = re.fullmatch(r"(?:encoder\.layer|layers)\.(\d+)\.(.+)\.(\w+)", name)
    if block:
        place = _block(AST_NAMES, block[2], block[3])
        return place and (f"layers.{block[1]}.{place[0]}", place[1])
    if name.startswith("classifier."):
        return name, -1
    return (AST_OUTSIDE_BLOCKS[name], -1) if name in AST_OUTSIDE_BLOCKS else None


LAYOUTS = (
    Layout("CLAP (Hugging Face)", "htsat", r"audio_encoder\.layers", clap_place, HTSAT_CONSTANTS, ("tscam_conv.",)),
    Layout("CLAP (LAION)", "htsat", r"audio_branch\.layers", laion_place, HTSAT_CONSTANTS, ("tscam_conv.",)),
    Layout("AST (Hugging Face)", "ast", r"embeddings\.distillation_token", ast_place, absent=("classifier.",)),
    Layout("official HTS-AT", "htsat", r"(sed_model\.)?tscam_conv\.", official_place, HTSAT_CONSTANTS),
    Layout("Swin", "htsat", r"layers\.0\.blocks\.0\.attn\.qkv\.", swin_place, HTSAT_CONSTANTS, ("bn0.", "tscam_conv.")),
)


# ---------------------------------------------------------------- recognise the layout, rename the weights


def recognise(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> Layout:
    if HEADER in metadata:
        try:
            config = config_from_dict(parse_json(metadata[HEADER])["config"])
        except (ValueError, KeyError, TypeError, AttributeError, LoxoError) as error:
            raise LoxoError(
                f"{path}: the config in its header cannot be read ({error!r}). Fetch or save the file again."
            ) from error
        return Layout("Loxo", config.architecture, "", lambda name: (name, -1), config=config)
    prefix = wrapper_prefix(tensors)
    for layout in LAYOUTS:
        mark = re.compile(rf"(audio_model\.|audio_spectrogram_transformer\.)?{layout.mark}")
        if any(mark.match(name.removeprefix(prefix)) for name in tensors):
            if any(name.endswith(("logit_scale", "cpb_mlp.0.weight")) and "blocks" in name for name in tensors):
                raise LoxoError(f"{path}: Loxo cannot use the attention of Swin v2. Take a checkpoint of Swin v1.")
            return layout
    first = ", ".join(list(tensors)[:3])
    known = ", ".join(layout.name for layout in LAYOUTS)
    raise LoxoError(
        f"{path}: the layout of this checkpoint is unknown. Its {len(tensors)} weights begin with {first}. "
        f"Take a checkpoint of {known}."
    )


def wrapper_prefix(names: Iterable[str]) -> str:
    """The longest prefix made of WRAPPERS, in any order, that all names have."""
    prefix, found = "", True
    while found:
        found = False
        for wrapper in WRAPPERS:
            if all(name.startswith(prefix + wrapper) for name in names):
                prefix, found = prefix + wrapper, True
    return prefix


@dataclass
class Renamed:
    """The tensors of a checkpoint by Loxo's names, the names in the file (`origins`), and the remaining names."""

    weights: dict[str, Tensor]
    origins: dict[str, list[str]]
    unused: list[str]
    constants: list[str]


def rename(layout: Layout, tensors: dict[str, Tensor]) -> Renamed:
    """Raises LoxoError if query, key or value is missing."""
    result = Renamed({}, {}, [], [])
    parts: dict[str, dict[int, str]] = {}
    prefix = wrapper_prefix(tensors)
    for name in tensors:
        place = layout.place(name.removeprefix(prefix))
        if place is None:
            result.unused.append(name)
        elif layout.constants and name.endswith(layout.constants):
            result.constants.append(name)
        else:
            parts.setdefault(place[0], {})[place[1]] = name
    for name, names in parts.items():
        if sorted(names) not in ([-1], [0, 1, 2]):
            raise LoxoError(f"query, key or value of {name} is missing")
        origins = [names[k] for k in sorted(names)]
        result.origins[name] = origins
        result.weights[name] = torch.cat([tensors[n] for n in origins]) if len(origins) > 1 else tensors[origins[0]]
    return result
