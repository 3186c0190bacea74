"""The installers of a folder for computers without a network (packaging/bundle.py)."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

BUNDLE = Path(__file__).parents[1] / "packaging" / "bundle.py"


@pytest.fixture
def bundle():
    spec = importlib.util.spec_from_file_location("bundle", BUNDLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_installers_use_only_the_folder_and_make_an_icon(bundle):
    files = bundle.installers("openvino,formats", "3.12", "Linux x86_64")
    assert set(files) == {"install.sh", "install.cmd", "README.txt"}
    for name in ("install.sh", "install.cmd"):
        assert '--no-index --find-links . "loxo[openvino,formats]"' in files[name]
        assert "app --install-shortcut" in files[name]
    assert 'python3.12 -m venv "$HOME/loxo"' in files["install.sh"]
    assert "py -3.12 -m venv" in files["install.cmd"] and "\r\n" in files["install.cmd"]
    assert "sans réseau, pour Linux x86_64" in files["README.txt"]
    assert '"loxo"' in bundle.installers("", "3.12", "Linux")["install.sh"]


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell")
def test_the_shell_reads_the_installer(bundle):
    script = bundle.installers("", "3.12", "Linux x86_64")["install.sh"]
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)
