"""The unit and the commands for services in docs/live.md."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from loxo.cli.app import app

DOC = Path(__file__).parents[2] / "docs" / "live.md"
if not DOC.is_file():
    pytest.skip("the documentation is not here", allow_module_level=True)
TEXT = DOC.read_text(encoding="utf-8")
UNIT, WATCH = re.findall(r"```ini\n(.*?)```", TEXT, re.S)


@pytest.fixture(scope="module")
def commands():
    import loxo.cli  # adds the commands

    assert loxo.cli
    return typer.main.get_command(app).commands


def test_commands(commands):
    """Each command of the page has only options that exist."""
    lines = re.findall(r"(?:^|\s)(?:\S*/)?(?:loxo|loxo-live)\s+((?:watch|listen)\s[^'\n|`)]*)", TEXT)
    lines = [line for line in lines if "--" in line and "..." not in line]
    assert len(lines) >= 6
    for line in lines:
        name, *arguments = shlex.split(line, comments=True)
        commands[name].make_context(name, arguments)


def test_unit(tmp_path):
    """systemd accepts it; it may write in two folders only, and is restarted."""
    for wanted in ("Type=notify", "WatchdogSec=", "Restart=always", "ProtectSystem=strict", "MemoryMax="):
        assert wanted in UNIT
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd is not installed")
    for name, text in (("listen", UNIT), ("watch", re.sub(r"^ExecStart=.*$", WATCH.strip(), UNIT, flags=re.M))):
        unit = tmp_path / f"loxo-{name}.service"
        unit.write_text(text.replace("/opt/loxo/bin/loxo watch", f"{sys.executable} -m loxo watch"))
        done = subprocess.run([program, "verify", "--man=no", str(unit)], capture_output=True, text=True)
        assert done.returncode == 0 and unit.name not in done.stderr, done.stderr
    unit.write_text(text.replace("Restart=always", "Restart=perhaps"))
    done = subprocess.run([program, "verify", "--man=no", str(unit)], capture_output=True, text=True)
    assert unit.name in done.stderr
