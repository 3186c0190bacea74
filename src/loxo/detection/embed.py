"""Embeddings: the latent output of a model for each window of a recording, for clustering and transfer learning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loxo.audio.recording import RecordingError, probe, stream
from loxo.audio.urls import public_url
from loxo.detection.arrays import ARRAY, as_file
from loxo.detection.shards import make_grid
from loxo.engine.engine import Engine, as_engine
from loxo.errors import LoxoError
from loxo.files import escape
from loxo.machine import one_thread

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

KEYS = ("recording", "start_s", "end_s")  # the columns before the features


def embed(
    recording: str | Path | NDArray[Any],
    model: str | Path | Engine | nn.Module = "default",
    *,
    sample_rate: int | None = None,
    window_overlap: float = 0.0,
    progress: Callable[[float, float], None] | None = None,
) -> pd.DataFrame:
    """One row for each window of a recording: recording, start_s, end_s (seconds), and the features e000, e001, ...

    `recording`, `sample_rate` and `model` as in loxo.detect. Windows begin at multiples of a hop; they overlap by the
    fraction `window_overlap` (at least 0, below 1). Silence follows the end of the recording in the last window. Memory
    does not grow with the recording, apart from the result. `progress` receives the seconds that are done and the
    duration.
    Raises RecordingError when the recording cannot be read to its end, LoxoError for a bad option or a model without a
    latent output, TypeError as loxo.detect does.
    """
    import pandas as pd

    engine = as_engine(model)
    config = engine.config
    latents: list[NDArray[np.float32]] = []
    with as_file(recording, sample_rate) as path, one_thread():
        source = probe(path)
        grid = make_grid(source, config, window_overlap)
        window, hop, samples = grid.window, grid.hop * grid.step_samples, grid.samples
        for number in range(grid.chunks):
            first, stop = grid.chunk(number)
            blocks = stream(source, grid.rate, start=first, stop=stop)
            waveform = np.concatenate([np.zeros(0, np.float32), *blocks])
            if blocks.fault is not None or not len(waveform):
                raise RecordingError(blocks.fault or f"{path}: the recording holds no samples.")
            last = number == grid.chunks - 1
            count = -(-max(len(waveform) - window, 0) // hop) + 1 if last else (stop - first - window) // hop + 1
            padded = np.pad(waveform, (0, max((count - 1) * hop + window - len(waveform), 0)))
            source_input = engine.read(padded)  # once: windows share their front end
            for k in range(0, count, engine.group or count):
                firsts = [n * hop for n in range(k, min(k + (engine.group or count), count))]
                latent = source_input.outputs(firsts)[1]
                if latent is None:
                    raise LoxoError("This model has no latent output, so it gives no embeddings.")
                latents.append(latent)
            if progress is not None:
                progress(min(stop, samples) / grid.rate, samples / grid.rate)
    features = np.concatenate(latents)
    start = np.arange(len(features)) * hop / grid.rate
    columns = [f"e{k:03}" for k in range(features.shape[1])]
    table = pd.DataFrame(features, columns=columns)
    name = ARRAY if isinstance(recording, np.ndarray) else escape(public_url(str(recording)))
    table.insert(0, "recording", pd.Series([name] * len(table), dtype="object"))
    table.insert(1, "start_s", start)
    table.insert(2, "end_s", np.minimum(start + window / grid.rate, samples / grid.rate))
    return table


def write_embeddings(table: pd.DataFrame, path: str | Path) -> None:
    """Writes embeddings as .npz (recording, start_s, end_s, features), .csv or .parquet, whole or not at all.

    Raises LoxoError for another suffix, when a package is missing, or when the file cannot be written.
    """
    import io

    from loxo.events.cells import safe_cell
    from loxo.files import write_atomically

    path, buffer = Path(path), io.BytesIO()
    check_suffix(path)
    if path.suffix == ".csv":
        table = table.assign(recording=table["recording"].map(safe_cell))
        buffer.write(table.to_csv(index=False, lineterminator="\n").encode())
    elif path.suffix == ".parquet":
        try:
            table.to_parquet(buffer, index=False)
        except ImportError as error:
            raise LoxoError(f"{path}: Parquet needs pyarrow: pip install 'loxo[formats]'.") from error
    else:
        features = table.drop(columns=list(KEYS)).to_numpy(np.float32)
        names = np.array(table["recording"].astype(str).tolist(), dtype=np.str_)
        np.savez_compressed(buffer, recording=names, start_s=table["start_s"], end_s=table["end_s"], features=features)
    write_atomically(path, buffer.getvalue())


def check_suffix(path: Path) -> None:
    """Raises LoxoError for a format that embeddings are not written in."""
    if path.suffix not in (".npz", ".csv", ".parquet"):
        raise LoxoError(f"{path}: embeddings are written as .npz, .csv or .parquet. Give a name that ends so.")
