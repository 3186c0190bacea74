"""The keys of the config of a training run: one dataclass per section.

Each key has its type, default, limits and meaning here and nowhere else. A config checks them when it is made. A YAML
file and `key=value` words on the command line set the same keys. Nested keys have dotted names (`augment.mixup`).
`config_io.py` reads them. Paths are relative to the folder in which the command runs.
"""

# ruff: noqa: RUF009 (`key` makes a dataclass field)

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from loxo.engine.fields import check_fields, key
from loxo.errors import LoxoError

SPLITS = ("recording", "site", "day", "time")
PRECISIONS = ("auto", "bf16-mixed", "32-true")
OPTIMISERS = ("muon", "adamw")
MARGINAL = ("keep", "ignore", "drop")
CLIP_LEVEL = ("clip", "event")
EDGES = ("hard", "soft", "doubled")

# Keys that were renamed: {former name: present name}. Run folders of earlier versions contain the former names.
FORMER_NAMES = {
    "steps": "iterations",
    "epoch_steps": "validation_interval",
    "checkpoint_steps": "checkpoint_interval",
    "log.pictures": "log.plots",
    "model.overlap": "model.call_overlap",
}


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Training data: windows with simulated calls, windows from your recordings, or both."""

    backgrounds: str | None = key(
        None, "recordings without calls: a folder, a text file with paths, or a manifest.csv; null: synthetic noise"
    )
    tables: tuple[str, ...] = key((), "tables of events in your recordings (Raven, CSV or Audacity), or folders")
    recordings: tuple[str, ...] = key((), "folders of the recordings that the tables name; s3:// and https:// too")
    simulated: float | None = key(
        None, "fraction of windows with simulated calls; null: 0 if there are tables, else 1", min=0, max=1
    )
    label_column: str | None = key(None, "column of the tables with the label; null: found by its usual names")
    label: str | None = key(None, "label for every event, in place of the labels in the tables; null: keep theirs")
    labels: dict[str, str] = key({}, "labels in the tables and the class of each, as {RUM: rumble}")
    rename: dict[str, str] = key({}, "parts of file names in the tables and their names on disk, as {dzan: dz}")
    marginal: str = key(
        "keep",
        "events that the annotator marked as doubtful. keep: train on them; ignore: exclude them from loss and "
        "metrics; drop: treat them as background",
        choices=MARGINAL,
    )
    clip_level: str = key(
        "clip",
        "events that cover their whole recording. clip: an event is somewhere in the recording; its steps are not in "
        "the loss, and the whole window is supervised; event: the recording was cut to the event",
        choices=CLIP_LEVEL,
    )
    pause: float = key(
        0.1,
        "pause in the targets before an onset within a call, so that calls that overlap are separated. Its length is "
        "this fraction of the time since the previous onset, at most 0.3 s",
        min=0,
        max=0.5,
    )
    edges: str | None = key(
        None,
        "target of a step at an event's border. hard: 1 if the event covers half of the step, as in evaluation; soft: "
        "the covered fraction; doubled: twice that, at most 1; null: hard for steps of up to 0.1 s, else doubled",
        choices=EDGES,
    )
    background_share: float = key(0.5, "fraction of windows from recordings that contain no event", min=0, max=1)
    hard_negatives: tuple[str, ...] = key((), "tables of hard negatives: spans without calls that sound like one")
    hard_negative_share: float = key(
        0.0, "fraction of windows from recordings that contain a hard negative", min=0, max=1
    )
    channel: int | None = key(None, "channel of the recordings, from 0; null: the mean of all channels", min=0)
    searched: tuple[str, ...] = key(
        (),
        "tables of the spans that were searched for events (recording, start_s, end_s): the time outside them is "
        "excluded from loss and metrics, except annotated events; empty: the recordings in the tables were searched "
        "completely",
    )
    annotated: tuple[str, ...] = key(
        (),
        "classes that the tables annotate: in windows from recordings, the other classes are excluded from loss and "
        "metrics; empty: all classes",
    )
    own_backgrounds: bool = key(
        False, "simulated windows have spans without events of your recordings as backgrounds (with data.tables)"
    )
    split: str = key(
        "recording",
        "unit that the training and validation split never divides; time: the end of each recording is for validation",
        choices=SPLITS,
    )
    split_seed: int = key(
        3, "random seed of the split; independent of `seed`, so that later runs can keep the same split", min=0
    )
    validation_share: float = key(
        0.06, "fraction of the background sites and of the recordings that is used for validation only", min=0, max=0.9
    )
    folds: int | None = key(
        None,
        "number of runs of a cross-validation: each validates on another part of the recordings, separated by `split`; "
        "0: one run for each recording, site or day; null: a single run",
        min=0,
    )
    fold: int | None = key(
        None, "the part, from 1 to `folds`, that a single run of a cross-validation validates on", min=1
    )
    calls: int | None = key(
        None,
        "number of annotated events of each class to train on, chosen at random; the others are excluded from loss and "
        "metrics; null: all",
        min=1,
    )
    terms: str | None = key(None, "licence and terms of the data, for the model card", resumable=True)
    validation_windows: int = key(256, "number of validation windows; they are the same at each validation", min=1)

    def __post_init__(self) -> None:
        check_fields(self, "data.")


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Random changes to the training windows. Everything is off by default."""

    gain_db: float = key(0.0, "largest random gain, up or down, in dB", min=0, max=60)
    shift: float = key(0.0, "largest circular shift in time, as a fraction of the window", min=0, max=1)
    filter_db: float = key(0.0, "largest gain, up or down, of a smooth random filter, in dB", min=0, max=60)
    background: float = key(0.0, "probability that another background is added", min=0, max=1)
    background_snr_db: tuple[float, float] = key(
        (0.0, 20.0), "level of the window relative to the added background, in dB: lowest, highest"
    )
    mixup: float = key(
        0.0, "probability that a window is mixed with another one of its batch, targets included", min=0, max=1
    )
    mixup_alpha: float = key(0.5, "parameter of the beta distribution of the mixing weight", min=0.01)
    time_masks: int = key(0, "number of time masks (SpecAugment)", min=0)
    time_mask_share: float = key(0.04, "largest width of a time mask, as a fraction of the window", min=0, max=1)
    band_masks: int = key(0, "number of frequency band masks (SpecAugment)", min=0)
    band_mask_share: float = key(0.1, "largest width of a band mask, as a fraction of the bands", min=0, max=1)

    def __post_init__(self) -> None:
        check_fields(self, "augment.")
        lowest, highest = self.background_snr_db
        if lowest > highest:
            raise LoxoError(f"augment.background_snr_db: {lowest:g} is above {highest:g}; give the lowest level first.")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """The loss: a frame-wise term and a clip-wise term."""

    kind: str = key("bce", "binary cross-entropy: plain, focal or asymmetric", choices=("bce", "focal", "asymmetric"))
    clip_weight: float = key(0.1, "weight of the clip-wise term", min=0)
    pause_weight: float = key(8.0, "weight of a step in a pause between overlapping calls (data.pause)", min=0)
    overlap_weight: float = key(
        1.0, "weight of the loss of the call overlap outputs, where the model has them (model.call_overlap)", min=0
    )
    gamma: float = key(
        2.0, "focal: exponent that reduces the weight of easy steps; asymmetric: of easy negatives", min=0
    )
    positive_gamma: float = key(0.0, "asymmetric: exponent that reduces the weight of easy positives", min=0)
    margin: float = key(0.05, "asymmetric: negatives with a lower probability have no loss", min=0, max=0.9)

    def __post_init__(self) -> None:
        check_fields(self, "loss.")


