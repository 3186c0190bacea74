"""Cross-validation: one training run for each fold, and a table of their figures.

    OUT/run.json        the settings, and the recordings, sites or days of each fold
    OUT/fold-01/, ...   a run folder for each fold (loxo.training.train)
    OUT/folds.csv       event AP, recall and precision of each class and fold, and their mean and standard deviation
    OUT/folds.md        the same, to read

Each fold is validated on its own part of the recordings, which no other fold validates on. Its validation windows also
select iteration, thresholds and calibration of its model.

Failure policy: a fold without an event of a class, in training or validation, cannot be trained; the table states why,
and the other folds are trained. With `resume`, finished folds are kept, and the present one continues.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from loxo.errors import LoxoError
from loxo.events.cells import safe_cell
from loxo.files import escape, write_atomically
from loxo.training.config import TrainingConfig
from loxo.training.config_io import config_to_dict, flatten, model_config, resumable_keys
from loxo.training.loop import TrainingProgress
from loxo.training.sources import read_annotations, simulated_share
from loxo.training.split import make_folds
from loxo.training.train import RUN_FILE, read_run_config, refuse_other_content, train

FIGURES = ("event_ap", "recall", "precision")


@dataclass(frozen=True)
class Fold:
    """The result of a fold: figures of each class, or why there are none."""

    groups: tuple[str, ...]  # the recordings, sites or days that it validates on
    figures: dict[str, dict[str, Any]]
    fault: str = ""


def cross_validate(
    config: TrainingConfig,
    out: str | Path,
    *,
    resume: bool = False,
    on_fold: Callable[[int, int], None] | None = None,
    on_progress: TrainingProgress | None = None,
    on_problems: Callable[[list[str]], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Path:
    """Trains all folds of `config.data.folds` in the folder `out`, and returns the path of `folds.md`.

    `on_fold(fold, folds)` is called before each fold, the others as in train. Raises LoxoError as train does, and when
    no fold could be trained.
    """
    out, data = Path(out), config.data
    network_config = model_config(config)
    if data.folds is None or data.fold is not None:
        raise LoxoError("A cross-validation needs data.folds, and no data.fold.")
    if not data.tables or simulated_share(data) == 1:
        raise LoxoError("A cross-validation needs your own recordings: give data.tables and data.recordings.")
    if config.devices != 1:
        raise LoxoError("A cross-validation trains on one device: set devices=1.")
    if resume:
        before, now = flatten(read_run_config(out)), flatten(config_to_dict(config))
        names = (before.keys() | now.keys()) - resumable_keys()
        if changed := sorted(name for name in names if before.get(name) != now.get(name)):
            raise LoxoError(
                f"{out}: this cross-validation was started with other settings ({', '.join(changed)}). Resume it with "
                f"the settings in its {RUN_FILE}, or start in another folder."
            )
    else:
        refuse_other_content(out)
    annotations = read_annotations(config, network_config)
    parts = make_folds(annotations, data.folds, by=data.split, seed=data.split_seed)
    record = {"config": config_to_dict(config), "folds": [list(part) for part in parts]}
    if resume:
        known = json.loads((out / RUN_FILE).read_text()).get("folds")
        if known != record["folds"]:
            raise LoxoError(
                f"{out}: the recordings or tables changed after this cross-validation was started, so that its folds "
                "are other ones now. Restore them, or start in another folder."
            )
    write_atomically(out / RUN_FILE, json.dumps(record, indent=2, ensure_ascii=False).encode())
    results = []
    for number, part in enumerate(parts, 1):
        if on_fold is not None:
            on_fold(number, len(parts))
        folder = out / f"fold-{number:02}"
        figures = _finished(folder)
        fault = ""
        if figures is None:
            own = replace(config, data=replace(data, fold=number))
            started = (folder / RUN_FILE).is_file()
            try:
                train(own, folder, resume=started, on_progress=on_progress, on_problems=on_problems, on_note=on_note)
                figures = _finished(folder)
            except LoxoError as error:
                if (folder / RUN_FILE).is_file():  # not a fault of the data: the fold can be resumed
                    raise
                fault = str(error)
        results.append(Fold(part, figures or {}, fault))
    if not any(one.figures for one in results):
        (out / RUN_FILE).unlink(missing_ok=True)  # so that the corrected command can use the folder
        with suppress(OSError):
            out.rmdir()
        raise LoxoError(f"No fold could be trained. {results[0].fault}")
    _write_tables(results, network_config.classes, config, out)
    return out / "folds.md"


def _finished(folder: Path) -> dict[str, dict[str, Any]] | None:
    """The figures of a finished run; None for any other folder."""
    try:
        figures: dict[str, dict[str, Any]] = json.loads((folder / RUN_FILE).read_text())["result"]["figures"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return figures if (folder / "model.safetensors").is_file() else None


def _write_tables(results: list[Fold], classes: tuple[str, ...], config: TrainingConfig, out: Path) -> None:
    rows: list[list[str]] = []
    for label in classes:
        values: dict[str, list[float]] = {name: [] for name in FIGURES}
        for number, one in enumerate(results, 1):
            figures = one.figures.get(label, {})
            for name in FIGURES:
                if figures.get(name) is not None:
                    values[name].append(figures[name])
            rows.append(
                [label, str(number), " ".join(one.groups), str(figures.get("events", "")), *_cells(figures), one.fault]
            )
        for statistic, function in (("mean", np.mean), ("standard deviation", _deviation)):
            cells = [f"{function(values[name]):.4f}" if values[name] else "" for name in FIGURES]
            rows.append([label, statistic, "", "", *cells, ""])
    header = ["class", "fold", config.data.split, "events", *FIGURES, "fault"]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [header, *([safe_cell(escape(cell)) for cell in row] for row in rows)]
    )
    write_atomically(out / "folds.csv", text.getvalue().encode())
    trained = sum(bool(one.figures) for one in results)
    lines = [
        f"# Cross-validation by {config.data.split}: {trained} of {len(results)} folds",
        "",
        "Event AP, and recall and precision at the threshold of each fold. The validation windows of a fold also "
        "selected its iteration, thresholds and calibration, so the figures are too good by a little. The standard "
        "deviation is that between folds.",
        "",
        *(
            "| " + " | ".join(escape(cell).replace("|", "/") for cell in row) + " |"
            for row in [header, ["---"] * 8, *rows]
        ),
    ]
    write_atomically(out / "folds.md", ("\n".join(lines) + "\n").encode())


def _cells(figures: dict[str, Any]) -> list[str]:
    return ["" if figures.get(name) is None else f"{figures[name]:.4f}" for name in FIGURES]


def _deviation(values: list[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
