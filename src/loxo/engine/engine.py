"""What computes frame scores: one interface, `Engine`, with ONNX Runtime, OpenVINO or PyTorch behind it.

An engine reads a long input (samples of several windows) once and then gives the outputs of any windows in it. ONNX
Runtime and OpenVINO run the graph of a model file behind the numpy front end. PyTorch serves GPUs, architectures and
front ends without a graph, and modules of other people; its engine lives in loxo.network, above this room, and is
imported by its name only when it is asked for, so that nothing here needs PyTorch.

Determinism: an engine computes with one thread and, on a CPU, always the same number of windows at a time (`group`).
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from loxo.engine.config import ModelConfig
from loxo.engine.model_file import ModelFile, find_model, read_model_file
from loxo.engine.windows import GROUP
from loxo.errors import LoxoError
from loxo.installation import install_extra, install_package
from loxo.machine import gc_paused, keep_freed_memory

if TYPE_CHECKING:
    from loxo.engine.frontend import Levels

RUNTIMES = ("auto", "onnxruntime", "openvino", "torch")
# The module of each runtime; each has open_engine(model file, device).
MODULES = {
    "onnxruntime": "loxo.engine.onnx_runtime",
    "openvino": "loxo.engine.openvino",
    "torch": "loxo.network.engine",
}
EXTRAS = {"openvino": "openvino", "torch": "train"}

Floats = NDArray[np.float32]
Network = Callable[[Floats], tuple[Floats, Floats]]  # images of a group -> logits (GROUP, rows, steps), latent


class LongInput(Protocol):
    """Samples that were read by an engine."""

    def outputs(self, firsts: Sequence[int]) -> tuple[Floats, Floats | None]:
        """Logits (windows, rows, steps) and latent (windows, features) of the windows that begin at these samples.

        `firsts` are multiples of config.step_samples x config.stride_steps.
        """
        ...


@runtime_checkable
class Engine(Protocol):
    """Computes the outputs of a model. `group`: windows computed at a time; None where their number does not matter."""

    config: Any
    group: int | None
    sha256: str  # of the model file, or of the weights where there is no file

    def read(self, samples: Floats) -> LongInput:
        """Reads samples (n,) float32 at config.sample_rate, of one window or more."""
        ...

    def describe(self) -> dict[str, str]:
        """For the run record: runtime, precision and versions, on which the last digits of scores depend."""
        ...


class GraphEngine:
    """An engine that runs the graph of a model file."""

    def __init__(self, model: ModelFile, open_network: Callable[[], Network], description: dict[str, str]) -> None:
        from loxo.engine.frontend import FrontEnd  # imports SciPy

        keep_freed_memory()
        self.config: ModelConfig = model.config
        self.provenance, self.sha256 = model.provenance, model.sha256
        self.group: int | None = GROUP
        self._open_network: Callable[[], Network] | None = open_network
        self._frontend, self._description = FrontEnd(model.config), description

    @cached_property
    def network(self) -> Network:
        """The runtime's network, opened when it is used first. Raises LoxoError when the runtime does not accept it."""
        assert self._open_network is not None
        network, self._open_network = self._open_network(), None  # it holds the bytes of the graph
        return network

    def describe(self) -> dict[str, str]:
        return dict(self._description)

    def read(self, samples: Floats) -> LongInput:
        return _GraphInput(self, self._frontend.levels(samples))


class _GraphInput:
    def __init__(self, engine: GraphEngine, levels: Levels) -> None:
        self.engine, self.levels = engine, levels

    def outputs(self, firsts: Sequence[int]) -> tuple[Floats, Floats | None]:
        config = self.engine.config
        images = np.zeros((GROUP, config.in_chans, config.n_mels, config.image_frames), np.float32)
        logits, latents = [], []
        for k in range(0, len(firsts), GROUP):
            some = firsts[k : k + GROUP]
            self.levels.images([first // config.hop_length for first in some], images[: len(some)])
            group_logits, group_latent = self.engine.network(images)
            logits.append(group_logits[: len(some)])
            latents.append(group_latent[: len(some)])
        return np.concatenate(logits), np.concatenate(latents)


def load_engine(
    name_or_path: str | Path = "default", *, device: str = "cpu", runtime: str = "auto", start: bool = True
) -> Engine:
    """The engine of a bundled model, or of the model in a file.

    `runtime`: one of RUNTIMES. "auto" takes the fastest that is installed and can compute the model: OpenVINO, ONNX
    Runtime, then PyTorch; on another `device` than the CPU, PyTorch. `start`: the runtime opens the graph now, not when
    it is used first. Raises LoxoError when the model file or its graph cannot be read, and for a runtime or device that
    is not available.
    """
    path = find_model(name_or_path)
    model = read_model_file(path)
    chosen = choose_runtime(runtime, device, model)
    with gc_paused():  # PyTorch and OpenVINO are large packages
        engine: Engine = import_module(MODULES[chosen]).open_engine(model, device)
    if start and isinstance(engine, GraphEngine):
        _ = engine.network
    return engine


def choose_runtime(wanted: str, device: str = "cpu", model: ModelFile | None = None) -> str:
    """The name of the runtime that `load_engine` takes. Raises LoxoError for one that is not available."""
    if wanted not in RUNTIMES:
        raise LoxoError(f"There is no runtime {wanted!r}. Choose one of {', '.join(RUNTIMES)}.")
    from loxo.engine.frontend import is_supported

    on_cpu = device == "cpu"
    if wanted == "auto":
        if not on_cpu:
            wanted = "torch"
        elif model is not None and (not is_supported(model.config) or not model.graph_path.is_file()):
            # Without PyTorch, reading the graph states what is missing.
            wanted = "torch" if is_installed("torch") or not is_supported(model.config) else "onnxruntime"
        else:
            wanted = "openvino" if is_installed("openvino") else "onnxruntime"
    if not is_installed(wanted):
        command = install_extra(EXTRAS[wanted]) if wanted in EXTRAS else install_package(wanted)
        raise LoxoError(f"The runtime {wanted} is not installed. Install it: {command}")
    if wanted != "torch" and not on_cpu:
        raise LoxoError(f"The runtime {wanted} computes on the CPU: leave out --device {device}, or use torch.")
    if wanted != "torch" and model is not None and not is_supported(model.config):
        raise LoxoError(
            f"{model.path}: only PyTorch computes the front end {model.config.frontend!r} of this model. Use --runtime "
            "torch."
        )
    return wanted


def is_installed(runtime: str) -> bool:
    return importlib.util.find_spec(runtime) is not None


def as_engine(model: Any) -> Engine:
    """The engine of what a caller gives as a model: a bundled name, a path, an engine, or a PyTorch module.

    Raises TypeError for anything else, LoxoError as load_engine does.
    """
    if isinstance(model, str | os.PathLike):
        return load_engine(Path(model) if isinstance(model, os.PathLike) else model)
    if isinstance(model, Engine):
        return model
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(model, torch.nn.Module) and hasattr(model, "config"):
        engine: Engine = import_module(MODULES["torch"]).TorchEngine(model)
        return engine
    raise TypeError(
        "A model is a bundled model's name, the path of a model file, an engine or a PyTorch module with a config, "
        f"not {type(model).__name__}."
    )
