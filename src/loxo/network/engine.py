"""The engine that computes with PyTorch: for GPUs, models without a graph, and modules of other people."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from loxo.engine.engine import LongInput
from loxo.engine.frontend import Levels
from loxo.engine.model_file import ModelFile
from loxo.engine.windows import GROUP
from loxo.machine import keep_freed_memory
from loxo.network.frontend import TwoResolutionFrontEnd
from loxo.network.images import numpy_frontend
from loxo.network.loading import load_model

Floats = NDArray[np.float32]


def open_engine(model: ModelFile, device: str = "cpu") -> TorchEngine:
    """Raises LoxoError as load_model does."""
    return TorchEngine(load_model(model.path, device), model.sha256)


class TorchEngine:
    """An engine over a module with a `config` whose forward answers as a FrameModel does."""

    def __init__(self, model: nn.Module, sha256: str | None = None) -> None:
        keep_freed_memory()
        self.model: Any = model
        self.config: Any = model.config
        self.provenance = getattr(model, "provenance", {})
        self.device = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
        self.group: int | None = GROUP if self.device.type == "cpu" else None
        self._sha256 = sha256

    @property
    def sha256(self) -> str:
        """Of the model file; of config and weights where there is no file."""
        if self._sha256 is None:
            digest = hashlib.sha256(repr(self.config).encode())
            for name, tensor in sorted(self.model.state_dict().items()):
                digest.update(name.encode() + tensor.cpu().numpy().tobytes())
            self._sha256 = digest.hexdigest()
        return self._sha256

    def describe(self) -> dict[str, str]:
        dtype = next((tensor.dtype for tensor in self.model.parameters()), torch.float32)
        return {"runtime": "torch", "precision": str(dtype).removeprefix("torch."), "torch": str(torch.__version__)}

    def read(self, samples: Floats) -> LongInput:
        return _TorchInput(self, samples)


class _TorchInput:
    """Samples on the model's device, and what its front end has computed of them once for all windows."""

    def __init__(self, engine: TorchEngine, samples: Floats) -> None:
        self.model, self.config = engine.model, engine.config
        self.levels: Levels | None = None
        self.power: Tensor | None = None
        if (frontend := numpy_frontend(self.model, engine.device)) is not None:
            self.levels = frontend.levels(samples)
            return
        self.waveform = torch.from_numpy(np.ascontiguousarray(samples)).to(engine.device)
        own, config = getattr(self.model, "frontend", None), self.config
        if isinstance(own, TwoResolutionFrontEnd) and config.step_samples * config.stride_steps % own.hop == 0:
            with torch.inference_mode():
                self.power = own.power(self.waveform[None])[0]  # (frames, n_mels)

    def outputs(self, firsts: Sequence[int]) -> tuple[Floats, Floats | None]:
        with torch.inference_mode():
            if self.levels is not None or self.power is not None:
                logits, latent = self.model.network(self.model.scaled(self._images(firsts)))
            else:
                windows = [self.waveform[first : first + self.config.window_samples] for first in firsts]
                answer = self.model(torch.stack(windows))
                logits, latent = answer.get("row_logits", answer["framewise_logits"]), answer.get("latent_output")
            return logits.float().cpu().numpy(), None if latent is None else latent.float().cpu().numpy()

    def _images(self, firsts: Sequence[int]) -> Tensor:
        config = self.config
        frames = [first // config.hop_length for first in firsts]
        if self.levels is not None:
            out = np.empty((len(firsts), config.in_chans, config.n_mels, config.image_frames), np.float32)
            self.levels.images(frames, out)
            return torch.from_numpy(out).transpose(2, 3)
        assert self.power is not None
        power = torch.stack([self.power[first : first + config.image_frames] for first in frames])
        return torch.as_tensor(self.model.frontend.image(power))
