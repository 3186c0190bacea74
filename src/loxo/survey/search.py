"""Search by example: the windows of kept embeddings that are most like given examples.

Without negatives, the score of a window is its cosine similarity to the nearest example: exact, computed in blocks.
With negatives, a linear head is fitted to both kinds of examples: a logistic regression with an L2 penalty for each
label. Its scores are probabilities for equally many positives and negatives, so they are not calibrated for a survey.

A head is a JSON file: the model's SHA-256, the labels, and for each label the weights of the features and a constant.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loxo.audio.finding import find_recordings
from loxo.audio.recording import RecordingError, probe, stream
from loxo.detection.embed import embed_events
from loxo.engine.engine import Engine, load_engine
from loxo.errors import LoxoError, with_path
from loxo.events.cells import safe_cell
from loxo.events.reader import SUFFIXES as TABLES
from loxo.events.table import events_frame
from loxo.files import atomic_file, escape, write_atomically
from loxo.machine import one_thread
from loxo.survey.embeddings import Embeddings, events_by_recording, open_embeddings

if TYPE_CHECKING:
    import pandas as pd

HITS = 100
EXAMPLE = "example"  # the label of examples without a label
PENALTY = 0.1  # half of it times the squared weights is added to the mean loss; 0.01 to 1 gave similar hits
HEAD_VERSION = 1

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Examples:
    """Embeddings of examples: features (examples, features), and the label of each."""

    features: Floats
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Head:
    """A linear head: sigmoid(features @ weights.T + constants) are the scores of its labels."""

    model_sha256: str
    labels: tuple[str, ...]
    weights: NDArray[np.float64]  # (labels, features)
    constants: NDArray[np.float64]  # (labels,)
    examples: dict[str, int]  # number of examples of each label, and of negatives

    def scores(self, features: Floats) -> Floats:
        """(rows, features) -> (rows, labels)"""
        logits = features @ self.weights.T + self.constants
        scores: Floats = (1 / (1 + np.exp(-np.clip(logits, -60, 60)))).astype(np.float32)
        return scores


@dataclass(frozen=True)
class Found:
    """The result of a search."""

    events: pd.DataFrame  # hits, an events table
    durations: dict[str, float]  # end of the last window of each recording in seconds, for write_raven
    windows: int  # that were searched
    head: Head | None
    problems: list[str]

    def __str__(self) -> str:
        return f"{len(self.events)} hits in {self.windows} windows"


def search(
    embeddings: str | Path,
    examples: Iterable[str | Path] = (),
    *,
    recordings: Iterable[str | Path] = (),
    negatives: Iterable[str | Path] = (),
    head: str | Path | None = None,
    model: str | Path = "default",
    runtime: str = "auto",
    hits: int = HITS,
    threshold: float = 0.0,
    save_head: str | Path | None = None,
    scores_out: str | Path | None = None,
) -> Found:
    """The windows of a file of embeddings (loxo embed) that are most like examples, as an events table with scores.

    `examples` and `negatives`: tables of events in `recordings`, sound files that are not longer than a window, folders
    of them, or embeddings of events. `model` must be the model of the embeddings. `head`: a saved head, instead of
    examples. Windows that overlap are one hit, with the highest of their scores. At most `hits` hits that score at
    least `threshold` are returned. `save_head` and `scores_out` (CSV: the scores of all windows) are files to write.
    Raises LoxoError for a file that cannot be read or written, embeddings of another model, and missing examples.
    """
    file = open_embeddings(embeddings)
    if hits < 1 or not 0 <= threshold <= 1:
        raise LoxoError("A search needs at least one hit, and a threshold from 0 to 1.")
    if scores_out is not None and Path(scores_out).suffix != ".csv":
        raise LoxoError(f"{scores_out}: the scores of all windows are written as .csv. Give a name that ends so.")
    examples, negatives = list(examples), list(negatives)
    problems: list[str] = []
    if head is not None:
        if examples or negatives:
            raise LoxoError("Give examples, or a saved head, but not both.")
        fitted: Head | None = read_head(head)
        assert fitted is not None
        _check_model(file, fitted.model_sha256, fitted.weights.shape[1], str(head))
    else:
        if not examples:
            raise LoxoError("No examples were given. Give tables of events, short recordings, or a saved head.")
        if save_head is not None and not negatives:
            raise LoxoError("A head needs examples of both kinds: give negatives too.")
        engine = _LazyEngine(model, runtime)
        positive = read_examples(examples, recordings, file, engine, problems)
        fitted = None
        if negatives:
            fitted = fit_head(positive, read_examples(negatives, recordings, file, engine, problems).features, file)
    score: Callable[[Floats], Floats]
    if fitted is not None:
        labels, score = fitted.labels, fitted.scores
        if save_head is not None:
            write_head(fitted, save_head)
    else:
        labels, score = tuple(dict.fromkeys(positive.labels)), _cosine(positive)
    windows = _Windows.of(file, score, len(labels))
    if scores_out is not None:
        _write_scores(file, windows, labels, Path(scores_out))
    rows = [row for k, label in enumerate(labels) for row in windows.hits(k, label, hits, threshold)]
    best = sorted(rows, key=lambda row: -row["score"])[:hits]
    return Found(events_frame(best), windows.durations(), len(windows.start), fitted, problems)


class _LazyEngine:
    """The engine of the examples, opened when the first sound is embedded: examples may be embedded already."""

    def __init__(self, model: str | Path, runtime: str) -> None:
        self.model, self.runtime = model, runtime
        self.engine: Engine | None = None

    def __call__(self) -> Engine:
        if self.engine is None:
            self.engine = load_engine(self.model, runtime=self.runtime)
        return self.engine


def _check_model(file: Embeddings, sha256: str, dimension: int, where: str) -> None:
    if sha256 != file.model_sha256:
        raise LoxoError(
            f"{where}: its model (SHA-256 {sha256[:12]}) is not that of {file.path} ({file.model_sha256[:12]}). Use "
            "one model for both, or embed again."
        )
    if dimension != file.dimension:
        raise LoxoError(
            f"{where}: it has {dimension} features, but {file.path} has {file.dimension}. Embed again with one model."
        )


# ---------------------------------------------------------------- examples


def read_examples(
    paths: Iterable[str | Path],
    recordings: Iterable[str | Path],
    file: Embeddings,
    engine: Callable[[], Engine],
    problems: list[str],
) -> Examples:
    """Embeddings of examples for a search in `file`. Raises LoxoError where nothing can be used."""
    paths = list(paths)
    kept = [path for path in paths if str(path).endswith((".npz", ".parquet"))]
    tables = [path for path in paths if str(path).lower().endswith(TABLES)]
    clips, faults = find_recordings([path for path in paths if path not in kept and path not in tables])
    features: list[Floats] = []
    labels: list[str] = []
    problems += [sentence for _, sentence in faults]
    for path in kept:
        one = open_embeddings(path)
        _check_model(file, one.model_sha256, one.dimension, str(path))
        for rows in one.blocks():
            features.append(rows.features)
            labels += rows.label or [""] * len(rows.features)
    todo, sentences = events_by_recording(tables, recordings)
    problems += sentences
    if todo or clips:
        _check_model(file, engine().sha256, file.dimension, "The examples")
    with one_thread():
        for name, events in todo:
            for start_s, end_s, label in events:
                try:
                    features.append(embed_events(probe(name), engine(), [(start_s, end_s)]))
                    labels.append(label)
                except LoxoError as error:
                    problems.append(with_path(name, str(error)))
        for clip in clips:
            try:
                features.append(embed_clip(clip, engine()))
                labels.append("")
            except LoxoError as error:
                problems.append(with_path(clip, str(error)))
    if not features:
        given = ", ".join(map(str, paths[:3]))
        raise LoxoError(f"{given}: no example could be used. {' '.join(problems[:3])}".rstrip())
    return Examples(np.concatenate(features), tuple(label or EXAMPLE for label in labels))


def embed_clip(path: str | Path, engine: Engine) -> Floats:
    """Features (1, features) of a sound file, which is repeated until it fills a window.

    Silence around it would be another background, and the front end of most models compares a call with its background.
    Raises RecordingError for a file that cannot be read, LoxoError for one that is longer than a window.
    """
    config, recording = engine.config, probe(path)
    blocks = stream(recording, config.sample_rate)
    window_s = config.window_samples / config.sample_rate
    if recording.duration_s > window_s + 0.01:
        raise LoxoError(
            f"{path}: this example is {recording.duration_s:.1f} s long, but a window of the model has {window_s:g} s. "
            "Give a table of the events in it, or a shorter clip."
        )
    samples = np.concatenate([np.zeros(0, np.float32), *blocks])
    if blocks.fault is not None or not len(samples):
        raise RecordingError(blocks.fault or f"{path}: the recording holds no samples.")
    latent = engine.read(np.resize(samples, config.window_samples)).outputs([0])[1]
    if latent is None:
        raise LoxoError("This model has no latent output, so it gives no embeddings.")
    return latent


# ---------------------------------------------------------------- scores


def _cosine(examples: Examples) -> Callable[[Floats], Floats]:
    """Features (rows, features) -> highest cosine similarity to the examples of each label (rows, labels), from 0."""
    labels = tuple(dict.fromkeys(examples.labels))
    of_label = [np.array([label == one for one in examples.labels]) for label in labels]
    directions = _unit(examples.features)

    def score(features: Floats) -> Floats:
        similarity = _unit(features) @ directions.T
        best = np.stack([similarity[:, members].max(1) for members in of_label], axis=1)
        clipped: Floats = np.clip(best, 0, 1)
        return clipped

    return score


def _unit(features: Floats) -> Floats:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    unit: Floats = features / np.maximum(lengths, np.float32(1e-12))
    return unit


def fit_head(positive: Examples, negatives: Floats, file: Embeddings) -> Head:
    """A logistic regression for each label, against the negatives and the examples of all other labels.

    Features are standardised by their mean and standard deviation in `file`. Both kinds of examples have the same total
    weight.
    """
    from scipy.optimize import minimize  # type: ignore[import-untyped]

    mean, deviation = _moments(file)
    labels = tuple(dict.fromkeys(positive.labels))
    inputs = (np.concatenate([positive.features, negatives]) - mean) / deviation
    weights, constants = np.zeros((len(labels), file.dimension)), np.zeros(len(labels))
    for k, label in enumerate(labels):
        target = np.array([one == label for one in positive.labels] + [False] * len(negatives))
        share = np.where(target, 0.5 / target.sum(), 0.5 / (~target).sum())

        def loss(
            values: NDArray[np.float64], target: NDArray[np.bool_] = target, share: NDArray[np.float64] = share
        ) -> tuple[float, NDArray[np.float64]]:
            logits = inputs @ values[:-1] + values[-1]
            slope = share * (1 / (1 + np.exp(-np.clip(logits, -60, 60))) - target)
            total = (share * (np.logaddexp(0, logits) - target * logits)).sum() + PENALTY / 2 * (values[:-1] ** 2).sum()
            return float(total), np.append(slope @ inputs + PENALTY * values[:-1], slope.sum())

        values = minimize(loss, np.zeros(file.dimension + 1), jac=True, method="L-BFGS-B").x
        weights[k] = values[:-1] / deviation
        constants[k] = values[-1] - weights[k] @ mean
    counts = {label: positive.labels.count(label) for label in labels}
    return Head(file.model_sha256, labels, weights, constants, counts | {"negatives": len(negatives)})


def _moments(file: Embeddings) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each feature; a feature that does not vary has the deviation 1."""
    count, mean, squares = 0, np.zeros(file.dimension), np.zeros(file.dimension)
    for rows in file.blocks():
        values = rows.features.astype(float)
        own, size = values.mean(0), len(values)
        squares += ((values - own) ** 2).sum(0) + (own - mean) ** 2 * count * size / (count + size)
        mean += (own - mean) * size / (count + size)
        count += size
    deviation = np.sqrt(squares / count)
    return mean, np.where(deviation > 1e-6, deviation, 1.0)


