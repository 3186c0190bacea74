"""Everything that defines a model apart from its weights: front end, architecture, classes, time geometry, decoding.

The config travels inside the model file as JSON, so that training and detection share one front end, one
normalisation and one notion of time. All times in samples or frames are integers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from loxo.errors import LoxoError

LABELS = ("rumble", "gunshot")
OVERLAP_SUFFIX = " overlap"  # after a class's name: the row of scores that tells where two of its events sound at once


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How the frame scores of one class become events. Durations in seconds, frequencies in Hz.

    An event is a peak of the smoothed scores and its surroundings down to `edge` times the peak, so that its borders
    do not depend on `threshold`, which only selects which events are listed.
    """

    threshold: float = 0.5
    smooth_s: float = 0.0  # length of the running mean over frame scores, rounded to an odd number of steps; 0: none
    edge_ratio: float = 0.5  # share of the peak score at which an event begins and ends
    valley_ratio: float = 0.0  # two peaks are two events when the valley between is at most this share of the lower one
    sustain_weight: float = 0.0  # weight of what four fifths of an event's frames reach, beside its peak, in its score
    density_penalty: float = 0.0  # how much it counts against an event that many like it come within a minute or five
    overlap_threshold: float = (
        0.0  # least score of "two at once" that makes two events of one; 0: never, nor without such scores
    )
    min_duration_s: float = 0.0
    merge_gap_s: float = 0.0  # events of one class closer than this become one, unless one is under edge x the other
    low_hz: float = 0.0  # frequency bounds written into selection tables
    high_hz: float = 2000.0


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What share of one class's events of a raw score is right: straight lines between points, flat outside.

    Fitted after training on simulated or real validation recordings; both tuples rise, both lie within 0 to 1.
    """

    raw: tuple[float, ...]
    probability: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class OperatingCurve:
    """Recall and false positives an hour of one class at falling thresholds of the calibrated score."""

    threshold: tuple[float, ...]
    fp_per_hour: tuple[float, ...]
    recall: tuple[float, ...]
    data: str  # one sentence: which recordings, how many hours and events, which matching


# Field names in model files and run folders that were written before the fields were renamed: {old name: new name} of a
# model config ("config"), of one class's decoding, and of the parameters in run.json ("run").
FORMER_NAMES: dict[str, dict[str, str]] = {
    "config": {"overlap": "call_overlap"},
    "decoding": {
        "edge": "edge_ratio",
        "split": "valley_ratio",
        "lasting": "sustain_weight",
        "crowd": "density_penalty",
        "overlap": "overlap_threshold",
    },
    "run": {"overlap": "window_overlap"},
}
BY_CLASS: dict[str, type] = {"decoding": Decoding, "calibration": Calibration, "curves": OperatingCurve}
RUMBLE_DECODING = Decoding(
    threshold=0.6,
    smooth_s=0.96,
    edge_ratio=0.5,
    valley_ratio=0.88,
    sustain_weight=0.5,
    density_penalty=0.5,  # less than for shots: elephants answer each other
    overlap_threshold=0.05,
    min_duration_s=0.6,
    low_hz=10.0,
    high_hz=150.0,
)
GUNSHOT_DECODING = Decoding(threshold=0.7, edge_ratio=0.5, density_penalty=1.0, low_hz=80.0, high_hz=2000.0)
DECODING = {"rumble": RUMBLE_DECODING, "gunshot": GUNSHOT_DECODING}


# The front end of the bundled model and of its rivals: 20.48 s at 4 kHz become 512 frames of 128 bands, of which 96
# resolve 2-4 Hz below 250 Hz. Their window is 1.02 s long: a new one every 0.16 s loses nothing.
ELEPHANT_FRONTEND: dict[str, Any] = {
    "sample_rate": 4000,
    "window_samples": 81920,
    "frontend": "two-resolution",
    "n_fft": 4096,
    "hop_length": 160,
    "n_mels": 128,
    "low_bands": 96,
    "fmin": 8.0,
    "split_hz": 250.0,
    "long_every": 4,
    "short_n_fft": 256,
    "short_fmin": 80.0,
    "fmax": 1900.0,
    "image_frames": 512,
    "in_chans": 2,
    "clip_pooling": "max",
}
FRONTEND_CHANNELS = {"mel": 1, "pcen": 1, "kaldi": 1, "two-resolution": 2}


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What every architecture has in common: classes, front end, time geometry, decoding.

    An architecture's own config adds its fields, `steps` and `presets`.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {}

    architecture: str
    classes: tuple[str, ...] = LABELS
    # Waveform and front end
    sample_rate: int = 32000
    window_samples: int = 320000  # the length the model is trained on
    frontend: str = "mel"  # "mel": the paper's; "pcen"; "kaldi": AST's; "two-resolution": see models/frontend.py
    n_fft: int = 1024
    hop_length: int = 320
    n_mels: int = 64  # bands of the image, whatever their spacing
    fmin: float = 50.0
    fmax: float = 14000.0
    low_bands: int = 0  # two-resolution only: how many of the bands come from the long window
    split_hz: float = 250.0  # two-resolution only: the highest frequency of the long window
    long_every: int = 1  # two-resolution only: frames from one long window to the next; those between repeat it
    short_n_fft: int = 256  # two-resolution only: the short window, samples
    short_fmin: float = 80.0  # two-resolution only: the lowest frequency of the short window
    # two-resolution only: where a band's floor lies among its levels in a window; a call may fill two thirds of one
    floor_quantile: float = 0.3
    image_frames: int = 1024
    in_chans: int = 1
    # Output
    output_frames: int = 1024
    clip_pooling: str = "mean"  # of the steps' logits; "max" suits events much shorter than the window
    decoding: dict[str, Decoding] = field(default_factory=lambda: dict(DECODING))
    calibration: dict[str, Calibration] = field(default_factory=dict)  # a class without: its scores are left raw
    curves: dict[str, OperatingCurve] = field(default_factory=dict)  # a class without: no threshold by false positives

    def __post_init__(self) -> None:
        if self.frontend not in FRONTEND_CHANNELS:
            raise LoxoError(f"Unknown front end {self.frontend!r}: use one of {', '.join(FRONTEND_CHANNELS)}.")
        if self.in_chans != FRONTEND_CHANNELS[self.frontend]:
            raise LoxoError(f"in_chans is {self.in_chans}, but the front end {self.frontend!r} gives another number.")
        if self.image_frames % self.long_every:
            raise LoxoError(f"image_frames ({self.image_frames}) must be a multiple of long_every ({self.long_every}).")
        if not 0 <= self.floor_quantile <= 1:
            raise LoxoError(f"floor_quantile is {self.floor_quantile}; it must be between 0 and 1.")
        if self.clip_pooling not in ("mean", "max"):
            raise LoxoError(f"Unknown clip_pooling {self.clip_pooling!r}: use 'mean' or 'max'.")
        if self.window_samples % self.steps:
            raise LoxoError(f"window_samples ({self.window_samples}) must be a multiple of the {self.steps} steps.")
        if self.output_frames % self.steps:
            raise LoxoError(f"output_frames ({self.output_frames}) must be a multiple of the {self.steps} steps.")

    # -- geometry: ask the config, never recompute it elsewhere

    @property
    def steps(self) -> int:
        """Distinct time steps of the output in one window."""
        raise NotImplementedError

    @property
    def step_samples(self) -> int:
        """Samples that one step stands for: step k of a window covers [k, k + 1) x step_samples."""
        return self.window_samples // self.steps

    @property
    def stride_steps(self) -> int:
        """On a recording, windows begin at multiples of so many steps: those of one token."""
        return 1

    # -- presets and JSON

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """A named config, any field changed by its name. Raises LoxoError for an unknown preset or field."""
        if name not in cls.presets:
            raise LoxoError(f"No preset is called {name!r}. There are: {', '.join(sorted(cls.presets))}.")
        return cls._from_fields({**cls.presets[name], **changes})

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the rows of logits and scores: the classes, and whatever else an architecture gives after them."""
        return self.classes

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of to_dict, also for a file of an earlier version (FORMER_NAMES).

        Raises LoxoError for a field this version does not know.
        """
        fields = current_names("config", values)
        if "decoding" in fields:
            fields["decoding"] = decoding_with_current_names(fields["decoding"])
        return cls._from_fields(fields)

    @classmethod
    def _from_fields(cls, values: dict[str, Any]) -> Self:
        """A config from values under the current field names; lists become tuples."""
        known = {f.name for f in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise LoxoError(
                f"Unknown model config field(s) {', '.join(unknown)}; known are {', '.join(sorted(known))}."
            )
        plain = {key: _tuples(value) for key, value in values.items() if key not in BY_CLASS}
        for name, kind in BY_CLASS.items():
            if name in values:
                plain[name] = {
                    label: value if isinstance(value, kind) else kind(**{k: _tuples(v) for k, v in value.items()})
                    for label, value in values[name].items()
                }
        return cls(**plain)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def current_names(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values, with the former field names of this kind (FORMER_NAMES) replaced by the current ones."""
    names = FORMER_NAMES[kind]
    return {names.get(name, name): value for name, value in values.items()}


def decoding_with_current_names(decoding: Mapping[str, Any]) -> dict[str, Any]:
    """Decoding parameters by class, under their current names. A value that is a Decoding stays as it is."""
    return {
        label: value if isinstance(value, Decoding) else current_names("decoding", value)
        for label, value in decoding.items()
    }


def _tuples(value: Any) -> Any:
    """JSON knows lists only; the config's sequences are tuples so that it can be compared and hashed."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value
