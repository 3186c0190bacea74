"""Embeddings of many recordings, in one file that is written and read in blocks, so that memory does not grow with it.

A file has one row for each window or event: `recording`, `start_s`, `end_s`, for events `label`, and the features.

    .npz      an array for each column, `features` (rows, features) float32, and `model`, the SHA-256 of the model
    .parquet  a column for each feature (e000, e001, ...); the metadata contain `loxo_model`, the SHA-256
    .csv      the same columns as .parquet, without the SHA-256

Failure policy: a recording that cannot be read to its end is left out, with all its rows. A file is written completely
or not at all.
"""

from __future__ import annotations

import tempfile
import zipfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from loxo.audio.recording import probe
from loxo.audio.urls import public_url
from loxo.detection.embed import KEYS, embed_events, embed_windows, feature_names
from loxo.engine.engine import Engine
from loxo.errors import LoxoError, with_path
from loxo.files import atomic_path, escape
from loxo.installation import install_extra
from loxo.machine import one_thread

FORMATS = (".npz", ".parquet", ".csv")
BLOCK = 4096  # rows that are in memory at a time
MAX_ITEM_BYTES = 65536  # of one value in a file: longer names are refused before memory is taken
MODEL_KEY = b"loxo_model"
COPY_BYTES = 1 << 20

Floats = NDArray[np.float32]


def check_suffix(path: Path) -> None:
    """Raises LoxoError for a format that embeddings are not written in."""
    if path.suffix not in FORMATS:
        raise LoxoError(f"{path}: embeddings are written as .npz, .csv or .parquet. Give a name that ends so.")


def embed_recordings(
    recordings: Sequence[tuple[str | Path, Sequence[tuple[float, float, str]] | None]],
    engine: Engine,
    out: str | Path,
    *,
    window_overlap: float = 0.0,
    on_progress: Callable[[float], None] | None = None,
) -> tuple[int, int, list[str]]:
    """Writes the embeddings of recordings to a file. Returns the number of recordings, of rows, and the problems.

    Each recording has a path, and events (start_s, end_s, label), or None for all its windows. `on_progress` receives
    the finished recordings, with the finished fraction of the present one. Raises LoxoError when nothing could be
    embedded, for a bad option, or when the file cannot be written.
    """
    problems, count = [], 0
    labelled = any(events is not None for _, events in recordings)
    with embedding_writer(out, engine.sha256, labelled=labelled) as writer, one_thread():
        for k, (path, events) in enumerate(recordings):

            def advance(done_s: float, total_s: float, k: int = k) -> None:
                if on_progress is not None:
                    on_progress(k + done_s / total_s)

            before = writer.rows
            try:
                source, name = probe(path), escape(public_url(str(path)))
                if events is None:
                    for start, end, features in embed_windows(source, engine, window_overlap, advance):
                        writer.add(name, start, end, features)
                else:
                    for start_s, end_s, label in events:
                        try:
                            features = embed_events(source, engine, [(start_s, end_s)])
                        except LoxoError as error:  # of this event, or of this part of the recording
                            problems.append(with_path(path, str(error)))
                            continue
                        writer.add(name, [start_s], [end_s], features, label)
                count += 1
            except LoxoError as error:
                writer.drop_after(before)
                problems.append(with_path(path, str(error)))
        if not writer.rows:
            raise LoxoError(f"Nothing could be embedded, so {out} was not written. {' '.join(problems[:3])}".rstrip())
    return count, writer.rows, problems


@contextmanager
def embedding_writer(path: str | Path, model_sha256: str, *, labelled: bool = False) -> Iterator[EmbeddingWriter]:
    """Yields a writer, which collects rows in a temporary file beside `path`, and writes `path` at the end."""
    path = Path(path)
    check_suffix(path)
    if path.suffix == ".parquet":
        _pyarrow(path)
    with atomic_path(path) as draft, tempfile.TemporaryFile(dir=draft.parent) as spool:
        writer = EmbeddingWriter(spool, model_sha256, labelled)
        yield writer
        writer.write(draft, path.suffix)


