"""Fields of config dataclasses. The definition of a field contains its type, default, limits, unit and meaning.

`key` defines a field. `check_fields` converts and checks the values of a config when the config is made. Python, YAML
files, model files and the command line therefore refuse a wrong value with the same sentence, which names the field.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import re
import types
import typing
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from loxo.audio.urls import hide_secrets
from loxo.errors import LoxoError

NUMBER = re.compile(r"[-+]?(\d+([.]\d*)?|[.]\d+)([eE][-+]?\d+)?")  # YAML reads 1e-3 as text
TYPE_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text", dict: "a mapping"}


def key(
    default: Any = dataclasses.MISSING,
    doc: str = "",
    *,
    unit: str = "",
    min: float | None = None,
    above: float | None = None,
    max: float | None = None,
    choices: Collection[str] = (),
    resumable: bool = False,
) -> Any:
    """A dataclass field with its meaning, unit and limits; `above` is a minimum that is itself not allowed.

    `resumable`: a resumed training run may use another value, because the field does not affect the trained model.
    """
    limits = {"unit": unit, "min": min, "above": above, "max": max, "choices": choices}
    metadata = {"doc": doc, **limits, "resumable": resumable}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Key:
    """One field, with the metadata of its definition."""

    name: str  # dotted, if the field belongs to a section
    kind: Any  # the annotation
    default: Any
    doc: str
    unit: str
    min: float | None
    above: float | None
    max: float | None
    choices: Collection[str]
    resumable: bool

    @property
    def limits(self) -> str:
        """The unit and limits in words, in brackets; "" if there are none."""
        if self.choices:
            return f" ({', '.join(self.choices)})"
        bounds = (("min", self.min), ("above", self.above), ("max", self.max))
        words = [self.unit, *(f"{word} {value:g}" for word, value in bounds if value is not None)]
        return f" ({', '.join(filter(None, words))})" if any(words) else ""


def keys_of(kind: Any, prefix: str = "") -> dict[str, Key]:
    """The keys of a config class by name. The fields of nested configs have dotted names."""
    return _keys_of(kind, prefix)


@cache
def _keys_of(kind: Any, prefix: str) -> dict[str, Key]:
    found: dict[str, Key] = {}
    hints = typing.get_type_hints(kind)
    for item in dataclasses.fields(kind):
        name, annotation = f"{prefix}{item.name}", hints[item.name]
        if dataclasses.is_dataclass(annotation):
            found |= keys_of(typing.cast(type, annotation), f"{name}.")
        else:
            factory = item.default_factory
            default = item.default if factory is dataclasses.MISSING else factory()
            found[name] = Key(name, annotation, default, **item.metadata)
    return found


def check_fields(config: Any, prefix: str = "") -> None:
    """Converts and checks all keys of a config; its `__post_init__` calls this. `prefix` comes before their names.

    Raises LoxoError with the name, the value and what is expected.
    """
    for name, one in keys_of(type(config), prefix).items():
        own = name.removeprefix(prefix)
        if "." not in own:  # nested configs check their own fields
            object.__setattr__(config, own, check_limits(one, convert(name, getattr(config, own), one.kind)))


def check_limits(one: Key, value: Any) -> Any:
    """Returns the value. Raises LoxoError if it, or a number in it, is outside the limits of its key."""
    unit = f" {one.unit}" if one.unit else ""
    for number in _numbers(value):
        if one.min is not None and not number >= one.min:
            raise LoxoError(f"{one.name}: {number} is too small; the minimum is {one.min:g}{unit}.")
        if one.above is not None and not number > one.above:
            raise LoxoError(f"{one.name}: {number} is too small; it must be above {one.above:g}{unit}.")
        if one.max is not None and not number <= one.max:
            raise LoxoError(f"{one.name}: {number} is too large; the maximum is {one.max:g}{unit}.")
        if not math.isfinite(number):
            raise LoxoError(f"{one.name}: {number} is not finite; give a finite number.")
    if one.choices and value is not None and value not in one.choices:
        raise LoxoError(
            f"{one.name}: {value!r} is not one of {', '.join(one.choices)}{nearest(str(value), one.choices)}."
        )
    return value


def _numbers(value: Any) -> Iterable[float]:
    if isinstance(value, tuple):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def from_mapping(kind: type, values: Mapping[str, Any], where: str) -> Any:
    """A config from values by field name. Raises LoxoError for an unknown name and for a missing one."""
    known = {item.name: item for item in dataclasses.fields(kind)}
    for name in values:
        if name not in known:
            near = nearest(str(name), known) or f": use one of {', '.join(sorted(known))}"
            raise LoxoError(f"There is no field {name!r} in {where}{near}.")
    required = [name for name, item in known.items() if item.default is item.default_factory is dataclasses.MISSING]
    missing = [name for name in required if name not in values]
    if missing:
        raise LoxoError(f"{where} has no {', '.join(missing)}. Add it.")
    return kind(**values)


def convert(name: str, value: Any, kind: Any) -> Any:
    """A value from Python, YAML or JSON, converted to the type `kind`: lists become tuples, whole numbers floats.

    Raises LoxoError with name, value and expected type.
    """
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
        return {own: convert(f"{name}.{own}", item, arguments[1]) for own, item in value.items()}
    if dataclasses.is_dataclass(kind):
        if isinstance(value, typing.cast(type, kind)):
            return value
        if not isinstance(value, Mapping):
            raise _type_error(name, value, dict)
        return from_mapping(typing.cast(type, kind), value, name)
    if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0:
        value = value.item()
    if kind is str and isinstance(value, os.PathLike):
        value = os.fspath(value)
    if kind is float and isinstance(value, str) and NUMBER.fullmatch(value):
        return float(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _type_error(name, value, kind)
    return hide_secrets(value) if isinstance(value, str) else value  # configs are stored


def _type_error(name: str, value: Any, kind: Any) -> LoxoError:
    return LoxoError(f"{name}: {value!r} is {describe(value)}, but {_type_name(kind)} is expected.")


def _type_name(kind: Any) -> str:
    if typing.get_origin(kind) is tuple:
        parts = typing.get_args(kind)
        return f"a list of {'' if parts[-1] is Ellipsis else f'{len(parts)} x '}{_type_name(parts[0])}"
    return TYPE_NAMES.get(typing.get_origin(kind) or kind, str(kind))


def describe(value: Any) -> str:
    """The type of a value, in words."""
    if isinstance(value, list | tuple):
        return "a list"
    return "nothing" if value is None else TYPE_NAMES.get(type(value), f"a {type(value).__name__}")


def nearest(name: str, known: Iterable[str]) -> str:
    """'; the nearest is X' for the most similar known name, also when only the last part of a name is given."""
    known = list(known)
    last = name.rpartition(".")[2]
    same = [other for other in known if other.rpartition(".")[2] == last]
    close = same or difflib.get_close_matches(name, known, 1, 0.6)
    if not close:
        tails = {other.rpartition(".")[2]: other for other in known}
        close = [tails[tail] for tail in difflib.get_close_matches(last, tails, 1, 0.6)]
    return f"; the nearest is {close[0]!r}" if close else ""
