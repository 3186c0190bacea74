"""The code blocks of the documentation, and the notebooks of the tutorials: `python benchmarks/docs_blocks.py docs`.

A block that no test can run has a comment with the reason on the line above it: `<!-- not run: needs R -->`.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(
    r"^(?P<indent> *)(?:<!-- not run: (?P<reason>[^>]+?) -->\n *)?```(?P<language>\w*)\n(?P<code>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
INDENTED = re.compile(r"^ {4}(loxo (?:[^\\\n]|\\\n|\\.)*)$", re.MULTILINE)
TUTORIALS = ("tutorial_survey", "tutorial_own_calls")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    code: str
    reason: str | None  # why no test runs it

    @property
    def lines(self) -> list[str]:
        """The lines of a shell block, without comments."""
        joined = self.code.replace("\\\n", " ")
        return [line for line in (without_comment(line) for line in joined.splitlines()) if line]


def without_comment(line: str) -> str:
    """A line of a shell without its comment."""
    return re.sub(r"(^|\s)#.*$", "", line).strip()


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page in their order."""
    found = []
    for match in BLOCK.finditer(text):
        indent = match["indent"]
        code = "".join(line.removeprefix(indent) for line in match["code"].splitlines(keepends=True))
        found.append(Block(match["language"], code, match["reason"]))
    return found


def without_blocks(text: str) -> str:
    """The text of a page without its fenced blocks."""
    return BLOCK.sub("", text)


def commands(text: str) -> list[str]:
    """Every line of a page that starts Loxo, also those that no test runs."""
    lines = [line for block in blocks(text) if block.language in ("sh", "powershell") for line in block.lines]
    lines += [without_comment(match[1].replace("\\\n", " ")) for match in INDENTED.finditer(without_blocks(text))]
    started = [re.search(r"(?:^|\| )loxo (.*)", line) for line in lines]
    return [match[1].split(" > ")[0] for match in started if match]


def notebook(text: str) -> str:
    """A page as a Jupyter notebook. Lines of shell blocks become `!` lines; blocks that no test runs stay text."""
    cells, position = [], 0

    def add(kind: str, source: str) -> None:
        source = source.strip("\n")
        if source:
            cell = {"cell_type": kind, "id": f"cell-{len(cells)}", "metadata": {}, "source": source.splitlines(True)}
            cells.append(cell | ({"execution_count": None, "outputs": []} if kind == "code" else {}))

    for match in BLOCK.finditer(text):
        if match["reason"] or match["language"] not in ("sh", "python"):
            continue
        add("markdown", text[position : match.start()])
        code = match["code"]
        if match["language"] == "sh":
            code = "\n".join(f"!{line}" for line in code.splitlines() if line)
        add("code", code)
        position = match.end()
    add("markdown", text[position:])
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    content = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def main() -> None:
    folder = Path(sys.argv[1])
    for name in TUTORIALS:
        text = (folder / f"{name}.md").read_text(encoding="utf-8")
        (folder / f"{name}.ipynb").write_text(notebook(text), encoding="utf-8")


if __name__ == "__main__":
    main()
