"""Reads tensors from untrusted checkpoint files: .ckpt, .pth, .pt, .bin, .safetensors. The content gives the format.

A checkpoint is a pickle, and a pickle is a program. Here it can only build dictionaries, lists and tensors. No name in
it is imported, and it cannot call a function of its choice. Other objects in published checkpoints (NumPy scalars,
objects of Lightning) become placeholders. A file with any other name is refused.

`torch.load(weights_only=True)` has the same purpose, but fails at pickle protocol 4 and at NumPy scalars, which the
CLAP files of LAION contain. It serves here only for files from before PyTorch 1.6, which are not zip archives.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from loxo.errors import LoxoError

DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
PLACEHOLDERS = ("numpy", "_codecs", "pytorch_lightning", "lightning", "argparse")  # packages whose objects are skipped
TENSORS_ONLY = "Request a file that contains only tensors."
LEGACY_PICKLES = 5  # a number, the protocol, the system, the content, the keys of the tensors
PURE_BUILTINS = ("bytearray", "complex", "dict", "float", "frozenset", "int", "list", "set", "slice", "tuple")


class _Skipped:
    """Placeholder for an object that is not read."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __setstate__(self, _: Any) -> None: ...

    def __setitem__(self, _: Any, __: Any) -> None: ...


class _TensorUnpickler(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(_stored(archive, f"{root}data.pkl")))
        self.archive, self.root = archive, root
        self.storages: dict[str, Tensor] = {}
        # Methods instead of functions: a pickle may set attributes of the objects it names. A bound method has none.
        self.known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): self.tensor,
            ("torch._utils", "_rebuild_parameter"): self.parameter,
            **{("torch", name): dtype for name, dtype in DTYPES.items()},
        }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in self.known:
            return self.known[module, name]
        if module.split(".")[0] in PLACEHOLDERS or (module in ("builtins", "__builtin__") and name in PURE_BUILTINS):
            return _Skipped
        raise LoxoError(f"it contains code ({module}.{name}), not only tensors")

    def persistent_load(self, pid: Any) -> Tensor:
        kind, dtype, key, _, count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise LoxoError(f"it contains a storage of an unknown type ({dtype})")
        if key not in self.storages:
            content = bytearray(_stored(self.archive, f"{self.root}data/{key}"))
            if len(content) != count * dtype.itemsize:
                raise LoxoError(f"its storage {key} has {len(content)} bytes instead of {count * dtype.itemsize}")
            self.storages[key] = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
        return self.storages[key]

    def tensor(self, storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
        if math.prod(size) > storage.numel():
            raise LoxoError(f"it contains a tensor of shape {tuple(size)} in a storage of {storage.numel()} numbers")
        return storage.as_strided(size, stride, offset)  # raises RuntimeError outside the storage

    def parameter(self, data: Tensor, *_: Any) -> Tensor:
        return data


def _check_sizes(path: Path) -> None:
    """Raises LoxoError for a pickle that asks for memory by a number: `bytearray(2**31)` takes 2 GiB from 30 bytes.

    A file from before PyTorch 1.6 begins with LEGACY_PICKLES pickles. The data of the tensors follow.
    """
    with path.open("rb") as file:
        for _ in range(LEGACY_PICKLES):
            try:
                for _, value, _ in pickletools.genops(file):
                    if isinstance(value, str) and value.split()[-1:] == ["bytearray"]:
                        raise LoxoError("it contains code (builtins.bytearray), not only tensors")
            except ValueError:  # damaged here: torch.load stops at the same place and names the fault
                return


def _stored(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:  # PyTorch never compresses: no zip bombs
        raise LoxoError("it is a compressed archive")
    return archive.read(name)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(tensors by name, metadata of a .safetensors header). Raises LoxoError for anything but a file of tensors."""
    try:
        with path.open("rb") as handle:
            start = handle.read(512)
    except OSError as error:
        raise LoxoError(
            f"{path}: cannot be read ({error.strerror or error}). Is the path correct, and may you read it?"
        ) from error
    if start.lstrip()[:1] == b"<":
        raise LoxoError(f"{path}: this is a web page, not a checkpoint. The download went wrong: fetch the file again.")
    try:
        if start[8:9] == b"{":
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
        if start[:4] == b"PK\x03\x04":
            with zipfile.ZipFile(path) as archive:
                pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
                if len(pickles) != 1:
                    raise LoxoError("it is an archive without exactly one pickle of tensors")
                content = _TensorUnpickler(archive, pickles[0].removesuffix("data.pkl")).load()
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about the pickle's protocol
                _check_sizes(path)
                content = torch.load(path, map_location="cpu", weights_only=True)
        return _tensors_in(content), {}
    except LoxoError as error:
        raise LoxoError(f"{path}: not read, and nothing in it was run: {error}. {TENSORS_ONLY}") from error
    except Exception as error:  # a hostile or damaged file can raise anything
        code = re.search(r"GLOBAL ([\w.]+)", str(error))
        if code and isinstance(error, pickle.UnpicklingError):
            fault = f"it contains code ({code[1]}), not only tensors"
            raise LoxoError(f"{path}: not read, and nothing in it was run: {fault}. {TENSORS_ONLY}") from error
        raise LoxoError(
            f"{path}: this is not a readable checkpoint ({type(error).__name__}). Nothing in it was run. "
            "Is the file complete?"
        ) from error


def _tensors_in(content: Any) -> dict[str, Tensor]:
    """The state dict of the checkpoint: the content itself, or the entry that contains the most tensors."""
    if not isinstance(content, dict):
        raise LoxoError("it contains no dictionary of tensors")
    candidates = [content, *(value for value in content.values() if isinstance(value, dict))]
    found = [{k: v for k, v in c.items() if isinstance(k, str) and isinstance(v, Tensor)} for c in candidates]
    best = max(found, key=len)
    if not best:
        raise LoxoError("it contains no dictionary of tensors")
    return best
