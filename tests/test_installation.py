"""The command in a message installs into the environment that Loxo runs in, whatever the origin of Loxo."""

import json
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import loxo
from loxo import installation

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def origin(monkeypatch):
    """Sets direct_url.json, which pip writes beside an installed package."""

    class Installed:
        content: dict | None = None

        def read_text(self, name: str) -> str | None:
            assert name == "direct_url.json"
            return None if self.content is None else json.dumps(self.content)

    installed = Installed()
    monkeypatch.setattr(metadata, "distribution", lambda name: installed)
    monkeypatch.setattr(installation, "_pip_install", lambda: "pip install")
    monkeypatch.setattr(installation, "__file__", "/lib/site-packages/loxo/installation.py")
    return installed


def test_the_command_follows_the_origin(origin, tmp_path):
    assert installation.install_extra("train") == 'pip install "loxo[train]"'  # from a package index
    origin.content = {"url": (tmp_path / "loxo-0.1.0-py3-none-any.whl").as_uri(), "archive_info": {}}
    assert installation.install_extra("s3") == 'pip install "loxo[s3]"'
    clone = tmp_path / "a clone"
    clone.mkdir()
    origin.content = {"url": clone.as_uri(), "dir_info": {"editable": True}}
    assert installation.install_extra("train") == f'pip install -e "{clone}[train]"'
    origin.content = {"url": clone.as_uri(), "dir_info": {}}
    assert installation.install_extra("train") == f'pip install "{clone}[train]"'
    clone.rmdir()  # a clone that was deleted after the installation
    assert installation.install_extra("train") == 'pip install "loxo[train]"'


def test_loxo_from_a_clone_without_an_installation(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    if not Path(loxo.__file__).is_relative_to(ROOT / "src"):
        pytest.skip("this test runs an installed package")
    monkeypatch.setattr(metadata, "distribution", absent)
    assert installation.source() == installation.Source(ROOT, True)


def test_the_command_names_this_environment(monkeypatch, tmp_path):
    monkeypatch.setattr(installation.shutil, "which", lambda name: str(Path(sys.executable).parent / "pip"))
    assert installation.install_package("tzdata") == "pip install tzdata"
    monkeypatch.setattr(installation.shutil, "which", lambda name: "/usr/bin/pip")
    monkeypatch.setattr(installation.PathFinder, "find_spec", lambda name: object())
    assert installation.install_package("tzdata") == f"{sys.executable} -m pip install tzdata"
    monkeypatch.setattr(installation.PathFinder, "find_spec", lambda name: None)  # an environment of uv
    monkeypatch.setattr(sys, "executable", str(tmp_path / "my tools" / "python"))
    assert installation.install_package("tzdata") == f'uv pip install --python "{tmp_path}/my tools/python" tzdata'


def test_no_module_writes_such_a_command_itself():
    for path in (ROOT / "src" / "loxo").rglob("*.py"):
        if path.name != "installation.py":
            assert not re.search(r"pip install", path.read_text(encoding="utf-8")), path


def test_the_version_is_written_once():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "loxo.__version__"}
