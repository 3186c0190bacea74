"""Texts in the language of the user: catalogues of translations, one JSON file for each language: `fr.json` for French.

A key is the English text itself, as it is in the code; English has no file. Values in braces, such as {name} or {n:,},
are inserted after the translation. A text that depends on a number has an object of plural forms in place of a string
(`one`, `other`). The pages in the browser read the same files (app/static/js/language.js). Another language is
another file here: all keys of `fr.json`, its own name under `language`, and under `format` the decimal sign, the sign
between thousands, and the whole numbers that have the form `one`.

    text, plural    translate where a sentence is made
    translated      translates a sentence that was made elsewhere: errors, and problems in run.json, which is in English
    mark            marks a text that is translated later, so that the test of the catalogues finds it

A command uses the language of the system (`speak`), a server that of each request (`speaking`). Without them, and in
files for other programs, it is English.
"""

from __future__ import annotations

import json
import os
import re
import string
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date
from functools import cache
from importlib.resources import files
from numbers import Real
from typing import Any

from loxo.errors import LoxoError

SUFFIX = ".json"
NAME = "language"  # the key of a language's own name, such as Français
FORMAT = "format"  # the key of its signs of numbers
ENGLISH = "en"
VARIABLES = ("LOXO_LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")  # the first one with a value decides
MIN_LETTERS = 7  # of a text with values, so that it is recognised in a sentence

Catalogue = dict[str, Any]
_VALUE = re.compile(r"\{(\w+)[^{}]*\}")
_current: ContextVar[str | None] = ContextVar("language", default=None)
_process = ENGLISH  # the language of all contexts without one of their own


def languages() -> list[str]:
    """The codes of the languages with a catalogue."""
    found = (file.name for file in files(__name__).iterdir())
    return sorted(name.removesuffix(SUFFIX) for name in found if name.endswith(SUFFIX))


@cache
def read_catalogue(language: str) -> Catalogue:
    """The catalogue of one of `languages`."""
    content: Catalogue = json.loads((files(__name__) / (language + SUFFIX)).read_text(encoding="utf-8"))
    return content


# -- the language


def current() -> str:
    return _current.get() or _process


def speak(code: str) -> None:
    """Sets the language of this process. One without a catalogue becomes English."""
    global _process
    _process = _known(code)


@contextmanager
def speaking(code: str) -> Iterator[None]:
    """As speak, in this context, until the end of the block."""
    before = _current.set(_known(code))
    try:
        yield
    finally:
        _current.reset(before)


def _known(code: str) -> str:
    code = code.strip().lower()[:2]
    return code if code != ENGLISH and code in languages() else ENGLISH


def system_language() -> str:
    """The language of the system: of the first of VARIABLES that is set, else of Windows; or else English."""
    for name in VARIABLES:
        if value := os.environ.get(name):
            return _known(value)
    if sys.platform == "win32":
        import ctypes
        import locale

        return _known(locale.windows_locale.get(ctypes.windll.kernel32.GetUserDefaultUILanguage(), ENGLISH))
    return ENGLISH


def check_language(code: str) -> str:
    """Raises LoxoError for a language without a catalogue."""
    if code not in (ENGLISH, *languages()):
        known = ", ".join((ENGLISH, *languages()))
        raise LoxoError(f"There are no texts in the language {code!r}. Choose one of {known}.")
    return code


# -- texts


def mark(text: str) -> str:
    return text


def text(key: str, **values: Any) -> str:
    """The text in the current language, with its values."""
    found = _catalogue().get(key, key)
    return _FORMATTER.vformat(found if isinstance(found, str) else key, (), values)


def plural(n: int, one: str, other: str, **values: Any) -> str:
    """The form of a text for the number n, which is the value {n}: plural(2, "{n} recording", "{n} recordings")."""
    forms = _catalogue().get(other, {"one": one, "other": other})
    form = "one" if n in _signs()["one"] else "other"
    return _FORMATTER.vformat(forms[form], (), {"n": number(n), **values})


def number(value: Any, form: str = ",") -> str:
    """A number as the language writes it. `form` is a format of Python."""
    signs = _signs()
    return format(value, form).translate(str.maketrans({",": signs["thousands"], ".": signs["decimal"]}))


def translated(sentence: str) -> str:
    """A sentence that was made in English, in the current language; the sentence itself if no catalogue contains it."""
    if current() == ENGLISH:
        return sentence
    catalogue = _catalogue()
    if isinstance(catalogue.get(sentence), str):
        return str(catalogue[sentence])
    for pattern, key in _patterns(current()):
        if match := pattern.fullmatch(sentence):
            values = {name[1:]: _part(value) for name, value in match.groupdict().items()}
            return _VALUE.sub(lambda value: values[value[1]], catalogue[key])  # noqa: B023 (used here)
    return sentence


def _part(value: str) -> str:
    """A part of a sentence, translated. A single word may be the name of a file or a class."""
    return translated(value) if " " in value else value


@cache
def _patterns(language: str) -> list[tuple[re.Pattern[str], str]]:
    """The texts with values, as patterns; those with the most letters first."""
    found = []
    for key, translation in read_catalogue(language).items():
        letters = _VALUE.sub("", key)
        if isinstance(translation, str) and _VALUE.search(key) and len(letters) >= MIN_LETTERS:
            parts, seen = [], set()
            for index, part in enumerate(_VALUE.split(key)):
                if index % 2 == 0:
                    parts.append(re.escape(part))
                else:
                    parts.append(f"(?P=v{part})" if part in seen else f"(?P<v{part}>.*?)")
                    seen.add(part)
            found.append((len(letters), re.compile("".join(parts), re.DOTALL), key))
    return [(pattern, key) for _, pattern, key in sorted(found, key=lambda row: -row[0])]


class _Formatter(string.Formatter):
    """Numbers with a format, and the names of months, as the language writes them."""

    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, date):
            return when(value, format_spec)
        if isinstance(value, Real) and format_spec:
            return number(value, format_spec)
        return format(value, format_spec)


_FORMATTER = _Formatter()


def when(day: date, form: str) -> str:
    """A date in a format of strftime, with the name of the month (%b) in the language."""
    month = text(MONTHS[day.month - 1])
    return day.strftime(form.replace("%b", month.replace("%", "%%")))


MONTHS = [mark("Jan"), mark("Feb"), mark("Mar"), mark("Apr"), mark("May"), mark("Jun")]
MONTHS += [mark("Jul"), mark("Aug"), mark("Sep"), mark("Oct"), mark("Nov"), mark("Dec")]


def _catalogue() -> Catalogue:
    code = current()
    return {} if code == ENGLISH else read_catalogue(code)


def _signs() -> dict[str, Any]:
    signs: dict[str, Any] = _catalogue().get(FORMAT, {"decimal": ".", "thousands": ",", "one": [1]})
    return signs
