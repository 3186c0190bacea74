"""Everything that defines a training run, once: the keys of a config file, of the command line and of the record.

A key has its type, default, limits and meaning in the dataclasses below and nowhere else. A YAML file and `key=value`
words give the same keys, nested ones with dots (`augment.mixup`). An unknown key, a value of another type or outside
its limits is a LoxoError that names key and value. Paths are relative to the folder in which the command runs.
"""

# ruff: noqa: RUF009 (`key` makes a field)

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SPLITS = ("recording", "site", "day")
PRECISIONS = ("auto", "bf16-mixed", "32-true")
OPTIMISERS = ("muon", "adamw")
MARGINAL = ("keep", "ignore", "drop")
EDGES = ("hard", "soft", "doubled")


def key(
    default: Any,
    doc: str,
    *,
    least: float | None = None,
    most: float | None = None,
    among: tuple[str, ...] = (),
    free: bool = False,
) -> Any:
    """A field of the schema. `free`: may differ when a run is resumed, since it does not change what comes out."""
    metadata = {"doc": doc, "least": least, "most": most, "among": among, "free": free}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Windows with simulated calls in backgrounds, windows of a user's recordings, or both."""

    backgrounds: str | None = key(
        None, "recordings without calls: a folder, a text file that lists them, or a manifest.csv; null: made-up noise"
    )
    tables: tuple[str, ...] = key((), "tables of events in your recordings: Raven, CSV or Audacity; or their folders")
    recordings: tuple[str, ...] = key((), "folders of the recordings that the tables speak of; s3:// and https:// too")
    simulated: float | None = key(
        None, "share of windows with simulated calls; null: 0 where tables are given, else 1", least=0, most=1
    )
    label_column: str | None = key(None, "column of the tables that holds the label; null: found by its name")
    label: str | None = key(None, "label of every event, whatever the tables say; null: what they say")
    labels: dict[str, str] = key({}, "labels of the tables and the class that each is, as {RUM: rumble}")
    rename: dict[str, str] = key({}, "parts of file names in the tables and what they are on disk, as {dzan: dz}")
    marginal: str = key(
        "keep", "events that the annotator marked as doubtful: events like others, not judged, or none", among=MARGINAL
    )
    pause: float = key(
        0.1,
        "share of the time between two onsets that targets leave out before the second, so that calls that overlap "
        "can be told apart; at most 0.3 s",
        least=0,
        most=0.5,
    )
    edges: str | None = key(
        None,
        "a step's target at an event's border. hard: 1 where the event covers half of it, as in evaluation; soft: the "
        "share covered; doubled: twice that, at most 1; null: hard for steps of up to 0.1 s, else doubled",
        among=EDGES,
    )
    background_share: float = key(0.5, "share of the recorded windows that hold no event", least=0, most=1)
    hard_negatives: tuple[str, ...] = key((), "tables of stretches that hold no event but sound as if they did")
    hard_negative_share: float = key(0.0, "share of the recorded windows that show one of them", least=0, most=1)
    channel: int | None = key(None, "channel of the recordings, from 0; null: the mean of all", least=0)
    split: str = key("recording", "what stays on one side of the split into training and validation", among=SPLITS)
    split_seed: int = key(
        3, "of that split; apart from `seed`, so that runs that go on from each other keep the same things out", least=0
    )
    validation_share: float = key(
        0.06, "share of background sites and of recordings that is kept out of training", least=0, most=0.9
    )
    validation_windows: int = key(256, "fixed windows that are judged at each validation", least=1)


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Changes to training windows, drawn anew for each; everything is off by default."""

    gain_db: float = key(0.0, "louder or softer by up to this", least=0, most=60)
    shift: float = key(0.0, "rolled in time by up to this share of the window", least=0, most=1)
    filter_db: float = key(0.0, "a smooth random filter of up to this gain in either direction", least=0, most=60)
    background: float = key(0.0, "chance that more background is mixed in", least=0, most=1)
    background_snr_db: tuple[float, float] = key((0.0, 20.0), "the window's level over it: lowest, highest")
    mixup: float = key(0.0, "chance that a window is mixed with another of its batch, labels too", least=0, most=1)
    mixup_alpha: float = key(0.5, "of the beta distribution of the mixture's share", least=0.01)
    time_masks: int = key(0, "stretches of time that are hidden", least=0)
    time_mask_share: float = key(0.04, "longest of them, as a share of the window", least=0, most=1)
    band_masks: int = key(0, "stretches of bands that are hidden", least=0)
    band_mask_share: float = key(0.1, "widest of them, as a share of the bands", least=0, most=1)


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What is minimised: frame by frame, and for the clip as a whole."""

    kind: str = key("bce", "binary cross-entropy, plain, focal or asymmetric", among=("bce", "focal", "asymmetric"))
    clip_weight: float = key(0.1, "share of the clip-wise loss", least=0)
    pause_weight: float = key(8.0, "weight of a step in a pause between calls that overlap (data.pause)", least=0)
    overlap_weight: float = key(
        1.0, "weight of the loss of where two calls of a class sound at once (model.call_overlap)", least=0
    )
    gamma: float = key(2.0, "focal: how much easy steps are weighed down; asymmetric: easy negatives", least=0)
    positive_gamma: float = key(0.0, "asymmetric: how much easy positives are weighed down", least=0)
    margin: float = key(0.05, "asymmetric: negatives that score less do not count", least=0, most=0.9)


