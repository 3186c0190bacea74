"""Models whose answer is learnt beside the truth (distillation: Hinton et al. 2015, arXiv 1503.02531)."""

from __future__ import annotations

from dataclasses import fields
from typing import cast

import torch
from torch import Tensor, nn

from loxo.engine.config import ModelConfig
from loxo.errors import LoxoError
from loxo.network.base import FrameModel
from loxo.network.images import images
from loxo.network.loading import load_model
from loxo.training.config import DistilConfig

# What the config of every architecture says of its output; the rest defines the front end.
OF_THE_OUTPUT = {"architecture", "classes", "output_frames", "clip_pooling", "decoding", "calibration", "curves"}
GEOMETRY = ("sample_rate", "window_samples", "step_samples")


class Teachers(nn.Module):
    """Some models as one, never trained: `forward` gives the mean of their logits as scores."""

    def __init__(self, models: list[FrameModel], student: FrameModel) -> None:
        """`models` have the student's classes, window and steps, as `load_teachers` sees to."""
        super().__init__()
        self.models = nn.ModuleList(models)
        classes = student.config.classes
        self.orders = [[model.config.classes.index(label) for label in classes] for model in models]
        self.alike = [_frontend(model.config) == _frontend(student.config) for model in models]
        self.train(False)

    def train(self, mode: bool = True) -> Teachers:
        """Whatever the mode: a teacher's answer is the one it gives in detection."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, waveform: Tensor, image: Tensor) -> Tensor:
        """Waveforms (batch, samples) and what the student's front end makes of them -> scores (batch, classes, steps).

        A model with the same front end takes `image`, for which nothing has to be computed twice.
        """
        models = cast(list[FrameModel], self.models)
        logits = [
            model.network(model.scaled(image if alike else images(model, waveform)))[0][:, order].float()
            for model, order, alike in zip(models, self.orders, self.alike, strict=True)
        ]
        return torch.stack(logits).mean(0).sigmoid()


def load_teachers(config: DistilConfig, student: FrameModel) -> Teachers | None:
    """The models that `config` names; None where it names none.

    Raises LoxoError for a file that is no model, and for a model of other classes, another window or other steps.
    """
    models = [load_model(name) for name in config.teachers]
    for name, model in zip(config.teachers, models, strict=True):
        lacking = [label for label in student.config.classes if label not in model.config.classes]
        if lacking:
            raise LoxoError(
                f"{name}: this teacher has no class {', '.join(lacking)}; its classes are "
                f"{', '.join(model.config.classes)}. "
                "Leave it out of distil.teachers, or train for its classes (model.classes)."
            )
        for what in GEOMETRY:
            own, wanted = getattr(model.config, what), getattr(student.config, what)
            if own != wanted:
                raise LoxoError(
                    f"{name}: this teacher's {what} is {own}, that of the model to train {wanted}. "
                    "Take a teacher with the same window and steps, or change preset and model."
                )
    return Teachers(models, student) if models else None


def _frontend(config: ModelConfig) -> list[object]:
    return [getattr(config, field.name) for field in fields(ModelConfig) if field.name not in OF_THE_OUTPUT]
