"""The model card of a training run: what a reader needs before the model is used, beside the model file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from loxo.engine.model_file import read_model_file
from loxo.files import escape, sha256_of, write_atomically
from loxo.training.config import TrainingConfig
from loxo.training.config_io import config_to_dict, flatten

CARD = "model_card.md"
OWN_LINES = ("data.tables", "data.recordings", "data.backgrounds", "data.terms", "init_from")  # not in "Settings"


def write_model_card(path: Path, config: TrainingConfig, record: Mapping[str, Any]) -> None:
    """Writes `model_card.md` beside a model file. `record`: the content of run.json, with `data` and `result`."""
    write_atomically(path.with_name(CARD), model_card(path, config, record).encode())


def model_card(path: Path, config: TrainingConfig, record: Mapping[str, Any]) -> str:
    file = read_model_file(path)
    model, provenance, result = file.config, file.provenance, record["result"]
    window_s = model.window_samples / model.sample_rate
    lines = [
        f"# Model card: `{path.name}`",
        "",
        f"A model of the architecture {model.architecture} for the classes {', '.join(model.classes)}. Windows have "
        f"{window_s:g} s at {model.sample_rate} Hz, steps {model.step_samples / model.sample_rate:g} s.",
        "",
        f"- SHA-256 of the file: `{sha256_of(path)}`",
        f"- SHA-256 of the weights: `{file.weights_sha256}`",
        f"- Date: {provenance['date']}; Loxo {provenance['versions']['loxo']}",
        "",
        "## Data",
        "",
        *_data(config, record["data"]),
        f"- Terms: {config.data.terms or 'not given (`data.terms`). State them before you pass the model on.'}",
        "",
        "## Training",
        "",
        f"- {result['model']}",
        f"- Initial weights: {Path(config.init_from).name if config.init_from else 'random'}"
        + ("; their data and terms apply too." if config.init_from else ""),
    ]
    lines += [f"- Teacher: {Path(name).name}, SHA-256 `{digest}`" for name, digest in record["teachers"].items()]
    lines += [f"- Settings other than the defaults: {_settings(config)}", "", "## Figures", ""]
    lines += _figures(result["figures"], record["data"], config.data.fold is not None)
    lines += ["", "## Limits", "", *[f"- {sentence}" for sentence in result["doubts"]]]
    lines.append(
        "- Other sites, recorders and seasons can give other figures. Check events by ear before you use them."
    )
    return "\n".join(map(escape, lines)) + "\n"


def _data(config: TrainingConfig, about: Mapping[str, Any]) -> list[str]:
    lines = []
    if (recordings := about.get("recordings")) is not None:
        lines.append(f"- Tables: {', '.join(Path(table).name for table in config.data.tables)}")
        for side in ("training", "validation"):
            events = ", ".join(f"{count} {label}" for label, count in recordings["events"][side].items())
            lines.append(f"- Recordings for {side}: {len(recordings[side])}, with these annotated events: {events}")
        lines.append(f"- Training and validation share no {config.data.split}.")
    if about["simulated"]:
        lines.append(f"- Windows with simulated calls: {about['simulated']:.0%}")
    if (backgrounds := about.get("backgrounds")) is not None:
        counts = ", ".join(f"{len(backgrounds[side])} for {side}" for side in ("training", "validation"))
        lines.append(f"- Background recordings ({Path(config.data.backgrounds or '').name}): {counts}")
    return lines


def _settings(config: TrainingConfig) -> str:
    before = flatten(config_to_dict(replace(TrainingConfig(), preset=config.preset)))
    now = flatten(config_to_dict(config))
    changed = [f"`{name}={now[name]}`" for name in sorted(now) if now[name] != before.get(name)]
    return ", ".join(one for one in changed if one[1:].partition("=")[0] not in OWN_LINES) or "none"


def _figures(figures: Mapping[str, Any], about: Mapping[str, Any], fold: bool) -> list[str]:
    rows = [
        f"| {label} | {one['events']} | {one['event_ap']:.3f} | {one['threshold']:.3f} | {one['recall']:.3f} | "
        f"{'-' if one['precision'] is None else format(one['precision'], '.3f')} |"
        for label, one in figures.items()
    ]
    kinds = {"annotated recordings": "recordings" in about, "simulated calls": about["simulated"] > 0 and not fold}
    kind = " and ".join(name for name, used in kinds.items() if used)
    return [
        f"On the validation windows ({kind}), which also selected the iteration, the thresholds and the calibration. "
        "The figures are therefore too good by a little. Events are matched one-to-one at an intersection over union "
        "of 0.3.",
        "",
        "| class | events | event AP | threshold | recall at it | precision at it |",
        "|---|---|---|---|---|---|",
        *rows,
    ]
