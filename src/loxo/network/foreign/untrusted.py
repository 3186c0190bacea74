"""Reads tensors from untrusted checkpoint files: .ckpt, .pth, .pt, .bin, .safetensors. The content gives the format.

A checkpoint is a pickle, and a pickle is a program. Here it can only build dictionaries, lists and tensors. No name in
it is imported, and it cannot call a function of its choice. Other objects in published checkpoints (devices, sizes,
counters, dates, NumPy scalars, settings of Lightning) become placeholders. A file with any other name is refused.

`torch.load(weights_only=True)` has the same purpose, but fails at pickle protocol 4, NumPy scalars and many plain
values. Files from before PyTorch 1.6 are no zip archives: several pickles, then the storages (`_read_former`).
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

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
DTYPE_NAMES = {name for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
# Packages whose objects are skipped.
PLACEHOLDERS = ("numpy", "_codecs", "pytorch_lightning", "lightning", "argparse", "omegaconf", "yacs", "easydict")
# Plain values that are skipped. Nothing here is imported: a name only selects the placeholder.
PLAIN_VALUES = {
    "collections": ("Counter", "defaultdict", "deque"),
    "datetime": ("date", "datetime", "time", "timedelta", "timezone"),
    "decimal": ("Decimal",),
    "fractions": ("Fraction",),
    "pathlib": ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath"),
    "pathlib._local": ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath"),
    "torch": ("device", "Size", "finfo", "iinfo"),
    "torch.serialization": ("_get_layout",),
    "torch.torch_version": ("TorchVersion",),
    "types": ("SimpleNamespace",),
    "uuid": ("UUID", "SafeUUID"),
}
TENSORS_ONLY = "Request a file that contains only tensors."
PURE_BUILTINS = (
    "bytearray",
    "complex",
    "dict",
    "float",
    "frozenset",
    "int",
    "list",
    "range",
    "set",
    "slice",
    "tuple",
    "xrange",
)
FORMER_MAGIC, FORMER_VERSION = 0x1950A86A20F9469CFC6C, 1001  # the first two pickles of files before PyTorch 1.6


class _Skipped:
    """Placeholder for an object that is not read."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __setstate__(self, _: Any) -> None: ...

    def __setitem__(self, _: Any, __: Any) -> None: ...

    def append(self, _: Any) -> None: ...  # items of a deque, one by one or together

    def extend(self, _: Any) -> None: ...