@dataclass(frozen=True, kw_only=True)
class DistilConfig:
    """Distillation: the model also learns the outputs of other models (teachers)."""

    teachers: tuple[str, ...] = key(
        (), "models whose mean output is learnt in addition to the targets: names of bundled models, or model files"
    )
    share: float = key(0.5, "weight of the teachers in the loss; the targets have the remaining weight", min=0, max=1)

    def __post_init__(self) -> None:
        check_fields(self, "distil.")


@dataclass(frozen=True, kw_only=True)
class LogConfig:
    """Plots and curves for other programs."""

    plots: int = key(
        4,
        "number of validation windows that are plotted with targets and scores at each validation",
        min=0,
        resumable=True,
    )
    tensorboard: bool = key(True, "write the curves for TensorBoard", resumable=True)
    wandb: bool = key(False, "send the curves to Weights & Biases, which must be installed", resumable=True)

    def __post_init__(self) -> None:
        check_fields(self, "log.")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Everything that defines a training run, except its folder."""

    preset: str = key("default", "architecture and size: default, elephants-4k, ast-elephants, crnn, ...")
    model: dict[str, Any] = key({}, "fields of the preset to change, as {embed_dim: 16}; all fields are listed below")
    init_from: str | None = key(
        None, "initial weights: default, or a file of HTS-AT, Swin, CLAP, AST or Loxo; null: random weights"
    )
    start_share: float = key(
        0.0, "fraction of the initial weights (init_from) in the mean with the trained weights", min=0, max=0.9
    )
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    distil: DistilConfig = field(default_factory=DistilConfig)
    iterations: int = key(5600, "number of training iterations (updates of the weights)", min=1)
    batch_size: int = key(16, "windows in a batch, per device", min=1)
    accumulate: int = key(1, "batches per iteration: their gradients are added", min=1)
    learning_rate: float = key(1.5e-3, "highest learning rate, after the warm-up; then cosine decay to 0", min=0)
    optimiser: str = key(
        "muon", "optimiser for hidden weight matrices; all other parameters use AdamW", choices=OPTIMISERS
    )
    muon_rate: float | None = key(
        None, "Muon's learning rate divided by AdamW's; null: 3 with random weights, 1 with init_from", min=0
    )
    warmup: int = key(300, "iterations of linear warm-up, limited to a tenth of all iterations", min=0)
    weight_decay: float = key(
        0.05, "weight decay, times the learning rate; not for norms, biases and position tables", min=0
    )
    average_decay: float = key(
        0.998,
        "highest decay of the moving average of the weights; after n iterations at most (1 + n) / (10 + n). The "
        "average or the weights themselves become the model",
        min=0,
        max=1,
    )
    precision: str = key(
        "auto", "Lightning's; auto: bf16-mixed if the device supports it in hardware, else 32-true", choices=PRECISIONS
    )
    validation_interval: int = key(250, "iterations between two validations", min=1)
    checkpoint_interval: int = key(
        50, "iterations between two checkpoints: the most that a killed run can lose", min=1, resumable=True
    )
    patience: int = key(
        0, "validations without a higher event AP before training stops; 0: training does not stop early", min=0
    )
    seed: int = key(3, "random seed of the initial weights and of the windows", min=0)
    workers: int = key(1, "processes that prepare windows", min=0, resumable=True)
    accelerator: str = key("auto", "auto, cpu, cuda or mps", resumable=True)
    devices: int = key(1, "number of GPUs, each with its own batches; -1: all of them", min=-1)
    strategy: str = key("auto", "Lightning's strategy for several devices: auto, ddp, ...", resumable=True)
    log: LogConfig = field(default_factory=LogConfig)

    def __post_init__(self) -> None:
        check_fields(self)
