"""From a config file and `key=value` words to a TrainingConfig, and back to text. The keys themselves: config.py."""

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

from loxo.errors import LoxoError
from loxo.training.config import TrainingConfig

if TYPE_CHECKING:
    from loxo.engine.config import ModelConfig

NUMBER = re.compile(r"[-+]?(\d+([.]\d*)?|[.]\d+)([eE][-+]?\d+)?")  # YAML takes 1e-3 for text
NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text", dict: "a mapping"}


@dataclass(frozen=True)
class Key:
    """One key of the schema, by its dotted name."""

    name: str
    kind: Any  # its annotation
    default: Any
    doc: str
    least: float | None
    most: float | None
    among: tuple[str, ...]
    free: bool


def _keys(section: type, prefix: str = "") -> dict[str, Key]:
    found: dict[str, Key] = {}
    hints = typing.get_type_hints(section)
    for item in dataclasses.fields(section):
        name, kind = f"{prefix}{item.name}", hints[item.name]
        if dataclasses.is_dataclass(kind):
            found |= _keys(typing.cast(type, kind), f"{name}.")
        else:
            made = item.default_factory
            default = item.default if made is dataclasses.MISSING else made()
            found[name] = Key(name, kind, default, **item.metadata)
    return found


KEYS = _keys(TrainingConfig)
SECTIONS = {name.rpartition(".")[0] for name in KEYS} - {""}
MAPPINGS = {name for name, one in KEYS.items() if typing.get_origin(one.kind) is dict}


def read_config(
    file: str | Path | None = None, words: Iterable[str] = (), base: Mapping[str, Any] | None = None
) -> TrainingConfig:
    """The config that a YAML file and `key=value` words define; later ones win, what nobody names has its default.

    `base`: nested values under both, as `config_to_dict` gives them. Raises LoxoError for what cannot be understood.
    """
    flat = flatten(base or {})
    if file is not None:
        flat |= flatten(_yaml_file(Path(file)))
    for word in words:
        name, sign, text = word.partition("=")
        if not sign:
            raise LoxoError(f"{word!r} is neither a config file nor a setting of the form key=value.")
        flat |= flatten({name.strip(): _value(name.strip(), text)})
    return _build(flat)


def model_config(config: TrainingConfig) -> ModelConfig:
    """The model's config: the preset with the fields of `config.model` changed. Raises LoxoError as `read_config`."""
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


def free_keys() -> set[str]:
    """The keys that may differ when a run is resumed."""
    return {name for name, one in KEYS.items() if one.free}


def config_to_dict(config: TrainingConfig) -> dict[str, Any]:
    """Nested and plain, as JSON would give it back."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return plain


def flatten(values: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings to {dotted name: value}, each name a key of the schema or an item of one that is a mapping."""
    flat: dict[str, Any] = {}
    for own, value in values.items():
        name = f"{prefix}{own}"
        if name in SECTIONS or name in MAPPINGS:
            if value is not None and not isinstance(value, Mapping):
                raise LoxoError(f"{name}: {value!r} is {_kind_of(value)}, but a mapping is expected.")
            if name in SECTIONS:
                flat |= flatten(value or {}, f"{name}.")
            else:
                flat |= {f"{name}.{item}": content for item, content in (value or {}).items()}
        elif name in KEYS or any(name.startswith(f"{mapping}.") for mapping in MAPPINGS):
            flat[name] = value
        else:
            raise LoxoError(f"There is no key {name!r}{_nearest(name, KEYS)} (`loxo train --show-config` shows all).")
    return flat


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
            sections[section][own] = _within(one, convert(name, flat[name], one.kind))
    hints = typing.get_type_hints(TrainingConfig)
    nested = {name: hints[name](**sections[name]) for name in SECTIONS}
    return TrainingConfig(**sections[""], **nested)


def _within(one: Key, value: Any) -> Any:
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, int | float) and not isinstance(number, bool):
            if one.least is not None and not number >= one.least:
                raise LoxoError(f"{one.name}: {number} is too little; {one.least:g} is the least.")
            if one.most is not None and not number <= one.most:
                raise LoxoError(f"{one.name}: {number} is too much; {one.most:g} is the most.")
    if one.among and value is not None and value not in one.among:
        raise LoxoError(f"{one.name}: {value!r} is none of {', '.join(one.among)}{_nearest(str(value), one.among)}.")
    return value