class EmbeddingWriter:
    """Rows of a file of embeddings; the features are on the disk."""

    def __init__(self, spool: IO[bytes], model_sha256: str, labelled: bool) -> None:
        self.spool, self.model_sha256, self.labelled = spool, model_sha256, labelled
        self.names: dict[str, int] = {}
        self.recordings, self.starts, self.ends = array("q"), array("d"), array("d")
        self.labels: list[str] = []
        self.dimension = 0

    @property
    def rows(self) -> int:
        return len(self.starts)

    def add(
        self, recording: str, start_s: Iterable[float], end_s: Iterable[float], features: Floats, label: str = ""
    ) -> None:
        """Adds rows of one recording. The features of all rows have one number."""
        before = self.rows
        self.dimension = features.shape[1]
        self.starts.extend(map(float, start_s))
        self.ends.extend(map(float, end_s))
        added = self.rows - before
        self.recordings.extend([self.names.setdefault(recording, len(self.names))] * added)
        self.labels.extend([label] * added if self.labelled else [])
        self.spool.write(np.ascontiguousarray(features, "<f4").tobytes())

    def drop_after(self, rows: int) -> None:
        """Drops all rows after the first `rows`."""
        for column in (self.recordings, self.starts, self.ends, self.labels):
            del column[rows:]
        self.spool.seek(rows * self.dimension * 4)
        self.spool.truncate()

    def write(self, draft: Path, suffix: str) -> None:
        self.spool.seek(0)
        {".npz": self._write_npz, ".parquet": self._write_parquet, ".csv": self._write_csv}[suffix](draft)

    def _blocks(self) -> Iterator[tuple[slice, Floats]]:
        for first in range(0, self.rows, BLOCK):
            rows = slice(first, min(first + BLOCK, self.rows))
            content = self.spool.read((rows.stop - first) * self.dimension * 4)
            yield rows, np.frombuffer(content, "<f4").reshape(-1, self.dimension)

    def _columns(self, rows: slice) -> dict[str, Any]:
        names = list(self.names)
        columns = {
            "recording": [names[k] for k in self.recordings[rows]],
            "start_s": np.array(self.starts[rows]),
            "end_s": np.array(self.ends[rows]),
        }
        return columns | ({"label": self.labels[rows]} if self.labelled else {})

    def _write_npz(self, draft: Path) -> None:
        texts = [("recording", self.names), *([("label", self.labels)] if self.labelled else [])]
        with zipfile.ZipFile(draft, "w") as file:
            for name, values in texts:
                dtype = np.dtype(f"<U{max(map(len, values), default=0) or 1}")
                with _member(file, name, dtype, (self.rows,), zipfile.ZIP_DEFLATED) as member:
                    for first in range(0, self.rows, BLOCK):
                        member.write(np.array(self._columns(slice(first, first + BLOCK))[name], dtype).tobytes())
            for name, numbers in (("start_s", self.starts), ("end_s", self.ends)):
                with _member(file, name, np.dtype("<f8"), (self.rows,), zipfile.ZIP_DEFLATED) as member:
                    member.write(np.array(numbers, "<f8").tobytes())
            with _member(file, "features", np.dtype("<f4"), (self.rows, self.dimension)) as member:
                while content := self.spool.read(COPY_BYTES):
                    member.write(content)
            with _member(file, "model", np.dtype(f"<U{len(self.model_sha256) or 1}"), ()) as member:
                member.write(np.array(self.model_sha256).astype(str).tobytes())

    def _write_parquet(self, draft: Path) -> None:
        pa, parquet = _pyarrow(draft)
        names = feature_names(self.dimension)
        text = [("label", pa.string())] if self.labelled else []
        fields = [("recording", pa.string()), ("start_s", pa.float64()), ("end_s", pa.float64()), *text]
        schema = pa.schema([*fields, *((name, pa.float32()) for name in names)], {MODEL_KEY: self.model_sha256})
        with parquet.ParquetWriter(draft, schema) as writer:
            for rows, features in self._blocks():
                columns = self._columns(rows) | dict(zip(names, np.ascontiguousarray(features.T), strict=True))
                writer.write_table(pa.table(columns, schema=schema))

    def _write_csv(self, draft: Path) -> None:
        import pandas as pd

        from loxo.events.cells import safe_cell

        with draft.open("w", encoding="utf-8", newline="") as file:
            for rows, features in self._blocks():
                columns = self._columns(rows)
                texts = {
                    name: list(map(safe_cell, columns[name])) for name in ("recording", "label") if name in columns
                }
                table = pd.DataFrame(columns | texts).join(
                    pd.DataFrame(features, columns=feature_names(self.dimension))
                )
                table.to_csv(file, index=False, header=rows.start == 0, lineterminator="\n")