def write_head(head: Head, path: str | Path) -> None:
    """Writes a head as JSON. Raises LoxoError when the file cannot be written."""
    content = {
        "loxo_head": HEAD_VERSION,
        "model_sha256": head.model_sha256,
        "labels": list(head.labels),
        "examples": head.examples,
        "constants": head.constants.tolist(),
        "weights": head.weights.tolist(),
    }
    write_atomically(path, (json.dumps(content) + "\n").encode())


def read_head(path: str | Path) -> Head:
    """A head that write_head has written. Raises LoxoError for any other file."""
    try:
        content: Any = json.loads(Path(path).read_bytes())
        head = Head(
            str(content["model_sha256"]),
            tuple(map(str, content["labels"])),
            np.array(content["weights"], float),
            np.array(content["constants"], float),
            dict(content["examples"]),
        )
        right = content["loxo_head"] == HEAD_VERSION and head.weights.ndim == 2 and bool(head.labels)
        right = right and len(head.weights) == len(head.labels) == len(head.constants) == head.constants.size
        if not right or not np.isfinite(head.weights).all() or not np.isfinite(head.constants).all():
            raise ValueError
    except OSError as error:
        raise LoxoError(f"{path}: the head cannot be read ({error.strerror or error}). Check the path.") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise LoxoError(
            f"{path}: this is not a head of loxo search. Fit it again with examples and negatives."
        ) from error
    return head


