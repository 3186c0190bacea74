"""The catalogues: every text of the app has a translation, with the same values in braces."""

import ast
import re
from html.parser import HTMLParser
from importlib.resources import files

import pytest
import typer

from loxo.app.commands import HIDDEN, PATHS
from loxo.cli.app import app
from loxo.languages import NAME, languages, read_catalogue

PAGES = [files(package) / "static" for package in ("loxo.app", "loxo.review")]
SCRIPTS = [script for page in PAGES for script in (page / "js").iterdir()]
MODULES = [file for file in files("loxo.app").iterdir() if file.name.endswith(".py")]
UNCHANGED = {"Loxo"}  # names, and signs without letters
VALUE = re.compile(r"\{\w+\}")


class Html(HTMLParser):
    """The texts of an HTML file: outside of keys, code and the title, and in attributes."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.texts |= {value for name, value in attributes if name in ("title", "placeholder", "aria-label")}

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"kbd", "code", "title"} & set(self.open):
            self.texts.add(" ".join(data.split()))


def translated(text):
    return re.search("[A-Za-z]{2}", text) and text not in UNCHANGED and not text.startswith("/")


def texts():
    """The keys of texts without and with plural forms."""
    single, plural = set(), set()
    for script in SCRIPTS:
        code = re.sub(r"^\s*//.*$", "", script.read_text(encoding="utf-8"), flags=re.M)
        single |= set(re.findall(r"\bt\(\s*'([^']*)'", code))
        found = re.findall(r"\bplural\(.*?,\s*'([^']*)',\s*'([^']*)'", code)
        assert len(found) == len(re.findall(r"\bplural\((?!n, one)", code)), script.name  # none is missed
        plural |= {other for _, other in found}
        assert not re.findall(r"\bt\(\s*[`\"]", code), script.name
    for page in PAGES:
        html = (page / "index.html").read_text(encoding="utf-8")
        single |= {text for text in Html(html).texts if translated(text)}
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "TranslatableError":
                single.add(ast.literal_eval(node.args[0]))
    commands = typer.main.get_command(app).commands
    for name in PATHS:
        for option in commands[name].params:
            if option.name not in HIDDEN:
                single |= {getattr(option, "help", None) or "", getattr(option, "rich_help_panel", None) or "Options"}
    return single - {""}, plural


def test_all_places_with_texts_are_searched():
    single, plural = texts()
    assert {
        "New survey",
        "There is no job {id}.",
        "Windows in one batch on a GPU.",
        "Thresholds",
        "Sample over scores",
    } <= single
    assert "{n} recordings" in plural


@pytest.mark.parametrize("language", languages())
def test_no_text_is_missing_and_none_is_left_over(language):
    catalogue = read_catalogue(language)
    single, plural = texts()
    assert sorted(single - set(catalogue)) == [] and sorted(plural - set(catalogue)) == []
    assert sorted(set(catalogue) - single - plural) == [NAME]


@pytest.mark.parametrize("language", languages())
def test_a_translation_has_the_same_values(language):
    for key, translation in read_catalogue(language).items():
        if isinstance(translation, dict):
            assert "other" in translation and "one" in translation, key
            assert set(VALUE.findall(translation["other"])) == set(VALUE.findall(key)), key
        else:
            assert set(VALUE.findall(translation)) == set(VALUE.findall(key)), key
            assert translation.strip(), key


def test_french_is_complete():
    assert "fr" in languages()
