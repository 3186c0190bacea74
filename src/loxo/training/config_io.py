"""Reads a TrainingConfig from a YAML file and `key=value` words, and writes one as text.

The keys themselves are in `config.py`. An unknown key, a value of another type and a value outside its limits are a
LoxoError that names the key and the value.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loxo.audio.urls import hide_secrets
from loxo.errors import LoxoError
from loxo.training.config import FORMER_NAMES, TrainingConfig

if TYPE_CHECKING:
    from loxo.engine.config import ModelConfig

NUMBER = re.compile(r"[-+]?(\d+([.]\d*)?|[.]\d+)([eE][-+]?\d+)?")  # YAML reads 1e-3 as text
TYPE_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text", dict: "a mapping"}


@dataclass(frozen=True)
class Key:
    """One key, with the metadata of its dataclass field."""

    name: str  # dotted
    kind: Any  # the annotation
    default: Any
    doc: str
    min: float | None
    max: float | None
    choices: tuple[str, ...]
    resumable: bool


def _keys(section: type, prefix: str = "") -> dict[str, Key]:
    found: dict[str, Key] = {}
    hints = typing.get_type_hints(section)
    for item in dataclasses.fields(section):
        name, kind = f"{prefix}{item.name}", hints[item.name]
        if dataclasses.is_dataclass(kind):
            found |= _keys(typing.cast(type, kind), f"{name}.")
        else:
            factory = item.default_factory
            default = item.default if factory is dataclasses.MISSING else factory()
            found[name] = Key(name, kind, default, **item.metadata)
    return found


KEYS = _keys(TrainingConfig)
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

    kind = type(preset_config(config.preset))
    hints = typing.get_type_hints(kind)
    known = {item.name: hints[item.name] for item in dataclasses.fields(kind)}
    for name in config.model:
        if name not in known:
            raise LoxoError(f"There is no key 'model.{name}' for {config.preset!r}{_nearest(name, known)}.")
    plain = (int, float, str)
    changes = {
        name: convert(f"model.{name}", value, known[name])
        if known[name] in plain or typing.get_origin(known[name]) is tuple
        else value
        for name, value in config.model.items()
    }
    return preset_config(config.preset, **changes)


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
                raise LoxoError(f"{name}: {value!r} is {_describe(value)}, but a mapping is expected.")
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
                f"There is no key {name!r}{_nearest(name, KEYS)} (`loxo train --show-config` lists all keys)."
            )
        flat[name] = value
    return flat


def _reject_former_name(name: str) -> None:
    if name in FORMER_NAMES:
        raise LoxoError(f"The key {name!r} is now called {FORMER_NAMES[name]!r}. Use the present name.")


def _build(flat: Mapping[str, Any]) -> TrainingConfig:
    sections: dict[str, dict[str, Any]] = {name: {} for name in ("", *SECTIONS)}
    for name, one in KEYS.items():
        section, _, own = name.rpartition(".")
        if name in MAPPINGS:
            item_kind = typing.get_args(one.kind)[1]
            value = {
                item.removeprefix(f"{name}."): convert(item, content, item_kind)
                for item, content in flat.items()
                if item.startswith(f"{name}.")
            }
            sections[section][own] = value
        elif name in flat:
            sections[section][own] = _check_limits(one, convert(name, flat[name], one.kind))
    hints = typing.get_type_hints(TrainingConfig)
    nested = {name: hints[name](**sections[name]) for name in SECTIONS}
    return TrainingConfig(**sections[""], **nested)


def _check_limits(one: Key, value: Any) -> Any:
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, int | float) and not isinstance(number, bool):
            if one.min is not None and not number >= one.min:
                raise LoxoError(f"{one.name}: {number} is too small; the minimum is {one.min:g}.")
            if one.max is not None and not number <= one.max:
                raise LoxoError(f"{one.name}: {number} is too large; the maximum is {one.max:g}.")
    if one.choices and value is not None and value not in one.choices:
        raise LoxoError(
            f"{one.name}: {value!r} is not one of {', '.join(one.choices)}{_nearest(str(value), one.choices)}."
        )
    return value


def convert(name: str, value: Any, kind: Any) -> Any:
    """A value from YAML, converted to the type `kind`. Raises LoxoError with name, value and expected type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any or (value is None and type(None) in arguments):
        return value
    if origin is types.UnionType or origin is typing.Union:
        return convert(name, value, next(part for part in arguments if part is not type(None)))
    if origin is tuple:
        any_length = arguments[-1] is Ellipsis
        if not isinstance(value, list | tuple):
            if not any_length or not isinstance(value, str):
                raise _type_error(name, value, kind)
            value = (value,)  # a single table needs no brackets
        kinds = [arguments[0]] * len(value) if any_length else list(arguments)
        if len(kinds) != len(value):
            raise _type_error(name, value, kind)
        return tuple(convert(name, item, item_kind) for item, item_kind in zip(value, kinds, strict=True))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise _type_error(name, value, kind)
        return dict(value)
    if kind is float and isinstance(value, str) and NUMBER.fullmatch(value):
        return float(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _type_error(name, value, kind)
    return hide_secrets(value) if isinstance(value, str) else value  # configs are stored


def _type_error(name: str, value: Any, kind: Any) -> LoxoError:
    return LoxoError(f"{name}: {value!r} is {_describe(value)}, but {_type_name(kind)} is expected.")


def _type_name(kind: Any) -> str:
    if typing.get_origin(kind) is tuple:
        parts = typing.get_args(kind)
        return f"a list of {'' if parts[-1] is Ellipsis else f'{len(parts)} x '}{_type_name(parts[0])}"
    return TYPE_NAMES.get(typing.get_origin(kind) or kind, str(kind))


def _describe(value: Any) -> str:
    """The type of a value, in words."""
    if isinstance(value, list | tuple):
        return "a list"
    return "nothing" if value is None else TYPE_NAMES.get(type(value), f"a {type(value).__name__}")


def _nearest(name: str, known: Iterable[str]) -> str:
    """'; the nearest is X' for the most similar known name, also when only the last part of a name is given."""
    known = list(known)
    last = name.rpartition(".")[2]
    same = [other for other in known if other.rpartition(".")[2] == last]
    close = same or difflib.get_close_matches(name, known, 1, 0.6)
    if not close:
        tails = {other.rpartition(".")[2]: other for other in known}
        close = [tails[tail] for tail in difflib.get_close_matches(last, tails, 1, 0.6)]
    return f"; the nearest is {close[0]!r}" if close else ""


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
        raise LoxoError(f"{path}: a config file contains lines of the form `key: value`, not {_describe(content)}.")
    return content or {}


def _parse_value(name: str, text: str) -> Any:
    one = KEYS.get(name)
    if one is not None and one.kind in (str, str | None):
        return None if text == "null" and one.kind is not str else text  # a path may look like YAML
    return _parse_yaml(text, lambda fault: f"{name}={text}: {fault}.")


# ---------------------------------------------------------------- a config as text


def show_config(config: TrainingConfig) -> str:
    """A YAML file with every key, its value and its documentation. `read_config` reads it back."""
    lines: list[str] = []
    previous = ""
    for name, one in KEYS.items():
        section, _, own = name.rpartition(".")
        parent: Any = config if not section else getattr(config, section)
        if section != previous:
            lines += ["", f"{section}:  # {_first_line(type(parent))}"] if section else [""]
        previous = section
        indent = "  " if section else ""
        lines.append(f"{indent}# {one.doc}{_limits(one)}")
        lines.append(f"{indent}{own}: {_as_yaml(getattr(parent, own))}")
    return "\n".join(lines) + "\n"


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").splitlines()[0]


def _limits(one: Key) -> str:
    if one.choices:
        return f" ({', '.join(one.choices)})"
    limits = [f"{word} {value:g}" for word, value in (("min", one.min), ("max", one.max)) if value is not None]
    return f" ({', '.join(limits)})" if limits else ""


def _as_yaml(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)  # JSON is valid YAML
