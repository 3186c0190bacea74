"""The documentation: its commands and code run, its options exist, its links lead somewhere, its pages are current."""

import importlib
import json
import re
import shlex
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

import click
import pytest
import typer

import docs_blocks
from loxo import cli
from loxo.simulation.simulate import simulate
from loxo.survey.survey import survey

ROOT = Path(__file__).resolve().parents[1]
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md")}
FILES = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "src/loxo/weights/default.md",
    "src/loxo/weights/recordings.md",
)
PAGES |= {name: (ROOT / name).read_text(encoding="utf-8") for name in FILES}

LOGS = {"docs/experiments.md", "docs/performance.md"}  # entries name commands as they were on their day
ELSEWHERE = {"docs/extending.md", "docs/other_programs.md"}  # have tests of their own, test_extending and so on
# What keeps a command short enough for a test; all else stays as it is shown.
SHORTER = {
    "simulate": ["--hours", "0.03", "--file-hours", "0.03"],
    "detect": ["--workers", "1", "--runtime", "onnxruntime"],
}
RUN = sorted(
    name
    for name, text in PAGES.items()
    if name not in ELSEWHERE
    and not name.startswith("docs/fr/")
    and any(block.reason is None and block.language in ("sh", "python") for block in docs_blocks.blocks(text))
)


@pytest.fixture(scope="module")
def supposed(tmp_path_factory):
    """What the pages suppose: recordings/ with a recording, and a run with kept scores, runs/march."""
    folder = tmp_path_factory.mktemp("docs")
    simulate(folder / "recordings", 0.02, 5, file_hours=0.02, rumbles_per_hour=200.0, gunshots_per_hour=100.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        survey(["recordings"], "default", "runs/march", keep_scores=True)
    return folder


def run_command(line: str) -> None:
    words = shlex.split(line)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [*words, *SHORTER.get(words[1], [])])
        patch.setattr("loxo.review.server.serve", lambda *_, **__: None)  # waits for a person
        try:
            cli.main()
        except SystemExit as stopped:
            assert not stopped.code, line


@pytest.mark.parametrize("name", RUN)
def test_the_code_of_a_page_runs(name, supposed, tmp_path, monkeypatch):
    shown = "".join(block.code for block in docs_blocks.blocks(PAGES[name]) if block.reason is None)
    for folder, command in (("recordings", "loxo simulate"), ("runs", "--out runs/march ")):
        if command not in shown:
            shutil.copytree(supposed / folder, tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    if name == "docs/model.md":
        names["waveform"] = pytest.importorskip("torch").zeros(1, 4000)
    for block in docs_blocks.blocks(PAGES[name]):
        if block.reason is None and block.language == "python":
            exec(compile(block.code, name, "exec"), names)
        elif block.reason is None and block.language == "sh":
            for line in block.lines:
                assert line.startswith("loxo "), f"{name}: say in a comment why no test runs this: {line}"
                run_command(line)


def test_every_command_and_option_exists():
    group = typer.main.get_command(cli.app)
    faults = []
    for name, text in PAGES.items():
        if name in LOGS:
            continue
        for line in docs_blocks.commands(text):
            command, *words = shlex.split(line)
            if command == "--version":
                continue
            try:
                group.commands[command].make_context(command, words)
            except (KeyError, click.ClickException) as error:
                faults.append(f"{name}: loxo {line}: {error}")
        for line in re.findall(r"(?<!`)`loxo ([a-z]+(?: [^`]*)?)`(?!`)", docs_blocks.without_blocks(text)):
            command, *words = line.split()
            known = {word for one in group.commands[command].params for word in [*one.opts, *one.secondary_opts]}
            used = {word.split("=")[0] for word in words if word.startswith("--")} - {"--help"}
            faults += [f"{name}: loxo {line}: {option}" for option in used - known]
    assert not faults, "\n".join(faults)


def test_the_french_pages_show_the_commands_of_the_english_ones():
    english = {name: set(docs_blocks.commands(text)) for name, text in PAGES.items()}
    for name in english:
        if name.startswith("docs/fr/"):
            model = "README.md" if name.endswith("index.md") else name.replace("docs/fr/", "docs/")
            assert {line.replace("runs/mars", "runs/march") for line in english[name]} <= english[model], name


def slugs(text: str) -> set[str]:
    """The anchors of a page: its headings in lower case, words joined by hyphens."""
    heads = re.findall(r"^#+ (.+)$", docs_blocks.without_blocks(text), re.MULTILINE)
    plain = [re.sub(r"[`*]|\]\([^)]*\)|\[", "", head).lower() for head in heads]
    return {re.sub(r"[^\w\- ]", "", head).strip().replace(" ", "-") for head in plain}


def test_links_and_anchors_exist():
    faults = []
    for name, text in PAGES.items():
        for target in re.findall(r"\]\(([^)\s]+)\)", docs_blocks.without_blocks(text)):
            file, _, anchor = target.partition("#")
            if "://" in file or file.startswith("mailto:"):
                continue
            path = (ROOT / name).parent / unquote(file) if file else ROOT / name
            page = path.resolve().relative_to(ROOT).as_posix()
            if not path.exists() or (anchor and anchor not in slugs(PAGES[page])):
                faults.append(f"{name}: {target}")
    sources = [*(ROOT / "src").rglob("*.py"), *(ROOT / "src").rglob("*.js")]
    named = {page for path in sources for page in re.findall(r"docs/[\w/]+\.md", path.read_text(encoding="utf-8"))}
    faults += [f"a message or comment names {page}" for page in named if page not in PAGES]
    assert not faults, "\n".join(faults)


def test_every_page_is_in_the_navigation():
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r"- ([\w/]+\.md)$", config, re.MULTILINE)
    pages = {name.removeprefix("docs/") for name in PAGES if name.startswith("docs/")}
    assert pages == {name for name in listed if not name.startswith("project/")}
    assert len(listed) == len(set(listed))


def test_the_notebooks_are_those_of_the_pages():
    for name in docs_blocks.TUTORIALS:
        found = (ROOT / "docs" / f"{name}.ipynb").read_text(encoding="utf-8")
        assert found == docs_blocks.notebook(PAGES[f"docs/{name}.md"]), "run: make reference"
        code = [cell for cell in json.loads(found)["cells"] if cell["cell_type"] == "code"]
        assert len(code) >= 5


@pytest.mark.skipif(find_spec("lightning") is None or find_spec("pyarrow") is None, reason="needs the extras")
def test_the_reference_is_current(tmp_path):
    docs_reference = importlib.import_module("docs_reference")
    docs_reference.write(tmp_path)
    for path in tmp_path.iterdir():
        found = (ROOT / "docs" / "reference" / path.name).read_text(encoding="utf-8")
        assert found == path.read_text(encoding="utf-8"), f"{path.name} is not current. Run: make reference"


def test_the_readme_is_short():
    text = PAGES["README.md"]
    assert len(text.splitlines()) <= 90