@dataclass(frozen=True, kw_only=True)
class DistilConfig:
    """Other models whose answer is learnt beside the truth."""

    teachers: tuple[str, ...] = key(
        (), "models whose mean answer is learnt beside the truth, such as default or the file of a larger one"
    )
    share: float = key(0.5, "of the loss that asks for that answer; the truth has the rest", least=0, most=1)


@dataclass(frozen=True, kw_only=True)
class LogConfig:
    """What the run leaves to look at, apart from its curves."""

    pictures: int = key(4, "validation windows drawn with targets and scores at each validation", least=0, free=True)
    tensorboard: bool = key(True, "write TensorBoard's files too", free=True)
    wandb: bool = key(False, "send the curves to Weights & Biases too, where it is installed", free=True)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """What defines a training run, apart from its folder."""

    preset: str = key("default", "architecture and size: default, elephants-4k, ast-elephants, crnn, ...")
    model: dict[str, Any] = key({}, "fields of the preset to change, as {embed_dim: 16}; see loxo info default")
    init_from: str | None = key(
        None, "weights to start from: default, or a file of HTS-AT, Swin, CLAP, AST or Loxo; null: at random"
    )
    start_share: float = key(
        0.0, "share of init_from's weights in the mean with the trained ones that becomes the model", least=0, most=0.9
    )
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    distil: DistilConfig = field(default_factory=DistilConfig)
    steps: int = key(5600, "optimiser steps", least=1)
    batch_size: int = key(16, "windows that a device takes at once", least=1)
    accumulate: int = key(1, "batches that make one step", least=1)
    learning_rate: float = key(1.5e-3, "the highest, after the warm-up; then it falls as a cosine to 0", least=0)
    optimiser: str = key("muon", "of the matrices inside the network; AdamW takes the rest", among=OPTIMISERS)
    muon_rate: float | None = key(
        None, "Muon's learning rate over that of AdamW; null: 3 from nothing, 1 from weights (init_from)", least=0
    )
    warmup: int = key(300, "steps of rising learning rate, at most a tenth of all", least=0)
    weight_decay: float = key(0.05, "times the learning rate; not of norms, biases and position tables", least=0)
    average_decay: float = key(0.998, "of the moving average of weights that becomes the model", least=0, most=1)
    precision: str = key(
        "auto", "Lightning's; auto: bf16-mixed where the device computes it in hardware, else 32-true", among=PRECISIONS
    )
    epoch_steps: int = key(250, "steps between validations", least=1)
    checkpoint_steps: int = key(50, "steps between checkpoints: what a kill can cost", least=1, free=True)
    patience: int = key(0, "validations without a better event AP before training stops; 0: never", least=0)
    seed: int = key(3, "of weights and windows", least=0)
    workers: int = key(1, "processes that make windows", least=0, free=True)
    accelerator: str = key("auto", "auto, cpu, cuda or mps", free=True)
    devices: int = key(1, "GPUs, each with its own batches; -1: all there are", least=-1)
    strategy: str = key("auto", "Lightning's, for several devices: auto, ddp, ...", free=True)
    log: LogConfig = field(default_factory=LogConfig)
