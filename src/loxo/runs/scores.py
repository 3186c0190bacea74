"""Frame scores kept in a run folder: `scores/NAME.npz` beside `tables/NAME.selections.txt`.

Each file contains `hop_s` (float64, seconds per step) and one array for each output of the model: float16
probabilities, where step k covers [k, k + 1) x hop_s from the start of the recording. The outputs are the classes and,
where the model has them, the overlap outputs (`LABEL overlap`). `numpy.load` reads the file without Loxo.

Between 0.5 and 1 a float16 is within 0.00025 of the score, below 0.5 within 1 part in 2048 of it. A day of two classes
takes a few megabytes. Detection rounds its scores in the same way before it looks for events (`rounded`). Kept scores
that are decoded again therefore give exactly the same events.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loxo.errors import LoxoError
from loxo.files import atomic_path, escape, inside, write_atomically
from loxo.runs.npz import npz_content, read_npz
from loxo.runs.record import read_record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FOLDER, SUFFIX = "scores", ".npz"


@dataclass(frozen=True)
class KeptScores:
    """The frame scores of one recording."""

    labels: tuple[str, ...]  # names of the model's outputs: the classes, and `LABEL overlap` of the overlap outputs
    scores: NDArray[np.float32]  # (labels, steps), probabilities as `rounded` returns them
    hop_s: float  # seconds per step


def write_scores(path: str | Path, labels: Sequence[str], scores: NDArray[np.floating[Any]], hop_s: float) -> None:
    """Writes (labels, steps) scores to an .npz, whole or not at all; the same scores give the same bytes.

    Raises LoxoError as score_file does, and when the file cannot be written.
    """
    write_atomically(path, score_file(labels, scores, hop_s))


def score_file(labels: Sequence[str], scores: NDArray[np.floating[Any]], hop_s: float) -> bytes:
    """The content of a score file. Raises LoxoError when a label is `hop_s`, the name of another array in the file."""
    import numpy as np

    if "hop_s" in labels:
        raise LoxoError("Scores of a class called 'hop_s' cannot be stored. Give the class another name.")
    arrays: dict[str, Any] = dict(zip(labels, scores.astype(np.float16), strict=True))
    return npz_content({"hop_s": np.float64(hop_s), **arrays}, compressed=True)


def read_score_file(path: str | Path) -> KeptScores:
    """Reads a file of write_scores, or of an earlier version, which stored float32.

    Raises LoxoError when the file is missing, damaged, not a file of frame scores, or larger than any of them (npz.py).
    """
    import numpy as np

    try:
        arrays = read_npz(Path(path))
        hop_s = float(arrays.pop("hop_s"))
        scores = np.stack([np.atleast_1d(values) for values in arrays.values()], dtype=np.float32, casting="same_kind")
    except FileNotFoundError as error:
        raise LoxoError(f"{path}: there are no kept scores. Run `loxo detect` with --keep-scores.") from error
    except Exception as error:  # whatever is wrong with the file, it is damaged
        raise LoxoError(
            f"{path}: this is not a file of frame scores, or it is damaged ({error}). Run `loxo detect` with "
            "--keep-scores again."
        ) from error
    if scores.ndim != 2 or not 0 < hop_s < float("inf"):
        raise LoxoError(f"{path}: this is not a file of frame scores. Run `loxo detect` with --keep-scores again.")
    return KeptScores(tuple(arrays), scores, hop_s)


def read_scores(run: str | Path, recording: str | Path) -> KeptScores:
    """The kept frame scores of a recording of the run folder `run`.

    `recording` is the path in run.json and events.csv.
    Raises LoxoError when the folder is not a run, does not list the recording, or has no scores of it.
    """
    name = read_record(run).names.get(escape(str(recording)))
    if name is None:
        raise LoxoError(f"{run}: the run contains no recording {str(recording)!r} that could be analysed.")
    return read_score_file(score_path(run, name))


def find_scores(run: str | Path, recording: str | Path) -> KeptScores | None:
    """As read_scores, but None where the run has kept no scores of the recording."""
    name = read_record(run).names.get(escape(str(recording)))
    path = None if name is None else score_path(run, name)
    return read_score_file(path) if path is not None and path.is_file() else None


def score_name(name: str) -> str:
    """The path of a score file relative to the run folder; `name` is the name of the recording's files."""
    return f"{FOLDER}/{name}{SUFFIX}"


def score_path(run: str | Path, name: str) -> Path:
    """The score file of a recording in a run folder, by the name of its files."""
    return inside(run, score_name(name))


def share_scores(source: Path, run: Path, name: str) -> None:
    """Gives `run` the score file of the run `source`: a hard link, or a copy where links are not possible."""
    with atomic_path(score_path(run, name)) as draft:
        try:
            os.link(score_path(source, name), draft)
        except OSError:
            shutil.copyfile(score_path(source, name), draft)
