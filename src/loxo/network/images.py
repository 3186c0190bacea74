"""Images of windows for a PyTorch network: on the CPU from the numpy front end, elsewhere from the model's own."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from loxo.engine.frontend import FrontEnd, is_supported
from loxo.network.frontend import TwoResolutionFrontEnd

_frontends: WeakKeyDictionary[nn.Module, FrontEnd] = WeakKeyDictionary()  # one for each model front end that is alive


def numpy_frontend(model: Any, device: torch.device) -> FrontEnd | None:
    """The numpy front end of a model; None where it does not serve the model or the device."""
    frontend = getattr(model, "frontend", None)
    if not isinstance(frontend, TwoResolutionFrontEnd) or device.type != "cpu" or not is_supported(model.config):
        return None
    if frontend not in _frontends:
        _frontends[frontend] = FrontEnd(model.config)
    return _frontends[frontend]


def images(model: Any, waveform: Tensor) -> Tensor:
    """(batch, window_samples) -> (batch, channels, frames, n_mels), what `model.frontend` gives.

    On the CPU the bands of the result follow each other in memory, as the network reads them.
    """
    frontend = numpy_frontend(model, waveform.device)
    if frontend is None:
        image: Tensor = model.frontend(waveform)
        return image
    return torch.from_numpy(frontend.images(waveform.detach().float().numpy())).transpose(2, 3)
