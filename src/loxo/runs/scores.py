"""Frame scores kept in a run folder: `scores/NAME.npz` beside `tables/NAME.selections.txt`.

Each file holds `hop_s` (float64, seconds a step) and one array for each label, float16 probabilities; step k covers
[k, k + 1) x hop_s from the start of the recording. Of a model that tells where two events of a class sound at once it
holds those probabilities too, as `LABEL overlap`. `numpy.load` reads it without Loxo. Between 0.5 and 1 a float16 is
within 0.00025 of the score, below within 1 part in 2048 of it: a day of two classes takes a few megabytes. Detection
rounds its scores in the same way before it looks for events (`rounded`), so that kept scores decoded again give the
very same events.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loxo.errors import LoxoError
from loxo.files import write_atomically

SUFFIX = ".npz"
FOLDER = "scores"
TABLE_SUFFIX = ".selections.txt"


@dataclass(frozen=True)
class KeptScores:
    """The frame scores of one recording."""

    labels: tuple[str, ...]  # the model's classes, and `LABEL overlap` where it tells of overlaps
    scores: NDArray[np.float32]  # (labels, steps), probabilities as `rounded` gives them
    hop_s: float  # seconds a step


def write_scores(path: str | Path, labels: Sequence[str], scores: NDArray[np.floating[Any]], hop_s: float) -> None:
    """Writes (labels, steps) scores to an .npz, whole or not at all; the same scores give the same bytes.

    Raises LoxoError when a label is `hop_s`, which a file cannot hold beside the hop, or the file cannot be written.
    """
    if "hop_s" in labels:
        raise LoxoError(f"{path}: scores of a class called 'hop_s' cannot be stored. Give the class another name.")
    arrays: dict[str, Any] = dict(zip(labels, scores.astype(np.float16), strict=True))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, hop_s=np.float64(hop_s), **arrays)
    write_atomically(path, buffer.getvalue())


def read_score_file(path: str | Path) -> KeptScores:
    """Reads an .npz of write_scores, or of an earlier version, which stored float32.

    Raises LoxoError when it is not there, damaged, or something else.
    """
    try:
        with Path(path).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            hop_s = float(file["hop_s"])
            labels = tuple(name for name in file.files if name != "hop_s")
            scores = np.stack([np.atleast_1d(file[label]) for label in labels]).astype(np.float32)
    except FileNotFoundError as error:
        raise LoxoError(f"{path}: there are no kept scores. Run `loxo detect` with --keep-scores.") from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise LoxoError(f"{path}: this is no file of frame scores, or it is damaged ({error}).") from error
    if scores.ndim != 2 or not hop_s > 0:
        raise LoxoError(f"{path}: this is no file of frame scores.")
    return KeptScores(labels, scores, hop_s)


def read_scores(run: str | Path, recording: str | Path) -> KeptScores:
    """The kept frame scores of a recording of the run folder `run`.

    `recording` is its path as run.json and events.csv give it. A run that was decoded again from another's scores
    (`loxo decode`) has none of its own; the other's are read.
    Raises LoxoError when the folder is no run, does not know the recording, or holds no scores of it.
    """
    names = recordings_with_names(run)
    if str(recording) not in names:
        raise LoxoError(f"{run}: the run knows no recording {str(recording)!r} that could be analysed.")
    return read_score_file(score_path(run, names[str(recording)]))


def score_path(run: str | Path, name: str) -> Path:
    """Where the scores of the recording with this table name lie, which may be another run's folder."""
    source = _read_run(run)["parameters"].get("from_scores")
    return Path(source or run, FOLDER, name + SUFFIX)


def recordings_with_names(run: str | Path) -> dict[str, str]:
    """The analysed recordings of a run, as given, and the names of their files below `tables/` and `scores/`."""
    return {
        item["recording"]: item.get("name") or item["table"].removeprefix("tables/").removesuffix(TABLE_SUFFIX)
        for item in _read_run(run)["recordings"]
        if item.get("name") or item.get("table")  # runs of earlier versions have no name
    }


def _read_run(run: str | Path) -> dict[str, Any]:
    path = Path(run, "run.json")
    try:
        return _parse_run(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise LoxoError(f"{run}: this is no folder of `loxo detect`; it has no run.json.") from error


@lru_cache(maxsize=4)
def _parse_run(path: Path, mtime_ns: int) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        record["parameters"], record["recordings"]
    except (ValueError, KeyError, TypeError) as error:
        raise LoxoError(f"{path}: this is no run of Loxo, or it is damaged.") from error
    return record
