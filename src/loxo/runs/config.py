"""The part of a model's config that run.json stores. It is all that decoding needs, so the model file is not needed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loxo.engine.config import Calibration, Decoding, OperatingCurve
from loxo.errors import LoxoError
from loxo.runs.record import FIELD_ERRORS, foreign_record, read_record

ByClass = float | Mapping[str, float]  # one value for all classes, or values by class
FRACTIONS = ("edge_ratio", "valley_ratio", "sustain_weight", "overlap_threshold")  # fields of Decoding in 0-1
CHANGEABLE = ("smooth_s", *FRACTIONS, "density_penalty", "min_duration_s", "merge_gap_s")


@dataclass(frozen=True)
class RunConfig:
    """The fields of a model's config that decode and the choice of thresholds use, under the same names."""

    classes: tuple[str, ...]
    rows: tuple[str, ...]
    sample_rate: int
    step_samples: int
    decoding: dict[str, Decoding]
    calibration: dict[str, Calibration]
    curves: dict[str, OperatingCurve]


def config_parameters(config: Any) -> dict[str, Any]:
    """The fields of a model's config that the parameters in run.json contain."""
    by_class = {name: getattr(config, name) for name in ("decoding", "calibration", "curves")}
    return {
        "classes": list(config.classes),
        "rows": list(config.rows),
        "sample_rate": config.sample_rate,
        "step_samples": config.step_samples,
        **{name: {label: dataclasses.asdict(v) for label, v in values.items()} for name, values in by_class.items()},
    }


def read_run_config(run: str | Path) -> tuple[RunConfig, dict[str, Any]]:
    """The config and the parameters of a run. Raises LoxoError as read_record does."""
    parameters = read_record(run).parameters
    try:
        return RunConfig(
            classes=tuple(parameters["classes"]),
            rows=tuple(parameters.get("rows", parameters["classes"])),  # older runs have no other rows
            sample_rate=parameters["sample_rate"],
            step_samples=parameters["step_samples"],
            decoding={label: Decoding(**value) for label, value in parameters["decoding"].items()},
            calibration={label: Calibration(**value) for label, value in parameters["calibration"].items()},
            curves={label: OperatingCurve(**value) for label, value in parameters["curves"].items()},
        ), parameters
    except FIELD_ERRORS as error:
        raise foreign_record(run, error) from error


def with_changes(config: RunConfig, changes: Mapping[str, ByClass]) -> RunConfig:
    """The config with other decoding parameters: fields in CHANGEABLE, each with one value or values by class.

    Raises LoxoError for an unknown field or class, and for a value outside its range.
    """
    decoding = {label: config.decoding.get(label, Decoding()) for label in config.classes}
    for field, values in changes.items():
        if field not in CHANGEABLE:
            raise LoxoError(f"There is no decoding parameter {field!r}; use one of {', '.join(CHANGEABLE)}.")
        by_class = values if isinstance(values, Mapping) else dict.fromkeys(config.classes, values)
        for label, value in by_class.items():
            if label not in decoding:
                raise LoxoError(
                    f"{field} is given for {label!r}, but the classes of the run are {', '.join(config.classes)}."
                )
            if not 0 <= value < float("inf") or (field in FRACTIONS and value > 1):
                limits = "between 0 and 1" if field in FRACTIONS else "0 or more"
                raise LoxoError(f"{field} must be {limits}, not {value}.")
            decoding[label] = dataclasses.replace(decoding[label], **{field: value})
    return dataclasses.replace(config, decoding=decoding)


def by_class(text: str, option: str) -> float | dict[str, float]:
    """Parses the text of `option`: a number, or numbers by class such as `rumble=0.3,gunshot=0.6`.

    Raises LoxoError for any other text.
    """
    values: dict[str, float] = {}
    try:
        if "=" not in text:
            return float(text)
        for part in text.split(","):
            label, _, value = part.partition("=")
            values[label.strip()] = float(value)
    except ValueError as error:
        raise LoxoError(f"{option} takes a number, or numbers by class such as rumble=0.3, not {text!r}.") from error
    return values
