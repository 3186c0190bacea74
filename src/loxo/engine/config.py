"""The config of a model: front end, architecture, classes, time geometry, decoding. Everything except the weights.

The config is stored as JSON in the model file, so that training and detection share one front end, one normalisation
and one time grid. All times in samples or frames are integers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from loxo.errors import LoxoError

LABELS = ("rumble", "gunshot")
# A class's name with this suffix is the name of its overlap output: the probability that two of its events overlap.
OVERLAP_SUFFIX = " overlap"


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """Parameters that turn the frame scores of one class into events. Durations in seconds, frequencies in Hz.

    An event is a peak of the smoothed scores and the steps around it, down to `edge_ratio` times the peak. Its onset
    and offset therefore do not depend on `threshold`, which only selects the events that are listed.
    """

    threshold: float = 0.5  # lowest score of a listed event
    smooth_s: float = 0.0  # length of the running mean over frame scores, rounded to an odd number of steps; 0: none
    edge_ratio: float = 0.5  # an event extends while the score is above this fraction of its peak
    # Two peaks are two events if the valley between them is at most this fraction of the lower peak.
    valley_ratio: float = 0.0
    # Weight (0-1) of an event's sustained level against its peak in the event score. The sustained level is the score
    # that four fifths of the event's frames reach.
    sustain_weight: float = 0.0
    # Exponent of the penalty on the odds of an event with many similar events within one and five minutes; 0: none.
    density_penalty: float = 0.0
    # Lowest score of the class's overlap output at which one event becomes two; 0: never. A model without overlap
    # outputs ignores it.
    overlap_threshold: float = 0.0
    min_duration_s: float = 0.0  # shorter events are dropped
    # Events closer than this are merged, unless the peak of one is below edge_ratio x the peak of the other.
    merge_gap_s: float = 0.0
    low_hz: float = 0.0  # frequency bounds of the class; an event's own bounds are measured within them
    high_hz: float = 2000.0


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Fraction of true positives among one class's events at a raw score: linear between points, constant outside.

    Fitted after training, on simulated or real validation recordings. Both tuples increase, and both lie in 0-1.
    """

    raw: tuple[float, ...]
    probability: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class OperatingCurve:
    """Recall and false positives per hour of one class, at decreasing thresholds of the calibrated score."""

    threshold: tuple[float, ...]
    fp_per_hour: tuple[float, ...]
    recall: tuple[float, ...]
    data: str  # one sentence: the recordings, the number of hours and events, the matching criterion


# Field names in model files and run folders that were written before the fields were renamed: {old name: new name} for
# a model config ("config"), for one class's decoding ("decoding"), and for the parameters in run.json ("run").
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
    density_penalty=0.5,  # less than for gunshots: elephants answer each other
    overlap_threshold=0.05,
    min_duration_s=0.6,
    low_hz=10.0,
    high_hz=150.0,
)
GUNSHOT_DECODING = Decoding(threshold=0.7, edge_ratio=0.5, density_penalty=1.0, low_hz=80.0, high_hz=2000.0)
DECODING = {"rumble": RUMBLE_DECODING, "gunshot": GUNSHOT_DECODING}


