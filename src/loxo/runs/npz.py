"""Arrays in .npz files with a checksum: kept scores (scores.py) and finished shards (shard_store.py).

The checksum (loxo.files.checksum) covers all bytes before it and is the comment of the zip archive. `numpy.load`
therefore reads the files too. Files of earlier versions have no comment.

Failure policy: a file may be damaged or come from another person. A file with a wrong checksum is not opened. Sizes
inside a file are checked before memory is taken. A reader raises any exception, and its caller must treat each of them
as damage.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loxo.files import checksum

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_BYTES = 256 << 20  # of a file, and of its arrays: the scores of a month in one recording
END, END_BYTES, SUM_BYTES = b"PK\x05\x06", 22, 8  # the end of a zip archive, without its comment; the comment


def npz_content(arrays: Mapping[str, Any], *, compressed: bool = False) -> bytes:
    """The content of an .npz file with these arrays; the same arrays give the same bytes."""
    import numpy as np

    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays)
    content = buffer.getvalue()[:-2] + struct.pack("<H", SUM_BYTES)  # the length of the comment, which was 0
    return content + checksum(content).encode()


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file; they cannot be written to. See this module's docstring for its exceptions."""
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES >> 20} MB")
    content = path.read_bytes()
    if content[-END_BYTES - SUM_BYTES :].startswith(END):
        if content[-SUM_BYTES:] != checksum(content[:-SUM_BYTES]).encode():
            raise ValueError("its checksum is wrong")
    elif not content[-END_BYTES:].startswith(END):
        raise ValueError("its end is missing")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > MAX_BYTES:
            raise ValueError(f"its arrays are larger than {MAX_BYTES >> 20} MB")
        arrays = {}
        for member in members:
            with archive.open(member) as file:
                # With a length, no more than this is decompressed, whatever the archive contains.
                arrays[member.filename.removesuffix(".npy")] = _array(file.read(member.file_size))
        return arrays


def _array(content: bytes) -> NDArray[Any]:
    import numpy as np

    stream = io.BytesIO(content)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("its arrays have an unknown format")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject:
        raise ValueError("it contains objects, not numbers")
    values = np.frombuffer(content, dtype, offset=stream.tell())
    return values.reshape(shape, order="F" if is_fortran else "C")