def convert(name: str, value: Any, kind: Any) -> Any:
    """`value`, as YAML gives it, as the annotation wants it. Raises LoxoError with name, value and expected type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any or (value is None and type(None) in arguments):
        return value
    if origin is types.UnionType or origin is typing.Union:
        return convert(name, value, next(part for part in arguments if part is not type(None)))
    if origin is tuple:
        endless = arguments[-1] is Ellipsis
        if not isinstance(value, list | tuple):
            if not endless or not isinstance(value, str):
                raise _wrong(name, value, kind)
            value = (value,)  # one table needs no brackets
        kinds = [arguments[0]] * len(value) if endless else list(arguments)
        if len(kinds) != len(value):
            raise _wrong(name, value, kind)
        return tuple(convert(name, item, item_kind) for item, item_kind in zip(value, kinds, strict=True))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise _wrong(name, value, kind)
        return dict(value)
    if kind is float and isinstance(value, str) and NUMBER.fullmatch(value):
        return float(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _wrong(name, value, kind)
    return value


def _wrong(name: str, value: Any, kind: Any) -> LoxoError:
    return LoxoError(f"{name}: {value!r} is {_kind_of(value)}, but {_kind_name(kind)} is expected.")


def _kind_name(kind: Any) -> str:
    if typing.get_origin(kind) is tuple:
        parts = typing.get_args(kind)
        return f"a list of {'' if parts[-1] is Ellipsis else f'{len(parts)} x '}{_kind_name(parts[0])}"
    return NAMES.get(typing.get_origin(kind) or kind, str(kind))


def _kind_of(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "a list"
    return "nothing" if value is None else NAMES.get(type(value), f"a {type(value).__name__}")


def _nearest(name: str, known: Iterable[str]) -> str:
    """'; the nearest is X' for the known name most like this one, also when only its last part is given."""
    known = list(known)
    last = name.rpartition(".")[2]
    same = [other for other in known if other.rpartition(".")[2] == last]
    close = same or difflib.get_close_matches(name, known, 1, 0.6)
    if not close:
        tails = {other.rpartition(".")[2]: other for other in known}
        close = [tails[tail] for tail in difflib.get_close_matches(last, tails, 1, 0.6)]
    return f"; the nearest is {close[0]!r}" if close else ""


def _yaml(text: str, told: Callable[[str], str]) -> Any:
    import yaml  # type: ignore[import-untyped]

    class Loader(yaml.SafeLoader):
        """Refuses a key that is given twice, of which one would be lost."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            names = [self.construct_object(item, deep=True) for item, _ in node.value]
            twice = [str(name) for name in names if names.count(name) > 1]
            if twice:
                raise LoxoError(told(f"the key {twice[0]!r} is given twice"))
            mapping: dict[Any, Any] = super().construct_mapping(node, deep)
            return mapping

    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise LoxoError(told(f"this is not YAML{where} ({getattr(error, 'problem', None) or error})")) from error


def _yaml_file(path: Path) -> Mapping[Any, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise LoxoError(f"{path}: there is no such config file.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise LoxoError(f"{path}: the config file cannot be read ({error}).") from error
    content = _yaml(text, lambda fault: f"{path}: {fault}.")
    if content is not None and not isinstance(content, Mapping):
        raise LoxoError(f"{path}: a config file holds lines of the form `key: value`, not {_kind_of(content)}.")
    return content or {}


def _value(name: str, text: str) -> Any:
    one = KEYS.get(name)
    if one is not None and one.kind in (str, str | None):
        return None if text == "null" and one.kind is not str else text  # a path may look like YAML
    return _yaml(text, lambda fault: f"{name}={text}: {fault}.")


# ---------------------------------------------------------------- a config as text


def show_config(config: TrainingConfig) -> str:
    """A YAML file of every key with its value, its meaning above it; `read_config` reads it back."""
    lines: list[str] = []
    before = ""
    for name, one in KEYS.items():
        section, _, own = name.rpartition(".")
        parent: Any = config if not section else getattr(config, section)
        if section != before:
            lines += ["", f"{section}:  # {_first_line(type(parent))}"] if section else [""]
        before = section
        indent = "  " if section else ""
        lines.append(f"{indent}# {one.doc}{_limits(one)}")
        lines.append(f"{indent}{own}: {_as_yaml(getattr(parent, own))}")
    return "\n".join(lines) + "\n"


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").splitlines()[0]


def _limits(one: Key) -> str:
    if one.among:
        return f" ({', '.join(one.among)})"
    limits = [
        f"{word} {value:g}" for word, value in (("at least", one.least), ("at most", one.most)) if value is not None
    ]
    return f" ({', '.join(limits)})" if limits else ""


def _as_yaml(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)  # JSON is YAML
