"""A recording that a caller gives as an array or as a path."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from loxo.audio.urls import hide_secrets, is_url
from loxo.errors import LoxoError

ARRAY = "array"  # the name of a recording that has no file
MIN_RATE, MAX_RATE = 10, 4_000_000  # Hz
MAX_CHANNELS = 64


@contextmanager
def as_file(recording: str | Path | NDArray[Any], sample_rate: int | None) -> Iterator[str | Path]:
    """The path of a recording. An array is written to a temporary WAV file, so that its results are those of a file.

    An array has samples of shape (n,) or (n, channels), floats within -1 to 1, int16 or int32, and a `sample_rate` in
    Hz. Raises TypeError for an array or a path of another kind, LoxoError for a folder or a rate out of bounds.
    """
    if isinstance(recording, np.ndarray):
        with tempfile.TemporaryDirectory() as folder:
            yield _write_array(recording, sample_rate, Path(folder))
    else:
        _check_path(recording, sample_rate)
        yield hide_secrets(recording) if isinstance(recording, str) else recording


def _check_path(recording: Any, sample_rate: Any) -> None:
    if not isinstance(recording, str | os.PathLike):
        raise TypeError(
            f"A recording is a path, a URL or a numpy array, not {type(recording).__name__}. For several recordings "
            "use loxo.survey."
        )
    if sample_rate is not None:
        raise TypeError("A sample_rate goes with an array; a file has its own.")
    if not is_url(str(recording)) and Path(recording).is_dir():
        raise LoxoError(f"{recording}: this is a folder. Use loxo.survey for all recordings in it.")


def _write_array(samples: NDArray[Any], sample_rate: Any, folder: Path) -> Path:
    if isinstance(sample_rate, bool) or not isinstance(sample_rate, int | np.integer):
        raise TypeError(f"An array needs its sample_rate in Hz, a whole number, not {sample_rate!r}.")
    if not MIN_RATE <= sample_rate <= MAX_RATE:
        raise LoxoError(f"A sample_rate of {sample_rate} Hz is out of bounds: give the rate of the array's samples.")
    if samples.ndim not in (1, 2) or not samples.size or (samples.ndim == 2 and samples.shape[1] > MAX_CHANNELS):
        raise TypeError(f"An array of sound has shape (samples,) or (samples, channels), not {samples.shape}.")
    if samples.dtype.kind == "f":
        samples, subtype = samples.astype(np.float32), "FLOAT"
    elif samples.dtype in (np.int16, np.int32):
        subtype = "PCM_16" if samples.dtype == np.int16 else "PCM_32"
    else:
        raise TypeError(f"An array of sound holds floats, int16 or int32, not {samples.dtype}.")
    path = folder / f"{ARRAY}.wav"
    soundfile.write(path, samples, int(sample_rate), subtype=subtype, format="RF64")
    return path
