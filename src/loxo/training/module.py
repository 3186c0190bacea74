"""The computation of a training iteration around a Loxo model: loss, optimiser, schedule and average of the weights."""

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
from loxo.training.targets import IGNORED, PAUSE, SOMEWHERE, judged
from loxo.training.teachers import Teachers

# Default learning rate of Muon divided by AdamW's, with random and with given initial weights (docs/experiments.md).
MUON_RATE_RANDOM, MUON_RATE_PRETRAINED = 3.0, 1.0
# Parameters without weight decay, although they have two dimensions: they do not belong to a layer.
NO_DECAY = ("bias_table", "position_embeddings", "token")


class FrameTraining(nn.Module):
    """A model, the augmentation of its batches and its loss as one module, so that all use the same precision."""

    def __init__(self, model: FrameModel, config: TrainingConfig, teachers: Teachers | None = None) -> None:
        super().__init__()
        self.model, self.teachers = model, teachers
        self.loss, self.changes, self.teachers_weight = config.loss, config.augment, config.distil.share

    def forward(self, waveform: Tensor, targets: Tensor, rng: np.random.Generator) -> Tensor:
        """The loss, a scalar, of waveforms (batch, samples) and targets (batch, rows, steps).

        The teachers receive the same input as the model, but without masks. Their scores replace the targets in the
        distillation loss, except at the borders of events.
        """
        changes, classes = self.changes, len(self.model.config.classes)
        if changes.mixup:
            waveform, targets = augment.mixup(waveform, targets, rng, changes.mixup, changes.mixup_alpha, classes)
        image = images(self.model, waveform)
        bands = self.model.scaled(image)  # (batch, channels, n_mels, frames)
        if changes.time_masks or changes.band_masks:
            batch, _, rows, frames = bands.shape
            time_masks = augment.draw_masks(rng, batch, frames, changes.time_masks, changes.time_mask_share)
            band_masks = augment.draw_masks(rng, batch, rows, changes.band_masks, changes.band_mask_share)
            bands = augment.apply_masks(bands, time_masks, band_masks)
        logits, _ = self.model.network(bands)
        logits, overlap_logits = logits.float().tensor_split((classes,), 1)
        loss = window_loss(logits, targets[:, :classes], self.loss, self.model.config.clip_pooling)
        if self.teachers is not None:
            soft_targets = with_targets_at_borders(self.teachers(waveform, image), targets[:, :classes])
            distillation = F.binary_cross_entropy_with_logits(logits, soft_targets)
            loss = torch.lerp(loss, distillation, self.teachers_weight)
        if overlap_logits.shape[1]:
            loss = loss + self.loss.overlap_weight * overlap_loss(overlap_logits, targets[:, classes:])
        return loss


def with_targets_at_borders(scores: Tensor, targets: Tensor) -> Tensor:
    """Scores of teachers, replaced by the targets in steps whose target differs from that of a neighbouring step.

    All are (batch, classes, steps). The targets give the borders of events more exactly than any teacher. A teacher
    that was trained with another value of `data.edges` would also pass on its borders.
    """
    changes = targets.diff(dim=2) != 0
    border = (F.pad(changes, (1, 0)) | F.pad(changes, (0, 1))) & judged(targets)
    return torch.where(border, targets.clamp_min(0), scores)


def overlap_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """The mean loss of the call overlap rows (batch, classes, steps) over all steps."""
    entropy = F.binary_cross_entropy_with_logits(logits, targets.clamp_min(0), reduction="none")
    return _mean_without_ignored(entropy, targets)


def window_loss(logits: Tensor, targets: Tensor, config: LossConfig, pooling: str) -> Tensor:
    """The mean loss over all steps, plus `clip_weight` times the mean loss over all clips.

    logits and targets: (batch, classes, steps). The target of a clip is the largest target of its steps. IGNORED steps
    are excluded from both means. A clip with IGNORED steps counts only if another of its steps is positive. SOMEWHERE
    steps are excluded from the mean over steps, and their clip is positive. A PAUSE step is a negative with the weight
    `pause_weight`.
    """
    clip_targets = targets.amax(2).masked_fill((targets == SOMEWHERE).any(2), 1.0)
    unknown = (targets == IGNORED).any(2) & (clip_targets < 1)
    clip_targets = clip_targets.masked_fill(unknown, IGNORED)
    step_weights = torch.where(targets == PAUSE, config.pause_weight, 1.0)
    frames = _mean_without_ignored(step_weights * elementwise_loss(logits, targets.clamp_min(0), config), targets)
    clip_logits = CLIP_POOLING[pooling](logits)
    clips = _mean_without_ignored(elementwise_loss(clip_logits, clip_targets.clamp_min(0), config), clip_targets)
    return frames + config.clip_weight * clips


