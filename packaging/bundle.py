"""Makes a folder that installs Loxo on a computer without a network.

    python packaging/bundle.py dist/loxo-offline [--extras openvino,formats]

The folder contains the wheels of Loxo and of all packages that it needs, in the versions of constraints.txt, and
installers for Linux, macOS and Windows. It serves computers with the same system, processor and version of Python as
the one that made it.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHELL = """#!/bin/sh
# Installs Loxo into ~/loxo, and an icon for the app.
set -e
cd "$(dirname "$0")"
python{version} -m venv "$HOME/loxo"
"$HOME/loxo/bin/python" -m pip install --disable-pip-version-check --no-index --find-links . "{package}"
"$HOME/loxo/bin/loxo" app --install-shortcut
"""
BATCH = """@echo off
rem Installs Loxo into the folder loxo of your home folder, and an icon for the app.
cd /d "%~dp0"
py -{version} -m venv "%USERPROFILE%\\loxo" || exit /b 1
set LOXO=%USERPROFILE%\\loxo\\Scripts
"%LOXO%\\python" -m pip install --disable-pip-version-check --no-index --find-links . "{package}" || exit /b 1
"%LOXO%\\loxo" app --install-shortcut
pause
"""
README = """Loxo without a network, for {system} with Python {version}.
Copy this folder to the computer and run install.cmd (Windows) or: sh install.sh

Loxo sans réseau, pour {system} avec Python {version}.
Copiez ce dossier sur l'ordinateur et lancez install.cmd (Windows) ou : sh install.sh
"""


def installers(extras: str, version: str, system: str) -> dict[str, str]:
    """The files beside the wheels."""
    package = f"loxo[{extras}]" if extras else "loxo"
    words = {"version": version, "package": package, "system": system}
    shell, batch, readme = (text.format(**words) for text in (SHELL, BATCH, README))
    return {"install.sh": shell, "install.cmd": batch.replace("\n", "\r\n"), "README.txt": readme}


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes a folder that installs Loxo without a network.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--extras", default="", help="extras of Loxo, separated by commas")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    package = f"{ROOT}[{given.extras}]" if given.extras else str(ROOT)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    command += ["-c", str(ROOT / "constraints.txt"), "--wheel-dir", str(given.out), package]
    if code := subprocess.run(command, check=False).returncode:
        sys.exit(code)
    system = f"{platform.system()} {platform.machine()}"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for name, content in installers(given.extras, version, system).items():
        (given.out / name).write_bytes(content.encode())
    size = sum(file.stat().st_size for file in given.out.iterdir())
    print(f"{given.out}: {size / 1e6:.0f} MB for {system} with Python {version}")


if __name__ == "__main__":
    main()
