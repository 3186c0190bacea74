"""The curves of a training run: CSV files, TensorBoard and Weights & Biases.

Rows of the CSV files are on the disk before each checkpoint. A resumed run removes the rows after its checkpoint, so
that every iteration occurs exactly once. A file that cannot be written is a LoxoError.
"""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from loxo.errors import LoxoError
from loxo.files import write_atomically
from loxo.installation import install_package
from loxo.training.checkpoints import disk_errors
from loxo.training.config import TrainingConfig
from loxo.training.config_io import config_to_dict


class CsvTable:
    """A CSV file to which rows are appended. `columns` is the header; the first column is the iteration."""

    def __init__(self, path: Path, columns: tuple[str, ...], iteration: int) -> None:
        """Creates the file, or truncates an existing one to the rows up to `iteration`."""
        self.path, self.columns = path, columns
        rows = [row for row in _complete_rows(path, columns) if int(row[0]) <= iteration]
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows([columns, *rows])
        write_atomically(path, text.getvalue().encode())
        self.file: IO[str] = path.open("a", encoding="utf-8", newline="")
        self.writer = csv.writer(self.file, lineterminator="\n")

    def append(self, row: Mapping[str, Any]) -> None:
        with disk_errors(self.path):
            self.writer.writerow([_formatted(row.get(name)) for name in self.columns])
            self.file.flush()

    def sync(self) -> None:
        """Writes all rows to the disk before it returns."""
        with disk_errors(self.path):
            self.file.flush()
            os.fsync(self.file.fileno())

    def close(self) -> None:
        with suppress(OSError):  # a full disk was already reported when the row was appended
            self.file.close()


def _complete_rows(path: Path, columns: tuple[str, ...]) -> list[list[str]]:
    """The rows of a CSV file, without a last row that was only partly written.

    Rows of an earlier version may lack the last columns.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    complete = text[: text.rfind("\n") + 1]
    rows = list(csv.reader(io.StringIO(complete)))
    return [row + [""] * (len(columns) - len(row)) for row in rows[1:] if row and row[0].isdigit()]


def _formatted(value: Any) -> Any:
    return f"{value:.8g}" if isinstance(value, float) else value


class TensorBoardFile:
    """A TensorBoard event file. TensorBoard's own writer prints a traceback from its thread when the disk is full."""

    def __init__(self, folder: Path, iteration: int) -> None:
        """Creates a new file. TensorBoard then hides what older files contain after `iteration`."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]
        from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

        self.folder = folder
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self.file = (folder / f"events.out.tfevents.{time.time_ns()}.{os.getpid()}").open("wb")
            self.writer = RecordWriter(self.file)
            self.writer.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
            start = Event(wall_time=time.time(), step=iteration + 1, session_log=SessionLog(status=SessionLog.START))
            self.writer.write(start.SerializeToString())
            self.file.flush()

    def append(self, iteration: int, figures: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

        values = [Summary.Value(tag=name, simple_value=value) for name, value in figures.items()]
        event = Event(wall_time=time.time(), step=iteration, summary=Summary(value=values))
        with disk_errors(self.folder):
            self.writer.write(event.SerializeToString())
            self.file.flush()

    def close(self) -> None:
        with suppress(OSError):
            self.file.close()


class Curves:
    """All curves of a run: a row per iteration in `training.csv`, a row per validation in `validation.csv`."""

    def __init__(self, out: Path, config: TrainingConfig, classes: tuple[str, ...], iteration: int) -> None:
        """`iteration`: the iteration after which the run continues; -1 for a new run, which may validate at 0."""
        training = ("iteration", "loss", "learning_rate", "seconds", "waited_s")
        by_class = [f"{name}_ap_{label}" for label in classes for name in ("frame", "event")]
        candidates = ("average_event_ap", "raw_event_ap")
        validation = ("iteration", "loss", "event_ap", *by_class, "loader_wait_share", *candidates)
        self.training = CsvTable(out / "logs/training.csv", training, iteration)
        self.validation = CsvTable(out / "logs/validation.csv", validation, iteration)
        self.tensorboard = TensorBoardFile(out / "logs/tensorboard", iteration) if config.log.tensorboard else None
        self.wandb = _start_wandb(out, config) if config.log.wandb else None

    def add_training(self, row: Mapping[str, Any]) -> None:
        self.training.append(row)
        self._send("train", row)

    def add_validation(self, row: Mapping[str, Any]) -> None:
        self.validation.append(row)
        self._send("validation", row)

    def _send(self, group: str, row: Mapping[str, Any]) -> None:
        """Sends a row to TensorBoard and to Weights & Biases, where they are in use."""
        figures = {f"{group}/{name}": value for name, value in row.items() if name != "iteration" and value is not None}
        if self.tensorboard is not None:
            self.tensorboard.append(row["iteration"], figures)
        if self.wandb is not None:
            self.wandb.log(figures, step=row["iteration"])

    def sync(self) -> None:
        self.training.sync()
        self.validation.sync()

    def close(self) -> None:
        self.training.close()
        self.validation.close()
        if self.tensorboard is not None:
            self.tensorboard.close()
        if self.wandb is not None:
            self.wandb.finish()


def check_wandb(config: TrainingConfig) -> None:
    """Raises LoxoError when the config uses Weights & Biases, but it is not installed."""
    if config.log.wandb:
        try:
            import wandb  # type: ignore[import-not-found] # noqa: F401
        except ImportError as error:
            raise LoxoError(
                f"log.wandb is true, but Weights & Biases is not installed. Install it: {install_package('wandb')}"
            ) from error


def _start_wandb(out: Path, config: TrainingConfig) -> Any:
    import wandb

    name = out.resolve().name
    return wandb.init(project="loxo", id=name, name=name, dir=str(out), resume="allow", config=config_to_dict(config))
