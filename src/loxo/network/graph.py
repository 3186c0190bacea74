"""Export of a network to a graph (ONNX), which detection runs without PyTorch.

The graph holds the plain network of one group of windows, from the front end's image to logits and latent; the front
end stays outside. It is written beside the model file and names its weights (loxo.engine.graph).
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from loxo.engine.frontend import is_supported
from loxo.engine.graph import image_shape, parse_graph, read_graph, seal_graph
from loxo.engine.model_file import BUNDLED, GRAPH_SUFFIX, ModelFile, read_model_file
from loxo.errors import LoxoError
from loxo.files import write_atomically
from loxo.installation import install_extra
from loxo.network.base import FrameModel
from loxo.network.fast import export
from loxo.network.registry import build

OPSET = 20
DROPPED = ("doc_string", "metadata_props")  # what the exporter adds: places in its source code


class _FromImage(nn.Module):
    """The network of a model, from images (windows, channels, n_mels, frames).

    The batch norm of the bands is one multiplication and one addition here: as ONNX operators it takes a tenth of the
    whole network's time.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, model: FrameModel) -> None:
        super().__init__()
        self.model = model
        self.norm = getattr(model, "bn0", None)
        if self.norm is not None:
            scale = self.norm.weight / (self.norm.running_var + self.norm.eps).sqrt()
            shape = (model.config.in_chans, model.config.n_mels, 1)
            self.register_buffer("scale", scale.detach().view(shape))
            self.register_buffer("shift", (self.norm.bias - self.norm.running_mean * scale).detach().view(shape))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        if self.norm is None:
            return self.model.network(self.model.scaled(image.transpose(2, 3)))
        return self.model.network(image * self.scale + self.shift)


def export_graph(name_or_path: str | Path, out: str | Path | None = None) -> Path:
    """Writes the graph of a model file beside it, and returns the graph's path.

    With `out`, the model file is copied there and its graph is written beside the copy. Raises LoxoError when the model
    has no graph (only PyTorch computes its front end or its operators), when the packages of the extra `train` are not
    installed, and when a file cannot be written.
    """
    file = read_model_file(name_or_path)
    content = seal_checked(file, onnx_of_file(file))
    if out is not None:
        return write_with_graph(file, content, Path(out))
    write_atomically(file.graph_path, content)
    return file.graph_path


def check_bundled(name_or_path: str | Path) -> None:
    """Raises LoxoError for a bundled model whose graph is in order, so that no command overwrites it by accident."""
    file = read_model_file(name_or_path)
    if file.path.parent != BUNDLED:
        return
    try:
        read_graph(file)
    except LoxoError:
        return
    raise LoxoError(
        f"{file.graph_path}: the bundled model already has this graph. Give --out to write a copy of the model with "
        "a graph of its own."
    )


def onnx_of_file(file: ModelFile) -> bytes:
    """The ONNX model of a model file's network. Raises LoxoError as export_graph does."""
    from safetensors.torch import load_file

    check_exportable(file)
    model = build(file.config)
    try:
        model.load_state_dict(load_file(file.path))
    except RuntimeError as error:
        raise LoxoError(f"{file.path}: the weights do not fit the config in the file's header. {error}") from error
    export.apply(model)
    return onnx_of(model.eval())


def seal_checked(file: ModelFile, body: bytes) -> bytes:
    """The content of a graph file that detection accepts. Raises LoxoError where it would not accept it."""
    content = seal_graph(body, file.weights_sha256)
    try:
        parse_graph(content, file.config)
    except ValueError as error:
        raise LoxoError(
            f"{file.path}: this network cannot be a graph: {error}. Use --runtime torch with it."
        ) from error
    return content


def write_with_graph(file: ModelFile, content: bytes, out: Path) -> Path:
    """Copies a model file and writes this graph beside the copy; returns the graph's path."""
    if out.suffix != ".safetensors":
        raise LoxoError(f"{out}: the name of a model file must end in .safetensors.")
    if out.resolve() == file.path.resolve():
        raise LoxoError(f"{out}: this is the model file itself. Give the copy another name.")
    write_atomically(out, file.path.read_bytes())
    write_atomically(out.with_suffix(GRAPH_SUFFIX), content)
    return out.with_suffix(GRAPH_SUFFIX)


def write_graph(path: str | Path) -> str | None:
    """export_graph at the end of a training, which must not fail for it: a sentence where there is no graph."""
    try:
        export_graph(path)
    except LoxoError as error:
        return str(error)
    return None


def check_exportable(file: ModelFile) -> None:
    """Raises LoxoError where only PyTorch computes the front end of a model."""
    if not is_supported(file.config):
        raise LoxoError(
            f"{file.path}: only PyTorch computes the front end {file.config.frontend!r} of this model, so it has no "
            "graph. Use --runtime torch with it."
        )


def onnx_of(model: FrameModel) -> bytes:
    """The ONNX model of a network for one group of windows, without metadata. Raises LoxoError without the packages."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401 (the exporter needs it)
    except ImportError as error:
        raise LoxoError(f"Export needs {error.name}, which is not installed. Run: {install_extra('train')}") from error
    example = torch.zeros(image_shape(model.config))
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # remarks of the exporter on its own code
        program: Any = torch.onnx.export(
            _FromImage(model),
            (example,),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=["image"],
            output_names=["logits", "latent"],
        )
    return plain_onnx(program.model_proto)


def plain_onnx(model: Any) -> bytes:
    """An ONNX model with the shapes of its tensors, as the body of a graph file."""
    import onnx

    plain: bytes = _plain(onnx.shape_inference.infer_shapes(model, strict_mode=True)).SerializeToString()
    return plain


def _plain(message: Any) -> Any:
    """An ONNX model without what only describes its making."""
    for part in (message, message.graph, *message.graph.node, *message.graph.initializer):
        for field in DROPPED:
            if field in part.DESCRIPTOR.fields_by_name:
                part.ClearField(field)
    for value in (*message.graph.input, *message.graph.output, *message.graph.value_info):
        for field in DROPPED:
            value.ClearField(field)
    for field in ("producer_name", "producer_version"):
        message.ClearField(field)
    return message
