"""Graphs whose linear layers compute with 8-bit integers, for small computers with ARM CPUs.

Only products with weights are quantised: each output channel has its own scale, and each input has one scale, from the
range of its values on calibration windows. Convolutions stay in float32, because their quantisation loses gunshots.
The windows are simulated, with the same seed each time, so that the same weights always give the same graph.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from loxo.engine.config import ModelConfig
from loxo.engine.frontend import FrontEnd
from loxo.engine.model_file import read_model_file
from loxo.engine.windows import GROUP
from loxo.errors import LoxoError
from loxo.network.graph import onnx_of_file, plain_onnx, seal_checked, write_with_graph
from loxo.simulation.simulate import simulate

Floats = NDArray[np.float32]
HOURS, RUMBLES_PER_HOUR, GUNSHOTS_PER_HOUR, SEED = 0.1, 120.0, 80.0, 5
NOISE_WINDOWS = 4
LINEAR = ("MatMul", "Gemm")


def export_int8(name_or_path: str | Path, out: str | Path | None = None) -> Path:
    """Copies a model file and writes an int8 graph beside the copy; returns the graph's path.

    `out`: the copy; default: a file in the current folder with "-int8" in its name. Raises LoxoError as export_graph.
    """
    file = read_model_file(name_or_path)
    target = Path(f"{file.path.stem}-int8.safetensors") if out is None else Path(out)
    body = onnx_of_file(file)
    content = seal_checked(file, quantise(body, calibration_images(file.config)))
    return write_with_graph(file, content, target)


def calibration_images(config: ModelConfig) -> Floats:
    """(windows, channels, n_mels, image_frames): windows of simulated recordings and of white noise."""
    with tempfile.TemporaryDirectory() as folder:
        recordings = Path(folder) / "recordings"
        simulate(
            recordings,
            HOURS,
            SEED,
            sample_rate=config.sample_rate,
            format="wav",
            rumbles_per_hour=RUMBLES_PER_HOUR,
            gunshots_per_hour=GUNSHOTS_PER_HOUR,
        )
        (path,) = recordings.glob("*.wav")
        samples, _ = soundfile.read(path, dtype="float32")
    size = config.window_samples
    windows = [samples[first : first + size] for first in range(0, len(samples) - size + 1, size // 2)]
    noise = np.random.default_rng(SEED).normal(0, 0.02, (NOISE_WINDOWS, size)).astype(np.float32)
    return FrontEnd(config).images(np.stack([*windows, *noise]))


def quantise(body: bytes, images: Floats) -> bytes:
    """An ONNX model with int8 linear layers, calibrated on these images. Raises LoxoError without such layers."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.groups: Iterator[Floats] = (
                images[first : first + GROUP] for first in range(0, len(images) - GROUP + 1, GROUP)
            )

        def get_next(self) -> dict[str, Floats] | None:
            group = next(self.groups, None)
            return None if group is None else {"image": group}

    model = onnx.load_from_string(body)
    weights = {tensor.name for tensor in model.graph.initializer}
    linear = [node.name for node in model.graph.node if node.op_type in LINEAR and node.input[1] in weights]
    if not linear:
        raise LoxoError("This network has no linear layers, so --int8 would change nothing. Leave it out.")
    # ONNX Runtime would otherwise advise to prepare the model with its own tool: the exporter has done that.
    model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        quantize_static(
            source,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(LINEAR),
            nodes_to_quantize=linear,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return plain_onnx(_with_raw_data(onnx.load(target)))


def _with_raw_data(model: Any) -> Any:
    """Constants as bytes, because ONNX Runtime writes its own as lists of numbers. Drops metadata and old shapes."""
    from onnx import numpy_helper

    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    del model.graph.value_info[:], model.metadata_props[:]
    return model
