"""Teachers: models whose output the trained model learns (distillation: Hinton et al. 2015, arXiv 1503.02531)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from loxo.engine.config import frontend_fields
from loxo.errors import LoxoError
from loxo.network.base import FrameModel
from loxo.network.images import images
from loxo.network.loading import load_model
from loxo.training.config import DistilConfig

GEOMETRY = ("sample_rate", "window_samples", "step_samples")


class Teachers(nn.Module):
    """One or more models that are not trained. `forward` returns the sigmoid of their mean logits."""

    def __init__(self, models: list[FrameModel], student: FrameModel) -> None:
        """`models` have the student's classes, window and steps; `load_teachers` checks this."""
        super().__init__()
        self.models = nn.ModuleList(models)
        classes = student.config.classes
        self.class_orders = [[model.config.classes.index(label) for label in classes] for model in models]
        own = frontend_fields(student.config)
        self.same_frontend = [frontend_fields(model.config) == own for model in models]
        self.train(False)

    def train(self, mode: bool = True) -> Teachers:
        """Stays in eval mode, so that a teacher's output is the same as in detection."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, waveform: Tensor, image: Tensor) -> Tensor:
        """Waveforms (batch, samples) and the output of the student's front end -> scores (batch, classes, steps).

        A teacher with the same front end uses `image`, so that the front end is computed only once.
        """
        models = cast(list[FrameModel], self.models)
        logits = [
            model.network(model.scaled(image if same else images(model, waveform)))[0][:, order].float()
            for model, order, same in zip(models, self.class_orders, self.same_frontend, strict=True)
        ]
        return torch.stack(logits).mean(0).sigmoid()


def load_teachers(config: DistilConfig, student: FrameModel) -> Teachers | None:
    """The models that `config` names, or None if it names none.

    Raises LoxoError for a file that is not a model, and for a model with other classes, another window or other steps.
    """
    models = [load_model(name) for name in config.teachers]
    for name, model in zip(config.teachers, models, strict=True):
        missing = [label for label in student.config.classes if label not in model.config.classes]
        if missing:
            raise LoxoError(
                f"{name}: this teacher has no class {', '.join(missing)}; its classes are "
                f"{', '.join(model.config.classes)}. "
                "Remove it from distil.teachers, or train for its classes (model.classes)."
            )
        for what in GEOMETRY:
            own, expected = getattr(model.config, what), getattr(student.config, what)
            if own != expected:
                raise LoxoError(
                    f"{name}: {what} is {own} in this teacher, but {expected} in the model to train. "
                    "Use a teacher with the same window and steps, or change preset and model."
                )
    return Teachers(models, student) if models else None
