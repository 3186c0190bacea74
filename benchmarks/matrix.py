"""Builds the packages and tests them: the core's tests from the source archive, against the wheel, on several Pythons.

python benchmarks/matrix.py [--pythons 3.11,3.12] [--tests tests/test_core.py] [--work FOLDER]

Each Python gets two new environments: one with the lowest versions that pyproject.toml allows and that exist as wheels
for this Python, one with the newest versions. The source archive is unpacked into an empty folder, so that no test
finds a file that the archive does not contain. `--quick` uses this Python and the lowest versions only.
A Python that this machine does not have is named. Needs uv (extra `dev`) and a package index.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = "3.11,3.12,3.13,3.14"
RESOLUTIONS = ("lowest-direct", "highest")
TOOLS = ("pytest>=8", "pytest-timeout>=2.3", "hypothesis>=6.100", "httpx2>=2", "httpx", "psutil>=5.9")
FEW = ["tests/test_core.py", "tests/test_public.py", "tests/test_installation.py", "tests/test_released_files.py"]
# An old package may warn about a newer one that it uses. That is no fault of Loxo.
OLD_WARNINGS = {"lowest-direct": ["-W", "default::DeprecationWarning"], "highest": []}
MAX_FAULTS = 30  # lines that are printed of a failed cell; the log has all
SHOWN = ("numpy", "scipy", "pandas", "onnxruntime", "matplotlib", "fastapi", "typer")  # versions in the table
ARCHIVED = (
    *("tests/conftest.py", "docs/detection.md", "benchmarks/toy.py", "packaging/bundle.py"),
    *("Makefile", "CHANGELOG.md", "README.md"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pythons", default=PYTHONS, help="versions or paths, separated by commas")
    parser.add_argument("--tests", nargs="*", default=[], help="test files; default: all")
    parser.add_argument("--few", action="store_true", help="a few test files only")
    parser.add_argument("--quick", action="store_true", help="this Python and the lowest versions only")
    parser.add_argument("--work", type=Path, help="folder for packages and environments; default: a temporary one")
    args = parser.parse_args()
    # A shell that starts this program in the background makes it ignore SIGINT, and so would the servers in the tests.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="loxo-matrix-") as temporary:
        work = (args.work or Path(temporary)).resolve()
        wheel, source = build(work / "dist")
        folder = unpacked(source, work / "source")
        failed = False
        cells = (
            [(sys.executable, RESOLUTIONS[:1])] if args.quick else [(p, RESOLUTIONS) for p in args.pythons.split(",")]
        )
        for wanted, resolutions in cells:
            python = find_python(wanted)
            if python is None:
                print(f"Python {wanted:8} not tested: this machine does not have it", flush=True)
                continue
            for resolution in resolutions:
                failed |= not cell(python, resolution, wheel, folder, args.tests or (FEW if args.few else []), work)
    sys.exit(1 if failed else 0)


def build(dist: Path) -> tuple[Path, Path]:
    """Builds the source archive, and the wheel from it; checks what they contain."""
    shutil.rmtree(dist, ignore_errors=True)
    run(["uv", "build", "--quiet", "--python", sys.executable, "--out-dir", dist, ROOT])
    (wheel,), (source,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    expected = {file.relative_to(ROOT / "src").as_posix() for file in package_files()}
    packed = {
        name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name and not name.endswith("/")
    }
    if expected != packed:
        sys.exit(f"{wheel.name} lacks {sorted(expected - packed)} and has {sorted(packed - expected)} too many")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    if lost := {*ARCHIVED, *(f"src/{name}" for name in expected)} - names:
        sys.exit(f"{source.name} lacks {sorted(lost)}")
    for path, count in ((wheel, len(packed)), (source, len(names))):
        print(f"{path.name:28} {path.stat().st_size / 1e6:5.1f} MB, {count} files", flush=True)
    return wheel, source


def package_files() -> list[Path]:
    skipped = ("__pycache__", ".pyc")
    files = [path for path in (ROOT / "src" / "loxo").rglob("*") if path.is_file()]
    return [path for path in files if not any(part in path.as_posix() for part in skipped)]


def unpacked(source: Path, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    with tarfile.open(source) as archive:
        archive.extractall(folder, filter="data")
    return next(folder.iterdir())


def find_python(wanted: str) -> str | None:
    """The interpreter of a version: on the PATH, or from pyenv."""
    if os.sep in wanted:
        return wanted
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for candidate in (f"python{wanted}", *map(str, sorted(pyenv.glob(f"{wanted}.*/bin/python"), reverse=True))):
        try:
            done = subprocess.run(
                [candidate, "-c", "import sys; print(sys.executable)"], capture_output=True, text=True
            )
        except OSError:
            continue
        if done.returncode == 0:
            return done.stdout.strip()
    return None


def cell(python: str, resolution: str, wheel: Path, folder: Path, tests: list[str], work: Path) -> bool:
    """Installs the wheel into a new environment and runs the tests. Prints a line of the table."""
    version = run([python, "-c", "import platform; print(platform.python_version())"]).strip()
    environment = work / f"env-{version}-{resolution}"
    shutil.rmtree(environment, ignore_errors=True)
    log = work / f"{environment.name}.log"
    begin = time.monotonic()
    try:
        resolve = ["uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--only-binary", ":all:"]
        pins = run([*resolve, "--python", python, "--resolution", resolution, folder / "pyproject.toml"])
        (work / "pins.txt").write_text(pins)
        run(["uv", "venv", "--quiet", "--python", python, environment])
        interpreter = next(iter([*environment.glob("bin/python"), *environment.glob("Scripts/python.exe")]))
        install = ["uv", "pip", "install", "--quiet", "--python", interpreter, "--constraints", work / "pins.txt"]
        run([*install, wheel, *TOOLS])
    except subprocess.CalledProcessError as error:
        print(f"Python {version:8} {resolution:14} not installable: {error.stderr.strip()}", flush=True)
        return False
    installed = time.monotonic()
    cache = {"XDG_CACHE_HOME": str(work / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [
            interpreter,
            "-m",
            "pytest",
            "-q",
            *OLD_WARNINGS[resolution],
            "-p",
            "no:cacheprovider",
            "--basetemp",
            work / "pytest",
            *tests,
        ],
        cwd=folder,
        env={**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, **cache},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    log.write_text(done.stdout)
    versions = dict(re.findall(r"^([\w.-]+)==(\S+)", pins, re.MULTILINE))
    shown = " ".join(f"{name} {versions[name]}" for name in SHOWN)
    result = done.stdout.strip().splitlines()[-1].strip("= ") if done.stdout.strip() else "no output"
    seconds = f"{installed - begin:.0f} s to install"
    print(f"Python {version:8} {resolution:14} {result}; {seconds}; {shown}", flush=True)
    if done.returncode:
        faults = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR", "E  "))]
        print("\n".join(faults[:MAX_FAULTS]), flush=True)
    return done.returncode == 0


def run(command: list[str | Path]) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
    done.check_returncode()
    return done.stdout


if __name__ == "__main__":
    main()
