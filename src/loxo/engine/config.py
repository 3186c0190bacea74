"""The config of a model: front end, architecture, classes, time geometry, decoding. Everything except the weights.

The config is stored as JSON in the model file, so that training and detection share one front end, one normalisation
and one time grid. All times in samples or frames are integers.
"""

# ruff: noqa: RUF009 (`key` makes a dataclass field)

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from loxo.engine.fields import check_fields, from_mapping, key, keys_of
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

    threshold: float = key(0.5, "lowest score of a listed event", min=0, max=1)
    smooth_s: float = key(
        0.0, "length of the running mean over frame scores, rounded to an odd number of steps; 0: none", unit="s", min=0
    )
    edge_ratio: float = key(0.5, "an event extends while the score is above this fraction of its peak", min=0, max=1)
    valley_ratio: float = key(
        0.0,
        "two peaks are two events if the valley between them is at most this fraction of the lower peak",
        min=0,
        max=1,
    )
    sustain_weight: float = key(
        0.0,
        "weight of an event's sustained level against its peak in the event score. The sustained level is the score "
        "that four fifths of the event's frames reach",
        min=0,
        max=1,
    )
    density_penalty: float = key(
        0.0,
        "exponent of the penalty on the odds of an event with many similar events within one and five minutes; 0: none",
        min=0,
    )
    overlap_threshold: float = key(
        0.0,
        "lowest score of the class's overlap output at which one event becomes two; 0: never. A model without overlap "
        "outputs ignores it",
        min=0,
        max=1,
    )
    min_duration_s: float = key(0.0, "shorter events are dropped", unit="s", min=0)
    merge_gap_s: float = key(
        0.0,
        "events closer than this are merged, unless the peak of one is below edge_ratio x the peak of the other",
        unit="s",
        min=0,
    )
    low_hz: float = key(
        0.0, "lower frequency bound of the class; the bounds of an event are measured within it", unit="Hz", min=0
    )
    high_hz: float = key(2000.0, "upper frequency bound of the class", unit="Hz", above=0)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.low_hz >= self.high_hz:
            raise LoxoError(
                f"low_hz ({self.low_hz:g} Hz) must be below high_hz ({self.high_hz:g} Hz). Lower low_hz or raise "
                "high_hz."
            )


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Fraction of true positives among one class's events at a raw score: linear between points, constant outside.

    Fitted after training, on simulated or real validation recordings. Both tuples increase, and both lie in 0-1.
    """

    raw: tuple[float, ...] = key(doc="scores before calibration", min=0, max=1)
    probability: tuple[float, ...] = key(doc="fraction of true positives at these scores", min=0, max=1)

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class OperatingCurve:
    """Recall and false positives per hour of one class, at decreasing thresholds of the calibrated score."""

    threshold: tuple[float, ...] = key(doc="calibrated scores, decreasing", min=0, max=1)
    fp_per_hour: tuple[float, ...] = key(doc="false positives per hour at these thresholds", min=0)
    recall: tuple[float, ...] = key(doc="recall at these thresholds", min=0, max=1)
    data: str = key(doc="one sentence: the recordings, the number of hours and events, the matching criterion")
    fp_sd: tuple[float, ...] = key((), "standard deviations of fp_per_hour; empty: unknown", min=0)
    hours: float = key(0.0, "length of the recordings; 0: unknown", unit="h", min=0)

    def __post_init__(self) -> None:
        check_fields(self)


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
# The front ends (loxo.network.frontend.FRONTENDS), and the number of channels of their images.
FRONTEND_CHANNELS = {"mel": 1, "mel-htk": 1, "pcen": 1, "kaldi": 1, "two-resolution": 2}
TWO_RESOLUTION = "; only for two-resolution"
# Fields of every architecture that describe its output. All other fields of a ModelConfig define the front end.
OUTPUT_FIELDS = {"architecture", "classes", "output_frames", "clip_pooling", "decoding", "calibration", "curves"}
TWO_RESOLUTION_FIELDS = {"low_bands", "split_hz", "long_every", "short_n_fft", "short_fmin", "floor_quantile"}


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The fields that all architectures share: classes, front end, time geometry, decoding.

    The config of an architecture adds its own fields, `steps`, `step_fields`, `presets` and `check`.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    step_fields: ClassVar[tuple[str, ...]] = ()  # the fields from which `steps` is computed

    architecture: str = key(doc="name of the architecture; a preset sets it")
    classes: tuple[str, ...] = key(LABELS, "names of the classes, in the order of the outputs")
    # Waveform and front end
    sample_rate: int = key(
        32000, "sample rate of the waveform. Change window_samples with it, which is in samples", unit="Hz", min=1
    )
    window_samples: int = key(
        320000, "length of the waveform on which the model is trained; a multiple of the steps", unit="samples", min=1
    )
    frontend: str = key(
        "mel",
        "front end. mel: the paper's, log-mel bands; mel-htk: those of CLAP's fusion models; pcen: mel bands with "
        "per-channel energy normalisation; kaldi: AST's; two-resolution: a long window for low bands and a short one "
        "for the others",
        choices=FRONTEND_CHANNELS,
    )
    n_fft: int = key(
        1024,
        "length of the analysis window, of two-resolution the long one; at most window_samples",
        unit="samples",
        min=2,
    )
    hop_length: int = key(
        320,
        "from one frame to the next; at most the analysis window (two-resolution: the short one)",
        unit="samples",
        min=1,
    )
    n_mels: int = key(64, "number of bands of the image, also where their spacing is not the mel scale", min=1)
    fmin: float = key(50.0, "lowest frequency of the bands; below fmax", unit="Hz", min=0)
    fmax: float = key(
        14000.0,
        "highest frequency of the bands. Bands above half the sample rate are empty; two-resolution refuses them",
        unit="Hz",
        above=0,
    )
    low_bands: int = key(
        0, "number of bands that come from the long window; at least 1, below n_mels" + TWO_RESOLUTION, min=0
    )
    split_hz: float = key(
        250.0, "highest frequency of the bands of the long window" + TWO_RESOLUTION, unit="Hz", above=0
    )
    long_every: int = key(
        1, "frames from one long window to the next; the frames between repeat its values" + TWO_RESOLUTION, min=1
    )
    short_n_fft: int = key(256, "length of the short window" + TWO_RESOLUTION, unit="samples", min=2)
    short_fmin: float = key(
        80.0, "lowest frequency of the bands of the short window; below fmax" + TWO_RESOLUTION, unit="Hz", min=0
    )
    floor_quantile: float = key(
        0.3,
        "quantile of a band's levels in a window that is its noise floor; with 0.3 a call may fill two thirds of the "
        "window" + TWO_RESOLUTION,
        min=0,
        max=1,
    )
    image_frames: int = key(
        1024,
        "frames of the image of one window. HTS-AT resizes mel and pcen to it; otherwise window_samples / hop_length",
        min=1,
    )
    in_chans: int = key(1, "channels of the image: 2 for two-resolution, else 1", min=1)
    # Output
    output_frames: int = key(
        1024,
        "frames of framewise_output, a multiple of the steps: each step is repeated output_frames / steps times",
        min=1,
    )
    clip_pooling: str = key(
        "mean",
        "pooling of the logits of the steps for clipwise_output; max suits events much shorter than the window",
        choices=("mean", "max"),
    )
    decoding: dict[str, Decoding] = key(dict(DECODING), "decoding parameters of each class; training fits them")
    calibration: dict[str, Calibration] = key({}, "calibration of each class; scores of a class without one stay raw")
    curves: dict[str, OperatingCurve] = key({}, "recall and false positives per hour of each class by threshold")

    def __post_init__(self) -> None:
        check_fields(self)
        own = keys_of(type(self))["architecture"].default
        if own is not dataclasses.MISSING and self.architecture != own:
            raise LoxoError(
                f"architecture: {self.architecture!r} has other fields than {own!r}. Give a preset instead."
            )
        self._check_classes()
        self._check_frontend()
        self.check()
        for name in ("window_samples", "output_frames"):
            if getattr(self, name) % self.steps:
                raise LoxoError(
                    f"{name} ({getattr(self, name)}) must be a multiple of the {self.steps} steps of a window, which "
                    f"{', '.join(self.step_fields)} give. Use "
                    f"{round(getattr(self, name) / self.steps) * self.steps or self.steps}, or change these fields."
                )

    def check(self) -> None:
        """Checks the fields of an architecture, before `steps` is used. Raises LoxoError with the name of a field."""

    def _check_classes(self) -> None:
        if not self.classes:
            raise LoxoError("classes is empty: a model needs at least one class. Give the names.")
        names: set[str] = set()
        for label in self.classes:
            if not label.strip():
                raise LoxoError("classes contains a blank name: give every class a name.")
            if label in names:
                raise LoxoError(f"classes contains {label!r} twice: give every class a name of its own.")
            names.add(label)
        for label in self.classes:
            if label + OVERLAP_SUFFIX in names:
                raise LoxoError(
                    f"The class {label + OVERLAP_SUFFIX!r} has the name of the overlap output of the class {label!r}: "
                    "give it another name in classes."
                )

    def _check_frontend(self) -> None:
        channels, two = FRONTEND_CHANNELS[self.frontend], self.frontend == "two-resolution"
        if self.in_chans != channels:
            raise LoxoError(
                f"in_chans is {self.in_chans}, but the image of the front end {self.frontend!r} has {channels} "
                f"channel(s): set in_chans to {channels}."
            )
        self._check_order("fmin", "fmax", "Hz")
        if self.fmin >= self.sample_rate / 2:
            raise LoxoError(
                f"fmin ({self.fmin:g} Hz) must be below half the sample rate ({self.sample_rate / 2:g} Hz). Lower "
                "fmin, or raise sample_rate."
            )
        if self.n_fft > self.window_samples:
            raise LoxoError(
                f"n_fft ({self.n_fft} samples) is longer than the window ({self.window_samples} samples): use a "
                "smaller n_fft or a larger window_samples."
            )
        analysis = "short_n_fft" if two else "n_fft"
        if self.hop_length > getattr(self, analysis):
            raise LoxoError(
                f"hop_length ({self.hop_length} samples) is longer than {analysis} ({getattr(self, analysis)} "
                "samples), so the sound between two frames would be lost: use a smaller hop_length."
            )
        if self.image_frames % self.long_every:
            raise LoxoError(
                f"image_frames ({self.image_frames}) must be a multiple of long_every ({self.long_every}). Change one."
            )
        if self.frontend in ("kaldi", "two-resolution"):
            self.check_image_frames()
        if two:
            self._check_order("fmin", "split_hz", "Hz")
            self._check_order("short_fmin", "fmax", "Hz")
            from loxo.engine.filters import check_two_resolution  # imports numpy

            check_two_resolution(self)

    def check_image_frames(self) -> None:
        """Raises LoxoError unless the frames of the front end fill the image, for models that do not resize it."""
        if self.image_frames * self.hop_length != self.window_samples:
            raise LoxoError(
                f"image_frames ({self.image_frames}) must be window_samples / hop_length ({self.window_samples} / "
                f"{self.hop_length} = {self.window_samples / self.hop_length:g}). Change one of the three."
            )

    def _check_order(self, low: str, high: str, unit: str) -> None:
        if getattr(self, low) >= getattr(self, high):
            raise LoxoError(
                f"{low} ({getattr(self, low):g} {unit}) must be below {high} ({getattr(self, high):g} {unit}). Lower "
                f"{low} or raise {high}."
            )

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
        """The config of a preset, with fields changed by name.

        Raises LoxoError for an unknown preset or field, for values that make no sense, and for a sample rate that
        changes the seconds of a window without a new window_samples.
        """
        if name not in cls.presets:
            raise LoxoError(f"No preset is called {name!r}. There are: {', '.join(sorted(cls.presets))}.")
        own = {field: one.default for field, one in keys_of(cls).items()} | cls.presets[name]
        rate, samples = changes.get("sample_rate"), own["window_samples"]
        if rate and rate != own["sample_rate"] and "window_samples" not in changes and isinstance(rate, int | float):
            seconds = samples / own["sample_rate"]
            raise LoxoError(
                f"sample_rate: {rate} Hz would change the window of {samples} samples from {seconds:g} to "
                f"{samples / rate:g} s. Give window_samples too ({round(seconds * rate)} keeps the seconds), and check "
                "hop_length and n_fft, which are also in samples."
            )
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
        """A config from values under the current field names."""
        made: Self = from_mapping(cls, values, f"the config of {keys_of(cls)['architecture'].default}")
        return made

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def changed(name: str, default: Any) -> Any:
    """A shared field with another default, for the config of an architecture."""
    item = next(item for item in dataclasses.fields(ModelConfig) if item.name == name)
    return dataclasses.field(default=default, metadata=item.metadata)


def frontend_fields(config: ModelConfig) -> dict[str, Any]:
    """The fields that define the image of a window: those of the front end and of the window."""
    unused = OUTPUT_FIELDS if config.frontend == "two-resolution" else OUTPUT_FIELDS | TWO_RESOLUTION_FIELDS
    return {f.name: getattr(config, f.name) for f in dataclasses.fields(ModelConfig) if f.name not in unused}


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
