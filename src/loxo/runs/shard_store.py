"""The shards that are done of recordings that are not: what a run goes on from inside a long recording.

    parts/KEY/0007.npz   a loxo.detection.shards.Part. KEY is a hash of the recording's path, size and time of change,
                         and of the length of shards, so that what does not fit any more is never found.

Each file is written whole or not at all, and goes when its recording is finished; the folder goes with the run's end.
What cannot be read counts as not there: the shard is done again.
"""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from loxo.detection.shards import Part
from loxo.errors import LoxoError
from loxo.files import write_atomically


class Parts:
    """The parts below `folder` of the recordings with these keys."""

    def __init__(self, folder: Path, keys: Sequence[str]) -> None:
        self.folder, self.keys = folder, keys

    def known(self, index: int) -> dict[int, Part]:
        """Every part of a recording that can be read, by its shard."""
        if not self.folder.is_dir():  # the usual case costs one look
            return {}
        parts = {}
        for path in sorted((self.folder / self.keys[index]).glob("*.npz")):
            with suppress(LoxoError):
                part = _read(path)
                parts[part.shard] = part
        return parts

    def keep(self, index: int, part: Part) -> None:
        """Raises LoxoError when it cannot be written."""
        buffer = io.BytesIO()
        np.savez(
            buffer,
            numbers=np.array([part.shard, part.of, part.samples, part.first_step, part.end, part.zeroed], np.int64),
            sums=part.sums,
            weights=part.weights,
            fault=np.array([] if part.fault is None else [part.fault], np.str_),
            seconds=np.array([part.seconds, part.whole_s]),
        )
        write_atomically(self._path(index, part.shard), buffer.getvalue())

    def load(self, index: int, shard: int) -> Part:
        return _read(self._path(index, shard))

    def drop(self, index: int) -> None:
        """Removes the parts of a recording that is finished."""
        if self.folder.is_dir():
            shutil.rmtree(self.folder / self.keys[index], ignore_errors=True)

    def drop_all(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, index: int, shard: int) -> Path:
        return self.folder / self.keys[index] / f"{shard:04d}.npz"


def _read(path: Path) -> Part:
    try:
        with np.load(path, allow_pickle=False) as file:
            shard, of, samples, first_step, end, zeroed = (int(number) for number in file["numbers"])
            fault = str(file["fault"][0]) if len(file["fault"]) else None
            seconds, whole = (float(number) for number in file["seconds"])
            arrays = file["sums"], file["weights"]
            return Part(shard, of, samples, first_step, *arrays, end, bool(zeroed), fault, seconds, whole)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise LoxoError(f"{path}: a finished part of a recording cannot be read again ({error}). Run again.") from error