class Content(NamedTuple):
    """The tensors of a file by name, the metadata of a .safetensors header, and notes for the user."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    notes: list[str]


class _TensorUnpickler(pickle.Unpickler):
    """Builds dictionaries, lists and tensors. `storage(key, dtype, count)` returns the numbers of a storage."""

    def __init__(self, file: IO[bytes], storage: Callable[[str, torch.dtype, int], Tensor]) -> None:
        super().__init__(file)
        self.storage = storage
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
        if module == "torch" and name in DTYPE_NAMES:
            return _Skipped()
        if (
            module.split(".")[0] in PLACEHOLDERS
            or name in PLAIN_VALUES.get(module, ())
            or (module in ("builtins", "__builtin__") and name in PURE_BUILTINS)
        ):
            return _Skipped
        raise LoxoError(f"it contains code ({module}.{name}), not only tensors")

    def persistent_load(self, pid: Any) -> Tensor:
        kind, dtype, key, _, count, *view = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype) or any(view):
            raise LoxoError(f"it contains a storage of an unknown type ({dtype})")
        if key not in self.storages:
            self.storages[key] = self.storage(key, dtype, count)
        return self.storages[key]

    def tensor(self, storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
        if math.prod(size) > storage.numel():
            raise LoxoError(f"it contains a tensor of shape {tuple(size)} in a storage of {storage.numel()} numbers")
        return storage.as_strided(size, stride, offset)  # raises RuntimeError outside the storage

    def parameter(self, data: Tensor, *_: Any) -> Tensor:
        return data


def _read_archive(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise LoxoError("it is an archive without exactly one pickle of tensors")
        root = pickles[0].removesuffix("data.pkl")

        def storage(key: str, dtype: torch.dtype, count: int) -> Tensor:
            content = bytearray(_stored(archive, f"{root}data/{key}"))
            if len(content) != count * dtype.itemsize:
                raise LoxoError(f"its storage {key} has {len(content)} bytes instead of {count * dtype.itemsize}")
            return torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)

        return _TensorUnpickler(io.BytesIO(_stored(archive, pickles[0])), storage).load()


def _read_former(path: Path) -> Any:
    """Magic number, version, computer, content and names of the storages as pickles; then count and bytes of each."""
    left = path.stat().st_size  # bytes that storages can have: a file cannot claim more memory than its size

    def storage(key: str, dtype: torch.dtype, count: int) -> Tensor:
        nonlocal left
        left -= count * dtype.itemsize
        if left < 0 or count < 0:
            raise LoxoError(f"its storage {key} is larger than the file")
        return torch.empty(count, dtype=dtype)

    with path.open("rb") as file:
        magic, version, _ = (_TensorUnpickler(file, storage).load() for _ in range(3))
        if (magic, version) != (FORMER_MAGIC, FORMER_VERSION):
            raise ValueError("no file of PyTorch")
        unpickler = _TensorUnpickler(file, storage)
        content = unpickler.load()
        names = _TensorUnpickler(file, storage).load()
        if sorted(names) != sorted(unpickler.storages):
            raise LoxoError("its list of storages does not fit its tensors")
        for name in names:
            values = unpickler.storages[name]
            count, octets = int.from_bytes(file.read(8), "little"), cast(Any, values.view(torch.uint8).numpy())
            if count != len(values) or file.readinto(octets) != values.nbytes:
                raise EOFError
        return content


def _stored(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:  # PyTorch never compresses: no zip bombs
        raise LoxoError("it is a compressed archive")
    return archive.read(name)


def read_tensors(path: Path) -> Content:
    """The tensors in a file. Raises LoxoError for anything but a file of tensors."""
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
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                return Content(tensors, file.metadata() or {}, [])
        return _tensors_in(_read_archive(path) if start[:4] == b"PK\x03\x04" else _read_former(path))
    except LoxoError as error:
        raise LoxoError(f"{path}: not read, and nothing in it was run: {error}. {TENSORS_ONLY}") from error
    except Exception as error:  # a hostile or damaged file can raise anything
        raise LoxoError(
            f"{path}: this is not a readable checkpoint ({type(error).__name__}). Nothing in it was run. "
            "Is the file complete?"
        ) from error


def _tensors_in(content: Any) -> Content:
    """The state dict of the checkpoint: the dictionary with the most tensors; of several with as many, the first one.

    A note names it, and the other dictionaries with at least half as many tensors.
    """
    found = dict(_dictionaries(content)) if isinstance(content, dict) else {}
    if not any(found.values()):
        raise LoxoError("it contains no dictionary of tensors")
    name = max(found, key=lambda name: len(found[name]))
    others = [other for other in found if other != name and 2 * len(found[other]) >= len(found[name])]
    if not others:
        return Content(found[name], {}, [])
    taken, *rest = (repr(one) if one else "the outermost dictionary" for one in (name, *others))
    return Content(found[name], {}, [f"The file has several sets of weights: {taken} is read, {', '.join(rest)} not."])


def _dictionaries(content: dict[Any, Any]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """(dotted name, tensors) of a dictionary and of all dictionaries in it. The name of the outermost one is empty."""
    waiting, known = [("", content)], {id(content)}  # a pickle may contain a dictionary in itself
    for name, one in waiting:
        yield name, {key: value for key, value in one.items() if isinstance(key, str) and isinstance(value, Tensor)}
        for key, value in one.items():
            if isinstance(key, str) and isinstance(value, dict) and id(value) not in known:
                known.add(id(value))
                waiting.append((f"{name}.{key}".lstrip("."), value))
