"""Finished shards of unfinished recordings: a run resumes from them inside a long recording.

    parts/KEY/0007.npz   a loxo.detection.shards.Part. KEY is a hash of the recording's path, size and version, and of
                         the shard length. Shards of another version or of another grid are therefore never found.

Each file is written whole or not at all. It is removed when its recording is finished; the folder is removed at the end
of the run. An unreadable file is treated as missing: the shard is analysed again.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from loxo.detection.part import Part
from loxo.errors import LoxoError
from loxo.files import inside, write_atomically
from loxo.runs.npz import npz_content, read_npz


class Parts:
    """The parts in `folder` of the recordings with these keys. A recording is given by its index in `keys`."""

    def __init__(self, folder: Path, keys: Sequence[str]) -> None:
        self.folder, self.keys = folder, keys

    def known(self, index: int) -> dict[int, Part]:
        """Every readable part of a recording, by shard."""
        if not self.folder.is_dir():  # the usual case
            return {}
        parts = {}
        for path in sorted(inside(self.folder, self.keys[index]).glob("*.npz")):
            with suppress(LoxoError):
                part = _read(path)
                parts[part.shard] = part
        return parts

    def keep(self, index: int, part: Part) -> None:
        """Stores a part. Raises LoxoError when it cannot be written."""
        import numpy as np

        arrays = {
            "numbers": np.array([part.shard, part.of, part.samples, part.first_step, part.end, part.zeroed], np.int64),
            "sums": part.sums,
            "weights": part.weights,
            "fault": np.array([] if part.fault is None else [part.fault], np.str_),
            "seconds": np.array([part.seconds, part.whole_s]),
            "channels": part.channels,
            "checks": part.checks,
        }
        write_atomically(self._path(index, part.shard), npz_content(arrays))

    def load(self, index: int, shard: int) -> Part:
        """Raises LoxoError when the part cannot be read."""
        return _read(self._path(index, shard))

    def drop(self, index: int) -> None:
        """Removes the parts of a finished recording."""
        if self.folder.is_dir():
            shutil.rmtree(self.folder / self.keys[index], ignore_errors=True)

    def drop_all(self) -> None:
        """Removes the parts of all recordings."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, index: int, shard: int) -> Path:
        return inside(self.folder, f"{self.keys[index]}/{shard:04d}.npz")


def _read(path: Path) -> Part:
    try:
        file = read_npz(path)
        shard, of, samples, first_step, end, zeroed = (int(number) for number in file["numbers"])
        fault = str(file["fault"][0]) if len(file["fault"]) else None
        seconds, whole = (float(number) for number in file["seconds"])
        arrays, channels = (file["sums"], file["weights"]), file["channels"]
        limits = (shard, of, samples, first_step)
        return Part(*limits, *arrays, end, bool(zeroed), fault, seconds, whole, channels, file["checks"])
    except Exception as error:  # whatever is wrong with the file, it is damaged
        raise LoxoError(
            f"{path}: a finished shard of a recording cannot be read ({error}). Give the same command again."
        ) from error
