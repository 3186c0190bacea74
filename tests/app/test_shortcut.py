"""The icon that starts the app, by the content of its files."""

import plistlib
import shlex
import sys

import pytest

from loxo.app.shortcut import _quoted, install


def test_linux_has_a_desktop_entry(tmp_path, monkeypatch):
    monkeypatch.setenv("LOXO_HOME", str(tmp_path / "loxo"))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    (tmp_path / "Desktop").mkdir()
    icon, menu, desktop = install("linux", tmp_path)
    assert menu == tmp_path / ".local/share/applications/loxo.desktop" and desktop.parent.name == "Desktop"
    lines = dict(line.split("=", 1) for line in menu.read_text().splitlines()[1:])
    assert lines["Exec"] == f"{sys.executable} -m loxo app --idle-minutes 10" and lines["Terminal"] == "false"
    assert lines["Icon"] == str(icon) and icon.read_text().startswith("<svg")
    assert menu.stat().st_mode & 0o100


@pytest.mark.parametrize(
    ("text", "quoted"), [("/a/b", "/a/b"), ("/a b", '"/a b"'), ('/a"$', '"/a\\\\"\\\\$"'), ("50%", "50%%")]
)
def test_a_desktop_entry_quotes_the_path_of_python(text, quoted):
    assert _quoted(text) == quoted


def test_windows_has_a_script_without_a_console(tmp_path, monkeypatch):
    monkeypatch.setenv("APPDATA", str(tmp_path / "Roaming"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "My Python" / "python.exe"))
    desktop, menu = install("win32", tmp_path)
    assert desktop == tmp_path / "Desktop" / "Loxo.vbs" and "Start Menu" in str(menu)
    python = tmp_path / "My Python" / "pythonw.exe"
    assert (
        desktop.read_text()
        == f'CreateObject("WScript.Shell").Run """{python}"" -m loxo app --idle-minutes 10", 0, False\n'
    )


def test_macos_has_an_application(tmp_path):
    description, script = install("darwin", tmp_path)
    values = plistlib.loads(description.read_bytes())
    assert description.parent.parent == tmp_path / "Applications" / "Loxo.app"
    assert script.name == values["CFBundleExecutable"] and script.stat().st_mode & 0o100
    shell, command = script.read_text().splitlines()
    assert shell == "#!/bin/sh" and shlex.split(command) == [
        "exec",
        sys.executable,
        "-m",
        "loxo",
        "app",
        "--idle-minutes",
        "10",
    ]


def test_the_icon_of_a_single_file_program_starts_that_file(tmp_path, monkeypatch):
    monkeypatch.setenv("LOXO_HOME", str(tmp_path / "loxo"))
    monkeypatch.setenv("APPDATA", str(tmp_path / "Roaming"))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", "/opt/loxo")
    assert "\nExec=/opt/loxo app --idle-minutes 10\n" in install("linux", tmp_path)[1].read_text()
    assert 'Run """/opt/loxo"" app --idle-minutes 10", 0' in install("win32", tmp_path)[0].read_text()
