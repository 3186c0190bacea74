"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from loxo.errors import LoxoError


def write_atomically(path: str | Path, content: bytes) -> None:
    """Writes beside the target under a temporary name, then renames: nobody ever sees half a file.

    Raises LoxoError when the folder cannot be written to or the disk is full; then nothing is left behind.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as handle:
            temporary = Path(handle.name)
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise LoxoError(f"{path}: cannot be written ({error.strerror or error}). Free space or give another folder.") from error


def _umask() -> int:
    """NamedTemporaryFile makes private files; what a run writes is meant to be shared as other files are."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
