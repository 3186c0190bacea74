"""The Lightning module: loss, optimiser, schedule and validation metrics around a Loxo model."""

from __future__ import annotations

import math
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.classification import BinaryAveragePrecision

from loxo.models.base import CLIP_POOLING, FrameModel

Batch = tuple[Tensor, Tensor]  # waveform (batch, samples), targets (batch, classes, steps)


class FrameTraining(lightning.LightningModule):
    """Trains the frame-wise logits with binary cross-entropy, the clip-wise ones with a smaller share of the same."""

    def __init__(
        self, model: FrameModel, *, steps: int, learning_rate: float, warmup: int, clip_weight: float, seed: int
    ) -> None:
        super().__init__()
        self.model = model
        self.total_steps, self.warmup = steps, warmup
        self.learning_rate, self.clip_weight, self.seed = learning_rate, clip_weight, seed
        self.precision_curves = nn.ModuleDict(
            {c: BinaryAveragePrecision(thresholds=1000) for c in model.config.classes}
        )

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # Stochastic depth draws the same numbers at a step whether or not the run was interrupted before it.
        torch.manual_seed(self.seed * 1_000_003 + self.global_step)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        waveform, targets = batch
        loss = self.loss(self.model(waveform), targets)
        self.log("train_loss", loss)
        return loss

    def loss(self, output: dict[str, Tensor], targets: Tensor) -> Tensor:
        """On logits, so that a confident mistake keeps its gradient."""
        logits = output["framewise_logits"]
        clip = CLIP_POOLING[self.model.config.clip_pooling](logits)
        frame_loss = F.binary_cross_entropy_with_logits(logits, targets)
        return frame_loss + self.clip_weight * F.binary_cross_entropy_with_logits(clip, targets.amax(2))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        waveform, targets = batch
        output = self.model(waveform)
        self.log("val_loss", self.loss(output, targets), batch_size=len(waveform))
        scores = output["framewise_logits"].sigmoid()
        for k, label in enumerate(self.model.config.classes):
            self._curve(label).update(scores[:, k], (targets[:, k] >= 0.5).long())

    def on_validation_epoch_end(self) -> None:
        for label in self.model.config.classes:
            self.log(f"val_frame_ap_{label}", self._curve(label).compute())
            self._curve(label).reset()

    def _curve(self, label: str) -> BinaryAveragePrecision:
        curve = self.precision_curves[label]
        assert isinstance(curve, BinaryAveragePrecision)
        return curve

    def configure_optimizers(self) -> Any:
        """AdamW; no weight decay on norms, biases and position tables; linear warm-up, then a cosine to zero."""
        decayed: list[nn.Parameter] = []
        free: list[nn.Parameter] = []
        for name, parameter in self.model.named_parameters():
            plain = parameter.ndim < 2 or "bias_table" in name
            (free if plain else decayed).append(parameter)
        groups = [{"params": decayed, "weight_decay": 0.05}, {"params": free, "weight_decay": 0.0}]
        optimiser = torch.optim.AdamW(groups, lr=self.learning_rate)

        def scale(step: int) -> float:
            if step < self.warmup:
                return (step + 1) / self.warmup
            done = (step - self.warmup) / max(1, self.total_steps - self.warmup)
            return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, scale)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