def _member(
    file: zipfile.ZipFile,
    name: str,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    compression: int = zipfile.ZIP_STORED,
) -> IO[bytes]:
    """An array in an .npz, opened after its header."""
    info = zipfile.ZipInfo(f"{name}.npy")
    info.compress_type = compression
    member = file.open(info, "w", force_zip64=True)
    npy.write_array_header_1_0(member, {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape})
    return member


# ---------------------------------------------------------------- reading


@dataclass(frozen=True)
class Rows:
    """Some rows of a file of embeddings."""

    recording: list[str]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    label: list[str] | None
    features: Floats  # (rows, dimension)


@dataclass(frozen=True)
class Embeddings:
    """A file of embeddings: `blocks()` reads its rows in order."""

    path: Path
    rows: int
    dimension: int
    model_sha256: str
    read: Callable[[], Iterator[Rows]]

    def blocks(self) -> Iterator[Rows]:
        """All rows, in blocks of at most BLOCK rows. Raises LoxoError for a damaged file."""
        with _readable(self.path):
            for rows in self.read():
                if not np.isfinite(rows.features).all():
                    raise LoxoError(f"{self.path}: some features are not finite numbers. Write the file again.")
                yield rows


def open_embeddings(path: str | Path) -> Embeddings:
    """A file that embed_recordings has written as .npz or .parquet. Raises LoxoError for any other file."""
    path = Path(path)
    if path.suffix not in (".npz", ".parquet"):
        raise LoxoError(f"{path}: a search needs embeddings as .npz or .parquet. Write them with loxo embed.")
    with _readable(path):
        found = _open_npz(path) if path.suffix == ".npz" else _open_parquet(path)
    if not found.model_sha256:
        raise LoxoError(f"{path}: the file does not state its model. Write it again with loxo embed.")
    if not found.rows:
        raise LoxoError(f"{path}: the file contains no embeddings. Write it again with loxo embed.")
    return found


