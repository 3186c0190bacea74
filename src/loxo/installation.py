"""How Loxo was installed, and the command that adds packages to this installation.

Commands use double quotes: single quotes are part of the name in the command prompt of Windows, and without quotes zsh
reads the brackets as a pattern.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """`folder`: the clone from which Loxo was installed or is run; None after an installation from a wheel."""

    folder: Path | None
    editable: bool = False


def source() -> Source:
    """The origin of this installation."""
    from importlib.metadata import PackageNotFoundError, distribution  # slow, and commands import this file
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    try:
        text = distribution("loxo").read_text("direct_url.json")
    except PackageNotFoundError:
        text = None
    here = Path(__file__).resolve().parents[2]
    if text is None and (here / "pyproject.toml").is_file():  # run from a clone with PYTHONPATH
        return Source(here, True)
    origin = json.loads(text or "{}")
    folder = Path(url2pathname(urlsplit(origin["url"]).path)) if "dir_info" in origin else None
    if folder is None or not folder.is_dir():
        return Source(None)
    return Source(folder, bool(origin["dir_info"].get("editable")))


def install_extra(extra: str) -> str:
    """The command that installs an extra of Loxo, such as `train`. It works from a clone and from a wheel."""
    origin = source()
    if origin.folder is None:
        return f'{_pip_install()} "loxo[{extra}]"'
    return f'{_pip_install()} {"-e " if origin.editable else ""}"{origin.folder}[{extra}]"'


def install_package(name: str) -> str:
    """The command that installs another package beside Loxo."""
    return f"{_pip_install()} {name}"


def _pip_install() -> str:
    """`pip install` where the shell finds the pip of this environment, and otherwise a longer command."""
    found = shutil.which("pip")
    if getattr(sys, "frozen", False) or (found and Path(found).parent == Path(sys.executable).parent):
        return "pip install"
    python = f'"{sys.executable}"' if " " in sys.executable else sys.executable
    return f"{python} -m pip install" if PathFinder.find_spec("pip") else f"uv pip install --python {python}"
