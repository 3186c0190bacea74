"""Every command the README shows is run here, in a folder with one short recording."""

import re
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from loxo import cli
from loxo.engine.model_file import read_model_file, write_copy
from loxo.simulation.simulate import simulate

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()

# What keeps a shown command short enough for a test; the command itself is run as it stands.
SHORTER = {"train": ["--iterations", "2", "--batch-size", "2", "--workers", "0", "--validation-windows", "8"]}


def shown(language: str) -> list[str]:
    blocks = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def commands() -> list[str]:
    return [line.split("  #")[0].strip() for line in shown("sh")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as the README supposes it: recordings/ with a recording, forest/ with backgrounds."""
    folder = tmp_path_factory.mktemp("readme")
    for name, rate in (("recordings", 300.0), ("forest", 0.0)):
        simulate(folder / name, 0.02, 5, file_hours=0.01, rumbles_per_hour=rate, gunshots_per_hour=0.0)
    return folder


def test_each_shown_command_runs(folder, monkeypatch):
    monkeypatch.chdir(folder)
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    ran = set()
    for command in commands():
        words = shlex.split(command)
        if words[0] == "make":
            assert words[1] in targets, command
        elif words[:2] == ["loxo", "train"] and find_spec("lightning") is None:
            default = read_model_file("default")
            Path("runs/mine").mkdir(parents=True)
            write_copy(default, "runs/mine/model.safetensors", default.config, default.provenance)
        elif words[0] == "loxo":
            monkeypatch.setattr(sys, "argv", [*words, *SHORTER.get(words[1], [])])
            try:
                cli.main()
            except SystemExit as stopped:
                assert not stopped.code, command
            ran.add(words[1])
        else:
            pytest.fail(f"the README shows a command that this test cannot judge: {command}")
    assert ran >= {"detect", "simulate", "report", "review"}
    events = (folder / "runs" / "march" / "events.csv").read_text()
    assert events.startswith("recording,start_s,end_s,label,score,low_hz,high_hz")


def test_the_shown_python_runs(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    path = next((folder / "recordings").glob("*.flac"))
    code = "\n".join(shown("python"))
    assert code
    exec(compile(code.replace("recordings/nn01a_20180126_000000.wav", str(path)), "README.md", "exec"), {})
    assert "start_s" in capsys.readouterr().out


def test_links_and_pictures_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target
