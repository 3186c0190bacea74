"""Long sentences and old words in documents, help texts and messages: `python benchmarks/prose.py` lists them.

Sentences have 25 words at most; a semicolon ends one. Text in backquotes counts as one word, each cell of a table as a
paragraph. The documents of research are lab notes and left out.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import typer

from docs_blocks import without_blocks
from loxo.cli import app

ROOT = Path(__file__).resolve().parents[1]
MAX_WORDS = 25
LEFT_OUT = {"docs/experiments.md", "docs/performance.md", "docs/benchmarks.md", "docs/reference/python.md"}
OTHER_FILES = (
    "README.md",
    "CHANGELOG.md",
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "src/loxo/weights/default.md",
    "src/loxo/weights/recordings.md",
)
# Words that a reader must guess, and the words in their place.
OLD_WORDS = {
    r"whoever|whosoever": "a person who, or the passive",
    r"tells?|told": "states, shows, reports",
    r"sees|saw": "contains, receives, reads",
    r"knows|knew": "contains, has",
    r"promises?d?": "states, guarantees",
    r"goes by|goes with": "depends on, belongs to",
    r"by torch|with torch": "with PyTorch",
    r"the processor|a processor": "the CPU",
    r"what is false": "false positives",
    r"in the light of": "conditioned on",
    r"behind the back": "in the background",
    r"edges? stay": "onsets and offsets do not change",
    r"takes the rest": "is used for all others",
    r"beds?": "backgrounds",
    r"FP/h": "false positives per hour",
}
OLD = re.compile(r"\b(?:" + "|".join(OLD_WORDS) + r")\b", re.IGNORECASE)
SENTENCE = re.compile(r"(?<=;)\s+|(?<=[.!?:])[\"')]*\s+(?=[\"'(]*[A-Z])")


def plain(text: str) -> str:
    """Markdown without code, links, markup and tables; each cell of a table is a paragraph."""
    text = re.sub(r"<!--.*?-->", "", without_blocks(text), flags=re.DOTALL)
    text = re.sub(r"^(?: {4}|\t).*$", "", text, flags=re.MULTILINE) if "\n    " in text else text
    text = re.sub(r"^\|.*\|$", lambda row: row[0].replace("|", "\n\n"), text, flags=re.MULTILINE)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"`[^`]*`", "Code", text)
    text = re.sub(r"<[^>]+>", "", text)
    text = re.sub(r"^ *(?:[-*] |\d+\. |#+ |> )", "\n\n", text, flags=re.MULTILINE)
    return re.sub(r"[*_]", "", text)


def sentences(text: str) -> Iterator[str]:
    """The sentences of plain text."""
    for paragraph in re.split(r"\n\s*\n", text):
        for sentence in SENTENCE.split(" ".join(paragraph.split())):
            if sentence.strip():
                yield sentence.strip()


def length(sentence: str) -> int:
    """The number of words; a list of numbers is one word."""
    sentence = re.sub(r"\d[\d.]*(?:, \d[\d.]*)+(?:,? (?:or|and) \d[\d.]*)?", "0", sentence)
    return len(re.findall(r"[\w'’.,/%°+-]*\w[\w'’%°+-]*", sentence))


def help_texts() -> Iterator[tuple[str, str]]:
    """The help of each command and option."""
    group = typer.main.get_command(app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        yield f"loxo {name}", command.help or ""
        for one in command.params:
            yield f"loxo {name} {one.name}", getattr(one, "help", None) or ""


def messages() -> Iterator[tuple[str, str]]:
    """The texts of LoxoErrors in the source, with X for a value."""
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "LoxoError" and node.args:
                parts = [node.args[0]] if not isinstance(node.args[0], ast.JoinedStr) else node.args[0].values
                text = "".join(part.value if isinstance(part, ast.Constant) else "X" for part in parts)
                yield f"{path.relative_to(ROOT)}:{node.lineno}", text


def documents() -> Iterator[tuple[str, str]]:
    """The pages, as plain text. French pages are left out: the limits are those of English."""
    for path in [*sorted((ROOT / "docs").rglob("*.md")), *(ROOT / name for name in OTHER_FILES)]:
        name = path.relative_to(ROOT).as_posix()
        if name not in LEFT_OUT and not name.startswith("docs/fr/"):
            yield name, plain(path.read_text(encoding="utf-8"))


def faults(texts: Iterator[tuple[str, str]], words: int = MAX_WORDS) -> list[str]:
    """A line for each long sentence and each old word."""
    found = []
    for place, text in texts:
        for sentence in sentences(text):
            if length(sentence) > words:
                found.append(f"{place}: {length(sentence)} words: {sentence}")
            found += [f"{place}: {match[0]!r}: {sentence}" for match in OLD.finditer(sentence)]
    return found


def main() -> None:
    found = [*faults(documents()), *faults(help_texts()), *faults(messages())]
    print("\n".join(found) or "no long sentence and no old word")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
