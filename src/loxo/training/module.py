"""What a step does: loss, optimiser, schedule and the moving average of the weights, around a Loxo model."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loxo.network.base import CLIP_POOLING, FrameModel
from loxo.network.images import images
from loxo.training import augment
from loxo.training.config import LossConfig, TrainingConfig
from loxo.training.muon import MuonAdamW
from loxo.training.targets import IGNORED, PAUSE
from loxo.training.teachers import Teachers

MUON_FROM_NOTHING, MUON_FROM_WEIGHTS = 3.0, 1.0  # measured in docs/experiments.md
TABLES = ("bias_table", "position_embeddings", "token")  # parameters of no layer: no weight decay


class FrameTraining(nn.Module):
    """A model, what is done to its batches and its loss as one module, so that all of it runs in one precision."""

    def __init__(self, model: FrameModel, config: TrainingConfig, teachers: Teachers | None = None) -> None:
        super().__init__()
        self.model, self.teachers = model, teachers
        self.loss, self.changes, self.teachers_share = config.loss, config.augment, config.distil.share

    def forward(self, waveform: Tensor, targets: Tensor, rng: np.random.Generator) -> Tensor:
        """The loss, a scalar, of waveforms (batch, samples) and targets (batch, rows, steps).

        Teachers hear what the model hears, with nothing hidden, and have a say in every step of its classes but those
        at the events' borders.
        """
        changes, classes = self.changes, len(self.model.config.classes)
        if changes.mixup:
            waveform, targets = augment.mixup(waveform, targets, rng, changes.mixup, changes.mixup_alpha, classes)
        image = images(self.model, waveform)
        bands = self.model.scaled(image)  # (batch, channels, n_mels, frames)
        if changes.time_masks or changes.band_masks:
            batch, _, rows, frames = bands.shape
            times = augment.draw_masks(rng, batch, frames, changes.time_masks, changes.time_mask_share)
            hidden = augment.draw_masks(rng, batch, rows, changes.band_masks, changes.band_mask_share)
            bands = augment.hide(bands, times, hidden)
        logits, _ = self.model.network(bands)
        logits, overlaps = logits.float().tensor_split((classes,), 1)
        loss = window_loss(logits, targets[:, :classes], self.loss, self.model.config.clip_pooling)
        if self.teachers is not None:
            answers = with_true_borders(self.teachers(waveform, image), targets[:, :classes])
            answer = F.binary_cross_entropy_with_logits(logits, answers)
            loss = torch.lerp(loss, answer, self.teachers_share)
        if overlaps.shape[1]:
            loss = loss + self.loss.overlap_weight * overlap_loss(overlaps, targets[:, classes:])
        return loss


def with_true_borders(answers: Tensor, targets: Tensor) -> Tensor:
    """Teachers' scores, and the targets in each step whose target is not that of both its neighbours; all (batch,
    classes, steps).

    Where exactly an event begins and ends the truth knows better than any teacher, and a teacher that learnt other
    edges (`data.edges`) would teach those.
    """
    changes = targets.diff(dim=2) != 0
    border = (F.pad(changes, (1, 0)) | F.pad(changes, (0, 1))) & (targets != IGNORED)
    return torch.where(border, targets.clamp_min(0), answers)


def overlap_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """The mean over all steps of the rows (batch, classes, steps) that tell where two events sound at once."""
    entropy = F.binary_cross_entropy_with_logits(logits, targets.clamp_min(0), reduction="none")
    return _mean_where_sure(entropy, targets)


def window_loss(logits: Tensor, targets: Tensor, config: LossConfig, pooling: str) -> Tensor:
    """The mean over all steps, and `clip_weight` times that over all clips; both of logits (batch, classes, steps).

    A clip is positive as much as its most positive step. Steps that are to be ignored count in neither; a clip with
    such steps counts only if another one is surely positive. A step of a PAUSE is a negative of weight `pause_weight`.
    """
    clip_targets = targets.amax(2)
    unsure = (targets == IGNORED).any(2) & (clip_targets < 1)
    clip_targets = clip_targets.masked_fill(unsure, IGNORED)
    weights = torch.where(targets == PAUSE, config.pause_weight, 1.0)
    frames = _mean_where_sure(weights * loss_of(logits, targets.clamp_min(0), config), targets)
    clips = _mean_where_sure(loss_of(CLIP_POOLING[pooling](logits), clip_targets.clamp_min(0), config), clip_targets)
    return frames + config.clip_weight * clips


def loss_of(logits: Tensor, targets: Tensor, config: LossConfig) -> Tensor:
    """Of each element, on logits, so that a confident mistake keeps its gradient. Targets may be anything from 0 to 1.

    focal (Lin et al. 2017): cross-entropy weighed by |target - p|^gamma. asymmetric (Ridnik et al. 2021): positives and
    negatives have a gamma each, and a negative's p is lowered by `margin` first; a soft target is a share of both.
    """
    if config.kind == "bce":
        return F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    p = logits.sigmoid()
    if config.kind == "focal":
        entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        return (targets - p).abs() ** config.gamma * entropy
    lowered = (p - config.margin).clamp_min(0)
    positive = (1 - p) ** config.positive_gamma * -F.logsigmoid(logits)
    negative = lowered**config.gamma * -torch.log1p(-lowered.clamp_max(1 - 1e-6))
    return targets * positive + (1 - targets) * negative


def _mean_where_sure(values: Tensor, targets: Tensor) -> Tensor:
    sure = targets != IGNORED
    return values.mean() if sure.all() else (values * sure).sum() / sure.sum().clamp_min(1)


class WeightAverage:
    """The exponential moving average of a model's weights; `model` is ready to use, in eval mode.

    The first update copies. Tables of whole numbers are always copied: they have no mean.
    """

    def __init__(self, model: FrameModel, decay: float) -> None:
        self.model, self.decay = copy.deepcopy(model).eval().requires_grad_(False), decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model: FrameModel) -> None:
        own = [*self.model.parameters(), *self.model.buffers()]
        now = [*model.parameters(), *model.buffers()]
        for mean, value in zip(own, now, strict=True):
            if self.updates and mean.is_floating_point():
                mean.lerp_(value, 1 - self.decay)
            else:
                mean.copy_(value)
        self.updates += 1


@torch.no_grad()
def mean_with(model: FrameModel, others: dict[str, Tensor], share: float) -> FrameModel:
    """A copy of `model` in which each weight is the mean of its own and, by `share`, that in `others`.

    Between two ends of one training the mean often generalises better than either (Wortsman et al. 2022, arXiv
    2109.01903).
    """
    mean = copy.deepcopy(model)
    for name, value in mean.state_dict().items():
        if value.is_floating_point():
            value.lerp_(others[name].to(value.device), share)
    return mean


def build_optimiser(
    model: FrameModel, config: TrainingConfig
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    """Muon for the matrices between a network's ends, or AdamW for these too, and AdamW for all else; no decay on
    norms, biases and position tables. Linear warm-up, then a cosine to zero, by step."""
    matrices: list[nn.Parameter] = []
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        plain = parameter.ndim < 2 or any(part in name for part in TABLES)
        answers = any(name.startswith(f"{layer}.") for layer in model.output_layers)
        (free if plain else decayed if answers or config.optimiser == "adamw" else matrices).append(parameter)
    rate, decay = config.learning_rate, config.weight_decay
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": decay},
        {"params": free, "weight_decay": 0.0},
    ]
    if matrices:
        usual = MUON_FROM_WEIGHTS if config.init_from else MUON_FROM_NOTHING
        times = usual if config.muon_rate is None else config.muon_rate
        groups.append({"params": matrices, "weight_decay": decay, "lr": rate * times, "matrices": True})
    optimiser = MuonAdamW(groups, lr=rate, fused=True)
    warmup = min(config.warmup, max(1, config.steps // 10))

    def scale(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        done = (step - warmup) / max(1, config.steps - warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, scale)
