"""An icon that starts the app by a double click: Linux, Windows and macOS.

| system | file |
|---|---|
| Linux | `loxo.desktop` in the menu of applications, and on the desktop if there is one |
| Windows | `Loxo.vbs` on the desktop and in the start menu: it starts the app without a console window |
| macOS | `Loxo.app` in the user's Applications folder: a folder with a script and its description |

The icon starts this installation of Python. After moving it, install the icon again.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from loxo.files import write_atomically
from loxo.machine import user_data

ICON = "icon.svg"
ARGUMENTS = ("app", "--idle-minutes", "10")  # without a terminal, nothing else stops the server
PLIST = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
<key>CFBundleName</key><string>Loxo</string>
<key>CFBundleIdentifier</key><string>org.loxo.app</string>
<key>CFBundleExecutable</key><string>loxo</string>
<key>CFBundlePackageType</key><string>APPL</string>
<key>LSUIElement</key><true/>
</dict></plist>
"""


def install(system: str = sys.platform, home: Path | None = None) -> list[Path]:
    """Writes the icon for this user. Returns its files. `home` is the user's home folder."""
    home = home or Path.home()
    written = []
    for path, content, is_program in _files(system, home):
        write_atomically(path, content.encode())
        if is_program:
            path.chmod(0o755)
        written.append(path)
    return written


def _files(system: str, home: Path) -> Iterator[tuple[Path, str, bool]]:
    """Each file: path, content, whether it is executable."""
    is_single_file = bool(getattr(sys, "frozen", False))  # packaging/
    module = [] if is_single_file else ["-m", "loxo"]
    command = [sys.executable, *module, *ARGUMENTS]
    if system == "win32":
        # pythonw has no console; 0 hides the window
        program = sys.executable if is_single_file else str(Path(sys.executable).with_name("pythonw.exe"))
        words = " ".join([*module, *ARGUMENTS])
        script = f'CreateObject("WScript.Shell").Run """{program}"" {words}", 0, False\r\n'
        roaming = Path(os.environ.get("APPDATA") or home / "AppData" / "Roaming")
        yield home / "Desktop" / "Loxo.vbs", script, False
        yield roaming / "Microsoft" / "Windows" / "Start Menu" / "Programs" / "Loxo.vbs", script, False
    elif system == "darwin":
        contents = home / "Applications" / "Loxo.app" / "Contents"
        yield contents / "Info.plist", PLIST, False
        yield contents / "MacOS" / "loxo", f"#!/bin/sh\nexec {shlex.join(command)}\n", True
    else:
        icon = user_data() / ICON
        yield icon, (files("loxo.review") / "static" / ICON).read_text(encoding="utf-8"), False
        entry = (
            "[Desktop Entry]\nType=Application\nName=Loxo\nComment=Elephant rumbles and gunshots in recordings\n"
            "Comment[fr]=Grondements d'éléphants et coups de feu dans des enregistrements\n"
            f"Exec={' '.join(map(_quoted, command))}\nIcon={icon}\nTerminal=false\nCategories=Science;\n"
        )
        data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
        yield data / "applications" / "loxo.desktop", entry, True
        if (home / "Desktop").is_dir():
            yield home / "Desktop" / "loxo.desktop", entry, True


def _quoted(text: str) -> str:
    """A word of the Exec line of a desktop entry."""
    text = text.replace("%", "%%")
    if all(sign.isalnum() or sign in "/._-%+" for sign in text):
        return text
    return '"' + "".join("\\" + sign if sign in '"`$\\' else sign for sign in text).replace("\\", "\\\\") + '"'
