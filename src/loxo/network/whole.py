"""Export of a whole model to one ONNX graph, from waveform to probabilities, for programs without Loxo.

    input   waveform       (1, window samples) float32 in [-1, 1] at the model's rate
    outputs probabilities  (1, classes) of the window
            frames         (1, classes, steps)

The metadata of the graph state sample rate, window, step, classes and the SHA-256 of the weights. Unlike the graph
beside a model file (loxo.network.graph), it contains the front end, whose Fourier transforms are convolutions here: all
runtimes compute these, while only few have the operator DFT. Loxo itself does not read these graphs.
"""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loxo.engine.model_file import read_model_file
from loxo.errors import LoxoError
from loxo.files import write_atomically
from loxo.installation import install_extra
from loxo.network.base import CLIP_POOLING, FrameModel
from loxo.network.fast import export
from loxo.network.frontend import FrontEnd, KaldiFrontEnd, PcenFrontEnd
from loxo.network.graph import OPSET, plain_onnx
from loxo.network.loading import load_model

TOLERANCE = 1e-4  # largest difference between the graph and the model, in probabilities


class WholeModel(nn.Module):
    def __init__(self, model: FrameModel) -> None:
        super().__init__()
        self.model, self.classes = model, len(model.config.classes)

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.model.logits_and_latent(waveform)[0][:, : self.classes]
        return CLIP_POOLING[self.model.config.clip_pooling](logits).sigmoid(), logits.sigmoid()


def fourier_matrix(window: Tensor, size: int) -> Tensor:
    """(2, size / 2 + 1, n_fft): cosines and sines times the window, of a transform with `size` points."""
    phase = 2 * np.pi / size * (np.outer(np.arange(size // 2 + 1), np.arange(len(window))) % size)
    return torch.from_numpy((np.stack([np.cos(phase), np.sin(phase)]) * window.double().numpy()).astype(np.float32))


class _Convolutions(FrontEnd):
    """Spectra as convolutions. The class of a front end is replaced by one that inherits this before it."""

    def spectrum(self, waveform: Tensor, window: str, hop: int, *, center: bool) -> Tensor:
        matrix = getattr(self, f"{window}_matrix")  # (2, bins, n_fft)
        padding = matrix.shape[2] // 2 if center else 0
        samples = F.pad(waveform[:, None], (padding, padding), mode="reflect")
        parts = F.conv1d(samples, matrix.flatten(0, 1)[:, None], stride=hop)  # (batch, 2 bins, frames)
        return parts.square().unflatten(1, matrix.shape[:2]).sum(1).transpose(1, 2)


class _KaldiConvolutions(KaldiFrontEnd):
    def piece_power(self, pieces: Tensor) -> Tensor:
        matrix: Tensor = self.window_matrix  # type: ignore[assignment]
        return (pieces @ matrix[0].T).square() + (pieces @ matrix[1].T).square()


class _PcenConvolutions(_Convolutions, PcenFrontEnd):
    """The low-pass as one matrix product, instead of one step for each frame."""

    def smoothed(self, power: Tensor) -> Tensor:
        low_pass: Tensor = self.low_pass  # type: ignore[assignment]
        before: Tensor = self.before  # type: ignore[assignment]
        return low_pass @ power + before * power.mean(1, keepdim=True)


def apply(frontend: FrontEnd) -> None:
    """Replaces the transforms of a front end by products with matrices, which become constants of the graph."""
    for name, window in list(frontend.named_buffers()):
        if name.endswith("window"):
            size = frontend.fft if isinstance(frontend, KaldiFrontEnd) else len(window)
            frontend.register_buffer(f"{name}_matrix", fourier_matrix(window, size), persistent=False)
    if isinstance(frontend, KaldiFrontEnd):
        frontend.__class__ = _KaldiConvolutions
    elif isinstance(frontend, PcenFrontEnd):
        lag = np.subtract.outer(np.arange(frontend.frames), np.arange(frontend.frames))
        weights = np.where(lag >= 0, frontend.smoothing * (1 - frontend.smoothing) ** np.maximum(lag, 0), 0)
        decay = (1 - frontend.smoothing) ** np.arange(1, frontend.frames + 1)
        frontend.register_buffer("low_pass", torch.tensor(weights, dtype=torch.float32), persistent=False)
        frontend.register_buffer("before", torch.tensor(decay, dtype=torch.float32)[:, None], persistent=False)
        frontend.__class__ = _PcenConvolutions
    else:
        frontend.__class__ = type("Convolutions", (_Convolutions, type(frontend)), {})


def export_whole(name_or_path: str | Path, out: str | Path | None = None) -> Path:
    """Writes the graph of a whole model and returns its path; the default is NAME-whole.onnx in the current folder.

    Raises LoxoError when the packages of the extra `train` are not installed, when the graph does not give the same
    probabilities as the model, and when the file cannot be written.
    """
    file = read_model_file(name_or_path)
    out = Path(f"{file.path.stem}-whole.onnx" if out is None else out)
    if out.suffix != ".onnx":
        raise LoxoError(f"{out}: a graph is written as .onnx. Give a name that ends so.")
    if out.resolve() == file.graph_path.resolve():
        raise LoxoError(f"{out}: Loxo's own graph of this model has this name. Give the whole graph another one.")
    model = load_model(file.path)
    config = model.config
    about = {
        "loxo_model_sha256": file.weights_sha256,
        "sample_rate": config.sample_rate,
        "window_samples": config.window_samples,
        "window_s": config.window_samples / config.sample_rate,
        "step_s": config.step_samples / config.sample_rate,
        "classes": json.dumps(list(config.classes), ensure_ascii=False),
    }
    content = whole_onnx(model, {key: str(value) for key, value in about.items()})
    _check_equal(content, load_model(file.path), file.path)
    write_atomically(out, content)
    return out


def whole_onnx(model: FrameModel, metadata: dict[str, str]) -> bytes:
    """The ONNX model. It changes the classes of modules in `model`."""
    try:
        import onnx
        import onnxscript  # noqa: F401 (the exporter needs it)
    except ImportError as error:
        raise LoxoError(f"Export needs {error.name}, which is not installed. Run: {install_extra('train')}") from error
    export.apply(model)
    apply(model.frontend)
    example = torch.zeros(1, model.config.window_samples)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # remarks of the exporter on its own code
        program: Any = torch.onnx.export(
            WholeModel(model).eval(),
            (example,),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            optimize=False,  # the optimiser removes the addition of TINY_POWER
            input_names=["waveform"],
            output_names=["probabilities", "frames"],
        )
    plain = onnx.load_from_string(plain_onnx(program.model_proto))
    for key, value in metadata.items():
        plain.metadata_props.add(key=key, value=value)
    content: bytes = plain.SerializeToString()
    return content


def _check_equal(content: bytes, model: FrameModel, path: Path) -> None:
    import onnxruntime

    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.05, (1, model.config.window_samples)).astype(np.float32)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    got = session.run(None, {"waveform": noise})
    with torch.inference_mode():
        expected = WholeModel(model)(torch.from_numpy(noise))
    difference = max(float(np.abs(a - b.numpy()).max()) for a, b in zip(got, expected, strict=True))
    if not difference <= TOLERANCE:
        raise LoxoError(
            f"{path}: the whole graph differs from the model by {difference:.2g}, so it was not written. Use the "
            "model in Loxo."
        )
