"""What a training run writes while it goes on, so that it can be killed at any moment and resumed without a trace.

A checkpoint is written beside the last one and takes its name when it is whole; the curves are brought to the disk
before it and cut back to it on resuming, so that no step is missing in them or there twice.
"""

from __future__ import annotations

import csv
import io
import os
import pickle
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import torch

from loxo.errors import LoxoError
from loxo.files import atomic_path, write_atomically
from loxo.training.config import TrainingConfig
from loxo.training.config_io import config_to_dict

CHECKPOINT = Path("checkpoints", "last.ckpt")


@contextmanager
def told(path: Path) -> Iterator[None]:
    """An OSError becomes a LoxoError about `path`."""
    try:
        yield
    except OSError as error:
        raise LoxoError(
            f"{path}: the file cannot be written ({error.strerror or error}). Make room on the disk and go on with "
            "--resume."
        ) from error


def save_checkpoint(out: Path, state: dict[str, Any]) -> None:
    """Raises LoxoError, and leaves the checkpoint before as it was, when it cannot be written."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with atomic_path(out / CHECKPOINT) as draft, draft.open("wb") as file:
        file.write(buffer.getbuffer())
        file.flush()
        os.fsync(file.fileno())


def load_checkpoint(out: Path) -> dict[str, Any] | None:
    """The last checkpoint of a run, None if it has none yet. Raises LoxoError for a file that is damaged."""
    path = out / CHECKPOINT
    for draft in path.parent.glob(".*.tmp"):  # of a run that was killed while it wrote
        draft.unlink(missing_ok=True)
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise LoxoError(
            f"{path}: the checkpoint cannot be read; it was damaged after it was written. Start the run anew."
        ) from error
    return state


class Table:
    """A CSV file that grows by a row at a time. `columns` are its header; the first is the step."""

    def __init__(self, path: Path, columns: tuple[str, ...], step: int) -> None:
        """Opens a new table, or cuts the one that is there back to the rows up to `step`."""
        self.path, self.columns = path, columns
        rows = [row for row in _rows(path, columns) if int(row[0]) <= step]
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows([columns, *rows])
        write_atomically(path, text.getvalue().encode())
        self.file: IO[str] = path.open("a", encoding="utf-8", newline="")
        self.writer = csv.writer(self.file, lineterminator="\n")

    def add(self, row: Mapping[str, Any]) -> None:
        with told(self.path):
            self.writer.writerow([_figure(row[name]) for name in self.columns])
            self.file.flush()

    def keep(self) -> None:
        """Brings the rows to the disk."""
        with told(self.path):
            self.file.flush()
            os.fsync(self.file.fileno())

    def close(self) -> None:
        with suppress(OSError):  # a full disk was told when the row was added
            self.file.close()


def _rows(path: Path, columns: tuple[str, ...]) -> list[list[str]]:
    """The whole rows of a table; a last one that was cut off is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    whole = text[: text.rfind("\n") + 1]
    rows = list(csv.reader(io.StringIO(whole)))
    return [row for row in rows[1:] if len(row) == len(columns) and row[0].isdigit()]


def _figure(value: Any) -> Any:
    return f"{value:.8g}" if isinstance(value, float) else value


class Board:
    """Figures in a file of TensorBoard's; not by its own writer, whose thread prints a traceback on a full disk."""

    def __init__(self, folder: Path, step: int) -> None:
        """A new file; what older files have after `step` is not shown any more."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]
        from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

        self.folder = folder
        with told(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self.file = (folder / f"events.out.tfevents.{time.time_ns()}.{os.getpid()}").open("wb")
            self.records = RecordWriter(self.file)
            self.records.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
            start = Event(wall_time=time.time(), step=step + 1, session_log=SessionLog(status=SessionLog.START))
            self.records.write(start.SerializeToString())
            self.file.flush()

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

        values = [Summary.Value(tag=name, simple_value=value) for name, value in figures.items()]
        event = Event(wall_time=time.time(), step=step, summary=Summary(value=values))
        with told(self.folder):
            self.records.write(event.SerializeToString())
            self.file.flush()

    def close(self) -> None:
        with suppress(OSError):
            self.file.close()


class Curves:
    """The run's figures: `training.csv` by step, `validation.csv` by validation, TensorBoard's files, W&B."""

    def __init__(self, out: Path, config: TrainingConfig, classes: tuple[str, ...], step: int) -> None:
        by_class = [f"{name}_ap_{label}" for label in classes for name in ("frame", "event")]
        columns = ("step", "loss", "event_ap", *by_class, "loader_wait_share")
        self.training = Table(out / "logs/training.csv", ("step", "loss", "learning_rate", "seconds", "waited_s"), step)
        self.validation = Table(out / "logs/validation.csv", columns, step)
        self.board = Board(out / "logs/tensorboard", step) if config.log.tensorboard else None
        self.wandb = _wandb(out, config) if config.log.wandb else None

    def step(self, row: Mapping[str, Any]) -> None:
        self.training.add(row)
        self._send("train", row)

    def validated(self, row: Mapping[str, Any]) -> None:
        self.validation.add(row)
        self._send("validation", row)

    def _send(self, group: str, row: Mapping[str, Any]) -> None:
        figures = {f"{group}/{name}": value for name, value in row.items() if name != "step" and value is not None}
        if self.board is not None:
            self.board.add(row["step"], figures)
        if self.wandb is not None:
            self.wandb.log(figures, step=row["step"])

    def keep(self) -> None:
        self.training.keep()
        self.validation.keep()

    def close(self) -> None:
        self.training.close()
        self.validation.close()
        if self.board is not None:
            self.board.close()
        if self.wandb is not None:
            self.wandb.finish()


def check_wandb(config: TrainingConfig) -> None:
    """Raises LoxoError when Weights & Biases is asked for but not there."""
    if config.log.wandb:
        try:
            import wandb  # type: ignore[import-not-found] # noqa: F401
        except ImportError as error:
            raise LoxoError("log.wandb is true, but Weights & Biases is not installed: pip install wandb.") from error


def _wandb(out: Path, config: TrainingConfig) -> Any:
    import wandb

    name = out.resolve().name
    return wandb.init(project="loxo", id=name, name=name, dir=str(out), resume="allow", config=config_to_dict(config))