class _readable(AbstractContextManager[None]):
    """Turns the errors of damaged files into LoxoError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, OSError) and not isinstance(error, zipfile.BadZipFile):
            raise LoxoError(f"{self.path}: the file cannot be read ({error.strerror or error}).") from error
        if isinstance(error, Exception) and not isinstance(error, LoxoError | GeneratorExit):
            reason = " ".join(str(error).split()) or type(error).__name__
            raise LoxoError(
                f"{self.path}: this is not a complete file of embeddings ({reason}). Write it again with loxo embed."
            ) from error


def _open_npz(path: Path) -> Embeddings:
    with zipfile.ZipFile(path) as file:
        names = set(file.namelist())
        for name in (*KEYS, "features"):
            if f"{name}.npy" not in names:
                raise ValueError(f"it has no array {name}")
        labelled = "label.npy" in names
        sha256 = ""
        if "model.npy" in names:
            with file.open("model.npy") as member:
                dtype, _ = _header(member, "model")
                sha256 = str(np.frombuffer(member.read(dtype.itemsize), dtype)[0])
        with file.open("features.npy") as member:
            _, shape = _header(member, "features")
    if len(shape) != 2:
        raise ValueError("its features are not a table")
    columns = (*KEYS, *(("label",) if labelled else ()), "features")

    def read() -> Iterator[Rows]:
        with zipfile.ZipFile(path) as file:
            members = {name: file.open(f"{name}.npy") for name in columns}
            heads = {name: _header(member, name) for name, member in members.items()}
            if any(own[0] != shape[0] for _, own in heads.values()):
                raise ValueError("its arrays have different lengths")
            for first in range(0, shape[0], BLOCK):
                count = min(BLOCK, shape[0] - first)
                got = {name: _values(members[name], *heads[name], count) for name in columns}
                yield Rows(
                    got["recording"].tolist(),
                    got["start_s"].astype(float),
                    got["end_s"].astype(float),
                    got["label"].tolist() if labelled else None,
                    got["features"].astype(np.float32, copy=False),
                )

    return Embeddings(path, shape[0], shape[1], sha256, read)


def _header(member: IO[bytes], name: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
    version = npy.read_magic(member)
    reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran_order, dtype = reader(member)
    kind = "U" if name in ("recording", "label", "model") else "f"
    if fortran_order or dtype.kind != kind or dtype.itemsize * (shape[1] if len(shape) > 1 else 1) > MAX_ITEM_BYTES:
        raise ValueError(f"its array {name} has another form")
    return dtype, shape


def _values(member: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...], count: int) -> NDArray[Any]:
    width = shape[1] if len(shape) > 1 else 1
    content = member.read(count * width * dtype.itemsize)
    return np.frombuffer(content, dtype).reshape((count, *shape[1:]))  # ValueError where the file ends too early


def _open_parquet(path: Path) -> Embeddings:
    _, parquet = _pyarrow(path)
    with parquet.ParquetFile(path) as file:
        names, sha256 = file.schema_arrow.names, (file.schema_arrow.metadata or {}).get(MODEL_KEY, b"").decode()
        rows = file.metadata.num_rows
    if lacking := [name for name in KEYS if name not in names]:
        raise ValueError(f"it has no column {', '.join(lacking)}")
    features = [name for name in names if name not in (*KEYS, "label")]

    def read() -> Iterator[Rows]:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(BLOCK):
                column = {name: batch.column(names.index(name)) for name in names}
                yield Rows(
                    column["recording"].to_pylist(),
                    column["start_s"].to_numpy(zero_copy_only=False),
                    column["end_s"].to_numpy(zero_copy_only=False),
                    column["label"].to_pylist() if "label" in column else None,
                    np.stack([column[name].to_numpy(zero_copy_only=False) for name in features], 1).astype(np.float32),
                )

    return Embeddings(path, rows, len(features), sha256, read)


def _pyarrow(path: Path) -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise LoxoError(f"{path}: Parquet needs pyarrow. Install it: {install_extra('formats')}") from error
    return pyarrow, parquet


def events_by_recording(
    tables: Iterable[str | Path], recordings: Iterable[str | Path]
) -> tuple[list[tuple[str, list[tuple[float, float, str]]]], list[str]]:
    """The events of tables with the paths of their recordings, and problems."""
    from loxo.events.reader import read_events
    from loxo.survey.score_table import Finder

    recordings = list(recordings)
    found: dict[str, list[tuple[float, float, str]]] = {}
    problems: list[str] = []
    for table in map(Path, tables):
        events = read_events(table)
        problems += events.attrs["problems"]
        finder = Finder(table.parent, recordings)
        for name, rows in events.groupby("recording", sort=False):
            try:
                path = finder(str(name))
            except LoxoError as error:
                problems.append(f"{error} ({len(rows)} event(s) are left out.)")
                continue
            spans = zip(rows["start_s"], rows["end_s"], rows["label"], strict=True)
            found.setdefault(path, []).extend(dict.fromkeys(spans))
    return list(found.items()), problems
