"""Resolves the wheels of Loxo's packages for aarch64 (a Raspberry Pi with 64 bits) and Python 3.11, without installing.

python benchmarks/check_arm.py [--extras live,formats]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extras", default="live,formats")
    args = parser.parse_args()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"]]
    for extra in args.extras.split(","):
        wanted += project["optional-dependencies"][extra]
    options = ["--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp"]
    options += [f"--platform={platform}" for platform in PLATFORMS] + [
        f"--abi={abi}" for abi in ("cp311", "abi3", "none")
    ]
    if resolve(["numpy"], options).returncode:
        print("not checked: the package index cannot be reached, or offers no wheels for aarch64 at all")
        return
    done = resolve(wanted, options)
    if done.returncode:
        raise SystemExit(f"a package has no wheel for aarch64:\n{done.stderr}")
    found = [Path(item["download_info"]["url"]).name for item in json.loads(done.stdout)["install"]]
    built = sum("aarch64" in name for name in found)
    print(f"{len(found)} wheels for aarch64, of which {built} contain compiled code")


def resolve(packages: list[str], options: list[str]) -> subprocess.CompletedProcess[str]:
    """pip's report about the wheels that it would install; nothing is installed."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--dry-run",
            "--quiet",
            "--report",
            "-",
            "--ignore-installed",
        ]
        command += ["--target", folder, "-c", str(ROOT / "constraints.txt"), *options, *packages]
        return subprocess.run(command, capture_output=True, text=True)


if __name__ == "__main__":
    main()
