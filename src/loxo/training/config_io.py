"""Reads a TrainingConfig from a YAML file and `key=value` words, and writes one as text.

The keys themselves are in `config.py`. An unknown key, a value of another type and a value outside its limits are a
LoxoError that names the key and the value.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loxo.engine.fields import describe, keys_of, nearest
from loxo.errors import LoxoError
from loxo.training.config import FORMER_NAMES, TrainingConfig

if TYPE_CHECKING:
    from loxo.engine.config import ModelConfig

KEYS = keys_of(TrainingConfig)
SECTIONS = {name.rpartition(".")[0] for name in KEYS} - {""}
MAPPINGS = {name for name, one in KEYS.items() if typing.get_origin(one.kind) is dict}


def read_config(
    file: str | Path | None = None, words: Iterable[str] = (), base: Mapping[str, Any] | None = None
) -> TrainingConfig:
    """The config of a YAML file and `key=value` words.

    The words override the file, and the file overrides `base`: nested values, as `config_to_dict` returns them. Other
    keys have their defaults. Raises LoxoError for an unknown key and for a wrong value.
    """
    flat = flatten(base or {})
    if file is not None:
        content = _read_yaml_file(Path(file))
        try:
            flat |= flatten(content)
        except LoxoError as error:
            raise LoxoError(f"{file}: {error}") from error
    for word in words:
        name, sign, text = word.partition("=")
        if not sign:
            raise LoxoError(f"{word!r} is neither a config file nor a setting of the form key=value.")
        flat |= flatten({name.strip(): _parse_value(name.strip(), text)})
    return _build(flat)


def model_config(config: TrainingConfig) -> ModelConfig:
    """The config of the model: the preset, with the fields of `config.model` changed.

    Raises LoxoError as `read_config` does.
    """
    from loxo.engine.architectures import preset_config

    return preset_config(config.preset, **config.model)


def resumable_keys() -> set[str]:
    """The names of the keys that may differ when a run is resumed."""
    return {name for name, one in KEYS.items() if one.resumable}


def config_to_dict(config: TrainingConfig) -> dict[str, Any]:
    """The config as nested plain values, the same as after a round trip through JSON."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return plain


def with_present_names(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values from the `run.json` of an earlier version, with renamed keys under their present names."""
    renamed: dict[str, Any] = {}
    for own, value in values.items():
        name = f"{prefix}{own}"
        if isinstance(value, Mapping) and (name in SECTIONS or name in MAPPINGS):
            value = with_present_names(value, f"{name}.")
        renamed[FORMER_NAMES.get(name, name).removeprefix(prefix)] = value
    return renamed


def flatten(values: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as {dotted name: value}. Each name is a key, or an item of a key that is a mapping."""
    flat: dict[str, Any] = {}
    for own, value in values.items():
        name = f"{prefix}{own}"
        if name in SECTIONS or name in MAPPINGS:
            if value is not None and not isinstance(value, Mapping):
                raise LoxoError(f"{name}: {value!r} is {describe(value)}, but a mapping is expected.")
            if name in SECTIONS:
                flat |= flatten(value or {}, f"{name}.")
            else:
                for item, content in (value or {}).items():
                    _reject_former_name(f"{name}.{item}")
                    flat[f"{name}.{item}"] = content
            continue
        _reject_former_name(name)
        if name not in KEYS and not any(name.startswith(f"{mapping}.") for mapping in MAPPINGS):
            raise LoxoError(
                f"There is no key {name!r}{nearest(name, KEYS)} (`loxo train --show-config` lists all keys)."
            )
        flat[name] = value
    return flat


def _reject_former_name(name: str) -> None:
    if name in FORMER_NAMES:
        raise LoxoError(f"The key {name!r} is now called {FORMER_NAMES[name]!r}. Use the present name.")


def _build(flat: Mapping[str, Any]) -> TrainingConfig:
    sections: dict[str, dict[str, Any]] = {name: {} for name in ("", *SECTIONS)}
    for name in KEYS:
        section, _, own = name.rpartition(".")
        if name in MAPPINGS:
            sections[section][own] = {
                item.removeprefix(f"{name}."): content for item, content in flat.items() if item.startswith(f"{name}.")
            }
        elif name in flat:
            sections[section][own] = flat[name]
    hints = typing.get_type_hints(TrainingConfig)
    nested = {name: hints[name](**sections[name]) for name in SECTIONS}
    return TrainingConfig(**sections[""], **nested)


def _parse_yaml(text: str, message: Callable[[str], str]) -> Any:
    """The content of YAML text. `message` turns a fault into a sentence that names its place."""
    import yaml  # type: ignore[import-untyped]

    class Loader(yaml.SafeLoader):
        """Rejects a duplicate key; plain YAML would silently drop one of the two values."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            names = [self.construct_object(item, deep=True) for item, _ in node.value]
            duplicates = [str(name) for name in names if names.count(name) > 1]
            if duplicates:
                raise LoxoError(message(f"the key {duplicates[0]!r} is given twice"))
            mapping: dict[Any, Any] = super().construct_mapping(node, deep)
            return mapping

    try:
        return yaml.load(text, Loader)
    except RecursionError as error:
        raise LoxoError(message("it is nested too deeply")) from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a number or a date that Python cannot represent
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise LoxoError(message(f"this is not YAML{where} ({getattr(error, 'problem', None) or error})")) from error


def _read_yaml_file(path: Path) -> Mapping[Any, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise LoxoError(f"{path}: there is no such config file.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise LoxoError(f"{path}: the config file cannot be read ({error}).") from error
    content = _parse_yaml(text, lambda fault: f"{path}: {fault}.")
    if content is not None and not isinstance(content, Mapping):
        raise LoxoError(f"{path}: a config file contains lines of the form `key: value`, not {describe(content)}.")
    return content or {}


def _parse_value(name: str, text: str) -> Any:
    one = KEYS.get(name)
    if one is not None and one.kind in (str, str | None):
        return None if text == "null" and one.kind is not str else text  # a path may look like YAML
    return _parse_yaml(text, lambda fault: f"{name}={text}: {fault}.")


# ---------------------------------------------------------------- a config as text


def show_config(config: TrainingConfig) -> str:
    """A YAML file with every key, its value and its documentation. `read_config` reads it back.

    Raises LoxoError as `model_config` does.
    """
    lines: list[str] = []
    previous = ""
    for name, one in KEYS.items():
        section, _, own = name.rpartition(".")
        parent: Any = config if not section else getattr(config, section)
        if section != previous:
            lines += ["", f"{section}:  # {_first_line(type(parent))}"] if section else [""]
        previous = section
        indent = "  " if section else ""
        lines.append(f"{indent}# {one.doc}{one.limits}")
        lines.append(f"{indent}{own}: {_as_yaml(getattr(parent, own))}")
        if name == "model":
            lines += _model_lines(config)
    return "\n".join(lines) + "\n"


def _model_lines(config: TrainingConfig) -> list[str]:
    """The fields of the model as comments, so that another preset in the file does not get them."""
    model = model_config(config)
    lines = [f"# Fields of {config.preset} with their values, set as model.KEY=VALUE or below `model:`:"]
    for name, one in keys_of(type(model)).items():
        value = getattr(model, name)
        if isinstance(value, dict):  # one mapping for each class
            value = {label: dataclasses.asdict(item) for label, item in value.items()}
        lines += [f"#   {one.doc}{one.limits}", f"#   {name}: {_as_yaml(value)}"]
    return lines


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").splitlines()[0]


def _as_yaml(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)  # JSON is valid YAML
