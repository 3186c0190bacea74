"""The catalogues: every text of the pages, the report and the commands has a translation, with the same values.

Texts are found in the source: t and plural in scripts, the texts of HTML files, the options of commands, `text`,
`plural` and `mark` of loxo.languages in Python, and in the modules of SENTENCES every sentence.
"""

import ast
import re
from datetime import date
from functools import cache
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import typer
from fakerun import make_run
from typer import rich_utils

import loxo
from loxo import languages as texts_of
from loxo.cli.app import app
from loxo.cli.words import FRAME, USAGE, paragraphs
from loxo.languages import FORMAT, NAME, languages, plural, read_catalogue, speaking, text, translated
from loxo.report.methods import HTSAT

ROOT = Path(loxo.__file__).parent
PAGES = [files(package) / "static" for package in ("loxo.app", "loxo.review")]
SCRIPTS = [script for page in PAGES for script in (page / "js").iterdir()]
MODULES = sorted(ROOT.rglob("*.py"))
# Rooms and modules whose errors and notes people see there: all their sentences are in the catalogues.
SENTENCES = (
    *("app", "report", "review", "runs", "audio", "detection", "events", "files.py", "engine/model_file.py"),
    *("engine/engine.py", "engine/graph.py", "engine/onnx_runtime.py", "engine/openvino.py", "engine/windows.py"),
    *("survey/survey.py", "survey/processes.py", "survey/tasks.py", "survey/thresholds.py", "survey/dask.py"),
    *("survey/redecode.py", "evaluation/annotations.py", "evaluation/calibrate.py", "evaluation/inputs.py"),
    *("evaluation/names.py", "cli/detect.py", "cli/decode.py", "cli/calibrate.py", "cli/report.py", "cli/review.py"),
    *("cli/open_app.py", "cli/shared.py", "cli/annotations.py"),
)
NOT_THERE = ("detection/arrays.py", "detection/embed.py", "report/show.py", "report/standards.py")  # others' matter
UNCHANGED = {"Loxo", HTSAT}  # names, and signs without letters
VALUE = re.compile(r"\{(\w+)[^{}]*\}")
FUNCTIONS = {"text": 0, "mark": 0, "plural": 2}  # the argument that is a key


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


class Source(ast.NodeVisitor):
    """The keys in a module. `whole`: also all sentences in it, with their values as {1}, {2} and so on."""

    def __init__(self, code, whole):
        tree = ast.parse(code)
        nodes = list(ast.walk(tree))
        self.single, self.plural, self.whole = set(), set(), whole
        imports = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module == "loxo.languages"]
        self.names = {alias.name for node in imports for alias in node.names}
        if not imports and f"def {min(FUNCTIONS)}(" in code:  # loxo.languages itself
            self.names = set(FUNCTIONS)
        self.assigned = {}
        for node in nodes:
            for name, value in self.assignments(node):
                self.assigned.setdefault(name, set()).update(self.literals(value))
        self.keys = {each.id for node in nodes if self.is_own(node) for each in node.args if isinstance(each, ast.Name)}
        self.visit(tree)

    @staticmethod
    def assignments(node):
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
            is_pair = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
            pairs = zip(target.elts, value.elts, strict=True) if is_pair else [(target, value)]
            return [(name.id, value) for name, value in pairs if isinstance(name, ast.Name)]
        return []

    @staticmethod
    def literals(node):
        """The texts that an argument may have."""
        found = [node.body, node.orelse] if isinstance(node, ast.IfExp) else [node]
        return {each.value for each in found if isinstance(each, ast.Constant) and isinstance(each.value, str)}

    def is_own(self, node):
        """Whether a node is a call of loxo.languages with a key."""
        function = getattr(node, "func", None)
        if isinstance(function, ast.Attribute) and getattr(function.value, "id", "") == "languages":
            return function.attr in FUNCTIONS
        return isinstance(function, ast.Name) and function.id in self.names and function.id in FUNCTIONS

    def visit_Call(self, node):
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if self.is_own(node):
            key = node.args[FUNCTIONS[name]]
            found = self.assigned.get(key.id, set()) if isinstance(key, ast.Name) else self.literals(key)
            assert found or name != "plural" or "many" in ast.unparse(key), ast.unparse(node)
            (self.plural if name == "plural" else self.single).update(found)
            for child in node.keywords:
                self.visit(child.value)
        elif name not in ("Option", "Argument"):
            self.generic_visit(node)

    def visit_Assign(self, node):
        pairs = self.assignments(node)
        if not any(name in self.keys and self.literals(value) for name, value in pairs):
            self.generic_visit(node)

    def visit_Expr(self, node):
        if not isinstance(node.value, ast.Constant):  # a docstring
            self.generic_visit(node)

    def visit_Constant(self, node):
        self.sentence(node.value)

    def visit_JoinedStr(self, node):
        parts = [part.value if isinstance(part, ast.Constant) else None for part in node.values]
        numbers = iter(range(1, len(parts) + 1))
        self.sentence("".join(part if part is not None else f"{{{next(numbers)}}}" for part in parts))
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                self.visit(part.value)

    def sentence(self, value):
        is_sentence = isinstance(value, str) and "<" not in value and not value.startswith("{1}=")
        if not self.whole or not is_sentence or len(VALUE.sub("", value).split()) < 3:
            return
        if re.match(r"[A-Z{]|--|loxo ", value) and value.endswith((".", "?", "}")):
            self.single.add(value)


