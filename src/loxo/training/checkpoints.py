"""Checkpoints of a training run: everything that is needed to resume it.

A checkpoint is first written to a temporary file in the same folder and then takes the name of the previous one. A run
that is killed at any moment therefore always has a complete checkpoint.
"""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from loxo.errors import LoxoError
from loxo.files import atomic_path

CHECKPOINT = Path("checkpoints", "last.ckpt")
FORMER_KEYS = {  # keys of checkpoints of earlier versions: {old key: new key}
    "step": "iteration",
    "averaged": "average_updates",
    "without_better": "validations_since_best",
}


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns an OSError in this block into a LoxoError about `path`."""
    try:
        yield
    except OSError as error:
        raise LoxoError(
            f"{path}: the file cannot be written ({error.strerror or error}). Free some disk space and continue with "
            "--resume."
        ) from error


def save_checkpoint(out: Path, state: dict[str, Any]) -> None:
    """Replaces the checkpoint of the run in `out`.

    Raises LoxoError when it cannot be written. The previous checkpoint then stays as it was.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with atomic_path(out / CHECKPOINT) as draft, draft.open("wb") as file:
        file.write(buffer.getbuffer())
        file.flush()
        os.fsync(file.fileno())


def load_checkpoint(out: Path) -> dict[str, Any] | None:
    """The last checkpoint of the run in `out`, or None if it has none yet. Raises LoxoError for a damaged file."""
    path = out / CHECKPOINT
    for draft in path.parent.glob(".*.tmp"):  # left by a process that was killed while it wrote
        draft.unlink(missing_ok=True)
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise LoxoError(
            f"{path}: the checkpoint cannot be read because the file is damaged. Start a new run in another folder."
        ) from error
    return _with_present_keys(state)


def _with_present_keys(state: dict[str, Any]) -> dict[str, Any]:
    """The checkpoint with its present keys; earlier versions called an iteration a step."""
    renamed = {FORMER_KEYS.get(key, key): value for key, value in state.items()}
    renamed["best"] = {FORMER_KEYS.get(key, key): value for key, value in state["best"].items()}
    return renamed
