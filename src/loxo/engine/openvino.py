"""The network of a model by another runtime than torch: OpenVINO, which fuses what torch does layer by layer.

What is compiled is kept in the user's cache, named after everything it was made of, because making it takes longer
than a minute of sound: the model's weights, Loxo's own code of the networks, and the versions of torch and OpenVINO.
The front end stays with torch.

On a processor that multiplies bfloat16 in hardware, OpenVINO's products are taken in it; elsewhere in float32. Of one
model always as many windows are computed at a time: other sizes might add in another order.
"""

from __future__ import annotations

import hashlib
import importlib.util
import threading
import warnings
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from loxo.engine.windows import GROUP
from loxo.errors import LoxoError
from loxo.machine import user_cache
from loxo.network.fast import inference as kernels

if TYPE_CHECKING:
    from loxo.network.base import FrameModel

LARGE = 10_000_000  # parameters
RUNTIMES = ("auto", "torch", "openvino")


def choose_runtime(wanted: str, device: str | torch.device) -> str:
    """ "torch" or "openvino". "auto" is OpenVINO where it is installed and the device is the processor.

    Raises LoxoError for a device that is not here, and for a runtime that is unknown, not installed, or not for it.
    """
    if wanted not in RUNTIMES:
        raise LoxoError(f"There is no runtime {wanted!r}. Choose among {', '.join(RUNTIMES)}.")
    installed = importlib.util.find_spec("openvino") is not None
    try:
        on_processor = torch.empty(0, device=device).device.type == "cpu"
    except (RuntimeError, AssertionError) as error:  # torch says either
        raise LoxoError(
            f"There is no device {str(device)!r} here that torch can use. Leave it out, or say cpu."
        ) from error
    if wanted == "openvino" and not installed:
        raise LoxoError("The runtime openvino is not installed. Install it: pip install 'loxo[openvino]'.")
    if wanted == "openvino" and not on_processor:
        raise LoxoError(f"The runtime openvino is for the processor: give no device {str(device)!r} with it.")
    return "openvino" if wanted != "torch" and installed and on_processor else "torch"


def describe(runtime: str, model: nn.Module) -> dict[str, str]:
    """For the record, what the last bits of a model's scores depend on: runtime, precision, versions. `model` may be
    computed by torch, whatever the runtime: nothing is compiled for this."""
    if runtime == "openvino":
        used = {"torch": torch.__version__, "openvino": version("openvino")}
        return {"runtime": runtime, "precision": _precision(), **used}
    dtype = next((tensor.dtype for tensor in model.parameters()), torch.float32)
    return {"runtime": runtime, "precision": str(dtype).removeprefix("torch."), "torch": torch.__version__}


def _precision() -> str:
    return "bfloat16" if kernels.bfloat16_is_fast() else "float32"


def use_openvino(model: FrameModel, sha256: str) -> None:
    """From now on the model's network is computed by OpenVINO; `sha256` names its weights."""
    model.network = CompiledNetwork(model, sha256)  # type: ignore[method-assign]


class CompiledNetwork:
    """What FrameModel.network is, for inference on the processor, in one thread; `precision` by default the fastest."""

    def __init__(self, model: FrameModel, sha256: str, precision: str | None = None) -> None:
        import openvino

        self.precision = precision or _precision()
        hint = {"bfloat16": "bf16", "float32": "f32"}[self.precision]
        options = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
        options["ENABLE_CPU_PINNING"] = False  # or the processes of a run would all sit on the same core
        core = openvino.Core()
        # A large network's layers fill the cache between them: two windows at a time were 4 % faster than four, where
        # the bundled model was 2 % slower.
        self._group = GROUP if sum(p.numel() for p in model.parameters()) < LARGE else GROUP // 2
        path = user_cache() / "networks" / f"{_key(sha256, openvino.__version__, self._group)}.xml"
        try:
            graph = core.read_model(path)
        except RuntimeError:  # not made yet, or damaged
            graph = _graph(model, self._group)
            _keep(graph, path)
        self._compiled: Any = core.compile_model(graph, "CPU", options)
        self._lock = threading.Lock()  # a compiled network has one place for its input

    def __call__(self, bands: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, channels, n_mels, frames) -> logits (batch, rows, steps), latent (batch, features)"""
        logits, latents = [], []
        with self._lock:
            for some in bands.split(self._group):
                whole = nn.functional.pad(some, (0, 0, 0, 0, 0, 0, 0, self._group - len(some)))
                answer = self._compiled(whole.numpy(force=True))
                logits.append(torch.from_numpy(answer[0][: len(some)].copy()))
                latents.append(torch.from_numpy(answer[1][: len(some)].copy()))
        return torch.cat(logits), torch.cat(latents)


def _key(sha256: str, version: str, group: int) -> str:
    digest = hashlib.sha256(f"{sha256} {version} {torch.__version__} {group}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def _graph(model: FrameModel, group: int) -> Any:
    """The network as a graph of OpenVINO's, for `group` windows.

    Not by openvino.convert_model, which reports its use to its makers over the network.
    """
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    config = model.config
    with torch.inference_mode():
        bands = model.bands(torch.zeros(group, config.window_samples))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a trace says of sizes that never change here
        traced = torch.jit.trace(_Network(model), bands.clone(), check_trace=False)
    reader = FrontEndManager().load_by_framework("pytorch")
    # It must outlive the conversion, and the graph's constants must not lie in its memory, which goes with it.
    decoder = TorchScriptPythonDecoder(traced, shared_memory=False)
    graph = reader.convert(reader.load(decoder))
    graph.reshape(list(bands.shape))
    return graph


class _Network(nn.Module):
    def __init__(self, model: FrameModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, bands: Tensor) -> tuple[Tensor, Tensor]:
        """The class's own network, whatever the model's is now."""
        return type(self.model).network(self.model, bands)


def _keep(graph: Any, path: Path) -> None:
    """Weights first, so that whoever sees the graph finds them; a cache that cannot be written is done without."""
    import openvino

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent) as folder:
            made = Path(folder, path.name)
            openvino.save_model(graph, made, compress_to_fp16=False)
            made.with_suffix(".bin").replace(path.with_suffix(".bin"))
            made.replace(path)
    except (OSError, RuntimeError):
        pass