# The front end of the bundled model and of the models it is compared with: 20.48 s at 4 kHz become 512 frames of 128
# bands. 96 of the bands lie below 250 Hz and resolve 2-4 Hz; their window is 1.02 s long, so a hop of 0.16 s is enough.
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
# The front ends, and the number of channels of their images.
FRONTEND_CHANNELS = {"mel": 1, "pcen": 1, "kaldi": 1, "two-resolution": 2}


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The fields that all architectures share: classes, front end, time geometry, decoding.

    The config of an architecture adds its own fields, `steps` and `presets`.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {}

    architecture: str
    classes: tuple[str, ...] = LABELS
    # Waveform and front end
    sample_rate: int = 32000
    window_samples: int = 320000  # the length the model is trained on
    frontend: str = "mel"  # "mel": the paper's; "pcen"; "kaldi": AST's; "two-resolution": see network/frontend.py
    n_fft: int = 1024
    hop_length: int = 320
    n_mels: int = 64  # bands of the image, also where their spacing is not the mel scale
    fmin: float = 50.0  # Hz
    fmax: float = 14000.0
    # Only the front end "two-resolution" reads the next six fields; all other front ends ignore them. It computes the
    # low bands from a long window (n_fft samples) and the other bands from a short one.
    low_bands: int = 0  # number of bands that come from the long window
    split_hz: float = 250.0  # highest frequency of the long window's bands
    long_every: int = 1  # frames from one long window to the next; the frames between repeat its values
    short_n_fft: int = 256  # length of the short window, samples
    short_fmin: float = 80.0  # lowest frequency of the short window's bands, Hz
    floor_quantile: float = 0.3  # quantile of a band's levels in a window that is its noise floor; a call may fill 2/3
    # (end of the fields of "two-resolution")
    image_frames: int = 1024  # frames of the image of one window
    in_chans: int = 1  # channels of the image, see FRONTEND_CHANNELS
    # Output
    output_frames: int = 1024  # frames of framewise_output: each step is repeated output_frames / steps times
    clip_pooling: str = "mean"  # over the logits of the steps; "max" suits events much shorter than the window
    decoding: dict[str, Decoding] = field(default_factory=lambda: dict(DECODING))
    calibration: dict[str, Calibration] = field(default_factory=dict)  # scores of a class without one stay raw
    curves: dict[str, OperatingCurve] = field(default_factory=dict)  # for thresholds by false positives per hour

    def __post_init__(self) -> None:
        if not self.classes:
            raise LoxoError("A model needs at least one class: give the names in classes.")
        names: set[str] = set()
        for label in self.classes:
            if label in names:
                raise LoxoError(f"classes contains {label!r} twice: give every class a name of its own.")
            names.add(label)
        for label in self.classes:
            if label + OVERLAP_SUFFIX in names:
                raise LoxoError(
                    f"The class {label + OVERLAP_SUFFIX!r} has the name of the overlap output of the class {label!r}: "
                    "give it another name."
                )
        if self.frontend not in FRONTEND_CHANNELS:
            raise LoxoError(f"Unknown front end {self.frontend!r}: use one of {', '.join(FRONTEND_CHANNELS)}.")
        if self.in_chans != FRONTEND_CHANNELS[self.frontend]:
            raise LoxoError(
                f"in_chans is {self.in_chans}, but the image of the front end {self.frontend!r} has "
                f"{FRONTEND_CHANNELS[self.frontend]} channel(s): set in_chans to {FRONTEND_CHANNELS[self.frontend]}."
            )
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

    # -- geometry: use these properties, never recompute them elsewhere

    @property
    def steps(self) -> int:
        """Number of distinct time steps of the output in one window."""
        raise NotImplementedError

    @property
    def step_samples(self) -> int:
        """Samples in one step: step k of a window covers the samples [k, k + 1) x step_samples."""
        return self.window_samples // self.steps

    @property
    def stride_steps(self) -> int:
        """Steps in one token. The windows on a recording start at multiples of it."""
        return 1

    # -- presets and JSON

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """The config of a preset, with fields changed by name. Raises LoxoError for an unknown preset or field."""
        if name not in cls.presets:
            raise LoxoError(f"No preset is called {name!r}. There are: {', '.join(sorted(cls.presets))}.")
        return cls._from_fields({**cls.presets[name], **changes})

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the rows of logits and scores: the classes, then an architecture's further outputs."""
        return self.classes

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of to_dict; also reads a config of an earlier version (FORMER_NAMES).

        Raises LoxoError for a field that this version does not have.
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
    """Lists become tuples: JSON has only lists, and a config needs tuples to be compared."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value