@dataclass(frozen=True)
class _Windows:
    """All windows of a file of embeddings, with their scores."""

    names: list[str]  # of the recordings
    recording: NDArray[np.int64]  # index in names
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    scores: Floats  # (windows, labels)

    @classmethod
    def of(cls, file: Embeddings, score: Callable[[Floats], Floats], labels: int) -> _Windows:
        names: dict[str, int] = {}
        recording, start, end = np.zeros(file.rows, np.int64), np.zeros(file.rows), np.zeros(file.rows)
        scores = np.zeros((file.rows, labels), np.float32)
        first = 0
        for rows in file.blocks():
            block = slice(first, first + len(rows.start_s))
            recording[block] = [names.setdefault(name, len(names)) for name in rows.recording]
            start[block], end[block], scores[block] = rows.start_s, rows.end_s, score(rows.features)
            first = block.stop
        return cls(list(names), recording, start, end, scores)

    def durations(self) -> dict[str, float]:
        ends = np.zeros(len(self.names))
        np.maximum.at(ends, self.recording, self.end)
        return dict(zip(self.names, ends.tolist(), strict=True))

    def hits(self, label: int, name: str, count: int, threshold: float) -> Iterator[dict[str, Any]]:
        """At most `count` hits, from the windows with the highest scores; windows that overlap are one hit."""
        order = np.argsort(-self.scores[:, label], kind="stable")
        order = order[: int((self.scores[:, label] >= threshold).sum())]
        used = min(count, len(order))
        merged = self._merged(order[:used])
        while len(merged) < count and used < len(order):
            used = min(used + count - len(merged), len(order))
            merged = self._merged(order[:used])
        for members in merged:
            yield {
                "recording": self.names[self.recording[members[0]]],
                "start_s": float(self.start[members].min()),
                "end_s": float(self.end[members].max()),
                "label": name,
                "score": float(self.scores[members, label].max()),
            }

    def _merged(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Rows in groups of windows that overlap."""
        rows = rows[np.lexsort((self.start[rows], self.recording[rows]))]
        if not len(rows):
            return []
        # The end of the windows so far in the recording; an offset for each recording keeps them apart.
        offset = self.recording[rows] * (self.end.max() + 1)
        reached = np.maximum.accumulate(self.end[rows] + offset)
        begins = np.flatnonzero((self.start[rows] + offset)[1:] >= reached[:-1] - 1e-3) + 1
        return np.split(rows, begins)


def _write_scores(file: Embeddings, windows: _Windows, labels: Sequence[str], path: Path) -> None:
    import pandas as pd

    with atomic_file(path) as out:
        first = 0
        for rows in file.blocks():
            part = slice(first, first + len(rows.start_s))
            table = pd.DataFrame(
                {
                    "recording": [safe_cell(escape(name)) for name in rows.recording],
                    "start_s": rows.start_s,
                    "end_s": rows.end_s,
                }
            )
            for k, label in enumerate(labels):
                table[escape(f"score {label}")] = windows.scores[part, k]
            table.to_csv(out, index=False, header=first == 0, float_format="%.6f", lineterminator="\n")
            first = part.stop