def elementwise_loss(logits: Tensor, targets: Tensor, config: LossConfig) -> Tensor:
    """The loss of each element; targets are anywhere in 0-1.

    It is computed from logits, so that a confident error still has a gradient.

    - focal (Lin et al. 2017): cross-entropy times |target - p|^gamma.
    - asymmetric (Ridnik et al. 2021): positives and negatives have separate gammas. A negative's p is first reduced by
      `margin`. With a target between 0 and 1, both terms count in proportion.
    """
    if config.kind == "bce":
        return F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    p = logits.sigmoid()
    if config.kind == "focal":
        entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        return (targets - p).abs() ** config.gamma * entropy
    reduced = (p - config.margin).clamp_min(0)
    positive = (1 - p) ** config.positive_gamma * -F.logsigmoid(logits)
    negative = reduced**config.gamma * -torch.log1p(-reduced.clamp_max(1 - 1e-6))
    return targets * positive + (1 - targets) * negative


def _mean_without_ignored(values: Tensor, targets: Tensor) -> Tensor:
    """The mean of the values with a target that counts (`judged`); 0 if there are none."""
    counted = judged(targets)
    return values.mean() if counted.all() else (values * counted).sum() / counted.sum().clamp_min(1)


class WeightAverage:
    """The exponential moving average of a model's weights. `model` is in eval mode and ready to use.

    The first update copies all weights. The decay then rises to its full value (`decay_of_update`). Integer tensors are
    always copied, because they have no mean.
    """

    def __init__(self, model: FrameModel, decay: float) -> None:
        self.model, self.decay = copy.deepcopy(model).eval().requires_grad_(False), decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model: FrameModel) -> None:
        decay = decay_of_update(self.updates, self.decay)
        averages = [*self.model.parameters(), *self.model.buffers()]
        values = [*model.parameters(), *model.buffers()]
        for average, value in zip(averages, values, strict=True):
            if self.updates and average.is_floating_point():
                average.lerp_(value, 1 - decay)
            else:
                average.copy_(value)
        self.updates += 1


def decay_of_update(number: int, decay: float) -> float:
    """The decay of an update, counted from 0: the mean is over about a ninth of the updates so far, until `decay`.

    With a constant decay of 0.998, the first weights would still be three quarters of the mean after 150 iterations.
    """
    return min(decay, (1 + number) / (10 + number))


@torch.no_grad()
def interpolated(model: FrameModel, other: dict[str, Tensor], share: float) -> FrameModel:
    """A copy of `model` whose weights are (1 - share) x its own plus share x those in `other`.

    The mean of weights before and after a training often generalises better than either (Wortsman et al. 2022, arXiv
    2109.01903).
    """
    mean = copy.deepcopy(model)
    for name, value in mean.state_dict().items():
        if value.is_floating_point():
            value.lerp_(other[name].to(value.device), share)
    return mean


def build_optimiser(
    model: FrameModel, config: TrainingConfig
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    """The optimiser and the schedule of its learning rate.

    Muon optimises the hidden weight matrices (unless `optimiser` is adamw). AdamW optimises the output layers and all
    parameters that are not matrices. Norms, biases and position tables have no weight decay. The learning rate has a
    linear warm-up and then a cosine decay to zero, updated in each iteration.
    """
    matrices: list[nn.Parameter] = []
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        plain = parameter.ndim < 2 or any(part in name for part in NO_DECAY)
        is_output = any(name.startswith(f"{layer}.") for layer in model.output_layers)
        (free if plain else decayed if is_output or config.optimiser == "adamw" else matrices).append(parameter)
    rate, decay = config.learning_rate, config.weight_decay
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": decay},
        {"params": free, "weight_decay": 0.0},
    ]
    if matrices:
        default = MUON_RATE_PRETRAINED if config.init_from else MUON_RATE_RANDOM
        factor = default if config.muon_rate is None else config.muon_rate
        groups.append({"params": matrices, "weight_decay": decay, "lr": rate * factor, "matrices": True})
    optimiser = MuonAdamW(groups, lr=rate, fused=True)
    warmup = min(config.warmup, max(1, config.iterations // 10))

    def scale(iteration: int) -> float:
        if iteration < warmup:
            return (iteration + 1) / warmup
        done = (iteration - warmup) / max(1, config.iterations - warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, scale)