def is_translated(text):
    return re.search("[A-Za-z]{2}", text) and text not in UNCHANGED and not text.startswith("/")


def place(module):
    return module.relative_to(ROOT).as_posix()


@cache
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
        single |= {text for text in Html(html).texts if is_translated(text)}
    for module in MODULES:
        whole = place(module).startswith(SENTENCES) and place(module) not in NOT_THERE
        source = Source(module.read_text(encoding="utf-8"), whole)
        single |= source.single
        plural |= source.plural
    group = typer.main.get_command(app)
    for command in (group, *group.commands.values()):
        single |= {text for text in paragraphs(command.help) if not re.fullmatch("Example: `[^`]*`", text)}
        for option in command.params:
            single |= {getattr(option, "help", None) or "", getattr(option, "rich_help_panel", None) or "Options"}
    return single - plural - UNCHANGED - {""}, plural


def test_all_places_with_texts_are_searched():
    single, plural = texts()
    assert {
        "New survey",
        "There is no job {1}.",
        "Windows in one batch on a GPU.",
        "Thresholds",
        "Sample over scores",
        "Counts and rates",
        "the report was written to {path}",
        "{1}: the file is empty (0 bytes). Copy it again from the card.",
    } <= single
    assert {"{n} recordings", "{n} {events}"} <= plural


@pytest.mark.parametrize("language", languages())
def test_no_text_is_missing_and_none_is_left_over(language):
    catalogue = read_catalogue(language)
    single, plural = texts()
    assert sorted(single - set(catalogue)) == [] and sorted(plural - set(catalogue)) == []
    assert sorted(set(catalogue) - single - plural) == sorted([FORMAT, NAME])


@pytest.mark.parametrize("language", languages())
def test_a_translation_has_the_same_values(language):
    for key, translation in read_catalogue(language).items():
        if key == FORMAT:
            assert set(translation) == {"decimal", "thousands", "one"}
        elif isinstance(translation, dict):
            assert "other" in translation and "one" in translation, key
            assert set(VALUE.findall(translation["other"])) == set(VALUE.findall(key)), key
        else:
            assert set(VALUE.findall(translation)) == set(VALUE.findall(key)), key
            assert translation.strip(), key


def test_french_is_complete():
    assert "fr" in languages()


def test_sentences_numbers_and_dates_in_french():
    with speaking("fr_FR.UTF-8"):
        assert text("Loxo lists no event in {recordings}.", recordings="x") == "Loxo ne liste aucun événement dans x."
        assert plural(1, "{n} recording", "{n} recordings") == "1 enregistrement"
        assert plural(0, "{n} recording", "{n} recordings") == "0 enregistrement"
        assert plural(12345, "{n} recording", "{n} recordings") == "12\u202f345 enregistrements"
        assert text("{hours:,.1f} h", hours=np.float64(1234.5)) == "1\u202f234,5 h"
        assert texts_of.when(date(2018, 2, 1), "%d %b %Y") == "01 févr. 2018"
    assert plural(1, "{n} recording", "{n} recordings") == "1 recording"
    assert plural(0, "{n} recording", "{n} recordings") == "0 recordings"


def test_a_sentence_from_elsewhere_is_translated_with_its_values():
    sentence = "a: b.wav: the file is empty (0 bytes). Copy it again from the card."
    assert translated(sentence) == sentence
    with speaking("fr"):
        assert translated(sentence).startswith("a: b.wav\u00a0: le fichier est vide (0 octet).")
        nested = f"{sentence} Its events have no clips."
        assert translated(nested) == f"{translated(sentence)} Ses événements n’ont pas d’extraits."
        assert translated("No catalogue has this.") == "No catalogue has this."


def test_the_language_is_that_of_the_system(monkeypatch):
    for variable in texts_of.VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    assert texts_of.system_language() == "en"
    monkeypatch.setenv("LANG", "fr_CM.UTF-8")
    assert texts_of.system_language() == "fr"
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")  # no catalogue
    assert texts_of.system_language() == "en"
    monkeypatch.setenv("LOXO_LANGUAGE", "fr")
    assert texts_of.system_language() == "fr"


