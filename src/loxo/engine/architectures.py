"""The config of each architecture: its fields, presets and checks. The networks are defined in loxo.network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from loxo.engine.config import ELEPHANT_FRONTEND, OVERLAP_SUFFIX, ModelConfig, changed
from loxo.engine.fields import key
from loxo.errors import LoxoError

CLAP: dict[str, Any] = {"sample_rate": 48000, "window_samples": 480000, "hop_length": 480}


@dataclass(frozen=True, kw_only=True)
class HTSATConfig(ModelConfig):
    """A Hierarchical Token-Semantic Audio Transformer (HTS-AT, arXiv 2202.00874). The defaults are the paper's.

    The front end turns the waveform into an image of `n_mels` bands x `image_frames` frames. The image is cut into
    `folds` segments in time, which are stacked along frequency. A Swin Transformer turns it into tokens. A convolution
    over the last grid of tokens computes one logit for each class and step.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        # The paper's model: 10 s at 32 kHz, 64 mel bands, 31 M parameters.
        "audioset": {"classes": tuple(f"audioset_{k}" for k in range(527)), "decoding": {}},
        # The older adaptation to elephants: the paper's parameters at 4 kHz. 33 of its 64 mel filters are empty.
        "elephants-4k": {"sample_rate": 4000, "window_samples": 40000},
        # The bundled model: tokens of 0.32 s, steps of 0.08 s.
        "default": {
            **ELEPHANT_FRONTEND,
            "folds": 1,
            "patch": (8, 8),
            "stem": (8, 32),
            "embed_dim": 32,
            "mlp_ratio": 2.0,
            "depths": (2, 2, 3),
            "num_heads": (1, 2, 4),
            "merges": ((2, 1), (2, 1)),
            "substeps": 4,
            "fine": 32,
            "fine_depth": 2,
            "call_overlap": True,
            "drop_path": 0.0,  # training never repeats a window
        },
        # The audio towers of CLAP (arXiv 2211.06687): the paper's architecture at 48 kHz in three sizes.
        "clap-tiny": CLAP,
        "clap-base": {**CLAP, "embed_dim": 128, "depths": (2, 2, 12, 2)},
        # The tower of CLAP's "fusion" models has other mel filters.
        "clap-fused": {**CLAP, "frontend": "mel-htk"},
        "clap-large": {**CLAP, "embed_dim": 256, "depths": (2, 2, 12, 2)},
    }
    step_fields: ClassVar[tuple[str, ...]] = ("image_frames", "patch", "merges", "substeps")

    architecture: str = key("htsat", "name of the architecture; a preset sets it")
    # Image and Swin Transformer
    folds: int = key(4, "segments into which the image is cut in time; they are stacked along frequency", min=1)
    patch: tuple[int, int] = key((4, 4), "size of a patch: bands, frames", min=1)
    stem: tuple[int, ...] = key(
        (), "channels of the convolutions before the patches; each halves the image on both axes; []: none", min=1
    )
    embed_dim: int = key(96, "channels of a token in the first stage; every merge doubles them", min=1)
    depths: tuple[int, ...] = key((2, 2, 6, 2), "blocks in each stage", min=1)
    num_heads: tuple[int, ...] = key(
        (4, 8, 16, 32), "attention heads in each stage; they divide the channels of the stage", min=1
    )
    attention_window: int = key(8, "length of an attention window along each axis", unit="tokens", min=1)
    merges: tuple[tuple[int, int], ...] = key(
        ((2, 2), (2, 2), (2, 2)),
        "tokens along each axis (frequency, time) that are merged into one, after each stage except the last",
        min=1,
    )
    mlp_ratio: float = key(
        4.0, "hidden channels of the layers between attention, divided by the channels", above=0, max=64
    )
    drop_path: float = key(
        0.1, "probability that training skips the last block; it grows linearly from 0 in the first", min=0, max=0.95
    )
    substeps: int = key(1, "steps of the output in each token of the last stage", min=1)
    fine: int = key(
        0, "channels of a second head, which reads the output of the stem's first layer at each step; 0: none", min=0
    )
    fine_depth: int = key(0, "layers of the second head that read the neighbouring steps; unused without it", min=0)
    call_overlap: bool = key(
        False, "a third head, on the second: for each class, the probability that two of its calls overlap"
    )

    def check(self) -> None:
        if not self.depths:
            raise LoxoError("depths is empty: the model needs at least one stage. Give the blocks of each stage.")
        if len(self.num_heads) != len(self.depths) or len(self.merges) != len(self.depths) - 1:
            raise LoxoError(
                f"The {len(self.depths)} stages of depths need as many num_heads (got {len(self.num_heads)}) and one "
                f"less of merges (got {len(self.merges)})."
            )
        for k, heads in enumerate(self.num_heads):
            if self.embed_dim * 2**k % heads:
                raise LoxoError(
                    f"num_heads: the {self.embed_dim * 2**k} channels of stage {k} (embed_dim x {2**k}) cannot be "
                    f"split into {heads} heads. Use a number of heads that divides them, or another embed_dim."
                )
        if self.embed_dim * self.mlp_ratio < 1:
            raise LoxoError(f"mlp_ratio ({self.mlp_ratio:g}) leaves no channel of {self.embed_dim}. Use a larger one.")
        if self.image_frames % self.folds:
            raise LoxoError(
                f"image_frames ({self.image_frames}) must be a multiple of folds ({self.folds}). Change one of them."
            )
        for axis, (size, patch) in enumerate(zip(self.image_size, self.patch, strict=True)):
            stride = patch
            for merge in self.merges:
                stride *= merge[axis]
            if size % stride:
                name = ("bands (folds x n_mels)", "frames (image_frames / folds)")[axis]
                raise LoxoError(
                    f"The image's {size} {name} cannot be divided by patch and merges ({stride}). Change one of them."
                )
        if any(size % 2 ** len(self.stem) for size in self.patch):
            raise LoxoError(
                f"patch {self.patch} cannot be halved {len(self.stem)} times, once by each layer of the stem. Use a "
                f"multiple of {2 ** len(self.stem)}, or a shorter stem."
            )
        if self.fine and (self.folds != 1 or not self.stem or self.steps != self.image_size[1] // 2):
            raise LoxoError(
                "fine: this head needs a stem whose first layer has one column for each step, and an image without "
                f"folds. This config has {self.steps} steps for {self.image_size[1]} frames, {len(self.stem)} layers "
                f"in the stem, and folds = {self.folds}. Set fine to 0, or change substeps."
            )
        if self.call_overlap and not self.fine:
            raise LoxoError(
                "call_overlap needs the features of a fine head: set fine above 0, or call_overlap to false."
            )
        if self.grids[-1][0] % self.folds:
            raise LoxoError(
                f"folds ({self.folds}): the last stage has {self.grids[-1][0]} rows of tokens, which cannot be split "
                f"into {self.folds}. Change folds, n_mels, patch or merges."
            )
        for grid in self.grids:
            if any(size > self.attention_window and size % self.attention_window for size in grid):
                raise LoxoError(
                    f"attention_window: a grid of {grid} tokens cannot be cut into windows of {self.attention_window}. "
                    "Use a divisor of both."
                )

    @property
    def image_size(self) -> tuple[int, int]:
        """(rows, columns) of the image: stacked bands, frames of one fold."""
        return self.folds * self.n_mels, self.image_frames // self.folds

    @property
    def grids(self) -> list[tuple[int, int]]:
        """(rows, columns) of tokens in each stage."""
        sizes = [(self.image_size[0] // self.patch[0], self.image_size[1] // self.patch[1])]
        for rows, columns in self.merges:
            sizes.append((sizes[-1][0] // rows, sizes[-1][1] // columns))
        return sizes

    @property
    def steps(self) -> int:
        return self.grids[-1][1] * self.folds * self.substeps

    @property
    def stride_steps(self) -> int:
        return self.substeps

    @property
    def rows(self) -> tuple[str, ...]:
        """The classes; with `call_overlap` also, for each class, the probability that two of its calls overlap."""
        overlaps = tuple(label + OVERLAP_SUFFIX for label in self.classes) if self.call_overlap else ()
        return self.classes + overlaps

    @property
    def features(self) -> int:
        """Channels after the last stage."""
        return self.embed_dim * 2 ** (len(self.depths) - 1)


@dataclass(frozen=True, kw_only=True)
class ASTConfig(ModelConfig):
    """An Audio Spectrogram Transformer. The defaults are the paper's base model."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        # The paper's model, as trained on AudioSet: 10.24 s at 16 kHz, 87 M parameters.
        "ast": {"classes": tuple(f"audioset_{k}" for k in range(527)), "decoding": {}},
        # For comparison with the bundled model: same front end and training, steps of 0.32 s.
        "ast-elephants": {
            **ELEPHANT_FRONTEND,
            "patch": (16, 8),
            "stride": (16, 8),
            "embed_dim": 128,
            "depth": 4,
            "num_heads": 4,
        },
    }
    step_fields: ClassVar[tuple[str, ...]] = ("image_frames", "patch")

    architecture: str = key("ast", "name of the architecture; a preset sets it")
    sample_rate: int = changed("sample_rate", 16000)
    window_samples: int = changed("window_samples", 163840)
    frontend: str = changed("frontend", "kaldi")
    n_fft: int = changed("n_fft", 400)
    hop_length: int = changed("hop_length", 160)
    n_mels: int = changed("n_mels", 128)
    fmin: float = changed("fmin", 20.0)
    fmax: float = changed("fmax", 8000.0)
    patch: tuple[int, int] = key((16, 16), "size of a patch: bands, frames", min=1)
    stride: tuple[int, int] = key((10, 10), "from one patch to the next: bands, frames", min=1)
    embed_dim: int = key(768, "channels of a token", min=1)
    depth: int = key(12, "number of blocks", min=1)
    num_heads: int = key(12, "attention heads in each block; they divide embed_dim", min=1)
    mlp_ratio: float = key(
        4.0, "hidden channels of the layers between attention, divided by the channels", above=0, max=64
    )

    def check(self) -> None:
        self.check_image_frames()
        if self.embed_dim % self.num_heads:
            raise LoxoError(
                f"num_heads: embed_dim ({self.embed_dim}) cannot be split into {self.num_heads} heads. Use a number "
                "that divides it."
            )
        if self.embed_dim * self.mlp_ratio < 1:
            raise LoxoError(f"mlp_ratio ({self.mlp_ratio:g}) leaves no channel of {self.embed_dim}. Use a larger one.")
        if self.n_mels < self.patch[0] or self.image_frames % self.patch[1]:
            raise LoxoError(
                f"An image of {self.n_mels} bands and {self.image_frames} frames cannot be cut into patches of "
                f"{self.patch}. Use a patch with at most n_mels bands, and frames that divide image_frames."
            )

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of tokens."""
        rows = (self.n_mels - self.patch[0]) // self.stride[0] + 1
        return rows, (self.image_frames - self.patch[1]) // self.stride[1] + 1

    @property
    def steps(self) -> int:
        """Number of patches side by side along time: a step is as long as a patch."""
        return self.image_frames // self.patch[1]


@dataclass(frozen=True, kw_only=True)
class CRNNConfig(ModelConfig):
    """Convolution blocks, each followed by pooling over (bands, frames), then a bidirectional GRU."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        # For comparison with the bundled model: same front end and training, steps of 0.32 s.
        "crnn": ELEPHANT_FRONTEND,
    }
    step_fields: ClassVar[tuple[str, ...]] = ("image_frames", "pools")

    architecture: str = key("crnn", "name of the architecture; a preset sets it")
    window_samples: int = changed("window_samples", 327680)  # image_frames x hop_length
    channels: tuple[int, ...] = key((32, 64, 128), "channels of each convolution block", min=1)
    pools: tuple[tuple[int, int], ...] = key(
        ((2, 2), (4, 2), (4, 2)), "pooling over (bands, frames) after each block", min=1
    )
    hidden: int = key(128, "units of the GRU in each direction", min=1)

    def check(self) -> None:
        self.check_image_frames()
        if not self.channels:
            raise LoxoError("channels is empty: the model needs at least one block. Give the channels of each block.")
        if len(self.channels) != len(self.pools):
            raise LoxoError(
                f"{len(self.channels)} channels need as many pools (got {len(self.pools)}). Give one pool a block."
            )
        if self.n_mels % self.pooled[0] or self.image_frames % self.pooled[1]:
            raise LoxoError(
                f"An image of {self.n_mels} bands and {self.image_frames} frames cannot be pooled by {self.pooled}. "
                "Change pools, n_mels or image_frames."
            )

    @property
    def pooled(self) -> tuple[int, int]:
        """(bands, frames) of the image that become one element after all pooling."""
        return math.prod(bands for bands, _ in self.pools), math.prod(frames for _, frames in self.pools)

    @property
    def steps(self) -> int:
        return self.image_frames // self.pooled[1]


CONFIGS: dict[str, type[ModelConfig]] = {"htsat": HTSATConfig, "ast": ASTConfig, "crnn": CRNNConfig}


def preset_config(preset: str, **changes: Any) -> ModelConfig:
    """The config of a preset of any architecture, with fields changed by name. Raises LoxoError for others."""
    for config_class in CONFIGS.values():
        if preset in config_class.presets:
            return config_class.preset(preset, **changes)
    names = sorted(name for config_class in CONFIGS.values() for name in config_class.presets)
    raise LoxoError(f"No preset is called {preset!r}. There are: {', '.join(names)}.")


def config_from_dict(values: dict[str, Any]) -> ModelConfig:
    """The inverse of `to_dict`. Raises LoxoError for an architecture or a field that this version does not have."""
    architecture = values.get("architecture")
    if architecture not in CONFIGS:
        raise LoxoError(f"Unknown architecture {architecture!r}; known are {', '.join(CONFIGS)}.")
    return CONFIGS[architecture].from_dict(values)
