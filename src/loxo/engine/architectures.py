"""The config of each architecture: its fields, presets and checks. The networks are defined in loxo.network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from loxo.engine.config import ELEPHANT_FRONTEND, OVERLAP_SUFFIX, ModelConfig
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
        "clap-large": {**CLAP, "embed_dim": 256, "depths": (2, 2, 12, 2)},
    }

    architecture: str = "htsat"
    # Image and Swin Transformer
    folds: int = 4
    patch: tuple[int, int] = (4, 4)  # bands, frames
    stem: tuple[int, ...] = ()  # channels of the convolutions before the patches; each halves the image on both axes
    embed_dim: int = 96  # channels of a token in the first stage; every merge doubles them
    depths: tuple[int, ...] = (2, 2, 6, 2)  # blocks in each stage
    num_heads: tuple[int, ...] = (4, 8, 16, 32)  # attention heads in each stage
    attention_window: int = 8  # tokens along each axis of an attention window
    # (frequency, time): tokens along each axis that are merged into one, after each stage except the last
    merges: tuple[tuple[int, int], ...] = ((2, 2), (2, 2), (2, 2))
    mlp_ratio: float = 4.0
    drop_path: float = 0.1
    substeps: int = 1  # steps of the output in each token of the last stage
    fine: int = 0  # channels of a second head, which reads the output of the stem's first layer at each step; 0: none
    fine_depth: int = 0  # layers of that head that also read the neighbouring steps
    call_overlap: bool = False  # a third head, on the second: for each class, whether two of its calls overlap

    def __post_init__(self) -> None:
        if len(self.num_heads) != len(self.depths) or len(self.merges) != len(self.depths) - 1:
            raise LoxoError(
                f"The model config is not consistent: {len(self.depths)} depths need as many num_heads "
                f"(got {len(self.num_heads)}) and one merge less (got {len(self.merges)})."
            )
        if min(self.depths) < 1 or min(self.num_heads) < 1:
            raise LoxoError(
                f"Every stage needs at least one block and one attention head: depths are {self.depths}, num_heads "
                f"{self.num_heads}."
            )
        for k, heads in enumerate(self.num_heads):
            if self.embed_dim * 2**k % heads:
                raise LoxoError(
                    f"The {self.embed_dim * 2**k} channels of stage {k} cannot be split into {heads} heads."
                )
        if self.substeps < 1:
            raise LoxoError(f"substeps is {self.substeps}; it must be 1 or more.")
        if self.image_frames % self.folds:
            raise LoxoError(f"image_frames ({self.image_frames}) must be a multiple of folds ({self.folds}).")
        for axis, (size, patch) in enumerate(zip(self.image_size, self.patch, strict=True)):
            stride = patch
            for merge in self.merges:
                stride *= merge[axis]
            if size % stride:
                name = ("bands (folds x n_mels)", "frames (image_frames / folds)")[axis]
                raise LoxoError(f"The image's {size} {name} cannot be divided by patch and merges ({stride}).")
        if any(size % 2 ** len(self.stem) for size in self.patch):
            raise LoxoError(
                f"Patches of {self.patch} cannot be halved {len(self.stem)} times, once by each layer of the stem."
            )
        if self.fine and (self.folds != 1 or not self.stem or self.steps != self.image_size[1] // 2):
            raise LoxoError(
                "A fine head needs a stem whose first layer has one column for each step, and an image without folds. "
                f"This config has {self.steps} steps for {self.image_size[1]} frames, {len(self.stem)} layers in the "
                f"stem, and folds = {self.folds}."
            )
        if self.call_overlap and not self.fine:
            raise LoxoError(
                "call_overlap needs the features of a fine head: set fine above 0, or call_overlap to false."
            )
        for grid in self.grids:
            if any(size > self.attention_window and size % self.attention_window for size in grid):
                raise LoxoError(f"A grid of {grid} tokens cannot be cut into windows of {self.attention_window}.")
        super().__post_init__()

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

    architecture: str = "ast"
    sample_rate: int = 16000
    window_samples: int = 163840
    frontend: str = "kaldi"
    n_fft: int = 400
    hop_length: int = 160
    n_mels: int = 128
    fmin: float = 20.0
    fmax: float = 8000.0
    patch: tuple[int, int] = (16, 16)  # bands, frames
    stride: tuple[int, int] = (10, 10)
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0

    def __post_init__(self) -> None:
        if self.depth < 1 or self.num_heads < 1:
            raise LoxoError(f"depth ({self.depth}) and num_heads ({self.num_heads}) must be at least 1.")
        if self.embed_dim % self.num_heads:
            raise LoxoError(f"embed_dim ({self.embed_dim}) cannot be split into {self.num_heads} heads.")
        if self.n_mels < self.patch[0] or self.image_frames % self.patch[1]:
            raise LoxoError(
                f"An image of {self.n_mels} bands and {self.image_frames} frames cannot be cut into patches of "
                f"{self.patch}."
            )
        super().__post_init__()

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

    architecture: str = "crnn"
    channels: tuple[int, ...] = (32, 64, 128)
    pools: tuple[tuple[int, int], ...] = ((2, 2), (4, 2), (4, 2))  # (bands, frames) after each block
    hidden: int = 128  # units of the GRU in each direction

    def __post_init__(self) -> None:
        if len(self.channels) != len(self.pools):
            raise LoxoError(f"{len(self.channels)} channels need as many pools (got {len(self.pools)}).")
        if self.n_mels % self.pooled[0] or self.image_frames % self.pooled[1]:
            raise LoxoError(
                f"An image of {self.n_mels} bands and {self.image_frames} frames cannot be pooled by {self.pooled}."
            )
        super().__post_init__()

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
