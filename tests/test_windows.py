"""What can be checked elsewhere of an installation on Windows: imports, locks, signals."""

import os
import subprocess
import sys
import types

import pytest

from loxo import files

# Imports every module of Loxo that needs no extra, as on a system without the modules and functions of POSIX.
IMPORTS = """
import builtins, importlib, os, pkgutil, signal, sys
HIDDEN = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog"}
original = builtins.__import__
def without_posix(name, globals=None, *rest):
    if name.partition(".")[0] in HIDDEN and (globals or {}).get("__name__", "").startswith("loxo"):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return original(name, globals, *rest)
builtins.__import__ = without_posix
import loxo.cli, loxo.survey.survey, loxo.review.server, loxo.app.api, loxo.report.report  # and their libraries
POSIX = "fork sched_getaffinity sync pread pwrite getuid mkfifo O_NONBLOCK O_DIRECTORY killpg"
for name in POSIX.split():
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGKILL", "SIGHUP", "SIGUSR1", "SIGALRM"):
    if hasattr(signal, name):
        delattr(signal, name)
for module in [name for name in sys.modules if name.partition(".")[0] == "loxo"]:
    del sys.modules[module]
import loxo
EXTRAS = {"torch", "lightning", "onnx", "onnxscript", "openvino", "av", "pyarrow", "dask", "distributed", "s3fs"}
EXTRAS |= {"yaml", "fsspec", "aiohttp", "botocore", "tensorboard"}
for module in pkgutil.walk_packages(loxo.__path__, "loxo."):
    if module.name.startswith(("loxo.network", "loxo.training", "loxo.__main__")):
        continue
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        assert error.name.partition(".")[0] in EXTRAS, (module.name, error)
print(len([name for name in sys.modules if name.startswith("loxo.")]))
"""


def test_everything_is_imported_without_the_modules_of_posix():
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 150


@pytest.fixture
def windows(monkeypatch):
    """Locks of bytes as Windows has them, by (file, byte)."""
    held = set()

    def locking(handle, mode, count):
        key = os.fstat(handle).st_ino, os.lseek(handle, 0, os.SEEK_CUR)
        if key in held:
            raise PermissionError(13, "Permission denied")
        held.add(key)

    monkeypatch.setattr(files, "fcntl", None)
    monkeypatch.setattr(files, "msvcrt", types.SimpleNamespace(locking=locking, LK_NBLCK=2))
    return held


def test_a_file_is_locked_behind_its_end(windows, tmp_path):
    path = tmp_path / "file"
    path.write_text("text")
    first, second = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)
    os.lseek(first, 2, os.SEEK_SET)
    files.lock_file(first)
    assert os.read(first, 2) == b"xt"  # the position is the same as before
    assert [byte for _, byte in windows] == [files.LOCKED_BYTE]
    with pytest.raises(BlockingIOError):
        files.lock_file(second)
    os.close(first)
    os.close(second)
