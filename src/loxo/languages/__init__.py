"""Catalogues of translations, one JSON file for each language: `fr.json` for French.

A key is the English text itself, as it is in the code; English has no file. Values in braces, such as {name}, are
inserted after the translation. A text that depends on a number has an object of plural forms in place of a string, with
the categories of the Unicode plural rules (`one`, `other`, ...). The catalogues are read by pages in the browser
(app/static/js/language.js) and need no compilation. Another language is another file here.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from loxo.errors import LoxoError

SUFFIX = ".json"
NAME = "language"  # the key of a language's own name, such as Français

Catalogue = dict[str, str | dict[str, str]]


class TranslatableError(LoxoError):
    """A LoxoError whose sentence a page can translate: the template is a key of the catalogues."""

    def __init__(self, template: str, **values: Any) -> None:
        super().__init__(template.format(**values))
        self.template = template
        self.values = {name: str(value) for name, value in values.items()}


def languages() -> list[str]:
    """The codes of the languages with a catalogue."""
    found = (file.name for file in files(__name__).iterdir())
    return sorted(name.removesuffix(SUFFIX) for name in found if name.endswith(SUFFIX))


def read_catalogue(language: str) -> Catalogue:
    """The catalogue of one of `languages`."""
    content: Catalogue = json.loads((files(__name__) / (language + SUFFIX)).read_text(encoding="utf-8"))
    return content
