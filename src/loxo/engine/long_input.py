"""A stretch of sound that a model reads in windows that overlap: what they share is computed once.

The spectra of the two-resolution front end need no window; only their normalisation does. Windows that overlap share
them, and frames near a window's border see the sound beyond it instead of its mirror image. On the processor they
are computed by levels.py, elsewhere by the front end itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from loxo.engine.frontend import Levels, Plan, fits
from loxo.network.frontend import TwoResolutionFrontEnd

_plans: WeakKeyDictionary[nn.Module, Plan] = WeakKeyDictionary()  # one for each front end that is alive


def _plan(model: Any, waveform: Tensor) -> Plan | None:
    """What Levels of the waveform need; None where they do not do for this model or device."""
    frontend = getattr(model, "frontend", None)
    if frontend is None or waveform.device.type != "cpu" or not fits(frontend, model.config):
        return None
    if frontend not in _plans:
        _plans[frontend] = Plan(frontend)
    return _plans[frontend]


def images(model: Any, waveform: Tensor) -> Tensor:
    """What `model.frontend` makes of windows (batch, window_samples), on the processor by levels.py: for training,
    with bands and frames laid out as the network wants them."""
    plan, config = _plan(model, waveform), model.config
    if plan is None:
        image: Tensor = model.frontend(waveform)
        return image
    with torch.no_grad():
        levels = Levels(plan, waveform.float())
        return levels.images(range(0, len(waveform) * levels.frames, levels.frames), config.image_frames)


class Stretch:
    """Windows of `waveform` (samples,), float32 at the model's rate and on its device."""

    def __init__(self, model: nn.Module, waveform: Tensor) -> None:
        self.model: Any = model
        self.waveform = waveform
        self.levels: Levels | None = None
        self.power: Tensor | None = None
        frontend = getattr(model, "frontend", None)
        config: Any = model.config
        if (plan := _plan(model, waveform)) is not None:
            with torch.inference_mode():
                self.levels = Levels(plan, waveform[None])
        elif (
            isinstance(frontend, TwoResolutionFrontEnd)
            and config.step_samples * config.stride_steps % frontend.hop == 0
        ):
            with torch.inference_mode():
                self.power = frontend.power(waveform[None])[0]  # (frames, n_mels)

    def bands(self, firsts: Sequence[int]) -> Tensor:
        """What the network wants of the windows that begin at these samples, whole strides: (windows, ...)."""
        with torch.inference_mode():
            config = self.model.config
            frames = [first // config.hop_length for first in firsts]
            if self.levels is not None:
                return self.model.scaled(self.levels.images(frames, config.image_frames))
            if self.power is None:
                return self.model.bands(self._windows(firsts))
            power = torch.stack([self.power[first : first + config.image_frames] for first in frames])
            return self.model.scaled(self.model.frontend.image(power))

    def logits(self, firsts: Sequence[int]) -> Tensor:
        """(windows, rows, steps)"""
        with torch.inference_mode():
            if self.levels is not None or self.power is not None:
                return self.model.network(self.bands(firsts))[0]
            # Any module that answers as a model does will do here, a classical detector for one.
            answer = self.model(self._windows(firsts))
            return answer.get("row_logits", answer["framewise_logits"])

    def _windows(self, firsts: Sequence[int]) -> Tensor:
        return torch.stack([self.waveform[first : first + self.model.config.window_samples] for first in firsts])