def test_commands_and_their_report_are_in_french(loxo, tmp_path, monkeypatch):
    run = make_run(tmp_path / "made")
    monkeypatch.setenv("LOXO_LANGUAGE", "fr")
    monkeypatch.setattr(texts_of, "_process", "en")  # restored afterwards
    code, out, err = loxo("report", run, "--coordinates", "2.2,16.5", "--time-zone", "Africa/Brazzaville")
    assert code == 0 and "Le rapport" not in out and "le rapport a été écrit dans" in out
    assert "Listés, non vérifiés\u00a0: 6 grondements." in out and "remarque\u00a0:" in err
    page = (run / "report.html").read_text(encoding="utf-8").replace(str(tmp_path), "")  # a path may contain "of"
    code, _, err = loxo("report", tmp_path)
    assert code == 2 and "erreur\u00a0:" in err and "dossier d’analyse" in err
    code, out, _ = loxo("review", run, "--export")
    assert "Rien n’a encore été vérifié" in out
    code, out, _ = loxo("report", run, "--language", "en")
    assert "the report was written to" in out
    code, _, err = loxo("report", run, "--language", "xx")
    assert code == 2 and "xx" in err
    assert '<html lang="fr">' in page and "Loxo liste" in page
    left = re.findall(r"\b(?:recordings?|events?|analysed|listed|the|hours?|of|and|with)\b", visible(page))
    assert left == []
    assert '<html lang="en">' in (run / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def in_french(loxo, monkeypatch):
    """Runs a command in French. What it has translated in typer is restored afterwards."""
    for name, words in FRAME.items():
        assert getattr(rich_utils, name) == words  # as in the installed version of typer
        monkeypatch.setattr(rich_utils, name, words)
    monkeypatch.setenv("LOXO_LANGUAGE", "fr")
    monkeypatch.setattr(texts_of, "_process", "en")
    return loxo


def test_help_is_in_french(in_french):
    commands = typer.main.get_command(app).commands
    code, out, _ = in_french("--help")
    assert code == 0 and "Utilisation" in out and "─ Commandes ─" in out and "Affiche la version." in out
    for name in ("detect", "review", "report", "app"):
        command = commands[name]
        code, out, _ = in_french(name, "--help")
        assert code == 0 and f"Utilisation\u00a0: loxo {name}" in out and "Affiche cette aide." in out
        english = [*paragraphs(command.help), *(option.help for option in command.params), "[default", "[required"]
        english += [option.rich_help_panel for option in command.params if option.rich_help_panel != "Tables"]
        shown = " ".join(out.replace("│", " ").split())
        assert [text for text in english if text and plain(text) in shown] == []


def plain(text):
    return text.replace("`", "")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("reviw", "Il n’y a pas de commande 'reviw'. Vouliez-vous dire 'review'\u202f?"),
        ("qqq", "Il n’y a pas de commande 'qqq'."),
        ("review", "Il manque l’argument '"),  # RUN in typer 0.26
        ("detect card", "Il manque l’option '--out'."),
        ("review run --qqq", "Cette option n’existe pas\u00a0: --qqq"),
        ("--qqq", "Cette option n’existe pas\u00a0: --qqq"),
        ("review run --prt 1", "Cette option n’existe pas\u00a0: --prt ("),
        ("review run --port x", "Valeur refusée pour '--port'\u00a0: 'x' n’est pas une valeur du type int"),
        ("review run --port -2", "Valeur refusée pour '--port'\u00a0: -2 n’est pas dans l’intervalle 0<=x<=65535."),
        ("completion sh", "n’est pas l’une des valeurs 'bash', 'zsh', 'fish', 'powershell'."),
        ("review run --port", "L’option '--port' demande une valeur."),
        ("review run --export=1", "L’option '--export' n’a pas de valeur."),
        ("review run other", "Arguments en trop (other)"),
    ],
)
def test_errors_of_the_command_line_are_in_french(in_french, arguments, sentence):
    code, _, err = in_french(*arguments.split())
    assert code == 2 and sentence in err and "─ Erreur ─" in err and USAGE not in err


def visible(page):
    """The text of a page without its style, code, and the parameters of the run, which are names in run.json."""
    page = re.sub(r"<style>.*?</style>|<code>.*?</code>|<metadata>.*?</metadata>|<!--.*?-->", "", page, flags=re.S)
    page = re.sub(r'<section id="(?:run|cite)">.*?</section>', "", page, flags=re.S)
    return re.sub(r"<[^>]*>", " ", page)
